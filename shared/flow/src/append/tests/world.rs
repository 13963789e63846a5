//! A small world around one log: a store that fails as it is told to, a clock that is set by hand,
//! queries that remember which records they saw.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray};
use async_trait::async_trait;
use bytes::Bytes;
use tidemill_codec::{decode_segment, encode_checkpoint};
use tidemill_model::store::{Item, Limits, Put, Row, Store, StoreError};
use tidemill_model::{
    Block, Checkpoint, DeadLetter, DeadReason, Epoch, EventMs, Fingerprint, LogEntry, LogId,
    LogProgress, Position, Segment, Totals, WallMs,
};
use tidemill_testkit::MemoryStore;

use crate::append::{AppendError, AppendSettings, Appended, Appender, Registry};
use crate::decode::{Decoded, RawBatch, RawRecord};
use crate::keys::Keys;
use crate::ports::{Combine, Combined, QueryError};

pub(super) const HOUR_MS: i64 = 3_600_000;
/// Shortest that a pipeline may give: half of it is 12 hours.
pub(super) const TTL_MS: i64 = 24 * HOUR_MS;

/// What becomes of one put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Not written, and the writer knows.
    Refused,
    /// Not written, and the writer does not know.
    LostRequest,
    /// Written, and the writer does not know.
    LostAnswer,
    /// Written by a first attempt whose answer was lost; the repeated attempt finds it.
    Repeated,
    /// Takes this many milliseconds before it is done.
    Slow(i64),
}

#[derive(Default)]
pub(super) struct ScriptedStore {
    /// What is stored, without faults.
    pub inner: MemoryStore,
    pub faults: Mutex<VecDeque<Fault>>,
    pub now: AtomicI64,
    pub reads: AtomicUsize,
    pub puts: AtomicUsize,
}

impl ScriptedStore {
    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Store for ScriptedStore {
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
        pause().await;
        self.puts.fetch_add(1, Ordering::SeqCst);
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        let unknown = || StoreError::Unknown { key: sk.to_string(), reason: "test".to_string() };
        if let Fault::Slow(ms) = fault {
            self.now.fetch_add(ms, Ordering::SeqCst);
        }
        let answer = match fault {
            Fault::None | Fault::Slow(_) => self.inner.put_new(pk, sk, item).await,
            Fault::Refused => Err(StoreError::Refused { reason: "test".to_string() }),
            Fault::LostRequest => Err(unknown()),
            Fault::LostAnswer => {
                let _ = self.inner.put_new(pk, sk, item).await;
                Err(unknown())
            }
            Fault::Repeated => {
                let _ = self.inner.put_new(pk, sk, item).await;
                Ok(Put::AlreadyExists)
            }
        };
        pause().await;
        answer
    }

    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError> {
        pause().await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.range(pk, from_sk, limits).await
    }

    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
        pause().await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.last(pk).await
    }

    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
        self.inner.expire(pk, sk, at).await
    }
}

/// Lets another task run.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Runs two tasks, choosing by `turns` which one goes on at each pause (`true`: the first).
pub(super) fn interleave<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
    turns: impl IntoIterator<Item = bool>,
) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut a, mut b) = (None, None);
    let mut turns = turns.into_iter();
    let mut context = Context::from_waker(std::task::Waker::noop());
    for round in 0.. {
        let turn = turns.next().unwrap_or(round % 2 == 0);
        if a.is_none() && (turn || b.is_some()) {
            if let Poll::Ready(answer) = first.as_mut().poll(&mut context) {
                a = Some(answer);
            }
        } else if b.is_none()
            && let Poll::Ready(answer) = second.as_mut().poll(&mut context)
        {
            b = Some(answer);
        }
        if a.is_some() && b.is_some() {
            break;
        }
        assert!(round < 1_000_000, "nobody gets anywhere");
    }
    (a.unwrap(), b.unwrap())
}

/// Runs one task.
pub(super) fn run<A>(task: impl Future<Output = A>) -> A {
    interleave(task, async {}, []).0
}

/// A query whose block is its records' positions, each followed by the record's bytes.
#[derive(Default)]
pub(super) struct Positions {
    /// How long each combine takes, by call; then none.
    pub takes_ms: VecDeque<i64>,
    pub clock: Option<Arc<ScriptedStore>>,
}

