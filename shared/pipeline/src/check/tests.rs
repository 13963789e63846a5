//! Files with mistakes and what is said about them, as text: `cases/*.txt`.
//!
//! A case is a title line `==== title`, the file, a line `----`, and what the user sees. A file
//! that has no `[streams…` or no `[queries…` gets a good one at its end, unless its title ends
//! with "(alone)". Run with `UPDATE_CASES=1` to write what is said now, and read the difference.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;
use tidemill_model::ColumnType;

use crate::*;

const GOOD_STREAM: &str = r#"
[streams.events]
format = "json"
columns = { user = "string", ts = "timestamp_ms" }
event_time = "ts"
"#;

/// A path without indexes, its members between slashes.
fn path(column: &Column) -> String {
    let members = column.path.iter().map(|step| match step {
        PathStep::Member(member) => member.as_str(),
        PathStep::Element(index) => panic!("an index: {index}"),
    });
    members.collect::<Vec<_>>().join("/")
}

const GOOD_QUERY: &str = r#"
[queries.counts]
sql = "SELECT COUNT(*) FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start"
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "VIEWS_TABLE" => Some("views-prod".to_owned()),
        "FIVE" => Some("5".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// A folder with what the tables of the cases refer to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["campaigns.csv", "users.jsonl", "users.data"] {
        fs::write(folder.path().join(file), "ad_id,campaign_id\n1,2\n").unwrap();
    }
    fs::create_dir(folder.path().join("folder.csv")).unwrap();
    folder
}

fn render(error: &dyn miette::Diagnostic) -> String {
    let mut out = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_wrap_lines(false)
        .render_report(&mut out, error)
        .unwrap();
    out.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn answer(title: &str, file: &str, folder: &Path) -> (String, Vec<&'static str>) {
    let mut text = file.to_owned();
    if !title.ends_with("(alone)") {
        for (section, good) in [("[streams", GOOD_STREAM), ("[queries", GOOD_QUERY)] {
            if !file.contains(section) {
                text.push_str(good);
            }
        }
    }
    match parse("pipeline.toml", &text, folder, &env) {
        Ok(_) => ("no mistake\n".to_owned(), Vec::new()),
        Err(errors) => {
            let codes = errors.iter().map(PipelineError::code).collect();
            (render(&errors).replace(&folder.display().to_string(), "FOLDER"), codes)
        }
    }
}

/// Runs the cases of one file and answers its text with what is said now, and the codes used.
fn run_cases(text: &str, folder: &Path) -> (String, Vec<&'static str>) {
    let mut now = String::new();
    let mut codes = Vec::new();
    let mut parts = text.split("==== ");
    now.push_str(parts.next().unwrap_or_default());
    for case in parts {
        let (title, rest) = case.split_once('\n').unwrap();
        let (file, _) = rest.split_once("----\n").unwrap();
        let (said, said_codes) = answer(title, file, folder);
        write!(now, "==== {title}\n{file}----\n{}\n\n", said.trim_end()).unwrap();
        codes.extend(said_codes);
    }
    (now, codes)
}

fn case_files() -> Vec<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/check/cases");
    let mut files: Vec<_> = fs::read_dir(cases).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_mistake_is_explained() {
    let folder = folder();
    let mut seen = Vec::new();
    for path in case_files() {
        let text = fs::read_to_string(&path).unwrap();
        let (now, codes) = run_cases(&text, folder.path());
        seen.extend(codes);
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&path, now).unwrap();
        } else if now != text {
            let first = now.lines().zip(text.lines()).find(|(now, then)| now != then);
            panic!("{} differs, first at {first:?}\n\n{now}", path.display());
        }
    }
    // Those two need a file on disk and a large file: tests of their own below.
    seen.extend([code::UNREADABLE, code::TOO_LARGE, code::TOO_MANY, code::BAD_SIZE]);
    for code in code::ALL {
        assert!(seen.contains(code), "no case for {code}");
    }
}

const AD_CAMPAIGNS: &str = r#"name = "ad-campaigns"

[streams.ad_events]
format = "json"
columns = { ad_id = "string", event_type = "string", event_time = "timestamp_ms" }
event_time = "event_time"
out_of_orderness = "3s"
idle_after = "1m"
max_future = "10m"

[tables.campaigns]                     # static lookup table, shipped with the function
file = "campaigns.csv"

[queries.views_per_campaign]
sql = """
  SELECT c.campaign_id, window_start, window_end, COUNT(*) AS views
  FROM TUMBLE(ad_events, event_time, INTERVAL '10' SECOND) e
  JOIN campaigns c ON c.ad_id = e.ad_id
  WHERE e.event_type = 'view'
  GROUP BY c.campaign_id, window_start, window_end
"""
grace = "5s"
late = "dead_letter"
sink = "views"

