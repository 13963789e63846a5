//! The plain case: a stream of four shards, counted exactly, and equal to one machine; in small
//! batches, and in the largest that Lambda takes.

use end_to_end::ads::AdEvent;
use end_to_end::mapping::KinesisSettings;
use end_to_end::world::STREAM;

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn views_are_counted_exactly() {
    let deployment = Deployment::of_ads(4, 1);
    let shards = events_by_shard(4, 5_000, 120_000, 1);
    let mapping = deployment.map(KinesisSettings { batch_size: 1_000, ..KinesisSettings::new(1) });
    let schedule = deployment.schedule(1);
    // Records arrive while others are read.
    for part in 0..5 {
        for (shard, events) in shards.iter().enumerate() {
            deployment.put(shard, &events[part * 1_000..(part + 1) * 1_000]);
        }
    }
    mapping.drain(WITHIN);
    deployment.assert_counted(&shards.concat());
    deployment.assert_nothing_dead();
    assert_eq!(schedule.failures(), Vec::<String>::new());
    let (_, failed) = mapping.counts();
    assert_eq!(failed, 0, "{:?}", mapping.last_failure());
}

#[test]
fn the_largest_batches_are_counted_exactly() {
    let deployment = Deployment::of_ads(2, 22);
    let shards = events_by_shard(2, 20_000, 120_000, 22);
    deployment.put(0, &shards[0]);
    // 10,000 records in one shard; 6 MB of them in the other, with text that no column wants.
    let padded = |event: &AdEvent| {
        let record = String::from_utf8(event.to_json()).unwrap();
        record.replacen('{', &format!("{{\"padding\":\"{}\",", "x".repeat(800)), 1).into_bytes()
    };
    deployment.kinesis.put(STREAM, 1, shards[1].iter().map(padded));
    let settings = KinesisSettings { batch_size: 10_000, ..KinesisSettings::new(22) };
    let mapping = deployment.map(settings);
    let _schedule = deployment.schedule(1);
    mapping.drain(WITHIN);
    deployment.assert_counted(&shards.concat());
    deployment.assert_nothing_dead();
}
