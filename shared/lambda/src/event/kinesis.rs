//! A Kinesis event: records of one shard (on AWS never of several) → one batch a shard.
//!
//! # Invariants
//! 1. A Kinesis record is at least one raw record: itself, or the user records of an aggregate.
//! 2. An arrival is Kinesis' own time stamp, the same at each delivery.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use tidemill_aws::kpl;
use tidemill_flow::decode::{RawBatch, RawRecord};
use tidemill_model::{LogId, Position, WallMs};
use tidemill_pipeline::{Pipeline, StreamSource};

use super::{EventError, FromMembers, ShardBatch, Text, decode_into, listed, span};

const EXPECTED: &str = "a Kinesis stream (`aws:kinesis`)";
const MEMBER: &str = "Records";

/// What an event of Kinesis holds.
#[derive(Debug, Default)]
pub struct KinesisEvent {
    shards: Vec<Shard>,
}

/// Records of one shard, not yet of a stream of the pipeline.
#[derive(Debug)]
struct Shard {
    stream: String,
    shard: String,
    buffer: Vec<u8>,
    records: Vec<RawRecord>,
}

impl KinesisEvent {
    /// The records by log. Fails, before anything is done, when the pipeline lacks a stream.
    pub fn batches(self, pipeline: &Pipeline) -> Result<Vec<ShardBatch>, EventError> {
        let batch = |shard: Shard| {
            let stream = pipeline
                .stream_of_kinesis(&shard.stream)
                .ok_or_else(|| unknown(pipeline, &shard.stream))?;
            Ok(ShardBatch {
                log: LogId::new(&stream.name, shard.shard),
                raw: RawBatch::new(Bytes::from(shard.buffer), shard.records),
                arrivals_are_broker_times: true,
            })
        };
        self.shards.into_iter().map(batch).collect()
    }

    fn add(&mut self, record: Record<'_>) -> Result<(), EventError> {
        let found = record.event_source.as_ref().map_or("nothing known", |text| &text.0);
        if found != "aws:kinesis" {
            return Err(EventError::OtherSource { expected: EXPECTED, found: found.to_string() });
        }
        let missing = |member: &str| EventError::malformed(&format!("a record lacks `{member}`"));
        let data = record.kinesis.ok_or_else(|| missing("kinesis"))?;
        let id = record.event_id.ok_or_else(|| missing("eventID"))?;
        let (shard, _) = id.0.split_once(':').ok_or_else(|| {
            EventError::malformed(&format!("`eventID` is not `SHARD:SEQUENCE`, but `{}`", id.0))
        })?;
        let arn = record.arn.ok_or_else(|| missing("eventSourceARN"))?;
        let stream = stream_of(&arn.0).ok_or_else(|| {
            let reason = format!("`eventSourceARN` is no Kinesis stream's, but `{}`", arn.0);
            EventError::malformed(&reason)
        })?;
        let index = self.shard(stream, shard);
        self.shards[index].add(&data).map_err(|reason| EventError::Malformed { reason })
    }

    /// Index of a shard, which is made when there is none.
    fn shard(&mut self, stream: &str, shard: &str) -> usize {
        let known = self.shards.iter().rposition(|s| s.shard == shard && s.stream == stream);
        known.unwrap_or_else(|| {
            let (stream, shard) = (stream.to_string(), shard.to_string());
            self.shards.push(Shard { stream, shard, buffer: Vec::new(), records: Vec::new() });
            self.shards.len() - 1
        })
    }
}

impl Shard {
    fn add(&mut self, data: &Data<'_>) -> Result<(), String> {
        let position = |sub: usize| {
            let position = Position::from_sequence(&data.sequence_number.0, sub as u64);
            position.map_err(|error| error.to_string())
        };
        let arrival = WallMs((data.approximate_arrival_timestamp * 1000.0).round() as i64);
        let bytes = decode_into(&mut self.buffer, &data.data.0)?;
        let start = bytes.start as usize;
        let unpacked = match &self.buffer[start..] {
            record if kpl::looks_aggregated(record) => kpl::unpack(record),
            _ => None,
        };
        let Some(users) = unpacked else {
            self.records.push(RawRecord { bytes, position: position(0)?, arrival });
            return Ok(());
        };
        self.buffer.truncate(start);
        for (sub, user) in users.iter().enumerate() {
            let start = self.buffer.len();
            self.buffer.extend_from_slice(user);
            let bytes = span(start, self.buffer.len())?;
            self.records.push(RawRecord { bytes, position: position(sub)?, arrival });
        }
        Ok(())
    }
}

/// The stream of `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`, also of a consumer's ARN.
fn stream_of(arn: &str) -> Option<&str> {
    let (_, name) = arn.split_once(":stream/")?;
    name.split('/').next().filter(|name| !name.is_empty())
}

fn unknown(pipeline: &Pipeline, name: &str) -> EventError {
    let sources = pipeline.streams.values().filter_map(|stream| match &stream.source {
        Some(StreamSource::Kinesis { stream }) => Some(stream.as_str()),
        Some(StreamSource::Kafka { .. }) => None,
        None => Some(stream.name.as_str()),
    });
    let known = listed(sources);
    EventError::UnknownStream { kind: "Kinesis stream", name: name.to_string(), known }
}

impl FromMembers for KinesisEvent {
    type Members<'de> = Members<'de>;

    fn from_members(members: Members<'_>) -> Result<KinesisEvent, EventError> {
        match (members.records, members.source) {
            (Some(Records(Ok(event))), _) if event.shards.is_empty() => {
                Err(EventError::Empty { expected: EXPECTED, member: MEMBER })
            }
            (Some(Records(event)), _) => event,
            (None, Some(source)) => {
                let found = source.0.into_owned();
                Err(EventError::OtherSource { expected: EXPECTED, found })
            }
            (None, None) => Err(EventError::Empty { expected: EXPECTED, member: MEMBER }),
        }
    }
}

/// The event's own members; `source` is what other kinds of events have.
#[doc(hidden)]
#[derive(Debug, Deserialize)]
pub struct Members<'a> {
    #[serde(rename = "Records")]
    records: Option<Records>,
    #[serde(borrow, rename = "eventSource", alias = "source")]
    source: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, rename = "eventID")]
    event_id: Option<Text<'a>>,
    #[serde(borrow, rename = "eventSource", alias = "EventSource")]
    event_source: Option<Text<'a>>,
    #[serde(borrow, rename = "eventSourceARN")]
    arn: Option<Text<'a>>,
    #[serde(borrow)]
    kinesis: Option<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    sequence_number: Text<'a>,
    /// Seconds since the epoch.
    approximate_arrival_timestamp: f64,
    #[serde(borrow)]
    data: Text<'a>,
}

/// The records, put away one after the other while they are read.
#[derive(Debug)]
struct Records(Result<KinesisEvent, EventError>);

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Records, D::Error> {
        deserializer.deserialize_seq(RecordsVisitor)
    }
}

struct RecordsVisitor;

impl<'de> Visitor<'de> for RecordsVisitor {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kinesis records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records, A::Error> {
        let mut event = KinesisEvent::default();
        while let Some(record) = list.next_element::<Record<'de>>()? {
            if let Err(error) = event.add(record) {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Records(Err(error)));
            }
        }
        Ok(Records(Ok(event)))
    }
}

#[cfg(test)]
mod tests;
