//! One input of a stage: the glue, and rows that wait for their place.
//!
//! # Invariants
//! 1. On no row that it gives fails the glue, or what the stage computes of each row alone.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{SchemaRef, UInt32Type};
use datafusion::common::{Result, internal_err};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::PhysicalExpr;
use tidemill_model::EventMs;
use tidemill_plan::{Glue, QueryPlan, ROW, Runner, of_type};

use super::handed::Handed;
use crate::merge::failed::{Failures, Told};
use crate::merge::operator::Rows;
use crate::merge::ordered::{Ordered, times};
use crate::merge::window_columns::windows_of;

/// One input of a stage.
pub(super) struct Input {
    runner: Runner,
    /// What the stage computes of each row alone, if it can fail.
    checks: Vec<Arc<dyn PhysicalExpr>>,
    /// Rows that are not in the order of their time when they come.
    pub(super) waiting: Option<Ordered>,
}

impl Input {
    /// The input of a stage that computes `of_each` of each row alone.
    pub(super) fn new(
        plan: &QueryPlan,
        glue: &Glue,
        of_each: &[Arc<dyn PhysicalExpr>],
    ) -> Result<Input> {
        let waiting = || Ordered::new(Arc::clone(&glue.schema), glue.time, None);
        let can_fail =
            |expr: &&Arc<dyn PhysicalExpr>| !expr.is::<Column>() && !expr.is::<Literal>();
        let checks = of_each.iter().filter(can_fail).cloned().collect();
        let waiting = (!glue.is_ordered).then(waiting);
        Ok(Input { runner: plan.glue(glue)?, checks, waiting })
    }

    /// The rows of the input that are final at `watermark`, in order.
    pub(super) fn take(
        &mut self,
        plan: &QueryPlan,
        glue: &Glue,
        handed: &Handed,
        watermark: EventMs,
        failures: &mut Failures<'_>,
    ) -> Result<Rows> {
        let mut rows = RecordBatch::new_empty(Arc::clone(&glue.schema));
        if let Some(handed) = handed.together()? {
            let given = failures.each(
                handed.num_rows(),
                |chosen| self.run(glue, &handed.slice(chosen.start as usize, chosen.len())),
                |row| {
                    let alone = handed.slice(row as usize, 1);
                    Told::rows(windows_of(plan, glue.from, &alone)?[0], [&alone])
                },
            )?;
            rows = concat_batches(&glue.schema, &given.into_values().collect::<Vec<_>>())?;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.push(rows);
            rows = waiting.release(watermark)?;
        }
        Ok(Rows { times: times(&rows, glue.time)?, batch: rows })
    }

    /// Runs the glue; its rows in the order of the rows that they come from.
    fn run(&mut self, glue: &Glue, handed: &RecordBatch) -> Result<RecordBatch> {
        let numbered = |slot: &tidemill_plan::Slot| with_row(handed, &slot.wanted());
        let rows = self.runner.run(|slot| Ok(Some(numbered(slot)?)))?;
        let Some(first) = rows.first() else {
            return Ok(RecordBatch::new_empty(Arc::clone(&glue.schema)));
        };
        let rows = concat_batches(&first.schema(), &rows)?;
        let columns = rows.num_columns() - 1;
        let Some(numbers) = rows.column(columns).as_primitive_opt::<UInt32Type>() else {
            return internal_err!("a stage's input lost its row column");
        };
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_by_key(|row| numbers.value(*row as usize));
        let rows = match numbers.values().is_sorted() {
            true => rows.clone(),
            false => take_record_batch(&rows, &UInt32Array::from(order))?,
        };
        let columns = rows.columns()[..columns]
            .iter()
            .zip(glue.schema.fields())
            .map(|(column, field)| of_type(column, field.data_type()))
            .collect::<Result<Vec<_>>>()?;
        let rows = RecordBatch::try_new(Arc::clone(&glue.schema), columns)?;
        for check in &self.checks {
            check.evaluate(&rows)?;
        }
        Ok(rows)
    }
}

/// The rows that a slot of this schema wants, which may be fewer columns and [`ROW`] last.
fn with_row(handed: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::new();
    for (index, field) in wanted.fields().iter().enumerate() {
        if field.name() == ROW {
            columns.push(Arc::new(UInt32Array::from_iter_values(0..handed.num_rows() as u32)) as _);
        } else if index < handed.num_columns() {
            columns.push(Arc::clone(handed.column(index)));
        } else {
            return internal_err!("a stage hands over fewer columns than the next one takes");
        }
    }
    Ok(RecordBatch::try_new(Arc::clone(wanted), columns)?)
}
