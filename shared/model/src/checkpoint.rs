//! Checkpoints: one chain, each link created once. Whoever creates epoch e+1 has done the advance.
//!
//! # Invariants
//! 1. A checkpoint names everything that replaying its epoch needs but the log itself: merged
//!    positions, watermark, wall clock. Replay never asks a clock again.
//! 2. `watermark` and every `merged` never go back along the chain.
//! 3. The snapshot named by checkpoint e is the state *before* e, whose results were all emitted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Epoch, EventMs, Fingerprint, LogId, Position, WallMs};

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its number.
    pub epoch: Epoch,
    /// Wall clock of the advance that made it: what `now()` means in this epoch's results.
    pub at: WallMs,
    /// Pipeline watermark: every window with end + grace at or below it is closed. `None` until
    /// every log has a clock or is idle.
    pub watermark: Option<EventMs>,
    /// Every known log.
    pub logs: BTreeMap<LogId, LogProgress>,
    /// Every query, by name.
    pub queries: BTreeMap<String, QueryProgress>,
    /// Newest snapshot: what a cold start loads before it replays the epochs from
    /// `snapshot.epoch` on. `None`: replay from the first epoch.
    pub snapshot: Option<SnapshotRef>,
    /// Bytes of the segments merged since that snapshot, this epoch's included.
    pub log_bytes: u64,
    /// `appended_at` of the oldest segment merged since that snapshot.
    pub oldest_since_snapshot: Option<WallMs>,
    /// Whether this epoch has results or dead letters to emit.
    pub emits: bool,
    /// Counts since the pipeline's first epoch, this one included.
    pub totals: Totals,
}

/// How far a checkpoint has come with one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogProgress {
    /// `through` of the last merged segment.
    pub merged: Position,
    /// The log's clock; `None` until a record was decoded (or a parent's clock inherited).
    pub clock: Option<EventMs>,
    /// When the last merged segment was appended: its `appended_at`, but not before its newest
    /// arrival. Without a segment, when the log was registered.
    pub newest_append: WallMs,
    /// Newest arrival among the merged records.
    pub newest_arrival: Option<WallMs>,
    /// Whether the log was idle at this checkpoint.
    pub idle: bool,
}

/// What a checkpoint says of one query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryProgress {
    /// The fingerprint whose state this chain holds.
    pub fingerprint: Fingerprint,
    /// Result rows of this epoch.
    pub results: u64,
    /// Windows that this epoch closed.
    pub windows: u64,
}

/// Where a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// The snapshot is the state before this epoch was merged.
    pub epoch: Epoch,
    /// Tells two writers of the same epoch's snapshot apart.
    pub nonce: String,
    /// Number of chunks.
    pub chunks: u32,
    /// Bytes of all chunks.
    pub bytes: u64,
}

/// Counts since a pipeline began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Source records merged, dead ones included.
    pub records: u64,
    /// Dead letters, late ones included.
    pub dead_letters: u64,
    /// (row, window) pairs that were late.
    pub late: u64,
    /// Windows closed, over all queries.
    pub windows: u64,
    /// Result rows.
    pub results: u64,
}

/// The marker that an epoch was emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// The epoch.
    pub epoch: Epoch,
    /// What each sink wants to know when it goes on after this epoch (a file's length), by sink.
    pub sinks: BTreeMap<String, Vec<u8>>,
}
