//! Count windows: so many rows of each key, in the order of event time.
//!
//! # Invariants
//! 1. Which windows a row is in follows from the rows of its key before it, in order, not from ticks;
//!    windows are handed on in the order in which they become complete, or are given up.
//! 2. Of a key nothing is kept but its open windows and how far the next one is; nothing when a new
//!    key would be the same.
//!
//! Not here: partial states (`aggregate`).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, UInt64Array,
};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, internal_err};
use tidemill_model::EventMs;
use tidemill_pipeline::Incomplete;
use tidemill_plan::{CountShape, CountStage, ORDER, ROW};

use super::failed::Failures;
use super::operator::{Operator, Rows};
use super::over::keys::Keys;
use super::over::typed;
use super::results;
use crate::aggregate::{States, rows_bytes};
use crate::combine::assemble;

/// The open count windows of a stage.
pub(super) struct Count {
    stage: CountStage,
    keys: Keys,
    /// Of each key how many rows came since a window began; at most the step.
    since: Vec<u64>,
    /// Open windows as partial rows, those of a key in the order in which they began.
    open: RecordBatch,
    /// Numbers of their keys.
    open_keys: Vec<u32>,
    watermark: i64,
}

/// A window while rows are counted.
struct Window {
    key: u32,
    first: i64,
    last: i64,
    rows: u64,
    end: Option<End>,
}

/// When a window was known to get no more rows: the order in which windows are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    at: i64,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// By the row of this number in the tick.
    Complete(usize),
    /// Its key was silent for too long, or all input has ended.
    GivenUp,
}

/// Which rows are in which windows.
struct Counting {
    shape: CountShape,
    keep_ms: Option<i64>,
    windows: Vec<Window>,
    /// Open windows of each key, oldest first.
    of_keys: Vec<std::collections::VecDeque<usize>>,
    /// Rows and the windows that they are in.
    rows: Vec<u32>,
    groups: Vec<usize>,
}

impl Counting {
    fn row(&mut self, row: usize, key: usize, time: i64, since: &mut u64) {
        if *since == self.shape.step {
            *since = 0;
            self.of_keys[key].push_back(self.windows.len());
            let key = key as u32;
            self.windows.push(Window { key, first: time, last: time, rows: 0, end: None });
        }
        *since += 1;
        for window in &self.of_keys[key] {
            let counted = &mut self.windows[*window];
            counted.rows += 1;
            counted.last = time;
            self.rows.push(row as u32);
            self.groups.push(*window);
        }
        let full = |window: &Window| window.rows == self.shape.size;
        if let Some(oldest) = self.of_keys[key].front().copied()
            && full(&self.windows[oldest])
        {
            self.windows[oldest].end = Some(End { at: time, how: How::Complete(row) });
            self.of_keys[key].pop_front();
        }
    }

    /// The key has got its last row.
    fn give_up(&mut self, key: usize, last: i64) {
        let at = self.keep_ms.map_or(i64::MAX, |keep| last.saturating_add(keep));
        for window in self.of_keys[key].drain(..) {
            self.windows[window].end = Some(End { at, how: How::GivenUp });
        }
    }
}

impl Count {
    pub(super) fn new(stage: &CountStage) -> Result<Count> {
        Ok(Count {
            keys: Keys::new(key_schema(stage), stage.keep_ms)?,
            since: Vec::new(),
            open: RecordBatch::new_empty(Arc::clone(&stage.stage.partial)),
            open_keys: Vec::new(),
            watermark: i64::MIN,
            stage: stage.clone(),
        })
    }

