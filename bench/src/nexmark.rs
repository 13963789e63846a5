//! Persons, auctions and bids of the Nexmark benchmark, the same bytes each time.
//!
//! Of fifty events one is a new person, three are new auctions, 46 are bids; ten events a millisecond.
//! Shares, hot keys and lifetimes are those of Apache Beam's generator with its defaults: half of the bids
//! go to the hot auction, the newest of a hundred, the others to one of the last hundred; three quarters
//! of the bids and of the auctions come from the hot person, the newest of a hundred, the others from
//! one of the last thousand. Each stream can be generated alone.
//!
//! What differs from Beam's: the random numbers, and names without meaning. Events come in order of time.
//!
//! Not here: files (`generate`), the queries (`bench/pipelines/nexmark-*.toml`).

use tidemill_testkit::Rng;

/// Events of which one is a person.
const ROUND: u64 = 50;
/// New auctions among them; they follow the person.
const AUCTIONS: u64 = 3;
/// Bids among them; they come last.
const BIDS: u64 = 46;
/// Events a millisecond of event time.
const PER_MS: u64 = 10;
/// Ids begin here, so that all have as many digits for long.
const FIRST_ID: u64 = 1000;
/// One of so many is the hot one.
const HOT_OF: u64 = 100;
/// Auctions that bids go to.
const AUCTIONS_IN_FLIGHT: u64 = 100;
/// Persons who do something.
const PERSONS_ACTIVE: u64 = 1000;

/// Which of the three streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// `{id, name, email, credit_card, city, state, ts, extra}`.
    Persons,
    /// `{id, item, description, initial_bid, reserve, ts, expires, seller, category, extra}`.
    Auctions,
    /// `{auction, bidder, price, channel, url, ts, extra}`.
    Bids,
}

impl Stream {
    /// Its events of one round, and how many events of the round come before them.
    const fn share(self) -> (u64, u64) {
        match self {
            Stream::Persons => (1, 0),
            Stream::Auctions => (AUCTIONS, 1),
            Stream::Bids => (BIDS, 1 + AUCTIONS),
        }
    }

    /// How many of the first `events` events of all three streams are of this one.
    pub fn count(self, events: u64) -> u64 {
        let (of_round, before) = self.share();
        events / ROUND * of_round + (events % ROUND).saturating_sub(before).min(of_round)
    }

    /// The number among the events of all three streams that the stream's `n`th event has.
    fn number(self, n: u64) -> u64 {
        let (of_round, before) = self.share();
        n / of_round * ROUND + before + n % of_round
    }

    /// Event time of the stream's `n`th event, milliseconds after the first event of all.
    pub fn offset_ms(self, n: u64) -> u64 {
        self.number(n) / PER_MS
    }

    /// The stream's `n`th event, when the first of all is at `start_ms`.
    pub fn line(self, rng: &mut Rng, start_ms: u64, n: u64) -> String {
        let ts = start_ms + self.offset_ms(n);
        let number = self.number(n);
        match self {
            Stream::Persons => person(rng, ts, n),
            Stream::Auctions => auction(rng, ts, n, number),
            Stream::Bids => bid(rng, ts, number),
        }
    }
}

/// The id of the newest of a stream's events that came before the event `number` of all.
fn newest(stream: Stream, number: u64) -> u64 {
    FIRST_ID + stream.count(number).saturating_sub(1)
}

/// One of the last `of` ids, or with a probability of `hot` in 4 the newest that is a multiple of a
/// hundred (plus `beside`).
fn one_of(rng: &mut Rng, newest: u64, of: u64, hot: u64, beside: u64) -> u64 {
    if rng.below(4) < hot {
        return (newest / HOT_OF * HOT_OF + beside).min(newest);
    }
    newest - rng.below(of.min(newest - FIRST_ID + 1))
}

/// From 100 to 100 million, each power of ten as often.
fn price(rng: &mut Rng) -> u64 {
    (10f64.powf(rng.below(6_000_000) as f64 / 1e6) * 100.0).round() as u64
}

