//! What a finished process used, from the operating system's own accounting.

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// What a process used.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// User and system time, milliseconds.
    pub(crate) cpu_ms: u64,
    /// Elapsed time, milliseconds.
    pub(crate) wall_ms: u64,
    /// Largest resident set, KiB.
    pub(crate) peak_kb: u64,
    /// What the process wrote to stderr.
    pub(crate) said: String,
}

/// Runs a command as the only child of this process and prints its usage.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn run_and_print(command: &str, args: &[&str]) -> Result<(), String> {
    let start = Instant::now();
    let output = Command::new(command)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("{command}: {error}"))?;
    let wall = start.elapsed();
    if !output.status.success() {
        return Err(format!("{command} failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let ms = |seconds: i64, micros: i64| (seconds * 1000 + micros / 1000) as u64;
    let (user, system) = (used.user_time(), used.system_time());
    let usage = Usage {
        cpu_ms: ms(user.tv_sec(), user.tv_usec()) + ms(system.tv_sec(), system.tv_usec()),
        wall_ms: wall.as_millis() as u64,
        peak_kb: used.max_rss() as u64,
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    let text = serde_json::to_string(&usage).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(())
}

impl Usage {
    /// Bytes of the segments that a run appended, from its summary.
    pub(crate) fn log_bytes(&self) -> Result<u64, String> {
        self.bytes_of("log")
    }

    /// Bytes that the run's queries kept open after a tick, at most, from its summary.
    pub(crate) fn open_bytes(&self) -> Result<u64, String> {
        self.bytes_of("open state")
    }

    /// The bytes with which a line of the summary ends.
    fn bytes_of(&self, name: &str) -> Result<u64, String> {
        let line = self.said.lines().find_map(|line| line.trim_start().strip_prefix(name));
        let bytes = line.and_then(|line| line.split(", ").last());
        let digits: String = bytes.unwrap_or("").chars().filter(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| format!("the summary has no line `{name}`:\n{}", self.said))
    }
}
