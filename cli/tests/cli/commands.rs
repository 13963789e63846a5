//! check, explain, state, and command lines that make no sense.

use crate::workspace::{PIPELINE, Workspace, events, json_lines};

#[test]
fn check_counts_what_is_right() {
    let ran = Workspace::new().tidemill(&["check", "pipeline.toml"]).succeeded();
    assert_eq!(ran.stdout, "ok: 1 stream, 1 query\n");
}

#[test]
fn check_shows_every_mistake_at_once() {
    let broken = PIPELINE
        .replace("out_of_orderness = \"1s\"", "out_of_orderness = \"soon\"")
        .replace("event_time = \"ts\"", "event_tiem = \"ts\"");
    let workspace = Workspace::with_pipeline(&broken);
    let ran = workspace.tidemill(&["check", "pipeline.toml"]);
    ran.failed(1, &["soon", "event_tiem", "pipeline.toml:"]);
}

#[test]
fn check_shows_mistakes_of_the_sql_beside_those_of_the_file() {
    let broken = PIPELINE.replace("SUM(value)", "SUM(valeu)") + "late = \"never\"\n";
    let workspace = Workspace::with_pipeline(&broken);
    workspace
        .tidemill(&["check", "pipeline.toml"])
        .failed(1, &["never", "valeu", "its SQL has some too"]);
    // With the stream in doubt, what is said of the SQL could be wrong.
    let workspace = Workspace::with_pipeline(&broken.replace("\"bigint\"", "\"biginteger\""));
    let ran = workspace.tidemill(&["check", "pipeline.toml"]).failed(1, &["never", "biginteger"]);
    assert!(!ran.stderr.contains("valeu`"), "{}", ran.stderr);
}

#[test]
fn check_points_into_the_sql() {
    let workspace = Workspace::with_pipeline(&PIPELINE.replace("SUM(value)", "SUM(valeu)"));
    workspace.tidemill(&["check", "pipeline.toml"]).failed(1, &["valeu", "pipeline.toml:13"]);
}

/// The run read all input, and then told of a disk without room, again and again.
#[test]
fn what_a_format_cannot_hold_is_told_before_anything_runs() {
    let pipeline = PIPELINE.replace("SELECT", "SELECT INTERVAL '1' DAY AS day,");
    let sink = "\nsink = \"file\"\n[sinks.file]\ntype = \"file\"\nformat = \"parquet\"\n";
    let workspace = Workspace::with_pipeline(&(pipeline + sink));
    let words = ["query `per_key` as Parquet", "cast the column"];
    workspace.tidemill(&["check", "pipeline.toml"]).failed(1, &words);
    let run = ["run", "pipeline.toml", "--input", "events=/dev/null", "--output", "out"];
    workspace.tidemill(&run).failed(1, &words);
}

#[test]
fn explain_shows_both_parts_of_a_query() {
    let workspace = Workspace::new();
    let ran = workspace.tidemill(&["explain", "pipeline.toml", "per_key"]).succeeded();
    assert!(ran.stdout.contains("per_key"), "{}", ran.stdout);
    for part in ["ingest", "advance"] {
        assert!(ran.stdout.to_lowercase().contains(part), "{}", ran.stdout);
    }
    let ran = workspace.tidemill(&["explain", "pipeline.toml", "per_kye"]);
    ran.failed(1, &["per_kye", "its queries are: per_key"]);
}

#[test]
fn state_shows_logs_and_open_windows() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events(1_000)));
    let run = ["run", "pipeline.toml", "--input", "events=events.jsonl", "--shards", "2"];
    let run = [&run[..], &["--store", "s.redb", "--output", "out", "--until-end"]].concat();
    workspace.tidemill(&run).succeeded();
    let ran = workspace.tidemill(&["state", "s.redb", "--pipeline", "pipeline.toml"]).succeeded();
    for word in ["test", "events/0-of-2", "events/1-of-2", "per_key", "1,000"] {
        assert!(ran.stdout.contains(word), "`{word}` is not in:\n{}", ran.stdout);
    }
    let without = workspace.tidemill(&["state", "s.redb"]).succeeded();
    assert!(without.stdout.contains("events/0-of-2"), "{}", without.stdout);
    workspace.tidemill(&["state", "nowhere.redb"]).failed(1, &["nowhere.redb"]);
}

#[test]
fn a_table_needs_its_pipeline() {
    let workspace = Workspace::new();
    workspace.tidemill(&["state", "--table", "t"]).failed(2, &["--pipeline"]);
    workspace.tidemill(&["state"]).failed(2, &["STORE"]);
    let both = ["state", "s.redb", "--table", "t", "--pipeline", "pipeline.toml"];
    workspace.tidemill(&both).failed(2, &["cannot be used with"]);
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_says_how_to_read_tables() {
    let workspace = Workspace::new();
    let args = ["state", "--table", "t", "--pipeline", "pipeline.toml"];
    workspace.tidemill(&args).failed(1, &["table `t`", "--features aws"]);
}

#[test]
fn inputs_must_be_those_of_the_pipeline() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events(10)));
    let run = |inputs: &[&str]| {
        let inputs = inputs.iter().flat_map(|input| ["--input", input]);
        let args: Vec<&str> =
            ["run", "pipeline.toml", "--until-end"].into_iter().chain(inputs).collect();
        workspace.tidemill(&args)
    };
    run(&["evnets=events.jsonl"]).failed(1, &["evnets", "events"]);
    run(&["events=events.jsonl", "events=events.jsonl"]).failed(1, &["events", "once"]);
    run(&["events"]).failed(2, &["STREAM=FILE"]);
    run(&[]).failed(2, &["--input"]);
}
