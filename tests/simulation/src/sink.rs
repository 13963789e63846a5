//! Sinks that fail half-way, crash after delivering, and keep what they took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMillisecondType;
use async_trait::async_trait;
use properties::rows::{Cell, cells};
use tidemill_flow::ports::{Emission, FailedRows, Sink, SinkError, Taken};
use tidemill_model::{DeadLetter, Epoch};
use tidemill_testkit::Rng;

use crate::mutant::Mutant;
use crate::store::pause;
use crate::trace::Trace;

/// One line that a sink took.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) epoch: Epoch,
    pub(crate) content: Content,
}

/// A result or a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Result { query: String, row: ResultRow },
    Dead(DeadLetter),
    Failed(FailedRows),
}

/// One result row of any query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResultRow {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// All columns, the window's bounds too.
    pub(crate) cells: Vec<Cell>,
}

/// What all sinks together hold. Outlives every process.
#[derive(Clone)]
pub(crate) struct Outbox {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

struct State {
    /// Everything that was ever delivered, in order.
    delivered: Vec<Line>,
    /// What files hold, cut back as they were.
    files: BTreeMap<String, Vec<Line>>,
    /// Percent of lines at which a sink fails.
    failures: u64,
    /// Emissions of which a sink took some lines and then failed.
    half: u64,
    mutant: Option<Mutant>,
    rng: Rng,
}

impl Outbox {
    pub(crate) fn new(trace: Trace, failures: u64, mutant: Option<Mutant>, rng: Rng) -> Outbox {
        let (delivered, files) = (Vec::new(), BTreeMap::new());
        let state = State { delivered, files, failures, half: 0, mutant, rng };
        Outbox { state: Arc::new(Mutex::new(state)), trace }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines delivered so far.
    pub(crate) fn delivered(&self) -> usize {
        self.state().delivered.len()
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.state().delivered.clone()
    }

    pub(crate) fn files(&self) -> BTreeMap<String, Vec<Line>> {
        self.state().files.clone()
    }

    /// Emissions of which a sink took some lines and then failed.
    pub(crate) fn half(&self) -> u64 {
        self.state().half
    }

    pub(crate) fn heal(&self) {
        self.state().failures = 0;
    }

    /// Takes one line, or fails.
    fn take(&self, sink: &str, is_file: bool, mut line: Line) -> Result<(), SinkError> {
        let mut state = self.state();
        let failures = state.failures;
        if state.rng.chance(failures) {
            self.trace.say("sink", format_args!("{sink} fails at {}", line.id));
            return Err(SinkError { sink: sink.to_string(), reason: "simulated".to_string() });
        }
        let mutant = state.mutant;
        match mutant {
            Some(Mutant::LostLine) if state.rng.chance(5) => return Ok(()),
            Some(Mutant::ChangedRow | Mutant::WrongRow) => {
                let again = state.delivered.iter().any(|it| it.id == line.id);
                let again = again || mutant == Some(Mutant::WrongRow);
                if let Content::Result { row, .. } = &mut line.content
                    && again
                {
                    row.falsify();
                }
            }
            _ => {}
        }
        self.trace.say("sink", format_args!("{sink} takes {} {}", line.id, told(&line.content)));
        if is_file {
            state.files.entry(sink.to_string()).or_default().push(line.clone());
        }
        state.delivered.push(line);
        Ok(())
    }
}

fn told(content: &Content) -> String {
    match content {
        Content::Result { row, .. } => {
            let cells = row.cells.iter().map(|cell| match cell {
                Cell::Exact(text) => text.clone(),
                other => format!("{other:?}"),
            });
            cells.collect::<Vec<_>>().join(" ")
        }
        Content::Dead(letter) => {
            format!("{} {:?}", letter.log, letter.reason)
        }
        Content::Failed(failed) => format!("{failed:?}"),
    }
}

/// One process's hold of one sink.
pub(crate) struct SimulatedSink {
    pub(crate) name: &'static str,
    pub(crate) is_file: bool,
    pub(crate) outbox: Outbox,
}

#[async_trait]
impl Sink for SimulatedSink {
    async fn restore(&mut self, state: Option<&[u8]>) -> Result<(), SinkError> {
        pause().await;
        if self.is_file {
            let length =
                state.and_then(|state| state.try_into().ok()).map_or(0, u64::from_le_bytes);
            let mut outbox = self.outbox.state();
            if let Some(file) = outbox.files.get_mut(self.name) {
                let before = file.len();
                file.truncate(length as usize);
                let what = format_args!("{} goes back from {before} to {length}", self.name);
                self.outbox.trace.say("sink", what);
            }
        }
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let epoch = emission.epoch;
        let mut lines = Vec::new();
        for results in &emission.results {
            for n in 0..results.batch.num_rows() {
                let row = row(&results.batch, n).ok_or_else(|| SinkError {
                    sink: self.name.to_string(),
                    reason: format!("a row of {} has other columns", results.query),
                })?;
                let content = Content::Result { query: results.query.clone(), row };
                lines.push(Line { id: format!("{}/{epoch}/{n}", results.query), epoch, content });
            }
        }
        let letters = emission.dead_letters.iter().cloned().map(Content::Dead);
        let failed = emission.failed.iter().cloned().map(Content::Failed);
        for (n, content) in letters.chain(failed).enumerate() {
            lines.push(Line { id: format!("dead/{epoch}/{n}"), epoch, content });
        }
        for (taken, line) in lines.into_iter().enumerate() {
            pause().await;
            if let Err(error) = self.outbox.take(self.name, self.is_file, line) {
                self.outbox.state().half += u64::from(taken > 0);
                return Err(error);
            }
        }
        pause().await;
        let length = self.outbox.state().files.get(self.name).map_or(0, Vec::len);
        Ok(Taken::all((length as u64).to_le_bytes().to_vec()))
    }
}

/// Row `n` of a query's results; `None` when it has no window, as every query here has.
fn row(batch: &RecordBatch, n: usize) -> Option<ResultRow> {
    let time = |name: &str| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<TimestampMillisecondType>()?;
        column.is_valid(n).then(|| column.value(n))
    };
    let (start, end) = (time("window_start")?, time("window_end")?);
    Some(ResultRow { start, end, cells: cells(batch, n) })
}

impl ResultRow {
    /// Makes it another row of the same window.
    fn falsify(&mut self) {
        if let Some(cell) = self.cells.last_mut() {
            let text = match cell {
                Cell::Exact(text) => text.trim_matches('\'').to_string(),
                _ => String::new(),
            };
            let other = text.parse::<i64>().map_or("?".to_string(), |n| (n + 1).to_string());
            *cell = Cell::Exact(format!("'{other}'"));
        }
    }
}
