//! Ingest: the records of one event → decode → combine → append, shard by shard.
//!
//! # Invariants
//! 1. Nothing is acknowledged that is not in the log. Whatever fails (or is not done when the
//!    invocation's time is up) is named as not covered, and comes again.
//! 2. A shard that fails does not stop the others of the same event.
//! 3. Whoever calls may call again with any records, cut anew: append knows them by position.
//!
//! Not here: reading events (`event`), what Lambda is answered (`handler`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill_aws::source::SourceError;
use tidemill_codec::decode_checkpoint;
use tidemill_flow::append::{AppendError, AppendFailure, Appended, Appender, Clock};
use tidemill_flow::decode::Decoder;
use tidemill_flow::keys::Keys;
use tidemill_flow::ports::Combine;
use tidemill_model::limits::TAIL_CACHE_MS;
use tidemill_model::store::Store;
use tidemill_model::{EventMs, LogId, Position, WallMs};
use tokio::time::{Instant, timeout_at};

use crate::clock::Stopwatch;
use crate::event::{EventError, ShardBatch};
use crate::logs::{self, Logs};

/// Why records were not ingested. They stay in their source, and come again.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The event is none that this function can take.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The log could not be registered.
    #[error("a log is not registered, so nothing is appended to it. log=`{log}`: {cause}")]
    Register {
        /// The log.
        log: LogId,
        /// Why.
        #[source]
        cause: Box<SourceError>,
    },
    /// The append stopped.
    #[error(transparent)]
    Append(#[from] Box<AppendError>),
    /// The invocation's time was up first.
    #[error(
        "the invocation's time was up before everything was in the log; what is in it counts, the \
         rest comes again. Give the function more time or memory, or its mapping smaller batches. \
         log=`{log}`"
    )]
    Deadline {
        /// The log.
        log: LogId,
    },
}

impl IngestError {
    /// The stable code that alarms count: docs/operations.md says what to do about each.
    pub fn code(&self) -> &'static str {
        match self {
            IngestError::Event(error) => error.code(),
            IngestError::Register { cause, .. } => logs::code(cause),
            IngestError::Append(error) => match error.failure {
                AppendFailure::Retry(_) => "Append.Retry",
                AppendFailure::LogNearExpiry { .. } => "Append.LogNearExpiry",
                AppendFailure::Stuck(_) => "Append.Stuck",
            },
            IngestError::Deadline { .. } => "Append.Deadline",
        }
    }

    /// Whether nothing goes on by itself.
    pub fn needs_a_person(&self) -> bool {
        match self {
            IngestError::Event(_) => true,
            IngestError::Register { cause, .. } => !cause.is_transient(),
            IngestError::Append(error) => !matches!(error.failure, AppendFailure::Retry(_)),
            IngestError::Deadline { .. } => false,
        }
    }
}

/// What became of one shard's records.
#[derive(Debug)]
pub struct ShardReport {
    /// The log.
    pub log: LogId,
    /// Records that were offered.
    pub offered: u64,
    /// What was appended, as far as that is known.
    pub done: Appended,
    /// Time that it took, milliseconds.
    pub ms: f64,
    /// Why not everything is covered.
    pub failure: Option<IngestError>,
    /// Position of the first record that is not known to be in the log; `None`: all are.
    pub first_uncovered: Option<Position>,
}

/// Ingests for one pipeline. Lives as long as its process and keeps what it knows of its logs.
pub struct Ingest {
    decoders: BTreeMap<String, Decoder>,
    combine: Box<dyn Combine>,
    logs: Logs,
    /// For arrivals that are the source's own time stamps.
    by_broker: Appender,
    /// For arrivals that are not.
    by_producer: Appender,
    seen: Seen,
    clock: Arc<Clock>,
}

