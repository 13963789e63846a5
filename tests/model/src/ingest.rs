//! The steps of an ingest process: `shared/flow/src/append.rs`, cut where another process may run.
//!
//! deliver ─ read ─ build ─ check ─ (send) ─ answer ─┐
//!             ▲                                     ├─ more of the batch: build
//!             └── exists, or not fresh any more ◀───┴─ covered: acknowledge

use crate::record::{Position, Set};
use crate::state::{Ingest, Log, Orphan, Put, Segment, State, Step, Tail, Wrong};
use crate::{Event, Guard, Reached, Scope};

/// Races that one append loses in a row before it gives up.
const ATTEMPTS_MAX: u8 = 2;

/// What becomes of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is carried out and answered.
    Says,
    /// It is carried out, and then repeated by the client, which hears of the second one.
    Repeated,
    /// It is carried out, and the answer is lost.
    Lost,
    /// It is not carried out.
    Refused,
    /// Its sender gives up; it may be carried out later.
    Lingers,
}

/// What may happen to a put that waits.
pub(crate) const ANSWERS: [Answer; 5] =
    [Answer::Says, Answer::Repeated, Answer::Lost, Answer::Refused, Answer::Lingers];

/// A step of one ingest process.
pub(crate) struct Appending<'a> {
    scope: &'a Scope,
    reached: &'a Reached,
    state: State,
    /// The process.
    index: usize,
}

impl<'a> Appending<'a> {
    /// A step of a process.
    pub(crate) fn new(scope: &'a Scope, reached: &'a Reached, state: &State, index: usize) -> Self {
        Appending { scope, reached, state: *state, index }
    }

    fn me(&mut self) -> &mut Ingest {
        &mut self.state.ingests[self.index]
    }

    fn log(&self) -> &Log {
        &self.state.logs[self.log_index()]
    }

    fn log_index(&self) -> usize {
        self.state.ingests[self.index].log as usize
    }

    fn tail(&self) -> Option<Tail> {
        self.state.ingests[self.index].tails[self.log_index()]
    }

    /// The source hands the process a batch.
    pub(crate) fn deliver(mut self, log: usize, batch: Set) -> Option<State> {
        let is_cached = self.me().tails[log].is_some();
        let tails = self.me().tails;
        let step = if is_cached { Step::Building } else { Step::Reading };
        *self.me() = Ingest { step, log: log as u8, rest: batch, tails, ..Ingest::default() };
        Some(self.state)
    }

    /// Reads the tail, or the first half of what makes it.
    pub(crate) fn read(mut self) -> Option<State> {
        let (log, step) = (self.log_index(), self.me().step);
        let (merged, arrival) = match step {
            Step::HalfRead(merged, arrival) => (merged, arrival),
            Step::Reading => {
                let merged = self.state.merged(self.scope, log);
                let arrival = match self.scope.advances {
                    0 => self.log().merged_arrival,
                    _ => u8::from(merged > 0),
                };
                let knows = self.scope.has(Guard::ArrivalInCheckpoint);
                let arrival = if knows { arrival } else { 0 };
                // The tail's age counts from here.
                let position = 0;
                self.me().tails[log] = Some(Tail { position, age: 0, oldest: None, arrival });
                if self.scope.split_reads {
                    self.me().step = Step::HalfRead(merged, arrival);
                    return Some(self.state);
                }
                (merged, arrival)
            }
            _ => return None,
        };
        let Some(tail) = self.facts(merged, arrival) else { return Some(self.fail()) };
        let age = self.tail()?.age;
        self.me().tails[log] = Some(Tail { age, ..tail });
        self.me().step = Step::Building;
        Some(self.state)
    }

    /// `Tail::of`. `None`: the log is damaged.
    fn facts(&self, merged: Position, arrival: u8) -> Option<Tail> {
        let newest = self.log().newest();
        let through = newest.map(|(_, newest)| newest.through);
        let position = match self.scope.has(Guard::TailIsMaximum) {
            true => through.map_or(merged, |through| through.max(merged)),
            false => through.unwrap_or(0),
        };
        if through.is_none_or(|through| through < merged) && merged > 0 {
            self.reached.hit(Event::TailFromCheckpoint);
        }
        let mut oldest = None;
        if let Some((after, newest)) = newest {
            if after < merged && merged < newest.through && self.scope.has(Guard::OverlapIsDamage) {
                self.reached.hit(Event::OverlapFound);
                return None;
            }
            if after >= merged {
                let (first, segment) = self.log().from(merged)?;
                if first != merged {
                    self.reached.hit(Event::GapFound);
                    return None;
                }
                oldest = Some(segment.age.min(self.scope.times.half + 1));
            }
        }
        let arrival = newest.map_or(0, |(_, newest)| newest.arrival).max(arrival);
        Some(Tail { position, age: 0, oldest, arrival })
    }

