//! Open windows over what another stage hands over.
//!
//! The rows come in the order of their time, and never late: each is aggregated at once into its
//! slice or a fragment of its session, as combine does with records.
//!
//! # Invariants
//! 1. Order-sensitive aggregates see rows in the order (time, number): numbers rise from tick to
//!    tick, and are part of the state.
//!
//! Not here: slices, sessions and when they close (`windows`, `sessions`).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, RecordBatch, TimestampMillisecondArray, UInt32Array,
    UInt64Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use datafusion::common::{Result, internal_err};
use tidemill_model::{EventMs, WindowShape};
use tidemill_plan::{AggregateRows, ORDER, QueryPlan, ROW, Runner, Slot, Stage, WINDOW_END};

use super::failed::{Failures, Told};
use super::graph::handed::Handed;
use super::operator::Rows;
use super::sessions::OpenSessions;
use super::windows::OpenSlices;
use crate::combine::{fragments, row_numbers, slice_rows};

/// The open windows of one aggregate over rows.
pub(super) struct RowsWindows {
    runner: Runner,
    open: Open,
    /// Rows taken so far.
    sequence: u64,
}

enum Open {
    Slices(OpenSlices),
    Sessions(OpenSessions),
}

impl Open {
    fn new(shape: WindowShape) -> Open {
        match shape {
            WindowShape::Session { gap_ms } => Open::Sessions(OpenSessions::new(gap_ms)),
            _ => Open::Slices(OpenSlices::default()),
        }
    }
}

impl RowsWindows {
    pub(super) fn new(plan: &QueryPlan, aggregate: &AggregateRows) -> Result<RowsWindows> {
        let runner = plan.lower_of(&aggregate.stage)?;
        Ok(RowsWindows { runner, open: Open::new(aggregate.stage.shape), sequence: 0 })
    }

    pub(super) fn clear(&mut self, stage: &Stage) {
        self.open = Open::new(stage.shape);
        self.sequence = 0;
    }

    /// Takes rows, and hands over the windows that end at or below `watermark`, the input's own, and
    /// above `before`.
    pub(super) fn advance(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        rows: Rows,
        before: Option<EventMs>,
        watermark: EventMs,
        failures: &mut Failures<'_>,
    ) -> Result<Handed> {
        let count = rows.batch.num_rows();
        if count > 0 {
            let given = failures.each(
                count,
                |chosen| self.partial(stage, &rows, chosen),
                |row| Told::rows(None, [&rows.batch.slice(row as usize, 1)]),
            )?;
            match &mut self.open {
                Open::Slices(slices) => {
                    for partial in given.into_values() {
                        slices.merge_on_time(stage, &partial)?;
                    }
                }
                Open::Sessions(sessions) => {
                    sessions.merge_on_time(plan, stage, given.into_values().collect())?;
                }
            }
            self.sequence += count as u64;
        }
        let (before, watermark) = (before.map(|at| shifted(plan, at)), shifted(plan, watermark));
        match &mut self.open {
            Open::Slices(slices) => {
                Handed::closed(plan, stage, slices, before, watermark, failures)
            }
            Open::Sessions(sessions) => Handed::ended(plan, stage, sessions, watermark, failures),
        }
    }

    /// Partial rows of the chosen ones of the input's rows.
    fn partial(&mut self, stage: &Stage, rows: &Rows, chosen: Range<u32>) -> Result<RecordBatch> {
        let sequence = self.sequence + u64::from(chosen.start);
        let (from, count) = (chosen.start as usize, chosen.len());
        let (batch, times) = (rows.batch.slice(from, count), rows.times.slice(from, count));
        let rows = &Rows { batch, times };
        let lower = self.runner.run(|slot| Ok(Some(wanted(stage, slot, rows)?)))?;
        let Some(first) = lower.first() else {
            return Ok(RecordBatch::new_empty(Arc::clone(&stage.partial)));
        };
        let lower = concat_batches(&first.schema(), &lower)?;
        let times: Vec<i64> = row_numbers(&lower)?
            .values()
            .iter()
            .map(|row| rows.times.value(*row as usize))
            .collect();
        let ordered = |lower: RecordBatch| match stage.needs_order {
            true => with_order(&lower, rows, sequence),
            false => Ok(lower),
        };
        if let WindowShape::Session { gap_ms } = stage.shape {
            return fragments(stage, &times, &ordered(lower)?, &times, gap_ms);
        }
        let (mut chosen, mut starts) = (Vec::new(), Vec::new());
        for (index, time) in times.iter().enumerate() {
            if let Some(slice) = stage.shape.slice_of(EventMs(*time)) {
                chosen.push(index as u32);
                starts.push(slice.start.0);
            }
        }
        let lower = match chosen.len() == lower.num_rows() {
            true => lower,
            false => take_record_batch(&lower, &UInt32Array::from(chosen))?,
        };
        slice_rows(stage, starts, &ordered(lower)?)
    }

