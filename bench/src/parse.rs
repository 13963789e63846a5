//! The yardstick: a loop that only parses the same JSON into the same columns.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

#[derive(Deserialize)]
struct Ad<'a> {
    #[serde(borrow)]
    ad_id: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    event_time: i64,
}

#[derive(Deserialize)]
struct Reading<'a> {
    #[serde(borrow)]
    sensor: Cow<'a, str>,
    ts: i64,
    temperature: f64,
}

#[derive(Deserialize)]
struct Person<'a> {
    id: i64,
    #[serde(borrow)]
    name: Cow<'a, str>,
    ts: i64,
}

#[derive(Deserialize)]
struct Auction {
    id: i64,
    category: i64,
    seller: i64,
    ts: i64,
    expires: i64,
}

#[derive(Deserialize)]
struct Bid {
    auction: i64,
    bidder: i64,
    price: i64,
    ts: i64,
}

#[derive(Default)]
struct Columns {
    texts: Vec<u8>,
    ends: Vec<u32>,
    times: Vec<i64>,
    numbers: Vec<i64>,
    values: Vec<f64>,
}

impl Columns {
    fn text(&mut self, text: &str) {
        self.texts.extend_from_slice(text.as_bytes());
        self.ends.push(self.texts.len() as u32);
    }

    fn clear(&mut self) {
        self.texts.clear();
        self.ends.clear();
        self.times.clear();
        self.numbers.clear();
        self.values.clear();
    }
}

/// Parses every line of each file, given as its kind and its name, and says how many there were.
pub(crate) fn run(files: &[&str]) -> Result<(), String> {
    for pair in files.chunks(2) {
        let [kind, file] = pair else { return Err("a kind without a file".to_string()) };
        parse(kind, Path::new(file))?;
    }
    Ok(())
}

fn parse(kind: &str, file: &Path) -> Result<(), String> {
    let mut file = File::open(file).map_err(|error| error.to_string())?;
    let mut buffer = Vec::with_capacity(2 * BLOCK);
    let mut columns = Columns::default();
    let mut rows = 0u64;
    loop {
        let rest = buffer.len();
        buffer.resize(rest + BLOCK, 0);
        let read = file.read(&mut buffer[rest..]).map_err(|error| error.to_string())?;
        buffer.truncate(rest + read);
        if read == 0 {
            break;
        }
        let Some(end) = memchr::memrchr(b'\n', &buffer) else { continue };
        columns.clear();
        let mut from = 0;
        for newline in memchr::memchr_iter(b'\n', &buffer[..=end]) {
            line(kind, &buffer[from..newline], &mut columns).map_err(|error| error.to_string())?;
            from = newline + 1;
            rows += 1;
        }
        std::hint::black_box(&columns);
        buffer.drain(..=end);
    }
    println!("{rows}");
    Ok(())
}

fn line(kind: &str, line: &[u8], columns: &mut Columns) -> Result<(), serde_json::Error> {
    match kind {
        "ads" => {
            let ad: Ad = serde_json::from_slice(line)?;
            columns.text(&ad.ad_id);
            columns.text(&ad.event_type);
            columns.times.push(ad.event_time);
        }
        "persons" => {
            let person: Person = serde_json::from_slice(line)?;
            columns.text(&person.name);
            columns.numbers.push(person.id);
            columns.times.push(person.ts);
        }
        "auctions" => {
            let it: Auction = serde_json::from_slice(line)?;
            columns.numbers.extend([it.id, it.category, it.seller]);
            columns.times.extend([it.ts, it.expires]);
        }
        "bids" => {
            let bid: Bid = serde_json::from_slice(line)?;
            columns.numbers.extend([bid.auction, bid.bidder, bid.price]);
            columns.times.push(bid.ts);
        }
        _ => {
            let reading: Reading = serde_json::from_slice(line)?;
            columns.text(&reading.sensor);
            columns.times.push(reading.ts);
            columns.values.push(reading.temperature);
        }
    }
    Ok(())
}
