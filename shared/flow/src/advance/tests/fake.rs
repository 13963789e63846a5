//! Queries, sources and sinks for tests of advance: small, and correct.
//!
//! The query state is made to give mistakes away: its sums are floating-point numbers kept with
//! their rounding errors, so they depend on the order of merging, and its snapshot rounds, so a
//! process that does not pass through its own snapshot ends with other bits.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use tidemill_codec::{decode_batch, encode_batch};
use tidemill_model::{
    Block, DeadLetter, DeadReason, Epoch, EventMs, Fingerprint, LogId, Position, Segment, WallMs,
};

use crate::emit::{json, result_id};
use crate::ports::{
    Closed, Drained, Emission, OpenState, OpenWindows, QueryError, QueryResults, Rejection, Sink,
    SinkError, Source, StatePart, Taken,
};

/// Event times of one segment, as a block of query `query`.
pub(super) fn block(query: Fingerprint, times: &[i64]) -> Block {
    let batch = RecordBatch::try_new(block_schema(), vec![ints(times.iter().copied())]).unwrap();
    let batch = encode_batch(&batch).unwrap();
    Block { query, stage: 0, partition: 0, rows: times.len() as u64, batch }
}

fn ints(values: impl Iterator<Item = i64>) -> Arc<Int64Array> {
    Arc::new(values.collect())
}

fn floats(values: impl Iterator<Item = f64>) -> Arc<Float64Array> {
    Arc::new(values.collect())
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), false);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn block_schema() -> SchemaRef {
    schema(&[("time", DataType::Int64)])
}

fn result_schema() -> SchemaRef {
    use DataType::{Float64, Int64};
    schema(&[("window_end", Int64), ("rows", Int64), ("sum", Float64), ("made_at", Int64)])
}

fn part_schema() -> SchemaRef {
    schema(&[
        ("window_end", DataType::Int64),
        ("rows", DataType::Int64),
        ("sum", DataType::Float64),
    ])
}

/// Rows of one open window: count, sum of 1 / time, and the rounding error of that sum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Group {
    pub(super) rows: i64,
    pub(super) sum: f64,
    pub(super) error: f64,
}

impl Group {
    fn add(&mut self, time: i64) {
        let term = 1.0 / (time as f64 + 0.5) - self.error;
        let sum = self.sum + term;
        self.error = (sum - self.sum) - term;
        self.sum = sum;
        self.rows += 1;
    }
}

/// One query: counts per window of `size_ms`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub(super) name: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) size_ms: i64,
}

/// The state behind [`Queries`]. Equal states print equally, bit for bit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) windows: BTreeMap<(Fingerprint, i64), Group>,
    unsettled: Vec<(Fingerprint, i64)>,
    late: Vec<DeadLetter>,
}

/// Tumbling counts of several queries.
pub(super) struct Queries {
    pub(super) queries: Vec<Query>,
    pub(super) state: Arc<Mutex<State>>,
    /// Whether `settle` has said what had closed before this epoch.
    pub(super) told: bool,
}

impl Queries {
    fn name(&self, query: Fingerprint) -> String {
        let found = self.queries.iter().find(|known| known.fingerprint == query);
        found.unwrap().name.clone()
    }
}

impl OpenState for Queries {
    fn merge(
        &mut self,
        log: &LogId,
        segment: &Segment,
        closed: Option<EventMs>,
    ) -> Result<(), QueryError> {
        let mut state = self.state.lock().unwrap();
        for block in &segment.blocks {
            let query = self.queries.iter().find(|query| query.fingerprint == block.query);
            let query = query.ok_or_else(|| QueryError::State {
                query: block.query.to_string(),
                reason: "a block of an unknown query".to_string(),
            })?;
            let batch = decode_batch(&block_schema(), &block.batch).unwrap();
            for time in batch.column(0).as_primitive::<Int64Type>().values() {
                let end = (time.div_euclid(query.size_ms) + 1) * query.size_ms;
                if closed.is_none_or(|closed| end > closed.0) {
                    state.unsettled.push((query.fingerprint, *time));
                    continue;
                }
                let reason = DeadReason::Late {
                    query: query.name.clone(),
                    event_time: EventMs(*time),
                    windows: vec![(EventMs(end - query.size_ms), EventMs(end))],
                    windows_missed: 1,
                    records: 1,
                    partial: None,
                    counted_elsewhere: false,
                };
                let (log, position) = (log.clone(), segment.through);
                let arrival = segment.newest_arrival;
                state.late.push(DeadLetter { log, position, arrival, reason, raw: None });
            }
        }
        Ok(())
    }

    fn settle(&mut self, _closed: Option<EventMs>) -> Result<(), QueryError> {
        self.told = true;
        let mut state = self.state.lock().unwrap();
        for (fingerprint, time) in take(&mut state.unsettled) {
            let query = self.queries.iter().find(|query| query.fingerprint == fingerprint).unwrap();
            let end = (time.div_euclid(query.size_ms) + 1) * query.size_ms;
            state.windows.entry((fingerprint, end)).or_default().add(time);
        }
        Ok(())
    }

