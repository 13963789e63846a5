//! Stopped or killed at any moment and run again, a run gives what an uninterrupted one gives.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidemill_testkit::{Rng, setting};

use crate::revisions::{applied, disordered};
use crate::workspace::{PIPELINE, Ran, Workspace, events, expected, json_lines, run_args};

const EVENTS: usize = 150_000;
/// Fewer where each is a result, too.
const ROW_EVENTS: usize = 30_000;
const SHARDS: &str = "3";
const RUN: [&str; 9] = run_args(SHARDS, "out");

fn workspace() -> (Workspace, Vec<String>) {
    let events = events(EVENTS);
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events));
    (workspace, expected(&events))
}

#[test]
fn killed_at_random_moments_the_results_are_those_of_one_run() {
    let (workspace, expected) = workspace();
    let held = |folder: &str| vec![workspace.results(folder, "per_key")];
    assert_eq!(survive_kills(&workspace, EVENTS, held), [expected]);
}

/// A running total, an aggregate over rows that see their forerunners, and windows whose results change
/// while they are open and when late events come.
#[test]
fn killed_at_random_moments_rows_and_updates_are_those_of_one_run() {
    let rows = r#"
emit = "updates"
late = "update"
allowed_lateness = "1h"

[queries.totals]
sql = """
  SELECT ts, key, value,
         SUM(value) OVER (PARTITION BY key ORDER BY ts ROWS UNBOUNDED PRECEDING) AS total
  FROM events
"""
keep = "forever"
grace = "1m"

[queries.changes]
sql = """
  WITH changes AS (
    SELECT ts, key, value - LAG(value) OVER (PARTITION BY key ORDER BY ts) AS change FROM events
  )
  SELECT key, window_start, window_end, COUNT(*) AS events, SUM(change) AS change
  FROM TUMBLE(changes, ts, INTERVAL '10' SECOND)
  GROUP BY key, window_start, window_end
"""
keep = "1d"
grace = "1m"
"#;
    let events = disordered(ROW_EVENTS);
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{rows}"));
    workspace.write("events.jsonl", json_lines(&events));
    let held = |folder: &str| {
        let rows = |query| workspace.results(folder, query);
        vec![applied(&workspace, folder).0, rows("totals"), rows("changes")]
    };
    let whole = survive_kills(&workspace, ROW_EVENTS, held);
    assert_eq!(whole[0], expected(&events));
    assert_eq!((whole[1].len(), whole[2].len()), (ROW_EVENTS, whole[0].len()));
}

/// Kills runs again and again; what the output of each holds in the end is what it is after one that
/// nobody killed, which is answered. Each kill hits a run in the middle: when one is done before its end
/// comes, another begins anew. `KILLS` says how many, `SEED` when.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a run's length decides when it may be killed")]
fn survive_kills(
    workspace: &Workspace,
    events: usize,
    held: impl Fn(&str) -> Vec<Vec<String>>,
) -> Vec<Vec<String>> {
    let (kills, seed) = (setting("KILLS", 12), setting("SEED", 1));
    let begun = Instant::now();
    workspace.tidemill(&run_args(SHARDS, "whole")).succeeded();
    let longest = begun.elapsed().mul_f64(0.6);
    let whole = held("whole");
    let counts = |all: &[Vec<String>]| all.iter().map(Vec::len).collect::<Vec<usize>>();

    let mut rng = Rng::new(seed);
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        runs += 1;
        let folder = format!("killed-{runs}");
        let run = run_args(SHARDS, &folder);
        killed += workspace.kill(&run, longest, kills - killed, &mut rng);
        let ran = workspace.tidemill(&run).succeeded();
        let found = held(&folder);
        let (found_counts, counts) = (counts(&found), counts(&whole));
        assert!(found == whole, "{folder}, seed {seed}: {found_counts:?} rows, not {counts:?}");
        assert_eq!((ran.summary("late"), workspace.dead_letters(&folder).len()), (0, 0));
        // Once more: everything is there already.
        let ran = workspace.tidemill(&run).succeeded();
        assert_eq!((ran.summary("records"), ran.summary("results")), (0, 0));
        let records = ran.stderr.replace(',', "");
        assert!(records.contains(&format!("{events} with earlier runs")), "{}", ran.stderr);
        assert!(held(&folder) == whole);
        std::fs::remove_dir_all(workspace.path(&folder)).unwrap();
    }
    println!(
        "\nchaos: tidemill run, seed {seed}: killed {killed} times, {runs} runs of {events} records, \
         {:?} results the same each time",
        counts(&whole)
    );
    whole
}

pub(crate) fn interrupt(child: &std::process::Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

#[test]
fn ctrl_c_saves_the_state_and_says_how_to_go_on() {
    let (workspace, expected) = workspace();
    let child = workspace.start(&RUN[..RUN.len() - 1]);
    workspace.wait_for("out/per_key.jsonl");
    std::thread::sleep(Duration::from_millis(200));
    interrupt(&child);
    let ran = Ran::of(child.wait_with_output().unwrap());
    let ran = ran.failed(130, &["interrupted", "Run the same command again"]);
    let first = ran.summary("records");
    let ran = workspace.tidemill(&RUN).succeeded();
    assert_eq!(ran.summary("records") + first, EVENTS as u64);
    assert_eq!(workspace.results("out", "per_key"), expected);
}

#[test]
fn stdin_goes_on_when_the_same_records_come_again() {
    let events = events(20_000);
    let text = json_lines(&events);
    let workspace = Workspace::new();
    let run = ["run", "pipeline.toml", "--input", "events=-", "--output", "out"];
    let feed = |part: &str, then_kill: bool| {
        let mut command = workspace.command(&run);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(part.as_bytes()).unwrap();
        if then_kill {
            workspace.wait_for("out/per_key.jsonl");
            std::thread::sleep(Duration::from_millis(200));
            child.kill().unwrap();
        }
        drop(stdin);
        Ran::of(child.wait_with_output().unwrap())
    };
    let half = text[..text.len() / 2].rfind('\n').unwrap() + 1;
    feed(&text[..half], true);
    feed(&text, false).succeeded();
    assert_eq!(workspace.results("out", "per_key"), expected(&events));
}

#[test]
fn a_file_that_has_grown_goes_on_where_it_was() {
    let events = events(20_000);
    let text = json_lines(&events);
    let half = text[..text.len() / 2].rfind('\n').unwrap() + 1;
    let workspace = Workspace::new();
    workspace.write("events.jsonl", &text[..half]);
    let child = workspace.start(&RUN[..RUN.len() - 1]);
    workspace.wait_for("out/per_key.jsonl");
    std::thread::sleep(Duration::from_millis(200));
    interrupt(&child);
    Ran::of(child.wait_with_output().unwrap()).failed(130, &[]);
    workspace.write("events.jsonl", &text);
    workspace.tidemill(&RUN).succeeded();
    assert_eq!(workspace.results("out", "per_key"), expected(&events));
}

#[test]
fn another_number_of_shards_or_another_input_is_refused() {
    let (workspace, _) = workspace();
    workspace.write("events.jsonl", json_lines(&events(100)));
    workspace.tidemill(&RUN).succeeded();
    let mut other = RUN;
    other[5] = "2";
    workspace.tidemill(&other).failed(1, &["--shards 3"]);

    workspace.write("events.jsonl", "{\"ts\":5,\"key\":\"other\",\"value\":1}\n");
    workspace.tidemill(&RUN).failed(1, &["events.jsonl", "new store"]);
}
