//! What may stand above the stages: in windows, whatever keeps them apart; above rows, what looks at
//! one row at a time.
//!
//! # Invariants
//! 1. Whatever collects rows (aggregate, OVER, join) keeps windows apart, so that running it window by
//!    window gives what running it over everything would; but ORDER BY and LIMIT, which mean "per
//!    closed window".

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, Window};
use std::sync::Arc;
use tidemill_model::WindowShape;

use crate::error::Refusal;
use crate::graph;
use crate::leaf::ClosedWindows;
use crate::lineage::{any_node, any_part, origin, origin_of_index, plain};
use crate::rows;
use crate::stage::OutputColumn;
use crate::volatile;

/// The stages that enter the upper plan, rising.
pub(crate) fn stages_above(upper: &LogicalPlan) -> Result<Vec<usize>> {
    let mut stages = Vec::new();
    graph::leaves(upper, &mut |leaf| stages.push(leaf.stage))?;
    stages.sort_unstable();
    stages.dedup();
    Ok(stages)
}

/// The windows that enter the upper plan; `None`: rows do.
pub(super) fn shape_above(upper: &LogicalPlan) -> Result<Option<WindowShape>> {
    let mut shapes: Vec<Option<WindowShape>> = Vec::new();
    graph::leaves(upper, &mut |leaf| shapes.push(leaf.shape))?;
    let first = shapes.first().copied().flatten();
    if shapes.iter().all(|shape| *shape == first) {
        return Ok(first);
    }
    Err(match shapes.contains(&None) {
        true => Refusal::new(
            "plan::mixes_windows",
            "the query mixes closed windows with single events",
        )
        .help("read both through the same window function, or make them queries of their own"),
        false => Refusal::new(
            "plan::several_windows",
            "the aggregates of one query have different windows",
        )
        .help("use the same window function with the same sizes for all of them, or make them queries of their own"),
    }
    .into_engine())
}

/// Above rows only what looks at one row at a time can run, and with it joins with static tables.
pub(super) fn check_rows(upper: &LogicalPlan) -> Result<()> {
    volatile::check_upper(upper)?;
    upper.apply(|node| {
        let is_lookup =
            |join: &Join| closes(&join.left) != closes(&join.right) && !keeps_table_rows(join);
        let passes = match node {
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
                true
            }
            LogicalPlan::Join(join) => is_lookup(join),
            other => is_closed(other).is_some(),
        };
        if !closes(node) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if !passes {
            return Err(rows::refuse_node(node).into_engine());
        }
        match node
            .expressions()
            .iter()
            .any(|it| any_part(it, |part| rows::subquery_of(part).is_some()))
        {
            true => Err(rows::refuse_subquery().into_engine()),
            false => Ok(TreeNodeRecursion::Continue),
        }
    })?;
    Ok(())
}

/// Whether every OVER of a node keeps windows apart.
pub(super) const OVER_MIXES: &str = "OVER on closed windows mixes windows: it would never end";

pub(super) const OVER_MIXES_HELP: &str =
    "add window_start, window_end to its PARTITION BY, or write ORDER BY window_end";

pub(super) fn over_in_windows(window: &Window, shape: WindowShape) -> bool {
    window.window_expr.iter().all(|expr| match plain(expr) {
        Expr::WindowFunction(call) => {
            keeps_windows(&call.params.partition_by, &window.input, shape)
        }
        _ => false,
    })
}

/// The plan without an ORDER BY at its top that no LIMIT needs: rows of a window are a set.
pub(super) fn without_order(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => Arc::unwrap_or_clone(sort.input),
        other => other,
    }
}

/// Whether the plan's rows depend on rows of the same window only through row-wise nodes, so that
/// all windows that close together can run at once.
pub(crate) fn is_row_wise(plan: &LogicalPlan) -> bool {
    let row_wise = matches!(
        plan,
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_)
    ) || matches!(plan, LogicalPlan::Extension(_));
    row_wise
        && plan.inputs().into_iter().all(is_row_wise)
        && plan
            .expressions()
            .iter()
            .all(|expr| !any_part(expr, |part| rows::subquery_of(part).is_some()))
}

pub(super) fn check_upper(plan: &LogicalPlan, shape: WindowShape, stages: usize) -> Result<()> {
    volatile::check_upper(plan)?;
    let session = matches!(shape, WindowShape::Session { .. });
    plan.apply_with_subqueries(|node| {
        let apart = |exprs: &[Expr], input: &LogicalPlan| keeps_windows(exprs, input, shape);
        let refusal = match node {
            LogicalPlan::Aggregate(it) if !apart(&it.group_expr, &it.input) && closes(node) => {
                Some(("an aggregate over closed windows mixes windows: it would never end", "add window_start, window_end to its GROUP BY"))
            }
            LogicalPlan::Distinct(it) if closes(node) => {
                let columns: Vec<Expr> = it.input().schema().columns().into_iter().map(Expr::Column).collect();
                (!apart(&columns, it.input())).then_some((
                    "DISTINCT over closed windows mixes windows: it would never end",
                    "add window_start, window_end to its columns",
                ))
            }
            LogicalPlan::Window(it) if closes(node) => {
                let mixes = it.window_expr.iter().any(|expr| match plain(expr) {
                    Expr::WindowFunction(call) => !apart(&call.params.partition_by, &it.input),
                    _ => true,
                });
                mixes.then_some((
                    OVER_MIXES,
                    OVER_MIXES_HELP,
                ))
            }
            LogicalPlan::Join(join) if closes(&join.left) && closes(&join.right) => {
                (!joins_windows(join, shape)).then_some((
                    "a join of two aggregates mixes windows",
                    "join ON both sides' window_start and window_end being equal",
                ))
            }
            LogicalPlan::Join(join) if keeps_table_rows(join) => Some((
                "the join keeps rows of a static table that match no window, and no window tells that none will come",
                "put the aggregate on the side whose rows are kept",
            )),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) if session && closes(node) => Some((
                "ORDER BY and LIMIT do not work on sessions: each session closes on its own",
                "use HAVING or WHERE, or windows of one size",
            )),
            LogicalPlan::RecursiveQuery(_) if closes(node) => Some((
                "a recursive query over closed windows cannot run",
                "write the steps out",
            )),
            _ => None,
        };
        match refusal {
            Some((message, help)) => {
                Err(Refusal::new("plan::mixes_windows", message).help(help).into_engine())
            }
            None => Ok(TreeNodeRecursion::Continue),
        }
    })?;
    if session && stages > 1 {
        return Err(Refusal::new(
            "plan::sessions",
            "a query over sessions can have one aggregate only",
        )
        .help("make the aggregates queries of their own")
        .into_engine());
    }
    Ok(())
}

