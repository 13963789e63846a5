//! What is larger than DynamoDB's items: records, and result rows. Each becomes a dead letter, and
//! the rest counts.

use std::sync::Arc;

use end_to_end::clock::wall_ms;
use end_to_end::kinesis::Stream;
use end_to_end::kinesis_server::KinesisServer;
use end_to_end::mapping::{KinesisMapping, KinesisSettings};
use end_to_end::schedule::Schedule;
use end_to_end::world::{RESULTS_TABLE, STREAM, World};
use serde_json::json;
use tidemill_testkit::Rng;

use crate::deployment::{PAST_IDLE, WITHIN};

const PIPELINE: &str = r#"
name = "texts"
dead_letters = "dead"

[streams.texts]
format = "json"
columns = { k = "string", ts = "timestamp_ms", a = "string", b = "string" }
event_time = "ts"
idle_after = "1m"

[streams.texts.source]
type = "kinesis"
stream = "${AD_EVENTS_STREAM}"

[queries.longest]
sql = """
  SELECT k, window_start, window_end, COUNT(*) AS events, MAX(a) || MAX(b) AS both
  FROM TUMBLE(texts, ts, INTERVAL '10' SECOND)
  GROUP BY k, window_start, window_end
"""
sink = "rows"

[sinks.rows]
type = "dynamodb"
table = "${VIEWS_TABLE}"

[sinks.dead]
type = "dynamodb"
table = "${DEAD_TABLE}"
"#;

/// Text that compression does not make smaller than about three quarters.
fn noise(bytes: usize, rng: &mut Rng) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..bytes).map(|_| char::from(*rng.pick(LETTERS).unwrap())).collect()
}

#[test]
fn what_no_item_can_hold_is_set_aside_and_the_rest_counts() {
    let mut world = World::new(PIPELINE, &[], 20);
    let kinesis = KinesisServer::start(Arc::clone(&world.clock));
    let stream = Stream::create(kinesis.address(), STREAM, 1);
    world.set("AWS_ENDPOINT_URL_KINESIS", kinesis.url());
    let (ingest, advance) = (world.kinesis_function(), world.advance_function());

    let mut rng = Rng::new(20);
    let ts = wall_ms() / 10_000 * 10_000 - 30_000;
    let record = |k: &str, a: &str, b: &str| {
        json!({ "k": k, "ts": ts, "a": a, "b": b }).to_string().into_bytes()
    };
    let mut records = vec![record("small", "x", "y")];
    // A record whose one row is larger than a segment.
    records.push(record("huge", &noise(900_000, &mut rng), ""));
    // Two rows that fit, and make a result that no item holds.
    records.push(record("wide", &noise(300_000, &mut rng), ""));
    records.push(record("wide", "", &noise(300_000, &mut rng)));
    // A row that fits.
    records.push(record("fits", &noise(200_000, &mut rng), "z"));
    records.push(record("small", "xx", "y"));
    kinesis.put(STREAM, 0, records);

    let settings = KinesisSettings { batch_size: 100, ..KinesisSettings::new(20) };
    let mapping = KinesisMapping::create(stream, Arc::clone(&ingest) as _, settings);
    let schedule = Schedule::start(&advance, 1);
    mapping.drain(WITHIN);
    world.clock.move_on(PAST_IDLE);
    schedule.wait_for_more(3, WITHIN);

    let mut rows = world.tables.rows(RESULTS_TABLE);
    rows.sort_by_key(|row| row["k"].as_str().unwrap().to_string());
    let seen: Vec<(&str, u64, usize)> = rows
        .iter()
        .map(|row| {
            let both = row["both"].as_str().unwrap();
            (row["k"].as_str().unwrap(), row["events"].as_u64().unwrap(), both.len())
        })
        .collect();
    assert_eq!(seen, [("fits", 1, 200_001), ("small", 2, 3)]);
    let mut reasons: Vec<String> = world
        .dead_letters()
        .iter()
        .map(|row| row["reason"].as_str().unwrap().to_string())
        .collect();
    reasons.sort();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.contains(&"too_large".to_string()), "{reasons:?}");
    assert_eq!(mapping.counts().1, 0, "{:?}", mapping.last_failure());
    assert_eq!(schedule.failures(), Vec::<String>::new());
}
