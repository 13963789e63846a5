//! The advance loop: tick after tick until the inputs have ended, or the run is stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use miette::Report;
use tidemill_flow::advance::{Advance, AdvanceError, Settings, Ticked};
use tidemill_pipeline::Pipeline;

use super::ingest::Shared;
use crate::clock;
use crate::problem::Problem;

/// Segment bytes that one tick merges. Far less than a tick may: what a kill costs is at most one
/// tick's work, and results come in a steady flow.
pub(crate) const TICK_BYTES: usize = 2 * 1024 * 1024;
/// Pause after a tick that left nothing to do at once.
const TICK_EVERY: Duration = Duration::from_millis(200);
/// Ticks in a row that may fail for a transient reason.
const FAILURES_MAX: u32 = 5;

/// The bounds of a tick of `run`.
pub(crate) fn settings(pipeline: &Pipeline) -> Settings {
    Settings { tick_bytes_max: TICK_BYTES, ..Settings::of(pipeline) }
}

/// Ticks until there is nothing more to do. When the run is stopped, ingest first ends
/// (`ingest_ended`), then everything that it appended is merged and emitted.
///
/// Answers what the last tick said.
pub(crate) async fn advance(
    advance: &mut Advance,
    shared: &Shared,
    ingest_ended: &AtomicBool,
    nonces: &mut Nonces,
) -> Result<Ticked, Report> {
    loop {
        // Read before the tick, so that the tick sees everything that was appended till then.
        let last = shared.stop.is_set() && ingest_ended.load(Ordering::SeqCst);
        let ticked = tick(advance, shared, nonces).await?;
        if ticked.finished || (last && !ticked.behind) {
            return Ok(ticked);
        }
        if !ticked.behind {
            tokio::time::sleep(TICK_EVERY).await;
        }
    }
}

/// One tick, tried again while the reason may pass.
pub(crate) async fn tick(
    advance: &mut Advance,
    shared: &Shared,
    nonces: &mut Nonces,
) -> Result<Ticked, Report> {
    let mut failures = 0;
    loop {
        let error = match advance.tick(clock::now(), &nonces.next()).await {
            Ok(ticked) => {
                shared.backlog.merged(ticked.bytes);
                shared.counters.watermark_is(ticked.watermark);
                let open_bytes = ticked.open.iter().map(|open| open.bytes).sum();
                shared.counters.open_bytes.fetch_max(open_bytes, Ordering::SeqCst);
                return Ok(ticked);
            }
            Err(error) => error,
        };
        failures += 1;
        // A local sink that fails needs a person: a full disk, a folder that is somebody else's.
        let may_pass = error.is_transient() && !matches!(error, AdvanceError::Sink(_));
        if !may_pass || failures == FAILURES_MAX {
            return Err(explain(error).into());
        }
        tokio::time::sleep(TICK_EVERY * failures).await;
    }
}

fn explain(error: AdvanceError) -> Problem {
    match &error {
        AdvanceError::Sink(_) => Problem::of_output(error),
        AdvanceError::Store(error) => Problem::of_store(error),
        _ => Problem::plain(error),
    }
}

/// Nonces for snapshots, each used once.
pub(crate) struct Nonces {
    run: String,
    count: u64,
}

impl Nonces {
    /// Those of the run of this id, which no other run has.
    pub(crate) fn new(run: String) -> Nonces {
        Nonces { run, count: 0 }
    }

    fn next(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.run, self.count)
    }
}
