//! Shards of a Kinesis-like stream end, and others continue them; and what a listing shows of that.

use tidemill_model::{LogId, Position, WallMs};
use tidemill_testkit::Rng;

use super::{Shard, Sources, State};

/// Open shards of one stream at most.
const OPEN_MAX: usize = 5;
/// How long until a listing shows a new shard, at most, milliseconds.
const UNLISTED_MAX_MS: i64 = 30_000;
/// How long records are kept, and with them a shard that has ended, milliseconds.
const RETENTION_MS: i64 = 24 * 3_600_000;

/// The shards of one stream, as a listing shows them.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) shards: Vec<Listed>,
    /// Whether no shard was being split or merged.
    pub(crate) settled: bool,
}

/// A shard, as a listing shows it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) log: LogId,
    pub(crate) parents: Vec<LogId>,
    pub(crate) start: Position,
    pub(crate) closed: bool,
}

/// What became of shards.
pub(crate) struct Resharded {
    /// Indexes of the new shards.
    pub(crate) children: Vec<usize>,
    pub(crate) is_merge: bool,
    /// For people.
    pub(crate) line: String,
}

impl Sources {
    /// Streams that are like Kinesis streams.
    pub(crate) fn is_kinesis(&self, stream: &str) -> bool {
        self.state().kinesis.contains(stream)
    }

    /// Shards that take records.
    pub(crate) fn open(&self) -> Vec<usize> {
        let state = self.state();
        let open = state.shards.iter().enumerate().filter(|(_, shard)| shard.closed.is_none());
        open.map(|(index, _)| index).collect()
    }

    /// Splits a shard or merges two; `None` when none can be.
    pub(crate) fn reshard(&self, now: WallMs, rng: &mut Rng) -> Option<Resharded> {
        let mut state = self.state();
        let streams: Vec<String> = state.kinesis.iter().cloned().collect();
        let stream = rng.pick(&streams)?.clone();
        let mut open = state.open_of(&stream);
        rng.shuffle(&mut open);
        let is_merge = open.len() > 1 && (open.len() >= OPEN_MAX || rng.chance(40));
        let parents = open.get(..if is_merge { 2 } else { 1 })?.to_vec();
        let ended: Vec<LogId> = parents.iter().map(|it| state.shards[*it].log.clone()).collect();
        let mut children = Vec::new();
        for _ in 0..if is_merge { 1 } else { 2 } {
            let of_stream = |shard: &&Shard| shard.log.stream == stream;
            let number = state.shards.iter().filter(of_stream).count();
            let log = LogId::new(&*stream, format!("{number}"));
            let listed_from = now.plus(rng.between(0, UNLISTED_MAX_MS));
            children.push(state.shards.len());
            state.shards.push(Shard::new(log, ended.clone(), listed_from, true, rng));
        }
        for parent in &parents {
            state.shards[*parent].closed = Some(now);
        }
        let name = |log: &LogId| log.to_string();
        let made = children.iter().map(|it| name(&state.shards[*it].log)).collect::<Vec<_>>();
        let ended = ended.iter().map(name).collect::<Vec<_>>();
        let line = format!("{} end, {} continue", ended.join(" and "), made.join(" and "));
        Some(Resharded { children, is_merge, line })
    }

    /// The shards of a stream that may hold records.
    pub(crate) fn listing(&self, stream: &str, now: WallMs) -> Listing {
        let state = self.state();
        let of_stream = || state.shards.iter().filter(|shard| shard.log.stream == stream);
        let is_shown = |shard: &&Shard| {
            let is_read = shard.committed == shard.records.len();
            let is_gone = shard.closed.is_some_and(|at| now.since(at) > RETENTION_MS) && is_read;
            shard.listed_from <= now && !is_gone
        };
        let shards = of_stream().filter(is_shown).map(|shard| Listed {
            log: shard.log.clone(),
            parents: shard.parents.clone(),
            start: shard.start,
            closed: shard.closed.is_some(),
        });
        let shards = shards.collect();
        Listing { shards, settled: of_stream().all(|shard| shard.listed_from <= now) }
    }

    /// Whether a shard takes no more records.
    pub(crate) fn is_closed(&self, log: &LogId) -> bool {
        self.state().shards.iter().any(|shard| shard.log == *log && shard.closed.is_some())
    }
}

impl State {
    fn open_of(&self, stream: &str) -> Vec<usize> {
        let shards = self.shards.iter().enumerate();
        let open = shards.filter(|(_, it)| it.log.stream == stream && it.closed.is_none());
        open.map(|(index, _)| index).collect()
    }

    /// Whether a shard's parents were read to their end.
    pub(super) fn is_its_turn(&self, shard: usize) -> bool {
        let parents = &self.shards[shard].parents;
        let mut parents = self.shards.iter().filter(|it| parents.contains(&it.log));
        parents.all(|parent| parent.committed == parent.records.len())
    }
}
