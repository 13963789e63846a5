//! A Kinesis event: every record of it, user records of aggregates included, or an error.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidemill_aws::kpl;
use tidemill_lambda::event::{Event, EventError, ShardBatch, kinesis::KinesisEvent};
use tidemill_model::Position;

use crate::Reached;
use crate::events::{PIPELINE, contents, is_whole, judged, tells};
use crate::kpl::aggregate;

/// An event as it came, and one whose payloads the input's lines are: plain, or (a line that begins
/// with `*`) an aggregate's body, or (`+`) an aggregate of the line's words.
pub fn kinesis_event(input: &[u8]) -> Reached {
    let reached = judged(read(input), |batches| as_another_reader_has_it(input, batches));
    let payloads: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(payload).collect();
    let event = event(&payloads);
    let batches = read(&event).unwrap();
    assert_eq!(batches.len(), 1);
    let expected =
        payloads.iter().map(|payload| kpl::unpack(payload).map_or(1, |users| users.len()));
    assert_eq!(batches[0].raw.records.len(), expected.sum::<usize>());
    assert!(batches[0].raw.records.is_sorted_by(|a, b| a.position < b.position));
    batches.iter().for_each(is_whole);
    as_another_reader_has_it(&event, &batches);
    nothing_of_a_payload_is_told(&event, &payloads);
    reached
}

fn read(json: &[u8]) -> Result<Vec<ShardBatch>, EventError> {
    Event::<KinesisEvent>::read(json).0?.batches(&PIPELINE)
}

fn payload(line: &[u8]) -> Vec<u8> {
    match line.split_first() {
        Some((b'*', body)) => aggregate(body),
        Some((b'+', words)) => kpl::pack(&words.split(|byte| *byte == b' ').collect::<Vec<_>>()),
        _ => line.to_vec(),
    }
}

fn event(payloads: &[Vec<u8>]) -> Vec<u8> {
    let record = |(n, payload): (u64, &Vec<u8>)| {
        let sequence = format!("4959033827149025660855969253836{:025}", n * 7);
        json!({
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": "p",
                "sequenceNumber": sequence,
                "data": STANDARD.encode(payload),
                "approximateArrivalTimestamp": 1_700_000_000.25 + n as f64,
            },
            "eventSource": "aws:kinesis",
            "eventID": format!("shardId-000000000000:{sequence}"),
            "eventSourceARN": "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks-stream",
        })
    };
    let records: Vec<Value> = (0..).zip(payloads).map(record).collect();
    json!({ "Records": records }).to_string().into_bytes()
}

/// Bytes, position and arrival of a record.
type Known = (Vec<u8>, Position, i64);

/// The same records, found by reading the event as a tree.
fn as_another_reader_has_it(event: &[u8], batches: &[ShardBatch]) {
    // A member that nobody reads may hold what no number of serde_json's can.
    let Ok(json) = serde_json::from_slice::<Value>(event) else { return };
    let mut expected: BTreeMap<(String, String), Vec<Known>> = BTreeMap::new();
    for record in json["Records"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let arn = text(&record["eventSourceARN"]);
        let (_, name) = arn.split_once(":stream/").unwrap();
        let stream = PIPELINE.stream_of_kinesis(name.split('/').next().unwrap()).unwrap();
        let id = text(&record["eventID"]);
        let shard = id.split_once(':').unwrap().0.to_string();
        let data = &record["kinesis"];
        let payload = STANDARD.decode(text(&data["data"])).unwrap();
        let arrival = data["approximateArrivalTimestamp"].as_f64().unwrap() * 1000.0;
        let users = kpl::unpack(&payload).unwrap_or_else(|| vec![payload.into()]);
        let records = expected.entry((stream.name.clone(), shard)).or_default();
        for (sub, user) in (0..).zip(users) {
            let position = Position::from_sequence(&text(&data["sequenceNumber"]), sub).unwrap();
            records.push((user.to_vec(), position, arrival.round() as i64));
        }
    }
    let mut found = BTreeMap::new();
    for batch in batches {
        let positions = batch.raw.records.iter().map(|record| (record.position, record.arrival.0));
        let records = contents(&batch.raw).into_iter().zip(positions);
        let records: Vec<_> = records
            .map(|(bytes, (position, arrival))| (bytes.to_vec(), position, arrival))
            .collect();
        let log = (batch.log.stream.clone(), batch.log.shard.clone());
        assert!(found.insert(log, records).is_none(), "a shard has one batch");
    }
    assert_eq!(found, expected);
}

/// A payload that is no base64 is an error that does not repeat it.
fn nothing_of_a_payload_is_told(event: &[u8], payloads: &[Vec<u8>]) {
    let Some(longest) = payloads.iter().max_by_key(|payload| payload.len()) else { return };
    let base64 = STANDARD.encode(longest);
    let event = String::from_utf8_lossy(event);
    let error = read(event.replace(&base64, &format!("{base64}!")).as_bytes()).unwrap_err();
    assert!(!tells(&error.to_string(), &base64), "an error holds a record's content: {error}");
}
