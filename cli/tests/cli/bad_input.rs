//! What is broken gives one clear error and loses nothing; a record never stops a run.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::workspace::{PIPELINE, Ran, Workspace, events, expected, json_lines};

const RUN: [&str; 6] = ["run", "pipeline.toml", "--output", "out", "--until-end", "--input"];

fn run(workspace: &Workspace, input: &str) -> Ran {
    workspace.tidemill(&[&RUN[..], &[input]].concat())
}

#[test]
fn a_truncated_gzip_file_counts_what_is_readable_and_goes_on_when_repaired() {
    let events = events(40_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(json_lines(&events).as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    let workspace = Workspace::new();
    workspace.write("events.jsonl.gz", &whole[..whole.len() * 2 / 3]);
    let ran = run(&workspace, "events=events.jsonl.gz").failed(1, &["events.jsonl.gz"]);
    let counted = ran.summary("records");
    assert!(counted > 20_000 && counted < 30_000, "{counted}");
    assert_eq!(ran.summary("dead letters"), 0, "half a record is no dead letter");

    workspace.write("events.jsonl.gz", &whole);
    let ran = run(&workspace, "events=events.jsonl.gz").succeeded();
    assert_eq!(ran.summary("records"), 40_000 - counted);
    assert_eq!(workspace.results("out", "per_key"), expected(&events));
}

#[test]
fn records_that_cannot_be_read_become_dead_letters() {
    let events = events(1_000);
    let deep = "[".repeat(100_000);
    let long = format!("{{\"ts\":1700000000000,\"key\":\"{}\"}}", "x".repeat(11 * 1024 * 1024));
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("undecodable", b"not json".to_vec()),
        ("undecodable", b"{\"ts\":\"yesterday\",\"key\":\"a\",\"value\":1}".to_vec()),
        ("undecodable", b"{\"ts\":1700000000000,\"key\":\"a\",\"value\":\"one\"}".to_vec()),
        ("undecodable", b"{\"ts\":1700000000000,\"key\":\"\xff\",\"value\":1}".to_vec()),
        ("undecodable", b"{\"ts\":1700000000000,\"value\":99999999999999999999}".to_vec()),
        ("undecodable", b"{\"ts\":1700000000000,\"value\":NaN}".to_vec()),
        ("undecodable", format!("{{\"ts\":1,\"key\":{deep}").into_bytes()),
        ("no_event_time", b"{\"key\":\"a\",\"value\":1}".to_vec()),
        ("no_event_time", b"{\"ts\":null,\"key\":\"a\",\"value\":1}".to_vec()),
        ("too_large", long.into_bytes()),
        ("future", b"{\"ts\":253370764800000,\"key\":\"a\",\"value\":1}".to_vec()),
    ];
    let mut file = json_lines(&events).into_bytes();
    for (_, record) in &bad {
        file.extend_from_slice(record);
        file.push(b'\n');
    }
    let workspace = Workspace::new();
    workspace.write("events.jsonl", file);
    let ran = run(&workspace, "events=events.jsonl").succeeded();
    assert_eq!(ran.summary("records"), 1_000 + bad.len() as u64);
    assert_eq!(ran.summary("dead letters"), bad.len() as u64);
    assert_eq!(workspace.results("out", "per_key"), expected(&events));

    let letters = workspace.dead_letters("out");
    let mut reasons: Vec<_> =
        letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    let mut wanted: Vec<_> = bad.iter().map(|(reason, _)| *reason).collect();
    reasons.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(reasons, wanted);
    assert!(letters.iter().all(|letter| !letter["position"].is_null()));
}

/// A value that one query failed on stopped the whole shard, for all queries and for ever.
#[test]
fn a_record_that_a_query_fails_on_is_a_dead_letter_of_that_query_only() {
    let events = events(3_000);
    let failing = "\n[queries.failing]\nsql = \"\"\"\n  SELECT window_start, COUNT(*) AS events, \
        SUM(100 / value) AS a, SUM(CAST(key AS INT)) AS b\n  \
        FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY window_start\n\"\"\"\n";
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{failing}"));
    // Numbers, a few of which are none, and a few zeros: neighbours, ends of the file, and far apart.
    let is_bad = |n: usize| n < 2 || n.is_multiple_of(701) || n > 2_996;
    let lines = events.iter().enumerate().map(|(n, event)| {
        let (key, value) = match (is_bad(n), n % 2) {
            (true, 0) => ("four", 4),
            (true, _) => ("4", 0),
            (false, _) => ("4", 4),
        };
        let ts = event.ts;
        format!("{{\"ts\":{ts},\"key\":\"{key}\",\"value\":{value}}}\n")
    });
    workspace.write("events.jsonl", lines.collect::<String>());
    let ran = run(&workspace, "events=events.jsonl").succeeded();
    let bad = (0..events.len()).filter(|n| is_bad(*n)).count();
    assert_eq!((ran.summary("records"), ran.summary("dead letters")), (3_000, bad as u64));

    let counted = |query: &str| -> u64 {
        let rows = workspace.results("out", query).into_iter();
        rows.map(|row| {
            let row: serde_json::Value = serde_json::from_str(&row).unwrap();
            row["events"].as_u64().unwrap()
        })
        .sum()
    };
    assert_eq!(counted("per_key"), 3_000, "the other query counts every record");
    assert_eq!(counted("failing"), (3_000 - bad) as u64);
    let letters = workspace.dead_letters("out");
    for letter in &letters {
        assert_eq!(
            (&letter["reason"], &letter["query"]),
            (&"query_failed".into(), &"failing".into())
        );
        let (raw, detail) = (letter["raw"].as_str().unwrap(), letter["detail"].as_str().unwrap());
        let cause = if raw.contains("four") { "four" } else { "ivide by zero" };
        assert!(detail.contains(cause), "{letter}");
    }
    let positions: BTreeSet<&str> =
        letters.iter().map(|letter| letter["position"].as_str().unwrap()).collect();
    assert_eq!(positions.len(), bad);
}

/// The engine evaluates the right side of AND for rows that its left side excludes, when their
/// neighbours need it.
#[test]
fn a_record_is_not_to_blame_for_what_a_query_excludes() {
    let events = events(2_000);
    let guarded = "\n[queries.guarded]\nsql = \"\"\"\n  SELECT window_start, COUNT(*) AS events\n  \
        FROM TUMBLE(events, ts, INTERVAL '1' DAY) WHERE value <> 0 AND 100 / value > 10\n  \
        GROUP BY window_start\n\"\"\"\n";
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{guarded}"));
    let lines = events.iter().enumerate().map(|(n, event)| {
        let (ts, value) = (event.ts, n % 4);
        format!("{{\"ts\":{ts},\"key\":\"k\",\"value\":{value}}}\n")
    });
    workspace.write("events.jsonl", lines.collect::<String>());
    let ran = run(&workspace, "events=events.jsonl").succeeded();
    assert_eq!((ran.summary("records"), ran.summary("dead letters")), (2_000, 0));
    let rows = workspace.results("out", "guarded").join("\n");
    assert!(rows.contains("\"events\":1500"), "{rows}");
}

/// A window with an unlucky value stopped everybody's results for ever.
#[test]
fn what_a_query_fails_on_when_windows_close_is_a_dead_letter_and_the_rest_comes() {
    let above = "\n[queries.share]\nsql = \"\"\"\n  SELECT key, window_start, 60 / SUM(value) AS share\n  \
        FROM TUMBLE(events, ts, INTERVAL '10' SECOND) GROUP BY key, window_start, window_end\n\"\"\"\n\
        \n[queries.ranked]\nsql = \"\"\"\n  SELECT window_start, key, 60 / total AS share FROM (\n    \
        SELECT key, window_start, window_end, SUM(value) AS total\n    \
        FROM TUMBLE(events, ts, INTERVAL '10' SECOND) GROUP BY key, window_start, window_end\n  ) \
        QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY 60 / total) = 1\n\"\"\"\n";
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{above}"));
    // In each fifth window the values of `a` add up to zero.
    let lines = (0..1_000).map(|n: i64| {
        let (ts, key) = (n * 1_000, if n % 2 == 0 { "a" } else { "b" });
        let value = match (n / 10 % 5, n % 10) {
            (0, 0) => -8,
            _ => 2,
        };
        format!("{{\"ts\":{ts},\"key\":\"{key}\",\"value\":{value}}}\n")
    });
    workspace.write("events.jsonl", lines.collect::<String>());
    let ran = run(&workspace, "events=events.jsonl").succeeded();
    assert_eq!((ran.summary("records"), ran.summary("dead letters")), (1_000, 40));

    let counted = |query: &str| workspace.results("out", query).len();
    assert_eq!((counted("per_key"), counted("share"), counted("ranked")), (200, 180, 80));
    assert!(workspace.results("out", "share").iter().all(|row| row.contains("\"share\":6")));
    for letter in workspace.dead_letters("out") {
        assert_eq!(letter["reason"], "query_failed");
        assert!(letter["detail"].as_str().unwrap().contains("ivide by zero"), "{letter}");
        let raw = letter["raw"].as_str().unwrap();
        let rows: Vec<serde_json::Value> =
            raw.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected = if letter["query"] == "share" { 1 } else { 2 };
        assert_eq!((&letter["rows"], rows.len()), (&expected.into(), expected));
        assert_eq!((&rows[0]["key"], &rows[0]["sum(events.value)"]), (&"a".into(), &0.into()));
        assert_eq!(rows[0]["window_start"], letter["windows"][0]["start"]);
    }
    let again = run(&workspace, "events=events.jsonl").succeeded();
    assert_eq!((again.summary("records"), again.summary("dead letters")), (0, 0));
}

#[test]
fn times_before_1970_have_windows_too() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", "{\"ts\":-1,\"key\":\"a\",\"value\":1}\n");
    run(&workspace, "events=events.jsonl").succeeded();
    let results = workspace.results("out", "per_key");
    assert_eq!(results.len(), 1);
    assert!(results[0].contains("1969-12-31T23:59:50.000Z"), "{results:?}");
}

