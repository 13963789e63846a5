use aws_lambda_events::kinesis::KinesisEvent as Peer;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Event;
use super::*;
use crate::test_world::{NOW, click, kinesis_event, kinesis_record, pipeline, position, sequence};

fn read(json: &[u8]) -> Result<Vec<ShardBatch>, EventError> {
    Event::<KinesisEvent>::read(json).0?.batches(&pipeline())
}

fn code(json: &Value) -> &'static str {
    read(json.to_string().as_bytes()).unwrap_err().code()
}

#[test]
fn records_are_those_that_the_events_crate_reads() {
    let records: Vec<Value> =
        (0..20).map(|n| kinesis_record(0, n, &click("a", NOW + i64::from(n)))).collect();
    let json = kinesis_event(&records);
    let peer: Peer = serde_json::from_slice(&json).unwrap();
    let batches = read(&json).unwrap();
    assert_eq!(batches.len(), 1);
    let ShardBatch { log, raw, arrivals_are_broker_times } = &batches[0];
    assert_eq!(log.to_string(), "clicks/shardId-000000000000");
    assert!(arrivals_are_broker_times);
    assert_eq!(raw.records.len(), peer.records.len());
    for (index, (ours, theirs)) in raw.records.iter().zip(&peer.records).enumerate() {
        let theirs = &theirs.kinesis;
        assert_eq!(raw.bytes_of(index), &theirs.data.0[..]);
        assert_eq!(ours.position.to_sequence(), (theirs.sequence_number.clone(), 0));
        // That crate reads `.001` as ten milliseconds, so the time is not compared with its.
        assert_eq!(ours.arrival.0, NOW + index as i64, "milliseconds are kept");
    }
}

#[test]
fn the_runtime_s_way_of_reading_gives_the_same() {
    let json = kinesis_event(&[kinesis_record(0, 1, b"{}")]);
    let event: Event<KinesisEvent> =
        serde::Deserialize::deserialize(&mut serde_json::Deserializer::from_slice(&json)).unwrap();
    assert_eq!(event.0.unwrap().batches(&pipeline()).unwrap()[0].raw.records.len(), 1);
    // An event that is cut off is an answer too, never a failure to read.
    let mut cut = serde_json::Deserializer::from_slice(&json[..json.len() / 2]);
    let event: Event<KinesisEvent> = serde::Deserialize::deserialize(&mut cut).unwrap();
    assert_eq!(event.0.unwrap_err().code(), "Event.Malformed");
}

