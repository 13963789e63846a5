//! CPU of the handler per batch, with a store in memory.

use std::sync::Arc;

use nix::sys::resource::{UsageWho, getrusage};
use tidemill_testkit::MemoryStore;

use crate::Result;
use crate::case::{CASES, Case};
use crate::event::Shard;
use crate::function::Function;

/// The most that Lambda hands to a function at once.
const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Batches that are handled before the measured ones.
const WARM_UP: usize = 2;
const MEASURED: usize = 9;

pub(crate) async fn table(batches: &[usize]) -> Result<()> {
    println!("CPU of the Kinesis handler per batch, store in memory: median of {MEASURED}\n");
    println!("{:<10} {:>9} {:>11} {:>9} {:>12}", "", "records", "event MB", "CPU ms", "records/s");
    for case in CASES {
        for records in batches {
            row(case, |shard| shard.records(*records)).await?;
        }
        row(case, |shard| shard.bytes(EVENT_BYTES_MAX)).await?;
    }
    println!();
    Ok(())
}

async fn row(case: Case, batch: impl Fn(&mut Shard) -> String) -> Result<()> {
    let mut function = Function::new(&case, Arc::new(MemoryStore::new()))?;
    let mut shard = Shard::new(case);
    let mut used = Vec::new();
    let (mut records, mut bytes) = (0, 0);
    for _ in 0..WARM_UP + MEASURED {
        let json = batch(&mut shard);
        (records, bytes) = (json.matches("\"eventID\"").count(), json.len());
        let before = cpu_ms()?;
        function.handle(&json).await?;
        used.push(cpu_ms()? - before);
    }
    let mut measured = used.split_off(WARM_UP);
    measured.sort_by(f64::total_cmp);
    let median = measured[measured.len() / 2];
    println!(
        "{:<10} {records:>9} {:>11.2} {median:>9.2} {:>12.0}",
        case.name,
        bytes as f64 / 1024.0 / 1024.0,
        records as f64 / (median / 1000.0).max(1e-6),
    );
    Ok(())
}

/// User and system time of this process so far, milliseconds.
fn cpu_ms() -> Result<f64> {
    let used = getrusage(UsageWho::RUSAGE_SELF).map_err(|error| error.to_string())?;
    let ms = |seconds: i64, micros: i64| seconds as f64 * 1000.0 + micros as f64 / 1000.0;
    let (user, system) = (used.user_time(), used.system_time());
    Ok(ms(user.tv_sec(), user.tv_usec()) + ms(system.tv_sec(), system.tv_usec()))
}
