//! Results that change: however a run is killed, who applies what it emitted holds the answer over
//! all records, late ones too.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_testkit::Rng;

use crate::workspace::{Event, PIPELINE, Workspace, events, expected, json_lines, run_args};

const SETTINGS: &str = "late = \"update\"\nallowed_lateness = \"1h\"\n";

/// Events of which every fiftieth comes some ten seconds too late.
fn disordered(count: usize) -> Vec<Event> {
    let in_order = events(count);
    let place = |index: usize| if index % 50 == 0 { index + 700 } else { index };
    let mut placed: Vec<(usize, Event)> =
        in_order.into_iter().enumerate().map(|(index, event)| (place(index), event)).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, event)| event).collect()
}

/// What a reader holds that applies the lines in order: sorted lines without the columns of their
/// own; and how often each `op` and `timing` came.
fn applied(workspace: &Workspace, folder: &str) -> (Vec<String>, BTreeMap<String, u64>) {
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

#[test]
#[expect(clippy::disallowed_methods, reason = "a run's length decides when it may be killed")]
fn revisions_together_are_the_answer_over_all_records() {
    let events = disordered(60_000);
    let expected = expected(&events);
    for (emit, timings) in [
        ("", ["late", "on_time"].as_slice()),
        ("emit = \"updates\"\n", &["early", "late", "on_time"]),
    ] {
        let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{SETTINGS}{emit}"));
        workspace.write("events.jsonl", json_lines(&events));
        let begun = Instant::now();
        let ran = workspace.tidemill(&run_args("2", "whole")).succeeded();
        let longest = begun.elapsed().mul_f64(0.6);
        assert_eq!((ran.summary("late"), workspace.dead_letters("whole").len()), (0, 0));
        let (whole, counts) = applied(&workspace, "whole");
        assert!(whole == expected, "{emit}: {} rows, not {}", whole.len(), expected.len());
        for timing in timings {
            assert!(counts.contains_key(*timing), "{emit}: {counts:?}");
        }

        let args = run_args("2", "killed");
        workspace.kill(&args, longest.max(Duration::from_millis(50)), 4, &mut Rng::new(5));
        workspace.tidemill(&args).succeeded();
        let (killed, _) = applied(&workspace, "killed");
        assert!(killed == expected, "{emit}: {} rows, not {}", killed.len(), expected.len());
    }
}

#[test]
fn a_condition_tells_of_rows_before_their_window_closes() {
    let early = "emit_when = \"events >= 3\"\n";
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{early}"));
    let events = events(20_000);
    workspace.write("events.jsonl", json_lines(&events));
    workspace.tidemill(&run_args("2", "out")).succeeded();
    let (rows, counts) = applied(&workspace, "out");
    assert!(rows == expected(&events));
    assert!(counts["early"] > 0 && counts["on_time"] as usize == rows.len(), "{counts:?}");
}
