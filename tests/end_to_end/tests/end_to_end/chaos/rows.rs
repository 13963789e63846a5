//! The same trouble for queries over rows and for results that change: their state waits in advance, and
//! their rows are written over each other in the results table.

use std::thread;
use std::time::Duration;

use end_to_end::chaos::{self, Over, again};
use end_to_end::payments::{Generator, PAYMENTS, PIPELINE, STATUS};
use end_to_end::proxy::Faults;
use tidemill_testkit::Rng;

use super::{
    CHUNK_MS, IDLE_AFTER, PATIENCE, Trouble, assert_nothing_needs_a_person, beginning, deploy,
    disturb, report, settings,
};
use crate::row_queries::{SHARDS, Watch, assert_right, map, put, put_stragglers};

/// Fewer records than elsewhere, because each makes several rows: an epoch that is not emitted before its
/// function is killed begins anew.
const PAYMENTS_OF_CHUNK: usize = 6;
/// More seldom at advance, which has more to do here before an epoch is emitted.
const KILLS: Option<u64> = Some(85);
/// How long an epoch may take to be emitted, with two advances and an emulator on the disk.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Records come for about so long in all, in longer chaos more seldom: a backlog that cannot be emitted
/// between two kills would wait for the end.
const LOADED: Duration = Duration::from_secs(12);
/// Stretches of records that come after the trouble.
const QUIET_PARTS: usize = 3;

#[test]
fn rows_and_changing_results_survive_kills_and_restarts() {
    let name = "rows and changing results";
    let trouble = Trouble { kills: KILLS, restarts: true, network: false };
    let seed = chaos::seed(35);
    let streams = [(PAYMENTS, SHARDS), (STATUS, SHARDS)];
    let mut deployment = deploy(trouble, seed, PIPELINE, &[], &streams);
    deployment.advance = deployment.world.deploy("tidemill-advance", TIMEOUT);
    let deployment = deployment;
    let mappings = map(&deployment, settings(seed));
    let schedule = deployment.schedule(2);
    let mut generator = Generator::new(beginning(), seed);
    let (mut pace, percent) =
        (Rng::new(seed), LOADED.as_millis() * 100 / chaos::lasting().as_millis());
    let percent = u64::try_from(percent).unwrap().clamp(1, 100);
    let (watch, over) = (Watch::default(), Over::default());
    // Writes on the way while their function is killed arrive when others have gone on.
    deployment.world.proxy.fail(Faults { delayed: 60, answer_dropped: 20, ..Faults::NONE });
    let disturbed = thread::scope(|scope| {
        let _end = over.when_dropped();
        again(scope, &over, 100..=300, Rng::new(seed), |_| {
            // It cannot be read while DynamoDB is down.
            let _ = watch.look(&deployment);
        });
        let disturbed = disturb(name, &deployment, trouble, seed, || {
            if pace.chance(percent) {
                put(&deployment, &generator.more(PAYMENTS_OF_CHUNK, CHUNK_MS));
                put(&deployment, &generator.straggle());
            }
        });

        // Tick by tick, so that stragglers of this time change results that are written for sure.
        for _ in 0..QUIET_PARTS {
            put(&deployment, &generator.more(20 * PAYMENTS_OF_CHUNK, 20 * CHUNK_MS));
            put_stragglers(&deployment, &mappings, &schedule, &mut generator, PATIENCE);
        }
        mappings.iter().for_each(|mapping| mapping.drain(PATIENCE));
        assert!(!over.is_over(), "{name}: a row became older, see above");
        disturbed
    });
    let again = mappings.iter().map(|mapping| mapping.counts().1).sum();
    let all = generator.all();
    let records = all.payments.len() + all.statuses.len();
    report(name, seed, &deployment, &disturbed, again, records);
    deployment.world.clock.move_on(IDLE_AFTER);

    assert_right(&deployment, generator.all(), &watch, PATIENCE);

    assert_nothing_needs_a_person(name, &deployment, &schedule);
    println!("  {} rows changed before the watch's eyes, none to an older one", watch.changes());
    assert!(watch.changes() > 0);
}
