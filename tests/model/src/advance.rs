//! The steps of an advance process: `shared/flow/src/advance.rs`, cut where another may run.
//!
//! load ─ emit, mark what is pending ─ draft ─ commit ─ verify ─ emit ─ mark ─ housekeep
//!   ▲                                            │
//!   └────── another one, or no answer ◀──────────┘
//!
//! One step loads: all that a replay reads never changes, so a replay that reads later reads the
//! same, or finds something gone, which is an error that costs the tick. One step drafts: logs only
//! grow, so that logs are read one after the other looks like reading less of some of them, which
//! is among the choices.

use crate::fold::{Fold, Results};
use crate::record::{LOGS, Position, Set};
use crate::replay::replay;
use crate::state::{Advance, Checkpoint, Commit, Snapshot, State, Warm, Wrong};
use crate::{Event, Guard, Reached, Scope};

/// What a process decides that is not its own to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Segments that it merges of each log.
    pub segments: [u8; LOGS],
    /// Logs that have been silent for long enough.
    pub silent: [bool; LOGS],
    /// Whether the epoch begins with a snapshot.
    pub snapshot: bool,
    /// Whether the watermark stops at the first window that it closes.
    pub clip: bool,
}

/// What becomes of the put of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is carried out, and answered, or read back.
    Says,
    /// It is carried out, repeated by the client, and read back.
    Repeated,
    /// It is carried out; the process ends before it knows.
    Lost,
    /// It is not carried out, and the tick ends.
    Refused,
    /// The process ends; the put may be carried out later.
    Lingers,
}

/// What may happen to a put of a checkpoint.
pub(crate) const OUTCOMES: [Outcome; 5] =
    [Outcome::Says, Outcome::Repeated, Outcome::Lost, Outcome::Refused, Outcome::Lingers];

/// A step of one advance process.
pub(crate) struct Advancing<'a> {
    scope: &'a Scope,
    reached: &'a Reached,
    state: State,
    /// The process.
    index: usize,
}

impl<'a> Advancing<'a> {
    /// A step of a process.
    pub(crate) fn new(scope: &'a Scope, reached: &'a Reached, state: &State, index: usize) -> Self {
        Advancing { scope, reached, state: *state, index }
    }

    fn me(&mut self) -> &mut Advance {
        &mut self.state.advances[self.index]
    }

    /// Reads the newest checkpoint and replays the chain.
    pub(crate) fn load(mut self) -> Option<State> {
        let epochs = self.state.chain.epochs();
        let warm = match epochs.checked_sub(1) {
            None => Warm::default(),
            Some(newest) => {
                let (fold, results) = replay(self.scope, &self.state, newest)?;
                let checkpoint = self.state.chain.get(newest)?;
                self.reached.hit(Event::Replayed);
                if checkpoint.snapshot.is_some() {
                    self.reached.hit(Event::ReplayedSnapshot);
                }
                let is_pending = !results.is_empty() && self.state.chain.marked < epochs;
                Warm {
                    epochs,
                    merged: checkpoint.merged,
                    watermark: checkpoint.watermark,
                    snapshot: checkpoint.snapshot,
                    fold,
                    pending: is_pending.then_some(results),
                    ..Warm::default()
                }
            }
        };
        *self.me() = Advance { warm: Some(warm), draft: None };
        Some(self.state)
    }

    /// Gives the pending results to the sinks.
    pub(crate) fn emit(mut self) -> Option<State> {
        let mut warm = self.me().warm?;
        if warm.emitted || warm.unverified {
            return None;
        }
        let epoch = warm.epochs.checked_sub(1)?;
        let pending = warm.pending?;
        self.sink(epoch, pending);
        warm.emitted = true;
        self.me().warm = Some(warm);
        Some(self.state)
    }

    fn sink(&mut self, epoch: u8, results: Results) {
        match self.state.sink[epoch as usize] {
            Some(known) if known == results => self.reached.hit(Event::EmittedTwice),
            Some(_) => self.state.note(Wrong::Differs),
            None => self.state.sink[epoch as usize] = Some(results),
        }
    }

