//! Advance: tick after tick until shortly before the next schedule, or before the invocation's time
//! is up; or until nothing can happen before new records come, so that a pipeline without events
//! costs one short invocation a schedule.
//!
//! ```text
//! schedule ──▶ tick · tick tick tick · tick · … ──┤ schedule ──▶ …
//!                  │   └ behind: no pause          └ one second before the next one is due
//!                  └ pause, so that ticks begin every `[advance] tick`
//! ```
//!
//! # Invariants
//! 1. Two invocations at once only cost each other work: who loses a race backs off, longer each
//!    time, by a pause that differs from the other's.
//! 2. What may pass is tried again within the invocation; if it has not passed at its end, the
//!    invocation fails. What does not pass fails it at once.
//! 3. A tick that is cut off by the invocation's end is as good as one that failed: the next
//!    invocation begins at the chain.
//! 4. Shards that the sources list are registered before each tick (the sources list themselves
//!    once a minute), whether or not they have records. Before that was done once, a process does
//!    not tick: time would not wait for a shard whose first records are still to come. Later
//!    failures do not stop ticks: children of known shards are waited for anyway. What only a
//!    person can mend does not stop ticks either, and fails the invocation at its end.
//!
//! Not here: what a tick does (`flow::advance`).

mod pace;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use tidemill_flow::advance::{Advance, AdvanceError, Ticked};
use tidemill_flow::append::Clock;
use tidemill_model::WallMs;
use tokio::time::{Instant, sleep, timeout_at};

use crate::clock::machine_now;
use crate::failure::Failure;
use crate::logs::{self, Logs};
use crate::telemetry::Metrics;
use crate::telemetry::metrics as m;

pub use self::pace::Ends;
use self::pace::Pace;
pub use self::summary::Summary;

/// Why ticks stopped.
#[derive(Debug, thiserror::Error)]
enum TickError {
    #[error(transparent)]
    Advance(#[from] AdvanceError),
    #[error(
        "a tick did not end before the invocation's time was up. Nothing is lost; but when this \
         goes on, results stop: give the function more memory or a longer timeout"
    )]
    CutOff,
    #[error(
        "not all shards of the sources are registered yet, and time has to wait for each of them: \
         {0}"
    )]
    Unregistered(String),
}

impl TickError {
    fn is_transient(&self) -> bool {
        match self {
            TickError::Advance(error) => error.is_transient(),
            TickError::CutOff => false,
            TickError::Unregistered(_) => true,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            TickError::Advance(AdvanceError::Sink(_)) => "Advance.SinkDown",
            TickError::Advance(error) if error.is_transient() => "Advance.Retry",
            TickError::Advance(_) => "Advance.Stuck",
            TickError::CutOff => "Advance.Deadline",
            TickError::Unregistered(_) => "Register.Retry",
        }
    }
}

/// The advance function.
pub struct Ticker {
    advance: Advance,
    logs: Logs,
    /// Whether everything that the sources listed was registered once since this process began.
    registered: bool,
    tick: Duration,
    clock: Arc<Clock>,
    metrics: Metrics,
    /// When the newest checkpoint was made that this process has seen.
    checkpoint_at: Option<WallMs>,
}

impl Ticker {
    /// One that ticks every `tick`.
    pub fn new(
        advance: Advance,
        logs: Logs,
        tick: Duration,
        clock: Arc<Clock>,
        metrics: Metrics,
    ) -> Ticker {
        let (registered, checkpoint_at) = (false, None);
        Ticker { advance, logs, registered, tick, clock, metrics, checkpoint_at }
    }

    /// Ticks until `ends`, at least once, and says what the ticks did.
    pub async fn run(&mut self, request_id: &str, ends: Ends) -> Result<Summary, Failure> {
        let started = Instant::now();
        let mut summary = Summary::default();
        let mut pace = Pace::new(request_id, self.tick);
        let result = self.ticks(request_id, started, ends, &mut pace, &mut summary).await;
        self.tell(request_id, &summary);
        match result {
            Err(error) => Err(Failure { code: error.code(), message: error.to_string() }),
            Ok(Some(unregistered)) => Err(unregistered),
            Ok(None) => Ok(summary),
        }
    }

