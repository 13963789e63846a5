//! What is measured: streams, and a pipeline over them.
//!
//! Nexmark's queries in Tidemill's SQL, and what differs from the original, are told in
//! `bench/README.md`.

use bench::generate::Kind;
use bench::nexmark::Stream;

/// A pipeline, its inputs, and what to call them.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) pipeline: &'static str,
    /// Names of streams, and what is in them.
    pub(crate) inputs: &'static [(&'static str, Kind)],
}

const ADS: &[(&str, Kind)] = &[("ad_events", Kind::Ads)];
const SENSORS: &[(&str, Kind)] = &[("sensors", Kind::Sensors)];
const BIDS: &[(&str, Kind)] = &[("bids", Kind::Nexmark(Stream::Bids))];
const PERSONS_AUCTIONS: &[(&str, Kind)] =
    &[("persons", Kind::Nexmark(Stream::Persons)), ("auctions", Kind::Nexmark(Stream::Auctions))];

const AUCTIONS_BIDS: &[(&str, Kind)] =
    &[("auctions", Kind::Nexmark(Stream::Auctions)), ("bids", Kind::Nexmark(Stream::Bids))];

const fn case(
    name: &'static str,
    pipeline: &'static str,
    inputs: &'static [(&'static str, Kind)],
) -> Case {
    Case { name, pipeline, inputs }
}

pub(crate) const CASES: &[Case] = &[
    case("ad events", "ads.toml", ADS),
    case("tumbling", "tumbling.toml", SENSORS),
    case("hopping", "hopping.toml", SENSORS),
    case("session", "session.toml", SENSORS),
    case("nexmark 4", "nexmark-q4.toml", AUCTIONS_BIDS),
    case("nexmark 5", "nexmark-q5.toml", BIDS),
    case("nexmark 7", "nexmark-q7.toml", BIDS),
    case("nexmark 8", "nexmark-q8.toml", PERSONS_AUCTIONS),
    case("nexmark 9", "nexmark-q9.toml", AUCTIONS_BIDS),
    case("nexmark 11", "nexmark-q11.toml", BIDS),
    case("sliding", "sliding.toml", BIDS),
    case("as-of", "as-of.toml", AUCTIONS_BIDS),
];
