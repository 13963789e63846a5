//! A store with logs, and processes that advance it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use tidemill_codec::{encode_log_entry, encode_segment};
use tidemill_model::store::{Item, Put, Store};
use tidemill_model::{
    Checkpoint, DeadLetter, DeadReason, EventMs, Fingerprint, LogEntry, LogId, Position, RawBytes,
    Segment, WallMs,
};
use tidemill_testkit::MemoryStore;

use super::fake::{Delivered, Lines, Queries, Query, Sources, State, block};
use crate::advance::{Advance, AdvanceError, Settings, Ticked};
use crate::emit::{Emit, Routes};
use crate::keys::Keys;
use crate::ports::{Drained, Sink};
use crate::time::StreamTime;

/// One pipeline, its state and its surroundings.
pub(super) struct World {
    pub(super) store: MemoryStore,
    pub(super) keys: Keys,
    pub(super) settings: Settings,
    pub(super) queries: Vec<Query>,
    pub(super) sources: Arc<Sources>,
    pub(super) taken: Arc<Mutex<Delivered>>,
    logs: BTreeMap<LogId, u64>,
    /// Every appended event time by (query, window end): what the results must be.
    pub(super) expected: BTreeMap<(String, i64), i64>,
    nonces: u64,
}

/// A process: an advance and a look at its open state.
pub(super) struct Process {
    pub(super) advance: Advance,
    pub(super) state: Arc<Mutex<State>>,
}

pub(super) fn log(name: &str) -> LogId {
    LogId::parse(name).unwrap()
}

pub(super) fn query(name: &str, fingerprint: u128, size_ms: i64) -> Query {
    Query { name: name.to_string(), fingerprint: Fingerprint(fingerprint), size_ms }
}

impl World {
    /// Two queries, windows of 10 and 40 ms; logs of stream `s` are 5 ms out of order and idle
    /// after 100 ms.
    pub(super) fn new() -> World {
        let stream = StreamTime { out_of_orderness_ms: 5, idle_after_ms: 100, assume_idle: false };
        World {
            store: MemoryStore::new(),
            keys: Keys::new("p"),
            settings: Settings {
                streams: BTreeMap::from([("s".to_string(), stream)]),
                segment_ttl_ms: 1_000_000,
                results_max: 1000,
                tick_bytes_max: 1 << 20,
                snapshot_after_bytes: u64::MAX,
            },
            queries: vec![query("coarse", 2, 40), query("fine", 1, 10)],
            sources: Arc::new(Sources::default()),
            taken: Arc::new(Mutex::new(Delivered::default())),
            logs: BTreeMap::new(),
            expected: BTreeMap::new(),
            nonces: 0,
        }
    }

    pub(super) fn process(&self) -> Process {
        self.process_on(Arc::new(self.store.clone()))
    }

    /// A new process that reaches the store through `store`.
    pub(super) fn process_on(&self, store: Arc<dyn Store>) -> Process {
        let state = Arc::new(Mutex::new(State::default()));
        let open = Queries { queries: self.queries.clone(), state: state.clone(), told: false };
        let emit = self.emit(self.queries.iter().map(|query| query.name.as_str()));
        let (keys, settings) = (self.keys.clone(), self.settings.clone());
        let source = self.sources.clone();
        let advance = Advance::new(store, keys, Box::new(open), settings, source, emit);
        Process { advance, state }
    }

