//! What happens, line by line: to compare two histories, and to read one.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use tidemill_model::WallMs;

use crate::clock::VirtualClock;

/// The lines of one history. Clones write to the same.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    lines: Arc<Mutex<Vec<String>>>,
    clock: VirtualClock,
    began: WallMs,
}

impl Trace {
    pub(crate) fn new(clock: VirtualClock) -> Trace {
        let began = clock.now();
        Trace { lines: Arc::default(), clock, began }
    }

    pub(crate) fn say(&self, who: &str, what: impl Display) {
        let ms = self.clock.now().since(self.began);
        let (hours, minutes, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
        let (seconds, millis) = (rest / 1000, rest % 1000);
        let line = format!("{hours:>3}:{minutes:02}:{seconds:02}.{millis:03} {who:<10} {what}");
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
