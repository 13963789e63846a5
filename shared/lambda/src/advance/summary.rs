//! What an invocation of advance did: its answer to whoever invoked it.

use jiff::Timestamp;
use serde::Serialize;
use tidemill_flow::advance::Ticked;
use tidemill_model::EventMs;

/// What the ticks of one invocation did, and where the pipeline stands after the last of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Ticks that ended well.
    pub ticks: u64,
    /// Ticks that failed and were tried again.
    pub failed: u64,
    /// Ticks whose work another process had done first.
    pub lost: u64,
    /// Epochs created.
    pub epochs: u64,
    /// The newest of them.
    pub newest_epoch: Option<u64>,
    /// Epochs of earlier invocations whose results were emitted, perhaps again.
    pub recovered: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Segments merged.
    pub segments: u64,
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
    /// Result rows that their sinks can never take: dead letters too.
    pub rows_rejected: u64,
    /// The most segment bytes that waited for one tick.
    pub unmerged_bytes: u64,
    /// The watermark, RFC 3339; absent while there is none.
    pub watermark: Option<String>,
    /// How far it is behind the newest event, milliseconds.
    pub lag_ms: Option<i64>,
    /// The log that holds it back.
    pub held_by: Option<String>,
    /// Known logs.
    pub logs: u64,
    /// Those of them that are idle or have ended.
    pub logs_idle: u64,
    /// Open windows and sessions, over all queries.
    pub open_windows: u64,
    /// Whether the last tick left work that could be done at once.
    pub behind: bool,
    /// Whether nothing can happen before new records come; then the invocation ends early.
    pub quiet: bool,
    /// Source records merged since the pipeline began.
    pub total_records: u64,
    /// Result rows since the pipeline began.
    pub total_results: u64,
}

impl Summary {
    /// Adds what a tick did.
    pub(super) fn add(&mut self, ticked: &Ticked) {
        self.recovered += u64::from(ticked.recovered.is_some());
        self.rows_rejected += ticked.rejected;
        self.unmerged_bytes = self.unmerged_bytes.max(ticked.unmerged_bytes);
        self.behind = ticked.behind;
        self.quiet = ticked.is_quiet();
        if ticked.lost {
            // It tells nothing else: the other process's tick does.
            self.lost += 1;
            return;
        }
        self.ticks += 1;
        self.epochs += u64::from(ticked.epoch.is_some());
        self.newest_epoch = ticked.epoch.map(|epoch| epoch.0).or(self.newest_epoch);
        self.snapshots += u64::from(ticked.snapshot);
        self.segments += ticked.segments;
        self.records += ticked.records;
        self.windows += ticked.windows;
        self.results += ticked.results;
        self.late += ticked.late;
        self.dead_letters += ticked.dead_letters;
        self.watermark = ticked.watermark.map(text);
        self.lag_ms = ticked.lag_ms;
        self.held_by = ticked.held_by.as_ref().map(ToString::to_string);
        self.logs = ticked.logs;
        self.logs_idle = ticked.logs_idle;
        self.open_windows = ticked.open.iter().map(|open| open.windows).sum();
        self.total_records = ticked.totals.records;
        self.total_results = ticked.totals.results;
    }
}

/// RFC 3339; milliseconds where no calendar reaches.
fn text(time: EventMs) -> String {
    Timestamp::from_millisecond(time.0)
        .map_or_else(|_| format!("{} ms", time.0), |at| at.to_string())
}
