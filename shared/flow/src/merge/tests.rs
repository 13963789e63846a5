//! Transcripts: a query, what arrives, what the ticks close. Each file in `transcripts/` tells one
//! story; blocks of commands are followed by `----` and what they answer.
//!
//! ```text
//! query SELECT …                      starts the story; settings may stand before, as `grace 5s`
//! append a:0 b:400                    one segment of the log `s/0`: key:time[:value], a word each
//! append log=1 seen=900 a:100         another log; `seen` is the watermark that ingest knew
//! tick 1000                           merges what was appended and closes at watermark 1000
//! snapshot                            passes the state through a snapshot into a fresh process
//! ```
//!
//! `strict_avg` is an aggregate that fails for some groups.
//!
//! Rewrite the answers with `TRANSCRIPTS=write` and review the difference.

mod strict_average;

use std::fmt::Write as _;
use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use tidemill_model::{DeadReason, Position};
use tidemill_pipeline::Stream;

use super::*;
use crate::combine::Combiner;
use crate::decode::{Decoder, RawBatch, RawRecord};
use crate::ports::{Combine, FailedRows};

struct Story {
    settings: String,
    engine: Option<Engine>,
}

struct Engine {
    plan: PipelinePlan,
    stream: Stream,
    combiner: Combiner,
    state: State,
    appended: Vec<(LogId, Segment)>,
    offset: u64,
    closed: Option<EventMs>,
}

impl Engine {
    fn new(settings: &str, sql: &str) -> Engine {
        let text = format!(
            "name = 't'\n[streams.s]\nformat = 'json'\ncolumns = {{ k = 'string', v = 'bigint', ts = 'timestamp_ms' }}\nevent_time = 'ts'\n[queries.q]\nsql = '''{sql}'''\n{settings}\n"
        );
        let pipeline = tidemill_pipeline::parse("t.toml", &text, Path::new("."), &|_| None)
            .unwrap_or_else(|errors| panic!("{errors:?}"));
        let functions = strict_average::functions();
        let plan = tidemill_plan::plan_with(&pipeline, &functions);
        let plan = plan.unwrap_or_else(|errors| panic!("{errors:?}"));
        Engine {
            combiner: Combiner::new(&plan).unwrap(),
            state: State::new(&plan).unwrap(),
            stream: pipeline.streams["s"].clone(),
            plan,
            appended: Vec::new(),
            offset: 0,
            closed: None,
        }
    }

    fn append(&mut self, words: &[&str]) {
        let (mut shard, mut seen) = ("0", None);
        let mut raw = RawBatch::default();
        let mut buffer = Vec::new();
        let arrival = WallMs(1_000_000_000_000);
        let after = Position::from_offset(self.offset);
        for word in words {
            if let Some(log) = word.strip_prefix("log=") {
                shard = log;
            } else if let Some(watermark) = word.strip_prefix("seen=") {
                seen = Some(EventMs(watermark.parse().unwrap()));
            } else {
                let mut parts = word.split(':');
                let (key, ts) = (parts.next().unwrap(), parts.next().unwrap());
                let key = if key == "null" { key.to_string() } else { format!("{key:?}") };
                let value = parts.next().unwrap_or("null");
                let start = buffer.len() as u32;
                buffer.extend(format!("{{\"k\":{key},\"ts\":{ts},\"v\":{value}}}").bytes());
                self.offset += 1;
                raw.records.push(RawRecord {
                    bytes: start..buffer.len() as u32,
                    position: Position::from_offset(self.offset),
                    arrival,
                });
            }
        }
        raw.buffer = Bytes::from(buffer);
        let log = LogId::new("s", shard);
        let decoded = Decoder::new(&self.stream, None).unwrap().decode(&log, raw);
        let segment = Segment {
            after,
            through: Position::from_offset(self.offset),
            records: decoded.record_count() as u64,
            appended_at: arrival,
            newest_arrival: arrival,
            clock: decoded.clock(),
            seen: Vec::new(),
            dead_letters: Vec::new(),
            blocks: self.combiner.combine(&log, &decoded, seen).unwrap().blocks,
        };
        self.appended.push((log, segment));
    }

