//! Columns of rows: computed, under a schema, and without the rows that something fails on.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use tidemill_plan::of_type;

use crate::blame;
use crate::merge::failed::{Failures, Told};

/// Rows, by number, on which functions fail.
pub(super) type RowFailures = Vec<(usize, DataFusionError)>;

/// Enters the rows that functions fail on, each once, but for those that were `told` before. Answers
/// which rows are neither.
pub(super) fn passing(
    mut failed: RowFailures,
    rows: &RecordBatch,
    told: Option<&BooleanArray>,
    failures: &mut Failures<'_>,
) -> Result<BooleanArray> {
    let is_told = |row: usize| told.is_some_and(|told| told.value(row));
    failed.sort_by_key(|(row, _)| *row);
    failed.dedup_by_key(|(row, _)| *row);
    failed.retain(|(row, _)| !is_told(*row));
    let mut passes: Vec<bool> = (0..rows.num_rows()).map(|row| !is_told(row)).collect();
    for (row, error) in &failed {
        passes[*row] = false;
        failures.enter(|| Told::rows(None, [&rows.slice(*row, 1)]), error)?;
    }
    Ok(BooleanArray::from(passes))
}

/// The expressions' values for each row. They fail on no row alone.
pub(in crate::merge) fn evaluated(
    expressions: &[Arc<dyn PhysicalExpr>],
    rows: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    expressions.iter().map(|expression| blame::values(expression, rows)).collect()
}

/// Columns under a schema; those are cast that the engine encoded in another way, and no others.
pub(in crate::merge) fn typed(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let columns = columns
        .into_iter()
        .zip(schema.fields())
        .map(|(column, field)| of_type(&column, field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
