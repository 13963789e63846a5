//! advance: watermark forward, windows closed, one checkpoint created, then its results emitted.
//!
//! ```text
//! tick: load ─ emit what was not ─ read ─ [snapshot] ─ merge ─ time ─ close ─ commit ─ emit ─ mark
//!         ▲                                                                     │
//!         └──────────────── somebody else committed: begin at the chain ────────┘
//! ```
//!
//! # Invariants
//! 1. One chain: epoch e + 1 is created by one put that requires its key to be absent. Who does
//!    not win throws its open state away and reads the chain. Who wins looks once more: only the
//!    newest checkpoint is believed, for the keys of old ones expire and are free again.
//! 2. Epoch e + 1 is not begun before the results of e are emitted and marked. So at most the
//!    newest epoch has to be emitted again, and it can be: the newest snapshot is older.
//! 3. The open state in a warm process is the one that a cold start would reach. Whatever fails,
//!    or is cancelled, between the first change of the open state and the commit costs the warm
//!    state, never correctness.
//! 4. A tick that merged nothing and closed nothing writes nothing. A watermark that moved without
//!    closing anything is not written either: it is decided again by the next tick, and lateness
//!    is judged by written watermarks only.
//! 5. What is missing is missing only if nobody went on meanwhile: segments that others have merged
//!    expire, and so do the checkpoints and snapshots that they replaced.
//! 6. A chain's set of queries is fixed by its first checkpoint; see [`QueryChange`].
//!
//! Not here: what time it is and who is idle ([`crate::time`]), what queries keep open
//! ([`crate::ports::OpenState`]), sinks ([`crate::emit`]).

mod chain;
mod epoch;
mod error;
mod inspect;
mod known;
mod logs;
mod next;
mod replay;
mod snapshot;
mod ticked;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidemill_model::limits::{RESULTS_MAX, SNAPSHOT_AFTER_BYTES_MIN, TICK_BYTES_MAX};
use tidemill_model::store::{Row, Store};
use tidemill_model::{Checkpoint, Emitted, Epoch, EventMs, LogId, WallMs};
use tidemill_pipeline::Pipeline;

use self::chain::{Chain, Winner};
use self::epoch::Work;
use self::known::Known;
use self::logs::Unmerged;
use self::next::{Draft, Merged};
use crate::emit::{Emit, Shared};
use crate::keys::Keys;
use crate::ports::{Emission, OpenState, OpenWindows, QueryError, Source};
use crate::time::{self, StreamTime};

pub use error::{AdvanceError, QueryChange};
pub use inspect::{Inspected, inspect};
pub use ticked::Ticked;

/// What advance must know of its pipeline, and the bounds of one tick.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every stream's settings of time.
    pub streams: BTreeMap<String, StreamTime>,
    /// How long segments live, milliseconds.
    pub segment_ttl_ms: i64,
    /// Result rows that one epoch may emit, unless one window has more.
    pub results_max: usize,
    /// Bytes of segments that one tick merges, about; at least one segment.
    pub tick_bytes_max: usize,
    /// Bytes of log that are worth a snapshot, at least.
    pub snapshot_after_bytes: u64,
}

impl Settings {
    /// The settings of a pipeline, with the bounds of [`tidemill_model::limits`].
    pub fn of(pipeline: &Pipeline) -> Settings {
        let streams = pipeline.streams.iter().map(|(name, stream)| (name.clone(), stream.into()));
        Settings {
            streams: streams.collect(),
            segment_ttl_ms: pipeline.segment_ttl_ms,
            results_max: RESULTS_MAX,
            tick_bytes_max: TICK_BYTES_MAX,
            snapshot_after_bytes: SNAPSHOT_AFTER_BYTES_MIN,
        }
    }
}

/// Advances one pipeline, tick by tick. Several may run at once; they only cost each other work.
pub struct Advance {
    chain: Chain,
    open: Box<dyn OpenState>,
    settings: Settings,
    source: Arc<dyn Source>,
    emit: Emit,
    warm: Option<Warm>,
}

/// What `open` is the state of. Present exactly while that is known.
struct Warm {
    /// The newest checkpoint; `None`: the chain is empty.
    newest: Option<Checkpoint>,
    /// Its results, until they are marked as emitted.
    pending: Option<Emission>,
    /// The logs that have more than was merged, if its watermark was clipped: what is due waits in
    /// the open state, and what is not merged can wait, too.
    clipped: Option<BTreeSet<LogId>>,
}

impl Advance {
    /// An advance of the pipeline of `keys`. Nothing is read before the first tick.
    pub fn new(
        store: Arc<dyn Store>,
        keys: Keys,
        open: Box<dyn OpenState>,
        settings: Settings,
        source: Arc<dyn Source>,
        emit: Emit,
    ) -> Advance {
        Advance { chain: Chain { store, keys }, open, settings, source, emit, warm: None }
    }