    /// Marks the pending results as emitted; or fails to, and will emit again.
    pub(crate) fn mark(mut self, is_written: bool) -> Option<State> {
        let mut warm = self.me().warm?;
        if !warm.emitted {
            return None;
        }
        warm.emitted = false;
        if is_written {
            warm.pending = None;
            let marked = &mut self.state.chain.marked;
            *marked = warm.epochs.max(*marked);
        }
        self.me().warm = Some(warm);
        Some(self.state)
    }

    /// What a process that is ready may choose from.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        let me = &self.state.advances[self.index];
        let Some(warm) = &me.warm else { return Vec::new() };
        let waits = warm.pending.is_some() && self.scope.has(Guard::MarkBeforeNext);
        let is_busy = waits || warm.unverified || warm.unwritten.is_some() || me.draft.is_some();
        if is_busy || warm.epochs >= self.scope.epochs {
            return Vec::new();
        }
        let available =
            |log: usize| self.segments(warm, log).map_or(0, |segments| segments.len() as u8);
        let second = if self.scope.logs > 1 { available(1) } else { 0 };
        let mut choices = Vec::new();
        for first in 0..=available(0) {
            for second in 0..=second {
                for bits in 0..16u8 {
                    let bit = |bit: u8| bits >> bit & 1 == 1;
                    let is_one = self.scope.logs < 2;
                    if is_one && bit(1) || !self.scope.clip && bit(3) {
                        continue;
                    }
                    choices.push(Choice {
                        segments: [first, second],
                        silent: [bit(0), bit(1)],
                        snapshot: bit(2),
                        clip: bit(3),
                    });
                }
            }
        }
        choices
    }

    /// The unmerged segments of a log, as far as they are found. `None`: one is missing.
    fn segments(&self, warm: &Warm, log: usize) -> Option<Vec<(Position, Set)>> {
        let mut next = warm.merged[log];
        let log = &self.state.logs[log];
        let mut found = Vec::new();
        while let Some((after, segment)) = log.from(next) {
            if after != next && self.scope.has(Guard::GapIsDamage) {
                self.reached.hit(Event::GapFound);
                return None;
            }
            next = segment.through;
            found.push((segment.through, segment.holds));
        }
        Some(found)
    }

    /// Merges, decides the time, closes. `None`: there is nothing to commit.
    pub(crate) fn draft(mut self, choice: Choice) -> Option<State> {
        let warm = self.me().warm?;
        let is_old = self.is_old(&warm);
        if is_old && self.scope.has(Guard::SnapshotByAge) && !choice.snapshot {
            return None;
        }
        let (mut fold, mut results, mut merged) = (warm.fold, Results::default(), warm.merged);
        let mut unread = [false; LOGS];
        for log in self.scope.logs() {
            let segments = self.segments(&warm, log)?;
            let count = choice.segments[log] as usize;
            unread[log] = count < segments.len();
            for (through, holds) in segments.into_iter().take(count) {
                merged[log] = through;
                fold.merge(self.scope, holds, warm.watermark, &mut results);
            }
        }
        let idle = |log: usize| {
            let is_drained = self.state.logs[log].arrived == merged[log];
            choice.silent[log]
                && !unread[log]
                && (is_drained || !self.scope.has(Guard::IdleIsDrained))
        };
        if self.scope.logs().any(|log| choice.silent[log] && !idle(log)) {
            return None;
        }
        let decided = decide(self.scope, &fold, merged, warm.watermark, idle);
        let watermark =
            if choice.clip { clip(self.scope, &fold, &warm, decided)? } else { decided };
        fold.close(self.scope, watermark, &mut results);
        if merged == warm.merged && results.is_empty() && !choice.snapshot {
            return None;
        }

        if self.scope.logs().any(idle) {
            self.reached.hit(Event::Idle);
        }
        if !results.late.is_none() {
            self.reached.hit(Event::Late);
        }
        let overtaken = |record: &crate::Record| {
            let log = &self.state.logs[record.log];
            let waits = record.position <= log.arrived && record.position > merged[record.log];
            waits && record.window_end() <= watermark && watermark > warm.watermark
        };
        if self.scope.records.iter().any(overtaken) {
            self.state.note(Wrong::Overtook);
        }
        if is_old && !choice.snapshot {
            self.state.note(Wrong::Neglected);
        }
        let before = self.scope.has(Guard::SnapshotBefore);
        let snapshot = choice.snapshot.then_some(if before { warm.fold } else { fold });
        let named = if choice.snapshot { Some(warm.epochs) } else { warm.snapshot };
        let checkpoint =
            Checkpoint { merged, watermark, snapshot: named, results, fold, expires: false };
        self.me().draft = Some(Commit { epoch: warm.epochs, checkpoint, snapshot });
        Some(self.state)
    }

    /// Whether the oldest segment since the newest snapshot has lived a quarter of its time.
    fn is_old(&self, warm: &Warm) -> bool {
        let from = warm.snapshot.and_then(|snapshot| snapshot.checked_sub(1));
        let from = from.and_then(|before| self.state.chain.get(before));
        self.scope.time
            && self.scope.logs().any(|log| {
                let from = from.map_or(0, |checkpoint| checkpoint.merged[log]);
                self.state.logs[log]
                    .chain(from)
                    .filter(|(after, _)| *after < warm.merged[log])
                    .any(|(_, segment)| segment.age > self.scope.times.quarter)
            })
    }

    /// Something becomes of the put of the checkpoint.
    pub(crate) fn commit(mut self, outcome: Outcome) -> Option<State> {
        let draft = self.me().draft?;
        match outcome {
            Outcome::Refused => return Some(self.lose()),
            Outcome::Lingers => {
                if self.state.chain.orphan.is_some() || !self.scope.orphans {
                    return None;
                }
                self.state.chain.orphan = Some(draft);
                return self.crash();
            }
            Outcome::Says | Outcome::Repeated | Outcome::Lost => {}
        }
        let created = create(self.scope, self.reached, &mut self.state, draft);
        match (outcome, created) {
            (Outcome::Lost, true) => self.crash(),
            (Outcome::Lost | Outcome::Repeated, false) => None,
            (Outcome::Says, true) => Some(self.won(draft)),
            (Outcome::Repeated, true) => {
                self.reached.hit(Event::OwnCheckpointFound);
                Some(self.won(draft))
            }
            (_, false) => {
                let there = self.state.chain.get(draft.epoch)?;
                let is_equal = Checkpoint { expires: false, ..there } == draft.checkpoint;
                if is_equal || !self.scope.has(Guard::CompareCheckpoint) {
                    return Some(self.won(draft));
                }
                self.reached.hit(Event::CommitLost);
                Some(self.lose())
            }
            (Outcome::Refused | Outcome::Lingers, true) => None,
        }
    }

    fn won(mut self, draft: Commit) -> State {
        let Commit { epoch, checkpoint, snapshot } = draft;
        let before = self.me().warm.and_then(|warm| warm.snapshot);
        let is_written = self.scope.has(Guard::SnapshotFirst);
        *self.me() = Advance {
            draft: None,
            warm: Some(Warm {
                epochs: epoch + 1,
                merged: checkpoint.merged,
                watermark: checkpoint.watermark,
                snapshot: checkpoint.snapshot,
                fold: checkpoint.fold,
                pending: (!checkpoint.results.is_empty()).then_some(checkpoint.results),
                emitted: false,
                unverified: self.scope.has(Guard::VerifyNewest),
                replaced: snapshot.map(|_| before),
                unwritten: snapshot.filter(|_| !is_written),
            }),
        };
        self.state
    }

    /// The tick ends without a checkpoint.
    fn lose(mut self) -> State {
        let draft = self.me().draft.take();
        let warm = self.me().warm.take();
        if let (Some(draft), Some(warm)) = (draft, warm)
            && !self.scope.has(Guard::DropWarm)
        {
            self.me().warm = Some(Warm { fold: draft.checkpoint.fold, ..warm });
        }
        self.state
    }

    /// Looks whether the checkpoint that it created is the newest.
    pub(crate) fn verify(mut self) -> Option<State> {
        let epochs = self.state.chain.epochs();
        let warm = self.me().warm.as_mut()?;
        if !warm.unverified {
            return None;
        }
        if warm.epochs != epochs {
            self.reached.hit(Event::GaveWay);
            return self.crash();
        }
        warm.unverified = false;
        Some(self.state)
    }

    /// Writes the snapshot that should have been written before.
    pub(crate) fn write_snapshot(mut self) -> Option<State> {
        let warm = self.me().warm.as_mut()?;
        let fold = warm.unwritten.take()?;
        let epoch = warm.epochs.checked_sub(1)?;
        self.state.chain.snapshots[epoch as usize] = Some(Snapshot { fold, expires: false });
        Some(self.state)
    }

    /// Emits what is not committed yet.
    pub(crate) fn emit_early(mut self) -> Option<State> {
        let draft = self.me().draft?;
        let results = draft.checkpoint.results;
        if self.scope.has(Guard::EmitAfterCommit) || results.is_empty() {
            return None;
        }
        if self.state.sink[draft.epoch as usize] == Some(results) {
            return None;
        }
        self.sink(draft.epoch, results);
        Some(self.state)
    }

    /// Lets the store delete what a newer snapshot replaced.
    pub(crate) fn housekeep(mut self) -> Option<State> {
        let me = *self.me();
        let warm = me.warm?;
        let early = me
            .draft
            .filter(|draft| draft.snapshot.is_some() && !self.scope.has(Guard::ExpireAfterCommit));
        let (older, newer) = match early {
            Some(draft) => (warm.snapshot, draft.epoch),
            None => {
                let waits = warm.pending.is_some() && self.scope.has(Guard::ExpireAfterEmission);
                if waits || warm.unverified || me.draft.is_some() {
                    return None;
                }
                (warm.replaced?, warm.epochs.checked_sub(1)?)
            }
        };
        let chain = &mut self.state.chain;
        let before = *chain;
        if let Some(older) = older
            && let Some(snapshot) = &mut chain.snapshots[older as usize]
        {
            snapshot.expires = true;
        }
        let judge = u8::from(self.scope.has(Guard::KeepJudge));
        let first = older.map_or(0, |older| older.saturating_sub(judge));
        for epoch in first..newer.saturating_sub(judge) {
            if let Some(checkpoint) = &mut chain.checkpoints[epoch as usize] {
                checkpoint.expires = true;
            }
        }
        if early.is_some() {
            return (before != self.state.chain).then_some(self.state);
        }
        if let Some(warm) = &mut self.me().warm {
            warm.replaced = None;
        }
        Some(self.state)
    }

    /// The process ends; the next one knows nothing.
    pub(crate) fn crash(mut self) -> Option<State> {
        *self.me() = Advance::default();
        Some(self.state)
    }
}