    fn tick(&mut self, watermark: i64) -> String {
        self.appended.sort_by(|a, b| (&a.0, a.1.after).cmp(&(&b.0, b.1.after)));
        for (log, segment) in self.appended.drain(..) {
            self.state.merge(&log, &segment, self.closed).unwrap();
        }
        self.state.settle(self.closed).unwrap();
        let watermark = Some(EventMs(watermark));
        let closed = self.state.close(watermark, WallMs(5)).unwrap();
        self.closed = watermark;
        let mut text = String::new();
        for results in &closed.results {
            let _ = write!(text, "{}", table(&results.batch));
        }
        for letter in &closed.late {
            let DeadReason::Late {
                event_time, windows, records, partial, counted_elsewhere, ..
            } = &letter.reason
            else {
                panic!("not late: {letter:?}")
            };
            let _ = write!(text, "late t={} records={records} windows=", event_time.0);
            for (start, end) in windows {
                let _ = write!(text, "[{},{})", start.0, end.0);
            }
            if *counted_elsewhere {
                let _ = write!(text, " counted elsewhere");
            }
            match (&letter.raw, partial) {
                (Some(raw), _) => {
                    let _ = writeln!(text, " raw={}", String::from_utf8_lossy(&raw.first));
                }
                (None, Some(partial)) => {
                    let _ = writeln!(text, " partial={partial}");
                }
                (None, None) => text.push('\n'),
            }
        }
        for FailedRows { window, rows, detail, raw, .. } in &closed.failed {
            let window = window
                .map_or_else(String::new, |it| format!(" window=[{},{})", it.start.0, it.end.0));
            let raw = String::from_utf8_lossy(&raw.first).trim_end().replace('\n', " ");
            let detail = detail.replace('\n', " ");
            let _ = writeln!(text, "failed{window} rows={rows} {detail}: {raw}");
        }
        let open = &self.state.open_windows()[0];
        let _ = writeln!(text, "open={} late={}", open.windows, closed.late_rows);
        text
    }

    fn snapshot(&mut self) -> String {
        let parts = self.state.snapshot().unwrap();
        let rows: usize = parts.iter().map(|part| part.batch.num_rows()).sum();
        let mut fresh = State::new(&self.plan).unwrap();
        fresh.restore(parts).unwrap();
        self.state = fresh;
        format!("rows={rows}\n")
    }
}

fn table(batch: &arrow::array::RecordBatch) -> String {
    let options = FormatOptions::default().with_null("null");
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        let cells: Vec<String> = batch
            .columns()
            .iter()
            .zip(batch.schema().fields())
            .map(|(column, field)| {
                let value = match column.data_type() {
                    arrow::datatypes::DataType::Timestamp(_, _) => {
                        let ms = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64);
                        ArrayFormatter::try_new(&ms.unwrap(), &options)
                            .unwrap()
                            .value(row)
                            .to_string()
                    }
                    _ => ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string(),
                };
                format!("{}={value}", field.name())
            })
            .collect();
        let _ = writeln!(text, "emit {}", cells.join(" "));
    }
    text
}

impl Story {
    fn command(&mut self, line: &str) -> String {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "grace" | "late" | "allowed_lateness" | "emit" | "emit_when" | "keep" => {
                let _ = writeln!(self.settings, "{command} = '{rest}'");
                String::new()
            }
            "query" => {
                self.engine = Some(Engine::new(&self.settings, rest));
                String::new()
            }
            _ => {
                let engine = self.engine.as_mut().unwrap();
                match command {
                    "append" => {
                        engine.append(&rest.split_whitespace().collect::<Vec<_>>());
                        String::new()
                    }
                    "tick" => engine.tick(rest.parse().unwrap()),
                    "snapshot" => engine.snapshot(),
                    other => panic!("no such command: {other}"),
                }
            }
        }
    }
}

