//! Sources: the shards and partitions of a pipeline's streams: which there are, which are drained.
//!
//! ```text
//! register ─ new shards and partitions → registry      before every tick
//! ended    ─ from memory                                every log, every tick
//! drained  ─ asks the service                           logs that look idle, every tick
//! ```
//!
//! # Invariants
//! 1. Never a false yes: `drained` answers [`Drained::Yes`] only after the service has shown,
//!    during this very call, that nothing lies after the position. (What can change no more is
//!    remembered: the end of a closed shard.)
//! 2. A closed shard is neither drained nor ended before all its children are in the registry.
//!    Else time would run ahead in the moment between a parent's end and its children's
//!    registration, and the children's records would be late.
//! 3. What passes is [`Drained::No`]: throttling, a timeout, an answer that says less than it
//!    could. [`Drained::Unknown`] is for what a person must change, because a pipeline with
//!    `idle = "assume"` takes unknown for idle: a hiccup must not make a backlog late.
//! 4. No answer fails a tick.
//!
//! Not here: reading records (the event source mapping does), who is idle (`flow::time`).

#[cfg(feature = "kafka")]
mod kafka;
mod kinesis;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tidemill_flow::append::{Registry, RegistryError};
use tidemill_flow::ports::{Drained, Source};
use tidemill_model::store::StoreError;
use tidemill_model::{LogEntry, LogId, Position, WallMs};
use tidemill_pipeline::{Pipeline, Stream, StreamSource};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::{Aws, Fault};
use kinesis::Kinesis;

/// Logs that are asked for at once.
const ASKED_AT_ONCE: usize = 16;
/// Longest time that one log may keep a tick waiting.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How old the list of a source's shards or partitions may be, milliseconds.
const LIST_AGE_MAX_MS: i64 = 60_000;

/// Where the event source mappings begin to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartingPosition {
    /// `TRIM_HORIZON`: at the oldest record that is kept.
    #[default]
    TrimHorizon,
    /// `LATEST`: at the records that come after the mapping was made.
    Latest,
}

/// The sources of a pipeline's streams.
pub struct Sources {
    streams: BTreeMap<String, Reader>,
    asked: Semaphore,
}

/// The source of one stream.
enum Reader {
    Kinesis(Box<Kinesis>),
    #[cfg(feature = "kafka")]
    Kafka(Box<kafka::Kafka>),
    /// A topic that nobody can ask.
    Blind,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A record.
    Something,
    /// No record up to the tip, of a source that may get more.
    Nothing,
    /// No record up to the end of a closed shard.
    End,
    /// The service did not say; it will another time.
    NotNow(String),
    /// The service knows no such shard: our list of them is out of date.
    Moved(String),
    /// The service will not say until a person changes something.
    Never(String),
}

/// Why a source's shards or partitions are not known, or not registered.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It did not answer: try again.
    #[error("the source of stream `{stream}` does not answer. reason=`{reason}`")]
    Unreachable {
        /// The stream, as the pipeline file names it.
        stream: String,
        /// What it said.
        reason: String,
    },
    /// It answered that it will not: a person must change something.
    #[error("stream `{stream}`: {fault}")]
    Refused {
        /// The stream, as the pipeline file names it.
        stream: String,
        /// What is wrong.
        fault: Fault,
    },
    /// The source has no such shard or partition (any more).
    #[error("the source has no such shard. log=`{log}`")]
    NoSuchLog {
        /// The log.
        log: LogId,
    },
    /// The registry did not take an entry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl SourceError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            SourceError::Unreachable { .. } => true,
            SourceError::Refused { .. } | SourceError::NoSuchLog { .. } => false,
            SourceError::Registry(RegistryError::Store(error)) => {
                !matches!(error, StoreError::Damaged { .. })
            }
            SourceError::Registry(_) => false,
        }
    }
}

