//! What a run says of itself at its end, on stderr.

use std::fmt;
use std::time::Duration;

use indicatif::HumanCount;
use tidemill_model::{EventMs, Totals};

use crate::text;

/// One run's counts.
#[derive(Debug)]
pub(crate) struct Summary {
    /// How it ended.
    pub(crate) ending: Ending,
    /// Counts of the pipeline when the run began.
    pub(crate) before: Totals,
    /// Counts of the pipeline now.
    pub(crate) after: Totals,
    /// Records that were read again and were in the log already.
    pub(crate) duplicates_skipped: u64,
    /// Segments appended by this run.
    pub(crate) segments: u64,
    /// Their bytes.
    pub(crate) segment_bytes: u64,
    /// Bytes that queries kept open after a tick of this run, about, at most.
    pub(crate) open_bytes: u64,
    /// How long the run took.
    pub(crate) time: Duration,
    /// Newest watermark.
    pub(crate) watermark: Option<EventMs>,
    /// Where the results are.
    pub(crate) results_in: Option<String>,
    /// Where the state is; `None` when it is gone.
    pub(crate) state_in: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At the end of its inputs, with every window closed.
    Finished,
    /// By Ctrl-C or SIGTERM.
    Interrupted,
    /// By an error that is shown after this.
    Failed,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match self.ending {
            Ending::Finished => "finished",
            Ending::Interrupted => "interrupted",
            Ending::Failed => "stopped",
        };
        let (before, after) = (&self.before, &self.after);
        let records = after.records.saturating_sub(before.records);
        let rate = records as f64 / self.time.as_secs_f64().max(0.001);
        writeln!(f, "tidemill: {ending} after {}", duration(self.time))?;
        let mut count = |name: &str, before: u64, after: u64| {
            let now = HumanCount(after.saturating_sub(before));
            match before {
                0 => writeln!(f, "  {name:<19}{now}"),
                _ => writeln!(f, "  {name:<19}{now}  ({} with earlier runs)", HumanCount(after)),
            }
        };
        count("records", before.records, after.records)?;
        count("windows", before.windows, after.windows)?;
        count("results", before.results, after.results)?;
        count("late", before.late, after.late)?;
        count("dead letters", before.dead_letters, after.dead_letters)?;
        count("duplicates skipped", 0, self.duplicates_skipped)?;
        writeln!(
            f,
            "  {:<19}{} segments, {} bytes",
            "log",
            HumanCount(self.segments),
            HumanCount(self.segment_bytes)
        )?;
        let open_bytes = HumanCount(self.open_bytes);
        writeln!(f, "  {:<19}at most {open_bytes} bytes", "open state")?;
        writeln!(f, "  {:<19}{} records/s", "rate", HumanCount(rate.round() as u64))?;
        if let Some(watermark) = self.watermark {
            writeln!(f, "  {:<19}{}", "watermark", text::time(watermark.0))?;
        }
        if let Some(results_in) = &self.results_in {
            writeln!(f, "  {:<19}{results_in}", "results in")?;
        }
        if let Some(state_in) = &self.state_in {
            writeln!(f, "  {:<19}{state_in}", "state in")?;
        }
        match (self.ending, &self.state_in) {
            (Ending::Finished, _) | (Ending::Failed, None) => Ok(()),
            (Ending::Interrupted | Ending::Failed, Some(_)) => {
                writeln!(f, "Run the same command again: it goes on from here.")
            }
            (Ending::Interrupted, None) => writeln!(
                f,
                "The state was temporary; with --store FILE or --output DIR a run can go on."
            ),
        }
    }
}

fn duration(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        return format!("{:.1} s", time.as_secs_f64());
    }
    text::duration(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}
