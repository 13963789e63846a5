//! A log's name and its entry in the registry.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Position, WallMs};

/// One source shard's log: a stream's shard, or a topic's partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// Stream as the pipeline file names it.
    pub stream: String,
    /// Shard, partition or file part, as the source names it.
    pub shard: String,
}

/// Why a text is no log id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log id is not of the form stream/shard. text=`{0}`")]
pub struct LogIdError(pub String);

impl LogId {
    /// The log of `shard` of `stream`.
    pub fn new(stream: impl Into<String>, shard: impl Into<String>) -> LogId {
        LogId { stream: stream.into(), shard: shard.into() }
    }

    /// The log id of the text `stream/shard`. A shard may hold further slashes.
    pub fn parse(text: &str) -> Result<LogId, LogIdError> {
        match text.split_once('/') {
            Some((stream, shard)) if !stream.is_empty() && !shard.is_empty() => {
                Ok(LogId::new(stream, shard))
            }
            _ => Err(LogIdError(text.to_string())),
        }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.shard)
    }
}

/// What the registry says of a log. Written before the log's first segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The log.
    pub log: LogId,
    /// The logs whose source shards were split or merged into this one's: it inherits their clock.
    pub parents: Vec<LogId>,
    /// When the log was registered.
    pub registered_at: WallMs,
    /// Where reading of the source began: records at or before it are not ours.
    pub start: Position,
    /// What tells this source from another one of the same name (a hash of a file's beginning, a
    /// topic's id); empty when the source has no such thing.
    pub identity: String,
}
