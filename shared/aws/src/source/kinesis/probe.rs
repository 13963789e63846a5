//! One look at what lies after a position in a shard.
//!
//! # The look
//! An iterator AT the position's own record, read record by record. Kinesis has no iterator after
//! a sub-sequence number: a record of the Kinesis Producer Library holds several user records, and
//! ingest may have taken only the first of them. So the record itself is looked at: something lies
//! after the position when its aggregate goes on behind the sub-sequence number. Everything behind
//! the record lies after the position.
//!
//! Nothing is there only when an answer is empty **and** says that it reached the tip
//! (`MillisBehindLatest` is 0). An empty answer before the tip is followed a few times; what is
//! still not at the tip then is not known.
//!
//! # What is remembered
//! The iterator behind the last empty answer, for the same position: what it has passed was empty
//! and stays so. Each look then costs one GetRecords, of the five a second that a shard gives all
//! its readers. No answer is remembered for an open shard: a yes of two seconds ago says nothing of
//! a record that came a second ago. The end of a closed shard is remembered for ever.
//!
//! Not here: what an answer means for the log ([`super`]).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use tidemill_model::{Position, WallMs};
use tokio::time::Instant;

use crate::kpl;
use crate::source::Found;

/// GetRecords of one look.
const READS_MAX: usize = 5;
/// Reads that need no pause before them.
const READS_AT_ONCE: usize = 2;
/// Pause before each further read: a shard gives five a second.
const READ_PAUSE: Duration = Duration::from_millis(250);
/// How long an iterator is used; Kinesis lets it live for five minutes.
const ITERATOR_AGE_MAX: Duration = Duration::from_secs(240);

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Behind this position.
    After(Position),
    /// At the oldest record.
    TrimHorizon,
    /// At the first record that arrived then or later.
    At(WallMs),
}

/// What is remembered of each shard.
#[derive(Default)]
pub(super) struct Probes {
    shards: Mutex<BTreeMap<String, (Start, Memory)>>,
}

#[derive(Clone)]
enum Memory {
    /// Nothing lies between the start and this iterator.
    Passed { iterator: String, since: Instant },
    /// Nothing lies between the start and the end of the shard.
    End,
}

impl Probes {
    pub(super) async fn look(
        &self,
        client: &Client,
        stream: &str,
        shard: &str,
        start: Start,
    ) -> Found {
        let known = self.shards().get(shard).cloned();
        let known = known.filter(|(known, _)| *known == start).map(|(_, memory)| memory);
        let mut passed = match known {
            Some(Memory::End) => return Found::End,
            Some(Memory::Passed { iterator, since }) if since.elapsed() < ITERATOR_AGE_MAX => {
                Some(iterator)
            }
            _ => None,
        };
        let mut may_reopen = passed.is_some();
        for read in 0..READS_MAX {
            if read >= READS_AT_ONCE {
                tokio::time::sleep(READ_PAUSE).await;
            }
            let iterator = match passed.take() {
                Some(iterator) => iterator,
                None => match open(client, stream, shard, start).await {
                    Ok(iterator) => iterator,
                    Err(found) => return found,
                },
            };
            let answer = client.get_records().shard_iterator(&iterator).limit(1).send().await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) if error.code() == Some("ExpiredIteratorException") && may_reopen => {
                    may_reopen = false;
                    continue;
                }
                Err(error) => return failed(error),
            };
            if answer.records().iter().any(|record| lies_after(record, start)) {
                self.shards().remove(shard);
                return Found::Something;
            }
            let Some(next) = answer.next_shard_iterator else {
                self.remember(shard, start, Memory::End);
                return Found::End;
            };
            let passed_here = Memory::Passed { iterator: next.clone(), since: Instant::now() };
            self.remember(shard, start, passed_here);
            if answer.records.is_empty() && answer.millis_behind_latest == Some(0) {
                return Found::Nothing;
            }
            passed = Some(next);
        }
        Found::NotNow(format!("not at the tip after {READS_MAX} reads"))
    }

    fn remember(&self, shard: &str, start: Start, memory: Memory) {
        self.shards().insert(shard.to_owned(), (start, memory));
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<String, (Start, Memory)>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An iterator at the start. Where Kinesis does not know the position's record any more, because it
/// has expired, one at the oldest record: whatever it passes before the position does not count.
async fn open(client: &Client, stream: &str, shard: &str, start: Start) -> Result<String, Found> {
    let request = client.get_shard_iterator().stream_name(stream).shard_id(shard);
    let oldest = || request.clone().shard_iterator_type(ShardIteratorType::TrimHorizon);
    let at_start = match start {
        Start::After(position) => request
            .clone()
            .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
            .starting_sequence_number(position.to_sequence().0),
        Start::TrimHorizon => oldest(),
        Start::At(at) => request
            .clone()
            .shard_iterator_type(ShardIteratorType::AtTimestamp)
            .timestamp(aws_smithy_types::DateTime::from_millis(at.0)),
    };
    let answer = match (at_start.send().await, start) {
        (Err(error), Start::After(_)) if error.code() == Some("InvalidArgumentException") => {
            oldest().send().await
        }
        (answer, _) => answer,
    };
    let no_iterator = || Found::NotNow("Kinesis gave no iterator".to_owned());
    answer.map_err(failed)?.shard_iterator.ok_or_else(no_iterator)
}

/// Whether a record, or a user record in it, lies after the start.
fn lies_after(record: &Record, start: Start) -> bool {
    let Start::After(position) = start else { return true };
    let last_sub = match record.data().as_ref() {
        data if kpl::looks_aggregated(data) => {
            kpl::unpack(data).map_or(0, |users| users.len() as u64 - 1)
        }
        _ => 0,
    };
    // What cannot be read is no reason to call a shard drained.
    Position::from_sequence(record.sequence_number(), last_sub).map_or(true, |last| last > position)
}

fn failed<E>(error: SdkError<E>) -> Found
where
    E: std::error::Error + 'static,
    SdkError<E>: ProvideErrorMetadata,
{
    let reason = DisplayErrorContext(&error).to_string();
    match error.code().unwrap_or_default() {
        "ResourceNotFoundException" => Found::Moved(reason),
        "AccessDeniedException" => Found::Never(format!(
            "Kinesis does not let us see whether a shard is drained: allow \
             kinesis:GetShardIterator and kinesis:GetRecords on the stream to the function's role. \
             {reason}"
        )),
        "InvalidArgumentException"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired" => {
            Found::Never(format!("Kinesis cannot show whether a shard is drained. {reason}"))
        }
        _ => Found::NotNow(reason),
    }
}