[sinks.views]
type = "dynamodb"
table = "${VIEWS_TABLE}"
"#;

#[test]
fn the_design_s_example_is_a_pipeline() {
    let folder = folder();
    let pipeline = parse("pipeline.toml", AD_CAMPAIGNS, folder.path(), &env).unwrap();
    assert_eq!(pipeline.name, "ad-campaigns");
    assert_eq!(pipeline.file.text.as_ref(), AD_CAMPAIGNS);
    assert_eq!(pipeline.segment_ttl_ms, 7 * 24 * 3600 * 1000);
    assert_eq!(pipeline.dead_letter_sink, None);

    let stream = &pipeline.streams["ad_events"];
    let column = |name: &str, data_type| Column::new(name, data_type);
    assert_eq!(
        stream.columns,
        [
            column("ad_id", ColumnType::String),
            column("event_type", ColumnType::String),
            column("event_time", ColumnType::TimestampMs),
        ]
    );
    assert_eq!((stream.format, stream.event_time), (Format::Json, EventTime::Column(2)));
    assert_eq!((stream.out_of_orderness_ms, stream.idle_after_ms), (3_000, 60_000));
    assert_eq!((stream.max_future_ms, stream.assume_idle), (600_000, false));

    let table = &pipeline.tables["campaigns"];
    assert_eq!(table.path, folder.path().join("campaigns.csv"));
    assert_eq!((table.format, &table.columns), (TableFormat::Csv, &None));
    assert_eq!(&AD_CAMPAIGNS[table.span.clone()], "\"campaigns.csv\"");

    let query = &pipeline.queries["views_per_campaign"];
    assert!(query.sql.starts_with("  SELECT c.campaign_id"), "{}", query.sql);
    assert_eq!((query.grace_ms, query.late), (5_000, Late::DeadLetter));
    assert_eq!(query.sinks, ["views"]);
    let word = query.sql.find("event_type").unwrap();
    assert_eq!(&AD_CAMPAIGNS[query.place(word..word + 10)], "event_type");

    let views = &pipeline.sinks["views"].kind;
    assert_eq!(views, &SinkKind::DynamoDb { table: "views-prod".to_owned() });
}

#[test]
fn what_is_left_out_has_its_default() {
    let text =
        format!("name = \"p\"{GOOD_STREAM}{GOOD_QUERY}[sinks.s]\ntype = \"s3\"\nbucket = \"b\"");
    let pipeline = parse("p.toml", &text, Path::new(""), &env).unwrap();
    let stream = &pipeline.streams["events"];
    assert_eq!((stream.out_of_orderness_ms, stream.idle_after_ms), (0, 60_000));
    assert_eq!((stream.max_future_ms, stream.assume_idle), (600_000, false));
    assert_eq!((&stream.source, pipeline.tick_ms), (&None, 5_000));
    let query = &pipeline.queries["counts"];
    assert_eq!((query.grace_ms, query.late, &query.sinks), (0, Late::DeadLetter, &vec![]));
    assert_eq!(
        pipeline.sinks["s"].kind,
        SinkKind::S3 {
            bucket: "b".to_owned(),
            prefix: String::new(),
            format: FileFormat::JsonLines
        }
    );
}

