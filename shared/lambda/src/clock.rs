//! The one place of the functions that reads clocks.
//!
//! Two kinds of time: what the pipeline takes for the wall clock, which tests may move (feature
//! `virtual-time`), and the time of this machine, by which invocations end.
#![allow(clippy::disallowed_methods, reason = "this is the port that reads the clock")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidemill_aws::Fault;
use tidemill_flow::append::Clock;
use tidemill_model::WallMs;

use crate::environment::Environment;

/// The variable that names a file of milliseconds to add to the wall clock; read only with the
/// feature `virtual-time`.
pub const OFFSET_FILE: &str = "TIDEMILL_CLOCK_OFFSET_FILE";

/// This machine's wall clock.
pub fn machine_now() -> WallMs {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => WallMs(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
        Err(before) => {
            WallMs(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms))
        }
    }
}

/// The pipeline's wall clock: this machine's. That [`OFFSET_FILE`] is set is a fault: its time would
/// be ignored.
#[cfg(not(feature = "virtual-time"))]
pub fn pipeline_clock(environment: &Environment) -> Result<Arc<Clock>, Fault> {
    match environment.get(OFFSET_FILE) {
        None => Ok(Arc::new(machine_now)),
        Some(_) => Err(Fault::new(
            format!("{OFFSET_FILE} is set, and this function was built without virtual time"),
            "take the variable away; for end-to-end tests, build with the feature \
             tidemill-lambda/virtual-time",
        )),
    }
}

/// The pipeline's wall clock: this machine's, moved by the milliseconds in the file that
/// [`OFFSET_FILE`] names, which is read at every reading of the clock. While the file is being
/// rewritten and holds no number, the last number counts.
#[cfg(feature = "virtual-time")]
pub fn pipeline_clock(environment: &Environment) -> Result<Arc<Clock>, Fault> {
    use std::sync::atomic::{AtomicI64, Ordering};

    let Some(file) = environment.get(OFFSET_FILE) else { return Ok(Arc::new(machine_now)) };
    let file = std::path::PathBuf::from(file);
    let read = move || std::fs::read_to_string(&file).ok()?.trim().parse::<i64>().ok();
    let Some(first) = read() else {
        return Err(Fault::new(
            format!("{OFFSET_FILE} names a file that holds no whole number of milliseconds"),
            "write a number into the file, such as 0, before the function starts",
        ));
    };
    let last = AtomicI64::new(first);
    Ok(Arc::new(move || {
        let offset = read().unwrap_or_else(|| last.load(Ordering::Relaxed));
        last.store(offset, Ordering::Relaxed);
        machine_now().plus(offset)
    }))
}

/// Measures time, unmoved by whoever sets the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// One that starts now.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Time since it was started.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since it was started.
    pub fn ms(self) -> f64 {
        self.elapsed().as_secs_f64() * 1000.0
    }
}

/// How long an invocation may still take, so that it ends `reserve` before Lambda ends it; `None`
/// when that cannot be told, because this machine's clock and Lambda's disagree. Then only Lambda
/// ends it, which loses nothing either.
pub fn time_left(deadline_ms: u64, now: WallMs, reserve: Duration) -> Option<Duration> {
    /// Longer than an invocation may take.
    const LEFT_MAX: Duration = Duration::from_secs(15 * 60);
    let left = i64::try_from(deadline_ms).ok()?.checked_sub(now.0)?;
    let left = Duration::from_millis(u64::try_from(left).ok()?);
    (left > reserve && left <= LEFT_MAX).then(|| left - reserve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_ends_a_little_before_lambda_ends_it() {
        let second = Duration::from_secs(1);
        let left = |deadline, now| time_left(deadline, WallMs(now), second);
        assert_eq!(left(70_000, 10_000), Some(Duration::from_secs(59)));
        assert_eq!(
            left(70_000, 70_000),
            None,
            "no time: our clock is wrong, or Lambda acts at once"
        );
        assert_eq!(left(70_000, 80_000), None);
        assert_eq!(left(0, 1_700_000_000_000), None);
        assert_eq!(left(1_700_000_000_000, 0), None, "years are left: our clock is wrong");
        assert_eq!(left(u64::MAX, i64::MIN), None);
    }

    #[cfg(feature = "virtual-time")]
    #[test]
    fn a_file_moves_the_pipeline_s_clock() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("offset");
        let environment = Environment::of([(OFFSET_FILE, file.to_str().unwrap())]);
        assert!(pipeline_clock(&environment).is_err(), "no file");
        std::fs::write(&file, "0\n").unwrap();
        let clock = pipeline_clock(&environment).unwrap();
        let hour = 3_600_000;
        std::fs::write(&file, hour.to_string()).unwrap();
        let ahead = clock().since(machine_now());
        assert!((hour - 60_000..=hour).contains(&ahead), "{ahead}");
        std::fs::write(&file, "").unwrap();
        assert!(clock().since(machine_now()) > hour - 60_000, "the last number counts");
    }
}
