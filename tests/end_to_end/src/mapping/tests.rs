//! The mappings themselves, with functions that keep what they are given and fail at random.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_testkit::Rng;
use tidemill_testkit::servers::KinesisLocal;

use super::delivery::Policy;
use super::*;
use crate::clock::VirtualClock;
use crate::function::{Failure, Invoke};
use crate::kinesis::{Sequence, Stream};
use crate::kinesis_server::KinesisServer;
use crate::topic::Topic;
use crate::world::address_of;

const WITHIN: Duration = Duration::from_secs(60);

/// Notes of each shard what was acknowledged, in the order of the acknowledgements.
struct Fake {
    rng: Mutex<Rng>,
    fails_percent: u64,
    acknowledged: Mutex<Vec<(String, Sequence)>>,
    /// The most records that one event had.
    largest: Mutex<usize>,
}

impl Fake {
    fn new(fails_percent: u64, seed: u64) -> Arc<Fake> {
        Arc::new(Fake {
            rng: Mutex::new(Rng::new(seed)),
            fails_percent,
            acknowledged: Mutex::default(),
            largest: Mutex::default(),
        })
    }

    /// Acknowledged sequence numbers by shard, in order.
    fn by_shard(&self) -> BTreeMap<String, Vec<Sequence>> {
        let mut shards: BTreeMap<String, Vec<Sequence>> = BTreeMap::new();
        for (shard, sequence) in self.acknowledged.lock().unwrap().iter() {
            shards.entry(shard.clone()).or_default().push(sequence.clone());
        }
        shards
    }
}

impl Invoke for Fake {
    fn invoke(&self, event: &Value) -> Result<Value, Failure> {
        let records = event["Records"].as_array().unwrap();
        let mut largest = self.largest.lock().unwrap();
        *largest = records.len().max(*largest);
        let mut rng = self.rng.lock().unwrap();
        let failing = rng.chance(self.fails_percent);
        let (throws, first_failed) = (rng.chance(50), rng.index(records.len()));
        drop(rng);
        if failing && throws {
            return Err(Failure::TimedOut);
        }
        let done = if failing { first_failed } else { records.len() };
        let mut acknowledged = self.acknowledged.lock().unwrap();
        for record in &records[..done] {
            let shard = record["eventID"].as_str().unwrap().split(':').next().unwrap();
            let sequence = record["kinesis"]["sequenceNumber"].as_str().unwrap();
            acknowledged.push((shard.to_string(), Sequence(sequence.to_string())));
        }
        match records.get(done) {
            None => Ok(json!({ "batchItemFailures": [] })),
            Some(record) => Ok(json!({
                "batchItemFailures": [{ "itemIdentifier": record["kinesis"]["sequenceNumber"] }]
            })),
        }
    }
}

/// Each record first comes when all before it were acknowledged, and all come.
fn assert_in_order(acknowledged: &[Sequence], all: &[Sequence]) {
    let mut next = 0;
    for sequence in acknowledged {
        let index = all.iter().position(|known| known == sequence).unwrap();
        assert!(index <= next, "record {index} came before record {next} was acknowledged");
        next = next.max(index + 1);
    }
    assert_eq!(next, all.len(), "not all records came");
}

fn all_of(stream: &Stream, shard: &str) -> Vec<Sequence> {
    let mut iterator = stream.iterator(shard, &crate::kinesis::ReadFrom::TrimHorizon).unwrap();
    let mut all = Vec::new();
    loop {
        let page = stream.read(&iterator, 10_000).unwrap();
        let is_empty = page.records.is_empty();
        all.extend(page.records.into_iter().map(|record| record.sequence));
        match page.next {
            Some(next) if !is_empty => iterator = next,
            _ => return all,
        }
    }
}

fn own_kinesis(folder: &tempfile::TempDir) -> (KinesisServer, Stream) {
    let clock = Arc::new(VirtualClock::new(folder.path().join("clock")));
    let server = KinesisServer::start(clock);
    let stream = Stream::create(server.address(), "events", 3);
    for shard in 0..3 {
        server.put("events", shard, (0..400u32).map(|n| n.to_string().into_bytes()));
    }
    (server, stream)
}

#[test]
fn every_record_comes_in_order_whatever_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (server, stream) = own_kinesis(&folder);
    let fake = Fake::new(40, 1);
    let settings =
        KinesisSettings { batch_size: 50, replaced_percent: 40, ..KinesisSettings::new(7) };
    let mapping = KinesisMapping::create(
        Stream::at(server.address(), "events"),
        Arc::clone(&fake) as _,
        settings,
    );
    mapping.drain(WITHIN);
    drop(mapping);
    let shards = fake.by_shard();
    assert_eq!(shards.len(), 3);
    for (shard, acknowledged) in &shards {
        assert_in_order(acknowledged, &all_of(&stream, shard));
    }
    // Which shard it is depends on the threads' order.
    let came: usize = shards.values().map(Vec::len).sum();
    assert!(came > 3 * 400, "nothing was delivered again");
    assert!(*fake.largest.lock().unwrap() > 40);
}