    /// The records of the rest that the tail covers.
    fn skipped(&self, tail: Tail) -> Set {
        let rest = self.state.ingests[self.index].rest;
        rest.iter().filter(|record| self.position(*record) <= tail.position).collect()
    }

    fn position(&self, record: usize) -> Position {
        self.scope.records[record].position
    }

    /// How many records a segment may get: one choice each. 0: none is built.
    pub(crate) fn lengths(&self) -> std::ops::RangeInclusive<usize> {
        let Some(tail) = self.tail() else { return 0..=0 };
        let me = &self.state.ingests[self.index];
        let rest = match self.scope.has(Guard::SkipCovered) {
            true => me.rest.without(self.skipped(tail)),
            false => me.rest,
        };
        let length = rest.iter().count();
        if length == 0 || self.is_overdue(tail) || self.stuck(tail) { 0..=0 } else { 1..=length }
    }

    fn is_overdue(&self, tail: Tail) -> bool {
        let is_old = tail.oldest.is_some_and(|age| age > self.scope.times.half);
        is_old && self.scope.has(Guard::LogNearExpiry)
    }

    /// Whether a record would be skipped that no segment has.
    fn stuck(&self, tail: Tail) -> bool {
        self.skipped(tail).iter().any(|record| self.unseen(record) || self.rewound(record, tail))
    }

    fn unseen(&self, record: usize) -> bool {
        let position = self.position(record);
        let covering = (0..)
            .zip(&self.log().segments)
            .filter_map(|(after, segment)| Some((after, (*segment)?)))
            .find(|(after, segment)| *after < position && position <= segment.through);
        let Some((_, segment)) = covering else { return false };
        let is_unseen = !segment.holds.iter().any(|held| self.position(held) == position);
        if is_unseen {
            self.reached.hit(Event::UnseenFound);
        }
        is_unseen && self.scope.has(Guard::UnseenIsStuck)
    }

    fn rewound(&self, record: usize, tail: Tail) -> bool {
        let arrival = self.scope.records[record].generation + 1;
        let is_newer = tail.arrival != 0 && arrival > tail.arrival;
        if is_newer {
            self.reached.hit(Event::RewindFound);
        }
        is_newer && self.scope.has(Guard::RewindIsStuck)
    }

    /// Skips, refuses, or builds a segment of the first `length` records that are left.
    pub(crate) fn build(mut self, length: usize) -> Option<State> {
        let tail = self.tail()?;
        if self.stuck(tail) {
            return Some(self.fail());
        }
        if self.scope.has(Guard::SkipCovered) {
            let skipped = self.skipped(tail);
            if !skipped.is_empty() {
                self.reached.hit(Event::Skipped);
            }
            self.cover(skipped);
        }
        if self.me().rest.is_empty() {
            return Some(self.finish());
        }
        if self.is_overdue(tail) {
            self.reached.hit(Event::NearExpiry);
            return Some(self.fail());
        }
        let holds: Set = self.me().rest.iter().take(length).collect();
        let last = holds.iter().map(|record| self.position(record)).max()?;
        // A segment of records that the log has would end where it begins.
        let through = last.max(tail.position + 1);
        let newest = holds.iter().map(|record| self.scope.records[record].generation + 1).max()?;
        let arrival = newest.max(tail.arrival);
        self.me().step =
            Step::Checking(Segment { through, holds, age: 0, arrival, overslept: false });
        Some(self.state)
    }

    fn cover(&mut self, records: Set) {
        let me = self.me();
        me.covered = me.covered.with(records);
        me.rest = me.rest.without(records);
    }

    /// Looks at the clock right before the put.
    pub(crate) fn check(mut self) -> Option<State> {
        let Step::Checking(segment) = self.me().step else { return None };
        let segment = Segment { age: 0, ..segment };
        if self.tail()?.age > self.scope.times.cache && self.scope.has(Guard::CheckBeforePut) {
            self.reached.hit(Event::Stalled);
            return Some(self.again());
        }
        self.me().step = match self.scope.sleepers {
            true => Step::Sending(segment),
            false => Step::Waiting(Put { segment, sent: 0 }),
        };
        Some(self.state)
    }

    /// Sends the put, however much later.
    pub(crate) fn send(mut self) -> Option<State> {
        let Step::Sending(segment) = self.me().step else { return None };
        self.me().step = Step::Waiting(Put { segment, sent: 0 });
        Some(self.state)
    }

