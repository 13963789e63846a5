//! How much of the world a run of the checker covers: its bounds, its times, what may go wrong.

use crate::record::{LOGS, Position, Record};
use crate::{Event, Guard, Guards};

/// Lengths of time, in steps of the clock. Only their order matters:
/// cache + linger < half < ttl, as `shared/model/src/limits.rs` asserts of the real ones.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long a tail is believed.
    pub cache: u8,
    /// How long a request may linger before the store refuses it.
    pub linger: u8,
    /// Age at which a snapshot is due (a quarter of the time to live).
    pub quarter: u8,
    /// Age of unmerged segments at which append refuses (half the time to live).
    pub half: u8,
    /// Time to live of segments.
    pub ttl: u8,
    /// How long the store keeps at least what it is given when its time is over already.
    pub grace: u8,
}

/// One scope.
#[derive(Debug, Clone)]
pub struct Scope {
    /// What people call it.
    pub name: &'static str,
    /// The guards that are on.
    pub guards: Guards,
    /// Lengths of time.
    pub times: Times,
    /// Whether time passes, and so segments expire by age. Where it does not, a segment may go as
    /// soon as no cold start needs it.
    pub time: bool,
    /// Every record.
    pub records: &'static [Record],
    /// Shards.
    pub logs: usize,
    /// Ingest processes; 0: each append is one step that does not fail.
    pub ingests: usize,
    /// Advance processes; 0: merging is one step that does not fail, and time is not decided.
    pub advances: usize,
    /// Epochs at most.
    pub epochs: u8,
    /// Whether records arrive by themselves. Else they are all there for ingest processes, and
    /// where append is one step they arrive with it.
    pub arrivals: bool,
    /// Whether a watermark may stop at the first window that it closes.
    pub clip: bool,
    /// Whether the facts of a log are read in two steps.
    pub split_reads: bool,
    /// Whether a process may sleep for ever between its last look at the clock and sending a put.
    pub sleepers: bool,
    /// Whether invocations share one shard by key (ParallelizationFactor > 1).
    pub parallel: bool,
    /// Whether the first source is deleted and created anew at some moment.
    pub recreated: bool,
    /// Whether the store may lose an unmerged segment, against its contract.
    pub lossy: bool,
    /// Requests that may be on their way while their senders have given up.
    pub orphans: bool,
    /// What must happen somewhere in this scope, else it is too small.
    pub reaches: &'static [Event],
}

const fn record(log: usize, generation: u8, position: Position, time: u8) -> Record {
    Record { log, generation, position, time }
}

const TWO_SHARDS: &[Record] =
    &[record(0, 0, 1, 1), record(0, 0, 2, 2), record(1, 0, 1, 1), record(1, 0, 2, 2)];
const ONE_SHARD_OF_4: &[Record] =
    &[record(0, 0, 1, 1), record(0, 0, 2, 1), record(0, 0, 3, 2), record(0, 0, 4, 2)];
const ONE_SHARD_OF_3: &[Record] = &[record(0, 0, 1, 1), record(0, 0, 2, 1), record(0, 0, 3, 2)];
const ONE_SHARD_OF_2: &[Record] = &[record(0, 0, 1, 1), record(0, 0, 2, 2)];
const CREATED_ANEW: &[Record] =
    &[record(0, 0, 1, 1), record(0, 0, 2, 1), record(0, 1, 1, 2), record(0, 1, 2, 2)];

const SHORT: Times = Times { cache: 0, linger: 0, quarter: 0, half: 1, ttl: 3, grace: 0 };
const TIMES: Times = Times { cache: 0, linger: 1, quarter: 1, half: 2, ttl: 5, grace: 0 };
const CACHED: Times = Times { cache: 1, linger: 0, quarter: 0, half: 2, ttl: 5, grace: 0 };

const RACES: &[Event] = &[
    Event::CommitLost,
    Event::OwnCheckpointFound,
    Event::EmittedTwice,
    Event::ReplayedSnapshot,
    Event::CheckpointDeleted,
    Event::DeletedKeyTaken,
    Event::GaveWay,
];

