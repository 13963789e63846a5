//! Trying again: which failures, for how long, and what is said in the end.
//!
//! # Invariants
//! 1. If any attempt may have written, the call may have written, whatever later attempts said.
//! 2. No attempt begins after the deadline. The deadline is by two clocks, because a clock that
//!    only rises may stand still while a machine sleeps: a process that was frozen between two
//!    attempts for days must not sign a new request for an old decision.
//! 3. Waits are random, so that writers that were throttled together do not come back together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use super::failure::{Failure, Kind};

/// The first wait is this long, or up to twice that.
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// The longest wait is this long, or up to twice that.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// For how long a call is tried.
#[derive(Clone)]
pub(super) struct Patience {
    total: Duration,
    wall: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("total", &self.total).finish_non_exhaustive()
    }
}

impl Patience {
    /// No attempt begins later than `total` after the first.
    pub(super) fn new(total: Duration) -> Patience {
        #[expect(clippy::disallowed_methods, reason = "a port: deadlines of requests")]
        Patience { total, wall: Arc::new(SystemTime::now) }
    }

    #[cfg(test)]
    pub(super) fn with_wall(
        total: Duration,
        wall: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Patience {
        Patience { total, wall: Arc::new(wall) }
    }

    /// Calls `attempt` until it succeeds, fails for good, or time is up.
    pub(super) async fn attempts<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let (begun, begun_wall) = (Instant::now(), (self.wall)());
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .without_max_times()
            .with_jitter()
            .build();
        let mut maybe_written = None;
        let mut number = 0;
        loop {
            number += 1;
            let failure = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let again = match failure.kind {
                Kind::ConditionFailed => return Err(failure),
                Kind::Refused => false,
                Kind::Busy | Kind::Unknown => true,
            };
            let wait = waits.next().unwrap_or(LONGEST_WAIT);
            let mut in_time = begun.elapsed() + wait < self.total;
            if again && in_time {
                tracing::debug!(what = failure.what, "store call is tried again");
                tokio::time::sleep(wait).await;
                let passed = (self.wall)().duration_since(begun_wall).unwrap_or_default();
                in_time = begun.elapsed().max(passed) < self.total;
            }
            if failure.kind == Kind::Unknown {
                maybe_written = Some(failure.clone());
            }
            if !again || !in_time {
                return Err(in_the_end(failure, maybe_written, number));
            }
        }
    }
}

/// What a call says whose last attempt failed.
fn in_the_end(last: Failure, maybe_written: Option<Failure>, attempts: u32) -> Failure {
    let tried = |what: String| match attempts {
        1 => what,
        attempts => format!("{what} ({attempts} attempts)"),
    };
    match maybe_written {
        Some(earlier) if last.kind != Kind::Unknown => Failure {
            kind: Kind::Unknown,
            what: tried(format!("{}; an earlier attempt: {}", last.what, earlier.what)),
            help: last.help,
        },
        _ => Failure { what: tried(last.what), ..last },
    }
}

#[cfg(test)]
mod tests;