/// The parts of an [`Ingest`].
pub struct Parts {
    /// A decoder for every stream, by name.
    pub decoders: BTreeMap<String, Decoder>,
    /// Ingest's part of the queries.
    pub combine: Box<dyn Combine>,
    /// The logs.
    pub logs: Logs,
    /// For arrivals that are the source's own time stamps.
    pub by_broker: Appender,
    /// For arrivals that are not.
    pub by_producer: Appender,
    /// Where the newest checkpoint is.
    pub store: Arc<dyn Store>,
    /// The pipeline's keys.
    pub keys: Keys,
    /// The pipeline's wall clock.
    pub clock: Arc<Clock>,
}

impl Ingest {
    /// One that knows nothing yet.
    pub fn new(parts: Parts) -> Ingest {
        let Parts { decoders, combine, logs, by_broker, by_producer, store, keys, clock } = parts;
        let seen = Seen { store, keys, watermark: None, read_at: None };
        Ingest { decoders, combine, logs, by_broker, by_producer, seen, clock }
    }

    /// The pipeline's wall clock.
    pub fn now(&self) -> WallMs {
        (self.clock)()
    }

    /// Ingests the records of one shard. What is not done after `left` is not covered.
    pub async fn shard(&mut self, batch: ShardBatch, until: Option<Instant>) -> ShardReport {
        let started = Stopwatch::start();
        let first = batch.raw.records.first().map(|record| record.position);
        let (log, offered) = (batch.log.clone(), batch.raw.records.len() as u64);
        let work = self.append(batch);
        let result = match until {
            Some(until) => timeout_at(until, work)
                .await
                .unwrap_or_else(|_| Err(IngestError::Deadline { log: log.clone() })),
            None => work.await,
        };
        let (done, failure, first_uncovered) = match result {
            Ok(done) => (done, None, None),
            Err(IngestError::Append(error)) => {
                let from = Some(error.first_uncovered);
                (error.done.clone(), Some(IngestError::Append(error)), from)
            }
            Err(error) => (Appended::default(), Some(error), first),
        };
        ShardReport { log, offered, done, ms: started.ms(), failure, first_uncovered }
    }

    async fn append(&mut self, batch: ShardBatch) -> Result<Appended, IngestError> {
        let ShardBatch { log, raw, arrivals_are_broker_times } = batch;
        let now = (self.clock)();
        if let Err(cause) = self.logs.ensure(&log, now).await {
            return Err(IngestError::Register { log, cause: Box::new(cause) });
        }
        let seen = self.seen.watermark(now).await;
        let Some(decoder) = self.decoders.get_mut(&log.stream) else {
            let known = self.decoders.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let (name, known) = (log.stream, known.join(", "));
            return Err(EventError::UnknownStream { kind: "stream", name, known }.into());
        };
        let decoded = decoder.decode(&log, raw);
        let appender =
            if arrivals_are_broker_times { &mut self.by_broker } else { &mut self.by_producer };
        let append = appender.append(&log, &decoded, &mut *self.combine, seen, &*self.clock);
        Ok(append.await?)
    }
}

/// The newest watermark that this process knows of. It decides the shape of what is shipped, never
/// what counts; so an old one, or none while the store does not answer, does no harm.
struct Seen {
    store: Arc<dyn Store>,
    keys: Keys,
    watermark: Option<EventMs>,
    read_at: Option<WallMs>,
}

impl Seen {
    /// Read again when it is as old as a cached tail may be.
    async fn watermark(&mut self, now: WallMs) -> Option<EventMs> {
        let fresh = self.read_at.is_some_and(|at| (0..=TAIL_CACHE_MS).contains(&now.since(at)));
        if !fresh {
            match self.store.last(&self.keys.checkpoint()).await {
                Ok(row) => {
                    let checkpoint = row.and_then(|row| decode_checkpoint(&row.item.bytes).ok());
                    let newest = checkpoint.and_then(|checkpoint| checkpoint.watermark);
                    self.watermark = self.watermark.max(newest);
                    self.read_at = Some(now);
                }
                Err(error) => tracing::debug!(%error, "the newest watermark cannot be read"),
            }
        }
        self.watermark
    }
}

/// When work that may take `left` from now on has to be done.
pub fn until(left: Option<Duration>) -> Option<Instant> {
    left.map(|left| Instant::now() + left)
}

#[cfg(test)]
mod tests;
