//! What a tick did: for progress bars, metrics and logs.

use tidemill_model::{Epoch, EventMs, LogId, Totals};

use crate::ports::OpenWindows;

/// What one tick did, and where the pipeline stands after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticked {
    /// The epoch that this tick created; `None`: there was nothing to tell, or `lost`.
    pub epoch: Option<Epoch>,
    /// The epoch of an earlier tick whose results this tick emitted, perhaps again.
    pub recovered: Option<Epoch>,
    /// Another process created the epoch; this tick's work was thrown away.
    pub lost: bool,
    /// Whether the epoch began with a snapshot.
    pub snapshot: bool,
    /// Whether another tick has something to do at once: segments that this one did not read, or
    /// windows that it did not close because their results were too many.
    pub behind: bool,
    /// Whether all input has ended, is merged, and no window is open: there is nothing more to do.
    pub finished: bool,
    /// Segments merged.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Source records merged, dead ones included.
    pub records: u64,
    /// Windows closed.
    pub windows: u64,
    /// Result rows emitted.
    pub results: u64,
    /// (row, window) pairs found late.
    pub late: u64,
    /// Dead letters emitted, late ones included.
    pub dead_letters: u64,
    /// Watermark of the newest checkpoint.
    pub watermark: Option<EventMs>,
    /// The log that holds the watermark back; `None` when none does.
    pub held_by: Option<LogId>,
    /// How far the watermark is behind the newest event, milliseconds.
    pub lag_ms: Option<i64>,
    /// Known logs.
    pub logs: u64,
    /// Those of them that are idle or have ended.
    pub logs_idle: u64,
    /// What is open, by query.
    pub open: Vec<OpenWindows>,
    /// Counts since the pipeline began.
    pub totals: Totals,
}
