//! Results that change: however a run is killed, who applies what it emitted holds the answer over
//! all records, late ones too.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::resume::interrupt;
use crate::workspace::{Event, PIPELINE, Workspace, events, expected, json_lines, run_args};

/// Exit code of a run that saved its state when it was asked to stop.
const INTERRUPTED: i32 = 130;
const SETTINGS: &str = "late = \"update\"\nallowed_lateness = \"1h\"\n";

/// Events of which every fiftieth comes some ten seconds too late.
pub(crate) fn disordered(count: usize) -> Vec<Event> {
    let in_order = events(count);
    let place = |index: usize| if index.is_multiple_of(50) { index + 700 } else { index };
    let mut placed: Vec<(usize, Event)> =
        in_order.into_iter().enumerate().map(|(index, event)| (place(index), event)).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, event)| event).collect()
}

/// What a reader holds that applies the lines in order: sorted lines without the columns of their
/// own; and how often each `op` and `timing` came.
pub(crate) fn applied(workspace: &Workspace, folder: &str) -> (Vec<String>, BTreeMap<String, u64>) {
    let path = workspace.path(folder).join("per_key.jsonl");
    let mut held: BTreeMap<String, (i64, String)> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let revision = row["revision"].as_i64().unwrap();
        let id = format!("{} {} {}", row["key"], row["window_start"], row["window_end"]);
        for column in ["op", "timing"] {
            *counts.entry(row[column].as_str().unwrap().to_string()).or_default() += 1;
        }
        let before = held.get(&id).map(|(revision, _)| *revision);
        assert!(before < Some(revision), "{line} after revision {before:?}");
        assert_eq!(row["op"], "upsert", "{line}");
        let end = line.find(",\"op\":").unwrap();
        held.insert(id, (revision, format!("{}}}", &line[..end])));
    }
    let mut lines: Vec<String> = held.into_values().map(|(_, line)| line).collect();
    lines.sort();
    (lines, counts)
}

/// Runs over a file that grows, part by part, so that windows close in between; each run but the
/// last is interrupted when it has emitted something, and every other one killed.
fn run_in_parts(workspace: &Workspace, events: &[Event], folder: &str) {
    let args = run_args("1", folder);
    let parts = 5;
    let results = workspace.path(folder).join("per_key.jsonl");
    let length = || fs::metadata(&results).map_or(0, |file| file.len());
    for part in 1..parts {
        let before = length();
        workspace.write("events.jsonl", json_lines(&events[..events.len() * part / parts]));
        let mut child = workspace.start(&args[..args.len() - 1]);
        for _ in 0..3_000 {
            if length() > before {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let has_emitted = length() > before;
        if part % 2 == 0 || !has_emitted {
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            interrupt(&child);
            assert_eq!(child.wait_with_output().unwrap().status.code(), Some(INTERRUPTED));
        }
        assert!(has_emitted, "part {part} emitted nothing");
    }
    workspace.write("events.jsonl", json_lines(events));
    workspace.tidemill(&args).succeeded();
}

#[test]
fn revisions_together_are_the_answer_over_all_records() {
    let events = disordered(30_000);
    let expected = expected(&events);
    for (emit, timings) in [
        ("", ["late", "on_time"].as_slice()),
        ("emit = \"updates\"\n", &["early", "late", "on_time"]),
    ] {
        let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{SETTINGS}{emit}"));
        run_in_parts(&workspace, &events, "out");
        assert_eq!(workspace.dead_letters("out").len(), 0);
        let (found, counts) = applied(&workspace, "out");
        assert!(found == expected, "{emit}: {} rows, not {}", found.len(), expected.len());
        for timing in timings {
            assert!(counts.contains_key(*timing), "{emit}: {counts:?}");
        }
    }
}

#[test]
fn a_condition_tells_of_rows_before_their_window_closes() {
    let early = "emit_when = \"events >= 3\"\n";
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{early}"));
    let events = events(20_000);
    run_in_parts(&workspace, &events, "out");
    let (found, counts) = applied(&workspace, "out");
    assert!(found == expected(&events));
    assert!(counts.contains_key("early"), "{counts:?}");
    assert_eq!(counts["on_time"] as usize, found.len());
}