    /// Advances once. `now` is the wall clock; `nonce` is one that no other tick of this pipeline
    /// has, in any process.
    ///
    /// After an error tick again when it [is transient](AdvanceError::is_transient). A dropped
    /// future is as good as an error.
    pub async fn tick(&mut self, now: WallMs, nonce: &str) -> Result<Ticked, AdvanceError> {
        let row = self.chain.newest().await?;
        let began_at = row.as_ref().map(|row| row.sk.clone());
        let failed = match self.tick_from(row, now, nonce).await {
            Err(error @ (AdvanceError::Gap { .. } | AdvanceError::Damaged { .. })) => error,
            other => return other,
        };
        if self.chain.newest().await?.map(|row| row.sk) == began_at {
            return Err(failed);
        }
        Ok(Ticked { lost: true, behind: true, ..Ticked::default() })
    }

    /// Advances once from `row`, the newest checkpoint's.
    async fn tick_from(
        &mut self,
        row: Option<Row>,
        now: WallMs,
        nonce: &str,
    ) -> Result<Ticked, AdvanceError> {
        let newest = self.load(row).await?;
        let before = self.emit_newest().await?;
        let recovered = before.epoch;
        let (chain, source) = (&self.chain, &*self.source);
        let logs = known::logs(chain, &self.settings, source, newest.as_ref()).await?;
        // What is due is closed first: else a backlog moves from the log into memory, because
        // segments are merged faster than their results are emitted.
        let unmerged = match self.warm.as_mut().and_then(|warm| warm.clipped.take()) {
            Some(unread) => logs::untouched(chain, &logs, unread).await?,
            None => logs::unmerged(chain, &logs, self.settings.tick_bytes_max).await?,
        };

        // From here on the open state changes: it is nobody's until it is committed.
        let warm = self.warm.take();
        let draft = self.draft(newest.as_ref(), logs, unmerged, now, nonce).await?;
        let mut ticked = Ticked { recovered, rejected: before.rejected, ..Ticked::default() };
        ticked.describe(&draft, self.open.last_close());
        if !draft.is_something() {
            self.warm = warm;
            ticked.stand(newest.as_ref());
            ticked.open = self.open.open_windows();
            return Ok(ticked);
        }

        let checkpoint = draft.checkpoint(newest.as_ref(), self.open.queries());
        let expire_at = now.plus(self.settings.segment_ttl_ms);
        let is_created = self.chain.commit(&checkpoint).await? == Winner::Us;
        if !is_created && let Some(orphan) = &draft.snapshot {
            snapshot::expire_chunks(&self.chain, orphan, expire_at).await;
        }
        if !is_created || !self.chain.is_newest(&checkpoint).await? {
            let (rejected, unmerged_bytes) = (before.rejected, ticked.unmerged_bytes);
            return Ok(Ticked {
                recovered,
                rejected,
                unmerged_bytes,
                lost: true,
                behind: true,
                ..Ticked::default()
            });
        }
        ticked.count(&draft);
        ticked.stand(Some(&checkpoint));
        ticked.open = self.open.open_windows();
        let pending = checkpoint.emits.then_some(draft.outcome.emission);
        let is_clipped = draft.watermark < draft.decision.watermark;
        let clipped = is_clipped.then_some(draft.unread);
        self.warm = Some(Warm { newest: Some(checkpoint), pending, clipped });
        ticked.rejected += self.emit_newest().await?.rejected;

        if let Some(newer) = &draft.snapshot {
            let older = newest.and_then(|newest| newest.snapshot);
            // Housekeeping: what fails here is left lying.
            if let Ok(marker) = self.chain.marker().await {
                let (older, marker) = (older.as_ref(), marker.as_ref());
                snapshot::expire_older(&self.chain, older, newer, marker, expire_at).await;
            }
        }
        Ok(ticked)
    }

    /// What is open after the newest checkpoint. Writes nothing.
    pub async fn open_windows(&mut self) -> Result<Vec<OpenWindows>, AdvanceError> {
        let row = self.chain.newest().await?;
        self.load(row).await?;
        Ok(self.open.open_windows())
    }

