//! Why a tick stopped, by what its caller does next.

use tidemill_codec::CodecError;
use tidemill_model::limits::CHECKPOINT_BYTES_MAX;
use tidemill_model::{LogId, Position, store::StoreError};

use crate::ports::{QueryError, SinkError};

/// Why a tick stopped. Nothing is lost by any of them: the next tick begins at the chain.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    /// The store did not answer, or refused: tick again. Damaged: stop.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sink is down: raise an alarm and tick again; the epoch waits.
    #[error("emission stopped, nothing is lost: {0}")]
    Sink(#[from] SinkError),
    /// A query failed: stop.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The pipeline's queries are not those whose state the chain holds: stop.
    #[error(
        "query `{query}` {change}, and this pipeline's state was made with the queries it had \
         before. Give the pipeline a new `name`, or use a new store: it then starts with state of \
         its own"
    )]
    QueriesChanged {
        /// The query.
        query: String,
        /// What became of it.
        change: QueryChange,
    },
    /// A log's stream is not in the pipeline file: stop.
    #[error(
        "stream `{}` is no longer in the pipeline, but its logs are. Put the stream back, or give \
         the pipeline a new `name` or a new store. log=`{log}`", log.stream
    )]
    StreamGone {
        /// One of the logs.
        log: LogId,
    },
    /// A log's segments do not tile its source. Skipping would lose records: stop.
    #[error(
        "segments are missing from a log, so records would be lost; advance does not go on. \
         Restore the store from a backup, or start with a new one. log=`{log}` \
         expected_after=`{expected}` found_after=`{found}`"
    )]
    Gap {
        /// The log.
        log: LogId,
        /// Where the next segment has to begin.
        expected: Position,
        /// Where it begins.
        found: Position,
    },
    /// What is stored contradicts itself: stop.
    #[error("stored state is damaged. item=`{item}` reason=`{reason}`")]
    Damaged {
        /// The item, by its keys.
        item: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Stored bytes cannot be read, or state cannot be written: stop.
    #[error("item cannot be coded. item=`{item}`: {cause}")]
    Codec {
        /// The item, by its keys.
        item: String,
        /// Why.
        #[source]
        cause: CodecError,
    },
    /// The pipeline has had more logs than one checkpoint can name: stop.
    #[error(
        "a checkpoint names every log that the pipeline ever read and every query, and does not fit \
         an item any more; nothing is lost, but advance does not go on. Give the pipeline a new \
         `name`, and read from where this one stopped; several pipelines of fewer streams last \
         longer. bytes=`{bytes}` bytes_max=`{CHECKPOINT_BYTES_MAX}` logs=`{logs}` \
         queries=`{queries}`"
    )]
    CheckpointTooLarge {
        /// Encoded bytes.
        bytes: usize,
        /// Logs.
        logs: usize,
        /// Queries.
        queries: usize,
    },
    /// Two ticks gave their snapshots the same nonce: tick again with another.
    #[error("nonce was used before. item=`{item}`")]
    NonceUsed {
        /// The chunk that was there.
        item: String,
    },
}

impl AdvanceError {
    /// Whether another tick may succeed without anybody's help but time's.
    pub fn is_transient(&self) -> bool {
        match self {
            AdvanceError::Store(error) => !matches!(error, StoreError::Damaged { .. }),
            AdvanceError::Sink(_) | AdvanceError::NonceUsed { .. } => true,
            AdvanceError::Query(_)
            | AdvanceError::QueriesChanged { .. }
            | AdvanceError::StreamGone { .. }
            | AdvanceError::Gap { .. }
            | AdvanceError::Damaged { .. }
            | AdvanceError::Codec { .. }
            | AdvanceError::CheckpointTooLarge { .. } => false,
        }
    }

    pub(super) fn damaged(pk: &str, sk: &str, reason: impl Into<String>) -> AdvanceError {
        AdvanceError::Damaged { item: format!("{pk} {sk}"), reason: reason.into() }
    }

    pub(super) fn codec(pk: &str, sk: &str, cause: CodecError) -> AdvanceError {
        AdvanceError::Codec { item: format!("{pk} {sk}"), cause }
    }
}

/// What became of a query since the chain's newest checkpoint. A chain's set of queries is fixed:
/// a query added later would miss the windows that are open and the segments that are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryChange {
    /// Same name, other fingerprint.
    Changed,
    /// The chain does not know it.
    Added,
    /// The pipeline does not have it any more.
    Removed,
}

impl std::fmt::Display for QueryChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            QueryChange::Changed => "has changed",
            QueryChange::Added => "is new",
            QueryChange::Removed => "was removed",
        })
    }
}
