//! Rows that wait for the watermark, in the order of their times.
//!
//! # Invariants
//! 1. Rows of one time stand in the order of their sources, and those of one source in the order in
//!    which they came. So the order does not depend on when they came.
//! 2. What is released has lower times than everything that stays.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::common::{Result, internal_datafusion_err};
use tidemill_model::EventMs;

use crate::aggregate::rows_bytes;

/// Rows of one schema that has a column of times, and perhaps one of sources.
pub(super) struct Ordered {
    schema: SchemaRef,
    time: usize,
    /// The column of texts that tells rows of one time apart.
    source: Option<usize>,
    /// In order.
    rows: RecordBatch,
    /// As they came.
    fresh: Vec<RecordBatch>,
}

impl Ordered {
    pub(super) fn new(schema: SchemaRef, time: usize, source: Option<usize>) -> Ordered {
        let rows = RecordBatch::new_empty(Arc::clone(&schema));
        Ordered { schema, time, source, rows, fresh: Vec::new() }
    }

    pub(super) fn push(&mut self, rows: RecordBatch) {
        if rows.num_rows() > 0 {
            self.fresh.push(rows);
        }
    }

    fn times_of(&self, rows: &RecordBatch) -> Result<Int64Array> {
        times(rows, self.time)
    }

    /// Puts what came since the last call in its place.
    fn sort(&mut self) -> Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let fresh = std::mem::take(&mut self.fresh);
        let kept = (self.rows.num_rows() > 0).then_some(&self.rows);
        let all = concat_batches(&self.schema, kept.into_iter().chain(&fresh))?;
        let times = self.times_of(&all)?;
        let sources = match self.source {
            Some(source) => Some(texts(&all, source)?),
            None => None,
        };
        let source = |row: u32| sources.as_ref().map(|sources| sources.value(row as usize));
        let key = |row: &u32| (times.value(*row as usize), source(*row));
        let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
        self.rows = match order.is_sorted_by_key(key) {
            true => all,
            false => {
                order.sort_by(|a, b| key(a).cmp(&key(b)));
                take_record_batch(&all, &UInt32Array::from(order))?
            }
        };
        Ok(())
    }

    /// All rows in order, which stay, and their times.
    pub(super) fn rows(&mut self) -> Result<(RecordBatch, Int64Array)> {
        self.sort()?;
        Ok((self.rows.clone(), self.times_of(&self.rows)?))
    }

    /// Takes off the rows with times below `before`.
    pub(super) fn release(&mut self, before: EventMs) -> Result<RecordBatch> {
        self.sort()?;
        let times = self.times_of(&self.rows)?;
        let count = match before {
            EventMs::MAX => times.len(),
            before => times.values().partition_point(|time| *time < before.0),
        };
        let released = self.rows.slice(0, count);
        self.rows = self.rows.slice(count, times.len() - count);
        Ok(released)
    }

    /// All rows, as [`Ordered::restore`] wants them.
    pub(super) fn part(&mut self) -> Result<RecordBatch> {
        self.sort()?;
        Ok(self.rows.clone())
    }

    pub(super) fn restore(&mut self, rows: RecordBatch) {
        self.rows = rows;
        self.fresh.clear();
    }

    /// Makes the state empty.
    pub(super) fn clear(&mut self) {
        self.restore(RecordBatch::new_empty(Arc::clone(&self.schema)));
    }

    /// The greatest time.
    pub(super) fn newest(&self) -> Option<EventMs> {
        let sorted = self.times_of(&self.rows).ok();
        let sorted = sorted.and_then(|times| times.values().last().copied());
        let fresh = self.fresh.iter().filter_map(|rows| self.times_of(rows).ok());
        let fresh = fresh.filter_map(|times| times.values().iter().max().copied()).max();
        sorted.max(fresh).map(EventMs)
    }

    /// The least time.
    pub(super) fn oldest(&self) -> Option<EventMs> {
        let batches = [&self.rows].into_iter().chain(&self.fresh);
        let times = batches.filter_map(|rows| self.times_of(rows).ok());
        times.filter_map(|times| times.values().iter().min().copied()).min().map(EventMs)
    }

    /// Distinct times below `before` with the number of their rows, in no order.
    pub(super) fn counts(&self, before: EventMs) -> Vec<(EventMs, usize)> {
        let batches = [&self.rows].into_iter().chain(&self.fresh);
        let mut counts: Vec<(EventMs, usize)> = Vec::new();
        for times in batches.filter_map(|rows| self.times_of(rows).ok()) {
            for time in times.values().iter().filter(|time| **time < before.0) {
                match counts.last_mut() {
                    Some((last, count)) if last.0 == *time => *count += 1,
                    _ => counts.push((EventMs(*time), 1)),
                }
            }
        }
        counts
    }

    pub(super) fn len(&self) -> u64 {
        let fresh: usize = self.fresh.iter().map(RecordBatch::num_rows).sum();
        (self.rows.num_rows() + fresh) as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        rows_bytes(&self.rows) + self.fresh.iter().map(rows_bytes).sum::<u64>()
    }
}

/// A column of times in milliseconds, as integers or as timestamps.
pub(super) fn times(rows: &RecordBatch, column: usize) -> Result<Int64Array> {
    let column = rows.column(column);
    let milliseconds = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64)?;
    let times = milliseconds.as_primitive_opt::<Int64Type>().filter(|it| it.null_count() == 0);
    times.cloned().ok_or_else(|| internal_datafusion_err!("a column of times is none"))
}

fn texts(rows: &RecordBatch, column: usize) -> Result<StringArray> {
    let column = rows.column(column).as_string_opt::<i32>();
    column.cloned().ok_or_else(|| internal_datafusion_err!("a column of sources holds no text"))
}
