//! Aggregates that become stages: over windows of streams, and over windows of what other stages hand
//! over.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, Result};
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore,
};
use tidemill_model::WindowShape;

use crate::assigned::{Assigned, assigned};
use crate::error::Refusal;
use crate::leaf::ClosedWindows;
use crate::lineage::{any_node, any_part, leaf_name, origin, plain};
use crate::rows::{self, Scanned};
use crate::stage::{OutputColumn, Stage, window_column};
use crate::volatile::{is_volatile, refuse_volatile};

/// The windows over rows that an aggregate's input has, if it has.
pub(super) fn windows_over_rows(input: &LogicalPlan) -> Result<Option<Assigned>> {
    let mut found = Vec::new();
    input.apply(|node| {
        Ok(match assigned(node) {
            Some(windows) => {
                found.push(windows.clone());
                TreeNodeRecursion::Jump
            }
            None => TreeNodeRecursion::Continue,
        })
    })?;
    match (found.pop(), found.is_empty()) {
        (windows, true) => Ok(windows),
        _ => Err(Refusal::new(
            "plan::several_windows",
            "one aggregate reads several windows over other queries' results",
        )
        .help("make one query of the results first, with UNION ALL below the window function")
        .into_engine()),
    }
}

/// An aggregate over windows of rows as the plan of the stage `number`, which takes those rows.
pub(super) fn taken(aggregate: Aggregate, number: usize, shape: WindowShape) -> Result<Aggregate> {
    let read = aggregate.input.as_ref().clone().transform(|node| {
        Ok(match assigned(&node) {
            Some(windows) => Transformed::yes(taken_leaf(windows, number, shape)),
            None => Transformed::no(node),
        })
    })?;
    let Aggregate { group_expr, aggr_expr, .. } = aggregate;
    let aggregate = Aggregate::try_new(Arc::new(read.data), group_expr, aggr_expr)?;
    check_early(&aggregate, shape)?;
    check_aggregate_expressions(&aggregate)?;
    Ok(aggregate)
}