    /// Reads the tail again, unless this was tried too often.
    fn again(mut self) -> State {
        self.me().attempts += 1;
        if self.me().attempts >= ATTEMPTS_MAX {
            return self.fail();
        }
        let log = self.log_index();
        self.me().tails[log] = None;
        self.me().step = Step::Reading;
        self.state
    }

    /// Something becomes of the put.
    pub(crate) fn answer(mut self, answer: Answer) -> Option<State> {
        let Step::Waiting(put) = self.me().step else { return None };
        let (log, tail) = (self.log_index(), self.tail()?);
        let is_alive = put.sent <= self.scope.times.linger;
        match answer {
            Answer::Refused => return Some(self.fail()),
            Answer::Lingers => {
                if self.state.orphan.is_some() || !self.scope.orphans || !is_alive {
                    return None;
                }
                self.state.orphan = Some(Orphan { log: log as u8, after: tail.position, put });
                return Some(self.fail());
            }
            Answer::Says | Answer::Repeated | Answer::Lost if !is_alive => return None,
            Answer::Says | Answer::Repeated | Answer::Lost => {}
        }
        let created = create(self.scope, &mut self.state, log, tail.position, put.segment);
        match (answer, created) {
            (Answer::Lost, _) => return Some(self.fail()),
            (Answer::Repeated, false) => return None,
            (Answer::Repeated, true) => self.reached.hit(Event::OwnWriteFound),
            (_, true) => return Some(self.created(tail, put.segment)),
            (_, false) => self.reached.hit(Event::RaceLost),
        }
        if self.scope.has(Guard::ReadAfterExists) {
            return Some(self.again());
        }
        self.cover(put.segment.holds);
        Some(self.go_on())
    }

    fn created(mut self, tail: Tail, segment: Segment) -> State {
        self.reached.hit(Event::Created);
        if tail.age > self.scope.times.half && self.scope.has(Guard::CheckAfterPut) {
            self.reached.hit(Event::NotBelieved);
            return self.fail();
        }
        let log = self.log_index();
        self.me().tails[log] = Some(Tail {
            position: segment.through,
            oldest: tail.oldest.or(Some(segment.age)),
            arrival: tail.arrival.max(segment.arrival),
            ..tail
        });
        self.me().attempts = 0;
        self.cover(segment.holds);
        self.go_on()
    }

    fn go_on(mut self) -> State {
        if self.me().rest.is_empty() {
            return self.finish();
        }
        self.me().step = Step::Building;
        self.state
    }

    /// Everything is covered.
    fn finish(mut self) -> State {
        let (log, covered) = (self.log_index(), self.me().covered);
        let acked = &mut self.state.logs[log].acked;
        *acked = acked.with(covered);
        self.rest()
    }

    /// The batch failed: the source is told how far it is covered, and the tail is forgotten.
    fn fail(mut self) -> State {
        let log = self.log_index();
        if !self.scope.has(Guard::AckOnlyCovered) {
            let rest = self.me().rest;
            self.cover(rest);
        }
        if self.scope.has(Guard::ForgetTail) || !matches!(self.me().step, Step::Waiting(_)) {
            self.me().tails[log] = None;
        }
        self.finish()
    }

    fn rest(mut self) -> State {
        let (times, caches) = (self.scope.times, self.scope.has(Guard::FreshFromCache));
        let tails =
            self.me().tails.map(|tail| tail.filter(|tail| tail.age <= times.cache || !caches));
        *self.me() = Ingest { tails, ..Ingest::default() };
        self.state
    }

    /// The process ends; the next one knows nothing.
    pub(crate) fn crash(mut self) -> Option<State> {
        *self.me() = Ingest::default();
        Some(self.state)
    }
}

/// Carries out a put of a segment. Answers whether it was created.
pub(crate) fn create(
    scope: &Scope,
    state: &mut State,
    log: usize,
    after: Position,
    segment: Segment,
) -> bool {
    let merged = state.merged(scope, log);
    let Some(place) = state.logs[log].segments.get_mut(after as usize) else { return false };
    if place.is_some() && scope.has(Guard::SegmentIfAbsent) {
        return false;
    }
    let overslept = segment.age > scope.times.half + scope.times.linger;
    *place = Some(Segment { overslept, ..segment });
    if after < merged {
        state.note(Wrong::WrittenAgain);
    }
    let times = scope.times;
    if let Some((first, oldest)) = state.logs[log].from(merged)
        && first < after
        && oldest.age > times.half + times.cache + times.linger
    {
        state.note(Wrong::FedWhileOld);
    }
    true
}
