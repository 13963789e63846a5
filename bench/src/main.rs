//! `make bench`: how fast one machine is, against a loop that only parses.
//!
//! Each measurement is a process of its own: events per CPU-second are the events over the user and
//! system time that the operating system charged it, peak memory is its largest resident set. The
//! store is on disk and every segment and checkpoint is a durable commit, as in production.
//!
//! ```text
//! bench [--events N] [--only NAME]
//! ```
//!
//! Not here: what the pipelines mean (`bench/pipelines/*.toml`).

mod measure;
mod parse;

use std::path::Path;
use std::process::{Command, ExitCode};

use bench::generate;
use measure::Usage;

/// A stream, a pipeline over it, and what to call the pair.
struct Case {
    name: &'static str,
    pipeline: &'static str,
    stream: &'static str,
    file: generate::Kind,
}

const CASES: [Case; 4] = [
    Case {
        name: "ad events",
        pipeline: "ads.toml",
        stream: "ad_events",
        file: generate::Kind::Ads,
    },
    Case {
        name: "tumbling",
        pipeline: "tumbling.toml",
        stream: "sensors",
        file: generate::Kind::Sensors,
    },
    Case {
        name: "hopping",
        pipeline: "hopping.toml",
        stream: "sensors",
        file: generate::Kind::Sensors,
    },
    Case {
        name: "session",
        pipeline: "session.toml",
        stream: "sensors",
        file: generate::Kind::Sensors,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["parse", kind, file] => parse::run(kind, Path::new(file)),
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
    println!("{events} events each, {cores} cores\n");
    println!(
        "{:<10} {:>10} {:>12} {:>8} {:>7} {:>9} {:>11} {:>14}",
        "",
        "wall s",
        "events/CPU-s",
        "events/s",
        "MB/s",
        "peak MB",
        "of parsing",
        "log KB/M events"
    );
    for case in CASES {
        if only.as_ref().is_some_and(|only| only != case.name) {
            continue;
        }
        measure_case(&case, events, &folder, &binaries, &tidemill)?;
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
    let file = generate::file(case.file, events, folder)?;
    let bytes = std::fs::metadata(&file).map_err(|error| error.to_string())?.len();
    let parse = measured(bench, bench, &["parse", case.file.name(), text(&file)?])?;
    let short = generate::file(case.file, events / 4, folder)?;
    let few = run(case, &short, folder, bench, tidemill)?;
    let usage = run(case, &file, folder, bench, tidemill)?;
    let log_bytes = usage.log_bytes()?;
    let rate = |usage: &Usage, events: u64| events as f64 / (usage.cpu_ms as f64 / 1000.0);
    let ratio = rate(&usage, events) / rate(&parse, events);
    let wall = usage.wall_ms as f64 / 1000.0;
    println!(
        "{:<10} {:>10.2} {:>10.2} M {:>6.2} M {:>7.0} {:>9} {:>10.0}% {:>14.0}",
        case.name,
        wall,
        rate(&usage, events) / 1e6,
        events as f64 / wall / 1e6,
        bytes as f64 / wall / 1e6,
        usage.peak_kb / 1024,
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

/// Runs the pipeline over `file` with a fresh store.
fn run(
    case: &Case,
    file: &Path,
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
    let input = format!("{}={}", case.stream, text(file)?);
    measured(
        bench,
        tidemill,
        &[
            "run",
            text(&pipeline)?,
            "--input",
            &input,
            "--store",
            text(&store)?,
            "--output",
            text(&output)?,
            "--until-end",
        ],
    )
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
