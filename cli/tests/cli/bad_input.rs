//! What is broken gives one clear error and loses nothing; a record never stops a run.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::workspace::{Ran, Workspace, events, expected, json_lines};

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
