//! The sources: shards that grow, split and merge, records that are delivered again and again, cut
//! anew each time.
//!
//! A stream is like a Kafka topic, with partitions that stay, or like a Kinesis stream, whose shards
//! end while others continue them. As Lambda does, a child's records are delivered only after its
//! parents were read to their end.
//!
//! Not here: what one process knows of the shards ([`port`](crate::process::Port)).

mod content;
mod reshard;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidemill_flow::decode::{RawBatch, RawRecord};
use tidemill_model::{LogId, Position, WallMs};
use tidemill_testkit::Rng;

use crate::mutant::Mutant;
use crate::scenario::Scenario;

pub(crate) use content::Content;
pub(crate) use reshard::{Listed, Listing};

/// One record and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) position: Position,
    pub(crate) arrival: WallMs,
    pub(crate) bytes: Vec<u8>,
    pub(crate) content: Content,
}

/// One shard.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) log: LogId,
    /// The shards that it continues; they may have been gone from the beginning.
    pub(crate) parents: Vec<LogId>,
    /// Where reading begins.
    pub(crate) start: Position,
    pub(crate) records: Vec<Record>,
    /// Records that the source takes for done.
    pub(crate) committed: usize,
    /// When it ended; `None`: it is open.
    closed: Option<WallMs>,
    /// From when on listings show it.
    listed_from: WallMs,
    /// Whether positions are sequence numbers with sub-numbers, not offsets.
    sequences: bool,
    next: u64,
}

/// All shards, shared by the world and its processes.
#[derive(Clone)]
pub(crate) struct Sources {
    state: Arc<Mutex<State>>,
}

struct State {
    shards: Vec<Shard>,
    /// Streams that are like Kinesis streams.
    kinesis: BTreeSet<String>,
    records: i64,
    ended: bool,
    rng: Rng,
    /// Whether a source sometimes does not answer.
    is_vague: bool,
    mutant: Option<Mutant>,
}

/// Records of one shard, as one delivery has them.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) shard: usize,
    pub(crate) log: LogId,
    /// Index of the first record, and one past the last.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Whether the shard continues another one.
    pub(crate) is_child: bool,
    pub(crate) batch: RawBatch,
}

