//! What is done to a plan's joins before it is cut: their whole condition is put into them.
//!
//! - EXISTS and IN over a stream become semi and anti joins, by the engine's own rule.
//! - `FOR SYSTEM_TIME AS OF a.ts` becomes the match condition `a.ts >= b.ts`.
//! - What WHERE says above inner joins of streams moves to the lowest join that knows all its columns,
//!   and below the join when one side does: there ingest runs it.
//!
//! Not here: what a join becomes (`stage`).

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};

use crate::functions::{AS_OF_TIME, as_of_marker};
use crate::leaf::{WINDOW_END, WINDOW_START};
use crate::lineage::{any_part, leaf_name, origin_of_index};
use crate::optimizer::can_fail;
use crate::rows::{self, Scanned};
use crate::stage::as_of::{self, is_as_of, is_marker};

/// The plan with whole conditions in its joins.
pub(crate) fn gathered(plan: LogicalPlan) -> Result<LogicalPlan> {
    check_markers(&plan)?;
    let rule = DecorrelatePredicateSubquery::new();
    let context = OptimizerContext::new();
    let plan = plan.transform_down(|node| match &node {
        LogicalPlan::Filter(filter) if asks_stream(&filter.predicate) => {
            rule.rewrite(node, &context)
        }
        _ => Ok(Transformed::no(node)),
    })?;
    let plan = plan.data.transform_down(|node| match node {
        LogicalPlan::Filter(filter) => match filter.input.as_ref() {
            LogicalPlan::Join(join) if takes_conditions(join) => {
                let parts = split_conjunction_owned(filter.predicate.clone());
                let fails = |it: &Expr| can_fail(it, &join.schema);
                let (stay, sink): (Vec<Expr>, Vec<Expr>) =
                    parts.into_iter().partition(|it| stays(it) || fails(it));
                let join = sunk(join.clone(), sink)?;
                Ok(Transformed::yes(filtered(LogicalPlan::Join(join), stay)?))
            }
            _ => Ok(Transformed::no(LogicalPlan::Filter(filter))),
        },
        LogicalPlan::Join(join) if is_as_of(&join) => {
            Ok(Transformed::yes(LogicalPlan::Join(with_match_condition(join)?)))
        }
        LogicalPlan::Join(join) if takes_conditions(&join) => {
            Ok(Transformed::yes(LogicalPlan::Join(sunk(join, Vec::new())?)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

/// The join with `FOR SYSTEM_TIME AS OF` as the match condition that it stands for.
fn with_match_condition(join: Join) -> Result<Join> {
    let parts = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    let replaced = |part: Expr| match part {
        Expr::ScalarFunction(mut call) if call.func.name() == AS_OF_TIME => {
            let right = event_time(&join.right).ok_or_else(|| {
                as_of::refuse("the right side of an as-of join has no event time")
            })?;
            call.args = call.args.into_iter().map(|left| left.gt_eq(right.clone())).collect();
            call.func = Arc::new(as_of_marker());
            Ok(Expr::ScalarFunction(call))
        }
        other => Ok(other),
    };
    let parts = parts.into_iter().map(replaced).collect::<Result<Vec<_>>>()?;
    Ok(Join { filter: conjunction(parts), ..join })
}

/// The event time among a plan's columns; of windows their end.
fn event_time(plan: &LogicalPlan) -> Option<Expr> {
    let is_time = |index: &usize| {
        let found = origin_of_index(plan, *index);
        found.is_some_and(|origin| match rows::stream_scan(origin.0) {
            Some(Scanned { shape: Some(_), .. }) => leaf_name(origin) == WINDOW_END,
            Some(scan) => leaf_name(origin) == scan.event_time,
            None => false,
        })
    };
    let index = (0..plan.schema().fields().len()).find(is_time)?;
    Some(Expr::from(plan.schema().qualified_field(index)))
}

/// Markers of as-of joins mean something only there, and only between two streams.
fn check_markers(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            let of_streams = rows::reads_stream(&join.left) && rows::reads_stream(&join.right);
            if is_as_of(join) && !of_streams {
                return Err(as_of::refuse("an as-of join takes two streams"));
            }
        } else if node.expressions().iter().any(|expr| any_part(expr, is_marker)) {
            return Err(as_of::refuse("the condition of an as-of join stands outside of one"));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn asks_stream(expr: &Expr) -> bool {
    any_part(expr, |part| rows::subquery_of(part).is_some_and(rows::reads_stream))
}

/// Whether conditions above a join may as well stand in it.
fn takes_conditions(join: &Join) -> bool {
    join.join_type == JoinType::Inner
        && !is_as_of(join)
        && rows::reads_stream(&join.left)
        && rows::reads_stream(&join.right)
}

/// Whether a condition must stay above: it depends on more than rows.
fn stays(condition: &Expr) -> bool {
    condition.is_volatile() || any_part(condition, |part| rows::subquery_of(part).is_some())
}

/// The join with `conditions` and its own in their places.
fn sunk(join: Join, mut conditions: Vec<Expr>) -> Result<Join> {
    let own = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    conditions.extend(own);
    let (mut left, mut right, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for condition in conditions {
        if stays(&condition) || can_fail(&condition, &join.schema) {
            both.push(condition);
        } else if over(&condition, join.left.schema()) {
            left.push(condition);
        } else if over(&condition, join.right.schema()) {
            right.push(condition);
        } else {
            both.push(condition);
        }
    }
    let left = side(&join.left, left, &mut both)?;
    let right = side(&join.right, right, &mut both)?;
    Ok(Join { left, right, filter: conjunction(both), ..join })
}

/// One side with the conditions over it; what it cannot take is added to `rest`.
fn side(
    plan: &Arc<LogicalPlan>,
    conditions: Vec<Expr>,
    rest: &mut Vec<Expr>,
) -> Result<Arc<LogicalPlan>> {
    if let LogicalPlan::Join(join) = plan.as_ref()
        && takes_conditions(join)
    {
        return Ok(Arc::new(LogicalPlan::Join(sunk(join.clone(), conditions)?)));
    }
    let (early, fit): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(of_windows);
    rest.extend(early);
    Ok(match fit.is_empty() {
        true => Arc::clone(plan),
        false => Arc::new(filtered(plan.as_ref().clone(), fit)?),
    })
}

fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(match conjunction(conditions) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?),
        None => plan,
    })
}

/// Whether a condition asks for a window's ends, which an event below does not have.
fn of_windows(condition: &Expr) -> bool {
    let is_edge = |name: &str| name == WINDOW_START || name == WINDOW_END;
    condition.column_refs().iter().any(|column| is_edge(&column.name))
}

fn over(condition: &Expr, schema: &DFSchema) -> bool {
    let columns = condition.column_refs();
    !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
}