#[test]
fn user_records_of_an_aggregate_have_sub_sequence_numbers() {
    let aggregate = kpl::pack(&[b"one", b"", b"three"]);
    let json = kinesis_event(&[
        kinesis_record(0, 1, b"before"),
        kinesis_record(0, 2, &aggregate),
        kinesis_record(0, 3, b"after"),
    ]);
    let raw = &read(&json).unwrap()[0].raw;
    let found: Vec<(&[u8], Position)> =
        (0..raw.records.len()).map(|n| (raw.bytes_of(n), raw.records[n].position)).collect();
    let expected: [(&[u8], Position); 5] = [
        (b"before", position(1, 0)),
        (b"one", position(2, 0)),
        (b"", position(2, 1)),
        (b"three", position(2, 2)),
        (b"after", position(3, 0)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_broken_aggregate_is_a_plain_record() {
    let mut aggregate = kpl::pack(&[b"one", b"two"]);
    *aggregate.last_mut().unwrap() ^= 1;
    let raw = &read(&kinesis_event(&[kinesis_record(0, 2, &aggregate)])).unwrap()[0].raw;
    assert_eq!(raw.records.len(), 1);
    assert_eq!(raw.bytes_of(0), aggregate);
}

#[test]
fn several_shards_are_kept_apart() {
    let json = kinesis_event(&[
        kinesis_record(1, 1, b"a"),
        kinesis_record(0, 2, b"b"),
        kinesis_record(1, 3, b"c"),
    ]);
    let batches = read(&json).unwrap();
    let logs: Vec<(String, usize)> =
        batches.iter().map(|b| (b.log.shard.clone(), b.raw.records.len())).collect();
    let shard = |n: u32| format!("shardId-{n:012}");
    assert_eq!(logs, [(shard(1), 2), (shard(0), 1)]);
}

#[test]
fn a_consumer_s_arn_names_its_stream() {
    let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks-stream/consumer/c:1";
    assert_eq!(stream_of(arn), Some("clicks-stream"));
    assert_eq!(stream_of("arn:aws:kinesis:eu-central-1:1:stream/"), None);
    assert_eq!(stream_of("arn:aws:sqs:eu-central-1:1:clicks-stream"), None);
}

#[test]
fn other_events_are_named() {
    let sqs = json!({ "Records": [{
        "messageId": "1", "body": "x", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:q"
    }, { "messageId": 2 }] });
    assert_eq!(code(&sqs), "Event.OtherSource");
    let text = read(sqs.to_string().as_bytes()).unwrap_err().to_string();
    assert!(text.contains("aws:sqs") && text.contains("Kinesis"), "{text}");
    assert_eq!(
        code(&json!({ "Records": [{ "EventSource": "aws:sns", "Sns": {} }] })),
        "Event.OtherSource"
    );
    assert_eq!(code(&json!({ "source": "aws.events", "detail": {} })), "Event.OtherSource");
    assert_eq!(code(&json!({ "eventSource": "aws:kafka", "records": {} })), "Event.OtherSource");
    assert_eq!(code(&json!({ "Records": [{ "key": 1 }] })), "Event.OtherSource");
}

#[test]
fn an_event_without_records_says_what_was_expected() {
    for empty in [
        json!({}),
        json!({ "Records": [] }),
        json!({ "Records": null }),
        json!({ "key1": "value1" }),
    ] {
        assert_eq!(code(&empty), "Event.Empty", "{empty}");
    }
    let text = read(b"{}").unwrap_err().to_string();
    assert!(text.contains("`Records`") && text.contains("aws:kinesis"), "{text}");
}

#[test]
fn what_is_no_kinesis_record_makes_the_whole_event_an_error() {
    let good = kinesis_record(0, 1, b"{}");
    let with = |path: &str, value: Value| {
        let mut bad = kinesis_record(0, 2, b"{}");
        *bad.pointer_mut(path).unwrap() = value;
        read(&kinesis_event(&[good.clone(), bad, good.clone()])).unwrap_err()
    };
    for (path, value) in [
        ("/kinesis", json!(null)),
        ("/kinesis", json!(7)),
        ("/kinesis/data", json!("not base64!")),
        ("/kinesis/sequenceNumber", json!("12a")),
        ("/kinesis/sequenceNumber", json!("9".repeat(60))),
        ("/kinesis/approximateArrivalTimestamp", json!("soon")),
        ("/eventID", json!("no colon")),
        ("/eventID", json!(null)),
        ("/eventSourceARN", json!(null)),
        ("/eventSourceARN", json!("arn:aws:sqs:x:y:z")),
    ] {
        let error = with(path, value);
        assert_eq!(error.code(), "Event.Malformed", "{path}: {error}");
    }
    assert_eq!(read(b"").unwrap_err().code(), "Event.Malformed");
    assert_eq!(read(b"[1]").unwrap_err().code(), "Event.Malformed");
    assert_eq!(read(br#"{"Records":{}}"#).unwrap_err().code(), "Event.Malformed");
}

#[test]
fn a_stream_that_the_pipeline_does_not_name_is_an_error() {
    let mut record = kinesis_record(0, 1, b"{}");
    record["eventSourceARN"] = json!("arn:aws:kinesis:r:1:stream/other");
    let error = read(&kinesis_event(&[kinesis_record(0, 0, b"{}"), record])).unwrap_err();
    assert_eq!(error.code(), "Event.UnknownStream");
    let text = error.to_string();
    assert!(text.contains("`other`") && text.contains("`clicks-stream`"), "{text}");
}

#[test]
fn arrivals_may_lie_anywhere() {
    for (seconds, ms) in
        [(0.0, 0), (-1.5, -1_500), (1e300, i64::MAX), (1_700_000_000.000_6, NOW + 1)]
    {
        let mut record = kinesis_record(0, 1, b"{}");
        record["kinesis"]["approximateArrivalTimestamp"] = json!(seconds);
        let raw = &read(&kinesis_event(&[record])).unwrap()[0].raw;
        assert_eq!(raw.records[0].arrival.0, ms);
    }
}

#[test]
fn escapes_in_the_json_change_nothing() {
    let json =
        String::from_utf8(kinesis_event(&[kinesis_record(0, 1, b"\xff\xff\xfe???")])).unwrap();
    let escaped = json.replace('/', "\\/");
    assert_ne!(json, escaped);
    assert_eq!(read(escaped.as_bytes()).unwrap()[0].raw.bytes_of(0), b"\xff\xff\xfe???");
    assert_eq!(position(1, 0).to_sequence().0, sequence(1));
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn payloads_come_out_as_they_went_in(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..20),
    ) {
        let records: Vec<Value> = payloads
            .iter()
            .enumerate()
            .map(|(n, payload)| kinesis_record(0, n as u32, payload))
            .collect();
        let batches = read(&kinesis_event(&records)).unwrap();
        for (n, payload) in payloads.iter().enumerate() {
            prop_assert_eq!(batches[0].raw.bytes_of(n), &payload[..]);
        }
    }
}