#[test]
fn every_key_is_read() {
    let folder = folder();
    let text = r#"
name = "all_keys-1"
dead_letters = "queue"
[state]
segment_ttl = "1d"
[advance]
tick = "1s"
[streams.json]
format = "json"
event_time = "arrival_time"
out_of_orderness = "1h 30m"
idle_after = "${FIVE}ms"
max_future = "0s"
idle = "assume"
[streams.json.columns]
zeta = "bigint"
user_id = { type = "string", path = "user.id" }
alpha = "decimal(18, 2)"
"dotted.name" = "double"
[streams.json.source]
type = "kinesis"
stream = "${STREAM:-json-events}"
batching_window = "4ms"
[streams.csv]
format = "csv"
event_time = "at"
[streams.csv.columns.at]
type = "timestamp"
path = "Event.Time"
format = "%d/%m/%Y %H:%M"
time_zone = "${ZONE:-Europe/Paris}"
[streams.csv.source]
type = "kafka"
topic = "csv.events"
bootstrap_servers = "a:9092"
properties = { "sasl.password" = "${FIVE}", "socket.timeout.ms" = "100" }
[tables.users]
file = "users.data"
format = "json"
columns = { id = { type = "int", path = "user.id" }, arrival_time = "string" }
[tables.other]
file = "./users.jsonl"
[queries.q]
sql = 'SELECT ''${NOT_A_VARIABLE}'''
late = "drop"
emit = "final"
sink = "file"
[sinks]
file = { type = "file", format = "parquet" }
out = { type = "stdout" }
kinesis = { type = "kinesis", stream = "$${not a variable}" }
queue = { type = "sqs", queue_url = "https://sqs.eu-central-1.amazonaws.com/1/q" }
s3 = { type = "s3", bucket = "b", prefix = "p/", format = "parquet" }
[sinks.kafka]
type = "kafka"
bootstrap_servers = "a:9092, b:9093"
topic = "t"
properties = { "security.protocol" = "${PROTOCOL:-SASL_SSL}" }
"#
    .replace("'SELECT ''${NOT_A_VARIABLE}'''", "\"SELECT '${NOT_A_VARIABLE}'\"");
    let pipeline = parse("p.toml", &text, folder.path(), &env).unwrap();
    assert_eq!(pipeline.dead_letter_sink.as_deref(), Some("queue"));
    assert_eq!(pipeline.segment_ttl_ms, 24 * 3600 * 1000);
    assert_eq!(pipeline.tick_ms, 1_000);

    let json = &pipeline.streams["json"];
    assert_eq!(json.event_time, EventTime::Arrival);
    assert_eq!((json.out_of_orderness_ms, json.idle_after_ms), (5_400_000, 5));
    assert_eq!((json.max_future_ms, json.assume_idle), (0, true));
    let columns: Vec<_> = json.columns.iter().map(|c| (c.name.as_str(), path(c))).collect();
    let expected = [
        ("zeta", "zeta"),
        ("user_id", "user/id"),
        ("alpha", "alpha"),
        ("dotted.name", "dotted.name"),
    ];
    assert_eq!(columns, expected.map(|(name, path)| (name, path.to_owned())));

    let csv = &pipeline.streams["csv"];
    assert_eq!((csv.format, csv.event_time), (Format::Csv, EventTime::Column(0)));
    assert_eq!(path(&csv.columns[0]), "Event.Time");
    let first = &csv.columns[0];
    assert_eq!(first.format.as_deref(), Some("%d/%m/%Y %H:%M"));
    assert_eq!(first.time_zone.as_deref(), Some("Europe/Paris"));

    let owned = |text: &str| text.to_owned();
    assert_eq!(json.source, Some(StreamSource::Kinesis { stream: owned("json-events") }));
    let properties = [("sasl.password", "5"), ("socket.timeout.ms", "100")];
    let kafka = StreamSource::Kafka {
        topic: owned("csv.events"),
        bootstrap_servers: Some(owned("a:9092")),
        properties: properties.map(|(name, value)| (owned(name), owned(value))).into(),
    };
    assert_eq!(csv.source, Some(kafka));

    let users = &pipeline.tables["users"];
    assert_eq!(users.format, TableFormat::JsonLines);
    assert_eq!(path(&users.columns.as_ref().unwrap()[0]), "user/id");
    assert_eq!(pipeline.tables["other"].format, TableFormat::JsonLines);

    let query = &pipeline.queries["q"];
    assert_eq!(query.sql, "SELECT '${NOT_A_VARIABLE}'");
    assert_eq!((query.late, &query.sinks), (Late::Drop, &vec!["file".to_string()]));

    let text = |text: &str| text.to_owned();
    for (name, kind) in [
        ("file", SinkKind::File { format: FileFormat::Parquet }),
        ("out", SinkKind::Stdout),
        ("kinesis", SinkKind::Kinesis { stream: text("${not a variable}") }),
        ("queue", SinkKind::Sqs { queue_url: text("https://sqs.eu-central-1.amazonaws.com/1/q") }),
        ("s3", SinkKind::S3 { bucket: text("b"), prefix: text("p/"), format: FileFormat::Parquet }),
        (
            "kafka",
            SinkKind::Kafka {
                bootstrap_servers: text("a:9092, b:9093"),
                topic: text("t"),
                properties: BTreeMap::from([(text("security.protocol"), text("SASL_SSL"))]),
            },
        ),
    ] {
        assert_eq!(pipeline.sinks[name].kind, kind);
    }
}