impl Combine for Positions {
    fn combine(
        &mut self,
        _log: &LogId,
        decoded: &Decoded,
        _seen: Option<EventMs>,
    ) -> Result<Combined, QueryError> {
        if let (Some(ms), Some(clock)) = (self.takes_ms.pop_front(), &self.clock) {
            clock.now.fetch_add(ms, Ordering::SeqCst);
        }
        let mut batch = Vec::new();
        for index in &decoded.records {
            let record = &decoded.raw.records[*index as usize];
            let bytes = decoded.raw.bytes_of(*index as usize);
            batch.extend(record.position.as_bytes());
            batch.extend((bytes.len() as u32).to_le_bytes());
            batch.extend(bytes);
        }
        let rows = decoded.rows.num_rows() as u64;
        let block = Block { query: Fingerprint(1), stage: 0, partition: 0, rows, batch };
        Ok(Combined { blocks: vec![block], failed: Vec::new() })
    }
}

/// The positions that [`Positions`] saw in a segment.
fn combined(segment: &Segment) -> Vec<Position> {
    let mut positions = Vec::new();
    for block in &segment.blocks {
        let mut rest = &block.batch[..];
        while let Some((position, after)) = rest.split_first_chunk::<{ Position::BYTES }>() {
            let (length, after) = after.split_first_chunk::<4>().unwrap();
            positions.push(Position::from_bytes(*position));
            rest = &after[u32::from_le_bytes(*length) as usize..];
        }
    }
    positions
}

/// One record of the source.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub offset: u64,
    pub arrival: i64,
    pub event_time: i64,
    /// Bytes of the record, which hardly compress.
    pub bytes: usize,
    /// Whether it can be decoded.
    pub is_dead: bool,
}

impl Source {
    pub(super) fn at(offset: u64) -> Source {
        let time = offset as i64;
        Source { offset, arrival: time, event_time: time, bytes: 20, is_dead: false }
    }

    pub(super) fn position(&self) -> Position {
        Position::from_offset(self.offset)
    }

    pub(super) fn content(&self) -> Vec<u8> {
        let hash = |n| xxhash_rust::xxh3::xxh3_64_with_seed(&self.offset.to_le_bytes(), n);
        (0..self.bytes as u64).map(|n| hash(n) as u8).collect()
    }
}

/// The records as decode would hand them over.
pub(super) fn decoded(log: &LogId, sources: &[Source]) -> Decoded {
    let mut buffer = Vec::new();
    let mut records = Vec::new();
    for source in sources {
        let start = buffer.len() as u32;
        buffer.extend(source.content());
        records.push(RawRecord {
            bytes: start..buffer.len() as u32,
            position: source.position(),
            arrival: WallMs(source.arrival),
        });
    }
    let indexed = || sources.iter().enumerate().map(|(index, source)| (index as u32, source));
    let letter = |source: &Source| DeadLetter {
        log: log.clone(),
        position: source.position(),
        arrival: WallMs(source.arrival),
        reason: DeadReason::Undecodable { detail: "test".to_string() },
        raw: Some(tidemill_model::RawBytes::of(&source.content(), 0)),
    };
    let alive: Vec<_> = indexed().filter(|(_, source)| !source.is_dead).collect();
    let arrivals = alive.iter().map(|(_, source)| source.arrival);
    let arrivals: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(arrivals));
    Decoded {
        range: 0..records.len(),
        rows: RecordBatch::try_from_iter([("arrival_time", arrivals)]).unwrap(),
        records: alive.iter().map(|(index, _)| *index).collect(),
        event_times: alive.iter().map(|(_, source)| EventMs(source.event_time)).collect(),
        dead: indexed().filter(|(_, s)| s.is_dead).map(|(index, s)| (index, letter(s))).collect(),
        raw: Arc::new(RawBatch::new(Bytes::from(buffer), records)),
    }
}

pub(super) struct World {
    pub store: Arc<ScriptedStore>,
    pub keys: Keys,
    pub log: LogId,
    pub settings: AppendSettings,
}

impl World {
    /// A world with one registered log.
    pub(super) fn new() -> World {
        let world = World::unregistered();
        run(world.registry().ensure(&world.entry())).unwrap();
        world
    }

    pub(super) fn unregistered() -> World {
        World {
            store: Arc::default(),
            keys: Keys::new("test"),
            log: LogId::new("clicks", "0"),
            settings: AppendSettings::new(TTL_MS, true),
        }
    }

    pub(super) fn registry(&self) -> Registry {
        Registry::new(self.store.clone(), self.keys.clone())
    }

