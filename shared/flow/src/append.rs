//! append: a batch of one shard → segments of its log, each by one create-if-absent write.
//!
//! ```text
//! source  ──●──●──●──●──●──●──●──●──▶   Position, with gaps
//!           └─ (a,c] ─┘└(c,f]┘└(f,h]┘    a segment's key is its `after`
//! ```
//!
//! # Invariants
//! 1. Tiling: a segment's `after` is the tail, the previous one's `through`. So each record is in
//!    exactly one segment.
//! 2. One winner: a segment is written by a put that requires its key to be absent. Two
//!    invocations of one shard race for the same key; one wins, the other reads the tail again.
//! 3. A key outlives every writer that could still believe it free. If it were deleted early, a
//!    writer that stalled before its put would win it, hear "created", and acknowledge records
//!    that nobody will merge. So segments go by time to live only, a tail is believed for
//!    [`TAIL_CACHE_MS`](tidemill_model::limits::TAIL_CACHE_MS) only, and its age is checked right
//!    before each put.
//! 4. No record is skipped in silence unless a segment has it: records at or below the tail are
//!    checked against the log's newest arrival (a source that was created anew) and, by a sample,
//!    against the segments' filters (a shard that was read out of order).
//! 5. Whatever fails, the tail is forgotten, and the error says from where to offer the records
//!    again. Offering too many is safe.
//!
//! # Exactly once
//! A batch is known by its positions, never by a token or a hash: bisecting, partial responses and
//! restarts cut batches anew, and a new process derives the same positions.
//!
//! SUBTLE: `AlreadyExists` may be our own write, whose answer was lost or whose request was
//! repeated on the way. Read the tail again; never assume a rival.
//!
//! # Cost
//! One conditional put per segment. A warm process reads each log four times in five minutes; a
//! redelivered batch costs a read per remembered segment at most.
//!
//! Not here: the registry's entries (`registry.rs`), bytes (`codec`), reading the log (`advance`).

mod build;
mod error;
mod fit;
mod read;
mod registry;
mod seen;
mod skip;
mod tail;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_model::limits::{SEGMENT_BYTES_MAX, SEGMENT_TTL_MIN_MS};
use tidemill_model::store::{Item, Put, Store};
use tidemill_model::{EventMs, LogId, Position, WallMs};

pub use error::{AppendError, AppendFailure, RetryCause, StuckCause};
pub use registry::{Registry, RegistryError};

use crate::append::build::{Place, build};
use crate::append::tail::{Head, Lookup, Tail};
use crate::decode::{Decoded, RawRecord};
use crate::keys::Keys;
use crate::ports::Combine;

/// Tells the wall clock. A port, because an append may stall between its steps and must notice.
pub type Clock = dyn Fn() -> WallMs + Send + Sync;

/// Races that one append loses in a row before it gives up.
const ATTEMPTS_MAX: u32 = 8;

/// How to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendSettings {
    /// Time to live of segments, milliseconds. Anything below
    /// [`SEGMENT_TTL_MIN_MS`] means that bound, because exactly-once rests on it.
    pub ttl_ms: i64,
    /// Whether arrivals are the source's own time stamps (Kinesis, Kafka with broker times) and so
    /// the same at each delivery. Then a source that was created anew is found out by them. False
    /// for files, whose arrivals are the time of reading; the registry's identity serves there.
    pub arrivals_are_broker_times: bool,
    /// Largest encoded segment, bytes; at most [`SEGMENT_BYTES_MAX`].
    pub segment_bytes_max: usize,
}

impl AppendSettings {
    /// Segments that live for `ttl_ms` and may have [`SEGMENT_BYTES_MAX`].
    pub fn new(ttl_ms: i64, arrivals_are_broker_times: bool) -> AppendSettings {
        AppendSettings { ttl_ms, arrivals_are_broker_times, segment_bytes_max: SEGMENT_BYTES_MAX }
    }
}

