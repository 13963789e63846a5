//! decode: source records → columns of the stream; what cannot be read becomes a dead letter.
//!
//! # Invariants
//! 1. Every raw record is exactly one row or exactly one dead letter.
//! 2. Pure: arrival times are arguments.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use tidemill_model::{DeadLetter, EventMs, Position, WallMs};

/// Records of one shard as the source gave them, in position order.
#[derive(Debug, Clone, Default)]
pub struct RawBatch {
    /// The bytes that the records lie in.
    pub buffer: Bytes,
    /// The records, by rising position.
    pub records: Vec<RawRecord>,
}

/// One record inside a [`RawBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Where its bytes lie in the buffer.
    pub bytes: Range<u32>,
    /// Its position.
    pub position: Position,
    /// When it reached its source.
    pub arrival: WallMs,
}

/// Records of one shard, decoded.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// What was decoded, whole: rows and dead letters are found here again.
    pub raw: Arc<RawBatch>,
    /// The part of `raw.records` that this stands for.
    pub range: Range<usize>,
    /// One row per decoded record: the stream's columns of
    /// [`tidemill_plan::stream_schema`], which ends with the arrival time.
    pub rows: RecordBatch,
    /// For each row its record's index in `raw.records`, rising.
    pub records: Vec<u32>,
    /// For each row its event time.
    pub event_times: Vec<EventMs>,
    /// Dead letters, with the index of each in `raw.records`, rising.
    pub dead: Vec<(u32, DeadLetter)>,
}
