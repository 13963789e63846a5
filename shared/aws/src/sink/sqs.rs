//! Results on an SQS queue: one message a row or dead letter.
//!
//! The body is the row's JSON object; `result_id` and `query` (for dead letters `reason`) are
//! message attributes. On a FIFO queue the message group is the row's key, and the deduplication id
//! is the result id with a hash of pipeline and body: a replay within SQS's five minutes is dropped
//! by SQS, while another pipeline, or the same one with new state, that gives a row the same id is
//! not.
//!
//! # Invariants
//! 1. No row is rejected or taken by what the queue is set to, but by [`MESSAGE_BYTES_MAX`]; a queue
//!    that is set to take less is a fault at start.

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{
    MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry as Request,
};
use tidemill_flow::ports::{Emission, Sink, SinkError, Taken};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::failure::{Place, checked};
use super::messages::{Form, Message, messages};
use super::rows::Queries;
use crate::batches::{Bounds, Entry, Refused, Transport, send_all};
use crate::{Aws, Fault};

/// Largest message, and largest batch: what SQS always took. Since August 2025 a queue can be set
/// to take 1 MiB, but older queues are set to this.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// A batch takes 10 messages.
const BOUNDS: Bounds = Bounds { entries: 10, bytes: MESSAGE_BYTES_MAX, at_once: 8 };
/// Message groups and deduplication ids have at most 128 characters.
const ID_CHARS_MAX: usize = 128;
const FORM: Form =
    Form { is_tagged: false, bytes_max: MESSAGE_BYTES_MAX, key_chars_max: ID_CHARS_MAX };

/// The sink.
pub(super) struct SqsSink {
    client: Client,
    queue_url: String,
    is_fifo: bool,
    /// Hash of the pipeline's name.
    pipeline: u64,
    place: Place,
    queries: Queries,
}

impl SqsSink {
    pub(super) fn new(
        aws: &Aws,
        pipeline: &str,
        sink: &str,
        queue_url: &str,
        queries: Queries,
    ) -> SqsSink {
        let place = Place {
            sink: sink.to_string(),
            what: format!("queue `{queue_url}`"),
            action: "sqs:SendMessage",
        };
        SqsSink {
            client: Client::new(aws.sdk()),
            queue_url: queue_url.to_string(),
            is_fifo: queue_url.ends_with(".fifo"),
            pipeline: xxh3_64(pipeline.as_bytes()),
            place,
            queries,
        }
    }

    /// Whether the queue is there and takes messages as large as every queue may.
    pub(super) async fn check(&self) -> Option<Fault> {
        let request = self.client.get_queue_attributes().queue_url(&self.queue_url);
        let request = request.attribute_names(QueueAttributeName::MaximumMessageSize);
        checked(&self.place, request.send().await, |answer| {
            let attributes = answer.attributes?;
            let most = attributes.get(&QueueAttributeName::MaximumMessageSize)?;
            let most: usize = most.parse().ok()?;
            let Place { sink, what, .. } = &self.place;
            (most < MESSAGE_BYTES_MAX).then(|| {
                Fault::new(
                    format!("{what} of sink `{sink}` takes messages of at most {most} bytes"),
                    format!("set its MaximumMessageSize to {MESSAGE_BYTES_MAX} or more"),
                )
            })
        })
    }

    fn entry(&self, n: usize, message: Message) -> Result<Entry<Request>, BuildError> {
        let (key, bytes) = (message.order_key(), message.bytes());
        let text = |value: &str| {
            MessageAttributeValue::builder().data_type("String").string_value(value).build()
        };
        let (about, value) = &message.about;
        let mut item = Request::builder()
            // Ids need only be apart within a batch.
            .id(n.to_string())
            .message_attributes("result_id", text(&message.id)?)
            .message_attributes(*about, text(value)?);
        if self.is_fifo {
            let hash = xxh3_64_with_seed(&message.body, self.pipeline);
            let whole = format!("{}/{hash:016x}", message.id);
            item = item
                .message_group_id(allowed(message.key))
                .message_deduplication_id(allowed(whole));
        }
        Ok(Entry { key, bytes, item: item.message_body(body(message.body)).build()? })
    }
}

/// JSON that holds only characters that SQS takes. The two that it does not take can only stand in
/// texts, where they may be escaped.
fn body(json: Vec<u8>) -> String {
    let json = String::from_utf8_lossy(&json);
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// A message group or deduplication id: at most 128 ASCII letters, digits and punctuation. Another
/// text is known by its hash.
fn allowed(id: String) -> String {
    if id.len() <= ID_CHARS_MAX && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return id;
    }
    let first: String = id.chars().take_while(char::is_ascii_graphic).take(64).collect();
    format!("{first}#{:016x}", xxh3_64(id.as_bytes()))
}

#[async_trait]
impl Sink for SqsSink {
    async fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let down = |reason: String| self.place.down(reason);
        let (messages, rejected) = messages(&self.queries, emission, FORM).map_err(down)?;
        let entries: Vec<Entry<Request>> = messages
            .into_iter()
            .enumerate()
            .map(|(n, message)| self.entry(n, message))
            .collect::<Result<_, BuildError>>()
            .map_err(|error| down(error.to_string()))?;
        send_all(self, BOUNDS, &entries).await?;
        Ok(Taken { state: Vec::new(), rejected })
    }
}

#[async_trait]
impl Transport for SqsSink {
    type Item = Request;
    type Error = SinkError;

    async fn send(&self, batch: &[&Entry<Request>]) -> Result<Vec<Refused>, SinkError> {
        let entries = batch.iter().map(|entry| entry.item.clone()).collect();
        let request = self.client.send_message_batch().queue_url(&self.queue_url);
        let answer = request.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(|error| self.place.failed(&error))?;
        if answer.failed.len() + answer.successful.len() != batch.len() {
            return Err(self.place.down("the answer is not about the messages that were sent"));
        }
        let mut refused = Vec::new();
        for failed in answer.failed {
            let message = failed.message.as_deref().unwrap_or("no message");
            let said = format!("{}: {message}", failed.code);
            let found = batch.iter().position(|entry| entry.item.id == failed.id);
            match found {
                Some(index) if !failed.sender_fault => refused.push(Refused { index, said }),
                _ => {
                    return Err(self
                        .place
                        .down(format!("{} refuses it ({said})", self.place.what)));
                }
            }
        }
        Ok(refused)
    }

    fn stuck(&self, said: &str) -> SinkError {
        self.place.stuck(said)
    }
}

#[cfg(test)]
mod tests;
