//! Deduplication that keeps the last row of each key.
//!
//! Not here: which ROW_NUMBER serves deduplication (`reduced`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Window;
use datafusion::logical_expr::expr::Sort;
use datafusion::physical_expr::PhysicalExpr;
use tidemill_model::Keep;

use super::{Compiler, TIME, called, displayed, ordered_by, without_metadata};
use crate::error::Refusal;

/// Which of its rows a deduplication keeps: the last of each key.
#[derive(Debug, Clone)]
pub struct LastStage {
    /// Schema of the rows that come in.
    pub input: SchemaRef,
    /// The input column that is ORDER BY: a time attribute.
    pub time: usize,
    /// PARTITION BY, over the input.
    pub partition_by: Vec<Arc<dyn PhysicalExpr>>,
    /// A row is the last one of its key when none came for longer than so many milliseconds behind
    /// it; `None`: when all input has ended.
    pub keep_ms: Option<i64>,
    /// Schema of kept rows: `__k0 …`, [`TIME`], the input's columns.
    pub kept: SchemaRef,
    /// The input's columns, then the row number, which is 1.
    pub output: SchemaRef,
    /// The node as the query has it, for `explain`.
    pub display: String,
}

impl LastStage {
    /// The stage of `ROW_NUMBER() OVER (PARTITION BY … ORDER BY time DESC)` under a filter that keeps
    /// number 1; `None` when the node is another one.
    pub(crate) fn new(
        window: &Window,
        input: &DFSchema,
        times: &[Option<i64>],
        keep: Keep,
    ) -> Result<Option<LastStage>> {
        let [expr] = window.window_expr.as_slice() else { return Ok(None) };
        let call = called(expr)?;
        let [sort] = call.params.order_by.as_slice() else { return Ok(None) };
        if sort.asc || call.fun.name() != "row_number" {
            return Ok(None);
        }
        let rising = Sort { asc: true, ..sort.clone() };
        let time = ordered_by(std::slice::from_ref(&rising), input, times, call)?;
        let keep_ms = match keep {
            Keep::For(ms) => Some(ms),
            Keep::Forever => None,
            Keep::None => {
                return Err(Refusal::new(
                    "plan::over::unbounded",
                    "the last row of a key is known only when no other can come",
                )
                .help("add keep = \"1h\" to the query: a row is the last one when none of its key came for so long behind it; or keep the first row, ORDER BY … ASC")
                .into_engine());
            }
        };
        let compiler = Compiler::new(input);
        let partition_by = call
            .params
            .partition_by
            .iter()
            .map(|expr| compiler.key(expr))
            .collect::<Result<Vec<_>>>()?;
        let input = Arc::new(without_metadata(input.as_arrow()));
        let mut kept = Vec::new();
        for (index, expr) in partition_by.iter().enumerate() {
            kept.push(Arc::new(Field::new(format!("__k{index}"), expr.data_type(&input)?, true)));
        }
        kept.push(Arc::new(Field::new(TIME, DataType::Int64, false)));
        kept.extend(input.fields().iter().cloned());
        Ok(Some(LastStage {
            input,
            time,
            partition_by,
            keep_ms,
            kept: Arc::new(Schema::new(kept)),
            output: Arc::clone(window.schema.inner()),
            display: displayed(window),
        }))
    }
}
