//! The sources: shards that grow, records that are delivered again and again, cut anew each time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_flow::decode::{RawBatch, RawRecord};
use tidemill_flow::ports::{Drained, Source};
use tidemill_model::{LogId, Position, WallMs};
use tidemill_testkit::Rng;

use crate::mutant::Mutant;
use crate::pipelines::MAX_FUTURE_MS;
use crate::scenario::Scenario;
use crate::store::pause;

/// One record and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) position: Position,
    pub(crate) arrival: WallMs,
    pub(crate) bytes: Vec<u8>,
    pub(crate) content: Content,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Event {
        key: Option<&'static str>,
        value: i64,
        time: i64,
    },
    /// No query may count it, for this reason.
    Dead(&'static str),
}

/// One shard.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) log: LogId,
    /// Where reading begins.
    pub(crate) start: Position,
    pub(crate) records: Vec<Record>,
    /// Records that the source takes for done.
    pub(crate) committed: usize,
    /// Whether positions are sequence numbers with sub-numbers, not offsets.
    sequences: bool,
    next: u64,
}

/// All shards, shared by the world, its processes and advance's port.
#[derive(Clone)]
pub(crate) struct Sources {
    state: Arc<Mutex<State>>,
}

struct State {
    shards: Vec<Shard>,
    ended: bool,
    rng: Rng,
    /// Whether the port sometimes cannot tell.
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
    pub(crate) batch: RawBatch,
}

impl Sources {
    pub(crate) fn new(scenario: &Scenario, streams: &[&str], rng: &mut Rng) -> Sources {
        let mut shards = Vec::new();
        for stream in streams {
            for shard in 0..scenario.shards {
                let sequences = rng.chance(50);
                let next = rng.below(1000);
                let mut shard = Shard {
                    log: LogId::new(*stream, format!("{shard}")),
                    start: Position::START,
                    records: Vec::new(),
                    committed: 0,
                    sequences,
                    next,
                };
                if rng.chance(30) {
                    shard.start = shard.position(rng);
                }
                shards.push(shard);
            }
        }
        let (rng, mutant) = (rng.fork(), scenario.mutant);
        let state = State { shards, ended: false, rng, is_vague: true, mutant };
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

    /// No record will come any more, and the port always knows.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.is_vague = false;
    }

    /// Adds a record to a shard, and answers a line about it.
    pub(crate) fn produce(
        &self,
        shard: usize,
        now: WallMs,
        scenario: &Scenario,
        rng: &mut Rng,
    ) -> String {
        let content = content(now, scenario, rng);
        let bytes = bytes(&content, now, rng);
        let mut state = self.state();
        let shard = &mut state.shards[shard];
        let position = shard.position(rng);
        let line = format!("{} {position:?} {content:?}", shard.log);
        shard.records.push(Record { position, arrival: now, bytes, content });
        line
    }

    /// Up to `count` records from what is not done, or from before it; `None` when there are none.
    pub(crate) fn deliver(&self, shard: usize, count: usize, rng: &mut Rng) -> Option<Delivery> {
        let mut state = self.state();
        let mutant = state.mutant;
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
        Some(Delivery { shard, log: it.log.clone(), from, to, batch })
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

const KEYS: [Option<&str>; 4] = [Some("a"), Some("b"), Some("c"), None];

fn content(now: WallMs, scenario: &Scenario, rng: &mut Rng) -> Content {
    if rng.chance(6) {
        let reasons = ["undecodable", "no_event_time", "future"];
        return Content::Dead(reasons[rng.index(reasons.len())]);
    }
    // In an orderly world half of the bound is left for what clocks differ.
    let behind = scenario.out_of_orderness_ms / 2;
    let lag = match rng.below(100) {
        0..75 => rng.between(0, behind),
        75..85 if scenario.shift_ms == 0 => -rng.between(0, MAX_FUTURE_MS / 20),
        85..97 if !scenario.orderly => rng.between(0, 60_000),
        97.. if !scenario.orderly => rng.between(0, 5 * 3_600_000),
        _ => 0,
    };
    let key = KEYS[rng.index(KEYS.len())];
    let value = rng.between(-5, 20);
    Content::Event { key, value, time: now.0 - scenario.shift_ms - lag }
}

fn bytes(content: &Content, now: WallMs, rng: &mut Rng) -> Vec<u8> {
    let any = rng.below(1000);
    match content {
        Content::Event { key, value, time } => {
            let key = key.map_or("null".to_string(), |key| format!("{key:?}"));
            format!("{{\"k\":{key},\"v\":{value},\"ts\":{time}}}").into_bytes()
        }
        Content::Dead("undecodable") if any < 300 => vec![b'{', 0xff, (any % 250) as u8],
        Content::Dead("undecodable") => format!("{{\"k\":{any}").into_bytes(),
        Content::Dead("no_event_time") => format!("{{\"k\":\"a\",\"v\":{any}}}").into_bytes(),
        Content::Dead(_) => {
            let time = now.0 + MAX_FUTURE_MS + 1 + any as i64;
            format!("{{\"k\":\"a\",\"v\":{any},\"ts\":{time}}}").into_bytes()
        }
    }
}

#[async_trait]
impl Source for Sources {
    async fn drained(&self, log: &LogId, position: Position) -> Drained {
        pause().await;
        let mut state = self.state();
        let is_vague = state.is_vague && state.rng.chance(15);
        if state.mutant == Some(Mutant::FalselyDrained) {
            return Drained::Yes;
        }
        let shard = state.shards.iter().find(|shard| shard.log == *log);
        match shard.and_then(|shard| shard.records.last()) {
            _ if is_vague => Drained::Unknown,
            Some(last) if last.position > position => Drained::No,
            _ => Drained::Yes,
        }
    }

    async fn ended(&self, _log: &LogId) -> bool {
        self.state().ended
    }
}
