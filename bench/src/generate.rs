//! Event files, the same bytes each time.
//!
//! Ad events follow the Yahoo streaming benchmark: seven fields, about 215 bytes, 1,000 ads, a third
//! of them views, 20,000 events a second of event time. Sensors: 10,000 keys, one reading a second
//! each, every key silent for a third of the time so that sessions end. Persons, auctions and bids:
//! `nexmark`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tidemill_testkit::Rng;

use crate::nexmark::Stream;

/// Which file.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Ad events.
    Ads,
    /// Sensor readings.
    Sensors,
    /// One of the three streams of Nexmark.
    Nexmark(Stream),
}

impl Kind {
    /// Name of the stream's files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ads => "ads",
            Kind::Sensors => "sensors",
            Kind::Nexmark(Stream::Persons) => "persons",
            Kind::Nexmark(Stream::Auctions) => "auctions",
            Kind::Nexmark(Stream::Bids) => "bids",
        }
    }

    /// Lines of the file when so many events are generated: of Nexmark, over all three streams.
    pub fn count(self, events: u64) -> u64 {
        match self {
            Kind::Ads | Kind::Sensors => events,
            Kind::Nexmark(stream) => stream.count(events),
        }
    }
}

/// First event: 2026-01-01T00:00:00Z.
const START_MS: u64 = 1_767_225_600_000;

/// The stream's file when `events` events are generated; written if it is not there yet.
pub fn file(kind: Kind, events: u64, folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join(format!("{}-{events}.jsonl", kind.name()));
    if path.exists() {
        return Ok(path);
    }
    let partial = path.with_extension("partial");
    write(kind, events, &partial)
        .and_then(|()| std::fs::rename(&partial, &path))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn write(kind: Kind, events: u64, path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let count = usize::try_from(kind.count(events)).unwrap_or(usize::MAX);
    for line in lines(kind).take(count) {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// The events of a stream without end, one JSON object each.
pub fn lines(kind: Kind) -> impl Iterator<Item = String> {
    let mut rng = Rng::new(7);
    (0u64..).map(move |event| match kind {
        Kind::Ads => ad(&mut rng, event),
        Kind::Sensors => reading(&mut rng, event),
        Kind::Nexmark(stream) => stream.line(&mut rng, START_MS, event),
    })
}

/// Event time of a stream's event, milliseconds since the epoch.
pub fn event_ms(kind: Kind, event: u64) -> u64 {
    START_MS
        + match kind {
            Kind::Ads => event / 20,
            Kind::Sensors => event / 10,
            Kind::Nexmark(stream) => stream.offset_ms(event),
        }
}

fn ad(rng: &mut Rng, event: u64) -> String {
    let kinds = ["view", "click", "purchase"];
    let ads = ["banner", "modal", "sponsored-search", "mail", "mobile"];
    format!(
        "{{\"user_id\":\"{:08x}-{:08x}-{:08x}-{:08x}\",\"page_id\":\"{:08x}-{:08x}-{:08x}\",\"ad_id\":\"ad-{:04}\",\"ad_type\":\"{}\",\"event_type\":\"{}\",\"event_time\":{},\"ip_address\":\"10.{}.{}.{}\"}}",
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1000),
        ads[rng.index(ads.len())],
        kinds[rng.index(kinds.len())],
        event_ms(Kind::Ads, event),
        rng.below(256),
        rng.below(256),
        rng.below(256),
    )
}

fn reading(rng: &mut Rng, event: u64) -> String {
    let ms = event / 10;
    let key = loop {
        let key = rng.below(10_000);
        if !(ms / 45_000 + key).is_multiple_of(3) {
            break key;
        }
    };
    format!(
        "{{\"sensor\":\"sensor-{key:05}\",\"ts\":{},\"temperature\":{}.{:02},\"status\":\"ok\"}}",
        event_ms(Kind::Sensors, event),
        rng.below(60),
        rng.below(100),
    )
}
