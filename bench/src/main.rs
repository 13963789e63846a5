//! `make bench`: how fast one machine is, against a loop that only parses.
//!
//! Each measurement is a process of its own: events per CPU-second are the events over the user and
//! system time that the operating system charged it, on all cores, which is its events per second and
//! core; peak memory is its largest resident set, open state what the queries kept open, at most, after
//! a tick. The store is on disk and every segment and checkpoint is a durable commit, as in production.
//!
//! ```text
//! bench [--events N] [--only NAME]
//! ```
//!
//! Not here: what is measured (`cases`), what the pipelines mean (`bench/pipelines/*.toml`).

mod cases;
mod measure;
mod parse;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use bench::generate;
use cases::{CASES, Case};
use measure::Usage;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["parse", files @ ..] => parse::run(files),
        ["measure", command, rest @ ..] => measure::run_and_print(command, rest),
        options => bench(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &[&str]) -> Result<(), String> {
    let (mut events, mut only) = (4_000_000u64, None);
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{option} wants a value"));
        match *option {
            "--events" => {
                events = value()?.parse().map_err(|_| "--events wants a number".to_string())?;
            }
            "--only" => only = Some(value()?.to_string()),
            other => return Err(format!("no such option: {other}")),
        }
    }
    let binaries = std::env::current_exe().map_err(|error| error.to_string())?;
    let tidemill = binaries.with_file_name("tidemill");
    if !tidemill.exists() {
        return Err(format!("{} is missing; `make bench` builds it", tidemill.display()));
    }
    let folder = binaries.with_file_name("bench-data");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{events} events generated, {cores} cores\n");
    println!(
        "{:<10} {:>10} {:>12} {:>8} {:>7} {:>9} {:>9} {:>11} {:>14}",
        "",
        "wall s",
        "events/CPU-s",
        "events/s",
        "MB/s",
        "peak MB",
        "open MB",
        "of parsing",
        "log KB/M events"
    );
    for case in CASES {
        if only.as_ref().is_some_and(|only| only != case.name) {
            continue;
        }
        measure_case(case, events, &folder, &binaries, &tidemill)?;
    }
    Ok(())
}

fn measure_case(
    case: &Case,
    events: u64,
    folder: &Path,
    bench: &Path,
    tidemill: &Path,
) -> Result<(), String> {
    let files = files(case, events, folder)?;
    let few = run(case, &self::files(case, events / 4, folder)?, folder, bench, tidemill)?;
    let usage = run(case, &files, folder, bench, tidemill)?;
    let mut bytes = 0;
    let mut parse = vec!["parse"];
    for ((_, kind), file) in case.inputs.iter().zip(&files) {
        bytes += std::fs::metadata(file).map_err(|error| error.to_string())?.len();
        parse.extend([kind.name(), text(file)?]);
    }
    let parse = measured(bench, bench, &parse)?;
    let events: u64 = case.inputs.iter().map(|(_, kind)| kind.count(events)).sum();
    let log_bytes = usage.log_bytes()?;
    let rate = |usage: &Usage, events: u64| events as f64 / (usage.cpu_ms as f64 / 1000.0);
    let ratio = rate(&usage, events) / rate(&parse, events);
    let wall = usage.wall_ms as f64 / 1000.0;
    println!(
        "{:<10} {:>10.2} {:>10.2} M {:>6.2} M {:>7.0} {:>9} {:>9.1} {:>10.0}% {:>14.0}",
        case.name,
        wall,
        rate(&usage, events) / 1e6,
        events as f64 / wall / 1e6,
        bytes as f64 / wall / 1e6,
        usage.peak_kb / 1024,
        usage.open_bytes()? as f64 / 1e6,
        ratio * 100.0,
        log_bytes as f64 / 1024.0 / (events as f64 / 1e6),
    );
    println!(
        "{:<10} parsing alone {:.2} M events/CPU-s; peak of a quarter of the events {} MB",
        "",
        rate(&parse, events) / 1e6,
        few.peak_kb / 1024
    );
    Ok(())
}

/// The case's input files, in its order.
fn files(case: &Case, events: u64, folder: &Path) -> Result<Vec<PathBuf>, String> {
    case.inputs.iter().map(|(_, kind)| generate::file(*kind, events, folder)).collect()
}

/// Runs the pipeline over `files` with a fresh store.
fn run(
    case: &Case,
    files: &[PathBuf],
    folder: &Path,
    bench: &Path,
    tidemill: &Path,
) -> Result<Usage, String> {
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines").join(case.pipeline);
    let store = folder.join("store.redb");
    let output = folder.join("results");
    for old in [&store, &output] {
        let removed =
            if old.is_dir() { std::fs::remove_dir_all(old) } else { std::fs::remove_file(old) };
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error.to_string());
        }
    }
    let mut args = vec!["run".to_string(), text(&pipeline)?.to_string()];
    for ((stream, _), file) in case.inputs.iter().zip(files) {
        args.extend(["--input".to_string(), format!("{stream}={}", text(file)?)]);
    }
    let (store, output) = (text(&store)?, text(&output)?);
    args.extend(["--store", store, "--output", output, "--until-end"].map(String::from));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    measured(bench, tidemill, &args)
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

/// Runs a command under `bench measure`, whose only child it is.
fn measured(bench: &Path, command: &Path, args: &[&str]) -> Result<Usage, String> {
    let output = Command::new(bench)
        .arg("measure")
        .arg(command)
        .args(args)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}
