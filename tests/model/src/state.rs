//! The state of the world: what the sources have, what the store holds, what each process knows.

use crate::Scope;
use crate::fold::{Fold, Results};
use crate::record::{LOGS, POSITIONS, Position, Set};

/// Processes of a kind at most.
pub(crate) const PROCESSES: usize = 2;
/// Epochs at most.
pub(crate) const EPOCHS: usize = 5;

/// A segment in the store. Its key, `after`, is its place in [`Log::segments`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Its end.
    pub through: Position,
    /// Its records.
    pub holds: Set,
    /// Time since its writer looked at the clock.
    pub age: u8,
    /// Newest arrival in its log: 0 for none, else the generation + 1.
    pub arrival: u8,
    /// Whether its writer slept for half a time to live before it was written.
    pub overslept: bool,
}

/// A shard of a source, and its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Log {
    /// Whether the registry knows it.
    pub registered: bool,
    /// Which source this is, under the one name.
    pub generation: u8,
    /// Positions that the source has.
    pub arrived: Position,
    /// Records that the source was told are safe.
    pub acked: Set,
    /// The segments, by `after`.
    pub segments: [Option<Segment>; POSITIONS],
    /// Where the checkpoint stands, when merging is one step.
    pub merged: Position,
    /// Newest arrival that the checkpoint knows, when merging is one step.
    pub merged_arrival: u8,
}

/// What an ingest process believes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tail {
    /// Where the next segment begins.
    pub position: Position,
    /// Time since reading it began.
    pub age: u8,
    /// Age of the oldest unmerged segment.
    pub oldest: Option<u8>,
    /// Newest arrival.
    pub arrival: u8,
}

/// A segment that is to be written at the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Put {
    /// The segment; its age counts from the check right before the put.
    pub segment: Segment,
    /// Time since it was sent.
    pub sent: u8,
}

/// A put whose sender has given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Orphan {
    /// Its log.
    pub log: u8,
    /// Its key.
    pub after: Position,
    /// The rest.
    pub put: Put,
}

/// Where an ingest process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Step {
    /// It has no batch.
    #[default]
    Idle,
    /// It is to read the tail.
    Reading,
    /// It has read the checkpoint's position and arrival, and is to read the segments.
    HalfRead(Position, u8),
    /// It has a tail, and is to skip, refuse or build.
    Building,
    /// It has built a segment, and is to look at the clock.
    Checking(Segment),
    /// It has looked, and is to send.
    Sending(Segment),
    /// It waits for the answer.
    Waiting(Put),
}

/// An ingest process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ingest {
    /// Where it is.
    pub step: Step,
    /// The log of its batch.
    pub log: u8,
    /// Records of its batch that are not known to be in the log.
    pub rest: Set,
    /// Records of its batch that are.
    pub covered: Set,
    /// Races lost in a row.
    pub attempts: u8,
    /// Its tails: of its batch's log the one it works with, of the other the cached one.
    pub tails: [Option<Tail>; LOGS],
}

/// A checkpoint, without its number, which is its place in [`Chain::checkpoints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checkpoint {
    /// Merged positions.
    pub merged: [Position; LOGS],
    /// The watermark.
    pub watermark: u8,
    /// The epoch of the newest snapshot.
    pub snapshot: Option<u8>,
    /// What the epoch emits. The real one holds counts only; replays are compared with it.
    pub results: Results,
    /// The state after it. The real one does not hold it; replays are compared with it.
    pub fold: Fold,
    /// Whether the store may delete it.
    pub expires: bool,
}

/// A snapshot, without its epoch, which is its place in [`Chain::snapshots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snapshot {
    /// The open state.
    pub fold: Fold,
    /// Whether the store may delete it.
    pub expires: bool,
}

/// A checkpoint that is to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit {
    /// Its number.
    pub epoch: u8,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The snapshot that was written for it.
    pub snapshot: Option<Fold>,
}

/// What the store holds of advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Chain {
    /// The checkpoints, by epoch.
    pub checkpoints: [Option<Checkpoint>; EPOCHS],
    /// The snapshots, by the epoch that begins with them.
    pub snapshots: [Option<Snapshot>; EPOCHS],
    /// Epochs up to the newest marker.
    pub marked: u8,
    /// A put whose sender has given up.
    pub orphan: Option<Commit>,
}