    fn clip(&self, watermark: EventMs, rows_max: usize) -> EventMs {
        let state = self.state.lock().unwrap();
        let mut ends: Vec<i64> = state.windows.keys().map(|(_, end)| *end).collect();
        ends.sort_unstable();
        ends.retain(|end| *end <= watermark.0);
        let mut clipped = watermark;
        let mut distinct = ends.clone();
        distinct.dedup();
        for end in distinct.into_iter().rev() {
            let rows = ends.iter().filter(|other| **other <= clipped.0).count();
            let is_first = ends.first() == Some(&end);
            if rows <= rows_max {
                break;
            }
            clipped = if is_first { EventMs(end) } else { EventMs(end - 1) };
        }
        clipped
    }

    fn close(&mut self, watermark: Option<EventMs>, at: WallMs) -> Result<Closed, QueryError> {
        assert!(take(&mut self.told), "an epoch that merged nothing did not settle");
        let mut state = self.state.lock().unwrap();
        assert!(state.unsettled.is_empty(), "close before settle");
        let late = take(&mut state.late);
        let mut closed = Closed { late_rows: late.len() as u64, late, ..Closed::default() };
        let Some(watermark) = watermark else { return Ok(closed) };
        for query in &self.queries {
            let first = (query.fingerprint, i64::MIN);
            let last = (query.fingerprint, watermark.0);
            let due: Vec<(i64, Group)> =
                state.windows.range(first..=last).map(|((_, end), group)| (*end, *group)).collect();
            if due.is_empty() {
                continue;
            }
            due.iter().for_each(|(end, _)| {
                state.windows.remove(&(query.fingerprint, *end));
            });
            let batch = RecordBatch::try_new(
                result_schema(),
                vec![
                    ints(due.iter().map(|(end, _)| *end)),
                    ints(due.iter().map(|(_, group)| group.rows)),
                    floats(due.iter().map(|(_, group)| group.sum)),
                    ints(due.iter().map(|_| at.0)),
                ],
            );
            let (query, windows) = (query.name.clone(), due.len() as u64);
            closed.results.push(QueryResults { query, windows, batch: batch.unwrap() });
        }
        Ok(closed)
    }

    fn last_close(&self) -> Option<EventMs> {
        let state = self.state.lock().unwrap();
        state.windows.keys().map(|(_, end)| EventMs(*end)).max()
    }

    fn snapshot(&mut self) -> Result<Vec<StatePart>, QueryError> {
        let mut state = self.state.lock().unwrap();
        assert!(state.unsettled.is_empty() && state.late.is_empty(), "snapshot inside an epoch");
        state.windows.values_mut().for_each(|group| group.error = 0.0);
        let part = |query: &Query| {
            let windows: Vec<(i64, Group)> = state
                .windows
                .iter()
                .filter(|((of, _), _)| *of == query.fingerprint)
                .map(|((_, end), group)| (*end, *group))
                .collect();
            let columns: Vec<Arc<dyn arrow::array::Array>> = vec![
                ints(windows.iter().map(|(end, _)| *end)),
                ints(windows.iter().map(|(_, group)| group.rows)),
                floats(windows.iter().map(|(_, group)| group.sum)),
            ];
            let batch = RecordBatch::try_new(part_schema(), columns).unwrap();
            StatePart { query: query.fingerprint, stage: 0, batch }
        };
        Ok(self.queries.iter().map(part).collect())
    }

    fn restore(&mut self, parts: Vec<StatePart>) -> Result<(), QueryError> {
        let mut state = State::default();
        for part in parts {
            let ends = part.batch.column(0).as_primitive::<Int64Type>().values();
            let rows = part.batch.column(1).as_primitive::<Int64Type>().values();
            let sums = part.batch.column(2).as_primitive::<Float64Type>().values();
            for ((end, rows), sum) in ends.iter().zip(rows).zip(sums) {
                let group = Group { rows: *rows, sum: *sum, error: 0.0 };
                state.windows.insert((part.query, *end), group);
            }
        }
        *self.state.lock().unwrap() = state;
        Ok(())
    }

    fn clear(&mut self) {
        *self.state.lock().unwrap() = State::default();
    }

    fn part_schema(&self, query: Fingerprint, _stage: u16) -> Option<SchemaRef> {
        self.queries.iter().any(|known| known.fingerprint == query).then(part_schema)
    }

    fn queries(&self) -> Vec<(String, Fingerprint)> {
        self.queries.iter().map(|query| (query.name.clone(), query.fingerprint)).collect()
    }

