use aws_lambda_events::kafka::KafkaEvent as Peer;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Event;
use super::*;
use crate::test_world::{NOW, click, kafka_event, kafka_record, pipeline};

const CREATED: &str = "CREATE_TIME";
const APPENDED: &str = "LOG_APPEND_TIME";

fn read(json: &[u8]) -> Result<Vec<ShardBatch>, EventError> {
    Event::<KafkaEvent>::read(json).0?.batches(&pipeline(), WallMs(NOW))
}

fn code(json: &Value) -> &'static str {
    read(json.to_string().as_bytes()).unwrap_err().code()
}

#[test]
fn both_kinds_of_brokers_are_read_as_the_events_crate_reads_them() {
    for source in ["aws:kafka", "SelfManagedKafka"] {
        let mut records: Vec<Value> = (0..9)
            .map(|n| kafka_record(n % 3, u64::from(n), Some(&click("a", 5)), (APPENDED, NOW)))
            .collect();
        // The events crate reads headers as signed bytes only.
        records.iter_mut().for_each(|record| record["headers"] = json!([{ "h": [1, -2] }]));
        let json = kafka_event(source, &records);
        let peer: Peer = serde_json::from_slice(&json).unwrap();
        let batches = read(&json).unwrap();
        let logs: Vec<String> = batches.iter().map(|batch| batch.log.to_string()).collect();
        assert_eq!(logs, ["orders/0", "orders/1", "orders/2"], "sorted");
        for batch in batches {
            let theirs = &peer.records[&format!("orders-topic-{}", batch.log.shard)];
            assert_eq!(batch.raw.records.len(), theirs.len());
            assert!(batch.arrivals_are_broker_times);
            for (ours, theirs) in batch.raw.records.iter().zip(theirs) {
                assert_eq!(ours.position.to_offset(), Some(theirs.offset as u64));
                assert_eq!(ours.arrival.0, theirs.timestamp.0.timestamp_millis());
            }
        }
    }
}

#[test]
fn ten_partitions_are_sorted_by_number() {
    let records: Vec<Value> =
        (0..12).map(|n| kafka_record(n, 0, Some(b"{}"), (APPENDED, NOW))).collect();
    let batches = read(&kafka_event("aws:kafka", &records)).unwrap();
    let shards: Vec<u32> = batches.iter().map(|batch| batch.log.shard.parse().unwrap()).collect();
    assert_eq!(shards, (0..12).collect::<Vec<_>>());
}

#[test]
fn a_null_value_has_a_position_and_is_marked() {
    let json = kafka_event(
        "aws:kafka",
        &[
            kafka_record(0, 4, Some(b"{}"), (APPENDED, NOW)),
            kafka_record(0, 5, None, (APPENDED, NOW)),
            kafka_record(0, 6, Some(b""), (APPENDED, NOW)),
        ],
    );
    let raw = &read(&json).unwrap()[0].raw;
    let offsets: Vec<_> = raw.records.iter().map(|record| record.position.to_offset()).collect();
    assert_eq!(offsets, [Some(4), Some(5), Some(6)]);
    assert_eq!(raw.nulls, [1], "no bytes are something else than no value");
    let mut lacking = kafka_record(0, 7, None, (APPENDED, NOW));
    lacking.as_object_mut().unwrap().remove("value");
    assert_eq!(read(&kafka_event("aws:kafka", &[lacking])).unwrap()[0].raw.nulls, [0]);
}

#[test]
fn a_producer_s_time_is_believed_up_to_now() {
    let arrivals = |kind: &str, times: &[i64]| {
        let records: Vec<Value> = (0..)
            .zip(times)
            .map(|(offset, time)| kafka_record(0, offset, Some(b"{}"), (kind, *time)))
            .collect();
        let batch = read(&kafka_event("aws:kafka", &records)).unwrap().remove(0);
        let arrivals: Vec<i64> = batch.raw.records.iter().map(|record| record.arrival.0).collect();
        (arrivals, batch.arrivals_are_broker_times)
    };
    let times = [NOW - 5, NOW + 5, -1, 0];
    assert_eq!(arrivals(CREATED, &times), (vec![NOW - 5, NOW, NOW, 0], false));
    assert_eq!(arrivals(APPENDED, &times), (times.to_vec(), true));
    assert!(!arrivals("NO_TIMESTAMP_TYPE", &[-1]).1);
}

#[test]
fn one_record_with_a_producer_s_time_makes_the_batch_s_times_no_broker_s() {
    let json = kafka_event(
        "aws:kafka",
        &[
            kafka_record(0, 1, Some(b"{}"), (CREATED, NOW)),
            kafka_record(0, 2, Some(b"{}"), (APPENDED, NOW)),
            kafka_record(1, 1, Some(b"{}"), (APPENDED, NOW)),
        ],
    );
    let kinds: Vec<bool> =
        read(&json).unwrap().iter().map(|batch| batch.arrivals_are_broker_times).collect();
    assert_eq!(kinds, [false, true]);
}

#[test]
fn other_events_are_named() {
    assert_eq!(code(&json!({ "Records": [{ "eventSource": "aws:sqs" }] })), "Event.OtherSource");
    let kinesis = json!({ "Records": [{ "eventSource": "aws:kinesis", "kinesis": {} }] });
    let text = read(kinesis.to_string().as_bytes()).unwrap_err().to_string();
    assert!(text.contains("`aws:kinesis`"), "{text}");
    assert_eq!(code(&json!({ "Records": [{ "key": 1 }] })), "Event.OtherSource");
    assert_eq!(code(&json!({ "source": "aws.events" })), "Event.OtherSource");
    assert_eq!(code(&json!({ "eventSource": "aws:rmq", "records": {} })), "Event.OtherSource");
    for empty in [
        json!({}),
        json!({ "eventSource": "aws:kafka" }),
        json!({ "records": {} }),
        json!({ "eventSource": "aws:kafka", "records": { "orders-topic-0": [] } }),
    ] {
        assert_eq!(code(&empty), "Event.Empty", "{empty}");
    }
}

#[test]
fn what_is_no_kafka_record_makes_the_whole_event_an_error() {
    let good = kafka_record(0, 1, Some(b"{}"), (CREATED, NOW));
    for (member, value) in [
        ("offset", json!(-1)),
        ("offset", json!("1")),
        ("partition", json!(-1)),
        ("value", json!("not base64!")),
        ("value", json!(5)),
        ("timestamp", json!(null)),
    ] {
        let mut bad = kafka_record(0, 2, Some(b"{}"), (CREATED, NOW));
        bad[member] = value;
        // The driver's own grouping needs a sane partition.
        let json =
            json!({ "eventSource": "aws:kafka", "records": { "orders-topic-0": [good, bad] } });
        assert_eq!(code(&json), "Event.Malformed", "{member}");
    }
    let mut other = good.clone();
    other["topic"] = json!("other");
    let json = json!({ "eventSource": "aws:kafka", "records": { "a-0": [good], "b-0": [other] } });
    assert_eq!(code(&json), "Event.UnknownStream");
    let text = read(json.to_string().as_bytes()).unwrap_err().to_string();
    assert!(text.contains("`other`") && text.contains("`orders-topic`"), "{text}");
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }
}