/// A record finds its stream by where it comes from.
#[test]
fn a_stream_is_found_by_its_source() {
    let stream = |name: &str, source: &str| {
        format!(
            "[streams.{name}]\nformat = \"csv\"\ncolumns = {{ a = \"int\" }}\n\
             event_time = \"arrival_time\"\n{source}\n"
        )
    };
    let text = [
        "name = \"p\"\n",
        &stream("clicks", "source = { type = \"kinesis\", stream = \"clicks-prod\" }"),
        &stream("views", "source = { type = \"kafka\", topic = \"views-prod\" }"),
        &stream("plain", ""),
        GOOD_QUERY,
    ]
    .concat();
    let pipeline = parse("p.toml", &text, Path::new(""), &env).unwrap();
    let kinesis = |name| pipeline.stream_of_kinesis(name).map(|stream| stream.name.as_str());
    let topic = |name| pipeline.stream_of_topic(name).map(|stream| stream.name.as_str());
    for (name, of_kinesis, of_topic) in [
        ("clicks-prod", Some("clicks"), None),
        ("views-prod", None, Some("views")),
        ("plain", Some("plain"), Some("plain")),
        ("clicks", None, None),
        ("views", None, None),
    ] {
        assert_eq!((kinesis(name), topic(name)), (of_kinesis, of_topic), "{name}");
    }
}

#[test]
fn an_error_in_sql_points_into_the_file() {
    let folder = folder();
    let pipeline = parse("pipeline.toml", AD_CAMPAIGNS, folder.path(), &env).unwrap();
    let query = &pipeline.queries["views_per_campaign"];
    let at = query.sql.find("campaigns c").unwrap();
    let error = PipelineError::new("plan::unknown_table", "there is no table `campaigns`")
        .in_sql(query, at..at + 9, "unknown")
        .help("define it");
    let said = render(&PipelineErrors::new(&pipeline.file, vec![error]));
    assert!(said.contains("[pipeline.toml:18:8]"), "{said}");
    assert!(said.contains("──── unknown") || said.contains("╰── unknown"), "{said}");

    let beyond = query.place(query.sql.len() + 5..usize::MAX);
    assert_eq!(&AD_CAMPAIGNS[beyond.start..beyond.start + 3], "\"\"\"");
}

#[test]
fn a_file_is_loaded_with_its_folder() {
    let folder = folder();
    let path = folder.path().join("pipeline.toml");
    fs::write(&path, AD_CAMPAIGNS).unwrap();
    let pipeline = load(&path, &env).unwrap();
    assert_eq!(pipeline.tables["campaigns"].path, folder.path().join("campaigns.csv"));
    assert_eq!(pipeline.file.name, path.display().to_string());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = folder();
    fs::write(folder.path().join("latin1.toml"), b"name = \"caf\xe9\"").unwrap();
    for (name, reason) in [("absent.toml", "cannot read"), ("latin1.toml", "byte 11 is invalid")] {
        let errors = load(&folder.path().join(name), &env).unwrap_err();
        let said = render(&errors);
        assert_eq!(errors.iter().next().unwrap().code(), code::UNREADABLE);
        assert!(said.contains(name) && said.contains(reason) && said.contains("help:"), "{said}");
    }
}

#[test]
fn the_bound_of_open_state_is_read() {
    let parsed = |text: &str| parse("p.toml", text, Path::new(""), &env);
    let good = "name = \"p\"\n[streams.s]\nformat = \"json\"\nevent_time = \"arrival_time\"\n\
        columns = { k = \"string\" }\n[queries.q]\nsql = \"SELECT 1\"\n";
    assert_eq!(parsed(good).unwrap().state_bytes_max, None);
    let with = |value: &str| parsed(&format!("{good}[advance]\nmax_state = \"{value}\"\n"));
    assert_eq!(with("512MiB").unwrap().state_bytes_max, Some(512 << 20));
    for wrong in ["512", "0MiB", "9GiB", "half"] {
        let codes: Vec<_> = with(wrong).unwrap_err().iter().map(PipelineError::code).collect();
        assert_eq!(codes, [code::BAD_SIZE], "{wrong}");
    }
}

#[test]
fn the_value_of_a_variable_is_never_told() {
    let secret = |_: &str| Some("hunter2".to_string());
    let text =
        "name = \"p\"\n[advance]\ntick = \"${A}\"\n[queries.q]\nsql = \"x\"\nsink = \"${B}\"\n";
    let said = render(&parse("p.toml", text, Path::new(""), &secret).unwrap_err());
    assert!(!said.contains("hunter2") && said.contains("${A}"), "{said}");
}

