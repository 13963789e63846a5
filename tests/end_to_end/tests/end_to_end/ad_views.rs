//! The plain case: a stream of four shards, counted exactly, and equal to one machine.

use end_to_end::mapping::KinesisSettings;

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
