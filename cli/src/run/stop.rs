//! When a run ends before its inputs do: Ctrl-C, SIGTERM, or the first thing that fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use miette::Report;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Exit code of a run that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Shared by all threads of a run.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    signalled: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<Report>>>,
}

impl Stop {
    /// One that the first Ctrl-C or SIGTERM sets; the second ends the process at once. Both are
    /// safe at any moment: what is in the log stays, the rest is read again.
    pub(crate) fn on_signals() -> std::io::Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM] {
            let (code, second) = (i32::from(INTERRUPTED), Arc::clone(&stop.signalled));
            signal_hook::flag::register_conditional_shutdown(signal, code, second)?;
        }
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop.signalled))?;
        }
        Ok(stop)
    }

    /// Whether the run is to end.
    pub(crate) fn is_set(&self) -> bool {
        self.was_signalled() || self.failed.load(Ordering::SeqCst)
    }

    /// Whether a signal said so.
    pub(crate) fn was_signalled(&self) -> bool {
        self.signalled.load(Ordering::SeqCst)
    }

    /// Ends the run because of `report`; the first one is shown.
    pub(crate) fn fail(&self, report: Report) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(report);
        self.failed.store(true, Ordering::SeqCst);
    }

    /// What failed first.
    pub(crate) fn take_failure(&self) -> Option<Report> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_the_one_that_is_shown() {
        let stop = Stop::default();
        assert!(!stop.is_set());
        stop.fail(miette::miette!("first"));
        stop.fail(miette::miette!("second"));
        assert!(stop.is_set() && !stop.was_signalled());
        assert_eq!(stop.take_failure().unwrap().to_string(), "first");
    }
}
