//! Every metric: its name, its unit, what it counts. docs/operations.md has the same table, and a
//! test compares.
//!
//! All are in the namespace `Tidemill` by `Pipeline`; those of ingest also by `Pipeline, Stream`.

use super::emf::{Metric, Unit};

/// Source records appended to a log, dead ones included; KPL user records one by one.
pub const RECORDS: Metric = Metric::new("Records", Unit::Count);
/// Records set aside by ingest because they cannot be read or have no usable event time: they
/// become dead letters.
pub const RECORDS_REJECTED: Metric = Metric::new("RecordsRejected", Unit::Count);
/// Records that came again and were in the log already.
pub const DUPLICATES_SKIPPED: Metric = Metric::new("DuplicatesSkipped", Unit::Count);
/// Segments written: one write to the state table each.
pub const SEGMENTS: Metric = Metric::new("Segments", Unit::Count);
/// Bytes of these: a write unit per KiB.
pub const SEGMENT_BYTES: Metric = Metric::new("SegmentBytes", Unit::Bytes);
/// Time from a shard's records to their being in the log, decoding and combining included.
pub const APPEND_LATENCY: Metric = Metric::new("AppendLatency", Unit::Milliseconds);
/// Appends that found their key taken. Above one in ten segments two invocations read one shard.
pub const KEY_CONFLICTS: Metric = Metric::new("KeyConflicts", Unit::Count);
/// Batches that were not wholly appended and come again.
pub const BATCHES_FAILED: Metric = Metric::new("BatchesFailed", Unit::Count);
/// Those of them that go on failing until a person acts.
pub const BATCHES_STUCK: Metric = Metric::new("BatchesStuck", Unit::Count);

/// Ticks that ended well. None at all for minutes: advance does not run.
pub const TICKS: Metric = Metric::new("Ticks", Unit::Count);
/// Ticks that failed; nothing is lost by one.
pub const TICKS_FAILED: Metric = Metric::new("TicksFailed", Unit::Count);
/// Ticks whose work was thrown away because another process had advanced.
pub const TICKS_LOST: Metric = Metric::new("TicksLost", Unit::Count);
/// Source records merged.
pub const RECORDS_MERGED: Metric = Metric::new("RecordsMerged", Unit::Count);
/// Result rows emitted.
pub const EMITTED: Metric = Metric::new("Emitted", Unit::Count);
/// Dead letters emitted, late ones included; rows of `RowsRejected` are not among them.
pub const DEAD_LETTERS: Metric = Metric::new("DeadLetters", Unit::Count);
/// (row, window) pairs that were late.
pub const LATE: Metric = Metric::new("Late", Unit::Count);
/// Result rows that their sinks can never take: they become dead letters.
pub const ROWS_REJECTED: Metric = Metric::new("RowsRejected", Unit::Count);
/// How far the watermark is behind the newest event.
pub const WATERMARK_LAG: Metric = Metric::new("WatermarkLag", Unit::Milliseconds);
/// Windows that are open, over all queries; sessions too.
pub const OPEN_WINDOWS: Metric = Metric::new("OpenWindows", Unit::Count);
/// Bytes of segments that waited for a tick, at most about what one tick takes, which follows from the
/// memory.
pub const UNMERGED_BYTES: Metric = Metric::new("UnmergedBytes", Unit::Bytes);
/// 1 when the invocation ended before everything that waited was merged and closed, else 0.
pub const BEHIND: Metric = Metric::new("Behind", Unit::Count);
/// Age of the newest checkpoint when the invocation ended. It grows while nothing arrives, because
/// then nothing is written.
pub const CHECKPOINT_AGE: Metric = Metric::new("CheckpointAge", Unit::Milliseconds);

/// All of them, those of ingest first.
pub const ALL: &[Metric] = &[
    RECORDS,
    RECORDS_REJECTED,
    DUPLICATES_SKIPPED,
    SEGMENTS,
    SEGMENT_BYTES,
    APPEND_LATENCY,
    KEY_CONFLICTS,
    BATCHES_FAILED,
    BATCHES_STUCK,
    TICKS,
    TICKS_FAILED,
    TICKS_LOST,
    RECORDS_MERGED,
    EMITTED,
    DEAD_LETTERS,
    LATE,
    ROWS_REJECTED,
    WATERMARK_LAG,
    OPEN_WINDOWS,
    UNMERGED_BYTES,
    BEHIND,
    CHECKPOINT_AGE,
];
