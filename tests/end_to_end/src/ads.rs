//! The Yahoo streaming benchmark's stream, and what must come out of it, counted without any of
//! Tidemill's code.
//!
//! # Invariants
//! 1. Within a shard, an event is at most [`DISORDER_MS`] older than the newest before it: less
//!    than the pipeline's `out_of_orderness`, so nothing is late however shards and batches fall.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use tidemill_testkit::Rng;

/// How much older than the newest event before it an event may be, milliseconds.
pub const DISORDER_MS: i64 = 2_000;
/// Length of a window, milliseconds.
pub const WINDOW_MS: i64 = 10_000;
/// Campaigns.
const CAMPAIGNS: usize = 20;
/// Ads of each campaign.
const ADS: usize = 5;

/// The pipeline: views per campaign and ten seconds, from a Kinesis stream.
pub const PIPELINE: &str = r#"
name = "ads"
dead_letters = "dead"

[streams.ad_events]
format = "json"
columns = { ad_id = "string", event_type = "string", event_time = "timestamp_ms" }
event_time = "event_time"
out_of_orderness = "3s"
idle_after = "1m"
max_future = "10m"

[streams.ad_events.source]
type = "kinesis"
stream = "${AD_EVENTS_STREAM}"

[tables.campaigns]
file = "campaigns.csv"

[queries.views_per_campaign]
sql = """
  SELECT c.campaign_id, window_start, window_end, COUNT(*) AS views
  FROM TUMBLE(ad_events, event_time, INTERVAL '10' SECOND) e
  JOIN campaigns c ON c.ad_id = e.ad_id
  WHERE e.event_type = 'view'
  GROUP BY c.campaign_id, window_start, window_end
"""
grace = "1s"
late = "dead_letter"
sink = "views"

[sinks.views]
type = "dynamodb"
table = "${VIEWS_TABLE}"

[sinks.dead]
type = "dynamodb"
table = "${DEAD_TABLE}"

[advance]
tick = "1s"
"#;

/// The same with a Kafka topic as the source.
pub fn kafka_pipeline() -> String {
    PIPELINE.replace(
        "type = \"kinesis\"\nstream = \"${AD_EVENTS_STREAM}\"",
        "type = \"kafka\"\ntopic = \"ad-events\"\nbootstrap_servers = \"${BROKERS}\"",
    )
}

/// The lookup table's file: `ad_id,campaign_id`.
pub fn campaigns_csv() -> String {
    let mut text = "ad_id,campaign_id\n".to_string();
    for ad in 0..CAMPAIGNS * ADS {
        let _ = writeln!(text, "ad-{ad},campaign-{}", ad / ADS);
    }
    text
}

/// One event.
#[derive(Debug, Clone)]
pub struct AdEvent {
    ad: usize,
    event_type: &'static str,
    /// Milliseconds since 1970.
    pub time: i64,
}

impl AdEvent {
    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let record = json!({
            "user_id": format!("user-{}", self.time % 997),
            "page_id": format!("page-{}", self.time % 89),
            "ad_id": format!("ad-{}", self.ad),
            "ad_type": "banner",
            "event_type": self.event_type,
            "event_time": self.time,
        });
        record.to_string().into_bytes()
    }
}

/// `count` events from `from` on over `span_ms` of event time, in the order they arrive in.
pub fn events(count: usize, from: i64, span_ms: i64, seed: u64) -> Vec<AdEvent> {
    let mut rng = Rng::new(seed);
    let count_ms = i64::try_from(count).expect("a count is small");
    (0..count_ms)
        .map(|number| {
            let age = if rng.chance(30) { rng.between(0, DISORDER_MS) } else { 0 };
            AdEvent {
                // A few ads belong to no campaign: the join drops them.
                ad: rng.index(CAMPAIGNS * ADS + 3),
                event_type: rng.pick(&["view", "click", "purchase"]).expect("there are three"),
                time: from + span_ms * number / count_ms - age,
            }
        })
        .collect()
}

/// The rows that must come out, as [`crate::tables::contents`] writes them.
pub fn expected<'a>(events: impl IntoIterator<Item = &'a AdEvent>) -> Vec<String> {
    let mut views: BTreeMap<(usize, i64), u64> = BTreeMap::new();
    for event in events {
        if event.event_type == "view" && event.ad < CAMPAIGNS * ADS {
            let start = event.time.div_euclid(WINDOW_MS) * WINDOW_MS;
            *views.entry((event.ad / ADS, start)).or_default() += 1;
        }
    }
    let mut rows: Vec<String> = views
        .into_iter()
        .map(|((campaign, start), views)| {
            let row: BTreeMap<&str, Value> = BTreeMap::from([
                ("campaign_id", format!("campaign-{campaign}").into()),
                ("views", views.into()),
                ("window_end", rfc3339(start + WINDOW_MS).into()),
                ("window_start", rfc3339(start).into()),
            ]);
            json!(row).to_string()
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// A time as results write it.
pub fn rfc3339(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).expect("a time of our age");
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_known_ads_are_counted_by_window() {
        let event = |ad, event_type, time| AdEvent { ad, event_type, time };
        let events = [
            event(0, "view", 0),
            event(4, "view", 9_999),
            event(5, "view", 1),
            event(0, "view", 10_000),
            event(0, "click", 1),
            event(CAMPAIGNS * ADS, "view", 1),
        ];
        let rows = expected(&events);
        assert_eq!(rows.len(), 3);
        assert_eq!(
            rows[1],
            r#"{"campaign_id":"campaign-0","views":2,"window_end":"1970-01-01T00:00:10.000Z","#
                .to_string()
                + r#""window_start":"1970-01-01T00:00:00.000Z"}"#
        );
    }

    #[test]
    fn disorder_stays_below_its_bound() {
        let mut newest = 0;
        for event in events(5_000, 1_700_000_000_000, 60_000, 3) {
            assert!(event.time >= newest - DISORDER_MS);
            newest = newest.max(event.time);
        }
    }
}
