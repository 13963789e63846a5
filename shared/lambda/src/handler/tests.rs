//! Deliveries as Lambda makes them, over a store that fails at every call in turn.

use proptest::prelude::*;
use serde_json::Value;
use tidemill_aws::kpl;
use tidemill_model::store::Store;
use tidemill_testkit::{Call, Fault, FaultyStore, MemoryStore, Rng};

use super::*;
use crate::test_world::{
    NOW, World, click, kafka_event, kafka_record, kinesis_event, kinesis_record, position, sequence,
};

const SHARD: &str = "clicks/shardId-000000000000";
/// So small that a few records fill a segment.
const SMALL: usize = 900;

/// The first sequence number that is reported as failed; `None`: everything is acknowledged.
async fn deliver(handler: &mut Handler, records: &[Value]) -> Result<Option<String>, Failure> {
    let event = Event::read(&kinesis_event(records));
    let response = handler.kinesis(event, "r-1", None).await?;
    let failures = response.batch_item_failures;
    assert!(failures.len() <= 1, "one shard, one failure");
    Ok(failures.into_iter().next().map(|failure| failure.item_identifier.unwrap()))
}

/// A name that no compression makes smaller.
fn user(n: u32, sub: u32) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(format!("{n} {sub}").as_bytes()))
}

