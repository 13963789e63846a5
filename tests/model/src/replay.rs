//! What a cold start makes of the chain: `shared/flow/src/advance/replay.rs`.

use crate::advance::decide;
use crate::fold::{Fold, Results};
use crate::state::State;
use crate::{Guard, Scope};

/// What a cold start makes of the chain up to an epoch: the state and what the epoch emits.
/// `None`: something that it needs is gone.
pub(crate) fn replay(scope: &Scope, state: &State, newest: u8) -> Option<(Fold, Results)> {
    let chain = &state.chain;
    let newest_checkpoint = chain.get(newest)?;
    let (first, mut fold) = match newest_checkpoint.snapshot {
        Some(epoch) => (epoch, (*chain.snapshots.get(epoch as usize)?)?.fold),
        None => (0, Fold::default()),
    };
    let mut previous = match first.checked_sub(1) {
        Some(before) => Some(chain.get(before)?),
        None => None,
    };
    let mut results = Results::default();
    for epoch in first..=newest {
        let checkpoint = chain.get(epoch)?;
        results = Results::default();
        let judge = previous.map_or(0, |previous| previous.watermark);
        for log in scope.logs() {
            let mut next = previous.map_or(0, |previous| previous.merged[log]);
            let is_last = epoch == newest && !scope.has(Guard::ReplayToMerged);
            while next < checkpoint.merged[log] || is_last {
                let segment = match state.logs[log].get(next) {
                    Some(segment) => segment,
                    None if is_last => break,
                    None => return None,
                };
                next = segment.through;
                if next > checkpoint.merged[log] && !is_last {
                    return None;
                }
                fold.merge(scope, segment.holds, judge, &mut results);
            }
        }
        let watermark = match scope.has(Guard::ReplayWatermark) {
            true => checkpoint.watermark,
            false => {
                let is_drained = |log: usize| state.logs[log].arrived == checkpoint.merged[log];
                decide(scope, &fold, checkpoint.merged, judge, is_drained)
            }
        };
        fold.close(scope, watermark, &mut results);
        previous = Some(checkpoint);
    }
    Some((fold, results))
}
