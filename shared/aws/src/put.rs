//! Writing records to a Kinesis stream: one PutRecords, and a small producer.
//!
//! # Invariants
//! 1. The answer of a PutRecords is about every record of the request, else it is an error.
//! 2. The producer sends records in their order, and a refused one again before any later batch.
//!    A request whose answer was lost is repeated: its records may be in the stream twice.
//!
//! Not here: in which order what is refused is sent again ([`crate::batches`]), results on a stream
//! (`sink::kinesis`).

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::PutRecordsError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};

use crate::batches::{Bounds, Entry, Refused, Transport, send_once};
use crate::{Aws, Fault};

/// Largest record: data and partition key. A stream can be set to take up to 10 MiB, but none takes
/// less than this.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// A request takes 500 records and 10 MiB
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>). Half of it is
/// what emulators and older regions take. A shard takes no more than 1 MiB a second, so that several
/// requests at once would only be throttled.
pub(crate) const BOUNDS: Bounds =
    Bounds { entries: BATCH_RECORDS_MAX, bytes: 5 * 1024 * 1024, at_once: 1 };
/// Records of one request.
pub const BATCH_RECORDS_MAX: usize = 500;
/// Longest partition key, characters.
pub const KEY_CHARS_MAX: usize = 256;

/// Why a PutRecords took nothing.
#[derive(Debug)]
pub(crate) enum PutError {
    /// The service said so, or did not answer.
    Failed(Box<SdkError<PutRecordsError>>),
    /// The answer is not about the records that were sent.
    Garbled,
}

impl std::fmt::Display for PutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PutError::Failed(error) => DisplayErrorContext(error.as_ref()).fmt(f),
            PutError::Garbled => f.write_str("the answer is not about the records that were sent"),
        }
    }
}

/// A record as the SDK takes it.
pub(crate) fn entry(key: String, data: Vec<u8>) -> Result<PutRecordsRequestEntry, BuildError> {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build()
}

/// One PutRecords. Answers what was not taken and is worth another attempt.
pub(crate) async fn put_records(
    client: &Client,
    stream: &str,
    batch: &[&Entry<PutRecordsRequestEntry>],
) -> Result<Vec<Refused>, PutError> {
    let records = batch.iter().map(|entry| entry.item.clone()).collect();
    let request = client.put_records().stream_name(stream).set_records(Some(records));
    let answer = request.send().await.map_err(|error| PutError::Failed(Box::new(error)))?;
    if answer.records.len() != batch.len() {
        return Err(PutError::Garbled);
    }
    let refused = answer.records.iter().enumerate().filter_map(|(index, record)| {
        let code = record.error_code.as_ref()?;
        let message = record.error_message.as_deref().unwrap_or("no message");
        Some(Refused { index, said: format!("{code}: {message}") })
    });
    Ok(refused.collect())
}

/// A record to put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Records of one key go to one shard. Longer than [`KEY_CHARS_MAX`] characters, it is cut.
    pub key: String,
    /// At most [`RECORD_BYTES_MAX`] bytes with the key.
    pub data: Vec<u8>,
}

/// A producer of one stream.
#[derive(Debug)]
pub struct Put {
    client: Client,
    stream: String,
    repeated: AtomicU64,
}

impl Put {
    /// A producer of a stream that takes records.
    ///
    /// # Errors
    /// When there is no such stream, or it cannot be asked for.
    pub async fn open(aws: &Aws, stream: &str) -> Result<Put, Fault> {
        let client = Client::new(aws.sdk());
        let put = Put { client, stream: stream.to_owned(), repeated: AtomicU64::new(0) };
        let answer = put.client.describe_stream_summary().stream_name(stream).send().await;
        let summary = match answer {
            Ok(answer) => answer.stream_description_summary,
            // Who may put need not be allowed to look.
            Err(error) if error.code() == Some("AccessDeniedException") => return Ok(put),
            Err(error) => return Err(put.fault(error.code(), &DisplayErrorContext(&error))),
        };
        match summary.map(|summary| summary.stream_status) {
            Some(StreamStatus::Active | StreamStatus::Updating) | None => Ok(put),
            Some(other) => Err(Fault::new(
                format!("stream `{stream}` takes no records now: it is {other}"),
                "wait until it is ACTIVE",
            )),
        }
    }

    /// Puts records, in their order; comes back when all are taken. A stream that throttles makes
    /// it wait.
    ///
    /// # Errors
    /// When the stream takes nothing any more. Some of the records may have been taken.
    pub async fn put(&self, records: Vec<Record>) -> Result<(), Fault> {
        let mut entries = Vec::with_capacity(records.len());
        for Record { key, data } in records {
            let key: String = key.chars().take(KEY_CHARS_MAX).collect();
            let bytes = key.len() + data.len();
            if bytes > RECORD_BYTES_MAX {
                return Err(Fault::new(
                    format!("a record has {bytes} bytes; Kinesis takes {RECORD_BYTES_MAX}"),
                    "leave it out, or cut it into smaller ones",
                ));
            }
            let item = self::entry(key.clone(), data)
                .map_err(|error| self.fault(None, &error.to_string()))?;
            entries.push(Entry { key, bytes, item });
        }
        send_once(self, BOUNDS, &entries).await
    }

    /// Records that the stream refused and that were sent again, so far.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    fn fault(&self, code: Option<&str>, said: &dyn std::fmt::Display) -> Fault {
        let stream = &self.stream;
        match code {
            Some("ResourceNotFoundException") => Fault::new(
                format!("there is no Kinesis stream `{stream}`"),
                "create it, or correct the name, AWS_REGION or AWS_ENDPOINT_URL",
            ),
            Some("AccessDeniedException") => Fault::new(
                format!("stream `{stream}` denies access: {said}"),
                "allow kinesis:PutRecords on it",
            ),
            _ => Fault::new(
                format!("stream `{stream}` does not take records: {said}"),
                "check the network, the credentials, AWS_REGION and AWS_ENDPOINT_URL",
            ),
        }
    }
}

#[async_trait]
impl Transport for Put {
    type Item = PutRecordsRequestEntry;
    type Error = Fault;

    async fn send(&self, batch: &[&Entry<Self::Item>]) -> Result<Vec<Refused>, Fault> {
        let refused = match put_records(&self.client, &self.stream, batch).await {
            Ok(refused) => refused,
            Err(PutError::Failed(error)) if is_throttling(&error) => {
                let said = error.code().unwrap_or_default().to_owned();
                let refused = |index| Refused { index, said: said.clone() };
                (0..batch.len()).map(refused).collect()
            }
            Err(error) => {
                let code = match &error {
                    PutError::Failed(error) => error.code(),
                    PutError::Garbled => None,
                };
                return Err(self.fault(code, &error));
            }
        };
        self.repeated.fetch_add(refused.len() as u64, Ordering::Relaxed);
        Ok(refused)
    }

    fn stuck(&self, said: &str) -> Fault {
        Fault::new(
            format!("stream `{}` takes nothing any more: {said}", self.stream),
            "lower --rate, or give the stream more shards",
        )
    }
}

fn is_throttling(error: &SdkError<PutRecordsError>) -> bool {
    matches!(
        error.code(),
        Some(
            "ProvisionedThroughputExceededException"
                | "LimitExceededException"
                | "ThrottlingException"
        )
    )
}

#[cfg(test)]
mod tests;