/// What a warm advance process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Warm {
    /// Epochs up to the newest checkpoint that it knows.
    pub epochs: u8,
    /// That checkpoint's merged positions.
    pub merged: [Position; LOGS],
    /// That checkpoint's watermark.
    pub watermark: u8,
    /// That checkpoint's snapshot.
    pub snapshot: Option<u8>,
    /// The open state after it.
    pub fold: Fold,
    /// Its results, until they are marked.
    pub pending: Option<Results>,
    /// Whether the sinks have them.
    pub emitted: bool,
    /// Whether it created that checkpoint and has not yet looked whether it is the newest.
    pub unverified: bool,
    /// The snapshot that its checkpoint replaced by a newer one, before housekeeping.
    pub replaced: Option<Option<u8>>,
    /// A snapshot that its checkpoint names and that is not written yet.
    pub unwritten: Option<Fold>,
}

/// An advance process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Advance {
    /// What it knows; `None`: it is cold.
    pub warm: Option<Warm>,
    /// What it is to commit. `warm` is what it knew before.
    pub draft: Option<Commit>,
}

/// What went wrong, for properties that a state alone does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Wrong {
    /// A segment went that nobody had merged.
    ExpiredUnmerged,
    /// A segment was created behind the merged position.
    WrittenAgain,
    /// A segment was created behind an old unmerged one.
    FedWhileOld,
    /// An epoch was emitted with two values.
    Differs,
    /// A watermark went back.
    WentBack,
    /// A watermark passed a record that its source had.
    Overtook,
    /// Advance left an old log without a snapshot. No property: it lets time pass.
    Neglected,
}

/// The world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct State {
    /// The shards and their logs.
    pub logs: [Log; LOGS],
    /// The ingest processes.
    pub ingests: [Ingest; PROCESSES],
    /// A put whose sender has given up.
    pub orphan: Option<Orphan>,
    /// What was merged, when merging is one step.
    pub fold: Fold,
    /// The chain.
    pub chain: Chain,
    /// The advance processes.
    pub advances: [Advance; PROCESSES],
    /// What the sinks hold, by epoch.
    pub sink: [Option<Results>; EPOCHS],
    wrong: u8,
}

impl Log {
    /// The segment with the greatest key.
    pub fn newest(&self) -> Option<(Position, Segment)> {
        let after = self.segments.iter().rposition(Option::is_some)? as Position;
        Some((after, self.get(after)?))
    }

    /// The first segment whose key is at or after a position.
    pub fn from(&self, position: Position) -> Option<(Position, Segment)> {
        let keyed = (0..).zip(&self.segments).skip(position as usize);
        keyed.filter_map(|(after, segment)| Some((after, (*segment)?))).next()
    }

    /// The segment of a key.
    pub fn get(&self, after: Position) -> Option<Segment> {
        *self.segments.get(after as usize)?
    }

    /// The segments that follow one another from a position on.
    pub fn chain(&self, from: Position) -> impl Iterator<Item = (Position, Segment)> {
        let mut next = from;
        std::iter::from_fn(move || {
            let (after, segment) = (next, self.get(next)?);
            next = segment.through;
            Some((after, segment))
        })
    }
}

impl Chain {
    /// Epochs up to the newest checkpoint.
    pub fn epochs(&self) -> u8 {
        self.checkpoints.iter().rposition(Option::is_some).map_or(0, |newest| newest as u8 + 1)
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> Option<Checkpoint> {
        self.get(self.epochs().checked_sub(1)?)
    }

    /// The checkpoint of an epoch.
    pub fn get(&self, epoch: u8) -> Option<Checkpoint> {
        *self.checkpoints.get(epoch as usize)?
    }

    /// From where a cold start reads a log: the state before the newest snapshot's epoch.
    pub fn replayed_from(&self, log: usize) -> Position {
        let before = self.newest().and_then(|newest| newest.snapshot?.checked_sub(1));
        before.and_then(|before| self.get(before)).map_or(0, |checkpoint| checkpoint.merged[log])
    }
}

impl State {
    /// The first state.
    pub fn first(scope: &Scope) -> State {
        let mut state = State::default();
        for log in scope.logs() {
            let is_there = scope.ingests > 0 && !scope.arrivals;
            state.logs[log].arrived = if is_there { scope.length(log, 0) } else { 0 };
            // Where append is one step, a log is registered before.
            state.logs[log].registered = scope.ingests == 0;
        }
        state
    }

