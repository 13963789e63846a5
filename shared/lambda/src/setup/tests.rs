use std::path::PathBuf;

use super::*;

const LAMBDA: [(&str, &str); 4] = [
    (RUNTIME_API, "127.0.0.1:9001"),
    ("AWS_LAMBDA_FUNCTION_NAME", "f"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
];

const FILE: &str = r#"
name = "ads"

[streams.clicks]
format = "json"
columns = { user = "string", ts = "timestamp_ms" }
event_time = "ts"

[queries.per_user]
sql = "SELECT user, COUNT(*) AS n FROM TUMBLE(clicks, ts, INTERVAL '10' SECOND) GROUP BY user, window_start, window_end"
sink = "out"

[sinks.out]
type = "dynamodb"
table = "${RESULTS}"
"#;

/// Reads with this pipeline file and these variables.
fn read_with(file: Option<&str>, variables: &[(&str, &str)]) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("pipeline.toml");
    let name = path.to_str().unwrap().to_string();
    let mut all = Vec::from(LAMBDA);
    all.extend(variables);
    if let Some(file) = file {
        std::fs::write(&path, file).unwrap();
        all.push((PIPELINE, &name));
    }
    read(&Environment::of(all))
}

#[test]
fn a_right_deployment_has_no_faults() {
    let found = read_with(Some(FILE), &[(STATE_TABLE, "state"), ("RESULTS", "results")]);
    assert_eq!(found.faults, []);
    assert_eq!(found.state_table.as_deref(), Some("state"));
    assert_eq!(found.starting, Some(StartingPosition::TrimHorizon));
    assert_eq!(found.schedule, Some(Duration::from_secs(60)));
    assert_eq!(found.planned.unwrap().0.name, "ads");
    let settings = [(STARTING_POSITION, "LATEST"), (SCHEDULE_SECONDS, "300")];
    let found = read_with(None, &settings);
    assert_eq!(found.starting, Some(StartingPosition::Latest));
    assert_eq!(found.schedule, Some(Duration::from_secs(300)));
}

#[test]
fn bounds_follow_the_functions_memory_unless_the_file_says_otherwise() {
    let variables = [(STATE_TABLE, "state"), ("RESULTS", "results")];
    let found = read_with(Some(FILE), &variables).planned.unwrap().1;
    assert_eq!((found.state_bytes_max, found.show_content), (32 << 20, false));
    let file = format!("{FILE}[advance]\nmax_state = \"3GiB\"\n");
    let found = read_with(Some(&file), &variables).planned.unwrap().1;
    assert_eq!(found.state_bytes_max, 3 << 30);
    assert_eq!(tick_bytes_max(&Environment::of(LAMBDA)), 4 << 20);
    let large = Environment::of([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "10240")]);
    assert_eq!(tick_bytes_max(&large), TICK_BYTES_MAX);
    assert_eq!(tick_bytes_max(&Environment::default()), TICK_BYTES_MAX);
}

#[test]
fn content_is_shown_only_when_asked_for() {
    for (value, shown) in [("true", true), ("1", false), ("", false), ("false", false)] {
        let variables = [(STATE_TABLE, "state"), ("RESULTS", "results"), (LOG_CONTENT, value)];
        let found = read_with(Some(FILE), &variables).planned.unwrap().1;
        assert_eq!(found.show_content, shown, "{value}");
    }
}

#[test]
fn an_empty_environment_lacks_all_that_is_needed() {
    let Read { faults, .. } = read(&Environment::default());
    let text = told(&faults);
    for needed in [PIPELINE, STATE_TABLE, RUNTIME_API, "3 faults"] {
        assert!(text.contains(needed), "{text}");
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let file = FILE
        .replace("format = \"json\"", "format = \"jsn\"")
        .replace("event_time = \"ts\"", "event_time = \"tz\"");
    let settings = [(STARTING_POSITION, "NOWHERE"), (SCHEDULE_SECONDS, "0")];
    let Read { faults, planned, .. } = read_with(Some(&file), &settings);
    assert!(planned.is_none());
    let text = told(&faults);
    for told in [STATE_TABLE, "NOWHERE", SCHEDULE_SECONDS, "jsn", "`tz`", "RESULTS", "help: "] {
        assert!(text.contains(told), "{told} is not in {text}");
    }
    assert_eq!(faults.len(), 6, "{text}");
}

#[test]
fn mistakes_in_sql_are_told_beside_those_of_the_file() {
    let file =
        FILE.replace("COUNT(*)", "COUNTT(*)").replace("type = \"dynamodb\"", "type = \"dynamo\"");
    let Read { faults, .. } = read_with(Some(&file), &[(STATE_TABLE, "state")]);
    let text = told(&faults);
    assert!(text.contains("COUNTT") || text.contains("countt"), "{text}");
    assert!(text.contains("`dynamo`"), "{text}");
    let only_sql = FILE.replace("COUNT(*)", "COUNTT(*)");
    let variables = [(STATE_TABLE, "state"), ("RESULTS", "results")];
    let Read { faults, .. } = read_with(Some(&only_sql), &variables);
    assert_eq!(faults.len(), 1);
    let picture = &faults[0].what;
    assert!(picture.contains("pipeline.toml:10:"), "the place: {picture}");
    assert!(picture.contains("──"), "the line with a mark: {picture}");
}

#[test]
fn an_unset_variable_and_a_missing_file_are_faults() {
    let Read { faults, .. } = read_with(Some(FILE), &[(STATE_TABLE, "state")]);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].what.contains("RESULTS"), "{}", faults[0].what);
    let Read { faults, .. } =
        read_with(None, &[(STATE_TABLE, "state"), (PIPELINE, "/nowhere/pipeline.toml")]);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].what.contains("/nowhere/pipeline.toml"), "{}", faults[0].what);
}

#[test]
fn an_empty_variable_is_none_for_us_and_a_text_for_the_file() {
    let Read { faults, state_table, .. } = read_with(None, &[(STATE_TABLE, "")]);
    assert_eq!(state_table, None);
    assert!(faults.iter().any(|fault| fault.what.contains(STATE_TABLE)));
    let environment = Environment::of([("A", "")]);
    assert_eq!((environment.get("A"), environment.set("A")), (None, Some("")));
}

#[test]
fn one_fault_is_told_so() {
    let text = told(&[Fault::new("a\nb", "c")]);
    let expected =
        "this function cannot start: 1 fault in its deployment\n  1. a\n     b\n     help: c";
    assert_eq!(text, expected);
}
