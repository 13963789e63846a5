//! The windows of the rows that a stage hands over, as far as their columns tell.

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use tidemill_model::{EventMs, Window, WindowShape};
use tidemill_plan::{NodeKind, OutputColumn, QueryPlan};

/// The columns by which closed sessions come first: end, then start.
pub(super) fn edges(output: &[OutputColumn]) -> Vec<usize> {
    let at = |wanted| output.iter().position(|column| *column == wanted);
    [OutputColumn::WindowEnd, OutputColumn::WindowStart].into_iter().filter_map(at).collect()
}

/// The window of each row of stage `stage`. One edge of a window of fixed length tells the other.
pub(super) fn windows_of(
    plan: &QueryPlan,
    stage: usize,
    rows: &RecordBatch,
) -> Result<Vec<Option<Window>>> {
    let (columns, shape) = columns_of(plan, stage);
    windows_in(columns, shape, rows)
}

/// The window of each of these rows, which are windows of `shape`.
pub(super) fn windows_in(
    columns: &[OutputColumn],
    shape: Option<WindowShape>,
    rows: &RecordBatch,
) -> Result<Vec<Option<Window>>> {
    let edge = |wanted: OutputColumn| {
        let index = columns.iter().position(|column| *column == wanted);
        let times = index.map(|index| cast(rows.column(index), &DataType::Int64)).transpose();
        times.map(|times| times.map(|times| times.as_primitive::<Int64Type>().clone()))
    };
    let (starts, ends) = (edge(OutputColumn::WindowStart)?, edge(OutputColumn::WindowEnd)?);
    let length = match shape {
        Some(WindowShape::Tumble { size_ms, .. } | WindowShape::Hop { size_ms, .. }) => {
            Some(size_ms)
        }
        Some(WindowShape::Cumulate { .. } | WindowShape::Session { .. }) | None => None,
    };
    let window = |row: usize| {
        let start = starts.as_ref().map(|starts| EventMs(starts.value(row)));
        let end = ends.as_ref().map(|ends| EventMs(ends.value(row)));
        let start = start.or_else(|| Some(end?.minus(length?)))?;
        Some(Window { start, end: end.or_else(|| Some(start.plus(length?)))? })
    };
    Ok((0..rows.num_rows()).map(window).collect())
}

/// What the columns of a stage's rows are, and its windows.
pub(super) fn columns_of(plan: &QueryPlan, stage: usize) -> (&[OutputColumn], Option<WindowShape>) {
    let node = plan.graph.as_ref().and_then(|graph| graph.nodes.get(stage));
    match node.map(|node| &node.kind) {
        Some(NodeKind::Aggregate(stage)) => (&stage.output, Some(stage.shape)),
        Some(NodeKind::Rows(stage)) => (&stage.output, stage.shape),
        Some(NodeKind::AggregateRows(aggregate)) => {
            (&aggregate.stage.output, Some(aggregate.stage.shape))
        }
        Some(NodeKind::Derived(_)) => (&[], None),
        None => match plan.stages.get(stage) {
            Some(stage) => (&stage.output, Some(stage.shape)),
            None => (&[], None),
        },
    }
}