/// Late puts are for scopes with one shard: two shards share nothing but time and processes.
const TWO_SHARDS_REACH: &[Event] = &[
    Event::Created,
    Event::OwnWriteFound,
    Event::RaceLost,
    Event::Skipped,
    Event::Expired,
    Event::Stalled,
    Event::NearExpiry,
    Event::TailFromCheckpoint,
];

const APPEND: Scope = Scope {
    name: "append, two shards",
    guards: Guards::ALL,
    times: TIMES,
    time: true,
    records: TWO_SHARDS,
    logs: 2,
    ingests: 2,
    advances: 0,
    epochs: 0,
    arrivals: false,
    clip: false,
    split_reads: false,
    sleepers: false,
    parallel: false,
    recreated: false,
    lossy: false,
    orphans: true,
    reaches: &[
        Event::Created,
        Event::OwnWriteFound,
        Event::RaceLost,
        Event::Skipped,
        Event::Orphan,
        Event::Expired,
        Event::Stalled,
        Event::NearExpiry,
        Event::TailFromCheckpoint,
    ],
};

impl Scope {
    /// Every scope that `make model` visits.
    pub fn all() -> Vec<Scope> {
        vec![
            Scope::append_parallel(),
            Scope::append_recreated(),
            Scope::append_asleep(),
            Scope::append_long(),
            Scope::append(),
            Scope::advance_lossy(),
            Scope::advance_aged(),
            Scope::advance_alone(),
            Scope::advance_long(),
            Scope::advance(),
            Scope::joined(),
        ]
    }

    /// Append: two shards of two records, two ingest processes, time.
    pub fn append() -> Scope {
        Scope { times: SHORT, orphans: false, reaches: TWO_SHARDS_REACH, ..APPEND }
    }

    /// Append: one shard of four records, so that batches are cut in every way.
    pub fn append_long() -> Scope {
        Scope { name: "append, one long shard", records: ONE_SHARD_OF_4, logs: 1, ..APPEND }
    }

    /// Append: one shard, reads in two steps, longer times.
    pub fn append_slow() -> Scope {
        Scope {
            name: "append, slow reads",
            records: ONE_SHARD_OF_2,
            logs: 1,
            split_reads: true,
            times: CACHED,
            ..APPEND
        }
    }

    /// Append: processes that sleep for as long as they like between clock and put.
    pub fn append_asleep() -> Scope {
        Scope {
            name: "append, sleepers",
            records: ONE_SHARD_OF_2,
            logs: 1,
            sleepers: true,
            times: Times { grace: 2, ..TIMES },
            orphans: false,
            reaches: &[Event::NotBelieved, Event::OverlapFound],
            ..APPEND
        }
    }

    /// Append: a shard that several invocations read at once.
    pub fn append_parallel() -> Scope {
        Scope {
            name: "append, parallel",
            records: ONE_SHARD_OF_4,
            logs: 1,
            time: false,
            parallel: true,
            reaches: &[Event::UnseenFound],
            ..APPEND
        }
    }

    /// Append: a source that is created anew under its old name.
    pub fn append_recreated() -> Scope {
        Scope {
            name: "append, recreated source",
            records: CREATED_ANEW,
            logs: 1,
            recreated: true,
            reaches: &[Event::RewindFound, Event::Expired],
            ..APPEND
        }
    }

    /// Advance: two shards of two records, two processes, no clock: whatever no cold start needs
    /// may be deleted at any moment, so every stall is longer than every time to live.
    pub fn advance() -> Scope {
        Scope {
            name: "advance, two shards",
            time: false,
            ingests: 0,
            advances: 2,
            epochs: 3,
            orphans: false,
            reaches: &[
                Event::Committed,
                Event::CommitLost,
                Event::OwnCheckpointFound,
                Event::Replayed,
                Event::EmittedTwice,
                Event::Late,
                Event::Snapshot,
                Event::ReplayedSnapshot,
                Event::Expired,
                Event::CheckpointDeleted,
                Event::DeletedKeyTaken,
                Event::GaveWay,
            ],
            ..APPEND
        }
    }

