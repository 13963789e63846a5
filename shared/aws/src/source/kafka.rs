//! One Kafka topic: its partitions, and whether they are drained.
//!
//! # The look
//! A partition is drained when its end offset (the high watermark) is the position's next offset.
//! The end offset also counts what no reader ever gets: the markers that end transactions, and
//! records that compaction has removed. So an end further on proves nothing: a consumer reads from
//! the next offset until it gets a record or reaches the end of the partition without one.
//!
//! The consumer reads uncommitted records, and the end is that of all records, not of the
//! committed ones: a transaction that is still open will bring records of the past. What an aborted
//! transaction left at the very end of a silent partition keeps it from being drained until the
//! next record comes: nobody documents which isolation level event source mappings read with, and a
//! false yes is worse than waiting.
//!
//! A partition that nothing was read of, of a mapping that begins at the latest record, is looked at
//! from the time when the topic was registered. Topics whose records carry their producers' times
//! (`CreateTime`) may hide a record there that is dated before the pipeline's first start.
//!
//! # Invariants
//! 1. A position behind the end is that of another topic of the same name, never a drained one.
//! 2. librdkafka blocks: nothing of it runs on an async thread.
//!
//! Not here: the client's configuration ([`crate::kafka`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tidemill_flow::append::Registry;
use tidemill_flow::ports::Drained;
use tidemill_model::{LogEntry, LogId, Position, WallMs};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Found, LIST_AGE_MAX_MS, SourceError, StartingPosition, plain_entry};
use crate::Fault;
use crate::kafka::{Logged, client};

/// Longest wait for the brokers' answer to one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest read for a record or the end of the partition.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// What the promises of this module need of the client.
const FIXED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    // librdkafka reads no partition without a group. It is never joined, and nothing is committed.
    ("group.id", "tidemill"),
    ("isolation.level", "read_uncommitted"),
    // One record is enough.
    ("queued.min.messages", "1"),
];

/// A Kafka topic.
pub(super) struct Kafka {
    /// As the pipeline file names it.
    stream: String,
    topic: Arc<Topic>,
    starting: StartingPosition,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the partitions were asked for.
    listed_at: Option<WallMs>,
    /// Partitions whose entry the registry holds.
    registered: BTreeSet<i32>,
    /// Partitions that were found.
    listed: BTreeSet<i32>,
    /// When the first partition was registered.
    oldest: Option<WallMs>,
    /// What was warned of last, so that it is said once.
    warned: Option<String>,
}

/// The brokers' side of a topic; every call blocks.
struct Topic {
    name: String,
    consumer: BaseConsumer<Logged>,
    /// Held while a partition is assigned to the consumer, with what reading has shown: nothing
    /// lies from the first offset up to the second.
    reading: Mutex<BTreeMap<i32, (i64, i64)>>,
}

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// At this offset.
    Offset(u64),
    /// At the first record that arrived then or later.
    At(WallMs),
}

impl Kafka {
    pub(super) fn new(
        stream: &str,
        topic: &str,
        servers: &str,
        properties: &BTreeMap<String, String>,
        starting: StartingPosition,
    ) -> Result<Kafka, Fault> {
        let owner = format!("the source of stream `{stream}`");
        let consumer = client(&owner, servers, properties, FIXED)?;
        let topic = Topic { name: topic.to_owned(), consumer, reading: Mutex::default() };
        let state = Mutex::default();
        Ok(Kafka { stream: stream.to_owned(), topic: Arc::new(topic), starting, state })
    }

