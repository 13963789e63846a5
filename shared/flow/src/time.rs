//! time: clocks, watermark, idleness: pure decisions over facts.
//!
//! ```text
//! facts of every log ─▶ candidates ─▶ ask the sources of these ─▶ decide ─▶ watermark
//! ```
//!
//! - A record's clock is min(event time, arrival), so a device that runs ahead moves nobody's time
//!   (decode computes it). A log's clock is the largest over its records; its watermark is the clock
//!   less `out_of_orderness`. The pipeline's watermark W is the minimum over the logs that hold it
//!   back, and never goes back.
//! - A log holds W back unless it is *idle* (silent for `idle_after`, nothing unread, source
//!   drained) or *ended* (its source will never get another record, nothing unread, source
//!   drained). Silence alone is not idleness: an ingest that fails must not make its backlog late.
//! - A log without a clock holds W where it is, until it appends or is idle.
//! - When all are idle, W moves on at the pace of the wall clock, counted from the newest append
//!   and not from the records' own time, so a paused replay of last year stays in last year; and no
//!   further than the last open window needs.
//! - When all have ended, nothing can be late any more: W is what closes the last window, at once.
//! - Without logs there is no watermark.
//!
//! # A child shard inherits its parents' clock
//! Read a child as the continuation of its parents: its clock is the largest of its own records'
//! and its parents' clocks, at every decision anew. The maximum over several parents is right
//! although the slower one's keys go on in the child, because a parent that is not wholly merged
//! holds W back by itself: it has unread segments, or its source is not drained, so it is neither
//! idle nor ended. Only when a parent holds W no longer does what the child inherits matter, and
//! then the parents' clocks are final. Parents that the registry does not know count for nothing.
//!
//! # Invariants
//! 1. W never goes back.
//! 2. W moves only as far as every log that is neither idle nor ended allows.
//! 3. No clock is read here; the same facts give the same decision.
//!
//! Not here: reading logs and asking sources (`advance`), when a window closes (`merge`).

use std::collections::BTreeMap;

use tidemill_model::{EventMs, LogId, Position, WallMs};
use tidemill_pipeline::Stream;

use crate::ports::Drained;

/// What a stream's settings say about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTime {
    /// How far behind the newest event the watermark stays, milliseconds, ≥ 0.
    pub out_of_orderness_ms: i64,
    /// Silence after which a drained log is idle, milliseconds, > 0.
    pub idle_after_ms: i64,
    /// Whether a silent log is idle although nobody can tell whether its source is drained.
    pub assume_idle: bool,
}

impl From<&Stream> for StreamTime {
    fn from(stream: &Stream) -> StreamTime {
        StreamTime {
            out_of_orderness_ms: stream.out_of_orderness_ms,
            idle_after_ms: stream.idle_after_ms,
            assume_idle: stream.assume_idle,
        }
    }
}

/// What is known of one log once this tick's segments are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFacts {
    /// Its stream's settings.
    pub stream: StreamTime,
    /// `through` of its last merged segment.
    pub position: Position,
    /// Its clock, without what it inherits now.
    pub clock: Option<EventMs>,
    /// When its last merged segment was appended; `None`: it never appended.
    pub appended: Option<WallMs>,
    /// When it was registered.
    pub registered_at: WallMs,
    /// Whether it has, or may have, segments that this tick did not read.
    pub unread: bool,
    /// Whether its source will never get another record.
    pub ended: bool,
    /// The logs that it continues.
    pub parents: Vec<LogId>,
}

/// Whether a log holds the watermark back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Active,
    /// It does not, as long as it stays silent.
    Idle,
    /// It never will again.
    Ended,
}

/// What is decided of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTime {
    /// Its clock, with what it inherits.
    pub clock: Option<EventMs>,
    /// Whether it holds the watermark back.
    pub standing: Standing,
}

/// A decision about time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The pipeline's watermark; never below the previous one.
    pub watermark: Option<EventMs>,
    /// The active log that the watermark waits for: one without a clock, else the slowest. `None`
    /// when no log is active.
    pub held_by: Option<LogId>,
    /// Every log.
    pub logs: BTreeMap<LogId, LogTime>,
}

impl Decision {
    /// Whether there are logs and all of them have ended.
    pub fn all_ended(&self) -> bool {
        !self.logs.is_empty() && self.logs.values().all(|log| log.standing == Standing::Ended)
    }
}

