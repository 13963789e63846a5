//! Records that nobody can count: each becomes a dead letter with its bytes, its place and the
//! reason, and everything around it counts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use end_to_end::ads::AdEvent;
use end_to_end::kinesis::{ReadFrom, Record};
use end_to_end::mapping::KinesisSettings;
use end_to_end::tables::Row;
use end_to_end::world::STREAM;
use serde_json::Value;

use crate::deployment::{Deployment, WITHIN, events_by_shard};

/// The 52 hexadecimal digits of a place: 186 bits of sequence number, 22 bits of sub-sequence
/// number, written down anew.
fn place(sequence: &str) -> String {
    let mut bytes = [0u8; 26];
    let mut shift_in = |factor: u32, add: u32| {
        let mut carry = add;
        for byte in bytes.iter_mut().rev() {
            let value = u32::from(*byte) * factor + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
    };
    sequence.bytes().for_each(|digit| shift_in(10, u32::from(digit - b'0')));
    shift_in(1 << 11, 0);
    shift_in(1 << 11, 0);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn records(deployment: &Deployment, shard: &str) -> Vec<Record> {
    let stream = deployment.stream();
    let iterator = stream.iterator(shard, &ReadFrom::TrimHorizon).unwrap();
    stream.read(&iterator, 10_000).unwrap().records
}

/// The bytes that a dead letter keeps.
fn raw(letter: &Value) -> Vec<u8> {
    match (letter["raw"].as_str(), letter["raw_base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(base64)) => BASE64.decode(base64).unwrap(),
        (None, None) => panic!("a dead letter without bytes: {letter}"),
    }
}

fn letter(row: &Row) -> Value {
    serde_json::from_str(row["letter"].as_str().unwrap()).unwrap()
}

#[test]
fn poison_records_become_dead_letters_and_the_rest_counts() {
    let deployment = Deployment::of_ads(2, 10);
    let shards = events_by_shard(2, 1_000, 60_000, 10);
    let long = [b"{\"ad_id\": \"".to_vec(), vec![b'x'; 100_000]].concat();
    let poison: [(&str, Vec<u8>); 7] = [
        ("undecodable", b"\xff\xfe\x00 no text".to_vec()),
        ("undecodable", b"{\"ad_id\": \"ad-1\", \"event_ty".to_vec()),
        ("undecodable", Vec::new()),
        ("undecodable", long),
        ("undecodable", b"[1, 2, 3]".to_vec()),
        ("no_event_time", b"{\"ad_id\": \"ad-1\", \"event_type\": \"view\"}".to_vec()),
        (
            "future",
            b"{\"ad_id\":\"ad-1\",\"event_type\":\"view\",\"event_time\":4102444800000}".to_vec(),
        ),
    ];
    for (shard, events) in shards.iter().enumerate() {
        let mut data: Vec<Vec<u8>> = events.iter().map(AdEvent::to_json).collect();
        for (number, (_, bytes)) in poison.iter().enumerate() {
            data.insert(100 * (number + 1), bytes.clone());
        }
        deployment.kinesis.put(STREAM, shard, data);
    }
    // The empty record first: the very first of its log.
    let mapping = deployment.map(KinesisSettings { batch_size: 150, ..KinesisSettings::new(10) });
    let schedule = deployment.schedule(1);
    mapping.drain(WITHIN);
    deployment.assert_counted(&shards.concat());
    let (_, failed) = mapping.counts();
    assert_eq!(failed, 0, "poison is no failure: {:?}", mapping.last_failure());
    assert_eq!(schedule.failures(), Vec::<String>::new());

    let rows = deployment.world.dead_letters();
    assert_eq!(rows.len(), 2 * poison.len(), "{rows:#?}");
    let ids: BTreeMap<&str, &Row> =
        rows.iter().map(|row| (row["result_id"].as_str().unwrap(), row)).collect();
    assert_eq!(ids.len(), rows.len(), "ids repeat");
    for shard in ["shardId-000000000000", "shardId-000000000001"] {
        let records = records(&deployment, shard);
        for (number, (reason, bytes)) in poison.iter().enumerate() {
            let record = &records[100 * (number + 1)];
            assert_eq!(&BASE64.decode(&record.data).unwrap(), bytes);
            let place = place(&record.sequence.0);
            let found = rows
                .iter()
                .map(letter)
                .find(|letter| letter["shard"] == shard && letter["position"] == place.as_str());
            let found = found.unwrap_or_else(|| panic!("none for {reason} at {place}: {rows:#?}"));
            assert_eq!(found["reason"], *reason, "{found}");
            assert_eq!(found["stream"], "ad_events");
            assert_eq!(found["raw_length"], bytes.len());
            let kept = raw(&found);
            assert!(bytes.starts_with(&kept));
            assert_eq!(kept.len(), bytes.len().min(4 * 1024));
        }
    }
}