fn play(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut story = Story { settings: String::new(), engine: None };
    let mut told = String::new();
    for block in text.split("\n\n") {
        let (commands, _) = block.split_once("----\n").unwrap_or((block, ""));
        let mut answer = String::new();
        for line in commands.trim_end().lines() {
            told += line.trim_end();
            told.push('\n');
            if !line.starts_with('#') && !line.is_empty() {
                answer += &story.command(line);
            }
        }
        if !answer.is_empty() {
            told += "----\n";
            told += &answer;
        }
        told.push('\n');
    }
    let told = format!("{}\n", told.trim_end());
    if std::env::var("TRANSCRIPTS").is_ok_and(|wish| wish == "write") {
        return std::fs::write(path, &told).unwrap();
    }
    assert_eq!(told, text, "{}", path.display());
}

#[test]
fn transcripts_tell_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/merge/transcripts");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 8, "transcripts are missing");
    paths.iter().for_each(|path| play(path));
}

/// A restored state did not know which windows had closed before its snapshot, and closed a hopping
/// window again when the next epoch merged nothing.
#[test]
fn a_window_closed_before_a_snapshot_does_not_close_again() {
    let mut engine = Engine::new(
        "",
        "SELECT k, window_end, COUNT(*) AS n FROM HOP(s, ts, INTERVAL '1' SECOND, INTERVAL '2' SECOND) GROUP BY k, window_end",
    );
    engine.append(&["a:500"]);
    assert!(engine.tick(1000).contains("n=1"));
    engine.snapshot();
    let text = engine.tick(1500);
    assert!(!text.contains("emit"), "{text}");
    assert!(engine.tick(2000).contains("n=1"));
}

#[test]
fn a_block_of_another_version_is_an_error() {
    let mut engine = Engine::new(
        "",
        "SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' SECOND) GROUP BY k, window_end",
    );
    engine.append(&["a:1"]);
    let (log, mut segment) = engine.appended.pop().unwrap();
    segment.blocks[0].query = Fingerprint(7);
    assert!(matches!(engine.state.merge(&log, &segment, None), Err(QueryError::State { .. })));
}

const COUNTS: &str = "SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' SECOND) GROUP BY k, window_start, window_end";

/// Records of as many windows, with as many keys.
fn spread(engine: &mut Engine, windows: usize) {
    let words: Vec<String> = (0..windows).map(|n| format!("key{n}:{}", n * 1000)).collect();
    engine.append(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn too_much_open_state_is_refused_by_the_name_of_its_query() {
    let mut engine = Engine::new("[advance]\nmax_state = '1MiB'", COUNTS);
    spread(&mut engine, 100);
    engine.tick(0);
    spread(&mut engine, 2000);
    let (log, segment) = engine.appended.pop().unwrap();
    let error = engine.state.merge(&log, &segment, engine.closed).unwrap_err();
    let QueryError::TooMuchOpen { query, windows, groups, bytes, bytes_of_all, bytes_max } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((query.as_str(), *windows, *groups, *bytes_max), ("q", 2000, 2000, 1 << 20));
    assert!(bytes == bytes_of_all && bytes > bytes_max, "{error}");
    assert!(error.to_string().contains("nothing is lost"), "{error}");
}

/// Restored slices share their memory, and each was counted for all of it.
#[test]
fn a_restored_state_is_not_larger_than_it_was() {
    for sql in [COUNTS, &COUNTS.replace("TUMBLE", "SESSION")] {
        let mut engine = Engine::new("", sql);
        spread(&mut engine, 2000);
        engine.tick(0);
        let before = engine.state.open_windows()[0].bytes;
        engine.snapshot();
        let after = engine.state.open_windows()[0].bytes;
        assert!(after <= before && after > 2000 * 16, "{before} {after}");
    }
}
