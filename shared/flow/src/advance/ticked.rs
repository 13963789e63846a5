//! What a tick did: for progress bars, metrics and logs.

use tidemill_model::{Checkpoint, Epoch, EventMs, LogId, Totals, WallMs};

use super::next::Draft;
use crate::ports::OpenWindows;
use crate::time::Standing;

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
    /// Bytes of the segments that waited for this tick, as far as it reads; also of a tick that
    /// created no epoch. A tick that first closes what is due reads none.
    pub unmerged_bytes: u64,
    /// Source records merged, dead ones included.
    pub records: u64,
    /// Windows closed.
    pub windows: u64,
    /// Result rows emitted.
    pub results: u64,
    /// (row, window) pairs found late.
    pub late: u64,
    /// Dead letters emitted, late ones included, `rejected` ones not.
    pub dead_letters: u64,
    /// Result rows that became dead letters because their sinks can never take them; those of the
    /// `recovered` epoch included. They are among `results` too.
    pub rejected: u64,
    /// When the newest checkpoint was made; `None`: there is none.
    pub checkpoint_at: Option<WallMs>,
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

impl Ticked {
    /// Whether nothing can happen before a source has new records: this tick found nothing to do,
    /// no window is open, and every known log is idle or has ended.
    pub fn is_quiet(&self) -> bool {
        let did_nothing = self.epoch.is_none() && self.recovered.is_none() && !self.lost;
        let waits_for_nothing = !self.behind && self.logs_idle == self.logs;
        did_nothing && waits_for_nothing && self.open.iter().all(|open| open.windows == 0)
    }

    /// What is true of a draft whether or not it is committed. `last_close` is of the open state
    /// after it.
    pub(super) fn describe(&mut self, draft: &Draft, last_close: Option<EventMs>) {
        let times = || draft.decision.logs.values();
        self.unmerged_bytes = draft.merged.bytes;
        self.behind = draft.behind();
        self.finished = draft.decision.all_ended() && !self.behind && last_close.is_none();
        self.held_by = draft.decision.held_by.clone();
        self.logs = times().count() as u64;
        self.logs_idle = times().filter(|log| log.standing != Standing::Active).count() as u64;
        let newest = times().filter_map(|log| log.clock).max();
        self.lag_ms = newest
            .zip(draft.watermark)
            .map(|(newest, watermark)| newest.0.saturating_sub(watermark.0).max(0));
    }

    /// What a committed draft did.
    pub(super) fn count(&mut self, draft: &Draft) {
        self.epoch = Some(draft.epoch);
        self.snapshot = draft.snapshot.is_some();
        self.segments = draft.outcome.segments;
        self.bytes = draft.merged.bytes;
        self.records = draft.merged.records;
        self.windows = draft.outcome.windows();
        self.results = draft.outcome.results();
        self.late = draft.outcome.late;
        self.dead_letters = draft.outcome.dead_letters();
    }

    /// Where the chain stands.
    pub(super) fn stand(&mut self, newest: Option<&Checkpoint>) {
        self.checkpoint_at = newest.map(|newest| newest.at);
        self.watermark = newest.and_then(|newest| newest.watermark);
        self.totals = newest.map_or(Totals::default(), |newest| newest.totals);
    }
}