    /// For what would close at watermarks up to `watermark`, the input's own: at which, and about
    /// how many rows.
    pub(super) fn closing(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        before: Option<EventMs>,
        watermark: EventMs,
    ) -> Vec<(EventMs, usize)> {
        let (before, watermark) = (before.map(|at| shifted(plan, at)), shifted(plan, watermark));
        let closing = match &self.open {
            Open::Slices(slices) => slices.closing(plan, stage, before, watermark),
            Open::Sessions(sessions) => sessions.closing(plan, stage, before, watermark),
        };
        closing.into_iter().map(|(at, rows)| (at.minus(plan.grace_ms), rows)).collect()
    }

    /// The least watermark of the input that closes every window.
    pub(super) fn last_close(&self, plan: &QueryPlan, stage: &Stage) -> Option<EventMs> {
        match &self.open {
            Open::Slices(slices) => slices.last_end(stage, None),
            Open::Sessions(sessions) => {
                sessions.last_close(plan, stage, None).map(|at| at.minus(plan.grace_ms))
            }
        }
    }

    /// The state: slices or sessions, and the number of rows when order matters.
    pub(super) fn parts(&mut self, stage: &Stage) -> Result<Vec<RecordBatch>> {
        let mut parts = vec![match &mut self.open {
            Open::Slices(slices) => slices.seal_all(stage)?,
            Open::Sessions(sessions) => sessions.rows(stage)?,
        }];
        if stage.needs_order {
            let field = Field::new("__sequence", DataType::UInt64, false);
            let sequence: ArrayRef = Arc::new(UInt64Array::from(vec![self.sequence]));
            parts.push(RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![sequence])?);
        }
        Ok(parts)
    }

    pub(super) fn restore(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        parts: Vec<RecordBatch>,
    ) -> Result<()> {
        self.clear(stage);
        let mut parts = parts.into_iter();
        if let Some(open) = parts.next() {
            match &mut self.open {
                Open::Slices(slices) => slices.restore(stage, &open)?,
                Open::Sessions(sessions) => sessions.restore(plan, open),
            }
        }
        if let Some(rows) = parts.next().filter(|rows| rows.num_rows() > 0) {
            match rows.column(0).as_primitive_opt::<UInt64Type>() {
                Some(sequence) => self.sequence = sequence.value(0),
                None => return internal_err!("a number of rows has another type"),
            }
        }
        Ok(())
    }

    /// Open windows, start of the oldest, groups.
    pub(super) fn measure(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        closed: Option<EventMs>,
    ) -> (u64, Option<EventMs>, u64) {
        let closed = closed.map(|at| shifted(plan, at));
        let (windows, oldest, groups, _) = match &self.open {
            Open::Slices(slices) => slices.measure(plan, stage, closed),
            Open::Sessions(sessions) => sessions.measure(plan, stage, closed),
        };
        (windows, oldest, groups)
    }

    pub(super) fn bytes(&self) -> u64 {
        match &self.open {
            Open::Slices(slices) => slices.bytes(),
            Open::Sessions(sessions) => sessions.bytes(),
        }
    }
}

/// A watermark for slices and sessions, which close only when the query's grace is over: here it is over already,
/// for the input's watermark lags by it.
fn shifted(plan: &QueryPlan, watermark: EventMs) -> EventMs {
    watermark.plus(plan.grace_ms)
}

/// The columns that the lower plan's slot wants: the input's, its rows' windows, and [`ROW`].
fn wanted(stage: &Stage, slot: &Slot, rows: &Rows) -> Result<RecordBatch> {
    let schema = slot.wanted();
    let count = rows.batch.num_rows();
    let edge = |end: bool| -> ArrayRef {
        let edge = |time: &i64| {
            let slice = stage.shape.slice_of(EventMs(*time));
            slice.map_or(*time, |slice| if end { slice.end.0 } else { slice.start.0 })
        };
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.times.values().iter().map(edge)))
    };
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        if field.name() == ROW {
            Arc::new(UInt32Array::from_iter_values(0..count as u32)) as ArrayRef
        } else if index < rows.batch.num_columns() {
            Arc::clone(rows.batch.column(index))
        } else {
            edge(field.name() == WINDOW_END)
        }
    });
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
}

/// The rows with the column that order-sensitive aggregates sort by last.
fn with_order(lower: &RecordBatch, rows: &Rows, first: u64) -> Result<RecordBatch> {
    let keys = row_numbers(lower)?.values().iter().map(|row| {
        let time = (rows.times.value(*row as usize) as u64) ^ (1 << 63);
        let number = first + u64::from(*row);
        [time.to_be_bytes(), number.to_be_bytes()].concat()
    });
    let order: ArrayRef = Arc::new(BinaryArray::from_iter_values(keys));
    let mut fields: Vec<_> = lower.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ORDER, DataType::Binary, false)));
    let mut columns = lower.columns().to_vec();
    columns.push(order);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
