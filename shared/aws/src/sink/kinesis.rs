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
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use tidemill_flow::ports::{Emission, Sink, SinkError, Taken};

use super::failure::{Place, checked};
use super::messages::{Form, Message, messages};
use super::rows::Queries;
use crate::batches::{Entry, Refused, Transport, send_all};
use crate::put::{self, BOUNDS, PutError, RECORD_BYTES_MAX};
use crate::{Aws, Fault};

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
    let item = put::entry(message.key, message.body)?;
    Ok(Entry { key, bytes, item })
}

#[async_trait]
impl Transport for KinesisSink {
    type Item = PutRecordsRequestEntry;
    type Error = SinkError;

    async fn send(&self, batch: &[&Entry<Self::Item>]) -> Result<Vec<Refused>, SinkError> {
        let sent = put::put_records(&self.client, &self.stream, batch).await;
        sent.map_err(|error| match error {
            PutError::Failed(error) => self.place.failed(&error),
            garbled @ PutError::Garbled => self.place.down(garbled.to_string()),
        })
    }

    fn stuck(&self, said: &str) -> SinkError {
        self.place.stuck(said)
    }
}

#[cfg(test)]
mod tests;
