//! What a join's condition is evaluated on.
//!
//! A join's equal keys are computed for every row of its sides, before anything else of its condition
//! is known. So a key that can fail is made one only where that changes nothing: when the join has no
//! other key, and then behind what the condition says of the same side.
//!
//! ```text
//! ON s.v ~ '^[0-9]+$' AND CAST(s.v AS BIGINT) = t.k
//!     key  CASE WHEN s.v ~ '^[0-9]+$' THEN CAST(s.v AS BIGINT) END = t.k
//! ```
//!
//! A key that is null matches nothing, and without the guard the row would match nothing either.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{BinaryExpr, Case};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Operator};
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::failing::can_fail;
use super::filters::{add_conditions, any_fails, take_failing};

/// Finds a join's keys.
#[derive(Debug, Default)]
pub(crate) struct JoinKeys {
    engine: ExtractEquijoinPredicate,
}

impl OptimizerRule for JoinKeys {
    fn name(&self) -> &str {
        "join_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        // NOT IN cannot run without its key.
        if join.null_aware {
            return self.engine.rewrite(LogicalPlan::Join(join), config);
        }
        let failing = take_failing(&mut join)?;
        let sure = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let found = self.engine.rewrite(LogicalPlan::Join(join), config)?;
        let LogicalPlan::Join(mut join) = found.data else { return Ok(found) };
        let (mut changed, mut rest) = (found.transformed, failing);
        if join.on.is_empty()
            && let Some((index, key)) = first_key(&join, &rest)
        {
            rest.remove(index);
            join.on.push(behind_guards(&join, key, &sure)?);
            changed = true;
        }
        add_conditions(&mut join, rest);
        Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
    }
}

/// The first of some conditions that is a key, if nothing that can fail stands before it.
fn first_key(join: &Join, conditions: &[Expr]) -> Option<(usize, (Expr, Expr))> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) =
        conditions.first()?
    else {
        return None;
    };
    let (left, right) = (join.left.schema(), join.right.schema());
    let (a, b) = (a.as_ref().clone(), b.as_ref().clone());
    if over(&a, left) && over(&b, right) {
        Some((0, (a, b)))
    } else if over(&a, right) && over(&b, left) {
        Some((0, (b, a)))
    } else {
        None
    }
}

/// A key of which each side is computed only where `guards` over that side hold.
fn behind_guards(join: &Join, key: (Expr, Expr), guards: &[Expr]) -> Result<(Expr, Expr)> {
    let side = |expr: Expr, schema: &DFSchema| {
        let guards = guards.iter().filter(|guard| over(guard, schema)).cloned();
        match conjunction(guards).filter(|_| can_fail(&expr, schema)) {
            Some(guard) => {
                let arms = vec![(Box::new(guard), Box::new(expr))];
                Expr::Case(Case::new(None, arms, None))
            }
            None => expr,
        }
    };
    Ok((side(key.0, join.left.schema()), side(key.1, join.right.schema())))
}

/// Whether an expression reads columns, all of this schema.
fn over(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
}

/// The engine's rule that makes joins of cross joins, for plans in which nothing can fail: it reorders
/// inputs and takes keys from anywhere in WHERE.
#[derive(Debug)]
pub(crate) struct CrossJoins;

impl OptimizerRule for CrossJoins {
    fn name(&self) -> &str {
        "cross_joins"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match any_fails(&plan) {
            true => Ok(Transformed::no(plan)),
            false => EliminateCrossJoin::new().rewrite(plan, config),
        }
    }
}

/// Keys of two streams, each side behind what the condition says of it.
pub(crate) fn guarded_keys(
    join: &Join,
    keys: &[(Expr, Expr)],
    conditions: &[Expr],
) -> Result<Vec<(Expr, Expr)>> {
    let schema = Arc::new(join.left.schema().join(join.right.schema())?);
    let sure: Vec<Expr> = conditions.iter().filter(|it| !can_fail(it, &schema)).cloned().collect();
    keys.iter().map(|key| behind_guards(join, key.clone(), &sure)).collect()
}