    /// The sinks `out`, for the results of these queries, and `dead`.
    pub(super) fn emit<'a>(&self, queries: impl Iterator<Item = &'a str>) -> Emit {
        let sinks = ["dead", "out"].map(|name| {
            let lines = Lines { name: name.to_string(), taken: self.taken.clone() };
            (name.to_string(), Box::new(lines) as Box<dyn Sink>)
        });
        let results = queries.map(|query| (query.to_string(), vec!["out".to_string()]));
        let routes = Routes { results: results.collect(), dead_letters: "dead".to_string() };
        Emit::new(sinks.into_iter().collect(), routes).unwrap()
    }

    pub(super) fn nonce(&mut self) -> String {
        self.nonces += 1;
        format!("n{}", self.nonces)
    }

    pub(super) fn register(&mut self, name: &str, at: i64) {
        let entry = LogEntry {
            log: log(name),
            parents: Vec::new(),
            registered_at: WallMs(at),
            start: Position::START,
            identity: String::new(),
        };
        self.put(&self.keys.logs(), &Keys::entry(&log(name)), encode_log_entry(&entry));
        self.logs.insert(log(name), 0);
    }

    /// Appends one segment: one record per event time, and one more that is dead per text.
    pub(super) fn append_with_dead(&mut self, name: &str, times: &[i64], dead: &[&str], at: i64) {
        self.append_by_a_clock(name, times, dead, at, at);
    }

    /// As [`World::append_with_dead`], by a process whose clock shows `at` when the records arrive.
    pub(super) fn append_by_a_clock(
        &mut self,
        name: &str,
        times: &[i64],
        dead: &[&str],
        at: i64,
        arrival: i64,
    ) {
        let records = (times.len() + dead.len()) as u64;
        let position = |offset: u64| match offset {
            0 => Position::START,
            _ => Position::from_offset(offset - 1),
        };
        let next = self.logs.get_mut(&log(name)).unwrap();
        let (after, through) = (position(*next), position(*next + records));
        *next += records;
        let dead_letter = |text: &&str| DeadLetter {
            log: log(name),
            position: through,
            arrival: WallMs(arrival),
            reason: DeadReason::Undecodable { detail: "no number".to_string() },
            raw: Some(RawBytes::of(text.as_bytes(), 0)),
        };
        let segment = Segment {
            after,
            through,
            records,
            appended_at: WallMs(at),
            newest_arrival: WallMs(arrival),
            clock: times.iter().max().map(|time| EventMs(*time)),
            seen: Vec::new(),
            dead_letters: dead.iter().map(dead_letter).collect(),
            blocks: self.queries.iter().map(|query| block(query.fingerprint, times)).collect(),
        };
        for query in &self.queries {
            for time in times {
                let end = (time.div_euclid(query.size_ms) + 1) * query.size_ms;
                *self.expected.entry((query.name.clone(), end)).or_default() += 1;
            }
        }
        let pk = self.keys.log(&log(name));
        self.put(&pk, &Keys::segment(segment.after), encode_segment(&segment));
    }

    pub(super) fn append(&mut self, name: &str, times: &[i64], at: i64) {
        self.append_with_dead(name, times, &[], at);
    }

    pub(super) fn put(&self, pk: &str, sk: &str, bytes: Vec<u8>) {
        let put = self.store.put_new(pk, sk, Item { bytes, expires_at: None });
        assert_eq!(put.now_or_never().unwrap(), Ok(Put::Created));
    }

    pub(super) fn end(&self, name: &str) {
        self.sources.ended.lock().unwrap().push(log(name));
        self.source(name, Drained::Yes);
    }

    pub(super) fn source(&self, name: &str, drained: Drained) {
        self.sources.drained.lock().unwrap().insert(log(name), drained);
    }

    pub(super) fn tick(&mut self, process: &mut Process, now: i64) -> Result<Ticked, AdvanceError> {
        let nonce = self.nonce();
        process.advance.tick(WallMs(now), &nonce).now_or_never().unwrap()
    }

    /// The stored items of a partition key that holds `part`, as (pk, sk).
    pub(super) fn items(&self, part: &str) -> Vec<(String, String)> {
        let rows = self.store.rows().into_iter();
        rows.filter(|(pk, _)| pk.contains(part)).map(|(pk, row)| (pk, row.sk)).collect()
    }

    /// Deletes everything that expires and that a cold start does not need.
    pub(super) fn expire(&self) {
        let checkpoints = self.checkpoints();
        let Some(newest) = checkpoints.last() else { return };
        let Some(snapshot) = &newest.snapshot else { return };
        let before = checkpoints.iter().rfind(|it| it.epoch < snapshot.epoch);
        for (pk, row) in self.store.rows() {
            let needed = self.logs.keys().find(|log| self.keys.log(log) == pk).map(|log| {
                let progress = before.and_then(|before| before.logs.get(log));
                Keys::segment(progress.map_or(Position::START, |progress| progress.merged))
            });
            let expires = match needed {
                Some(needed) => row.sk < needed,
                None => row.item.expires_at.is_some(),
            };
            if expires {
                self.store.delete(&pk, &row.sk);
            }
        }
    }

    pub(super) fn checkpoints(&self) -> Vec<Checkpoint> {
        let rows = self.store.rows().into_iter();
        rows.filter(|(pk, _)| *pk == self.keys.checkpoint())
            .map(|(_, row)| tidemill_codec::decode_checkpoint(&row.item.bytes).unwrap())
            .collect()
    }

    pub(super) fn file(&self, sink: &str) -> Vec<String> {
        self.taken.lock().unwrap().files.get(sink).cloned().unwrap_or_default()
    }

    /// The windows in a list of result lines, with their row counts; one that is there twice is an
    /// error.
    pub(super) fn windows(lines: impl IntoIterator<Item = String>) -> BTreeMap<(String, i64), i64> {
        let mut windows = BTreeMap::new();
        for line in lines {
            let (query, row) = line.split_once(' ').unwrap();
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            let key = (query.to_string(), row["window_end"].as_i64().unwrap());
            let before = windows.insert(key, row["rows"].as_i64().unwrap());
            assert_eq!(before, None, "a window came twice: {line}");
        }
        windows
    }

    /// Every result is in the file once and was never emitted under two ids.
    pub(super) fn assert_exactly_once(&self) {
        assert_eq!(World::windows(self.file("out")), self.expected);
        let taken = self.taken.lock().unwrap();
        let results = taken
            .by_id
            .iter()
            .filter(|(id, _)| !id.starts_with("dead/") && !id.starts_with("rejected/"));
        assert_eq!(World::windows(results.map(|(_, line)| line.clone())), self.expected);
    }

    /// A cold process reaches the state of `warm`, bit for bit.
    pub(super) fn assert_cold_equals(&self, warm: &Process) {
        let mut cold = self.process();
        cold.advance.open_windows().now_or_never().unwrap().unwrap();
        let (cold, warm) = (cold.state.lock().unwrap(), warm.state.lock().unwrap());
        assert_eq!(*cold, *warm);
    }
}
