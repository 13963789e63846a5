//! A store whose requests hang, for longer than invocations may take: functions say what is not
//! covered while they still can, it comes again, and counts once.

use std::time::Duration;

use end_to_end::mapping::KinesisSettings;
use end_to_end::proxy::{Fate, Faults};

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn requests_that_hang_cost_time_and_nothing_else() {
    let mut deployment = Deployment::of_ads(2, 23);
    // Functions end by themselves half a second before their time is up. A machine that is busy
    // otherwise may need longer for that, so nobody kills them.
    let deploy = |binary, seconds| {
        deployment.world.deploy_with_patience(binary, Duration::from_secs(seconds), WITHIN)
    };
    let (ingest, advance) = (deploy("tidemill-kinesis", 2), deploy("tidemill-advance", 4));
    (deployment.ingest, deployment.advance) = (ingest, advance);
    let shards = events_by_shard(2, 600, 60_000, 23);
    let faults = Faults { answer_late: 60, hangs: 60, ..Faults::NONE };
    deployment.world.proxy.fail(faults);
    let mapping = deployment.map(KinesisSettings { batch_size: 80, ..KinesisSettings::new(23) });
    let schedule = deployment.schedule(1);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, events);
    }
    mapping.drain(WITHIN);
    deployment.world.proxy.fail(Faults::NONE);
    deployment.assert_counted(&shards.concat());
    deployment.assert_nothing_dead();
    let fates = deployment.world.proxy.counts();
    assert!(fates.contains_key(&Fate::AnswerLate) && fates.contains_key(&Fate::Hangs), "{fates:?}");
    let (_, failed) = mapping.counts();
    assert!(failed > 0, "no invocation was cut short: {fates:?}");
    let said = deployment.ingest.logs().matching("Append.Deadline");
    assert!(!said.is_empty(), "no line says so:\n{}", deployment.ingest.logs().tail(20));
    let other = |it: &String| !it.contains("Advance.Deadline");
    assert_eq!(schedule.failures().into_iter().find(other), None);
}
