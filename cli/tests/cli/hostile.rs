//! Input made to break the program: it is answered by a clear error or by dead letters, in bounded
//! memory. Every child runs under a limit of memory, so that what is not bounded fails.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use tidemill_testkit::Rng;

use crate::workspace::{Ran, Workspace};

/// Address space of a child, KiB: the program with its threads takes a third of it.
const MEMORY_KIB: u64 = 1536 * 1024;
const GOOD: &str = "{\"ts\":1700000000000,\"key\":\"good\",\"value\":1}\n";

const _: () = assert!(BOMB as u64 * 64 * 1024 > MEMORY_KIB);

fn tidemill(workspace: &Workspace, args: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    // Other systems do not limit address space.
    let limit = match cfg!(target_os = "linux") {
        true => format!("ulimit -v {MEMORY_KIB} && "),
        false => String::new(),
    };
    command
        .arg("-c")
        .arg(format!("{limit}exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_tidemill"))
        .args(args)
        .current_dir(workspace.path(""))
        .stdin(Stdio::null())
        // Threads share what malloc reserves, so that address space is about what is used.
        .env("MALLOC_ARENA_MAX", "2")
        .env_remove("RUST_BACKTRACE")
        .env("NO_COLOR", "1");
    Ran::of(command.output().unwrap())
}

fn run(workspace: &Workspace, more: &[&str]) -> Ran {
    let args = ["run", "pipeline.toml", "--shards", "2", "--output", "out", "--until-end"];
    tidemill(workspace, &[&args[..], more].concat())
}

fn pipeline(advance: &str, stream: &str, sql: &str) -> String {
    format!(
        "name = \"hostile\"\n[advance]\n{advance}\n[streams.events]\nformat = \"json\"\n\
         columns = {{ ts = \"timestamp_ms\", key = \"string\", value = \"bigint\" }}\n\
         event_time = \"ts\"\n{stream}\n[queries.q]\nsql = '''{sql}'''\n"
    )
}

const PER_KEY: &str = "SELECT key, window_start, window_end, COUNT(*) AS events, SUM(value) AS total \
    FROM TUMBLE(events, ts, INTERVAL '10' SECOND) GROUP BY key, window_start, window_end";