#[test]
fn a_huge_file_is_refused() {
    let text = "#".repeat(PIPELINE_FILE_BYTES_MAX + 1);
    let errors = parse("p.toml", &text, Path::new(""), &env).unwrap_err();
    let codes: Vec<_> = errors.iter().map(PipelineError::code).collect();
    assert_eq!(codes, [code::TOO_LARGE]);
}

/// Pieces of which random files are made, so that they come near to good ones.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "name = \"p\"\n",
        "[streams.a]\n",
        "[streams.b]\n",
        "[tables.t]\n",
        "[queries.q]\n",
        "[sinks.s]\n",
        "[state]\n",
        "[[streams]]\n",
        "streams = 1\n",
        "format = \"json\"\n",
        "columns = { a = \"int\", ts = \"timestamp\" }\n",
        "columns = { a = { path = 1 } }\n",
        "event_time = \"ts\"\n",
        "event_time = \"${X}\"\n",
        "grace = \"5s\"\n",
        "grace = 5\n",
        "sql = \"\"\"\nSELECT 1\"\"\"\n",
        "sink = \"s\"\n",
        "type = \"s3\"\n",
        "bucket = \"b\"\n",
        "segment_ttl = \"1h\"\n",
        "é = 'é'\n",
        "idle = \"${\"\n",
        "file = \"campaigns.csv\"\n",
        "file = \"\"\n",
        "a.b.c = 1\n",
        "\"\" = 1\n",
        "=",
        "\r\n",
        "\"\"\"",
        "{",
        "[",
        "\u{feff}",
        "dead_letters = \"s\"\n",
        "type = \"kafka\"\n",
        "bootstrap_servers = \",\"\n",
        "source = { type = \"kinesis\", stream = \"x\" }\n",
        "[streams.a.source]\n",
        "[streams.a.source.properties]\n",
        "properties = { a.b = 1, \"acks\" = \"${A:-1}\" }\n",
        "batching_window = \"2m\"\n",
        "[advance]\n",
    ]);
    prop_oneof![4 => words.prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Any text is a pipeline or has mistakes, each of which can be shown with its place.
    #[test]
    fn no_text_panics(pieces in prop::collection::vec(piece(), 0..24)) {
        let text = pieces.concat();
        if let Err(errors) = parse("p.toml", &text, Path::new("/nonexistent"), &env) {
            prop_assert!(errors.iter().count() > 0);
            let said = render(&errors);
            prop_assert!(!said.contains("Failed to read contents"), "{}", said);
        }
    }

    #[test]
    fn a_good_file_with_one_byte_gone_does_not_panic(at in 0..AD_CAMPAIGNS.len()) {
        let mut text = AD_CAMPAIGNS.to_owned();
        text.remove(at);
        if let Err(errors) = parse("p.toml", &text, Path::new("/nonexistent"), &env) {
            render(&errors);
        }
    }
}

/// What is wrong with a source does not keep the SQL from being checked; a column that is wrong does.
#[test]
fn mistakes_in_sources_spare_the_sql() {
    let text =
        format!("name = \"p\"{GOOD_STREAM}[streams.events.source]\ntype = \"x\"{GOOD_QUERY}");
    let errors = parse("p.toml", &text, Path::new(""), &env).unwrap_err();
    assert!(errors.rest().is_some_and(|rest| rest.streams.contains_key("events")));
    let text = text.replace("user = \"string\"", "user = \"strin\"");
    assert!(parse("p.toml", &text, Path::new(""), &env).unwrap_err().rest().is_none());
}

#[test]
fn a_key_of_very_many_parts_is_an_error_not_a_crash() {
    let parts = "a.".repeat(50_000);
    for text in
        [format!("{parts}a = 1"), format!("[{parts}a]"), "a = ".to_owned() + &"[".repeat(50_000)]
    {
        let errors = parse("p.toml", &text, Path::new(""), &env).unwrap_err();
        let codes: Vec<_> = errors.iter().map(PipelineError::code).collect();
        assert_eq!(codes, [code::SYNTAX]);
    }
}

/// The reference's example is complete, and the reference knows every key.
#[test]
fn the_reference_is_right() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pipeline-file.md");
    let reference = fs::read_to_string(reference).unwrap();
    let example = reference.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let folder = folder();
    parse("pipeline.toml", example.unwrap(), folder.path(), &env).unwrap();
    use crate::raw::section::Kind;
    for kind in Kind::ALL {
        for key in kind.keys() {
            let is_there = [format!("`{key}`"), format!("[{key}]"), format!("[{key}.NAME]")]
                .iter()
                .any(|spelt| reference.contains(spelt));
            assert!(is_there, "the reference does not explain `{key}`");
        }
    }
}
