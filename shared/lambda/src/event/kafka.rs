//! A Kafka event, of MSK or of brokers of one's own: records of several partitions → one batch a
//! partition, in the order of their names.
//!
//! Keys and headers are not read: columns are made of values alone.
//!
//! # Null values
//! A record without a value (a tombstone) has a position like any other, so it is covered by its
//! segment, and it becomes a dead letter: it is no row, and nothing is dropped in silence.
//!
//! # Arrivals
//! Topics with `message.timestamp.type=LogAppendTime` carry the broker's time of arrival. With
//! `CreateTime`, Kafka's default, the time stamp is the producer's: the arrival is that, but never
//! later than this function's clock, so that a producer whose clock runs ahead moves nobody's
//! watermark. It is the same at each delivery unless the producer ran ahead; then the segment that
//! wins decides, once. Such arrivals prove nothing about a topic that was created anew
//! (`arrivals_are_broker_times`). A record without a time stamp (-1, very old producers) arrives
//! when the function reads it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use tidemill_flow::decode::{RawBatch, RawRecord};
use tidemill_model::{LogId, Position, WallMs};
use tidemill_pipeline::{Pipeline, StreamSource};

use super::{EventError, FromMembers, ShardBatch, Text, decode_into, listed, span};

const EXPECTED: &str = "a Kafka topic (`aws:kafka` or `SelfManagedKafka`)";
const MEMBER: &str = "records";

/// What an event of Kafka holds.
#[derive(Debug, Default)]
pub struct KafkaEvent {
    /// By topic and partition.
    partitions: BTreeMap<(String, u32), Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    buffer: Vec<u8>,
    /// Their arrivals are the time stamps as they came.
    records: Vec<RawRecord>,
    nulls: Vec<u32>,
    /// Whether a time stamp is not the broker's.
    has_producer_times: bool,
}

impl KafkaEvent {
    /// The records by log. `now` bounds what producers say of the time. Fails, before anything is
    /// done, when the pipeline lacks a stream.
    pub fn batches(self, pipeline: &Pipeline, now: WallMs) -> Result<Vec<ShardBatch>, EventError> {
        let batch = |((topic, number), mut partition): ((String, u32), Partition)| {
            let stream =
                pipeline.stream_of_topic(&topic).ok_or_else(|| unknown(pipeline, &topic))?;
            if partition.has_producer_times {
                for record in &mut partition.records {
                    let known = record.arrival.0 >= 0;
                    record.arrival = if known { record.arrival.min(now) } else { now };
                }
            }
            let raw = RawBatch::new(Bytes::from(partition.buffer), partition.records);
            Ok(ShardBatch {
                log: LogId::new(&stream.name, number.to_string()),
                raw: RawBatch { nulls: partition.nulls, ..raw },
                arrivals_are_broker_times: !partition.has_producer_times,
            })
        };
        self.partitions.into_iter().map(batch).collect()
    }

    fn add(&mut self, record: &Record<'_>) -> Result<(), String> {
        let place = || {
            let Record { topic, partition, offset, .. } = record;
            format!("topic `{}`, partition {partition}, offset {offset}", topic.0)
        };
        let number = u32::try_from(record.partition)
            .map_err(|_| format!("a partition has a negative number: {}", place()))?;
        let offset = u64::try_from(record.offset)
            .map_err(|_| format!("an offset is negative: {}", place()))?;
        let partition = self.partitions.entry((record.topic.0.to_string(), number)).or_default();
        let bytes = match &record.value {
            Some(value) => decode_into(&mut partition.buffer, &value.0)
                .map_err(|reason| format!("{reason}: {}", place()))?,
            None => {
                partition.nulls.push(u32::try_from(partition.records.len()).unwrap_or(u32::MAX));
                span(partition.buffer.len(), partition.buffer.len())?
            }
        };
        let broker = record.timestamp_type.as_ref().is_some_and(|kind| kind.0 == "LOG_APPEND_TIME");
        partition.has_producer_times |= !broker;
        let arrival = WallMs(record.timestamp);
        partition.records.push(RawRecord {
            bytes,
            position: Position::from_offset(offset),
            arrival,
        });
        Ok(())
    }
}

fn unknown(pipeline: &Pipeline, name: &str) -> EventError {
    let sources = pipeline.streams.values().filter_map(|stream| match &stream.source {
        Some(StreamSource::Kafka { topic, .. }) => Some(topic.as_str()),
        Some(StreamSource::Kinesis { .. }) => None,
        None => Some(stream.name.as_str()),
    });
    let known = listed(sources);
    EventError::UnknownStream { kind: "Kafka topic", name: name.to_string(), known }
}

impl FromMembers for KafkaEvent {
    type Members<'de> = Members<'de>;

    fn from_members(members: Members<'_>) -> Result<KafkaEvent, EventError> {
        let source = members.source.as_ref();
        let others = members.others.as_ref().map(|others| others.first());
        let other = others.map(|first| first.and_then(|first| first.source.as_ref()));
        match source.or(other.flatten()).map(|source| &*source.0) {
            Some("aws:kafka" | "SelfManagedKafka") => {}
            None if others.is_none() => {}
            found => {
                let found = found.unwrap_or("nothing known").to_string();
                return Err(EventError::OtherSource { expected: EXPECTED, found });
            }
        }
        match members.records {
            Some(Records(event)) => {
                let event = event.map_err(|reason| EventError::Malformed { reason })?;
                match event.partitions.is_empty() {
                    true => Err(EventError::Empty { expected: EXPECTED, member: MEMBER }),
                    false => Ok(event),
                }
            }
            None => Err(EventError::Empty { expected: EXPECTED, member: MEMBER }),
        }
    }
}

/// The event's own members; `Records` and `source` are what other kinds of events have.
#[doc(hidden)]
#[derive(Debug, Deserialize)]
pub struct Members<'a> {
    records: Option<Records>,
    #[serde(borrow, rename = "eventSource", alias = "source")]
    source: Option<Text<'a>>,
    #[serde(borrow, rename = "Records")]
    others: Option<Vec<Other<'a>>>,
}

/// A record of another kind of event.
#[derive(Debug, Deserialize)]
struct Other<'a> {
    #[serde(borrow, rename = "eventSource", alias = "EventSource")]
    source: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(borrow)]
    topic: Text<'a>,
    partition: i64,
    offset: i64,
    /// Milliseconds since the epoch.
    timestamp: i64,
    #[serde(borrow)]
    timestamp_type: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
}

/// The records, put away one after the other while they are read.
#[derive(Debug)]
struct Records(Result<KafkaEvent, String>);

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Records, D::Error> {
        deserializer.deserialize_map(RecordsVisitor)
    }
}

struct RecordsVisitor;

impl<'de> Visitor<'de> for RecordsVisitor {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lists of Kafka records by partition")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut partitions: A) -> Result<Records, A::Error> {
        let mut event = Ok(KafkaEvent::default());
        while partitions.next_key::<IgnoredAny>()?.is_some() {
            for record in partitions.next_value::<Vec<Record<'de>>>()? {
                if let Ok(known) = &mut event
                    && let Err(reason) = known.add(&record)
                {
                    event = Err(reason);
                }
            }
        }
        Ok(Records(event))
    }
}

#[cfg(test)]
mod tests;
