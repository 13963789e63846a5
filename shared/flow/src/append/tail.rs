//! A log's tail: where its next segment begins, and what a writer must know before writing it.
//!
//! # Invariants
//! 1. The tail is the greatest of the newest segment's `through`, the newest checkpoint's merged
//!    position and the start in the registry, always: a store deletes expired segments in no
//!    promised order, and an expired log is not an empty one.
//! 2. A tail is believed for [`TAIL_CACHE_MS`] after it was read and no longer, however many
//!    segments were appended since: its guards age with it.
//!
//! Pure. Not here: reading the facts (`read.rs`).

use std::collections::VecDeque;

use tidemill_model::limits::TAIL_CACHE_MS;
use tidemill_model::{LogEntry, LogProgress, Position, Segment, WallMs};

use crate::append::error::StuckCause;
use crate::append::seen::Seen;

/// How many of a log's newest segments are remembered, to look skipped records up.
pub(super) const RECENT_SEGMENTS_MAX: usize = 16;

/// What append remembers of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub after: Position,
    pub through: Position,
    pub appended_at: WallMs,
    pub newest_arrival: WallMs,
    pub seen: Seen,
}

impl Head {
    pub(super) fn of(segment: &Segment) -> Head {
        Head {
            after: segment.after,
            through: segment.through,
            appended_at: segment.appended_at,
            newest_arrival: segment.newest_arrival,
            seen: Seen::read(segment.after, &segment.seen),
        }
    }
}

/// What the store says of a log.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub entry: LogEntry,
    /// The newest checkpoint's word; `None`: no checkpoint knows the log.
    pub progress: Option<LogProgress>,
    /// The segment with the greatest key.
    pub newest: Option<Head>,
    /// The first segment at or after [`Facts::merged`].
    pub oldest_unmerged: Option<Head>,
}

impl Facts {
    /// Up to where advance has merged the log.
    pub(super) fn merged(&self) -> Position {
        let merged = self.progress.as_ref().map_or(Position::START, |progress| progress.merged);
        merged.max(self.entry.start)
    }

    /// Whether the first segment that is not merged is there, if there must be one.
    pub(super) fn is_whole(&self) -> bool {
        let merged = self.merged();
        match (&self.newest, &self.oldest_unmerged) {
            (_, Some(oldest)) => oldest.after == merged,
            (Some(newest), None) => newest.after < merged,
            (None, None) => true,
        }
    }
}

/// Where a segment's skipped record may be found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// A segment may hold it, or nobody can tell any more.
    Seen,
    /// The segment that covers it does not hold it.
    Unseen,
    /// Read the segment with this `after` and remember it.
    Read(Position),
}

/// A log's tail.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    /// The next segment's `after`.
    pub position: Position,
    /// When reading it began.
    pub read_at: WallMs,
    /// Newest arrival in the log, as far as anybody remembers.
    pub newest_arrival: Option<WallMs>,
    /// `appended_at` of the oldest segment that advance had not merged.
    pub oldest_unmerged: Option<WallMs>,
    /// The newest segments, end to end, up to `position`.
    recent: VecDeque<Head>,
    /// Whether the segment before the oldest recent one is known to be out of reach.
    is_recent_complete: bool,
}

impl Tail {
    /// The tail that these facts make, read from `read_at` on. `known` is what this process
    /// remembered before.
    pub(super) fn of(
        facts: Facts,
        read_at: WallMs,
        known: Option<Tail>,
    ) -> Result<Tail, StuckCause> {
        let merged = facts.merged();
        let damaged = |reason: String| Err(StuckCause::Damaged { reason });
        let position = facts.newest.as_ref().map_or(merged, |newest| newest.through.max(merged));
        if let Some(newest) = &facts.newest
            && newest.after < merged
            && merged < newest.through
        {
            return damaged(format!(
                "the newest segment overlaps what advance has merged, so an expired segment was \
                 written again. after=`{:?}` through=`{:?}` merged=`{merged:?}`",
                newest.after, newest.through
            ));
        }
        if let Some(oldest) = &facts.oldest_unmerged
            && oldest.after != merged
        {
            return damaged(format!(
                "segments that advance has not merged are missing. merged=`{merged:?}` \
                 next_segment_after=`{:?}`",
                oldest.after
            ));
        }
        let arrivals = [
            facts.newest.as_ref().map(|newest| newest.newest_arrival),
            facts.progress.as_ref().and_then(|progress| progress.newest_arrival),
        ];
        let newest = facts.newest.filter(|newest| newest.through == position);
        let (recent, is_recent_complete) = match (known, newest) {
            (Some(known), Some(newest)) if known.recent.back() == Some(&newest) => {
                (known.recent, known.is_recent_complete)
            }
            (_, Some(newest)) => (VecDeque::from([newest]), false),
            (_, None) => (VecDeque::new(), true),
        };
        Ok(Tail {
            position,
            read_at,
            newest_arrival: arrivals.into_iter().flatten().max(),
            oldest_unmerged: facts.oldest_unmerged.map(|oldest| oldest.appended_at),
            recent,
            is_recent_complete,
        })
    }

    /// Whether the tail may still be believed. A clock that went back is no reason to.
    pub(super) fn is_fresh(&self, now: WallMs) -> bool {
        (0..=TAIL_CACHE_MS).contains(&now.since(self.read_at))
    }

    /// The age of the oldest unmerged segment, when it is above `age_max_ms`.
    pub(super) fn overdue_ms(&self, now: WallMs, age_max_ms: i64) -> Option<i64> {
        let age_ms = now.since(self.oldest_unmerged?);
        (age_ms > age_max_ms).then_some(age_ms)
    }

    /// `after` of the newest segment, when the next one follows it.
    pub(super) fn previous(&self) -> Option<Position> {
        self.recent.back().map(|newest| newest.after)
    }

    /// Moves the tail behind a segment that was created.
    pub(super) fn extend(&mut self, head: Head) {
        self.position = head.through;
        self.newest_arrival = self.newest_arrival.max(Some(head.newest_arrival));
        self.oldest_unmerged.get_or_insert(head.appended_at);
        if self.recent.is_empty() {
            self.is_recent_complete = true;
        }
        self.recent.push_back(head);
        if self.recent.len() > RECENT_SEGMENTS_MAX {
            self.recent.pop_front();
            self.is_recent_complete = true;
        }
    }

    /// Looks up a position at or below the tail.
    pub(super) fn look_up(&self, position: Position) -> Lookup {
        let covers = |head: &&Head| head.after < position && position <= head.through;
        if let Some(head) = self.recent.iter().rev().find(covers) {
            return if head.seen.may_hold(position) { Lookup::Seen } else { Lookup::Unseen };
        }
        match self.recent.front() {
            Some(oldest) if position <= oldest.after && !self.is_recent_complete => {
                oldest.seen.previous.map_or(Lookup::Seen, Lookup::Read)
            }
            _ => Lookup::Seen,
        }
    }

    /// Remembers what was read where [`Lookup::Read`] said; `None`: nothing was there.
    pub(super) fn remember(&mut self, head: Option<Head>) {
        match (head, self.recent.front()) {
            (Some(head), Some(oldest))
                if head.through == oldest.after && self.recent.len() < RECENT_SEGMENTS_MAX =>
            {
                self.recent.push_front(head);
                self.is_recent_complete = self.recent.len() >= RECENT_SEGMENTS_MAX;
            }
            _ => self.is_recent_complete = true,
        }
    }
}

#[cfg(test)]
mod tests;