/// What an append did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    /// Segments created.
    pub segments: u64,
    /// Bytes of these.
    pub segment_bytes: u64,
    /// Records in these, dead ones included.
    pub records: u64,
    /// Dead letters in these.
    pub dead_letters: u64,
    /// Records that were in the log already; after an answer was lost, perhaps by this very call.
    pub duplicates_skipped: u64,
    /// Puts that found their key taken. Above one in ten segments there are two writers.
    pub keys_taken: u64,
    /// The log's tail: everything up to here is in the log. `None` only while nothing was read.
    pub through: Option<Position>,
}

/// Appends to the logs of one pipeline. Keeps the tails of its logs for a while.
pub struct Appender {
    store: Arc<dyn Store>,
    keys: Keys,
    settings: AppendSettings,
    tails: BTreeMap<LogId, Tail>,
}

/// One call's work: what it is given and how far it is.
struct Work<'a> {
    log: &'a LogId,
    decoded: &'a Decoded,
    seen: Option<EventMs>,
    clock: &'a Clock,
    /// Index of the first raw record that is not known to be in the log.
    next: usize,
    done: Appended,
}

impl Appender {
    /// An appender for the pipeline that `keys` names.
    pub fn new(store: Arc<dyn Store>, keys: Keys, settings: AppendSettings) -> Appender {
        let settings = AppendSettings {
            ttl_ms: settings.ttl_ms.max(SEGMENT_TTL_MIN_MS),
            segment_bytes_max: settings.segment_bytes_max.min(SEGMENT_BYTES_MAX),
            ..settings
        };
        Appender { store, keys, settings, tails: BTreeMap::new() }
    }

    /// Appends the records of `decoded` that are not in the log yet. The log must be registered.
    ///
    /// `seen` is the newest pipeline watermark that this process knows of (see
    /// [`Combine::combine`]).
    ///
    /// # Errors
    /// [`AppendError::failure`] says what to do; the records from
    /// [`AppendError::first_uncovered`] on are to be offered again.
    pub async fn append(
        &mut self,
        log: &LogId,
        decoded: &Decoded,
        combine: &mut dyn Combine,
        seen: Option<EventMs>,
        clock: &Clock,
    ) -> Result<Appended, Box<AppendError>> {
        let (next, done) = (decoded.range.start, Appended::default());
        let mut work = Work { log, decoded, seen, clock, next, done };
        if decoded.range.is_empty() {
            return Ok(work.done);
        }
        match self.run(&mut work, combine).await {
            Ok(tail) => {
                work.done.through = Some(tail.position);
                self.tails.insert(log.clone(), tail);
                Ok(work.done)
            }
            Err(failure) => Err(Box::new(AppendError {
                log: log.clone(),
                first_uncovered: work.rest().first().map_or(Position::END, |r| r.position),
                done: work.done,
                failure,
            })),
        }
    }

    /// The log's tail: records at or below it need not be read from the source again.
    pub async fn tail(&mut self, log: &LogId, clock: &Clock) -> Result<Position, Box<AppendError>> {
        match self.take_tail(log, clock).await {
            Ok(tail) => {
                let position = tail.position;
                self.tails.insert(log.clone(), tail);
                Ok(position)
            }
            Err(failure) => Err(Box::new(AppendError {
                log: log.clone(),
                first_uncovered: Position::START,
                done: Appended::default(),
                failure,
            })),
        }
    }

