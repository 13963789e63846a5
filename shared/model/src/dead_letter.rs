//! A record, or what is left of one, that no result will count, and why.

use serde::{Deserialize, Serialize};

use crate::{EventMs, LogId, Position, WallMs, limits::DEAD_LETTER_RAW_BYTES_MAX};

/// One dead letter. It travels through the log and is emitted by advance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The log that the record came through.
    pub log: LogId,
    /// Where the record stands; for combined records that became late, where their segment ends.
    pub position: Position,
    /// When the record reached its source.
    pub arrival: WallMs,
    /// Why it is dead.
    pub reason: DeadReason,
    /// The record's bytes, as far as they are kept; absent for combined records.
    pub raw: Option<RawBytes>,
}

/// The beginning of a record's bytes, with what is needed to find the whole again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawBytes {
    /// The first bytes, at most [`DEAD_LETTER_RAW_BYTES_MAX`].
    pub first: Vec<u8>,
    /// Length of the whole record, bytes.
    pub length: u64,
    /// XXH3-64 of the whole record.
    pub hash: u64,
}

impl RawBytes {
    /// What a dead letter keeps of `record`, whose XXH3-64 is `hash`.
    pub fn of(record: &[u8], hash: u64) -> RawBytes {
        let kept = record.len().min(DEAD_LETTER_RAW_BYTES_MAX);
        RawBytes { first: record[..kept].to_vec(), length: record.len() as u64, hash }
    }

    /// Whether `first` is the whole record.
    pub fn is_whole(&self) -> bool {
        self.first.len() as u64 == self.length
    }
}

/// Why a record is dead. The tag is what operators alarm on; `detail` is for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DeadReason {
    /// The bytes are no record of the stream's format and columns.
    Undecodable {
        /// What is wrong, with the column where there is one.
        detail: String,
    },
    /// The event time is missing or null.
    NoEventTime,
    /// The event time lies more than `max_future` after the arrival.
    Future {
        /// The record's event time.
        event_time: EventMs,
    },
    /// One record alone makes a segment larger than a segment may be, or is longer than a record
    /// may be.
    TooLarge {
        /// What was too large, with the bound.
        detail: String,
    },
    /// The record came after a window of its own had closed.
    Late {
        /// The query whose windows had closed.
        query: String,
        /// The record's event time; for combined records, the newest among them.
        event_time: EventMs,
        /// The closed windows that it is missing from, as (start, end); at most the first 16.
        windows: Vec<(EventMs, EventMs)>,
        /// Closed windows in all.
        windows_missed: u64,
        /// How many records this stands for: 1, or those that were combined before they became
        /// late.
        records: u64,
        /// For combined records: key and partial values as a JSON object.
        partial: Option<String>,
        /// Whether the record still counts in other windows that are open.
        counted_elsewhere: bool,
    },
    /// A query fails on a value of the record: one that cannot be cast, a division by zero. Other
    /// queries count the record.
    Failed {
        /// The query that does not count it.
        query: String,
        /// What the engine says.
        detail: String,
    },
}

impl DeadReason {
    /// The tag of [`DeadReason::Failed`], and of rows inside a query that it fails on.
    pub const FAILED: &str = "query_failed";

    /// A short stable name: `undecodable`, `no_event_time`, `future`, `too_large`, `late`,
    /// `query_failed`.
    pub fn tag(&self) -> &'static str {
        match self {
            DeadReason::Undecodable { .. } => "undecodable",
            DeadReason::NoEventTime => "no_event_time",
            DeadReason::Future { .. } => "future",
            DeadReason::TooLarge { .. } => "too_large",
            DeadReason::Late { .. } => "late",
            DeadReason::Failed { .. } => DeadReason::FAILED,
        }
    }
}