/// Records of one shard: every fifth an aggregate of seven clicks, every seventh unreadable.
fn records(count: u32) -> Vec<Value> {
    let payload = |n: u32| match n {
        n if n % 5 == 4 => {
            let clicks: Vec<Vec<u8>> = (0..7).map(|sub| click(&user(n, sub), NOW)).collect();
            kpl::pack(&clicks.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        n if n % 7 == 6 => b"nonsense".to_vec(),
        n => click(&user(n, 0), NOW),
    };
    (0..count).map(|n| kinesis_record(0, n, &payload(n))).collect()
}

/// Raw records in `records(count)`.
fn raw_count(count: u32) -> u64 {
    (0..count).map(|n| if n % 5 == 4 { 7 } else { 1 }).sum()
}

/// The rank of a sequence number.
fn rank(sequence_number: &str) -> usize {
    (0..).find(|n| sequence(*n) == sequence_number).unwrap() as usize
}

#[tokio::test]
async fn a_batch_is_in_the_log_once_however_often_it_comes() {
    let world = World::new();
    let mut handler = world.handler();
    let records = records(40);
    for _ in 0..3 {
        assert_eq!(deliver(&mut handler, &records).await, Ok(None));
        assert_eq!(world.records(SHARD).await, raw_count(40));
    }
    assert_eq!(deliver(&mut world.handler(), &records).await, Ok(None), "a cold process");
    assert_eq!(world.segments(SHARD).await.len(), 1);
    assert_eq!(world.metrics.sum("Records"), Some(raw_count(40) as f64));
    assert_eq!(world.metrics.sum("DuplicatesSkipped"), Some(3.0 * raw_count(40) as f64));
    assert_eq!(world.metrics.sum("RecordsRejected"), Some(4.0), "6, 13, 20 and 27 are none");
    assert_eq!(world.metrics.sum("Segments"), Some(1.0));
}

/// Whatever the store does at whichever call: what is acknowledged is in the log, and what comes
/// again from there is counted once.
#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_in_the_log() {
    let faults = [Fault::Refused, Fault::Vanished, Fault::Lost];
    let batch = records(30);
    let mut partial = 0;
    for fault in faults {
        for number in 0.. {
            let world = World::new();
            let plan = move |call: &Call| if call.number == number { fault } else { Fault::None };
            let store = Arc::new(FaultyStore::new(world.store.clone(), plan));
            let mut handler = world.handler_on(store.clone() as Arc<dyn Store>, SMALL);
            let mut from = 0;
            let mut deliveries = 0;
            while from < batch.len() {
                deliveries += 1;
                assert!(deliveries < 10, "{fault:?} at {number}");
                let failed = deliver(&mut handler, &batch[from..]).await.unwrap();
                let tail = world.tail(SHARD).await;
                let next = failed.map_or(batch.len(), |number| rank(&number));
                assert!(next >= from);
                for n in from..next {
                    let last = if n % 5 == 4 { 6 } else { 0 };
                    assert!(position(n as u32, last) <= tail, "{fault:?} at {number}: {n}");
                }
                partial += usize::from(next > from && next < batch.len());
                from = next;
            }
            assert_eq!(world.records(SHARD).await, raw_count(30), "{fault:?} at {number}");
            if store.history().len() as u64 <= number {
                break;
            }
        }
    }
    assert!(partial >= 6, "there are partial responses, not only whole ones: {partial}");
}

#[tokio::test]
async fn an_aggregate_that_is_in_the_log_by_half_comes_again_whole() {
    let world = World::new();
    let clicks: Vec<Vec<u8>> = (0..200).map(|sub| click(&user(1, sub), NOW)).collect();
    let aggregate = kpl::pack(&clicks.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let batch = [
        kinesis_record(0, 0, &click("a", NOW)),
        kinesis_record(0, 1, &aggregate),
        kinesis_record(0, 2, &click("b", NOW)),
    ];
    // The third put fails: segments are so small that the aggregate has begun by then.
    let mut puts = 0;
    let plan = move |call: &Call| {
        let put = call.verb == tidemill_testkit::Verb::PutNew && call.pk.contains("/log/");
        puts += u32::from(put);
        if put && puts == 3 { Fault::Refused } else { Fault::None }
    };
    let store = Arc::new(FaultyStore::new(world.store.clone(), plan));
    let mut handler = world.handler_on(store as Arc<dyn Store>, SMALL);
    assert_eq!(deliver(&mut handler, &batch).await, Ok(Some(sequence(1))));
    let tail = world.tail(SHARD).await;
    assert!(position(1, 0) < tail && tail < position(1, 199), "in the middle: {tail:?}");
    assert_eq!(deliver(&mut handler, &batch[1..]).await, Ok(None));
    assert_eq!(world.records(SHARD).await, 202);
}

#[tokio::test]
async fn a_stuck_shard_is_reported_and_does_not_stop_another() {
    let world = World::new();
    let mut handler = world.handler();
    // Out of order: nobody may guess which of them are in the log.
    let event = kinesis_event(&[
        kinesis_record(0, 2, b"{}"),
        kinesis_record(1, 3, &click("a", NOW)),
        kinesis_record(0, 1, b"{}"),
    ]);
    let response = handler.kinesis(Event::read(&event), "r", None).await.unwrap();
    let failed: Vec<_> =
        response.batch_item_failures.into_iter().map(|one| one.item_identifier.unwrap()).collect();
    assert_eq!(failed, [sequence(2)], "the first record of its shard, as it came");
    assert_eq!(world.records(SHARD).await, 0);
    assert_eq!(world.records("clicks/shardId-000000000001").await, 1);
    assert_eq!(world.metrics.sum("BatchesFailed"), Some(1.0));
    assert_eq!(world.metrics.sum("BatchesStuck"), Some(1.0));
}

#[tokio::test]
async fn a_shard_that_cannot_be_registered_comes_again_whole() {
    let world = World::new();
    *world.shards.is_down.lock().unwrap() = true;
    let mut handler = world.handler();
    let batch = records(3);
    assert_eq!(deliver(&mut handler, &batch).await, Ok(Some(sequence(0))));
    *world.shards.is_down.lock().unwrap() = false;
    assert_eq!(deliver(&mut handler, &batch).await, Ok(None));
    assert_eq!(world.registered().await.len(), 4, "all shards, before the first segment");
}

#[tokio::test]
async fn when_the_time_is_up_the_rest_comes_again() {
    let world = World::new();
    let stall_third_put = {
        let mut puts = 0;
        move |call: &Call| {
            let put = call.verb == tidemill_testkit::Verb::PutNew && call.pk.contains("/log/");
            puts += u32::from(put);
            if put && puts == 3 { Fault::Stall } else { Fault::None }
        }
    };
    let store = Arc::new(FaultyStore::new(world.store.clone(), stall_third_put));
    let mut handler = world.handler_on(store as Arc<dyn Store>, SMALL);
    let batch = records(30);
    let event = Event::read(&kinesis_event(&batch));
    let left = Some(Duration::from_millis(200));
    let response = handler.kinesis(event, "r", left).await.unwrap();
    assert_eq!(response.batch_item_failures[0].item_identifier, Some(sequence(0)));
    assert_eq!(world.segments(SHARD).await.len(), 2, "what was done stays");
    assert_eq!(deliver(&mut handler, &batch).await, Ok(None), "the tail is read again");
    assert_eq!(world.records(SHARD).await, raw_count(30));
}

#[tokio::test]
async fn an_event_of_another_kind_is_an_error_and_leaves_nothing() {
    let world = World::new();
    let mut handler = world.handler();
    let mut other = kinesis_record(0, 1, b"{}");
    other["eventSourceARN"] = "arn:aws:kinesis:r:1:stream/other".into();
    for (code, event) in [
        ("Event.Empty", b"{}".to_vec()),
        ("Event.OtherSource", br#"{"Records":[{"eventSource":"aws:sqs"}]}"#.to_vec()),
        ("Event.Malformed", b"[]".to_vec()),
        ("Event.UnknownStream", kinesis_event(&[kinesis_record(0, 0, b"{}"), other])),
    ] {
        let error = handler.kinesis(Event::read(&event), "r", None).await.unwrap_err();
        assert_eq!(error.code, code);
        let diagnostic = lambda_runtime::Diagnostic::from(error);
        assert_eq!(diagnostic.error_type, code);
    }
    assert!(world.store.rows().is_empty());
}

#[tokio::test]
async fn clocks_may_disagree_by_hours() {
    let world = World::new();
    let mut handler = world.handler();
    let batch = records(10);
    for now in [NOW, NOW + 3_600_000, NOW - 3 * 3_600_000] {
        world.now.store(now, std::sync::atomic::Ordering::SeqCst);
        let from = world.segments(SHARD).await.len();
        let record = &batch[from..=from];
        assert_eq!(deliver(&mut handler, record).await, Ok(None), "at {now}");
    }
    assert_eq!(world.segments(SHARD).await.len(), 3);
}

fn orders(partition: u32, offsets: std::ops::Range<u64>) -> Vec<Value> {
    offsets
        .map(|offset| {
            let payload = click(&user(partition, offset as u32), NOW);
            // Every fourth is a tombstone.
            let payload = (offset % 4 != 3).then_some(&payload[..]);
            kafka_record(partition, offset, payload, ("CREATE_TIME", NOW - 1))
        })
        .collect()
}

#[tokio::test]
async fn partitions_are_logs_of_their_own_and_tombstones_dead_letters() {
    let world = World::new();
    let mut handler = world.handler();
    let records = [orders(1, 0..8), orders(0, 100..104)].concat();
    for source in ["aws:kafka", "SelfManagedKafka"] {
        let event = Event::read(&kafka_event(source, &records));
        handler.kafka(event, "r", None).await.unwrap();
    }
    assert_eq!((world.records("orders/0").await, world.records("orders/1").await), (4, 8));
    let segment = world.segments("orders/1").await.remove(0);
    let dead: Vec<(Option<u64>, String)> = segment
        .dead_letters
        .iter()
        .map(|letter| (letter.position.to_offset(), format!("{:?}", letter.reason)))
        .collect();
    assert_eq!(dead.iter().map(|(offset, _)| offset.unwrap()).collect::<Vec<_>>(), [3, 7]);
    assert!(dead.iter().all(|(_, reason)| reason.contains("no value (null)")), "{dead:?}");
}

#[tokio::test]
async fn a_failed_partition_fails_the_event_and_not_the_others() {
    for number in 0..12 {
        let world = World::new();
        let plan = move |call: &Call| match call.number == number {
            true => Fault::Lost,
            false => Fault::None,
        };
        let store = Arc::new(FaultyStore::new(world.store.clone(), plan));
        let mut handler = world.handler_on(store as Arc<dyn Store>, SMALL);
        let records = [orders(0, 0..20), orders(1, 0..20)].concat();
        let event = kafka_event("aws:kafka", &records);
        let mut deliveries = 0;
        while let Err(error) = handler.kafka(Event::read(&event), "r", None).await {
            assert!(error.code.ends_with(".Retry"), "{error}");
            deliveries += 1;
            assert!(deliveries < 4);
        }
        assert_eq!((world.records("orders/0").await, world.records("orders/1").await), (20, 20));
    }
}

#[tokio::test]
async fn what_only_a_person_can_mend_names_the_error() {
    let world = World::new();
    let mut handler = world.handler();
    let mut records = [orders(0, 5..7), orders(1, 0..2)].concat();
    records.swap(0, 1);
    let event = Event::read(&kafka_event("aws:kafka", &records));
    let error = handler.kafka(event, "r", None).await.unwrap_err();
    assert_eq!(error.code, "Append.Stuck");
    assert_eq!(world.records("orders/1").await, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However deliveries are cut, repeated and interrupted, each record is in one segment.
    #[test]
    fn redelivery_in_other_cuts_counts_once(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut rng = Rng::new(seed);
            let world = World::new();
            let batch = records(60);
            let mut handlers = Vec::new();
            for process in 0..2 {
                let mut faults = Rng::new(seed ^ process);
                let plan = move |_: &Call| match faults.below(8) {
                    0 => Fault::Refused,
                    1 => Fault::Lost,
                    2 => Fault::Vanished,
                    _ => Fault::None,
                };
                let store = FaultyStore::<MemoryStore>::new(world.store.clone(), plan);
                let bytes_max = 700 + rng.below(2_000) as usize;
                handlers.push(world.handler_on(Arc::new(store) as Arc<dyn Store>, bytes_max));
            }
            // Lambda's iterator: everything before it was acknowledged.
            let mut from = 0;
            for _ in 0..10_000 {
                if from == batch.len() {
                    break;
                }
                let end = (from + 1 + rng.below(25) as usize).min(batch.len());
                // At least once: a batch may begin before what was acknowledged.
                let begin = from - (rng.below(4) as usize).min(from);
                let handler = &mut handlers[rng.below(2) as usize];
                let failed = deliver(handler, &batch[begin..end]).await.unwrap();
                let next = failed.map_or(end, |number| rank(&number));
                if rng.below(5) > 0 {
                    // Else the response was lost, and everything comes again.
                    from = next.max(from);
                }
            }
            assert_eq!(from, batch.len());
            assert_eq!(world.records(SHARD).await, raw_count(60));
        });
    }
}