/// Runs into the bound of open state, then goes on with more of it, and counts every record once.
fn stops_and_goes_on(stream: &str, sql: &str, records: u64, groups: usize) {
    let small = pipeline("max_state = \"8MiB\"", stream, sql);
    let workspace = Workspace::with_pipeline(&small);
    let mut file = File::create(workspace.path("events.jsonl")).unwrap();
    // Decades of times, and keys that have nothing in common.
    for n in 0..records {
        let (ts, key) = (n * 7_884_000, n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        writeln!(file, "{{\"ts\":{ts},\"key\":\"{key:016x}\",\"value\":1}}").unwrap();
    }
    let input = ["--input", "events=events.jsonl", "--store", "s.redb"];
    let help = ["query `q` keeps too much open", "nothing is lost", "`max_state`", "bytes_max="];
    run(&workspace, &input).failed(1, &help);
    workspace.write("pipeline.toml", pipeline("max_state = \"1GiB\"", stream, sql));
    let ran = run(&workspace, &input).succeeded();
    assert_eq!(ran.summary("dead letters"), 0);
    let results = workspace.results("out", "q");
    assert_eq!(results.len(), groups);
    let count = |line: &String| -> u64 {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["events"].as_u64().unwrap()
    };
    assert_eq!(results.iter().map(count).sum::<u64>(), records);
}

#[test]
fn one_key_per_record_stops_at_the_bound_and_loses_nothing() {
    let sql = "SELECT key, window_start, window_end, COUNT(*) AS events \
        FROM TUMBLE(events, ts, INTERVAL '100000' DAY) GROUP BY key, window_start, window_end";
    stops_and_goes_on("", sql, 200_000, 200_000);
}

#[test]
fn one_window_per_record_over_a_century_stops_at_the_bound_and_loses_nothing() {
    let sql = "SELECT window_start, window_end, COUNT(*) AS events \
        FROM TUMBLE(events, ts, INTERVAL '1' HOUR) GROUP BY window_start, window_end";
    stops_and_goes_on("out_of_orderness = \"36525d\"", sql, 30_000, 30_000);
}

#[test]
fn one_session_per_record_stops_at_the_bound_and_loses_nothing() {
    let sql = "SELECT key, window_start, window_end, COUNT(*) AS events \
        FROM SESSION(events, ts, INTERVAL '1' HOUR) GROUP BY key, window_start, window_end";
    stops_and_goes_on("out_of_orderness = \"36525d\"", sql, 100_000, 100_000);
}

#[test]
fn times_at_both_ends_of_the_calendar_are_counted_or_set_aside() {
    let workspace = Workspace::with_pipeline(&pipeline("", "", PER_KEY));
    let times =
        [i64::MIN, -62_135_596_800_001, -62_135_596_800_000, 0, 253_402_300_799_999, i64::MAX];
    let lines: String =
        times.iter().map(|ts| format!("{{\"ts\":{ts},\"key\":\"a\",\"value\":1}}\n")).collect();
    workspace.write("events.jsonl", lines);
    let ran = run(&workspace, &["--input", "events=events.jsonl"]).succeeded();
    assert_eq!((ran.summary("records"), ran.summary("dead letters")), (6, 4));
    assert_eq!(workspace.results("out", "q").len(), 2);
}

#[test]
fn huge_and_deep_records_are_set_aside_and_the_next_line_is_read() {
    let workspace = Workspace::with_pipeline(&pipeline("", "", PER_KEY));
    let mut lines = String::new();
    for n in 0..4 {
        // As long as a record may be; no two alike, so that they do not compress into a segment.
        let mut rng = Rng::new(n);
        let mut noise = String::with_capacity(10 << 20);
        while noise.len() < (10 << 20) - 200 {
            noise.push_str(&format!("{:016x}", rng.bits()));
        }
        lines += &format!("{{\"ts\":1700000000000,\"key\":\"{noise}\",\"value\":1}}\n{GOOD}");
    }
    lines += &format!("{{\"ts\":{}{}\n{GOOD}", "[".repeat(100_000), "]".repeat(100_000));
    lines += &format!("{}\n{GOOD}", "{\"ts\":".repeat(1_000_000));
    workspace.write("events.jsonl", lines);
    let ran = run(&workspace, &["--input", "events=events.jsonl"]).succeeded();
    assert_eq!((ran.summary("records"), ran.summary("dead letters")), (12, 6));
    assert!(workspace.results("out", "q")[0].contains("\"events\":6"));
}

#[test]
fn a_line_of_commas_is_set_aside() {
    let csv = pipeline("", "", PER_KEY).replace("\"json\"", "\"csv\"");
    let workspace = Workspace::with_pipeline(&csv);
    let commas = ",".repeat(10 << 20);
    workspace.write("events.csv", format!("ts,key,value\n{commas}\n1700000000000,a,1\n"));
    let ran = run(&workspace, &["--input", "events=events.csv"]).succeeded();
    assert_eq!((ran.summary("records"), ran.summary("dead letters")), (2, 1));

    let workspace = Workspace::with_pipeline(&csv);
    workspace.write("events.csv", format!("{}\n", &commas[1..]));
    run(&workspace, &["--input", "events=events.csv"]).failed(1, &["more than 10000"]);
}

/// Pieces of 64 MiB of a bomb: more than the child's memory.
const BOMB: usize = 32;

/// Gigabytes of zeros in some KiB, without a line break; then a good record.
fn bomb(compress: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let zeros = compress(&vec![0; 64 << 20]);
    [zeros.repeat(BOMB), compress(format!("\n{GOOD}").as_bytes())].concat()
}

#[test]
fn a_decompression_bomb_is_one_dead_letter() {
    let zstd = bomb(|bytes| zstd::bulk::compress(bytes, 1).unwrap());
    let gzip = bomb(|bytes| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    });
    for bytes in [zstd, gzip] {
        assert!(bytes.len() < 32 << 20);
        let workspace = Workspace::with_pipeline(&pipeline("", "", PER_KEY));
        workspace.write("events.bin", bytes);
        let ran = run(&workspace, &["--input", "events=events.bin"]).succeeded();
        assert_eq!((ran.summary("records"), ran.summary("dead letters")), (2, 1));
        assert_eq!(workspace.results("out", "q").len(), 1);
        let letter = &workspace.dead_letters("out")[0];
        assert_eq!(letter["reason"], "too_large");
        assert!(letter.to_string().contains(&((BOMB as u64) * (64 << 20)).to_string()), "{letter}");
    }
}