    /// See [`super::Sources::register`].
    pub(super) async fn register(
        &self,
        registry: &Registry,
        now: WallMs,
    ) -> Result<(), Vec<SourceError>> {
        let is_due = {
            let state = self.state();
            let age = state.listed_at.map(|at| now.since(at));
            !age.is_some_and(|age| (0..LIST_AGE_MAX_MS).contains(&age))
        };
        if is_due {
            let listed = self.list().await.map_err(|error| vec![error])?;
            let mut state = self.state();
            state.listed = listed;
            state.listed_at = Some(now);
        }
        let new: Vec<i32> = {
            let state = self.state();
            state.listed.difference(&state.registered).copied().collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let stored = registry.all().await.map_err(|error| vec![error.into()])?;
        let mut errors = Vec::new();
        for partition in new {
            let log = LogId::new(&self.stream, partition.to_string());
            let found = stored.iter().find(|stored| stored.log == log).cloned();
            let ensured = match found {
                Some(stored) => Ok(stored),
                None => registry.ensure(&plain_entry(log, now)).await,
            };
            match ensured {
                Ok(entry) => self.note_registered(partition, &entry),
                Err(error) => errors.push(error.into()),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// See [`tidemill_flow::ports::Source::drained`].
    pub(super) async fn drained(&self, shard: &str, position: Position) -> Drained {
        let Ok(partition) = shard.parse::<i32>() else { return Drained::Unknown };
        let oldest = self.state().oldest;
        let start = match (position.to_offset(), self.starting, oldest) {
            (Some(offset), _, _) => Start::Offset(offset.saturating_add(1)),
            (None, _, _) if position != Position::START => return Drained::Unknown,
            (None, StartingPosition::TrimHorizon, _) => Start::Offset(0),
            (None, StartingPosition::Latest, Some(oldest)) => Start::At(oldest),
            (None, StartingPosition::Latest, None) => return Drained::No,
        };
        let topic = Arc::clone(&self.topic);
        let look = tokio::task::spawn_blocking(move || topic.look(partition, start)).await;
        match look.unwrap_or_else(|error| Found::NotNow(error.to_string())) {
            Found::Nothing | Found::End => Drained::Yes,
            Found::Something => Drained::No,
            Found::NotNow(reason) | Found::Moved(reason) => {
                debug!(stream = self.stream, partition, reason, "not known whether drained");
                Drained::No
            }
            Found::Never(reason) => {
                let mut state = self.state();
                if state.warned.as_deref() != Some(&reason) {
                    warn!(stream = self.stream, partition, "{reason}");
                    state.warned = Some(reason);
                }
                Drained::Unknown
            }
        }
    }

    async fn list(&self) -> Result<BTreeSet<i32>, SourceError> {
        let topic = Arc::clone(&self.topic);
        let listed = tokio::task::spawn_blocking(move || topic.partitions()).await;
        let stream = self.stream.clone();
        match listed {
            Ok(Ok(partitions)) => Ok(partitions),
            Ok(Err(error)) => Err(self.list_error(&error)),
            Err(error) => Err(SourceError::Unreachable { stream, reason: error.to_string() }),
        }
    }

    fn list_error(&self, error: &KafkaError) -> SourceError {
        let stream = self.stream.clone();
        let topic = &self.topic.name;
        let fault = match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => Fault::new(
                format!("the brokers have no topic `{topic}`"),
                format!(
                    "create it, or name another one under [streams.{stream}.source] in the \
                     pipeline file"
                ),
            ),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Fault::new(
                format!("the brokers do not let us read topic `{topic}`"),
                "allow the operations Describe and Read on the topic",
            ),
            _ => {
                let reason = format!(
                    "{error}; check `bootstrap_servers`, and that the function reaches the brokers"
                );
                return SourceError::Unreachable { stream, reason };
            }
        };
        SourceError::Refused { stream, fault }
    }

    fn note_registered(&self, partition: i32, entry: &LogEntry) {
        let mut state = self.state();
        state.registered.insert(partition);
        state.oldest = [state.oldest, Some(entry.registered_at)].into_iter().flatten().min();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    fn partitions(&self) -> Result<BTreeSet<i32>, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.name), ANSWER_TIMEOUT)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.name);
        let unknown = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
        let topic = topic.ok_or_else(|| unknown.clone())?;
        match topic.error() {
            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
            None if topic.partitions().is_empty() => Err(unknown),
            None => Ok(topic.partitions().iter().map(|partition| partition.id()).collect()),
        }
    }

    fn look(&self, partition: i32, start: Start) -> Found {
        let ends = self.consumer.fetch_watermarks(&self.name, partition, ANSWER_TIMEOUT);
        let (low, high) = match ends {
            Ok(ends) => ends,
            Err(error) => return failed(&error),
        };
        let next = match start {
            Start::Offset(offset) => i64::try_from(offset).unwrap_or(i64::MAX),
            Start::At(at) => match self.offset_at(partition, at) {
                Ok(found) => first_since(found, high),
                Err(error) => return failed(&error),
            },
        };
        if next > high {
            return Found::Never(format!(
                "offset {next} lies beyond the end of partition {partition} of topic `{}`, {high}: \
                 the topic was made anew. Name another topic, or start with a new state",
                self.name
            ));
        }
        // What lies before the oldest record has expired.
        match next.max(low) {
            first if first >= high => Found::Nothing,
            first => self.read(partition, first, high),
        }
    }

    /// The first offset of a record dated `at` or later, as the brokers spell it.
    fn offset_at(&self, partition: i32, at: WallMs) -> Result<Option<Offset>, KafkaError> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(&self.name, partition, Offset::Offset(at.0))?;
        let found = self.consumer.offsets_for_times(asked, ANSWER_TIMEOUT)?;
        Ok(found.find_partition(&self.name, partition).map(|found| found.offset()))
    }

    /// Reads from `first` for a record.
    fn read(&self, partition: i32, first: i64, high: i64) -> Found {
        let mut passed = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.get(&partition).is_some_and(|(from, to)| *from <= first && high <= *to) {
            return Found::Nothing;
        }
        let mut assignment = TopicPartitionList::new();
        let assigned = assignment
            .add_partition_offset(&self.name, partition, Offset::Offset(first))
            .and_then(|()| self.consumer.assign(&assignment));
        let found = match assigned {
            Ok(()) => self.poll(partition),
            Err(error) => failed(&error),
        };
        if let Err(error) = self.consumer.unassign() {
            debug!(topic = self.name, partition, %error, "partition stays assigned");
        }
        if found == Found::Nothing {
            passed.insert(partition, (first, high));
        }
        found
    }

    fn poll(&self, partition: i32) -> Found {
        let began = Instant::now();
        let mut last = "no answer".to_owned();
        while let Some(left) = READ_TIMEOUT.checked_sub(began.elapsed()) {
            match self.consumer.poll(left) {
                Some(Ok(_)) => return Found::Something,
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => {
                    return Found::Nothing;
                }
                // Also errors of the group, which nobody needs.
                Some(Err(error)) => last = error.to_string(),
                None => {}
            }
        }
        Found::NotNow(format!("neither a record nor the end within {READ_TIMEOUT:?}: {last}"))
    }
}

/// The offset that a question for a time means, in a partition that ends at `high`.
fn first_since(found: Option<Offset>, high: i64) -> i64 {
    match found {
        Some(Offset::Offset(offset)) => offset,
        // No record is that new.
        Some(Offset::End) => high,
        // What nobody answered could be any record.
        _ => 0,
    }
}

fn failed(error: &KafkaError) -> Found {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication,
        ) => Found::Never(format!(
            "the brokers do not let us see whether a partition is drained: allow Describe and Read \
             on the topic. {error}"
        )),
        _ => Found::NotNow(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