    fn edges<'a>(&self, rows: &'a RecordBatch) -> (&'a [i64], &'a [i64], &'a [u64]) {
        let slice = self.stage.stage.slice_index();
        let edge = |index: usize| rows.column(index).as_primitive::<Int64Type>().values();
        let counted = rows.column(slice + 2).as_primitive::<UInt64Type>().values();
        (edge(slice), edge(slice + 1), counted)
    }

    /// The open windows, as they were kept.
    fn opened(&self) -> Counting {
        let (first, last, rows) = self.edges(&self.open);
        let window = |(index, key): (usize, &u32)| Window {
            key: *key,
            first: first[index],
            last: last[index],
            rows: rows[index],
            end: None,
        };
        let windows: Vec<Window> = self.open_keys.iter().enumerate().map(window).collect();
        let mut of_keys = vec![std::collections::VecDeque::new(); self.keys.len()];
        for (index, window) in windows.iter().enumerate() {
            of_keys[window.key as usize].push_back(index);
        }
        let (shape, keep_ms) = (self.stage.shape, self.stage.keep_ms);
        Counting { shape, keep_ms, windows, of_keys, rows: Vec::new(), groups: Vec::new() }
    }

    /// Rows as the aggregates read them: the lower plan's columns and perhaps the order.
    fn read(&self, batch: &RecordBatch, times: &[i64]) -> Result<RecordBatch> {
        let count = batch.num_rows();
        let columns = batch.num_columns() - 1;
        let mut fields: Vec<Arc<Field>> = batch.schema().fields()[..columns].to_vec();
        let mut arrays = batch.columns()[..columns].to_vec();
        fields.push(Arc::new(Field::new(ROW, DataType::UInt32, false)));
        arrays.push(Arc::new(UInt32Array::from_iter_values(0..count as u32)));
        if self.stage.stage.needs_order {
            // Rows of one time come together, so their number in the tick is an order.
            let order = times.iter().enumerate().map(|(row, time)| {
                let mut key = ((*time as u64) ^ (1 << 63)).to_be_bytes().to_vec();
                key.extend_from_slice(&(row as u32).to_be_bytes());
                key
            });
            fields.push(Arc::new(Field::new(ORDER, DataType::Binary, false)));
            arrays.push(Arc::new(BinaryArray::from_iter_values(order)));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }

    /// Partial rows of all windows that were open or have begun.
    fn folded(&self, counting: &Counting, rows: &RecordBatch) -> Result<RecordBatch> {
        let stage = &self.stage.stage;
        let total = counting.windows.len();
        let mut states = States::new(stage)?;
        let opened = self.open.num_rows();
        if opened > 0 {
            let each: Vec<usize> = (0..opened).collect();
            states.merge(stage, &self.open, &each, opened)?;
        }
        if !counting.rows.is_empty() {
            let once = counting.rows.len() == rows.num_rows()
                && counting.rows.iter().enumerate().all(|(at, row)| at == *row as usize);
            let rows = match once {
                true => rows.clone(),
                false => take_record_batch(rows, &UInt32Array::from(counting.rows.clone()))?,
            };
            states.update(stage, &rows, &counting.groups, total)?;
        }
        let (records, states) = states.take_states()?;
        let keys: UInt32Array = counting.windows.iter().map(|window| window.key).collect();
        let all = BooleanArray::from(vec![true; self.keys.len()]);
        let mut columns = Vec::new();
        for key in self.keys.values(&all)? {
            columns.push(take(&key, &keys, None)?);
        }
        let edge = |time: fn(&Window) -> i64| -> ArrayRef {
            Arc::new(counting.windows.iter().map(time).collect::<Int64Array>())
        };
        columns.push(edge(|window| window.first));
        columns.push(edge(|window| window.last));
        assemble(stage, columns, records, states)
    }

    /// Final rows of windows that have ended, in the order in which they did.
    fn finished(
        &self,
        folded: &RecordBatch,
        windows: &[Window],
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let stage = &self.stage.stage;
        let wanted = |end: &End| {
            matches!(end.how, How::Complete(_)) || self.stage.incomplete == Incomplete::Emit
        };
        let ended = windows.iter().enumerate();
        let mut ended: Vec<(End, u32)> = ended
            .filter_map(|(index, window)| Some((window.end.filter(wanted)?, index as u32)))
            .collect();
        if ended.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&stage.closed)));
        }
        if ended.iter().any(|(end, _)| end.how == How::GivenUp) && stage.keys > 0 {
            let keys = &folded.columns()[..stage.keys];
            let fields = keys.iter().map(|key| SortField::new(key.data_type().clone()));
            let converter = RowConverter::new(fields.collect())?;
            let keys = converter.convert_columns(keys)?;
            ended.sort_by(|(a, left), (b, right)| {
                let by_key = keys.row(*left as usize).cmp(&keys.row(*right as usize));
                a.cmp(b).then(by_key).then(left.cmp(right))
            });
        } else {
            ended.sort_unstable();
        }
        let rows: UInt32Array = ended.iter().map(|(_, index)| *index).collect();
        let rows = take_record_batch(folded, &rows)?;
        let (first, last, _) = self.edges(&rows);
        results::finish_groups(stage, &rows, (first, last), failures)
    }

    /// Whether a key is another than a new one would be.
    fn lives(&self) -> Vec<bool> {
        let mut lives: Vec<bool> = (0..self.keys.len())
            .map(|key| {
                self.since[key] < self.stage.shape.step && self.keys.goes_on(key, self.watermark)
            })
            .collect();
        for key in &self.open_keys {
            lives[*key as usize] = true;
        }
        lives
    }

    /// Forgets keys that are as new ones would be, once they are half of all.
    fn forget(&mut self) -> Result<()> {
        let lives = self.lives();
        if self.keys.forget(&lives, &mut self.open_keys)? {
            let since = self.since.iter().zip(&lives);
            self.since = since.filter(|(_, lives)| **lives).map(|(since, _)| *since).collect();
        }
        Ok(())
    }
}

