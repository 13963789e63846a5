//! Closed windows → result rows: final values, the upper plan, one order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, internal_err};
use tidemill_plan::{Feed, OutputColumn, QueryPlan, Runner, Stage};

/// Final rows of a stage from its groups' keys (with the grouping id last when it has one), window
/// bounds and values.
pub(super) fn finish(
    stage: &Stage,
    keys: Vec<ArrayRef>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    values: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    let starts: ArrayRef = Arc::new(TimestampMillisecondArray::from(starts));
    let ends: ArrayRef = Arc::new(TimestampMillisecondArray::from(ends));
    let columns = stage
        .output
        .iter()
        .zip(stage.closed.fields())
        .map(|(column, field)| {
            let array = match column {
                OutputColumn::Key(key) => keys.get(*key),
                OutputColumn::GroupingId => keys.get(stage.keys),
                OutputColumn::WindowStart => Some(&starts),
                OutputColumn::WindowEnd => Some(&ends),
                OutputColumn::Aggregate(aggregate) => values.get(*aggregate),
                OutputColumn::Value(_) => None,
            };
            match array {
                Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
                Some(array) => Ok(cast(array, field.data_type())?),
                None => internal_err!("a closed window lacks its column {}", field.name()),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&stage.closed), columns)?)
}

/// The upper plan of one query, and the closed windows that wait for it.
pub(super) struct Upper {
    runner: Runner,
    waiting: Vec<RecordBatch>,
    done: Vec<RecordBatch>,
}

impl Upper {
    pub(super) fn new(plan: &QueryPlan) -> Result<Upper> {
        Ok(Upper { runner: plan.upper()?, waiting: Vec::new(), done: Vec::new() })
    }

    /// Adds one closed window (for sessions, all that close together): one batch per stage.
    pub(super) fn add(&mut self, plan: &QueryPlan, stages: Vec<RecordBatch>) -> Result<()> {
        if plan.row_wise {
            self.waiting.extend(stages);
            return Ok(());
        }
        // Sorted, so that whatever the plan does with ties is the same whatever came first.
        let stages = stages.iter().map(|rows| sorted(rows, &[])).collect::<Result<Vec<_>>>()?;
        self.run(&stages)
    }

    fn run(&mut self, stages: &[RecordBatch]) -> Result<()> {
        self.run_on(|stage| stages.get(stage).cloned())
    }

    /// Runs the plan over what `of` gives for each stage.
    pub(super) fn run_on(&mut self, of: impl Fn(usize) -> Option<RecordBatch>) -> Result<()> {
        let rows = self.runner.run(|slot| match slot.feed {
            Feed::Stage(stage) => Ok(of(stage)),
            Feed::Stream(_) => Ok(None),
        })?;
        self.done.extend(rows);
        Ok(())
    }

    /// The plan's rows over one batch per stage, under `schema`. Nothing else may be waiting.
    pub(super) fn compute(
        &mut self,
        schema: &SchemaRef,
        stages: &[RecordBatch],
    ) -> Result<RecordBatch> {
        let stages = stages.iter().map(|rows| sorted(rows, &[])).collect::<Result<Vec<_>>>()?;
        self.run(&stages)?;
        self.taken(schema)
    }

    /// The results of everything added: of windows sorted, of rows in their order.
    pub(super) fn take(&mut self, plan: &QueryPlan) -> Result<RecordBatch> {
        let waiting = std::mem::take(&mut self.waiting);
        if let Some(first) = waiting.first() {
            let together = concat_batches(&first.schema(), &waiting)?;
            self.run(&[together])?;
        }
        let all = self.taken(&plan.output)?;
        if plan.shape.is_none() {
            return Ok(all);
        }
        sorted(&all, &plan.sort_first)
    }

    /// What the plan gave since the last call, in one batch.
    fn taken(&mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let done = std::mem::take(&mut self.done);
        let columns = done
            .iter()
            .map(|batch| {
                RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec())
                    .or_else(|_| retyped(schema, batch))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(concat_batches(schema, &columns)?)
    }
}

/// A batch under another schema, columns cast where the engine chose another encoding.
fn retyped(
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cast(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let nullable = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(nullable), columns)
}

/// Rows by the columns `first`, then by all columns, in the order of the arrow row encoding.
pub(super) fn sorted(rows: &RecordBatch, first: &[usize]) -> Result<RecordBatch> {
    if rows.num_rows() < 2 || rows.num_columns() == 0 {
        return Ok(rows.clone());
    }
    let rest = (0..rows.num_columns()).filter(|column| !first.contains(column));
    let columns: Vec<ArrayRef> =
        first.iter().copied().chain(rest).map(|index| Arc::clone(rows.column(index))).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let keys = converter.convert_columns(&columns)?;
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_unstable_by_key(|row| (keys.row(*row as usize), *row));
    Ok(take_record_batch(rows, &UInt32Array::from(order))?)
}