impl Sources {
    /// The sources of all streams. Sends no request. `starting` is the mappings' own.
    ///
    /// # Errors
    /// Every source whose client cannot be made.
    pub fn open(
        aws: &Aws,
        pipeline: &Pipeline,
        starting: StartingPosition,
    ) -> Result<Sources, Vec<Fault>> {
        let mut streams = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, stream) in &pipeline.streams {
            match reader(aws, stream, starting) {
                Ok(reader) => {
                    streams.insert(name.clone(), reader);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok(Sources { streams, asked: Semaphore::new(ASKED_AT_ONCE) })
        } else {
            Err(faults)
        }
    }

    /// Finds the shards and partitions of all streams, and registers those that are new. Call it
    /// before every tick: it asks a source at most once a minute, and sooner when a shard was found
    /// closed. Answers what went wrong, stream by stream; the other streams are registered.
    ///
    /// After an error, time waits for shards that continue registered ones: those are not drained
    /// before. It does not wait for others, so do not tick before this went well once. A
    /// [`RegistryError::SourceChanged`] among the errors is for a person.
    pub async fn register(&self, registry: &Registry, now: WallMs) -> Vec<SourceError> {
        let mut errors = Vec::new();
        for reader in self.streams.values() {
            let result = match reader {
                Reader::Kinesis(kinesis) => kinesis.register(registry, now).await,
                #[cfg(feature = "kafka")]
                Reader::Kafka(kafka) => kafka.register(registry, now).await,
                Reader::Blind => Ok(()),
            };
            errors.extend(result.err().unwrap_or_default());
        }
        errors
    }

    /// The registry's entry for a log that records have come from, with its parents: for ingest,
    /// which must register a log before its first segment.
    pub async fn entry(&self, log: &LogId, now: WallMs) -> Result<LogEntry, SourceError> {
        match self.streams.get(&log.stream) {
            Some(Reader::Kinesis(kinesis)) => kinesis.entry(&log.shard, now).await,
            // A partition has neither parents nor, as far as this client tells, an identity.
            #[cfg(feature = "kafka")]
            Some(Reader::Kafka(_)) => Ok(plain_entry(log.clone(), now)),
            Some(Reader::Blind) => Ok(plain_entry(log.clone(), now)),
            None => Err(SourceError::NoSuchLog { log: log.clone() }),
        }
    }

    async fn ask(&self, log: &LogId, position: Position) -> Drained {
        match self.streams.get(&log.stream) {
            Some(Reader::Kinesis(kinesis)) => kinesis.drained(&log.shard, position).await,
            #[cfg(feature = "kafka")]
            Some(Reader::Kafka(kafka)) => kafka.drained(&log.shard, position).await,
            Some(Reader::Blind) | None => Drained::Unknown,
        }
    }
}

#[async_trait]
impl Source for Sources {
    async fn drained(&self, log: &LogId, position: Position) -> Drained {
        // Never closed, so never an error.
        let _permit = self.asked.acquire().await;
        let answer = tokio::time::timeout(ASK_TIMEOUT, self.ask(log, position)).await;
        answer.unwrap_or(Drained::No)
    }

    async fn ended(&self, log: &LogId) -> bool {
        match self.streams.get(&log.stream) {
            Some(Reader::Kinesis(kinesis)) => kinesis.ended(&log.shard),
            _ => false,
        }
    }
}

/// The entry of a log that continues no other.
fn plain_entry(log: LogId, now: WallMs) -> LogEntry {
    LogEntry {
        log,
        parents: Vec::new(),
        registered_at: now,
        start: Position::START,
        identity: String::new(),
    }
}

fn reader(aws: &Aws, stream: &Stream, starting: StartingPosition) -> Result<Reader, Fault> {
    match &stream.source {
        Some(StreamSource::Kinesis { stream: name }) => {
            Ok(Reader::Kinesis(Box::new(Kinesis::new(aws, &stream.name, name, true, starting))))
        }
        None => {
            let name = &stream.name;
            Ok(Reader::Kinesis(Box::new(Kinesis::new(aws, name, name, false, starting))))
        }
        Some(StreamSource::Kafka { bootstrap_servers: None, topic, .. }) => {
            warn!(
                stream = stream.name,
                topic,
                "nobody can tell whether this topic is drained: add `bootstrap_servers` to its \
                 [streams.NAME.source], or write `idle = \"assume\"`"
            );
            Ok(Reader::Blind)
        }
        #[cfg(feature = "kafka")]
        Some(StreamSource::Kafka { topic, bootstrap_servers: Some(servers), properties }) => {
            let kafka = kafka::Kafka::new(&stream.name, topic, servers, properties, starting)?;
            Ok(Reader::Kafka(Box::new(kafka)))
        }
        #[cfg(not(feature = "kafka"))]
        Some(StreamSource::Kafka { topic, .. }) => {
            warn!(
                stream = stream.name,
                topic,
                "nobody can tell whether this topic is drained: build with the feature `kafka` (or \
                 `kafka-tls`), or write `idle = \"assume\"`"
            );
            Ok(Reader::Blind)
        }
    }
}
