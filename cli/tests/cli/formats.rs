//! Every way in and every way out gives the same results.

use std::io::Write;
use std::process::Stdio;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

use crate::workspace::{PIPELINE, Ran, Workspace, events, expected, json_lines};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn plain_gzip_zstd_and_any_number_of_shards_give_the_same_results() {
    let events = events(30_000);
    let text = json_lines(&events);
    let workspace = Workspace::new();
    workspace.write("plain.jsonl", &text);
    workspace.write("packed.jsonl.gz", gzip(text.as_bytes()));
    workspace.write("packed.jsonl.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    let files = ["plain.jsonl", "packed.jsonl.gz", "packed.jsonl.zst"];
    for (n, (file, shards)) in files.into_iter().zip(["1", "3", "4"]).enumerate() {
        let (input, out) = (format!("events={file}"), format!("out{n}"));
        let ran = workspace
            .tidemill(&[
                "run",
                "pipeline.toml",
                "--input",
                &input,
                "--shards",
                shards,
                "--output",
                &out,
                "--until-end",
            ])
            .succeeded();
        assert_eq!(workspace.results(&out, "per_key"), expected(&events), "{file}");
        assert_eq!(workspace.dead_letters(&out).len(), 0);
        assert_eq!(ran.summary("records"), 30_000);
        assert_eq!(ran.summary("results"), expected(&events).len() as u64);
        assert_eq!((ran.summary("late"), ran.summary("duplicates skipped")), (0, 0));
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn csv_gives_the_same_results() {
    let events = events(5_000);
    let workspace = Workspace::with_pipeline(&PIPELINE.replace("\"json\"", "\"csv\""));
    let rows = events.iter().map(|e| format!("{},\"{}\",{}\n", e.value, e.key, e.ts));
    let text: String = std::iter::once("value,key,ts\n".to_string()).chain(rows).collect();
    workspace.write("events.csv", text);
    workspace
        .tidemill(&[
            "run",
            "pipeline.toml",
            "--input",
            "events=events.csv",
            "--output",
            "out",
            "--until-end",
        ])
        .succeeded();
    assert_eq!(workspace.results("out", "per_key"), expected(&events));
}

#[test]
fn stdin_ends_by_itself() {
    let events = events(5_000);
    let workspace = Workspace::new();
    let mut command =
        workspace.command(&["run", "pipeline.toml", "--input", "events=-", "--output", "out"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(json_lines(&events).as_bytes()).unwrap();
    Ran::of(child.wait_with_output().unwrap()).succeeded();
    assert_eq!(workspace.results("out", "per_key"), expected(&events));
}

#[test]
fn stdout_gets_json_lines_with_ids() {
    let events = events(5_000);
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events));
    let ran = workspace
        .tidemill(&[
            "run",
            "pipeline.toml",
            "--input",
            "events=events.jsonl",
            "--output",
            "-",
            "--until-end",
        ])
        .succeeded();
    let mut ids = Vec::new();
    let mut results = Vec::new();
    for line in ran.stdout.lines() {
        let mut row: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).unwrap();
        assert_eq!(row.remove("query").unwrap(), "per_key");
        ids.push(row.remove("id").unwrap().to_string());
        results.push(serde_json::Value::from(row));
    }
    let wanted: Vec<serde_json::Value> =
        expected(&events).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), wanted.len());
    assert!(wanted.iter().all(|row| results.contains(row)));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), results.len());
}

#[test]
fn without_output_results_are_readable_lines() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", "{\"ts\":1700000000000,\"key\":\"a\",\"value\":7}\n");
    let ran = workspace
        .tidemill(&["run", "pipeline.toml", "--input", "events=events.jsonl", "--until-end"])
        .succeeded();
    assert_eq!(ran.stdout, "per_key  2023-11-14 22:13:20 – 22:13:30  key=a  events=1  total=7\n");
    assert!(ran.stderr.contains("the state is temporary"), "{}", ran.stderr);
}

#[test]
fn parquet_files_are_readable() {
    let events = events(5_000);
    let parquet = "sink = \"files\"\n\n[sinks.files]\ntype = \"file\"\nformat = \"parquet\"\n";
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{parquet}"));
    workspace.write("events.jsonl", json_lines(&events));
    let run = ["run", "pipeline.toml", "--input", "events=events.jsonl", "--output", "out"];
    workspace.tidemill(&[&run[..], &["--until-end"]].concat()).succeeded();

    let file = std::fs::File::open(workspace.path("out/per_key.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), expected(&events).len());
    let counted: i64 = rows.iter().map(|row| row.get_long(3).unwrap()).sum();
    assert_eq!(counted, 5_000);
}

#[test]
fn several_streams_wait_for_each_other() {
    let events = events(20_000);
    let second = PIPELINE
        .split_once("[streams.events]")
        .map(|(_, rest)| format!("[streams.others]{rest}").replace("(events,", "(others,"))
        .unwrap()
        .replace("[queries.per_key]", "[queries.of_others]");
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{second}"));
    workspace.write("events.jsonl", json_lines(&events));
    let fewer: Vec<_> = events.iter().step_by(7).cloned().collect();
    workspace.write("others.jsonl", json_lines(&fewer));
    workspace
        .tidemill(&[
            "run",
            "pipeline.toml",
            "--input",
            "events=events.jsonl",
            "--input",
            "others=others.jsonl",
            "--output",
            "out",
            "--until-end",
        ])
        .succeeded();
    assert_eq!(workspace.results("out", "per_key"), expected(&events));
    assert_eq!(workspace.results("out", "of_others"), expected(&fewer));
}

#[test]
fn what_the_pipeline_sends_elsewhere_comes_to_the_output_with_a_note() {
    let events = events(1_000);
    let queue = "sink = \"alerts\"\n\n[sinks.alerts]\ntype = \"kinesis\"\nstream = \"alerts\"\n";
    let workspace = Workspace::with_pipeline(&format!("{PIPELINE}{queue}"));
    workspace.write("events.jsonl", json_lines(&events));
    let run = ["run", "pipeline.toml", "--input", "events=events.jsonl", "--output", "out"];
    let ran = workspace.tidemill(&[&run[..], &["--until-end"]].concat()).succeeded();
    assert!(ran.stderr.contains("what the pipeline sends to alerts"), "{}", ran.stderr);
    assert_eq!(workspace.results("out", "per_key"), expected(&events));
}