/// What stands for windows over rows in the plan of the stage `number` that takes those rows.
fn taken_leaf(windows: &Assigned, number: usize, shape: WindowShape) -> LogicalPlan {
    let schema = Arc::clone(UserDefinedLogicalNodeCore::schema(windows));
    let columns = schema.fields().len() - 2;
    let edges = [OutputColumn::WindowStart, OutputColumn::WindowEnd];
    let output = (0..columns).map(OutputColumn::Value).chain(edges).collect();
    let times = vec![None; columns + 2];
    let shape = Some(shape);
    let (ordered_by, padded) = (None, Vec::new());
    let node = ClosedWindows { stage: number, schema, output, shape, times, ordered_by, padded };
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// Refuses windows over rows that are used before they are aggregated, but those of TUMBLE.
fn check_early(aggregate: &Aggregate, shape: WindowShape) -> Result<()> {
    if matches!(shape, WindowShape::Tumble { .. }) {
        return Ok(());
    }
    let edge = |input: &LogicalPlan, expr: &Expr| {
        any_part(expr, |part| window_column(input, part).is_some())
            && !matches!(plain(expr), Expr::Column(_))
    };
    let early = |node: &LogicalPlan| {
        node.inputs().into_iter().any(|input| node.expressions().iter().any(|it| edge(input, it)))
    };
    let in_aggregate = aggregate.aggr_expr.iter().chain(&aggregate.group_expr);
    if any_node(&aggregate.input, early)
        || in_aggregate.into_iter().any(|expr| edge(&aggregate.input, expr))
    {
        return Err(Refusal::new(
            "plan::window::early",
            "a window's start or end is used before the windows are aggregated",
        )
        .help("a row of HOP, CUMULATE, SESSION or a count window has no single window yet; use window_start and window_end in GROUP BY, HAVING or above, or TUMBLE")
        .into_engine());
    }
    Ok(())
}

/// The leaf of an aggregate's closed windows.
pub(super) fn closed_leaf(
    stage: &Stage,
    number: usize,
    schema: DFSchemaRef,
    grace_ms: i64,
) -> LogicalPlan {
    let output = stage.output.clone();
    let longest_ms = stage.shape.longest_ms();
    let time = |column: &OutputColumn| match column {
        OutputColumn::WindowEnd => Some(grace_ms),
        OutputColumn::WindowStart => longest_ms.map(|longest_ms| grace_ms + longest_ms),
        _ => None,
    };
    let times = output.iter().map(time).collect();
    let ordered_by = output.iter().position(|column| *column == OutputColumn::WindowEnd);
    let shape = Some(stage.shape);
    let padded = Vec::new();
    let node = ClosedWindows { stage: number, schema, output, shape, times, ordered_by, padded };
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

pub(super) fn cut_stage(aggregate: &Aggregate) -> Result<Stage> {
    let input = rows::with_row(&aggregate.input)?;
    let scans = rows::scans(&aggregate.input)?;
    let shapes: Vec<Option<WindowShape>> = scans.iter().map(|scan| scan.shape).collect();
    let shape = match shapes.as_slice() {
        [Some(shape), rest @ ..] if rest.iter().all(|other| *other == Some(*shape)) => *shape,
        [Some(_), ..] => {
            return Err(Refusal::new(
                "plan::several_windows",
                "the streams under one aggregate have different windows",
            )
            .help("use the same window function with the same sizes on each of them")
            .into_engine());
        }
        _ => {
            let stream = scans.first().map_or("stream", |scan| scan.stream.as_str());
            return Err(Refusal::new(
                "plan::aggregate::no_window",
                format!("an aggregate over stream `{stream}` has no window: it would never end"),
            )
            .help(format!(
                "write FROM TUMBLE({stream}, <event time>, INTERVAL '1' MINUTE) and GROUP BY window_start, window_end"
            ))
            .into_engine());
        }
    };
    check_aggregate_expressions(aggregate)?;
    let mut streams: Vec<String> = scans.iter().map(|scan| scan.stream.clone()).collect();
    streams.sort();
    streams.dedup();
    let mut stage = Stage::new(aggregate, input, streams, shape)?;
    stage.gaps = rows::gaps(&scans)?;
    for (stream, column) in &stage.gaps {
        stage.display += &format!(" gap={stream}.{column}");
    }
    check_window_grouped(&stage)?;
    if matches!(shape, WindowShape::Session { .. }) {
        check_partition(aggregate, &partitions(&scans))?;
    }
    Ok(stage)
}

/// The aggregate must group by its window: by its start or end where one tells the other.
pub(super) fn check_window_grouped(stage: &Stage) -> Result<()> {
    let has = |wanted| stage.output.contains(&wanted);
    let (start, end) = (has(OutputColumn::WindowStart), has(OutputColumn::WindowEnd));
    let enough = match stage.shape {
        WindowShape::Tumble { .. } | WindowShape::Hop { .. } => start || end,
        WindowShape::Cumulate { .. } | WindowShape::Session { .. } => start && end,
    };
    if enough {
        return Ok(());
    }
    Err(Refusal::new(
        "plan::aggregate::no_window",
        "the aggregate does not group by its window: it would never end",
    )
    .help("add window_start, window_end to GROUP BY")
    .into_engine())
}

pub(super) fn check_aggregate_expressions(aggregate: &Aggregate) -> Result<()> {
    let groups = aggregate.group_expr.iter().flat_map(|expr| match expr {
        Expr::GroupingSet(set) => set.distinct_expr().into_iter().cloned().collect(),
        other => vec![other.clone()],
    });
    let keys = groups.filter(|expr| window_column(&aggregate.input, expr).is_none());
    for expr in keys.chain(aggregate.aggr_expr.iter().cloned()) {
        let mut refusal = None;
        expr.apply(|part| {
            match part {
                Expr::Column(column) if is_windowed_not_tumbling(&aggregate.input, column) => {
                    refusal = Some(
                        Refusal::new(
                            "plan::window::early",
                            format!("{} is used before the windows are aggregated", column.name),
                        )
                        .help("use window_start and window_end as plain columns of GROUP BY, or above the aggregate"),
                    );
                }
                Expr::ScalarFunction(call) if is_volatile(call) => {
                    refusal = Some(refuse_volatile(call.func.name(), true));
                }
                _ => return Ok(TreeNodeRecursion::Continue),
            }
            Ok(TreeNodeRecursion::Stop)
        })?;
        if let Some(refusal) = refusal {
            return Err(refusal.into_engine());
        }
    }
    Ok(())
}

pub(super) fn is_windowed_not_tumbling(input: &LogicalPlan, column: &Column) -> bool {
    let windowed = window_column(input, &Expr::Column(column.clone())).is_some();
    let tumbles = rows::scans(input).is_ok_and(|scans| {
        scans.iter().all(|scan| matches!(scan.shape, Some(WindowShape::Tumble { .. })))
    });
    windowed && !tumbles
}

/// What the window functions of these streams are partitioned by.
pub(super) fn partitions(scans: &[Scanned]) -> Vec<String> {
    scans.iter().flat_map(|scan| scan.partition_by.iter().cloned()).collect()
}

/// PARTITION BY of a session or count window must be what the query groups by: they are per GROUP BY
/// key. Without it nothing is checked.
pub(super) fn check_partition(aggregate: &Aggregate, partition_by: &[String]) -> Result<()> {
    if partition_by.is_empty() {
        return Ok(());
    }
    let mut grouped: Vec<String> = Vec::new();
    for expr in &aggregate.group_expr {
        if window_column(&aggregate.input, expr).is_some() {
            continue;
        }
        grouped.push(match plain(expr) {
            Expr::Column(column) => origin(&aggregate.input, column)
                .map_or_else(|| column.name.clone(), |origin| leaf_name(origin).to_string()),
            other => other.to_string(),
        });
    }
    let mut wanted = partition_by.to_vec();
    grouped.sort();
    wanted.sort();
    wanted.dedup();
    if grouped == wanted {
        return Ok(());
    }
    Err(Refusal::new(
        "plan::window::partition",
        format!(
            "the window function is partitioned by {} but the query groups by {}",
            wanted.join(", "),
            if grouped.is_empty() { "nothing".to_string() } else { grouped.join(", ") }
        ),
    )
    .help("sessions and count windows are those of each GROUP BY key: make both lists the same")
    .into_engine())
}
