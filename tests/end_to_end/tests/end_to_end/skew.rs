//! Processes whose clocks disagree by minutes: results are the same, and nothing is late. A clock
//! that is so wrong that AWS refuses its signatures is named, and nothing is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use end_to_end::clock::VirtualClock;
use end_to_end::mapping::KinesisSettings;
use end_to_end::schedule;
use serde_json::json;

use crate::deployment::{Deployment, WITHIN, events_by_shard};

fn results_are_exact_when_the_ingest_clock_is_off_by(skew_ms: i64, seed: u64) {
    let mut deployment = Deployment::of_ads(2, seed);
    let wrong = Arc::new(VirtualClock::new(deployment.world.folder().join("wrong-clock")));
    wrong.skew(skew_ms);
    let right = deployment.world.clock.file().display().to_string();
    deployment.world.set("TIDEMILL_CLOCK_OFFSET_FILE", wrong.file().display().to_string());
    deployment.ingest = deployment.world.kinesis_function();
    deployment.world.set("TIDEMILL_CLOCK_OFFSET_FILE", right);

    let shards = events_by_shard(2, 1_500, 60_000, seed);
    let mapping = deployment.map(KinesisSettings::new(seed));
    let schedule = deployment.schedule(1);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[..500]);
    }
    mapping.drain(WITHIN);
    schedule.wait_for_more(2, WITHIN);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, &events[500..]);
    }
    mapping.drain(WITHIN);
    // By advance's clock the newest append may lie in the future: idleness waits for it.
    deployment.world.clock.move_on(Duration::from_millis(skew_ms.unsigned_abs()));
    deployment.assert_counted(&shards.concat());
    deployment.assert_nothing_dead();
    assert_eq!(schedule.failures(), Vec::<String>::new());
}

#[test]
fn an_ingest_clock_ten_minutes_ahead_changes_no_result() {
    results_are_exact_when_the_ingest_clock_is_off_by(600_000, 18);
}

#[test]
fn an_ingest_clock_ten_minutes_behind_changes_no_result() {
    results_are_exact_when_the_ingest_clock_is_off_by(-600_000, 19);
}

#[test]
fn a_clock_that_aws_does_not_accept_is_named() {
    let deployment = Deployment::of_ads(1, 21);
    let events = events_by_shard(1, 600, 60_000, 21).remove(0);
    assert!(deployment.ingest.invoke(&json!({})).is_err());
    assert!(deployment.advance.invoke(&schedule::event()).is_ok());
    deployment.world.proxy.distrust_clocks(true);
    deployment.put(0, &events);
    let mapping = deployment.map(KinesisSettings::new(21));
    mapping.wait_for_invocations(3, WITHIN);
    let (invoked, failed) = mapping.counts();
    assert_eq!(invoked, failed, "something was acknowledged");
    let said = deployment.ingest.logs().matching("clock");
    assert!(!said.is_empty(), "no line names the clock:\n{}", deployment.ingest.logs().tail(10));
    let failure = deployment.advance.invoke(&schedule::event()).unwrap_err().to_string();
    assert!(failure.contains("clock"), "{failure}");

    deployment.world.proxy.distrust_clocks(false);
    let _schedule = deployment.schedule(1);
    mapping.drain(WITHIN);
    deployment.assert_counted(&events);
    deployment.assert_nothing_dead();
}
