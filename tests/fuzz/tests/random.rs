//! Every target on its seeds and on inputs made of them: the same ones each time.
//!
//! `FUZZ_RUNS=20 cargo test -p fuzz` tries twenty times as many, the first of them the same.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Instant;

use fuzz::TARGETS;
use fuzz::run::{run, target};
use tidemill_testkit::setting;

/// Memory that the process may ever have used, KiB: an entry point that believes a length in its
/// input needs more.
const MEMORY_KIB_MAX: u64 = 1024 * 1024;

#[expect(clippy::disallowed_methods, reason = "the time that is printed decides nothing")]
fn holds(name: &str) {
    let target = target(name);
    let begin = Instant::now();
    let ran = run(
        &target,
        1,
        target.inputs * setting("FUZZ_RUNS", 1),
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    );
    let percent = ran.accepted * 100 / ran.inputs;
    let seconds = begin.elapsed().as_secs_f32();
    println!("{name}: {} inputs, {percent} % accepted, {seconds:.1} s", ran.inputs);
    assert!(percent >= target.accepted_percent_min, "{name}: inputs stop before they get deep");
    assert!(percent <= 99, "{name}: no input is refused");
    if let Some(kib) = peak_memory_kib() {
        assert!(kib < MEMORY_KIB_MAX, "{name}: {kib} KiB of memory were used");
    }
}

/// The most memory that this process ever used, where the system tells.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                holds(stringify!($name));
            }
        )*

        #[test]
        fn none_is_forgotten() {
            let mut tested = vec![$(stringify!($name)),*];
            let mut known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            tested.sort_unstable();
            known.sort_unstable();
            assert_eq!(tested, known);
        }
    };
}

targets!(
    decode_json,
    decode_csv,
    kpl,
    kinesis_event,
    kafka_event,
    schedule_event,
    pipeline_file,
    sql,
    segment,
    checkpoint,
    log_entry,
    emitted,
    snapshot,
    record_batch,
    item
);
