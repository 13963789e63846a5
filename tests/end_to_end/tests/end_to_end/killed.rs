//! `kill -9` of functions at random moments, over a store that throttles, times out and loses
//! answers: still every record counts once.

use std::time::Duration;

use end_to_end::mapping::KinesisSettings;
use end_to_end::proxy::{Fate, Faults};

use crate::deployment::{Deployment, WITHIN, events_by_shard};

const INGEST_KILLS: u64 = 40;
const ADVANCE_KILLS: u64 = 15;
const TIMEOUT: Duration = Duration::from_secs(6);

#[test]
fn processes_that_are_killed_lose_and_repeat_nothing() {
    let mut deployment = Deployment::of_ads(3, 2);
    // A request that hangs takes longer than an invocation may.
    deployment.ingest = deployment.world.deploy("tidemill-kinesis", TIMEOUT);
    deployment.advance = deployment.world.deploy("tidemill-advance", TIMEOUT);
    let shards = events_by_shard(3, 4_000, 120_000, 2);
    deployment.world.proxy.fail(Faults::MANY);
    deployment.ingest.kill_often(30, INGEST_KILLS, 21);
    deployment.advance.kill_often(40, ADVANCE_KILLS, 22);
    let mapping = deployment.map(KinesisSettings { batch_size: 120, ..KinesisSettings::new(2) });
    let _schedule = deployment.schedule(1);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, events);
    }
    mapping.drain(WITHIN);
    deployment.world.proxy.fail(Faults::default());
    deployment.assert_counted(&shards.concat());
    deployment.assert_nothing_dead();

    let (ingest_busy, ingest_idle) = deployment.ingest.kills();
    let (advance_busy, advance_idle) = deployment.advance.kills();
    let (busy, all) =
        (ingest_busy + advance_busy, ingest_busy + advance_busy + ingest_idle + advance_idle);
    assert!(all >= 50 && busy >= 20, "{busy} kills while an invocation ran, {all} in all");
    let fates = deployment.world.proxy.counts();
    for fate in [Fate::Throttled, Fate::AnswerDropped, Fate::Reset] {
        assert!(fates.get(&fate).is_some_and(|count| *count >= 5), "{fates:?}");
    }
}
