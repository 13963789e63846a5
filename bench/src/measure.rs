//! What a finished process used, from the operating system's own accounting.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};
use tidemill_embedded::store::RedbStore;
use tidemill_model::store::{Limits, Store};

/// What a process used.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// User and system time, milliseconds.
    pub(crate) cpu_ms: u64,
    /// Elapsed time, milliseconds.
    pub(crate) wall_ms: u64,
    /// Largest resident set, KiB.
    pub(crate) peak_kb: u64,
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
    };
    let text = serde_json::to_string(&usage).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(())
}

/// Bytes of all segments in a store.
pub(crate) fn log_bytes(store: &Path) -> Result<u64, String> {
    let store = RedbStore::open_read_only(store).map_err(|error| error.to_string())?;
    let prefix = store.pipeline().to_string();
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let logs = store
            .range(&format!("{prefix}/logs"), "", Limits::NONE)
            .await
            .map_err(|error| error.to_string())?;
        let mut bytes = 0;
        for log in logs {
            let segments = store
                .range(&format!("{prefix}/log/{}", log.sk), "", Limits::NONE)
                .await
                .map_err(|error| error.to_string())?;
            bytes += segments.iter().map(|row| row.item.bytes.len() as u64).sum::<u64>();
        }
        Ok(bytes)
    })
}
