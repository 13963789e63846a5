//! How far ingest may run ahead of advance: a bound on the bytes of appended, unmerged segments.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::advance::TICK_BYTES;

/// Unmerged segment bytes at which ingest waits: enough for advance to find a whole tick's work.
const BYTES_MAX: u64 = 2 * TICK_BYTES as u64;
/// How often a waiter looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The bytes that wait for advance.
#[derive(Default)]
pub(crate) struct Backlog {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    appended: u64,
    merged: u64,
}

impl Backlog {
    /// Waits until there is room, or `stop` says that nobody should wait.
    pub(crate) fn wait_for_room(&self, stop: impl Fn() -> bool) {
        let mut counts = self.lock();
        while !stop() && counts.waiting() >= BYTES_MAX {
            counts = self
                .changed
                .wait_timeout(counts, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Notes segments that were appended.
    pub(crate) fn appended(&self, bytes: u64) {
        self.lock().appended += bytes;
        self.changed.notify_all();
    }

    /// Notes segments that were merged, earlier runs' included.
    pub(crate) fn merged(&self, bytes: u64) {
        self.lock().merged += bytes;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn waiting(&self) -> u64 {
        self.appended.saturating_sub(self.merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ingest_waits_only_while_much_is_unmerged() {
        let backlog = Backlog::default();
        backlog.appended(BYTES_MAX);
        assert!(backlog.lock().waiting() >= BYTES_MAX);
        backlog.wait_for_room(|| true);
        backlog.merged(1);
        backlog.wait_for_room(|| false);
    }
}
