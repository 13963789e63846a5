//! What Lambda hands to a function: read without failing, so that whoever handles it can say in one
//! clear error what was expected.
//!
//! ```text
//! event ─ kinesis | kafka ─▶ records by shard ─▶ (log, RawBatch)
//!         └ aggregates of the KPL are taken apart
//! ```
//!
//! # Invariants
//! 1. Every record of an event is in the answer, in its shard's order, or the whole event is an
//!    error: nothing is acknowledged that was not understood.
//! 2. Payloads are decoded straight into one buffer a shard, while the JSON is read: no owned text
//!    is made of them.
//! 3. No error and no log line holds a record's content.
//!
//! The shapes are read here rather than by `aws_lambda_events`, whose types own a text for each of
//! a record's ten members: an event of 10,000 small records costs twice the CPU, and its time
//! stamps lose leading zeros of the fraction. Tests compare the rest with that crate's reading.
//!
//! Not here: what becomes of the records (`ingest.rs`).

pub mod kafka;
pub mod kinesis;
pub mod schedule;

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use tidemill_flow::decode::RawBatch;
use tidemill_model::LogId;

/// An event as its function wants it, or why it is none. Reading it never fails.
#[derive(Debug)]
pub struct Event<T>(pub Result<T, EventError>);

impl<T: FromMembers> Event<T> {
    /// Reads an event's JSON.
    pub fn read(json: &[u8]) -> Event<T> {
        let members = serde_json::from_slice::<T::Members<'_>>(json);
        let malformed = |error| EventError::malformed(&error);
        Event(members.map_err(malformed).and_then(T::from_members))
    }
}

/// What a function takes, made of the JSON's members.
pub trait FromMembers: Sized {
    /// The members, as they are read.
    type Members<'de>: Deserialize<'de>;

    /// What they say.
    fn from_members(members: Self::Members<'_>) -> Result<Self, EventError>;
}

impl<'de, T: FromMembers> Deserialize<'de> for Event<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Event<T>, D::Error> {
        let members = T::Members::deserialize(deserializer);
        let malformed = |error| EventError::malformed(&error);
        Ok(Event(members.map_err(malformed).and_then(T::from_members)))
    }
}

/// Records of one shard of one stream of the pipeline.
#[derive(Debug, Clone)]
pub struct ShardBatch {
    /// The log that they belong to.
    pub log: LogId,
    /// The records, in their order.
    pub raw: RawBatch,
    /// Whether their arrivals are the source's own time stamps, the same at each delivery.
    pub arrivals_are_broker_times: bool,
}

/// Why an event is none that this function can take. Nothing of it was acknowledged, and no retry
/// helps: the mapping, or whoever invokes, has to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The JSON is not of the wanted shape.
    #[error(
        "the event cannot be read: {reason}. Invoke this function by an event source mapping of \
         the kind it is made for"
    )]
    Malformed {
        /// What is wrong, and where.
        reason: String,
    },
    /// An event of another kind.
    #[error(
        "this function takes events of {expected}, and this one is of `{found}`. Let its event \
         source mapping name a source of that kind"
    )]
    OtherSource {
        /// What this function takes.
        expected: &'static str,
        /// What the event calls itself.
        found: String,
    },
    /// There is no record in it.
    #[error(
        "the event has no records: {expected} was expected. An event source mapping never sends \
         this; a test event needs `{member}`, as the mapping would send it"
    )]
    Empty {
        /// What this function takes.
        expected: &'static str,
        /// The member that holds the records.
        member: &'static str,
    },
    /// The pipeline file names no stream with this source.
    #[error(
        "the pipeline file has no stream with the {kind} `{name}` as its source; it has {known}. \
         Add a stream with `[streams.NAME.source]`, or take the event source mapping away. Its \
         records stay where they are"
    )]
    UnknownStream {
        /// `Kinesis stream` or `Kafka topic`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Those that the pipeline has.
        known: String,
    },
}

impl EventError {
    fn malformed(reason: &impl ToString) -> EventError {
        EventError::Malformed { reason: reason.to_string() }
    }

    /// The stable code that alarms count.
    pub fn code(&self) -> &'static str {
        match self {
            EventError::Malformed { .. } => "Event.Malformed",
            EventError::OtherSource { .. } => "Event.OtherSource",
            EventError::Empty { .. } => "Event.Empty",
            EventError::UnknownStream { .. } => "Event.UnknownStream",
        }
    }
}

/// Text of an event, borrowed where its JSON has no escapes.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Adds what `base64` stands for to `buffer`, and answers where it lies.
fn decode_into(buffer: &mut Vec<u8>, base64: &str) -> Result<Range<u32>, String> {
    let start = buffer.len();
    STANDARD.decode_vec(base64, buffer).map_err(|error| {
        buffer.truncate(start);
        format!("the payload is not base64: {error}")
    })?;
    span(start, buffer.len())
}

/// The range of a buffer's bytes.
fn span(start: usize, end: usize) -> Result<Range<u32>, String> {
    match (u32::try_from(start), u32::try_from(end)) {
        (Ok(start), Ok(end)) if end <= i32::MAX as u32 => Ok(start..end),
        _ => Err("the event holds more than 2 GiB".to_string()),
    }
}

/// Names for a message: `a`, `b` and `c`.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}
