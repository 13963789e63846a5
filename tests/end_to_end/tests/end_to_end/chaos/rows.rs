//! The same trouble for queries over rows and for results that change: their state waits in advance, and
//! their rows are written over each other in the results table.

use std::thread;
use std::time::Duration;

use end_to_end::chaos::{self, Over, again};
use end_to_end::payments::{Generator, PAYMENTS, PIPELINE, STATUS};
use tidemill_testkit::Rng;

use super::{
    CHUNK, CHUNK_MS, IDLE_AFTER, PATIENCE, Trouble, assert_nothing_needs_a_person, beginning,
    deploy, disturb, report, settings,
};
use crate::row_queries::{SHARDS, Watch, assert_right, map, put};

#[test]
fn rows_and_changing_results_survive_kills_restarts_and_a_cut_network() {
    let name = "rows and changing results";
    let trouble = Trouble { kills: true, restarts: true, network: true };
    let seed = chaos::seed(35);
    let streams = [(PAYMENTS, SHARDS), (STATUS, SHARDS)];
    let deployment = deploy(trouble, seed, PIPELINE, &[], &streams);
    let mappings = map(&deployment, settings(seed));
    let schedule = deployment.schedule(2);
    let mut generator = Generator::new(beginning(), seed);
    let (watch, over) = (Watch::default(), Over::default());
    let disturbed = thread::scope(|scope| {
        let _end = over.when_dropped();
        again(scope, &over, 100..=300, Rng::new(seed), |_| {
            // It cannot be read while DynamoDB is down.
            let _ = watch.look(&deployment);
        });
        let disturbed = disturb(name, &deployment, trouble, seed, || {
            put(&deployment, &generator.more(CHUNK, CHUNK_MS));
        });
        // Stragglers of the last stretches change results while all is quiet.
        mappings.iter().for_each(|mapping| mapping.drain(PATIENCE));
        thread::sleep(Duration::from_millis(300));
        assert!(!over.is_over(), "{name}: a row became older, see above");
        disturbed
    });
    deployment.world.clock.move_on(IDLE_AFTER);
    assert_right(&deployment, generator.all(), &watch, PATIENCE);
    assert_nothing_needs_a_person(name, &deployment, &schedule);
    let again = mappings.iter().map(|mapping| mapping.counts().1).sum();
    let all = generator.all();
    let records = all.payments.len() + all.statuses.len();
    report(name, seed, &deployment, &disturbed, again, records);
    println!("  {} rows changed before the watch's eyes, none to an older one", watch.changes());
    assert!(watch.changes() > 0);
}