    /// Does everything that an epoch does to the open state, and commits nothing.
    async fn draft(
        &mut self,
        newest: Option<&Checkpoint>,
        mut logs: BTreeMap<LogId, Known>,
        unmerged: Unmerged,
        now: WallMs,
        nonce: &str,
    ) -> Result<Draft, AdvanceError> {
        let open = &mut *self.open;
        let epoch = newest.map_or(Epoch::FIRST, |newest| newest.epoch.next());
        let snapshot = match newest {
            Some(newest) if snapshot::is_due(newest, &self.settings, now) => {
                Some(snapshot::write(&self.chain, open, epoch, nonce).await?)
            }
            _ => None,
        };

        let judge = newest.and_then(|newest| newest.watermark);
        let mut work = Work::new(judge);
        let unread = unmerged.unread;
        let merged = merge(&mut work, open, &mut logs, unmerged.logs)?;

        let facts = known::facts(&logs, &unread);
        let answers = known::ask(&*self.source, time::candidates(&facts, now)).await;
        let decision = time::decide(&facts, &answers, now, judge, open.last_close());
        let watermark = clip(open, decision.watermark, judge, self.settings.results_max);
        let outcome = work.close(open, epoch, watermark, now)?;
        Ok(Draft { epoch, at: now, snapshot, merged, logs, unread, decision, watermark, outcome })
    }

    /// Makes sure that `open` is the state after the newest checkpoint, which is that of `row`, and
    /// answers it.
    async fn load(&mut self, row: Option<Row>) -> Result<Option<Checkpoint>, AdvanceError> {
        if let Some(warm) = &self.warm {
            let known = warm.newest.as_ref().map(|newest| Keys::epoch(newest.epoch));
            if known.as_ref() == row.as_ref().map(|row| &row.sk) {
                return Ok(warm.newest.clone());
            }
        }
        self.warm = None;
        // Another process may have emitted since our sinks last did.
        self.emit.forget();
        let Some(row) = row else {
            self.open.clear();
            self.warm = Some(Warm { newest: None, pending: None, clipped: None });
            return Ok(None);
        };
        let newest = self.chain.decode(&row)?;
        let pending = replay::replay(&self.chain, &mut *self.open, &newest).await?;
        self.warm = Some(Warm { newest: Some(newest.clone()), pending, clipped: None });
        Ok(Some(newest))
    }

    /// Emits the newest epoch unless it is marked as emitted, and marks it.
    async fn emit_newest(&mut self) -> Result<EmittedNow, AdvanceError> {
        let Some(warm) = &mut self.warm else { return Ok(EmittedNow::default()) };
        if !self.emit.is_restored() {
            let marker = self.chain.marker().await?;
            let marked = marker.as_ref().map(|marker| marker.epoch);
            self.emit.restore(marker.as_ref()).await?;
            if warm.pending.as_ref().is_some_and(|pending| marked >= Some(pending.epoch)) {
                warm.pending = None;
            }
        }
        let Some(pending) = &warm.pending else { return Ok(EmittedNow::default()) };
        let epoch = pending.epoch;
        let Shared { states: sinks, rejected } = self.emit.emit(pending).await?;
        if self.chain.mark(&Emitted { epoch, sinks }).await? == Winner::Us {
            self.emit.confirm();
        }
        warm.pending = None;
        Ok(EmittedNow { epoch: Some(epoch), rejected })
    }
}

/// What was emitted just now.
#[derive(Default)]
struct EmittedNow {
    /// The epoch; `None`: there was none to emit.
    epoch: Option<Epoch>,
    /// Rows that became dead letters because their sinks cannot take them.
    rejected: u64,
}

/// Merges what was read, in (log id, position) order, and moves the logs' progress.
fn merge(
    work: &mut Work,
    open: &mut dyn OpenState,
    logs: &mut BTreeMap<LogId, Known>,
    reads: BTreeMap<LogId, Vec<logs::Read>>,
) -> Result<Merged, QueryError> {
    let mut merged = Merged::default();
    for (log, reads) in reads {
        let Some(known) = logs.get_mut(&log) else { continue };
        for read in reads {
            merged.add(&read);
            let (progress, segment) = (&mut known.progress, read.segment);
            progress.merged = segment.through;
            progress.clock = progress.clock.max(segment.clock);
            // Nothing is appended before it arrives: a writer whose clock is behind its source's must
            // not make its log look silent.
            progress.newest_append = segment.appended_at.max(segment.newest_arrival);
            progress.newest_arrival = progress.newest_arrival.max(Some(segment.newest_arrival));
            work.merge(open, &log, segment)?;
        }
    }
    work.settle(open)?;
    Ok(merged)
}

/// Lowers a watermark that moved so far that the epoch's results can be emitted.
fn clip(
    open: &dyn OpenState,
    wanted: Option<EventMs>,
    judge: Option<EventMs>,
    results_max: usize,
) -> Option<EventMs> {
    match wanted {
        Some(watermark) if wanted > judge => judge.max(Some(open.clip(watermark, results_max))),
        _ => wanted,
    }
}

#[cfg(test)]
mod tests;
