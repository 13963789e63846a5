//! Expressions whose values are of the type that was planned.
//!
//! A function says one type when it is planned and may give values of another: ROUND of a decimal has
//! another scale when its digits are known later. Whoever reads a value by the planned type then gets
//! a number that is wrong by a power of ten.
//!
//! # Invariants
//! 1. What can be seen without rows is seen when it is planned: the value is cast, if that loses
//!    nothing, or the expression is refused.
//! 2. What shows only with rows is an error of the engine's own, never a value.
//!
//! Not here: the same for whole plans (`run`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::util::display::FormatOptions;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::PhysicalExpr;

use crate::error::Refusal;
use crate::optimizer::keeps_all;

/// A value that has no place in the planned type is an error.
const CAST_OPTIONS: CastOptions<'static> =
    CastOptions { safe: false, format_options: FormatOptions::new() };

/// The expression with values of its planned type.
pub(crate) fn of_planned_type(
    expr: Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
) -> Result<Arc<dyn PhysicalExpr>> {
    let planned = expr.data_type(schema)?;
    // What the engine cannot run shows here, and not on the first row. What fails on no rows for
    // another reason, fails on each.
    let expr = match expr.evaluate(&RecordBatch::new_empty(Arc::clone(schema))) {
        Err(error) if matches!(error.find_root(), DataFusionError::Internal(_)) => {
            return Err(error);
        }
        Err(_) => expr,
        Ok(value) if value.data_type() == planned => expr,
        Ok(value) if keeps_all(&value.data_type(), &planned) => {
            let (from, options) = (Some(value.data_type()), CAST_OPTIONS);
            return Ok(Arc::new(OfType { expr, planned, from, options }));
        }
        Ok(value) => return Err(refused(&expr, &planned, &value.data_type())),
    };
    match expr.is::<Column>() || expr.is::<Literal>() {
        true => Ok(expr),
        false => Ok(Arc::new(OfType { expr, planned, from: None, options: CAST_OPTIONS })),
    }
}

fn refused(expr: &Arc<dyn PhysicalExpr>, planned: &DataType, found: &DataType) -> DataFusionError {
    Refusal::new(
        "plan::type",
        format!("`{expr}` is planned as {planned} and would give values of type {found}"),
    )
    .help("write the type that is meant: CAST(… AS …)")
    .into_engine()
}

/// An expression whose values are of the planned type, or it fails.
#[derive(Debug, Clone)]
struct OfType {
    expr: Arc<dyn PhysicalExpr>,
    planned: DataType,
    /// The type of its values that is cast, losing nothing.
    from: Option<DataType>,
    options: CastOptions<'static>,
}

impl PartialEq for OfType {
    fn eq(&self, other: &Self) -> bool {
        self.expr.eq(&other.expr) && self.planned == other.planned
    }
}

impl Eq for OfType {}

impl Hash for OfType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expr.hash(state);
    }
}

impl fmt::Display for OfType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl PhysicalExpr for OfType {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.expr.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let value = self.expr.evaluate(batch)?;
        let found = value.data_type();
        if found == self.planned {
            return Ok(value);
        }
        match self.from.as_ref() == Some(&found) {
            true => value.cast_to(&self.planned, Some(&self.options)),
            false => internal_err!(
                "`{}` is planned as {} and gives values of type {found}",
                self.expr,
                self.planned
            ),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.expr]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(expr) => Ok(Arc::new(OfType { expr, ..self.as_ref().clone() })),
            None => internal_err!("an expression has lost what it is of"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt_sql(f)
    }
}

/// A column as one of the planned type, which it is but for its encoding. Anything else is an error of
/// the engine's own: a cast that loses something would give another value in silence.
pub fn of_type(column: &ArrayRef, planned: &DataType) -> Result<ArrayRef> {
    let found = column.data_type();
    if found == planned {
        return Ok(Arc::clone(column));
    }
    let plain = match found {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    match keeps_all(plain, planned) || is_same_text(plain, planned) {
        true => Ok(cast_with_options(column, planned, &CAST_OPTIONS)?),
        false => internal_err!("a column is planned as {planned} and is of type {found}"),
    }
}

fn is_same_text(found: &DataType, planned: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    let text = |it: &DataType| matches!(it, Utf8 | LargeUtf8 | Utf8View);
    let bytes = |it: &DataType| matches!(it, Binary | LargeBinary | BinaryView);
    text(found) && text(planned) || bytes(found) && bytes(planned)
}

/// The batch, whose columns must be of the planned types.
pub fn check_batch(batch: &RecordBatch, planned: &Schema) -> Result<()> {
    let columns = batch.columns().iter().map(|column| column.data_type());
    let fields = planned.fields().iter().map(|field| field.data_type());
    match batch.num_columns() == planned.fields().len() && columns.eq(fields) {
        true => Ok(()),
        false => internal_err!(
            "a plan's rows have columns of the types {:?}, planned are {:?}",
            batch.columns().iter().map(|column| column.data_type()).collect::<Vec<_>>(),
            planned.fields().iter().map(|field| field.data_type()).collect::<Vec<_>>()
        ),
    }
}

#[cfg(test)]
mod tests;