/// Carries out a put of a checkpoint. Answers whether it was created.
pub(crate) fn create(scope: &Scope, reached: &Reached, state: &mut State, commit: Commit) -> bool {
    let Commit { epoch, checkpoint, snapshot } = commit;
    let chain = &mut state.chain;
    if chain.get(epoch).is_some() && scope.has(Guard::CheckpointIfAbsent) {
        return false;
    }
    if epoch < chain.epochs() {
        reached.hit(Event::DeletedKeyTaken);
    }
    let before = epoch.checked_sub(1).and_then(|before| chain.get(before));
    chain.checkpoints[epoch as usize] = Some(checkpoint);
    if let Some(fold) = snapshot {
        reached.hit(Event::Snapshot);
        if scope.has(Guard::SnapshotFirst) {
            chain.snapshots[epoch as usize] = Some(Snapshot { fold, expires: false });
        }
    }
    if before.is_some_and(|before| checkpoint.watermark < before.watermark) {
        state.note(Wrong::WentBack);
    }
    reached.hit(Event::Committed);
    true
}

/// The watermark: the least clock of the logs that are not idle; when all are, what the last open
/// window needs.
pub(crate) fn decide(
    scope: &Scope,
    fold: &Fold,
    merged: [Position; LOGS],
    previous: u8,
    idle: impl Fn(usize) -> bool,
) -> u8 {
    let active = scope.logs().filter(|log| !idle(*log)).map(|log| scope.clock(log, merged[log]));
    // No clock sorts first: such a log holds the watermark where it is.
    let reached = match active.min() {
        Some(slowest) => slowest,
        None => fold.last_close(scope),
    };
    let reached = reached.unwrap_or(previous);
    if scope.has(Guard::WatermarkRises) { reached.max(previous) } else { reached }
}

/// A lower watermark that closes only the first window; `None`: there is none.
fn clip(scope: &Scope, fold: &Fold, warm: &Warm, watermark: u8) -> Option<u8> {
    let ends = fold.open.set().iter().map(|record| scope.records[record].window_end()).min()?;
    (warm.watermark < ends && ends < watermark).then_some(ends)
}
