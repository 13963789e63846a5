//! What must hold in every state.

use crate::record::Set;
use crate::replay::replay;
use crate::state::{State, Wrong};
use crate::{Protocol, Scope};

/// A property's name.
pub type Name = &'static str;

/// Every record is in at most one segment that was or will be merged, and in one if its source was
/// told that it is safe.
pub const ONE_SEGMENT: Name = "each record is in exactly one segment";
/// The newest state counts each record up to the merged positions once, and no other.
pub const MERGED_ONCE: Name = "each record is merged exactly once";
/// No segment goes before it is merged.
pub const UNMERGED_STAYS: Name = "nothing unmerged expires";
/// No key is taken again after its segment went.
pub const NOT_WRITTEN_AGAIN: Name = "no expired key is written again";
/// Nothing is appended behind segments that have lived half their time.
pub const NOT_FED: Name = "nothing is appended behind old unmerged segments";
/// Advance knows every log that has segments.
pub const KNOWN: Name = "advance knows every log that has segments";
/// A cold start reaches the newest state, with the newest results.
pub const REPLAYABLE: Name = "a cold start reaches the newest state";
/// All emissions of an epoch have one value.
pub const SAME_RESULTS: Name = "results of an epoch never differ";
/// Every epoch but the newest has reached the sinks.
pub const ALL_EMITTED: Name = "no epoch's results are left out";
/// A window is in the results of one epoch.
pub const FINAL: Name = "a window is final";
/// Watermarks rise.
pub const RISES: Name = "the watermark never goes back";
/// The watermark waits for what sources have.
pub const WAITS: Name = "the watermark waits for what a source has";

/// Whether a state has a property.
pub type Holds = fn(&Protocol, &State) -> bool;

/// All, with their conditions.
pub const ALL: [(Name, Holds); 12] = [
    (ONE_SEGMENT, |model, state| one_segment(&model.scope, state)),
    (MERGED_ONCE, |model, state| merged_once(&model.scope, state)),
    (UNMERGED_STAYS, |model, state| model.scope.sleepers || !state.is(Wrong::ExpiredUnmerged)),
    (NOT_WRITTEN_AGAIN, |model, state| model.scope.sleepers || !state.is(Wrong::WrittenAgain)),
    (NOT_FED, |model, state| model.scope.sleepers || !state.is(Wrong::FedWhileOld)),
    (KNOWN, |_, state| state.logs.iter().all(|log| log.registered || log.newest().is_none())),
    (REPLAYABLE, |model, state| replayable(&model.scope, state)),
    (SAME_RESULTS, |_, state| !state.is(Wrong::Differs)),
    (ALL_EMITTED, |_, state| all_emitted(state)),
    (FINAL, |model, state| is_final(&model.scope, state)),
    (RISES, |_, state| !state.is(Wrong::WentBack)),
    (WAITS, |_, state| !state.is(Wrong::Overtook)),
];

fn one_segment(scope: &Scope, state: &State) -> bool {
    let counted = state.newest_fold(scope).merged();
    // A source that was created anew stands still in the log; what it was told counts.
    (0..scope.records.len()).all(|record| {
        let log = scope.records[record].log;
        let segments = state.logs[log].chain(state.merged(scope, log));
        let held = segments.filter(|(_, segment)| segment.holds.has(record)).count();
        let times = held + counted.of(record) as usize;
        let is_acked = state.logs[log].acked.has(record);
        times == 1 || times == 0 && (!is_acked || scope.lossy)
    })
}

fn merged_once(scope: &Scope, state: &State) -> bool {
    let counted = state.newest_fold(scope).merged();
    scope.records.iter().enumerate().all(|(index, record)| {
        let is_merged = record.position <= state.merged(scope, record.log);
        match counted.of(index) {
            0 => !is_merged || scope.recreated || scope.parallel,
            1 => is_merged,
            _ => false,
        }
    })
}

fn replayable(scope: &Scope, state: &State) -> bool {
    let Some(epoch) = state.chain.epochs().checked_sub(1) else { return true };
    if scope.lossy {
        return true;
    }
    let Some(newest) = state.chain.get(epoch) else { return false };
    replay(scope, state, epoch) == Some((newest.fold, newest.results))
}

fn all_emitted(state: &State) -> bool {
    // The one before the newest; those before it were that once. Keys of epochs that are gone may
    // be taken again, by checkpoints that nobody believes.
    let Some(older) = state.chain.epochs().checked_sub(2) else { return true };
    let emits = state.chain.get(older).is_some_and(|older| !older.results.is_empty());
    !emits || state.sink[older as usize].is_some()
}

fn is_final(scope: &Scope, state: &State) -> bool {
    let windows = |closed: Set| closed.iter().map(|record| scope.records[record].window_end());
    let mut seen = Vec::new();
    state.sink.iter().flatten().all(|results| {
        let mut closed: Vec<u8> = windows(results.closed.set()).collect();
        closed.dedup();
        let is_new = closed.iter().all(|end| !seen.contains(end));
        seen.extend(closed);
        is_new
    })
}
