//! A mapping that is deleted and created again reads everything anew.

use end_to_end::mapping::KinesisSettings;

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn what_comes_again_from_trim_horizon_counts_once() {
    let deployment = Deployment::of_ads(2, 4);
    let shards = events_by_shard(2, 2_000, 60_000, 4);
    let _schedule = deployment.schedule(1);
    let first = deployment.map(KinesisSettings { batch_size: 200, ..KinesisSettings::new(4) });
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[..1_500]);
    }
    first.drain(WITHIN);
    // The second begins while the first still runs: for a moment both invoke for one shard.
    let second = deployment.map(KinesisSettings { batch_size: 333, ..KinesisSettings::new(5) });
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[1_500..]);
    }
    drop(first);
    second.drain(WITHIN);
    let (before, _) = second.counts();
    assert!(before > 5, "the second mapping delivered too little: {before}");
    deployment.assert_counted(&shards.concat());

    // A third, with warm functions gone and all windows closed.
    drop(second);
    deployment.ingest.cool_down();
    let results = deployment.world.results();
    let third = deployment.map(KinesisSettings { batch_size: 77, ..KinesisSettings::new(6) });
    third.drain(WITHIN);
    assert_eq!(deployment.world.results(), results);
    deployment.assert_nothing_dead();
}
