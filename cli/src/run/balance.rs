//! Which input may read next when there are several: the one that is behind in event time.
//!
//! A stream that ran hours ahead of another would only fill the open windows, because the
//! watermark waits for the slowest. So a reader waits while its stream's clock is ahead of
//! another stream's that is still making progress. The slowest never waits, so reading never
//! stops; an input that gives nothing for [`PATIENCE`] (a silent stdin) is not waited for.
//!
//! It decides only when blocks are read, never what they mean.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemill_model::EventMs;

use crate::clock::Stopwatch;

/// How long an input that gives nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a waiting reader looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The inputs' clocks. Inputs are numbered as on the command line.
pub(crate) struct Balance {
    inputs: Mutex<Vec<Input>>,
    changed: Condvar,
}

struct Input {
    /// Largest event time that was decoded.
    clock: Option<EventMs>,
    ended: bool,
    progress: Stopwatch,
}

impl Balance {
    /// For so many inputs.
    pub(crate) fn new(inputs: usize) -> Balance {
        let input = || Input { clock: None, ended: false, progress: Stopwatch::start() };
        Balance {
            inputs: Mutex::new((0..inputs).map(|_| input()).collect()),
            changed: Condvar::new(),
        }
    }

    /// Waits until `input` may read its next block, or `stop` says that nobody should wait.
    pub(crate) fn wait_for_turn(&self, input: usize, stop: impl Fn() -> bool) {
        let mut inputs = self.lock();
        while !stop() && !may_read(&inputs, input) {
            inputs = self
                .changed
                .wait_timeout(inputs, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Notes that `input` gave a block; with `clock` once it is decoded.
    pub(crate) fn progress(&self, input: usize, clock: Option<EventMs>) {
        let mut inputs = self.lock();
        inputs[input].clock = inputs[input].clock.max(clock);
        inputs[input].progress = Stopwatch::start();
        self.changed.notify_all();
    }

    /// Notes that `input` gives no more blocks.
    pub(crate) fn ended(&self, input: usize) {
        self.lock()[input].ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Input>> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_read(inputs: &[Input], input: usize) -> bool {
    let clock = inputs[input].clock;
    inputs
        .iter()
        .filter(|other| !other.ended && other.progress.elapsed() < PATIENCE)
        .all(|other| clock <= other.clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(balance: &Balance, input: usize) -> bool {
        may_read(&balance.lock(), input)
    }

    #[test]
    fn the_input_that_is_behind_reads_and_the_other_waits() {
        let balance = Balance::new(2);
        assert!(may(&balance, 0) && may(&balance, 1));
        balance.progress(0, Some(EventMs(1_000)));
        assert!(!may(&balance, 0) && may(&balance, 1));
        balance.progress(1, Some(EventMs(2_000)));
        assert!(may(&balance, 0) && !may(&balance, 1));
    }

    #[test]
    fn an_input_that_ended_is_not_waited_for() {
        let balance = Balance::new(2);
        balance.progress(0, Some(EventMs(1_000)));
        balance.ended(1);
        assert!(may(&balance, 0));
    }

    #[test]
    fn waiting_ends_when_the_run_stops() {
        let balance = Balance::new(2);
        balance.progress(0, Some(EventMs(1_000)));
        balance.wait_for_turn(0, || true);
    }
}