/// `check` of a pipeline with this query.
fn check(sql: &str) -> Ran {
    let workspace = Workspace::with_pipeline(&pipeline("", "", sql));
    tidemill(&workspace, &["check", "pipeline.toml"])
}

#[test]
fn sql_that_is_deep_or_long_is_refused() {
    let filter = |condition: String| {
        let (head, tail) = PER_KEY.split_once(" GROUP BY").unwrap();
        format!("{head} WHERE {condition} GROUP BY {tail}")
    };
    let n = 100_000;
    check(&filter(format!("{}value = 1{}", "(".repeat(n), ")".repeat(n))))
        .failed(1, &["plan::sql"]);
    for chain in [" AND value = 1", " OR value = 1", " + 1", "::bigint", " IS NULL", "[1]"] {
        let chain = chain.repeat(200_000 / chain.len());
        check(&filter(format!("value = 1{chain}"))).failed(1, &["plan::sql::too_deep"]);
    }
    for prefix in ["NOT ", "- ", "INTERVAL "] {
        let prefix = prefix.repeat(200_000 / prefix.len());
        check(&filter(format!("{prefix}value = 1"))).failed(1, &["plan::sql::too_deep"]);
    }
    check(&vec![PER_KEY; 1000].join(" UNION ALL ")).failed(1, &["plan::sql::too_many_relations"]);
    check(&filter(format!("key = '{}'", "x".repeat(1 << 19)))).failed(1, &["plan::sql::too_long"]);
    check(&filter(format!("key = '{}'", "x".repeat(1 << 20)))).failed(1, &["pipeline::too_large"]);
    let hop = "SELECT key, window_start, window_end, COUNT(*) AS n FROM HOP(events, ts, \
        INTERVAL '1 millisecond', INTERVAL '365' DAY) GROUP BY key, window_start, window_end";
    check(hop).failed(1, &["plan::window::too_many", "every 3128572 ms"]);
}

#[test]
fn sql_just_inside_the_bounds_runs() {
    let filter = |condition: &str| {
        let (head, tail) = PER_KEY.split_once(" GROUP BY").unwrap();
        format!("{head} WHERE {condition} GROUP BY {tail}")
    };
    let deep = [
        format!("value{} = 1", "::bigint".repeat(198)),
        format!("value{} = 1", " + 0".repeat(198)),
        format!("value = 1{}", " AND value < 2".repeat(98)),
        format!("value = 1{}", " OR key = 'x'".repeat(98)),
    ];
    for condition in deep {
        let workspace = Workspace::with_pipeline(&pipeline("", "", &filter(&condition)));
        workspace.write("events.jsonl", GOOD);
        run(&workspace, &["--input", "events=events.jsonl"]).succeeded();
        assert_eq!(workspace.results("out", "q").len(), 1, "{condition}");
    }
}

#[test]
fn a_pipeline_file_with_too_much_in_it_is_refused() {
    let many = |section: &str, body: &str, count: usize| {
        (0..count).map(|n| format!("[{section}.x{n}]\n{body}\n")).collect::<String>()
    };
    let columns: String = (0..1_001).map(|n| format!("c{n} = \"int\", ")).collect();
    let base = pipeline("", "", PER_KEY);
    for (text, said) in [
        (format!("{base}{}", many("queries", "sql='SELECT 1'", 10_000)), "10001 queries"),
        (format!("{base}{}", many("sinks", "type='stdout'", 101)), "101 sinks"),
        (base.replace("ts = ", &format!("{columns}ts = ")), "1004 columns"),
        (format!("{base}x = {}{}\n", "[".repeat(100_000), "]".repeat(100_000)), "not TOML"),
        (format!("{base}x{} = 1\n", ".y".repeat(100_000)), "pipeline"),
    ] {
        let workspace = Workspace::with_pipeline(&text);
        tidemill(&workspace, &["check", "pipeline.toml"]).failed(1, &[said]);
    }
    let workspace = Workspace::new();
    tidemill(&workspace, &["check", "/dev/zero"]).failed(1, &["pipeline::too_large"]);
}