fn key_schema(stage: &CountStage) -> Schema {
    Schema::new(stage.keys.fields()[..stage.stage.keys].to_vec())
}

impl Operator for Count {
    fn advance(
        &mut self,
        mut inputs: Vec<Rows>,
        watermarks: &[EventMs],
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let (Some(Rows { batch, times }), [watermark]) = (inputs.pop(), watermarks) else {
            return internal_err!("count windows have one input");
        };
        let times = times.values();
        self.watermark = watermark.0;
        let mut last: Vec<i64> = self.keys.last.clone();
        let marks = self.keys.take_rows(&batch.columns()[..self.stage.stage.keys], times)?;
        self.since.resize(self.keys.len(), self.stage.shape.step);
        let mut counting = self.opened();
        last.resize(self.keys.len(), i64::MIN);
        for (row, time) in times.iter().enumerate() {
            let key = marks.keys[row] as usize;
            if marks.fresh[row] {
                counting.give_up(key, last[key]);
                self.since[key] = self.stage.shape.step;
            }
            last[key] = *time;
            counting.row(row, key, *time, &mut self.since[key]);
        }
        for (key, last) in last.iter().enumerate() {
            if !self.keys.goes_on(key, self.watermark) {
                counting.give_up(key, *last);
            }
        }
        if counting.windows.is_empty() {
            self.forget()?;
            return Ok(RecordBatch::new_empty(Arc::clone(&self.stage.stage.closed)));
        }
        let folded = self.folded(&counting, &self.read(&batch, times)?)?;
        let finished = self.finished(&folded, &counting.windows, failures)?;
        let stays = |(index, window): (usize, &Window)| {
            window.end.is_none().then_some((index as u32, window.key))
        };
        let stays: Vec<(u32, u32)> =
            counting.windows.iter().enumerate().filter_map(stays).collect();
        let rows: UInt32Array = stays.iter().map(|(index, _)| *index).collect();
        self.open = take_record_batch(&folded, &rows)?;
        self.open_keys = stays.into_iter().map(|(_, key)| key).collect();
        self.forget()?;
        Ok(finished)
    }

    fn parts(&self) -> Result<Vec<RecordBatch>> {
        let lives = BooleanArray::from(self.lives());
        let mut columns = self.keys.values(&lives)?;
        let lived = |key: &usize| lives.value(*key);
        let keys = || (0..self.keys.len()).filter(lived);
        columns.push(Arc::new(keys().map(|key| self.keys.last[key]).collect::<Int64Array>()));
        columns.push(Arc::new(keys().map(|key| self.since[key]).collect::<UInt64Array>()));
        Ok(vec![self.open.clone(), typed(&self.stage.keys, columns)?])
    }

    fn restore(&mut self, parts: Vec<RecordBatch>) -> Result<()> {
        let Ok([open, keys]) = <[RecordBatch; 2]>::try_from(parts) else {
            return internal_err!("the state of count windows has two parts");
        };
        let mut restored = Count::new(&self.stage)?;
        let columns = self.stage.stage.keys;
        restored.keys.number(&keys.columns()[..columns], keys.num_rows())?;
        restored.keys.last = keys.column(columns).as_primitive::<Int64Type>().values().to_vec();
        restored.since = keys.column(columns + 1).as_primitive::<UInt64Type>().values().to_vec();
        restored.open_keys = restored.keys.number(&open.columns()[..columns], open.num_rows())?;
        if restored.keys.len() != restored.since.len() {
            return internal_err!("an open count window has a key that is not known");
        }
        restored.open = open;
        *self = restored;
        Ok(())
    }

    fn clear(&mut self) {
        // Making an empty state of a stage has succeeded before.
        if let Ok(empty) = Count::new(&self.stage) {
            *self = empty;
        }
    }

    fn last_close(&self) -> Option<EventMs> {
        if self.stage.incomplete == Incomplete::Drop {
            return None;
        }
        let last = |key: &u32| self.keys.last[*key as usize];
        let last = self.open_keys.iter().map(last).max()?;
        Some(match self.stage.keep_ms {
            Some(keep) => EventMs(last).plus(keep).plus(1),
            None => EventMs::MAX,
        })
    }

    fn rows(&self) -> u64 {
        let live = self.lives().into_iter().filter(|lives| *lives).count() as u64;
        self.open.num_rows() as u64 + live
    }

    fn bytes(&self) -> u64 {
        rows_bytes(&self.open) + self.keys.bytes() + 8 * self.since.len() as u64
    }
}
