//! A segment: what one batch of one source shard leaves in the shard's log.
//!
//! source  ──●──●──●──●──●──●──●──●──▶   Position, with gaps
//!           └─ (a,c] ─┘└(c,f]┘└(f,h]┘    a segment's key is its `after`
//!
//! # Invariants
//! 1. Tiling: a segment's `after` is the previous one's `through`, and `after < through`.
//! 2. A segment holds everything that its records mean to every query: partial aggregates, dead
//!    letters, the clock. Nothing of it is read from anywhere else.

use serde::{Deserialize, Serialize};

use crate::{DeadLetter, EventMs, Fingerprint, Position, WallMs};

/// One segment of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Exclusive start: the previous segment's `through`.
    pub after: Position,
    /// Inclusive end: the last record's position.
    pub through: Position,
    /// Source records from `after` to `through`, dead ones included.
    pub records: u64,
    /// Wall clock of the ingest process when it appended.
    pub appended_at: WallMs,
    /// Newest arrival in the log up to this segment's last record, a running maximum: it guards
    /// against a source that was created anew.
    pub newest_arrival: WallMs,
    /// Largest min(event time, arrival) over the decoded records, before any WHERE; `None` when
    /// nothing was decoded.
    pub clock: Option<EventMs>,
    /// What a later append checks skipped records against: the way back to the previous segment
    /// and a Bloom filter over a fixed sample of the records' positions (encoded by
    /// `flow::append`).
    #[serde(with = "crate::bytes")]
    pub seen: Vec<u8>,
    /// Records that could not be decoded, or that no query may count.
    pub dead_letters: Vec<DeadLetter>,
    /// What each query's part in ingest made of the records.
    pub blocks: Vec<Block>,
}

/// One query's share of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The query.
    pub query: Fingerprint,
    /// Which of the query's stages (a query that joins two aggregates has two).
    pub stage: u16,
    /// State partition; 0 while one advance serves the pipeline.
    pub partition: u16,
    /// Rows in `batch`.
    pub rows: u64,
    /// An Arrow IPC record batch without its schema (`codec::encode_batch`); the schema is the
    /// stage's, which the fingerprint covers.
    #[serde(with = "crate::bytes")]
    pub batch: Vec<u8>,
}