impl Sources {
    pub(crate) fn new(scenario: &Scenario, streams: &[&str], rng: &mut Rng) -> Sources {
        let mut shards = Vec::new();
        let mut kinesis = BTreeSet::new();
        for stream in streams {
            if rng.chance(65) {
                kinesis.insert(stream.to_string());
            }
            let sequences = kinesis.contains(*stream);
            for number in 0..scenario.shards {
                let log = LogId::new(*stream, format!("{number}"));
                // What it continues was gone before the pipeline began.
                let parents = match sequences && rng.chance(20) {
                    true => vec![LogId::new(*stream, format!("before-{number}"))],
                    false => Vec::new(),
                };
                let mut shard = Shard::new(log, parents, WallMs(0), sequences, rng);
                if rng.chance(30) {
                    shard.start = shard.position(rng);
                }
                shards.push(shard);
            }
        }
        let (rng, mutant) = (rng.fork(), scenario.mutant);
        let (records, ended, is_vague) = (0, false, true);
        let state = State { shards, kinesis, records, ended, rng, is_vague, mutant };
        Sources { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shards(&self) -> Vec<Shard> {
        self.state().shards.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state().shards.len()
    }

    /// Logs with where reading begins.
    pub(crate) fn logs(&self) -> Vec<(LogId, Position)> {
        self.state().shards.iter().map(|shard| (shard.log.clone(), shard.start)).collect()
    }

    /// Whether records wait to be delivered in this shard.
    pub(crate) fn has_backlog(&self, shard: usize) -> bool {
        let state = self.state();
        state.shards[shard].committed < state.shards[shard].records.len()
    }

    /// No record will come any more, and every question is answered.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.is_vague = false;
    }

    /// Whether no record will come any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Whether a question has no answer this time.
    pub(crate) fn is_silent(&self, percent: u64) -> bool {
        let mut state = self.state();
        state.is_vague && state.rng.chance(percent)
    }

    /// Whether something lies after a position.
    pub(crate) fn has_more(&self, log: &LogId, position: Position) -> bool {
        let state = self.state();
        let shard = state.shards.iter().find(|shard| shard.log == *log);
        shard.and_then(|it| it.records.last()).is_some_and(|last| last.position > position)
    }

    /// Adds a record to an open shard, and answers a line about it.
    pub(crate) fn produce(
        &self,
        shard: usize,
        now: WallMs,
        scenario: &Scenario,
        rng: &mut Rng,
    ) -> String {
        let mut state = self.state();
        state.records += 1;
        let content = content::random(state.records, now, scenario, rng);
        let bytes = content::bytes(&content, now, rng);
        let shard = &mut state.shards[shard];
        let position = shard.position(rng);
        let text = String::from_utf8_lossy(&bytes);
        let (log, number) = (&shard.log, shard.records.len());
        let line = match &content {
            Content::Event(_) => format!("{log} #{number} {text}"),
            Content::Dead(reason) => format!("{log} #{number} {reason}: {text}"),
        };
        shard.records.push(Record { position, arrival: now, bytes, content });
        line
    }

    /// Up to `count` records from what is not done, or from before it; `None` when there are none.
    pub(crate) fn deliver(&self, shard: usize, count: usize, rng: &mut Rng) -> Option<Delivery> {
        let mut state = self.state();
        let mutant = state.mutant;
        if !state.is_its_turn(shard) {
            return None;
        }
        let it = &mut state.shards[shard];
        let again = if rng.chance(40) { rng.index(it.committed.min(30) + 1) } else { 0 };
        let from = it.committed - again;
        let to = (from + count).min(it.records.len());
        if from == to {
            return None;
        }
        let mut batch = RawBatch::default();
        let mut buffer = Vec::new();
        for record in &it.records[from..to] {
            let start = buffer.len() as u32;
            buffer.extend_from_slice(&record.bytes);
            let bytes = start..buffer.len() as u32;
            let (position, arrival) = (record.position, record.arrival);
            batch.records.push(RawRecord { bytes, position, arrival });
        }
        batch.buffer = Bytes::from(buffer);
        if mutant == Some(Mutant::NewPositions) && again > 0 {
            for record in &mut batch.records {
                record.position = it.position(rng);
            }
        }
        let (log, is_child) = (it.log.clone(), !it.parents.is_empty());
        Some(Delivery { shard, log, from, to, is_child, batch })
    }

    /// Takes the records before index `to` for done; answers the last one's position if that is
    /// news.
    pub(crate) fn commit(&self, shard: usize, to: usize) -> Option<Position> {
        let mut state = self.state();
        let shard = &mut state.shards[shard];
        if to <= shard.committed {
            return None;
        }
        shard.committed = to;
        Some(shard.records[to - 1].position)
    }
}

impl Shard {
    /// A shard without records.
    fn new(
        log: LogId,
        parents: Vec<LogId>,
        listed_from: WallMs,
        sequences: bool,
        rng: &mut Rng,
    ) -> Shard {
        let (start, records, committed) = (Position::START, Vec::new(), 0);
        let (closed, next) = (None, rng.below(1000));
        Shard { log, parents, start, records, committed, closed, listed_from, sequences, next }
    }

    /// The next record's position: rising, with gaps.
    fn position(&mut self, rng: &mut Rng) -> Position {
        let next = self.next;
        self.next += 1 + if rng.chance(30) { rng.below(50) } else { 0 };
        if self.sequences {
            // 56 digits, and several records of one number.
            let number = format!("4959033827149025660855969253836157109592{:016}", next / 4);
            if let Ok(position) = Position::from_sequence(&number, next % 4) {
                return position;
            }
        }
        Position::from_offset(next)
    }
}
