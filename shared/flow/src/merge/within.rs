//! A plan that is run window by window, below other stages.
//!
//! # Invariants
//! 1. A window is run once, when no input can hand over more of its rows. So what it gives does not
//!    depend on ticks, though inputs may close it at different ones.
//! 2. Windows are handed on in the order of their ends, then of their starts; a window's rows in the
//!    order of all their columns.
//! 3. The rows of an input that wait are in the order of their windows, those of one window in the
//!    order in which they came.
//!
//! Not here: the upper plan, which is run window by window too (`results`).

use std::collections::BTreeSet;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use tidemill_model::{EventMs, Window};
use tidemill_plan::{OutputColumn, QueryPlan, Runner, WithinInput, WithinStage};

use super::failed::{Failures, Told};
use super::operator::{Operator, Rows};
use super::results::{retyped, run, sorted};
use super::window_columns::windows_in;
use crate::aggregate::rows_bytes;

/// The open windows of a plan that is run window by window.
pub(super) struct Within {
    stage: WithinStage,
    runner: Runner,
    inputs: Vec<Waiting>,
}

/// The rows of one input that wait.
#[derive(Clone)]
struct Waiting {
    rows: RecordBatch,
    /// The window of each row.
    windows: Vec<Window>,
}

impl Within {
    pub(super) fn new(plan: &QueryPlan, stage: &WithinStage) -> Result<Within> {
        let inputs = stage.inputs.iter().map(Waiting::none).collect();
        Ok(Within { stage: stage.clone(), runner: plan.within(stage)?, inputs })
    }

    /// The windows that no input can hand over more rows of, rising.
    fn complete(&self, watermarks: &[EventMs]) -> BTreeSet<Window> {
        let is_complete = |window: &Window| {
            let mut inputs = self.stage.inputs.iter().zip(watermarks);
            inputs.all(|(input, watermark)| {
                *watermark == EventMs::MAX || comes_at(input, *window) < *watermark
            })
        };
        let windows = self.inputs.iter().flat_map(|input| &input.windows);
        windows.copied().filter(is_complete).collect()
    }
}

/// The time by which an input hands over the rows of a window.
fn comes_at(input: &WithinInput, window: Window) -> EventMs {
    match input.by {
        OutputColumn::WindowStart => window.start,
        _ => window.end,
    }
}

impl Waiting {
    fn none(input: &WithinInput) -> Waiting {
        Waiting { rows: RecordBatch::new_empty(input.schema.clone()), windows: Vec::new() }
    }

    fn of(stage: &WithinStage, input: &WithinInput, rows: RecordBatch) -> Result<Waiting> {
        let windows = windows_in(&input.columns, Some(stage.shape), &rows)?;
        let windows: Option<Vec<Window>> = windows.into_iter().collect();
        let windows =
            windows.ok_or_else(|| internal_datafusion_err!("a row does not tell its window"))?;
        if windows.is_sorted() {
            return Ok(Waiting { rows, windows });
        }
        let mut order: Vec<u32> = (0..windows.len() as u32).collect();
        order.sort_by_key(|row| windows[*row as usize]);
        let windows = order.iter().map(|row| windows[*row as usize]).collect();
        let rows = take_record_batch(&rows, &UInt32Array::from(order))?;
        Ok(Waiting { rows, windows })
    }

    /// The rows of `window`; `None`: there are none.
    fn of_window(&self, window: Window) -> Option<RecordBatch> {
        let from = self.windows.partition_point(|other| *other < window);
        let to = self.windows.partition_point(|other| *other <= window);
        (from < to).then(|| self.rows.slice(from, to - from))
    }

    /// Drops the rows of windows up to `last`.
    fn drop_to(&mut self, last: Window) {
        let count = self.windows.partition_point(|window| *window <= last);
        self.windows.drain(..count);
        self.rows = self.rows.slice(count, self.rows.num_rows() - count);
    }
}

impl Operator for Within {
    fn advance(
        &mut self,
        inputs: Vec<Rows>,
        watermarks: &[EventMs],
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        for ((input, waiting), came) in self.stage.inputs.iter().zip(&mut self.inputs).zip(inputs) {
            if came.batch.num_rows() > 0 {
                let rows = concat_batches(&input.schema, [&waiting.rows, &came.batch])?;
                *waiting = Waiting::of(&self.stage, input, rows)?;
            }
        }
        let complete = self.complete(watermarks);
        let mut handed = Vec::new();
        for window in &complete {
            let mut stages = Vec::new();
            for (input, waiting) in self.stage.inputs.iter().zip(&self.inputs) {
                let needed = stages.len().max(input.from + 1);
                stages.resize(needed, None);
                stages[input.from] = waiting.of_window(*window);
            }
            let given = failures.one(
                || run(&mut self.runner, &stages),
                || Told::rows(Some(*window), stages.iter().flatten()),
            )?;
            let batches = given.into_iter().flatten();
            let batches = batches.map(|batch| retyped(&self.stage.output, &batch));
            let batches = batches.collect::<Result<Vec<_>, _>>()?;
            handed.push(sorted(&concat_batches(&self.stage.output, &batches)?, &[])?);
        }
        if let Some(last) = complete.last() {
            self.inputs.iter_mut().for_each(|waiting| waiting.drop_to(*last));
        }
        Ok(concat_batches(&self.stage.output, &handed)?)
    }

    fn parts(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.inputs.iter().map(|waiting| waiting.rows.clone()).collect())
    }

    fn restore(&mut self, parts: Vec<RecordBatch>) -> Result<()> {
        if parts.len() != self.stage.inputs.len() {
            return internal_err!("a plan within windows has as many parts as inputs");
        }
        let inputs = self.stage.inputs.iter().zip(parts);
        let inputs = inputs.map(|(input, rows)| Waiting::of(&self.stage, input, rows));
        self.inputs = inputs.collect::<Result<_>>()?;
        Ok(())
    }

    fn clear(&mut self) {
        self.inputs = self.stage.inputs.iter().map(Waiting::none).collect();
    }

    fn last_close(&self) -> Option<EventMs> {
        let newest = self.inputs.iter().filter_map(|waiting| waiting.windows.last()).max()?;
        let at = self.stage.inputs.iter().map(|input| comes_at(input, *newest)).max()?;
        Some(at.plus(1))
    }

    fn rows(&self) -> u64 {
        self.inputs.iter().map(|waiting| waiting.rows.num_rows() as u64).sum()
    }

    fn bytes(&self) -> u64 {
        self.inputs.iter().map(|waiting| rows_bytes(&waiting.rows)).sum()
    }
}