    /// Steps 1 to 4, until the batch is covered. Answers the tail; on failure it is forgotten,
    /// because it was taken out of the cache.
    async fn run(
        &mut self,
        work: &mut Work<'_>,
        combine: &mut dyn Combine,
    ) -> Result<Tail, AppendFailure> {
        skip::rising(work.rest())?;
        let mut tail = self.take_tail(work.log, work.clock).await?;
        let mut attempts = 0;
        loop {
            self.skip(work, &mut tail).await?;
            if work.rest().is_empty() {
                return Ok(tail);
            }
            let now = (work.clock)();
            let age_max_ms = self.settings.ttl_ms / 2;
            if let Some(age_ms) = tail.overdue_ms(now, age_max_ms) {
                return Err(AppendFailure::LogNearExpiry { age_ms, age_max_ms });
            }
            let place = Place {
                after: tail.position,
                previous: tail.previous(),
                newest_arrival: tail.newest_arrival,
                appended_at: now,
            };
            let records = work.next..work.decoded.range.end;
            let bytes_max = self.settings.segment_bytes_max;
            let built =
                build(work.log, work.decoded, records, place, combine, work.seen, bytes_max)?;

            let before = (work.clock)();
            if tail.is_fresh(before) {
                let head = Head::of(&built.segment);
                let (segment_bytes, records) = (built.bytes.len() as u64, built.records);
                let expires_at = Some(before.plus(self.settings.ttl_ms));
                let item = Item { bytes: built.bytes, expires_at };
                let (pk, sk) = (self.keys.log(work.log), Keys::segment(tail.position));
                match self.store.put_new(&pk, &sk, item).await? {
                    Put::Created => {
                        self.believe(&tail, work.clock)?;
                        tail.extend(head);
                        work.next += records;
                        work.done.segments += 1;
                        work.done.segment_bytes += segment_bytes;
                        work.done.records += records as u64;
                        work.done.dead_letters += built.segment.dead_letters.len() as u64;
                        attempts = 0;
                        continue;
                    }
                    Put::AlreadyExists => work.done.keys_taken += 1,
                }
            }
            attempts += 1;
            if attempts >= ATTEMPTS_MAX {
                let ms = (work.clock)().since(tail.read_at);
                return Err(match tail.is_fresh(before) {
                    true => RetryCause::Contended { attempts }.into(),
                    false => RetryCause::Stalled { ms }.into(),
                });
            }
            tail = self.read_tail(work.log, work.clock, Some(tail)).await?;
        }
    }

    /// Passes over the records at or below the tail, which the log has; fails for those that it
    /// cannot have.
    async fn skip(&self, work: &mut Work<'_>, tail: &mut Tail) -> Result<(), AppendFailure> {
        let skipped = skip::at_or_below(work.rest(), tail.position);
        if self.settings.arrivals_are_broker_times {
            skip::not_rewound(skipped, tail.newest_arrival)?;
        }
        for position in skip::sampled(skipped) {
            while let Lookup::Read(after) = tail.look_up(position) {
                tail.remember(read::head(&*self.store, &self.keys, work.log, after).await?);
            }
            if tail.look_up(position) == Lookup::Unseen {
                return Err(StuckCause::UnseenRecord { position }.into());
            }
        }
        let count = skipped.len();
        work.next += count;
        work.done.duplicates_skipped += count as u64;
        Ok(())
    }

    /// Whether a segment that was just created can be trusted to be one that others read. After a
    /// put that took as long as segments live it cannot: the key may have been free because it had
    /// expired.
    fn believe(&self, tail: &Tail, clock: &Clock) -> Result<(), RetryCause> {
        let ms = clock().since(tail.read_at);
        if ms > self.settings.ttl_ms / 2 { Err(RetryCause::Stalled { ms }) } else { Ok(()) }
    }

    /// The tail from the cache, else from the store.
    async fn take_tail(&mut self, log: &LogId, clock: &Clock) -> Result<Tail, AppendFailure> {
        match self.tails.remove(log) {
            Some(tail) if tail.is_fresh(clock()) => Ok(tail),
            known => self.read_tail(log, clock, known).await,
        }
    }

    async fn read_tail(
        &self,
        log: &LogId,
        clock: &Clock,
        known: Option<Tail>,
    ) -> Result<Tail, AppendFailure> {
        let read_at = clock();
        let facts = read::facts(&*self.store, &self.keys, log).await?;
        Ok(Tail::of(facts, read_at, known)?)
    }
}

impl<'a> Work<'a> {
    /// The records that are not known to be in the log.
    fn rest(&self) -> &'a [RawRecord] {
        &self.decoded.raw.records[self.next..self.decoded.range.end]
    }
}

#[cfg(test)]
mod tests;
