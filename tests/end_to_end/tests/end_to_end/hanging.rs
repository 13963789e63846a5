//! A store whose requests hang, for longer than invocations may take: functions say what is not
//! covered while they still can, it comes again, and counts once.

use std::time::Duration;

use end_to_end::mapping::KinesisSettings;
use end_to_end::proxy::{Fate, Faults};

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn requests_that_hang_cost_time_and_nothing_else() {
    let mut deployment = Deployment::of_ads(2, 23);
    deployment.ingest = deployment.world.deploy("tidemill-kinesis", Duration::from_secs(2));
    deployment.advance = deployment.world.deploy("tidemill-advance", Duration::from_secs(3));
    let shards = events_by_shard(2, 600, 60_000, 23);
    let faults = Faults { answer_late: 60, hangs: 60, ..Faults::default() };
    deployment.world.proxy.fail(faults);
    let mapping = deployment.map(KinesisSettings { batch_size: 80, ..KinesisSettings::new(23) });
    let schedule = deployment.schedule(1);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, events);
    }
    mapping.drain(WITHIN);
    deployment.world.proxy.fail(Faults::default());
    deployment.assert_counted(&shards.concat());
    deployment.assert_nothing_dead();
    let fates = deployment.world.proxy.counts();
    assert!(fates.contains_key(&Fate::AnswerLate) && fates.contains_key(&Fate::Hangs), "{fates:?}");
    let (_, failed) = mapping.counts();
    assert!(failed > 0, "no invocation was cut short: {fates:?}");
    let said = deployment.ingest.logs().matching("Append.Deadline");
    assert!(!said.is_empty(), "no line says so:\n{}", deployment.ingest.logs().tail(20));
    // On a machine that is busy otherwise, Lambda may be faster than the function's own half second.
    let other = |it: &String| !it.contains("Advance.Deadline") && it != "timed out";
    assert_eq!(schedule.failures().into_iter().find(other), None);
}
