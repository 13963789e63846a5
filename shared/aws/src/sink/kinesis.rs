//! Results on a Kinesis stream: one record a row or dead letter.
//!
//! A record is a JSON object. Kinesis records have no headers, so the members `query` and
//! `result_id` stand before the query's columns; in dead letters `id`. The partition key is the
//! row's key (`messages`), so rows of one key are on one shard, in order.
//!
//! # Invariants
//! 1. No row is rejected or taken by what the stream is set to, but by [`RECORD_BYTES_MAX`], which
//!    every stream takes.

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::BuildError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use tidemill_flow::ports::{Emission, Sink, SinkError, Taken};

use super::batches::{Bounds, Entry, Refused, Transport, send_all};
use super::failure::{Place, checked};
use super::messages::{Form, Message, messages};
use super::rows::Queries;
use crate::{Aws, Fault};

/// Largest record: data and partition key. A stream can be set to take up to 10 MiB, but none takes
/// less than this.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// A request takes 500 records and 10 MiB
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>). Half of it is
/// what emulators and older regions take. A shard takes no more than 1 MiB a second, so that several
/// requests at once would only be throttled.
const BOUNDS: Bounds = Bounds { entries: 500, bytes: 5 * 1024 * 1024, at_once: 1 };
/// The partition key has at most 256 characters.
const FORM: Form = Form { is_tagged: true, bytes_max: RECORD_BYTES_MAX, key_chars_max: 256 };

/// The sink.
pub(super) struct KinesisSink {
    client: Client,
    stream: String,
    place: Place,
    queries: Queries,
}

impl KinesisSink {
    pub(super) fn new(aws: &Aws, sink: &str, stream: &str, queries: Queries) -> KinesisSink {
        let place = Place {
            sink: sink.to_string(),
            what: format!("stream `{stream}`"),
            action: "kinesis:PutRecords",
        };
        KinesisSink { client: Client::new(aws.sdk()), stream: stream.to_string(), place, queries }
    }

    /// Whether the stream is there.
    pub(super) async fn check(&self) -> Option<Fault> {
        let answer = self.client.describe_stream_summary().stream_name(&self.stream).send().await;
        checked(&self.place, answer, |answer| {
            let status = answer.stream_description_summary.map(|summary| summary.stream_status);
            let is_going = status == Some(StreamStatus::Deleting);
            is_going.then(|| self.place.missing("it is being deleted"))
        })
    }
}

#[async_trait]
impl Sink for KinesisSink {
    async fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let down = |reason: String| self.place.down(reason);
        let (messages, rejected) = messages(&self.queries, emission, FORM).map_err(down)?;
        let entries: Vec<Entry<PutRecordsRequestEntry>> = messages
            .into_iter()
            .map(entry)
            .collect::<Result<_, BuildError>>()
            .map_err(|error| down(error.to_string()))?;
        send_all(self, BOUNDS, &entries).await?;
        Ok(Taken { state: Vec::new(), rejected })
    }
}

fn entry(message: Message) -> Result<Entry<PutRecordsRequestEntry>, BuildError> {
    let (key, bytes) = (message.order_key(), message.bytes());
    let item = PutRecordsRequestEntry::builder()
        .partition_key(message.key)
        .data(Blob::new(message.body))
        .build()?;
    Ok(Entry { key, bytes, item })
}

#[async_trait]
impl Transport for KinesisSink {
    type Item = PutRecordsRequestEntry;

    async fn send(&self, batch: &[&Entry<Self::Item>]) -> Result<Vec<Refused>, SinkError> {
        let records = batch.iter().map(|entry| entry.item.clone()).collect();
        let request = self.client.put_records().stream_name(&self.stream);
        let answer = request.set_records(Some(records)).send().await;
        let answer = answer.map_err(|error| self.place.failed(&error))?;
        if answer.records.len() != batch.len() {
            return Err(self.place.down("the answer is not about the records that were sent"));
        }
        let refused = answer.records.iter().enumerate().filter_map(|(index, record)| {
            let code = record.error_code.as_ref()?;
            let message = record.error_message.as_deref().unwrap_or("no message");
            Some(Refused { index, said: format!("{code}: {message}") })
        });
        Ok(refused.collect())
    }

    fn stuck(&self, said: &str) -> SinkError {
        self.place.stuck(said)
    }
}

#[cfg(test)]
mod tests;
