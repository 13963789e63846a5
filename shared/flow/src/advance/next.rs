//! The next checkpoint of the chain, from what a tick did.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_model::{
    Checkpoint, Epoch, EventMs, Fingerprint, LogId, LogProgress, QueryProgress, SnapshotRef,
    Totals, WallMs,
};

use super::epoch::Outcome;
use super::known::Known;
use super::logs::Read;
use crate::emit;
use crate::time::{Decision, Standing};

/// What a tick merged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Merged {
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// `appended_at` of the oldest segment.
    pub(super) oldest: Option<WallMs>,
}

impl Merged {
    pub(super) fn add(&mut self, read: &Read) {
        let appended = read.segment.appended_at;
        self.bytes += read.bytes;
        self.records += read.segment.records;
        self.oldest = Some(self.oldest.map_or(appended, |oldest| oldest.min(appended)));
    }
}

/// What a tick did, before it is committed.
pub(super) struct Draft {
    pub(super) epoch: Epoch,
    pub(super) at: WallMs,
    pub(super) snapshot: Option<SnapshotRef>,
    pub(super) merged: Merged,
    pub(super) logs: BTreeMap<LogId, Known>,
    /// The logs that have, or may have, more than was merged.
    pub(super) unread: BTreeSet<LogId>,
    pub(super) decision: Decision,
    /// The decided watermark, or a lower one because its results were too many.
    pub(super) watermark: Option<EventMs>,
    pub(super) outcome: Outcome,
}

impl Draft {
    /// Whether a checkpoint must tell of it.
    pub(super) fn is_something(&self) -> bool {
        self.snapshot.is_some() || self.outcome.is_something()
    }

    /// Whether another tick has something to do at once.
    pub(super) fn behind(&self) -> bool {
        !self.unread.is_empty() || self.watermark < self.decision.watermark
    }

    /// The checkpoint that follows `previous`.
    pub(super) fn checkpoint(
        &self,
        previous: Option<&Checkpoint>,
        queries: Vec<(String, Fingerprint)>,
    ) -> Checkpoint {
        let since = previous.filter(|_| self.snapshot.is_none());
        let log_bytes = since.map_or(0, |previous| previous.log_bytes);
        let oldest = since.and_then(|previous| previous.oldest_since_snapshot);
        let totals = previous.map_or(Totals::default(), |previous| previous.totals);
        Checkpoint {
            epoch: self.epoch,
            at: self.at,
            watermark: self.watermark,
            logs: self.progress(),
            queries: queries
                .into_iter()
                .map(|(name, fingerprint)| {
                    let (windows, results) = self.outcome.of_query(&name);
                    (name, QueryProgress { fingerprint, results, windows })
                })
                .collect(),
            snapshot: self
                .snapshot
                .clone()
                .or_else(|| previous.and_then(|previous| previous.snapshot.clone())),
            log_bytes: log_bytes + self.merged.bytes,
            oldest_since_snapshot: [oldest, self.merged.oldest].into_iter().flatten().min(),
            emits: !emit::is_empty(&self.outcome.emission),
            totals: Totals {
                records: totals.records + self.merged.records,
                dead_letters: totals.dead_letters + self.outcome.dead_letters(),
                late: totals.late + self.outcome.late,
                windows: totals.windows + self.outcome.windows(),
                results: totals.results + self.outcome.results(),
            },
        }
    }

    fn progress(&self) -> BTreeMap<LogId, LogProgress> {
        self.logs
            .iter()
            .map(|(log, known)| {
                let mut progress = known.progress.clone();
                if let Some(time) = self.decision.logs.get(log) {
                    progress.clock = time.clock;
                    progress.idle = time.standing != Standing::Active;
                }
                (log.clone(), progress)
            })
            .collect()
    }
}
