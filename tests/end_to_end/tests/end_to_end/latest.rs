//! A deployment that begins with what comes after it: mapping and functions at `LATEST`.

use end_to_end::mapping::{KinesisSettings, StartingPosition};

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn what_came_before_the_deployment_is_not_counted_and_holds_nothing_back() {
    let mut deployment = Deployment::of_ads(3, 24);
    deployment.world.set("TIDEMILL_STARTING_POSITION", "LATEST");
    deployment.ingest = deployment.world.kinesis_function();
    deployment.advance = deployment.world.advance_function();
    let shards = events_by_shard(3, 1_000, 60_000, 24);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[..400]);
    }
    // The old records lie minutes back.
    deployment.world.clock.move_on(std::time::Duration::from_secs(300));
    let starting = StartingPosition::Latest;
    let mapping = deployment.map(KinesisSettings { starting, ..KinesisSettings::new(24) });
    mapping.drain(WITHIN);
    let schedule = deployment.schedule(1);
    schedule.wait_for_more(1, WITHIN);
    // One shard never gets another record.
    for (shard, events) in shards.iter().enumerate().take(2) {
        deployment.put(shard, &events[400..]);
    }
    mapping.drain(WITHIN);
    deployment.assert_counted(&[&shards[0][400..], &shards[1][400..]].concat());
    deployment.assert_nothing_dead();
    assert_eq!(schedule.failures(), Vec::<String>::new());
}
