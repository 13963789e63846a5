//! The real verbs over one vector: decode, combine, a segment through its codec, merge, settle,
//! the decision about time, close. Every event is a segment and a tick of its own.
//!
//! Not here: what the answers should be (`compare`), stores and checkpoints (tests of `flow`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ArrayWriter;
use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_flow::combine::Combiner;
use tidemill_flow::decode::{Decoder, RawBatch, RawRecord};
use tidemill_flow::merge::State;
use tidemill_flow::ports::{Closed, Combine, OpenState, QueryResults};
use tidemill_flow::time::{self, LogFacts, StreamTime};
use tidemill_model::{DeadReason, EventMs, LogId, Position, Segment, WallMs};
use tidemill_plan::PipelinePlan;
use vectors::{Event, Record, Row, Vector, Watermark};

use crate::dialect::{Clock, Dialect};
use crate::{rows, sql};

/// When every record arrives and every tick runs: long after every event, so that no event is
/// ahead of its arrival.
const NOW: WallMs = WallMs(4_000_000_000_000);

/// What came of a vector's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Results of windows that closed while events came, in order.
    pub(crate) closed: Vec<Row>,
    /// Results of windows that only the end of input closed.
    pub(crate) open: Vec<Row>,
    /// Late records.
    pub(crate) late: Vec<Late>,
}

/// A late record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Late {
    /// The record.
    pub(crate) record: Record,
    /// Windows that it missed, (start, end).
    pub(crate) windows: Vec<(i64, i64)>,
    /// Whether some window took it.
    pub(crate) counted_elsewhere: bool,
}

/// Whether the state passes through a snapshot after each tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshots {
    /// It does not.
    Never,
    /// It does, into a state that was just made.
    EachTick,
}

/// Appends all records of a vector, then asserts how many rows are kept at each watermark that
/// `expected` names: there, a watermark says that nothing of its time comes any more.
pub(crate) fn check_kept(vector: &Vector, dialect: &Dialect) {
    let mut verbs = Verbs::new(vector, dialect, &sql::pipeline(vector, dialect));
    for event in &vector.events {
        verbs.happen(vector, event);
    }
    for row in &vector.expected {
        let watermark = EventMs(row["watermark"].as_i64().expect("a watermark") + 1);
        verbs.ticks.state.close(Some(watermark), NOW).unwrap();
        let kept: u64 = verbs.ticks.state.open_windows().iter().map(|open| open.groups).sum();
        let buffer = |name: &str| row[name].as_array().expect("a buffer").len() as u64;
        assert_eq!(kept, buffer("left_buffer") + buffer("right_buffer"), "rows kept at {row:?}");
    }
}

/// What each event of a vector makes a pipeline emit whose results change: rows that are not
/// deletes, each with its event's index as `after`.
pub(crate) fn changes(vector: &Vector, dialect: &Dialect, text: &str) -> Vec<Row> {
    let mut verbs = Verbs::new(vector, dialect, text);
    let mut changes = Vec::new();
    for (index, event) in vector.events.iter().enumerate() {
        verbs.happen(vector, event);
        for mut row in std::mem::take(&mut verbs.ticks.outcome.closed) {
            if row["op"] == "upsert" {
                row.insert("after".to_string(), json!(index));
                changes.push(row);
            }
        }
        verbs.pass_through_a_snapshot();
    }
    changes
}

/// Runs the first `count` events of a vector, then ends the input.
pub(crate) fn run(
    vector: &Vector,
    dialect: &Dialect,
    count: usize,
    snapshots: Snapshots,
) -> Outcome {
    let mut verbs = Verbs::new(vector, dialect, &sql::pipeline(vector, dialect));
    for event in &vector.events[..count] {
        verbs.happen(vector, event);
        if snapshots == Snapshots::EachTick {
            verbs.pass_through_a_snapshot();
        }
    }
    verbs.ticks.end()
}

/// The verbs, ready for a vector's events.
struct Verbs {
    plan: PipelinePlan,
    log: LogId,
    decoder: Decoder,
    combiner: Combiner,
    ticks: Ticks,
    arrives_by_number: bool,
}

