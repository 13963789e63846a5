//! What tells a query's result rows apart: for sinks that keep rows under keys.
//!
//! # Invariants
//! 1. Rows are said to be unique only where the plan proves it. What proves it: a chain of nodes
//!    that keep, drop or widen rows, down to an aggregate all of whose groups are output columns.
//! 2. Read from the plan before the optimizer, so that a new version of the engine does not move
//!    results to other keys.

use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};
use tidemill_model::WindowShape;

use crate::lineage::{origin_of_index, plain};
use crate::split::{closed_window_column, is_closed, told_apart, window_output};
use crate::stage::OutputColumn;

/// How a query's result rows are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultKey {
    /// Output columns of which each window has every combination of values at most once, over all
    /// epochs; may be none (one row a window). `None`: that is not provable, and only the row's id
    /// tells it from others.
    pub columns: Option<Vec<usize>>,
    /// The window's start. Always there with `columns`.
    pub start: Option<Edge>,
    /// The window's end. Always there with `columns`.
    pub end: Option<Edge>,
}

/// One end of a row's window: an output column of milliseconds, moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The output column, a timestamp in milliseconds.
    pub column: usize,
    /// What to add, milliseconds.
    pub plus_ms: i64,
}

/// Reads the key from a query's unoptimized upper plan, which gets windows of `shape`, or rows.
pub(crate) fn of(upper: &LogicalPlan, shape: Option<WindowShape>) -> ResultKey {
    let Some(shape) = shape else {
        return ResultKey { columns: None, start: None, end: None };
    };
    if let Some(unique) = unique(upper)
        && told_apart(unique.start.is_some(), unique.end.is_some(), shape)
        && let (Some(start), Some(end)) = edges(unique.start, unique.end, shape)
    {
        return ResultKey { columns: Some(unique.keys), start: Some(start), end: Some(end) };
    }
    let find = |wanted: OutputColumn| {
        (0..upper.schema().fields().len()).find(|index| {
            origin_of_index(upper, *index)
                .is_some_and(|(leaf, index)| window_output(leaf, index) == Some(wanted))
        })
    };
    let (start, end) = (find(OutputColumn::WindowStart), find(OutputColumn::WindowEnd));
    let (start, end) = edges(start, end, shape);
    ResultKey { columns: None, start, end }
}

/// The window's ends from those that are columns.
fn edges(
    start: Option<usize>,
    end: Option<usize>,
    shape: WindowShape,
) -> (Option<Edge>, Option<Edge>) {
    let size_ms = match shape {
        WindowShape::Tumble { size_ms, .. } | WindowShape::Hop { size_ms, .. } => Some(size_ms),
        WindowShape::Cumulate { .. } | WindowShape::Session { .. } => None,
    };
    let own = |column: usize| Edge { column, plus_ms: 0 };
    let moved = |column: Option<usize>, sign: i64| {
        column.zip(size_ms).map(|(column, size_ms)| Edge { column, plus_ms: sign * size_ms })
    };
    (start.map(own).or_else(|| moved(end, -1)), end.map(own).or_else(|| moved(start, 1)))
}

/// Columns of a node's output that no two of its rows share all values of: keys, and the ends of
/// the window as far as they are still there.
struct Unique {
    keys: Vec<usize>,
    start: Option<usize>,
    end: Option<usize>,
}

fn unique(plan: &LogicalPlan) -> Option<Unique> {
    match plan {
        LogicalPlan::SubqueryAlias(node) => unique(&node.input),
        LogicalPlan::Filter(node) => unique(&node.input),
        LogicalPlan::Sort(node) => unique(&node.input),
        LogicalPlan::Limit(node) => unique(&node.input),
        // Its own columns come after those that it passes on.
        LogicalPlan::Window(node) => unique(&node.input),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let columns: Vec<Expr> =
                input.schema().columns().into_iter().map(Expr::Column).collect();
            unique(input).or_else(|| Some(grouped(&columns, input)))
        }
        LogicalPlan::Projection(node) => {
            let inner = unique(&node.input)?;
            let passed = |index: usize| {
                node.expr.iter().position(|expr| match plain(expr) {
                    Expr::Column(column) => {
                        node.input.schema().maybe_index_of_column(column) == Some(index)
                    }
                    _ => false,
                })
            };
            Some(Unique {
                keys: inner.keys.into_iter().map(passed).collect::<Option<_>>()?,
                start: inner.start.and_then(passed),
                end: inner.end.and_then(passed),
            })
        }
        LogicalPlan::Aggregate(Aggregate { group_expr, input, .. }) => {
            let has_sets = group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
            (!has_sets).then(|| grouped(group_expr, input))
        }
        LogicalPlan::Extension(_) => {
            let output = &is_closed(plan)?.output;
            if output.iter().any(|column| matches!(column, OutputColumn::Value(_))) {
                return None;
            }
            let at = |wanted| output.iter().position(|column| *column == wanted);
            // A key that one grouping set leaves out is null there, as it may be in another set.
            if at(OutputColumn::GroupingId).is_some() {
                return None;
            }
            let is_key = |column: &OutputColumn| matches!(column, OutputColumn::Key(_));
            let keys = (0..output.len()).filter(|index| is_key(&output[*index])).collect();
            let (start, end) = (at(OutputColumn::WindowStart), at(OutputColumn::WindowEnd));
            Some(Unique { keys, start, end })
        }
        _ => None,
    }
}

/// What tells apart the rows of an aggregate that groups `input` by `exprs`, which are its first
/// output columns.
fn grouped(exprs: &[Expr], input: &LogicalPlan) -> Unique {
    let mut unique = Unique { keys: Vec::new(), start: None, end: None };
    for (index, expr) in exprs.iter().enumerate() {
        let window = match plain(expr) {
            Expr::Column(column) => closed_window_column(input, column),
            _ => None,
        };
        match window {
            Some(OutputColumn::WindowStart) if unique.start.is_none() => unique.start = Some(index),
            Some(OutputColumn::WindowEnd) if unique.end.is_none() => unique.end = Some(index),
            _ => unique.keys.push(index),
        }
    }
    unique
}