    async fn ticks(
        &mut self,
        request_id: &str,
        started: Instant,
        ends: Ends,
        pace: &mut Pace,
        summary: &mut Summary,
    ) -> Result<Option<Failure>, TickError> {
        let mut unregistered = None;
        let hard = ends.hard.map(|left| started + left);
        loop {
            let registered = self.register_until(request_id, hard).await;
            let began = Instant::now();
            let nonce = format!("{request_id}-{}", summary.ticks + summary.failed + summary.lost);
            let result = match registered {
                Ok(stuck) => {
                    unregistered = stuck.or(unregistered);
                    self.tick(&nonce, hard).await
                }
                Err(error) => Err(error),
            };
            let took = began.elapsed();
            let pause = match &result {
                Ok(ticked) => {
                    self.checkpoint_at = ticked.checkpoint_at.or(self.checkpoint_at);
                    summary.add(ticked);
                    if let Some(epoch) = ticked.epoch {
                        tracing::debug!(request_id, %epoch, records = ticked.records, "ticked");
                    }
                    pace.after(ticked, took)
                }
                Err(error) => {
                    summary.failed += 1;
                    let error_type = error.code();
                    tracing::error!(
                        request_id,
                        error_type,
                        transient = error.is_transient(),
                        "{error}"
                    );
                    pace.after_failure()
                }
            };
            // The next tick may take as long as this one did.
            let next_ends = started.elapsed() + pause + took;
            let over = started.elapsed() + pause >= ends.soft
                || ends.hard.is_some_and(|hard| next_ends >= hard);
            let over = over || result.as_ref().is_ok_and(Ticked::is_quiet);
            match result {
                Err(error) if over || !error.is_transient() => return Err(error),
                Ok(_) if over => return Ok(unregistered),
                _ => sleep(pause).await,
            }
        }
    }

    async fn tick(&mut self, nonce: &str, hard: Option<Instant>) -> Result<Ticked, TickError> {
        let tick = self.advance.tick((self.clock)(), nonce);
        match hard {
            Some(hard) => Ok(timeout_at(hard, tick).await.map_err(|_| TickError::CutOff)??),
            None => Ok(tick.await?),
        }
    }

    /// Registers, and is cut off with the invocation's time as a tick is: a store that hangs must
    /// not make Lambda end the process without a word.
    async fn register_until(
        &mut self,
        request_id: &str,
        hard: Option<Instant>,
    ) -> Result<Option<Failure>, TickError> {
        let registering = self.register(request_id);
        match hard {
            Some(hard) => timeout_at(hard, registering).await.map_err(|_| TickError::CutOff)?,
            None => registering.await,
        }
    }

    /// Registers every shard that the sources list. Answers what only a person can mend. What
    /// passes is an error as long as not everything was registered once.
    async fn register(&mut self, request_id: &str) -> Result<Option<Failure>, TickError> {
        let (mut stuck, mut passing) = (None, None);
        for error in self.logs.register((self.clock)()).await {
            let error_type = logs::code(&error);
            tracing::error!(request_id, error_type, "{error}");
            if !error.is_transient() {
                stuck = Some(Failure { code: error_type, message: error.to_string() });
            } else {
                passing = Some(error.to_string());
            }
        }
        match passing {
            Some(error) if !self.registered => Err(TickError::Unregistered(error)),
            Some(_) => Ok(stuck),
            None => {
                self.registered = true;
                Ok(stuck)
            }
        }
    }

    /// One line for the invocation, and a metrics document.
    fn tell(&self, request_id: &str, summary: &Summary) {
        let told = serde_json::to_string(summary).unwrap_or_default();
        tracing::info!(request_id, summary = told, "advanced");
        let mut measured = vec![
            m::TICKS.is(summary.ticks),
            m::TICKS_FAILED.is(summary.failed),
            m::TICKS_LOST.is(summary.lost),
            m::RECORDS_MERGED.is(summary.records),
            m::EMITTED.is(summary.results),
            m::DEAD_LETTERS.is(summary.dead_letters),
            m::LATE.is(summary.late),
            m::ROWS_REJECTED.is(summary.rows_rejected),
            m::UNMERGED_BYTES.is(summary.unmerged_bytes),
        ];
        if summary.ticks > 0 {
            measured.push(m::OPEN_WINDOWS.is(summary.open_windows));
            measured.push(m::BEHIND.is(u64::from(summary.behind)));
        }
        if let Some(lag_ms) = summary.lag_ms {
            measured.push(m::WATERMARK_LAG.is_about(lag_ms as f64));
        }
        if let Some(at) = self.checkpoint_at {
            let age_ms = (self.clock)().since(at).max(0);
            measured.push(m::CHECKPOINT_AGE.is_about(age_ms as f64));
        }
        self.metrics.publish(machine_now(), None, &measured);
    }
}

#[cfg(test)]
mod tests;