impl Verbs {
    fn new(vector: &Vector, dialect: &Dialect, text: &str) -> Verbs {
        let pipeline = tidemill_pipeline::parse("pipeline.toml", text, Path::new("."), &|_| None)
            .unwrap_or_else(|errors| panic!("{errors:?} in\n{text}"));
        let stream = &pipeline.streams["events"];
        let plan =
            tidemill_plan::plan(&pipeline).unwrap_or_else(|errors| panic!("{errors:?} in\n{text}"));
        let facts = LogFacts {
            stream: StreamTime::from(stream),
            position: Position::START,
            clock: None,
            appended: None,
            registered_at: NOW,
            unread: false,
            ended: false,
            parents: Vec::new(),
        };
        let ticks = Ticks {
            clock: dialect.clock,
            shift_ms: dialect.shift_ms,
            state: State::new(&plan).unwrap(),
            facts,
            watermark: None,
            outcome: Outcome::default(),
            records: Vec::new(),
            arrival: NOW,
            of_rows: rows::is(vector),
        };
        Verbs {
            log: LogId::new("events", "0"),
            decoder: Decoder::new(stream, None).unwrap(),
            combiner: Combiner::new(&plan).unwrap(),
            ticks,
            arrives_by_number: rows::arrives_by_number(vector),
            plan,
        }
    }

    fn happen(&mut self, vector: &Vector, event: &Event) {
        let Verbs { log, decoder, combiner, ticks, .. } = self;
        match event {
            Event::Record(record) => {
                if self.arrives_by_number {
                    ticks.arrival = WallMs(ticks.records.len() as i64);
                }
                ticks.records.push(record.clone());
                let gap = vector.window.gap_of(record);
                let segment = ticks.append(log, decoder, combiner, record, gap);
                ticks.tick(log, Some(&segment), None);
            }
            Event::Watermark(watermark) => ticks.tick(log, None, Some(watermark)),
            Event::Clock(at) => ticks.arrival = WallMs(at.clock),
            Event::Op(_) => panic!("{}: an event of another kind of vector", vector.id),
        }
    }

    fn pass_through_a_snapshot(&mut self) {
        let parts = self.ticks.state.snapshot().unwrap();
        self.ticks.state = State::new(&self.plan).unwrap();
        self.ticks.state.restore(parts).unwrap();
    }
}

struct Ticks {
    clock: Clock,
    shift_ms: i64,
    state: State,
    facts: LogFacts,
    watermark: Option<EventMs>,
    outcome: Outcome,
    /// What was appended: a record's offset is its index.
    records: Vec<Record>,
    /// When the next record arrives.
    arrival: WallMs,
    /// Whether the vector's results are rows, not windows.
    of_rows: bool,
}

impl Ticks {
    /// One record's segment, through its codec.
    fn append(
        &mut self,
        log: &LogId,
        decoder: &mut Decoder,
        combiner: &mut Combiner,
        record: &Record,
        gap: Option<i64>,
    ) -> Segment {
        let Record { t, key, value, group, side } = record;
        let text = json!({
            "t": t, "key": key, "value": value, "group": group, "side": side, "gap": gap
        });
        let text = text.to_string();
        let position = Position::from_offset(self.records.len() as u64 - 1);
        let raw = RawRecord { bytes: 0..text.len() as u32, position, arrival: self.arrival };
        let decoded = decoder.decode(log, RawBatch::new(Bytes::from(text), vec![raw]));
        assert!(decoded.dead.is_empty(), "{:?}", decoded.dead);
        let segment = Segment {
            after: self.facts.position,
            through: position,
            records: 1,
            appended_at: NOW,
            newest_arrival: NOW,
            clock: decoded.clock(),
            seen: Vec::new(),
            dead_letters: Vec::new(),
            blocks: combiner.combine(log, &decoded, self.watermark).unwrap().blocks,
        };
        tidemill_codec::decode_segment(&tidemill_codec::encode_segment(&segment)).unwrap()
    }

