//! Why an append stopped, by what its caller does next.

use tidemill_codec::CodecError;
use tidemill_model::{LogId, Position, WallMs, store::StoreError};

use crate::append::Appended;
use crate::ports::QueryError;

/// An append that did not cover its batch. Whatever the reason, offering the records again from
/// `first_uncovered` on is safe at any time: what is in the log already is skipped.
#[derive(Debug, thiserror::Error)]
#[error("append stopped. log=`{log}` first_uncovered=`{first_uncovered:?}`: {failure}")]
pub struct AppendError {
    /// The log.
    pub log: LogId,
    /// The first position of the batch that is not known to be in the log: what a Lambda function
    /// names in `batchItemFailures`.
    pub first_uncovered: Position,
    /// What was appended before.
    pub done: Appended,
    /// Why, and so what to do.
    #[source]
    pub failure: AppendFailure,
}

/// What to do about an append that stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppendFailure {
    /// Try again soon.
    #[error("try again: {0}")]
    Retry(#[source] RetryCause),
    /// The source must keep the records until advance has merged this log's old segments: try
    /// again when it has.
    #[error(
        "segments that nobody has merged near their expiry; see why advance does not run. \
         oldest_unmerged_age_ms=`{age_ms}` age_max_ms=`{age_max_ms}`"
    )]
    LogNearExpiry {
        /// Age of the log's oldest unmerged segment, milliseconds.
        age_ms: i64,
        /// The age at which append refuses: half the segments' time to live, milliseconds.
        age_max_ms: i64,
    },
    /// No retry helps; a person must look. Raise an alarm.
    #[error("stuck: {0}")]
    Stuck(#[source] StuckCause),
}

/// Why to try again.
#[derive(Debug, thiserror::Error)]
pub enum RetryCause {
    /// The store did not answer, or refused.
    #[error(transparent)]
    Store(StoreError),
    /// Other writers of this log won every race.
    #[error("other writers of this log won too often. attempts=`{attempts}`")]
    Contended {
        /// Races lost in a row.
        attempts: u32,
    },
    /// This process was slower than its knowledge of the log may be old.
    #[error("this process stalled between reading the log's tail and writing. stalled_ms=`{ms}`")]
    Stalled {
        /// Time since the tail was read, milliseconds.
        ms: i64,
    },
}

/// Why nothing goes on by itself.
#[derive(Debug, thiserror::Error)]
pub enum StuckCause {
    /// The log is not in the registry: register it before its first segment.
    #[error("the log has no registry entry; register a log before appending to it")]
    Unregistered,
    /// The records of the batch do not rise.
    #[error("the batch is not in position order. position=`{position:?}`")]
    Disordered {
        /// The record that is not above the one before it.
        position: Position,
    },
    /// The source began anew: its records stand where the log has already been, but arrived
    /// later.
    #[error(
        "the source was created anew: a record at or below the log's tail arrived after \
         everything in the log. Give the recreated stream or topic another name in the pipeline \
         file, or the pipeline another name, so that its log starts from the beginning. \
         position=`{position:?}` arrival_ms=`{}` newest_arrival_ms=`{}`",
        arrival.0,
        newest_arrival.0
    )]
    SourceRewound {
        /// The record.
        position: Position,
        /// When it arrived.
        arrival: WallMs,
        /// The log's newest arrival.
        newest_arrival: WallMs,
    },
    /// A record at or below the tail is in no segment: the shard was read out of order, and
    /// skipping the record would lose it.
    #[error(
        "a record at or below the log's tail is in no segment: the shard was read by several \
         invocations at once. Set ParallelizationFactor to 1, then give the pipeline another name \
         and read the source again from where it is still whole. position=`{position:?}`"
    )]
    UnseenRecord {
        /// The record.
        position: Position,
    },
    /// The segments do not tile the source.
    #[error("the log is damaged: {reason}")]
    Damaged {
        /// What was found.
        reason: String,
    },
    /// The store does not hold what was written.
    #[error(transparent)]
    Store(StoreError),
    /// Stored bytes cannot be read.
    #[error("the item cannot be read. pk=`{pk}` sk=`{sk}`: {cause}")]
    Unreadable {
        /// Partition key.
        pk: String,
        /// Sort key.
        sk: String,
        /// Why.
        #[source]
        cause: CodecError,
    },
    /// A query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A segment of one dead letter is too large, which bounds elsewhere exclude.
    #[error("one dead letter is larger than a segment. position=`{position:?}` bytes=`{bytes}`")]
    DeadLetterTooLarge {
        /// The record.
        position: Position,
        /// Bytes of its segment.
        bytes: usize,
    },
}

impl From<StoreError> for AppendFailure {
    fn from(error: StoreError) -> AppendFailure {
        match error {
            StoreError::Refused { .. } | StoreError::Unknown { .. } => {
                AppendFailure::Retry(RetryCause::Store(error))
            }
            StoreError::Damaged { .. } => AppendFailure::Stuck(StuckCause::Store(error)),
        }
    }
}

impl From<StuckCause> for AppendFailure {
    fn from(cause: StuckCause) -> AppendFailure {
        AppendFailure::Stuck(cause)
    }
}

impl From<RetryCause> for AppendFailure {
    fn from(cause: RetryCause) -> AppendFailure {
        AppendFailure::Retry(cause)
    }
}
