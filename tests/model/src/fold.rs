//! The open state: what was merged and not yet emitted. Pure, and small.

use crate::record::{Counts, Set};
use crate::{Guard, Scope};

/// What one epoch emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Results {
    /// Records in the windows that closed.
    pub closed: Counts,
    /// Records that were late.
    pub late: Counts,
}

impl Results {
    /// Whether there is nothing to emit.
    pub fn is_empty(self) -> bool {
        self.closed.is_none() && self.late.is_none()
    }
}

/// The open state after some epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fold {
    /// Records in open windows.
    pub open: Counts,
    /// Records that some epoch has emitted. No process knows them; properties do.
    pub done: Counts,
}

impl Fold {
    /// Merges records. `judge` is the previous checkpoint's watermark.
    pub fn merge(&mut self, scope: &Scope, records: Set, judge: u8, results: &mut Results) {
        for record in records.iter() {
            let is_late = scope.records[record].window_end() <= judge;
            if is_late && scope.has(Guard::LateByPrevious) {
                results.late.add(record, 1);
                self.done.add(record, 1);
            } else {
                self.open.add(record, 1);
            }
        }
    }

    /// Closes every window that ends at or below `watermark`.
    pub fn close(&mut self, scope: &Scope, watermark: u8, results: &mut Results) {
        for record in self.open.set().iter() {
            if scope.records[record].window_end() <= watermark {
                let times = self.open.take(record);
                results.closed.add(record, times);
                self.done.add(record, times);
            }
        }
    }

    /// The least watermark that closes every open window.
    pub fn last_close(&self, scope: &Scope) -> Option<u8> {
        self.open.set().iter().map(|record| scope.records[record].window_end()).max()
    }

    /// How often each record was merged.
    pub fn merged(&self) -> Counts {
        self.open.plus(self.done)
    }
}