/// Whether closed windows enter somewhere in `plan`.
pub(super) fn closes(plan: &LogicalPlan) -> bool {
    any_node(plan, |node| is_closed(node).is_some())
}

pub(crate) fn is_closed(plan: &LogicalPlan) -> Option<&ClosedWindows> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// The window column of closed windows that `column` is, if it is one.
pub(crate) fn closed_window_column(plan: &LogicalPlan, column: &Column) -> Option<OutputColumn> {
    let (leaf, index) = origin(plan, column)?;
    window_output(leaf, index)
}

pub(crate) fn window_output(leaf: &LogicalPlan, index: usize) -> Option<OutputColumn> {
    let column = *is_closed(leaf)?.output.get(index)?;
    matches!(column, OutputColumn::WindowStart | OutputColumn::WindowEnd).then_some(column)
}

pub(crate) fn told_apart(start: bool, end: bool, shape: WindowShape) -> bool {
    match shape {
        WindowShape::Tumble { .. } | WindowShape::Hop { .. } => start || end,
        WindowShape::Cumulate { .. } | WindowShape::Session { .. } => start && end,
    }
}

pub(super) fn keeps_windows(exprs: &[Expr], input: &LogicalPlan, shape: WindowShape) -> bool {
    let column = |expr: &Expr| match plain(expr) {
        Expr::Column(column) => closed_window_column(input, column),
        _ => None,
    };
    let of_set = |exprs: &[Expr]| {
        let found: Vec<OutputColumn> = exprs.iter().filter_map(column).collect();
        let has = |wanted| found.contains(&wanted);
        told_apart(has(OutputColumn::WindowStart), has(OutputColumn::WindowEnd), shape)
    };
    match exprs {
        [Expr::GroupingSet(datafusion::logical_expr::GroupingSet::GroupingSets(sets))] => {
            sets.iter().all(|set| of_set(set))
        }
        [Expr::GroupingSet(_)] => false,
        exprs => of_set(exprs),
    }
}

pub(super) fn joins_windows(join: &Join, shape: WindowShape) -> bool {
    let (start, end) = equal_edges(join);
    told_apart(start, end, shape)
}

/// Whether a join asks for equal starts and for equal ends of windows.
pub(super) fn equal_edges(join: &Join) -> (bool, bool) {
    let side = |plan: &LogicalPlan, expr: &Expr| match plain(expr) {
        Expr::Column(column) => closed_window_column(plan, column),
        _ => None,
    };
    let mut pairs: Vec<(Expr, Expr)> = join.on.clone();
    let filters = join.filter.iter().flat_map(datafusion::logical_expr::utils::split_conjunction);
    for filter in filters {
        if let Expr::BinaryExpr(equal) = filter
            && equal.op == datafusion::logical_expr::Operator::Eq
        {
            pairs.push((equal.left.as_ref().clone(), equal.right.as_ref().clone()));
            pairs.push((equal.right.as_ref().clone(), equal.left.as_ref().clone()));
        }
    }
    let equal = |wanted: OutputColumn| {
        pairs.iter().any(|(left, right)| {
            side(&join.left, left) == Some(wanted) && side(&join.right, right) == Some(wanted)
        })
    };
    (equal(OutputColumn::WindowStart), equal(OutputColumn::WindowEnd))
}

pub(super) fn keeps_table_rows(join: &datafusion::logical_expr::Join) -> bool {
    let (left, right) = (closes(&join.left), closes(&join.right));
    match join.join_type {
        JoinType::Full => left || right,
        JoinType::Left | JoinType::LeftAnti | JoinType::LeftSemi | JoinType::LeftMark => {
            right && !left
        }
        JoinType::Right | JoinType::RightAnti | JoinType::RightSemi | JoinType::RightMark => {
            left && !right
        }
        JoinType::Inner => false,
    }
}

/// For the upper plan's output, the columns that are the window's end and start, in the order in
/// which results are sorted before they are numbered.
pub(crate) fn window_outputs(upper: &LogicalPlan) -> Vec<usize> {
    let of = |wanted: OutputColumn| {
        (0..upper.schema().fields().len()).find(|index| {
            origin_of_index(upper, *index)
                .is_some_and(|(leaf, index)| window_output(leaf, index) == Some(wanted))
        })
    };
    [OutputColumn::WindowEnd, OutputColumn::WindowStart].into_iter().filter_map(of).collect()
}
