//! A process that goes on from a snapshot is the same, bit for bit, as one that went on warm.

use std::collections::BTreeMap;

use properties::flow::{NOW, merge};
use properties::random::{Ticking, shards, way, windows};
use properties::script::Step;
use properties::trial::{Trial, random_cases};
use proptest::collection::vec;
use proptest::prelude::*;
use tidemill_flow::ports::OpenState;
use tidemill_model::{EventMs, LogId, Position, Segment};

proptest! {
    #![proptest_config(random_cases(30))]

    #[test]
    fn a_restored_process_is_the_warm_one(
        shards in shards(22),
        windows in windows(),
        grace in 0..4i64,
        picks in vec(0..10_000usize, 2..5),
        seed: u64,
        every in 1..4usize,
    ) {
        let script = way(&shards, seed, Ticking::Anywhere);
        let mut trial = Trial::picked(&picks, windows, grace);
        let (mut warm, mut cold) = (trial.flow.state(), trial.flow.state());
        let mut pending: Vec<(LogId, Segment)> = Vec::new();
        let mut tails: BTreeMap<LogId, Position> = BTreeMap::new();
        let mut closed: Option<EventMs> = None;
        let mut ticks = 0;
        let mut steps = script.steps.clone();
        steps.push(Step::Tick { watermark: Some(10_000), rows_max: usize::MAX, reload: false });
        for step in &steps {
            let watermark = match step {
                Step::Batch { log, records, seen } => {
                    let tail = tails.entry(log.clone()).or_insert(Position::START);
                    let segment = trial.flow.segment(log, records, *seen, *tail);
                    *tail = segment.through;
                    pending.push((log.clone(), segment));
                    continue;
                }
                Step::Tick { watermark, .. } => watermark.map(EventMs).max(closed),
            };
            merge(&mut warm, pending.clone(), closed);
            merge(&mut cold, std::mem::take(&mut pending), closed);
            prop_assert_eq!(warm.open_windows().len(), cold.open_windows().len());
            prop_assert_eq!(warm.last_close(), cold.last_close());
            let clips = [&warm, &cold].map(|state| watermark.map(|it| state.clip(it, 5)));
            prop_assert_eq!(clips[0], clips[1]);
            let ours = warm.close(watermark, NOW).unwrap();
            let theirs = cold.close(watermark, NOW).unwrap();
            closed = closed.max(watermark);
            prop_assert_eq!(&ours.late, &theirs.late);
            prop_assert_eq!(ours.late_rows, theirs.late_rows);
            prop_assert_eq!(&ours.failed, &theirs.failed);
            let batches = |closed: &tidemill_flow::ports::Closed| -> Vec<_> {
                closed.results.iter().map(|it| (it.query.clone(), it.windows, it.batch.clone())).collect()
            };
            prop_assert_eq!(batches(&ours), batches(&theirs));
            ticks += 1;
            if ticks % every == 0 {
                let parts = warm.snapshot().unwrap();
                let stored = trial.flow.stored(&parts);
                prop_assert_eq!(&stored, &parts);
                cold = trial.flow.state();
                cold.restore(stored).unwrap();
                prop_assert_eq!(&cold.snapshot().unwrap(), &parts);
                prop_assert_eq!(&warm.snapshot().unwrap(), &parts);
            }
        }
    }
}
