//! Ingest that is down, of one shard or of all, for longer than `idle_after`: a source that is not
//! read to its end is not idle, so nothing of it is late afterwards.

use std::time::Duration;

use end_to_end::ads;
use end_to_end::mapping::KinesisSettings;

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn a_shard_that_cannot_be_ingested_is_not_late_afterwards() {
    let deployment = Deployment::of_ads(3, 8);
    let shards = events_by_shard(3, 1_500, 60_000, 8);
    let mapping = deployment.map(KinesisSettings::new(8));
    let schedule = deployment.schedule(1);
    let stuck = "shardId-000000000001";
    // Everybody begins well, then one shard's batches fail.
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[..500]);
    }
    mapping.drain(WITHIN);
    mapping.block(stuck);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[500..1_000]);
    }
    mapping.drain(WITHIN);
    // Ten times `idle_after`, in steps that ticks can see.
    for _ in 0..10 {
        deployment.world.clock.move_on(Duration::from_secs(60));
        schedule.wait_for_more(2, WITHIN);
    }
    let early = deployment.world.results();
    mapping.unblock(stuck);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[1_000..]);
    }
    mapping.drain(WITHIN);
    let all = shards.concat();
    deployment.assert_counted(&all);
    deployment.assert_nothing_dead();
    assert!(early.len() < ads::expected(&all).len() / 2, "windows closed without the stuck shard");
}

#[test]
fn half_an_hour_without_any_ingest_makes_nothing_late() {
    let deployment = Deployment::of_ads(2, 9);
    let shards = events_by_shard(2, 2_000, 60_000, 9);
    let mapping = deployment.map(KinesisSettings::new(9));
    let schedule = deployment.schedule(1);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[..1_000]);
    }
    mapping.drain(WITHIN);
    mapping.disable();
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[1_000..]);
    }
    for _ in 0..6 {
        deployment.world.clock.move_on(Duration::from_secs(300));
        schedule.wait_for_more(2, WITHIN);
    }
    mapping.enable();
    mapping.drain(WITHIN);
    deployment.assert_counted(&shards.concat());
    deployment.assert_nothing_dead();
}