fn text(rng: &mut Rng, length: u64) -> String {
    (0..length).map(|_| char::from(b'a' + rng.below(26) as u8)).collect()
}

fn person(rng: &mut Rng, ts: u64, n: u64) -> String {
    let states = ["AZ", "CA", "ID", "OR", "WA", "WY"];
    let cities = ["Phoenix", "Los Angeles", "Boise", "Portland", "Seattle", "Cheyenne"];
    let place = rng.index(states.len());
    let name = text(rng, 12);
    format!(
        "{{\"id\":{},\"name\":\"{name}\",\"email\":\"{name}@example.com\",\"credit_card\":\"{:04} {:04} {:04} {:04}\",\"city\":\"{}\",\"state\":\"{}\",\"ts\":{ts},\"extra\":\"{}\"}}",
        FIRST_ID + n,
        rng.below(10_000),
        rng.below(10_000),
        rng.below(10_000),
        rng.below(10_000),
        cities[place],
        states[place],
        text(rng, 60),
    )
}

fn auction(rng: &mut Rng, ts: u64, n: u64, number: u64) -> String {
    let seller = one_of(rng, newest(Stream::Persons, number), PERSONS_ACTIVE, 3, 0);
    let initial = price(rng);
    // On average as long as it takes until a hundred newer ones are there.
    let horizon_ms = AUCTIONS_IN_FLIGHT * ROUND / AUCTIONS / PER_MS;
    let expires = ts + 1 + rng.below(2 * horizon_ms);
    format!(
        "{{\"id\":{},\"item\":\"{}\",\"description\":\"{}\",\"initial_bid\":{initial},\"reserve\":{},\"ts\":{ts},\"expires\":{expires},\"seller\":{seller},\"category\":{},\"extra\":\"{}\"}}",
        FIRST_ID + n,
        text(rng, 20),
        text(rng, 100),
        initial + price(rng),
        10 + rng.below(5),
        text(rng, 200),
    )
}

fn bid(rng: &mut Rng, ts: u64, number: u64) -> String {
    let auction = one_of(rng, newest(Stream::Auctions, number), AUCTIONS_IN_FLIGHT, 2, 0);
    let bidder = one_of(rng, newest(Stream::Persons, number), PERSONS_ACTIVE, 3, 1);
    let channels = ["Google", "Facebook", "Baidu", "Apple"];
    format!(
        "{{\"auction\":{auction},\"bidder\":{bidder},\"price\":{},\"channel\":\"{}\",\"url\":\"https://www.example.com/{}/item.htm\",\"ts\":{ts},\"extra\":\"{}\"}}",
        price(rng),
        channels[rng.index(channels.len())],
        text(rng, 8),
        text(rng, 20),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAMS: [Stream; 3] = [Stream::Persons, Stream::Auctions, Stream::Bids];

    #[test]
    fn each_event_is_of_one_stream() {
        let mut numbers: Vec<u64> = Vec::new();
        for stream in STREAMS {
            numbers.extend((0..stream.count(1_234)).map(|n| stream.number(n)));
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..1_234).collect::<Vec<_>>());
        assert_eq!(STREAMS.map(|stream| stream.count(1_000)), [20, 60, 920]);
    }

    #[test]
    fn events_name_what_came_before_them() {
        let field = |line: &str, name: &str| -> u64 {
            let (_, rest) = line.split_once(&format!("\"{name}\":")).unwrap();
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
        };
        let mut rng = Rng::new(1);
        for n in 0..20_000 {
            let number = Stream::Bids.number(n);
            let line = Stream::Bids.line(&mut rng, 0, n);
            assert!(field(&line, "auction") < FIRST_ID + Stream::Auctions.count(number), "{line}");
            assert!(field(&line, "bidder") < FIRST_ID + Stream::Persons.count(number), "{line}");
        }
        for n in 0..2_000 {
            let line = Stream::Auctions.line(&mut rng, 0, n);
            let lives_ms = field(&line, "expires") - field(&line, "ts");
            assert!((1..=1_000).contains(&lives_ms), "the queries' bound is a second: {line}");
        }
    }
}