    fn open_windows(&self) -> Vec<OpenWindows> {
        let state = self.state.lock().unwrap();
        let of = |query: &Query| {
            let ends = state.windows.keys().filter(|(of, _)| *of == query.fingerprint);
            let windows = ends.clone().count() as u64;
            OpenWindows {
                query: self.name(query.fingerprint),
                windows,
                groups: windows,
                oldest: ends.map(|(_, end)| EventMs(*end - query.size_ms)).min(),
                bytes: windows * 24,
            }
        };
        self.queries.iter().map(of).collect()
    }
}

/// Sources that answer what a test says; `Unknown` until it does.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) drained: Mutex<BTreeMap<LogId, Drained>>,
    pub(super) ended: Mutex<Vec<LogId>>,
    pub(super) asked: Mutex<Vec<(LogId, Position)>>,
}

#[async_trait]
impl Source for Sources {
    async fn drained(&self, log: &LogId, position: Position) -> Drained {
        self.asked.lock().unwrap().push((log.clone(), position));
        self.drained.lock().unwrap().get(log).copied().unwrap_or(Drained::Unknown)
    }

    async fn ended(&self, log: &LogId) -> bool {
        self.ended.lock().unwrap().contains(log)
    }
}

/// Everything that sinks ever took, by id. Outlives processes.
#[derive(Default)]
pub(super) struct Delivered {
    pub(super) by_id: BTreeMap<String, String>,
    /// The file that each sink writes: lines, cut back when the sink is restored.
    pub(super) files: BTreeMap<String, Vec<String>>,
    /// Emissions that sinks took, whole ones.
    pub(super) emissions: Vec<(String, Epoch)>,
    /// Ids of result rows that sinks can never take.
    pub(super) unfit: Vec<String>,
    /// Emissions until the next fault; `None`: no fault.
    pub(super) fault_in: Option<(u64, SinkFault)>,
}

/// What goes wrong in the middle of an emission, half of whose lines are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SinkFault {
    /// The sink reports it.
    Down,
    /// The process crashes.
    Crash,
}

/// A file of lines. Panics when a line comes again under the same id with another value.
pub(super) struct Lines {
    pub(super) name: String,
    pub(super) taken: Arc<Mutex<Delivered>>,
}

#[async_trait]
impl Sink for Lines {
    async fn restore(&mut self, state: Option<&[u8]>) -> Result<(), SinkError> {
        let length = state.map_or(0, |state| u64::from_be_bytes(state.try_into().unwrap()));
        let mut taken = self.taken.lock().unwrap();
        let file = taken.files.entry(self.name.clone()).or_default();
        assert!(file.len() >= length as usize, "the marker promises more than was written");
        file.truncate(length as usize);
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let mut lines = lines(emission);
        assert!(!lines.is_empty(), "an emission of nothing");
        let mut rejected = Vec::new();
        let fault = {
            let mut taken = self.taken.lock().unwrap();
            lines.retain(|(id, _)| {
                let is_unfit = taken.unfit.contains(id);
                if is_unfit {
                    rejected.push(rejection(id));
                }
                !is_unfit
            });
            let fault = match &mut taken.fault_in {
                Some((0, fault)) => Some(*fault),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            };
            let written = if fault.is_some() { lines.len().div_ceil(2) } else { lines.len() };
            for (id, line) in lines.into_iter().take(written) {
                let before = taken.by_id.insert(id.clone(), line.clone());
                assert!(before.is_none_or(|before| before == line), "{id} has two values: {line}");
                taken.files.entry(self.name.clone()).or_default().push(line);
            }
            if fault.is_some() {
                taken.fault_in = None;
            }
            fault
        };
        match fault {
            Some(SinkFault::Down) => {
                Err(SinkError { sink: self.name.clone(), reason: "disk full".to_string() })
            }
            Some(SinkFault::Crash) => std::future::pending().await,
            None => {
                let mut taken = self.taken.lock().unwrap();
                taken.emissions.push((self.name.clone(), emission.epoch));
                let state = (taken.files[&self.name].len() as u64).to_be_bytes().to_vec();
                Ok(Taken { state, rejected })
            }
        }
    }
}

/// The refusal of the row with this id, `{query}/{epoch}/{n}`.
fn rejection(id: &str) -> Rejection {
    let parts: Vec<&str> = id.split('/').collect();
    let (query, row) = (parts[0].to_string(), parts[2].parse().unwrap());
    Rejection { query, row, detail: "too large".to_string() }
}

/// The lines of an emission, by id.
pub(super) fn lines(emission: &Emission) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_string();
    for results in &emission.results {
        let writer = json::RowWriter::new(&results.batch).unwrap();
        for row in 0..results.batch.num_rows() {
            let mut line = Vec::new();
            writer.write(row, &mut line);
            let id = result_id(&results.query, emission.epoch, row);
            lines.push((id, format!("{} {}", results.query, text(line))));
        }
    }
    for letter in emission.letters() {
        let mut line = Vec::new();
        letter.write_without_id(&mut line);
        lines.push((letter.id(), text(line)));
    }
    lines
}
