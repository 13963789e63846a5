//! `FROM s CROSS JOIN UNNEST(…) AS t(x)`: one row for each element of a list that the row itself makes.
//!
//! The engine plans the list as a subquery that depends on the row of the left side, and cannot run it.
//! Here the list moves into the left side's rows, as `SELECT *, unnest(…) AS x FROM s` would have it:
//!
//! ```text
//! Join(s, t: Subquery(Unnest(outer list of no row)))    Unnest(s.*, list) AS s.*, t.x
//! ```
//!
//! # Invariants
//! 1. The columns are those of the join, in its order and with its names.
//!
//! Not here: `unnest(…)` in SELECT, which the engine plans itself.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullHandling, Result, ScalarValue, TableReference};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection};

use crate::error::Refusal;
use crate::lineage::any_node;
use crate::rows::reads_stream;

/// The plan with every list of a join in the rows that it is made of. What reads a stream for each row
/// of another is refused.
pub(crate) fn joined(plan: LogicalPlan) -> Result<LogicalPlan> {
    // Subqueries of expressions, such as EXISTS, are no inputs of a node.
    let reads = |input: &&LogicalPlan| match input {
        LogicalPlan::Subquery(it) => reads_stream(&it.subquery),
        _ => false,
    };
    if any_node(&plan, |node| node.inputs().iter().any(reads)) {
        return Err(refuse_lateral("a subquery").into_engine());
    }
    if !any_node(&plan, |node| list_of(node).is_some()) {
        return Ok(plan);
    }
    let moved = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Join(join) if makes_rows(&join.right) => moved(join)?,
            other => other.recompute_schema()?,
        };
        Ok(Transformed::yes(node))
    })?;
    Ok(moved.data)
}

/// Why LATERAL cannot read a stream.
pub(crate) fn refuse_lateral(what: &str) -> Refusal {
    let message = format!("{what} behind LATERAL would read a stream again for each row");
    Refusal::new("plan::subquery", message).help(
        "aggregate it with its key, without LATERAL, and join it: JOIN (SELECT k, window_start, \
         window_end, COUNT(*) AS n FROM TUMBLE(…) GROUP BY k, window_start, window_end) x ON x.k = a.k \
         AND x.window_end = a.window_end; single rows are joined ON b.ts BETWEEN a.ts AND a.ts + \
         INTERVAL '1' MINUTE",
    )
}

fn list_of(node: &LogicalPlan) -> Option<&Join> {
    match node {
        LogicalPlan::Join(join) if makes_rows(&join.right) => Some(join),
        _ => None,
    }
}

/// Whether a join's right side reads nothing, and makes rows of lists.
fn makes_rows(plan: &LogicalPlan) -> bool {
    let (mut at, mut unnests) = (plan, false);
    loop {
        at = match at {
            LogicalPlan::SubqueryAlias(it) => &it.input,
            LogicalPlan::Subquery(it) => &it.subquery,
            LogicalPlan::Projection(it) => &it.input,
            LogicalPlan::Filter(it) => &it.input,
            LogicalPlan::Unnest(it) => {
                unnests = true;
                &it.input
            }
            LogicalPlan::EmptyRelation(it) => return unnests && it.produce_one_row,
            _ => return false,
        };
    }
}

fn moved(join: Join) -> Result<LogicalPlan> {
    let keeps_left = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        other => return Err(refused(&format!("{other} JOIN"))),
    };
    let is_true = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    let condition = join.filter.filter(|filter| !is_true(filter));
    if !join.on.is_empty() || (keeps_left && condition.is_some()) {
        return Err(refused("LEFT JOIN … ON a condition"));
    }
    let left = Arc::unwrap_or_clone(join.left);
    let columns = left.schema().columns();
    let rows = lifted(&join.right, left, &columns, keeps_left)?;
    match condition {
        Some(condition) => Ok(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(rows))?)),
        None => Ok(rows),
    }
}

fn refused(what: &str) -> datafusion::common::DataFusionError {
    Refusal::new("plan::join::unnest", format!("{what} of a row's own list cannot run"))
        .help(
            "write CROSS JOIN UNNEST(…) AS t(x) or LEFT JOIN UNNEST(…) AS t(x) ON TRUE, and WHERE",
        )
        .into_engine()
}

/// What `plan` makes of no row, made of each row of `left`, beside its `columns`.
fn lifted(
    plan: &LogicalPlan,
    left: LogicalPlan,
    columns: &[Column],
    keeps_left: bool,
) -> Result<LogicalPlan> {
    let beside = |exprs: Vec<Expr>, input: LogicalPlan| {
        let kept = columns.iter().cloned().map(Expr::Column);
        let exprs = kept.chain(exprs).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
    };
    match plan {
        LogicalPlan::Subquery(it) => lifted(&it.subquery, left, columns, keeps_left),
        LogicalPlan::SubqueryAlias(it) => {
            let input = lifted(&it.input, left, columns, keeps_left)?;
            let named = it.input.schema().iter().map(|(qualifier, field)| {
                named(Expr::from((qualifier, field)), &it.alias, field.name())
            });
            beside(named.collect(), input)
        }
        LogicalPlan::Projection(it) => {
            let input = lifted(&it.input, left, columns, keeps_left)?;
            let exprs = it.expr.iter().cloned().map(of_the_row).collect::<Result<_>>()?;
            beside(exprs, input)
        }
        LogicalPlan::Filter(_) if keeps_left => Err(refused("LEFT JOIN of a part")),
        LogicalPlan::Filter(it) => {
            let input = lifted(&it.input, left, columns, keeps_left)?;
            let predicate = of_the_row(it.predicate.clone())?;
            Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
        }
        LogicalPlan::Unnest(it) => {
            let input = lifted(&it.input, left, columns, keeps_left)?;
            let mut options = it.options.clone();
            if keeps_left {
                options.null_handling = NullHandling::PreserveAndExpandEmpty;
            }
            LogicalPlanBuilder::from(input)
                .unnest_columns_with_options(it.exec_columns.clone(), options)?
                .build()
        }
        _ => Ok(left),
    }
}

fn named(expr: Expr, qualifier: &TableReference, name: &str) -> Expr {
    expr.alias_qualified(Some(qualifier.clone()), name)
}

/// Columns of the row outside, which is the row itself now.
fn of_the_row(expr: Expr) -> Result<Expr> {
    let moved = expr.transform_up(|part| match part {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(moved.data)
}
