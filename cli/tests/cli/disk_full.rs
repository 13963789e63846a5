//! A disk that fills up under a run: one error that names the file and says what to do. With room
//! again the same command goes on, and the results are those of a run that was never disturbed.
//!
//! A limit on the size of files stands for the full disk, because everybody may set one: whatever is
//! written beyond it fails, in the store and in the output, at the end of a file or before it.

use std::collections::BTreeMap;
use std::fs;

use crate::workspace::{Ran, Workspace, events, expected, json_lines, run_args};

const EVENTS: usize = 60_000;
const RUN: [&str; 9] = run_args("2", "out");

/// Names of the files that a run writes.
const FILES: [&str; 4] = ["state.redb", "per_key.jsonl", "dead_letters.jsonl", ".tidemill"];

/// Runs with room for files of so many bytes. `None`: it was done; else the file that its error names.
fn run_with_room(workspace: &Workspace, bytes: u64) -> Option<&'static str> {
    let ran = Ran::of(workspace.command_with_room(bytes, &RUN).output().unwrap());
    if ran.code == Some(0) {
        return None;
    }
    let ran = ran.failed(1, &["room", "run the same command again"]);
    let errors: Vec<&str> = ran.stderr.split(" × ").skip(1).collect();
    let [error] = errors[..] else { panic!("not one error:\n{}", ran.stderr) };
    let named = FILES.iter().find(|name| error.contains(*name));
    Some(named.unwrap_or_else(|| panic!("no file is named:\n{error}")))
}

/// Size of the largest file in a folder.
fn largest(workspace: &Workspace, folder: &str) -> u64 {
    let files = fs::read_dir(workspace.path(folder)).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).max().unwrap()
}

#[test]
fn a_run_whose_disk_is_full_goes_on_as_far_as_there_is_room() {
    const STEPS: u64 = 12;
    let events = events(EVENTS);
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events));
    workspace.tidemill(&RUN).succeeded();
    let room = largest(&workspace, "out");
    let whole = workspace.results("out", "per_key");
    assert_eq!(whole, expected(&events));
    fs::remove_dir_all(workspace.path("out")).unwrap();

    let mut stopped: BTreeMap<&str, u64> = BTreeMap::new();
    for step in 0.. {
        let Some(file) = run_with_room(&workspace, room * step / STEPS) else { break };
        *stopped.entry(file).or_default() += 1;
        // What is there can be read, every other time.
        if step % 2 == 0 && workspace.path("out/state.redb").exists() {
            workspace.tidemill(&["state", "out/state.redb"]).succeeded();
        }
    }
    workspace.tidemill(&RUN).succeeded();
    assert_eq!(workspace.results("out", "per_key"), whole);
    assert!(stopped.values().sum::<u64>() >= STEPS / 4, "{stopped:?}");
    println!("\nchaos: full disk, errors by file {stopped:?}, {} results the same", whole.len());
}

/// The error said that the file is too large, and not which one: it was standard output.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_named() {
    const ROWS: [&str; 7] = [
        "run",
        "pipeline.toml",
        "--input",
        "events=events.jsonl",
        "--store",
        "s.redb",
        "--until-end",
    ];
    let events = events(5_000);
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events));
    let lines = [&ROWS[..], &["--output", "-"]].concat();
    for args in [&ROWS[..], &lines] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = workspace.command(args).stdout(full).output().unwrap();
        Ran::of(ran).failed(1, &["standard output: No space left", "run the same command again"]);
    }
    let ran = workspace.tidemill(&lines).succeeded();
    let mut rows: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| format!("{{\"key\":{}", line.split_once("\"key\":").unwrap().1))
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, expected(&events));
}