#[test]
fn where_retries_end_records_go_to_the_on_failure_destination() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = own_kinesis(&folder);
    let fake = Fake::new(100, 1);
    let policy = Policy { bisect: false, report_failures: false, retries_max: Some(1) };
    let settings = KinesisSettings { policy, replaced_percent: 0, ..KinesisSettings::new(7) };
    // Without reports an answer is an acknowledgement; errors are not.
    let mapping = KinesisMapping::create(Stream::at(server.address(), "events"), fake, settings);
    mapping.drain(WITHIN);
    assert!(!mapping.discarded().is_empty());
}

#[test]
fn a_mapping_from_latest_skips_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (server, stream) = own_kinesis(&folder);
    let fake = Fake::new(0, 1);
    let settings =
        KinesisSettings { starting: StartingPosition::Latest, ..KinesisSettings::new(7) };
    let mapping = KinesisMapping::create(
        Stream::at(server.address(), "events"),
        Arc::clone(&fake) as _,
        settings,
    );
    mapping.drain(WITHIN);
    server.put("events", 1, [b"new".to_vec()]);
    mapping.drain(WITHIN);
    let shards = fake.by_shard();
    let last = all_of(&stream, "shardId-000000000001").pop().unwrap();
    assert_eq!(shards, BTreeMap::from([("shardId-000000000001".to_string(), vec![last])]));
}

#[test]
fn children_are_read_when_their_parents_are_done() {
    let kinesis = KinesisLocal::start();
    let address = address_of(&kinesis.url());
    let stream = Stream::create(address, "events", 1);
    let records =
        |from: u32| (from..from + 60).map(|n| (n.to_string(), vec![1])).collect::<Vec<_>>();
    stream.put(&records(0));
    let first = stream.shards().unwrap().remove(0);
    stream.split(&first);
    stream.put(&records(100));
    let open: Vec<_> =
        stream.shards().unwrap().into_iter().filter(|shard| !shard.is_closed).collect();
    assert_eq!(open.len(), 2);
    stream.merge(&open[0], &open[1]);
    stream.put(&records(200));

    let fake = Fake::new(20, 1);
    let settings = KinesisSettings { batch_size: 20, ..KinesisSettings::new(7) };
    let mapping =
        KinesisMapping::create(Stream::at(address, "events"), Arc::clone(&fake) as _, settings);
    mapping.drain(WITHIN);
    drop(mapping);
    let acknowledged = fake.acknowledged.lock().unwrap().clone();
    let shards = stream.shards().unwrap();
    assert_eq!(shards.len(), 4);
    for shard in &shards {
        let all = all_of(&stream, &shard.id);
        let own: Vec<Sequence> = acknowledged
            .iter()
            .filter(|(id, _)| *id == shard.id)
            .map(|(_, sequence)| sequence.clone())
            .collect();
        assert_in_order(&own, &all);
        let first = acknowledged.iter().position(|(id, _)| *id == shard.id).unwrap();
        for parent in &shard.parents {
            let seen = acknowledged[..first].iter().filter(|(id, _)| id == parent);
            assert_in_order(
                &seen.map(|(_, sequence)| sequence.clone()).collect::<Vec<_>>(),
                &all_of(&stream, parent),
            );
        }
    }
    let merged = shards.iter().find(|shard| shard.parents.len() == 2);
    assert!(merged.is_some(), "{shards:?}");
}

/// Notes offsets of a topic's partitions, and fails at random.
struct FakeOfTopic {
    rng: Mutex<Rng>,
    seen: Mutex<BTreeMap<String, Vec<i64>>>,
}

impl Invoke for FakeOfTopic {
    fn invoke(&self, event: &Value) -> Result<Value, Failure> {
        if self.rng.lock().unwrap().chance(30) {
            return Err(Failure::TimedOut);
        }
        assert_eq!(event["eventSource"], "aws:kafka");
        let mut seen = self.seen.lock().unwrap();
        for (partition, records) in event["records"].as_object().unwrap() {
            let offsets = seen.entry(partition.clone()).or_default();
            for record in records.as_array().unwrap() {
                assert_eq!(record["headers"][0]["origin"][0], i64::from(b't'));
                offsets.push(record["offset"].as_i64().unwrap());
            }
        }
        Ok(Value::Null)
    }
}

#[test]
fn a_topic_comes_in_batches_of_several_partitions_each_in_order() {
    let topic = Topic::create("events", 3);
    let records: Vec<_> =
        (0..300).map(|n| (n % 3, 1_000 + i64::from(n), Some(vec![b'x']))).collect();
    let ends = topic.produce(&records);
    assert_eq!(ends, BTreeMap::from([(0, 100), (1, 100), (2, 100)]));
    let fake = Arc::new(FakeOfTopic { rng: Mutex::new(Rng::new(1)), seen: Mutex::default() });
    let settings = KafkaSettings {
        bootstrap_servers: topic.bootstrap_servers(),
        topic: "events".to_string(),
        partitions: 3,
        batch_size: 40,
        replaced_percent: 10,
        seed: 7,
    };
    let mapping = KafkaMapping::create(settings, Arc::clone(&fake) as _);
    mapping.wait_through(&ends, WITHIN);
    let (_, failures, mixed) = mapping.counts();
    drop(mapping);
    assert!(failures > 0 && mixed > 0, "failures={failures} mixed={mixed}");
    for (partition, offsets) in fake.seen.lock().unwrap().iter() {
        let mut next = 0;
        for offset in offsets {
            assert!(*offset <= next, "{partition}: {offset} came before {next}");
            next = next.max(offset + 1);
        }
        assert_eq!(next, 100);
    }
}