    /// Up to where the newest checkpoint has merged a log.
    pub fn merged(&self, scope: &Scope, log: usize) -> Position {
        match scope.advances {
            0 => self.logs[log].merged,
            _ => self.chain.newest().map_or(0, |newest| newest.merged[log]),
        }
    }

    /// Everything merged by the newest checkpoint.
    pub fn newest_fold(&self, scope: &Scope) -> Fold {
        match scope.advances {
            0 => self.fold,
            _ => self.chain.newest().map_or(Fold::default(), |newest| newest.fold),
        }
    }

    /// Notes what went wrong.
    pub fn note(&mut self, wrong: Wrong) {
        self.wrong |= 1 << wrong as u8;
    }

    /// Whether it went wrong.
    pub fn is(&self, wrong: Wrong) -> bool {
        self.wrong & (1 << wrong as u8) != 0
    }

    /// One state for all that differ only by the names of processes or of shards. Both shards of a
    /// scope with two have the same records.
    #[must_use]
    pub fn canonical(mut self, scope: &Scope) -> State {
        self.ingests.sort_unstable();
        self.advances.sort_unstable();
        if scope.logs < 2 {
            return self;
        }
        let mut other = self.swapped();
        other.ingests.sort_unstable();
        other.advances.sort_unstable();
        self.min(other)
    }

    fn swapped(mut self) -> State {
        self.logs.swap(0, 1);
        for log in &mut self.logs {
            log.acked = log.acked.swapped();
            log.segments.iter_mut().flatten().for_each(Segment::swap);
        }
        for ingest in &mut self.ingests {
            if ingest.step != Step::Idle {
                ingest.log = 1 - ingest.log;
            }
            ingest.rest = ingest.rest.swapped();
            ingest.covered = ingest.covered.swapped();
            ingest.tails.swap(0, 1);
            match &mut ingest.step {
                Step::Checking(segment) | Step::Sending(segment) => segment.swap(),
                Step::Waiting(put) => put.segment.swap(),
                Step::Idle | Step::Reading | Step::HalfRead(..) | Step::Building => {}
            }
        }
        if let Some(orphan) = &mut self.orphan {
            orphan.log = 1 - orphan.log;
            orphan.put.segment.swap();
        }
        self.fold.swap();
        self.chain.checkpoints.iter_mut().flatten().for_each(Checkpoint::swap);
        self.chain.snapshots.iter_mut().flatten().for_each(|snapshot| snapshot.fold.swap());
        self.chain.orphan.iter_mut().for_each(Commit::swap);
        for advance in &mut self.advances {
            if let Some(warm) = &mut advance.warm {
                warm.merged.swap(0, 1);
                warm.fold.swap();
                warm.pending.iter_mut().for_each(Results::swap);
                warm.unwritten.iter_mut().for_each(Fold::swap);
            }
            advance.draft.iter_mut().for_each(Commit::swap);
        }
        self.sink.iter_mut().flatten().for_each(Results::swap);
        self
    }
}

impl Segment {
    fn swap(&mut self) {
        self.holds = self.holds.swapped();
    }
}

impl Fold {
    fn swap(&mut self) {
        (self.open, self.done) = (self.open.swapped(), self.done.swapped());
    }
}

impl Results {
    fn swap(&mut self) {
        (self.closed, self.late) = (self.closed.swapped(), self.late.swapped());
    }
}

impl Checkpoint {
    fn swap(&mut self) {
        self.merged.swap(0, 1);
        self.results.swap();
        self.fold.swap();
    }
}

impl Commit {
    fn swap(&mut self) {
        self.checkpoint.swap();
        self.snapshot.iter_mut().for_each(Fold::swap);
    }
}
