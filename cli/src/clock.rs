//! The one place of this program that reads clocks.
#![allow(clippy::disallowed_methods, reason = "this is the port that reads the clock")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidemill_model::WallMs;

/// The wall clock.
pub(crate) fn now() -> WallMs {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => WallMs(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
        Err(before) => {
            WallMs(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms))
        }
    }
}

/// Measures time, unmoved by whoever sets the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// One that starts now.
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Time since it was started.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