#[test]
fn an_empty_file_has_no_results() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", "");
    let ran = run(&workspace, "events=events.jsonl").succeeded();
    assert_eq!((ran.summary("records"), ran.summary("results")), (0, 0));
    assert!(workspace.results("out", "per_key").is_empty());
}

#[test]
fn a_missing_file_is_named() {
    let workspace = Workspace::new();
    run(&workspace, "events=nowhere.jsonl").failed(1, &["nowhere.jsonl"]);
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events(10)));
    workspace.write("notes.txt", "these are my notes\n");
    workspace
        .tidemill(&[&RUN[..], &["events=events.jsonl", "--store", "notes.txt"]].concat())
        .failed(1, &["notes.txt"]);
    assert_eq!(fs::read_to_string(workspace.path("notes.txt")).unwrap(), "these are my notes\n");
}

#[test]
fn a_store_that_another_process_uses_is_refused() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events(10)));
    let run = ["run", "pipeline.toml", "--store", "s.redb", "--input"];
    let mut command = workspace.command(&[&run[..], &["events=-", "--output", "out"]].concat());
    let mut first = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    workspace.wait_for("out/per_key.jsonl");
    workspace
        .tidemill(&[&run[..], &["events=events.jsonl", "--until-end"]].concat())
        .failed(1, &["s.redb", "another process"]);

    let mut stdin = first.stdin.take().unwrap();
    stdin.write_all(b"{\"ts\":1,\"key\":\"a\",\"value\":1}\n").unwrap();
    drop(stdin);
    Ran::of(first.wait_with_output().unwrap()).succeeded();
    assert_eq!(workspace.results("out", "per_key").len(), 1);
}

#[test]
fn files_of_somebody_else_in_the_output_folder_are_left_alone() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events(10)));
    fs::create_dir(workspace.path("out")).unwrap();
    workspace.write("out/per_key.jsonl", "precious\n");
    run(&workspace, "events=events.jsonl").failed(1, &["per_key.jsonl", "another output folder"]);
    assert_eq!(workspace.results("out", "per_key"), ["precious"]);
}
