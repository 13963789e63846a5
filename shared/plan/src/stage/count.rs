//! Count windows: aggregates over so many rows of each GROUP BY key, in the order of event time.
//!
//! Ingest ships rows with the keys and the aggregates' arguments; all counting is in advance.
//!
//! # Schemas
//! open windows: those of partial rows ([`Stage::partial`]), with the first and the last event time in
//! place of a slice. Keys: the keys' values, [`TIME`] of the key's last row, and how many of its rows
//! came since a window began, at most the step.
//!
//! Not here: the aggregates (`stage`), counting (`flow::merge::count`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};
use tidemill_model::{Keep, WindowShape};
use tidemill_pipeline::Incomplete;

use super::over::TIME;
use super::{OutputColumn, Stage, window_column};
use crate::error::Refusal;
use crate::leaf::ROW;
use crate::lineage::plain;
use crate::rows;

/// Windows of an aggregate that one row may be in.
const WINDOWS_MAX: u64 = 1000;

/// The shape of its aggregate, which says nothing: windows of any length and place.
pub(crate) const UNUSED: WindowShape = WindowShape::Session { gap_ms: 0 };

/// Windows of `size` rows, one beginning every `step` rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CountShape {
    /// At least 1.
    pub step: u64,
    /// At least 1.
    pub size: u64,
}

impl CountShape {
    /// The windows, unless a row were in too many.
    pub(crate) fn new(step: u64, size: u64) -> Result<CountShape> {
        if size.div_ceil(step) > WINDOWS_MAX {
            let least = size.div_ceil(WINDOWS_MAX);
            return Err(Refusal::new(
                "plan::window::too_many",
                format!("a row is in {} windows at once, more than {WINDOWS_MAX}", size.div_ceil(step)),
            )
            .help(format!(
                "let a window begin every {least} rows or more, or write aggregate(…) OVER (… ROWS BETWEEN {} PRECEDING AND CURRENT ROW)",
                size - 1
            ))
            .into_engine());
        }
        Ok(CountShape { step, size })
    }
}

/// An aggregate over count windows.
#[derive(Debug, Clone)]
pub struct CountStage {
    /// Its aggregates; its shape says nothing.
    pub stage: Stage,
    /// Its windows.
    pub shape: CountShape,
    /// What becomes of incomplete windows.
    pub incomplete: Incomplete,
    /// After how long a silence a key starts anew, milliseconds; `None`: never.
    pub keep_ms: Option<i64>,
    /// Schema of the rows that come in: keys, arguments and filters, then the event time.
    pub input: SchemaRef,
    /// Schema of what is kept of a key.
    pub keys: SchemaRef,
}

impl CountStage {
    /// The stage of an aggregate, and the plan over the stream whose rows it takes.
    pub(crate) fn new(
        aggregate: &Aggregate,
        shape: CountShape,
        (keep, incomplete): (Keep, Incomplete),
    ) -> Result<(CountStage, LogicalPlan)> {
        let refuse = |code, message: &str, help: &str| {
            Err(Refusal::new(code, message).help(help).into_engine())
        };
        let edge = aggregate.group_expr.iter().map(plain).find(|expr| {
            matches!(expr, Expr::Column(_)) && window_column(&aggregate.input, expr).is_some()
        });
        let Some(edge) = edge else {
            return refuse(
                "plan::aggregate::no_window",
                "the aggregate does not group by its window: it would never end",
                "add window_start, window_end to GROUP BY, without grouping sets",
            );
        };
        let input = rows::with_row(&aggregate.input)?;
        let mut streams: Vec<String> =
            rows::scans(&aggregate.input)?.into_iter().map(|scan| scan.stream).collect();
        streams.sort();
        streams.dedup();
        let stage = Stage::new(aggregate, input, streams, UNUSED)?;
        if stage.has_grouping_id {
            return refuse(
                "plan::count::grouping_sets",
                "rows are counted for one set of keys only, not for grouping sets",
                "write a query of its own for each set",
            );
        }
        let keep_ms = match keep {
            Keep::None if stage.keys > 0 => {
                return refuse(
                    "plan::count::unbounded",
                    "a count window waits for the next rows of every key, and nothing tells that none will come",
                    "say how long a key may be silent before it starts anew: keep = \"30d\" in the query, or keep = \"forever\"",
                );
            }
            Keep::For(ms) if stage.keys > 0 => Some(ms),
            _ => None,
        };
        let LogicalPlan::Projection(lower) = &stage.lower else {
            return datafusion::common::internal_err!("a lower plan does not end in a projection");
        };
        let hidden = |expr: &&Expr| {
            !matches!(plain(expr), Expr::Column(column) if column.name == ROW)
                && expr.schema_name().to_string() != ROW
        };
        let mut exprs: Vec<Expr> = lower.expr.iter().filter(hidden).cloned().collect();
        exprs.push(edge.clone().alias(TIME));
        let plan =
            LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(&aggregate.input))?);
        let input = Arc::new(Schema::new(plan.schema().fields().clone()));
        let mut keys: Vec<Arc<Field>> = stage.partial.fields()[..stage.keys].to_vec();
        keys.push(Arc::new(Field::new(TIME, DataType::Int64, false)));
        keys.push(Arc::new(Field::new("__since", DataType::UInt64, false)));
        let keys = Arc::new(Schema::new(keys));
        Ok((CountStage { stage, shape, incomplete, keep_ms, input, keys }, plan))
    }

    /// Schemas of the snapshot's parts, in order.
    pub fn parts(&self) -> Vec<SchemaRef> {
        vec![Arc::clone(&self.stage.partial), Arc::clone(&self.keys)]
    }

    /// For each column that it hands on whether it is a time: the last event's, by which complete
    /// windows come in order.
    pub(crate) fn times(&self, delay_ms: i64) -> (Vec<Option<i64>>, Option<usize>) {
        let in_order = self.incomplete == Incomplete::Drop;
        let delay = match self.incomplete {
            Incomplete::Drop => Some(delay_ms),
            Incomplete::Emit => self.keep_ms.map(|keep| delay_ms.saturating_add(keep)),
        };
        let is_end = |column: &OutputColumn| *column == OutputColumn::WindowEnd;
        let times = self.stage.output.iter().map(|column| delay.filter(|_| is_end(column)));
        (times.collect(), self.stage.output.iter().position(is_end).filter(|_| in_order))
    }
}