    /// Advance: one shard, more epochs.
    pub fn advance_long() -> Scope {
        Scope {
            name: "advance, long chain",
            records: ONE_SHARD_OF_4,
            logs: 1,
            epochs: 5,
            ..Scope::advance()
        }
    }

    /// One advance process, two shards, records that arrive before they are appended.
    pub fn advance_alone() -> Scope {
        Scope {
            name: "advance, alone",
            advances: 1,
            arrivals: true,
            clip: true,
            reaches: &[Event::Idle, Event::Late, Event::EmittedTwice, Event::ReplayedSnapshot],
            ..Scope::advance()
        }
    }

    /// One advance process and time: what a cold start needs must not expire.
    pub fn advance_aged() -> Scope {
        Scope {
            name: "advance, time",
            records: ONE_SHARD_OF_2,
            logs: 1,
            advances: 1,
            epochs: 3,
            time: true,
            times: SHORT,
            reaches: &[Event::Expired, Event::Snapshot, Event::ReplayedSnapshot],
            ..Scope::advance()
        }
    }

    /// Advance over a store that loses a segment.
    pub fn advance_lossy() -> Scope {
        Scope {
            name: "advance, lossy store",
            records: ONE_SHARD_OF_3,
            logs: 1,
            lossy: true,
            reaches: &[Event::GapFound],
            ..Scope::advance()
        }
    }

    /// Both sides at once: one shard of two records, an ingest process, an advance, time.
    pub fn joined() -> Scope {
        Scope {
            name: "joined",
            records: ONE_SHARD_OF_2,
            logs: 1,
            ingests: 1,
            advances: 1,
            epochs: 2,
            times: SHORT,
            orphans: false,
            reaches: &[
                Event::OwnWriteFound,
                Event::Expired,
                Event::NearExpiry,
                Event::TailFromCheckpoint,
                Event::Replayed,
                Event::EmittedTwice,
                Event::Snapshot,
                Event::ReplayedSnapshot,
            ],
            ..APPEND
        }
    }

    /// A smaller one, for tests that anybody runs: one shard of two records where processes race,
    /// two epochs where there is one process.
    #[must_use]
    pub fn small(self) -> Scope {
        match (self.ingests, self.advances) {
            (0, 1) => Scope { epochs: 2, reaches: &[Event::Idle, Event::Late], ..self },
            (0, _) => Scope { records: ONE_SHARD_OF_2, logs: 1, epochs: 3, reaches: RACES, ..self },
            (_, 0) => Scope { records: ONE_SHARD_OF_2, logs: 1, times: SHORT, ..self },
            _ => self,
        }
    }

    /// The scope without a guard. A time to live without its margin is a shorter time.
    #[must_use]
    pub fn without(mut self, guard: Guard) -> Scope {
        self.guards = self.guards.without(guard);
        if guard == Guard::TtlMargin {
            let Times { cache, linger, .. } = self.times;
            self.times.ttl = cache + linger;
            self.times.half = self.times.ttl;
        }
        self
    }

    /// Whether a guard is on.
    pub fn has(&self, guard: Guard) -> bool {
        self.guards.has(guard)
    }

    /// The record at a position of a shard.
    pub fn at(&self, log: usize, generation: u8, position: Position) -> Option<usize> {
        let is_it = |record: &Record| {
            (record.log, record.generation, record.position) == (log, generation, position)
        };
        self.records.iter().position(is_it)
    }

    /// Positions that a shard will have.
    pub fn length(&self, log: usize, generation: u8) -> Position {
        let ours = |record: &&Record| record.log == log && record.generation == generation;
        self.records.iter().filter(ours).count() as Position
    }

    /// The logs.
    pub fn logs(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.logs.min(LOGS)
    }

    /// Clock of a log that is merged up to a position: its records are in order.
    pub fn clock(&self, log: usize, merged: Position) -> Option<u8> {
        let ours = |record: &&Record| record.log == log && record.position <= merged;
        self.records.iter().filter(ours).map(|record| record.time).max()
    }
}