    fn tick(&mut self, log: &LogId, segment: Option<&Segment>, given: Option<&Watermark>) {
        let judge = self.watermark;
        if let Some(segment) = segment {
            self.state.merge(log, segment, judge).unwrap();
            self.facts.position = segment.through;
            self.facts.clock = self.facts.clock.max(segment.clock);
            self.facts.appended = Some(segment.appended_at);
        }
        self.state.settle(judge).unwrap();
        self.watermark = match (self.clock, given) {
            (Clock::Records, None) => {
                let facts = BTreeMap::from([(log.clone(), self.facts.clone())]);
                let last = self.state.last_close();
                time::decide(&facts, &BTreeMap::new(), NOW, judge, last).watermark
            }
            (Clock::Given, Some(given)) => judge.max(Some(self.given(given))),
            (Clock::Given | Clock::End, None) => judge,
            (_, Some(_)) => panic!("a watermark where the records tell it"),
        };
        let closed = self.state.close(self.watermark, NOW).unwrap();
        self.take_late(&closed);
        let results = rows(&closed.results);
        self.outcome.closed.extend(results);
    }

    /// Where a watermark entry moves our watermark.
    fn given(&self, given: &Watermark) -> EventMs {
        match &given.watermark {
            Value::String(end) if end == "inf" => {
                self.state.last_close().or(self.watermark).unwrap_or(EventMs::MIN)
            }
            other => EventMs(other.as_i64().expect("a whole number or inf")).plus(self.shift_ms),
        }
    }

    fn take_late(&mut self, closed: &Closed) {
        let mut pairs = 0;
        for letter in &closed.late {
            let DeadReason::Late {
                event_time,
                windows,
                windows_missed,
                records,
                partial,
                counted_elsewhere,
                ..
            } = &letter.reason
            else {
                panic!("not late: {letter:?}")
            };
            let offset = letter.position.to_offset().expect("a record's own position") as usize;
            let record = self.records[offset].clone();
            assert_eq!((*records, partial), (1, &None), "a late row is shipped alone");
            assert_eq!(event_time.0, record.t);
            let raw = letter.raw.as_ref().expect("the record's bytes");
            let raw: Value = serde_json::from_slice(&raw.first).unwrap();
            assert_eq!((&raw["key"], &raw["value"]), (&json!(record.key), &record.value));
            // A row that only its own time is too old for misses one, which has no name.
            assert_eq!(*windows_missed as usize, windows.len().max(usize::from(self.of_rows)));
            pairs += windows_missed;
            self.outcome.late.push(Late {
                record,
                windows: windows.iter().map(|(start, end)| (start.0, end.0)).collect(),
                counted_elsewhere: *counted_elsewhere,
            });
        }
        assert_eq!(closed.late_rows, pairs, "(row, window) pairs");
    }

    /// The end of input: every window closes.
    fn end(mut self) -> Outcome {
        self.state.settle(self.watermark).unwrap();
        if self.of_rows {
            let closed = self.state.close(Some(EventMs::MAX), NOW).unwrap();
            self.outcome.open = rows(&closed.results);
            return self.outcome;
        }
        let last = self.state.last_close();
        let closed = self.state.close(self.watermark.max(last), NOW).unwrap();
        assert!(closed.late.is_empty(), "{:?}", closed.late);
        self.outcome.open = rows(&closed.results);
        for open in self.state.open_windows() {
            assert_eq!((open.windows, open.groups), (0, 0), "state is left after the end");
        }
        self.outcome
    }
}

/// Result rows as objects; times are milliseconds.
fn rows(results: &[QueryResults]) -> Vec<Row> {
    let batches: Vec<RecordBatch> = results.iter().map(|it| milliseconds(&it.batch)).collect();
    let mut writer = ArrayWriter::new(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let bytes = writer.into_inner();
    if bytes.is_empty() { Vec::new() } else { serde_json::from_slice(&bytes).unwrap() }
}

fn milliseconds(batch: &RecordBatch) -> RecordBatch {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Timestamp(..) => cast(column, &DataType::Int64).unwrap(),
            _ => Arc::clone(column),
        })
        .collect();
    let fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}