    pub(super) fn entry(&self) -> LogEntry {
        LogEntry {
            log: self.log.clone(),
            parents: Vec::new(),
            registered_at: WallMs(0),
            start: Position::START,
            identity: "original".to_string(),
        }
    }

    pub(super) fn appender(&self) -> Appender {
        Appender::new(self.store.clone(), self.keys.clone(), self.settings)
    }

    pub(super) fn clock(&self) -> impl Fn() -> WallMs + Send + Sync + 'static {
        let store = self.store.clone();
        move || WallMs(store.now.load(Ordering::SeqCst))
    }

    pub(super) fn set_time(&self, ms: i64) {
        self.store.now.store(ms, Ordering::SeqCst);
    }

    pub(super) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.store.faults.lock().unwrap().extend(faults);
    }

    /// One append, alone.
    pub(super) fn append(
        &self,
        appender: &mut Appender,
        sources: &[Source],
    ) -> Result<Appended, Box<AppendError>> {
        run(self.appending(appender, sources))
    }

    /// One append, to be interleaved with another.
    pub(super) async fn appending(
        &self,
        appender: &mut Appender,
        sources: &[Source],
    ) -> Result<Appended, Box<AppendError>> {
        let decoded = decoded(&self.log, sources);
        let mut combine = Positions::default();
        appender.append(&self.log, &decoded, &mut combine, None, &self.clock()).await
    }

    /// The log's items in key order.
    pub(super) fn rows_of_log(&self) -> Vec<Row> {
        let pk = self.keys.log(&self.log);
        let rows = self.store.inner.rows().into_iter();
        rows.filter(|(of, _)| *of == pk).map(|(_, row)| row).collect()
    }

    /// Puts items of the log back.
    pub(super) fn restore(&self, rows: Vec<Row>) {
        let pk = self.keys.log(&self.log);
        rows.into_iter().for_each(|row| self.store.inner.overwrite(&pk, &row.sk, row.item));
    }

    /// The log's segments in key order, after checking that each lies where it says.
    pub(super) fn segments(&self) -> Vec<Segment> {
        let rows = self.rows_of_log().into_iter();
        rows.map(|row| {
            let segment = decode_segment(&row.item.bytes).unwrap();
            assert_eq!(row.sk, Keys::segment(segment.after));
            assert!(row.item.expires_at.unwrap() >= segment.appended_at.plus(TTL_MS));
            segment
        })
        .collect()
    }

    /// Checks that the segments tile the source and that each of `sources` is in exactly one.
    pub(super) fn assert_holds_each_once(&self, sources: &[Source]) {
        let mut held = Vec::new();
        let mut tail = Position::START;
        for segment in self.segments() {
            assert_eq!(segment.after, tail, "segments tile");
            tail = segment.through;
            let mut inside = combined(&segment);
            inside.extend(segment.dead_letters.iter().map(|letter| letter.position));
            inside.sort();
            assert_eq!(segment.records, inside.len() as u64);
            assert!(inside.iter().all(|p| segment.after < *p && *p <= segment.through));
            held.extend(inside);
        }
        let expected: Vec<Position> = sources.iter().map(Source::position).collect();
        assert_eq!(held, expected);
    }

    /// Deletes segments whose `through` is at or below `through`, as an expiry would.
    pub(super) fn expire_through(&self, through: Position) {
        for segment in self.segments().into_iter().filter(|segment| segment.through <= through) {
            self.store.inner.delete(&self.keys.log(&self.log), &Keys::segment(segment.after));
        }
    }

    /// Writes a checkpoint that has merged the log up to `merged`.
    pub(super) fn merge_through(&self, epoch: u64, merged: Position) {
        let newest_arrival = self.segments().iter().map(|segment| segment.newest_arrival).max();
        let progress = LogProgress {
            merged,
            clock: None,
            newest_append: WallMs(0),
            newest_arrival,
            idle: false,
        };
        let checkpoint = Checkpoint {
            epoch: Epoch(epoch),
            at: WallMs(0),
            watermark: None,
            logs: BTreeMap::from([(self.log.clone(), progress)]),
            queries: BTreeMap::new(),
            snapshot: None,
            log_bytes: 0,
            oldest_since_snapshot: None,
            emits: false,
            totals: Totals::default(),
        };
        let item = Item { bytes: encode_checkpoint(&checkpoint), expires_at: None };
        self.store.inner.overwrite(&self.keys.checkpoint(), &Keys::epoch(Epoch(epoch)), item);
    }
}
