//! A Kafka event: every record of it, tombstones included, or an error.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};
use tidemill_lambda::event::{Event, EventError, ShardBatch, kafka::KafkaEvent};
use tidemill_model::WallMs;

use crate::Reached;
use crate::events::{PIPELINE, contents, is_whole, judged, tells};

const NOW: WallMs = WallMs(1_700_000_000_000);

/// An event as it came, and one whose values the input's lines are; a line `-` is a tombstone.
pub fn kafka_event(input: &[u8]) -> Reached {
    let reached = judged(read(input), |batches| as_another_reader_has_it(input, batches));
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let event = event(&lines);
    let batches = read(&event).unwrap();
    let records: usize = batches.iter().map(|batch| batch.raw.records.len()).sum();
    assert_eq!(records, lines.len());
    for batch in &batches {
        is_whole(batch);
        assert!(batch.raw.records.is_sorted_by(|a, b| a.position < b.position));
        assert!(batch.raw.records.iter().all(|record| record.arrival <= NOW));
    }
    as_another_reader_has_it(&event, &batches);
    nothing_of_a_value_is_told(&event, &lines);
    reached
}

fn read(json: &[u8]) -> Result<Vec<ShardBatch>, EventError> {
    Event::<KafkaEvent>::read(json).0?.batches(&PIPELINE, NOW)
}

/// Lines by turns into three partitions.
fn event(lines: &[&[u8]]) -> Vec<u8> {
    let mut partitions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (n, line) in (0..).zip(lines) {
        let partition: i64 = n % 3;
        partitions.entry(format!("orders-topic-{partition}")).or_default().push(json!({
            "topic": "orders-topic",
            "partition": partition,
            "offset": n,
            "timestamp": NOW.0 - 5 + n,
            "timestampType": "CREATE_TIME",
            "value": (*line != b"-").then(|| STANDARD.encode(line)),
        }));
    }
    json!({ "eventSource": "aws:kafka", "records": partitions }).to_string().into_bytes()
}

/// The records of an event in their order, as trees; of partitions that are named twice, all.
struct Records(Vec<Value>);

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Records, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Records;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("lists by partition")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Records, A::Error> {
                let mut all = Vec::new();
                while let Some((_, list)) = map.next_entry::<String, Vec<Value>>()? {
                    all.extend(list);
                }
                Ok(Records(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[derive(serde::Deserialize)]
struct Members {
    records: Records,
}

/// Value and offset of a record.
type Known = (Option<Vec<u8>>, u64);

/// The same records, found by reading the event as a tree.
fn as_another_reader_has_it(event: &[u8], batches: &[ShardBatch]) {
    // A member that nobody reads may hold what no number of serde_json's can.
    let Ok(Members { records: Records(records) }) = serde_json::from_slice(event) else { return };
    let mut expected: BTreeMap<(String, String), Vec<Known>> = BTreeMap::new();
    for record in &records {
        let stream = PIPELINE.stream_of_topic(record["topic"].as_str().unwrap()).unwrap();
        let value = record["value"].as_str().map(|value| STANDARD.decode(value).unwrap());
        let log = (stream.name.clone(), record["partition"].to_string());
        expected.entry(log).or_default().push((value, record["offset"].as_u64().unwrap()));
    }
    let mut found = BTreeMap::new();
    for batch in batches {
        let raw = &batch.raw;
        let value = |(index, bytes): (u32, &[u8])| {
            let offset = raw.records[index as usize].position.to_offset().unwrap();
            let null = raw.nulls.binary_search(&index).is_ok();
            assert!(!null || bytes.is_empty());
            ((!null).then(|| bytes.to_vec()), offset)
        };
        let records: Vec<_> = (0..).zip(contents(raw)).map(value).collect();
        let log = (batch.log.stream.clone(), batch.log.shard.clone());
        assert!(found.insert(log, records).is_none(), "a partition has one batch");
    }
    assert_eq!(found, expected);
}

/// A value that is no base64 is an error that does not repeat it.
fn nothing_of_a_value_is_told(event: &[u8], lines: &[&[u8]]) {
    let Some(longest) = lines.iter().max_by_key(|line| line.len()).filter(|line| **line != b"-")
    else {
        return;
    };
    let base64 = STANDARD.encode(longest);
    let event = String::from_utf8_lossy(event);
    let wrong = event.replace(&format!("\"{base64}\""), &format!("\"{base64}!\""));
    let error = read(wrong.as_bytes()).unwrap_err();
    assert!(!tells(&error.to_string(), &base64), "an error holds a record's content: {error}");
}
