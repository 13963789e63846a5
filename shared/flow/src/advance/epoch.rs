//! What one epoch does to the open state: the same calls in a tick and in its replay.
//!
//! # Invariants
//! 1. Segments are merged in (log id, position) order, judged by the previous checkpoint's
//!    watermark.
//! 2. Every epoch settles, also one that merged nothing: that is how the open state learns which
//!    windows the previous checkpoint had closed.
//! 3. An epoch that merged nothing and moved no watermark does not close. So a tick that wrote no
//!    checkpoint left nothing that a replay would miss.

use tidemill_model::{DeadLetter, Epoch, EventMs, LogId, Segment, WallMs};

use crate::emit;
use crate::ports::{Closed, Emission, OpenState, QueryError};

/// An epoch while it is made, or made again.
pub(super) struct Work {
    judge: Option<EventMs>,
    segments: u64,
    dead_letters: Vec<DeadLetter>,
}

impl Work {
    /// Begins an epoch. `judge` is the previous checkpoint's watermark.
    pub(super) fn new(judge: Option<EventMs>) -> Work {
        Work { judge, segments: 0, dead_letters: Vec::new() }
    }

    /// Merges the next segment.
    pub(super) fn merge(
        &mut self,
        open: &mut dyn OpenState,
        log: &LogId,
        mut segment: Segment,
    ) -> Result<(), QueryError> {
        open.merge(log, &segment, self.judge)?;
        self.segments += 1;
        self.dead_letters.append(&mut segment.dead_letters);
        Ok(())
    }

    /// Ends merging.
    pub(super) fn settle(&self, open: &mut dyn OpenState) -> Result<(), QueryError> {
        open.settle(self.judge)
    }

    /// Closes what `watermark` closes.
    pub(super) fn close(
        self,
        open: &mut dyn OpenState,
        epoch: Epoch,
        watermark: Option<EventMs>,
        at: WallMs,
    ) -> Result<Outcome, QueryError> {
        let closed = if self.segments > 0 || watermark > self.judge {
            open.close(watermark, at)?
        } else {
            Closed::default()
        };
        Ok(Outcome::new(epoch, self.segments, self.dead_letters, closed))
    }
}

/// What an epoch did.
pub(super) struct Outcome {
    /// Segments merged.
    pub(super) segments: u64,
    /// Windows and result rows by query, for the queries that closed any.
    queries: Vec<(String, u64, u64)>,
    /// (row, window) pairs that were late.
    pub(super) late: u64,
    /// Whether rows moved inside the open state.
    moved: bool,
    /// What the epoch emits.
    pub(super) emission: Emission,
}

impl Outcome {
    fn new(epoch: Epoch, segments: u64, dead: Vec<DeadLetter>, closed: Closed) -> Outcome {
        let queries = closed
            .results
            .iter()
            .map(|results| {
                (results.query.clone(), results.windows, results.batch.num_rows() as u64)
            })
            .collect();
        let (late, moved) = (closed.late_rows, closed.moved);
        Outcome { segments, queries, late, moved, emission: emit::emission(epoch, dead, closed) }
    }

    /// Windows that a query closed, and its result rows.
    pub(super) fn of_query(&self, name: &str) -> (u64, u64) {
        let found = self.queries.iter().find(|(query, _, _)| query == name);
        found.map_or((0, 0), |(_, windows, results)| (*windows, *results))
    }

    /// Dead letters, late ones included.
    pub(super) fn dead_letters(&self) -> u64 {
        self.emission.letters().count() as u64
    }

    /// Windows closed, over all queries.
    pub(super) fn windows(&self) -> u64 {
        self.queries.iter().map(|(_, windows, _)| windows).sum()
    }

    /// Result rows, over all queries.
    pub(super) fn results(&self) -> u64 {
        self.queries.iter().map(|(_, _, results)| results).sum()
    }

    /// Whether the epoch did anything that a checkpoint must tell of.
    pub(super) fn is_something(&self) -> bool {
        self.segments > 0
            || self.late > 0
            || self.moved
            || self.windows() > 0
            || !emit::is_empty(&self.emission)
    }
}