#[test]
fn a_table_that_is_too_large_is_refused_before_it_is_read() {
    let joined = "SELECT e.key, window_start, window_end, COUNT(*) AS n \
        FROM TUMBLE(events, ts, INTERVAL '10' SECOND) e JOIN t ON t.key = e.key \
        GROUP BY e.key, window_start, window_end";
    let text = format!("{}[tables.t]\nfile = \"t.csv\"\n", pipeline("", "", joined));
    let workspace = Workspace::with_pipeline(&text);
    // A file with a hole: it has gigabytes, and takes no disk.
    workspace.write("t.csv", "key\n");
    File::options().append(true).open(workspace.path("t.csv")).unwrap().set_len(8 << 30).unwrap();
    tidemill(&workspace, &["check", "pipeline.toml"]).failed(1, &["plan::table", "more than"]);
}

/// What no log and no error may tell.
const CANARY: &str = "canary-4711-canary";

#[test]
fn neither_values_of_records_nor_of_variables_are_told() {
    let ran = |sql: &str| {
        let workspace = Workspace::with_pipeline(&pipeline("", "", sql));
        let record = format!("{{\"ts\":1,\"key\":\"{CANARY}\",\"value\":0}}\n");
        workspace.write("events.jsonl", record);
        let args = ["run", "pipeline.toml", "--output", "out", "--until-end", "--input"];
        let ran = workspace.tidemill(&[&args[..], &["events=events.jsonl"]].concat()).succeeded();
        (ran, workspace.dead_letters("out"))
    };
    for failing in ["SUM(CAST(key AS BIGINT))", "CAST(MAX(key) AS BIGINT)"] {
        let (ran, letters) = ran(&PER_KEY.replace("SUM(value)", failing));
        assert!(!ran.stderr.contains(CANARY), "{}", ran.stderr);
        let told: Vec<String> = letters.iter().map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].contains(CANARY), "dead letters tell: {told:?}");
    }

    // A CSV without its header: its first line is a record.
    let csv = pipeline("", "", PER_KEY).replace("\"json\"", "\"csv\"");
    let workspace = Workspace::with_pipeline(&csv);
    workspace.write("events.csv", format!("1,{CANARY},1\n"));
    let ran = run(&workspace, &["--input", "events=events.csv"]).failed(1, &["no column `ts`"]);
    assert!(!ran.stderr.contains(CANARY), "{}", ran.stderr);

    // A secret where it does not belong is told by its name.
    for key in ["late", "grace", "sink", "emit"] {
        let text = format!("{}{key} = \"${{SECRET}}\"\n", pipeline("", "", PER_KEY));
        let workspace = Workspace::with_pipeline(&text);
        let mut command = workspace.command(&["check", "pipeline.toml"]);
        let ran =
            Ran::of(command.env("SECRET", CANARY).output().unwrap()).failed(1, &["${SECRET}"]);
        assert!(!format!("{ran:?}").contains(CANARY), "{key}: {}", ran.stderr);
    }
    let sink = "[sinks.s]\ntype = \"kafka\"\nbootstrap_servers = \"${SECRET}\"\ntopic = \"t\"\n\
        properties = { \"sasl.password\" = \"${SECRET}\", \"acks\" = \"${SECRET}\" }\n";
    let workspace = Workspace::with_pipeline(&format!("{}{sink}", pipeline("", "", PER_KEY)));
    let mut command = workspace.command(&["check", "pipeline.toml"]);
    let ran = Ran::of(command.env("SECRET", CANARY).output().unwrap()).failed(1, &["acks"]);
    assert!(!format!("{ran:?}").contains(CANARY), "{}", ran.stderr);
}