/// The logs whose sources must be asked whether they are drained, each with the position to ask
/// for. All others hold the watermark whatever their sources say.
pub fn candidates(facts: &BTreeMap<LogId, LogFacts>, now: WallMs) -> Vec<(LogId, Position)> {
    facts
        .iter()
        .filter(|(_, log)| !log.unread && (log.ended || is_silent(log, now)))
        .map(|(id, log)| (id.clone(), log.position))
        .collect()
}

/// Decides the watermark.
///
/// `answers` holds what the sources of [`candidates`] said; a missing answer is
/// [`Drained::Unknown`]. `previous` is the newest checkpoint's watermark, `last_close` the least
/// watermark that closes every window that is open.
pub fn decide(
    facts: &BTreeMap<LogId, LogFacts>,
    answers: &BTreeMap<LogId, Drained>,
    now: WallMs,
    previous: Option<EventMs>,
    last_close: Option<EventMs>,
) -> Decision {
    let clocks = inherited_clocks(facts);
    let logs: BTreeMap<LogId, LogTime> = facts
        .iter()
        .zip(clocks)
        .map(|((id, log), clock)| {
            let drained = answers.get(id).copied().unwrap_or(Drained::Unknown);
            (id.clone(), LogTime { clock, standing: standing(log, drained, now) })
        })
        .collect();

    // `None` sorts first: a log without a clock holds the watermark more than the slowest does.
    let slowest = facts
        .iter()
        .zip(logs.values())
        .filter(|(_, log)| log.standing == Standing::Active)
        .map(|((id, log), time)| (watermark_of(log, time), id))
        .min();
    let reached = match slowest {
        Some((watermark, _)) => watermark,
        None if logs.values().all(|log| log.standing == Standing::Ended) => last_close,
        None => idle_watermark(facts, &logs, now).min(last_close),
    };
    Decision {
        watermark: previous.max(if facts.is_empty() { None } else { reached }),
        held_by: slowest.map(|(_, id)| id.clone()),
        logs,
    }
}

fn watermark_of(facts: &LogFacts, time: &LogTime) -> Option<EventMs> {
    time.clock.map(|clock| clock.minus(facts.stream.out_of_orderness_ms))
}

fn is_silent(log: &LogFacts, now: WallMs) -> bool {
    now.since(log.appended.unwrap_or(log.registered_at)) >= log.stream.idle_after_ms
}

fn standing(log: &LogFacts, drained: Drained, now: WallMs) -> Standing {
    if log.unread {
        return Standing::Active;
    }
    match drained {
        Drained::Yes if log.ended => Standing::Ended,
        Drained::Yes if is_silent(log, now) => Standing::Idle,
        Drained::Unknown if log.stream.assume_idle && is_silent(log, now) => Standing::Idle,
        _ => Standing::Active,
    }
}

/// Where the watermark is while no log holds it: the newest log's watermark, moved on by the time
/// since the newest append. Silence of a pipeline that never appended tells nothing.
fn idle_watermark(
    facts: &BTreeMap<LogId, LogFacts>,
    logs: &BTreeMap<LogId, LogTime>,
    now: WallMs,
) -> Option<EventMs> {
    let newest = facts
        .values()
        .zip(logs.values())
        .filter_map(|(log, time)| watermark_of(log, time))
        .max()?;
    let appended = facts.values().filter_map(|log| log.appended).max()?;
    Some(newest.plus(now.since(appended).max(0)))
}

/// Each log's clock with what it inherits, in the order of `facts`. Clocks only rise until nothing
/// changes, so even a registry whose parents form a circle comes to an end.
fn inherited_clocks(facts: &BTreeMap<LogId, LogFacts>) -> Vec<Option<EventMs>> {
    let mut clocks: BTreeMap<&LogId, Option<EventMs>> =
        facts.iter().map(|(id, log)| (id, log.clock)).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for (id, log) in facts.iter().filter(|(_, log)| !log.parents.is_empty()) {
            let inherited = log.parents.iter().filter_map(|id| *clocks.get(id)?).max();
            if let Some(clock) = clocks.get_mut(id)
                && *clock < inherited
            {
                *clock = inherited;
                changed = true;
            }
        }
    }
    clocks.into_values().collect()
}

#[cfg(test)]
mod tests;
