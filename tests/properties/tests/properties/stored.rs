//! The whole of ingest and advance over a store gives what a batch gives, whatever the processes do.

use properties::random::{Ticking, shards, way, windows};
use properties::script::{Script, Step};
use properties::stored;
use properties::trial::{Trial, random_cases};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(random_cases(25))]

    /// Shards whose events are in order have nothing late, so every history of batches that come
    /// again, ticks that stop in the middle and processes that begin anew gives the batch's answer.
    #[test]
    fn a_stored_pipeline_answers_what_a_batch_answers(
        mut shards in shards(22),
        windows in windows(),
        grace in 0..4i64,
        picks in vec(0..10_000usize, 1..3),
        seed: u64,
    ) {
        for events in &mut shards {
            events.sort_by_key(|event| event.ts);
        }
        let mut script = way(&shards, seed, Ticking::OnTime);
        let mut trial = Trial::picked(&picks, windows, grace);
        // Its checkpoints have other times than the oracle's.
        trial.cases.retain(|case| case.name != "now_in_select");
        for step in &mut script.steps {
            // What ingest takes for late decides nothing.
            if let Step::Batch { seen, .. } = step {
                *seen = seen.map(|seen| seen + 20);
            }
        }
        let outcome = stored::run(&trial.flow, &script, seed);
        prop_assert!(outcome.late.is_empty(), "{:?}", outcome.late.first());
        let batches = script.steps.into_iter().filter(|step| matches!(step, Step::Batch { .. }));
        let on_time = Script { steps: batches.collect() };
        trial.compare(&on_time, &outcome).map_err(TestCaseError::fail)?;
    }
}
