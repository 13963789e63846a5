//! Every guard is needed: without it the checker finds a history that breaks a property. A guard
//! whose removal nothing notices is listed, with the reason why it is there.

use model::property::{
    ALL_EMITTED, FINAL, KNOWN, MERGED_ONCE, NOT_FED, NOT_WRITTEN_AGAIN, Name, ONE_SEGMENT,
    REPLAYABLE, RISES, SAME_RESULTS, UNMERGED_STAYS, WAITS,
};
use model::{Guard, Scope, check, find};

type Case = (Guard, fn() -> Scope, Name);

/// Small scopes of `Scope`, in which each guard's work shows.
fn append() -> Scope {
    Scope::append_long().small()
}

fn advance() -> Scope {
    Scope::advance_long().small()
}

fn alone() -> Scope {
    Scope::advance_alone().small()
}

const CASES: &[Case] = &[
    (Guard::SegmentIfAbsent, append, ONE_SEGMENT),
    (Guard::SkipCovered, append, ONE_SEGMENT),
    (Guard::ReadAfterExists, append, ONE_SEGMENT),
    (Guard::AckOnlyCovered, append, ONE_SEGMENT),
    (Guard::TailIsMaximum, append, ONE_SEGMENT),
    (Guard::CheckBeforePut, append, NOT_WRITTEN_AGAIN),
    (Guard::TtlMargin, append, NOT_WRITTEN_AGAIN),
    (Guard::DeleteOnlyByTtl, append, ONE_SEGMENT),
    (Guard::LogNearExpiry, append, NOT_FED),
    (Guard::LogNearExpiry, append, UNMERGED_STAYS),
    (Guard::RegistryFirst, append, KNOWN),
    (Guard::CheckAfterPut, Scope::append_asleep, ONE_SEGMENT),
    (Guard::OverlapIsDamage, Scope::append_asleep, ONE_SEGMENT),
    (Guard::UnseenIsStuck, Scope::append_parallel, ONE_SEGMENT),
    (Guard::RewindIsStuck, Scope::append_recreated, ONE_SEGMENT),
    (Guard::ArrivalInCheckpoint, Scope::append_recreated, ONE_SEGMENT),
    (Guard::CheckpointIfAbsent, advance, SAME_RESULTS),
    (Guard::CompareCheckpoint, advance, SAME_RESULTS),
    (Guard::VerifyNewest, advance, SAME_RESULTS),
    (Guard::VerifyNewest, advance, FINAL),
    (Guard::MarkBeforeNext, advance, ALL_EMITTED),
    (Guard::EmitAfterCommit, advance, SAME_RESULTS),
    (Guard::DropWarm, advance, MERGED_ONCE),
    (Guard::LateByPrevious, alone, FINAL),
    (Guard::WatermarkRises, alone, RISES),
    (Guard::IdleIsDrained, alone, WAITS),
    (Guard::ReplayToMerged, advance, REPLAYABLE),
    (Guard::ReplayWatermark, advance, REPLAYABLE),
    (Guard::SnapshotBefore, advance, REPLAYABLE),
    (Guard::SnapshotFirst, advance, REPLAYABLE),
    (Guard::ExpireAfterCommit, advance, REPLAYABLE),
    (Guard::KeepJudge, advance, REPLAYABLE),
    (Guard::GapIsDamage, Scope::advance_lossy, MERGED_ONCE),
    (Guard::SnapshotByAge, Scope::advance_aged, REPLAYABLE),
];

type Spare = (Guard, fn() -> Scope, &'static str);

/// Guards that are not about being right: without them the model is right, too.
const SPARE: &[Spare] = &[
    (Guard::FreshFromCache, append, "an old tail is found out right before the put"),
    (Guard::ForgetTail, append, "an outdated tail loses the race and is read again"),
    (
        Guard::ExpireAfterEmission,
        advance,
        "the newest epoch is recomputed from the newer snapshot, which is the state before it",
    ),
];

#[test]
fn without_a_guard_a_property_breaks() {
    for (guard, scope, name) in CASES {
        let found = find(&scope().without(*guard), name);
        let violation = found.violations.iter().find(|(broken, _)| broken == name);
        match violation {
            Some((_, history)) => {
                let steps = history.lines().count();
                println!("{guard:?}: `{name}` breaks after {steps} steps, {} states", found.states);
            }
            None => panic!("{guard:?}: nothing breaks `{name}` in {} states", found.states),
        }
    }
}

#[test]
fn without_a_spare_guard_nothing_breaks() {
    for (guard, scope, why) in SPARE {
        let checked = check(&scope().without(*guard), 2);
        assert!(checked.violations.is_empty(), "{guard:?} ({why}): {checked}");
        println!("{guard:?} costs only work: {why}; {} states", checked.states);
    }
}
