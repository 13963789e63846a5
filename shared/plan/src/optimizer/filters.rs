//! Filters: what cannot fail is moved down and run first, what can fail stays where it was written.
//!
//! `WHERE a AND b AND c` is one filter for all its parts that cannot fail, and above it one for each
//! part that can, in the order in which they are written. A filter runs only on rows that the one
//! below lets through, so `v ~ '^[0-9]+$' AND CAST(v AS BIGINT) > 5` casts numbers alone. The engine's
//! own rule puts the cheaper part first, whatever it is (apache/datafusion#22343), and merges filters.
//!
//! # Invariants
//! 1. Only what cannot fail goes through the engine's rule, one condition at a time: that rule also
//!    merges conditions of one column by rules of algebra when it is given several.
//! 2. A filter that can fail holds one condition. No rule after this one merges filters; physical ones
//!    that would do not run (see [`super`]).
//!
//! Not here: AND and OR elsewhere (`guards`), what joins move (`joins`).

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::failing::can_fail;
use crate::lineage::any_part;

/// Moves filters that cannot fail, and keeps the others apart.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    engine: PushDownFilter,
}

impl OptimizerRule for Filters {
    fn name(&self) -> &str {
        "filters"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) => self.filters(filter, config),
            LogicalPlan::Join(join) => self.below_join(join, None, config),
            other => Ok(Transformed::no(other)),
        }
    }
}

impl Filters {
    /// A chain of filters, as one chain in the order in which it is to run.
    fn filters(
        &self,
        filter: Filter,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let before = LogicalPlan::Filter(filter.clone());
        let (conditions, mut base) = chain(filter);
        let schema = Arc::clone(base.schema());
        let (failing, sure) = parted(conditions, &schema);
        let (mut kept, mut moved) = (Vec::new(), false);
        for condition in sure {
            let one = Filter::try_new(condition, Arc::new(base))?;
            let pushed = match one.input.as_ref() {
                LogicalPlan::Join(join) => {
                    let join = join.clone();
                    self.below_join(join, Some(one.predicate), config)?
                }
                _ => self.engine.rewrite(LogicalPlan::Filter(one), config)?,
            };
            moved |= pushed.transformed;
            base = match pushed.data {
                LogicalPlan::Filter(rest) => {
                    kept.extend(split_conjunction_owned(rest.predicate));
                    Arc::unwrap_or_clone(rest.input)
                }
                other => other,
            };
        }
        let plan = stacked(base, kept, failing)?;
        Ok(match moved || plan != before {
            true => Transformed::yes(plan),
            false => Transformed::no(plan),
        })
    }

    /// Moves what a join's condition, and one above it, say of one side, if it cannot fail.
    fn below_join(
        &self,
        mut join: Join,
        above: Option<Expr>,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let failing = take_failing(&mut join)?;
        let plan = match above {
            Some(above) => {
                LogicalPlan::Filter(Filter::try_new(above, Arc::new(LogicalPlan::Join(join)))?)
            }
            None => LogicalPlan::Join(join),
        };
        let pushed = self.engine.rewrite(plan, config)?;
        pushed.map_data(|plan| with_conditions(plan, failing))
    }
}

/// All conditions of filters upon filters, the lowest first, each once, and what they filter.
fn chain(filter: Filter) -> (Vec<Expr>, LogicalPlan) {
    let mut levels = vec![split_conjunction_owned(filter.predicate)];
    let mut input = Arc::unwrap_or_clone(filter.input);
    while let LogicalPlan::Filter(next) = input {
        levels.push(split_conjunction_owned(next.predicate));
        input = Arc::unwrap_or_clone(next.input);
    }
    let mut conditions: Vec<Expr> = Vec::new();
    for condition in levels.into_iter().rev().flatten() {
        if condition.is_volatile() || !conditions.contains(&condition) {
            conditions.push(condition);
        }
    }
    (conditions, input)
}

/// What can fail, in its order; and what cannot, the cheaper first.
fn parted(conditions: Vec<Expr>, schema: &DFSchema) -> (Vec<Expr>, Vec<Expr>) {
    let (failing, mut sure): (Vec<Expr>, Vec<Expr>) =
        conditions.into_iter().partition(|it| can_fail(it, schema));
    sure.sort_by_key(reads_text);
    (failing, sure)
}

/// Whether a condition looks for something in texts, which costs more than to compare.
fn reads_text(condition: &Expr) -> bool {
    any_part(condition, |part| match part {
        Expr::Like(_) | Expr::SimilarTo(_) | Expr::ScalarFunction(_) => true,
        Expr::BinaryExpr(binary) => matches!(
            binary.op,
            Operator::LikeMatch
                | Operator::ILikeMatch
                | Operator::NotLikeMatch
                | Operator::NotILikeMatch
                | Operator::RegexMatch
                | Operator::RegexIMatch
                | Operator::RegexNotMatch
                | Operator::RegexNotIMatch
        ),
        _ => false,
    })
}

/// A plan under one filter of what cannot fail, and one for each condition that can.
fn stacked(base: LogicalPlan, sure: Vec<Expr>, failing: Vec<Expr>) -> Result<LogicalPlan> {
    let mut plan = base;
    for condition in conjunction(sure).into_iter().chain(failing) {
        plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?);
    }
    Ok(plan)
}

/// Takes those of a join's conditions off it that can fail.
pub(super) fn take_failing(join: &mut Join) -> Result<Vec<Expr>> {
    let schema = join.left.schema().join(join.right.schema())?;
    let own = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
    let (failing, sure): (Vec<Expr>, Vec<Expr>) =
        own.into_iter().partition(|it| can_fail(it, &schema));
    join.filter = conjunction(sure);
    Ok(failing)
}

/// Adds conditions at the end of a join's own.
pub(super) fn add_conditions(join: &mut Join, conditions: Vec<Expr>) {
    join.filter = conjunction(join.filter.take().into_iter().chain(conditions));
}

/// A join, which may stand under a filter, with more conditions at the end of its own.
fn with_conditions(plan: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    if conditions.is_empty() {
        return Ok(plan);
    }
    match plan {
        LogicalPlan::Join(mut join) => {
            add_conditions(&mut join, conditions);
            Ok(LogicalPlan::Join(join))
        }
        LogicalPlan::Filter(filter) => {
            let input = with_conditions(Arc::unwrap_or_clone(filter.input), conditions)?;
            Ok(LogicalPlan::Filter(Filter::try_new(filter.predicate, Arc::new(input))?))
        }
        _ => datafusion::common::internal_err!("a join has become something else"),
    }
}

/// Whether a filter or a join anywhere in a plan has a condition that can fail.
pub(super) fn any_fails(plan: &LogicalPlan) -> bool {
    crate::lineage::any_node(plan, |node| match node {
        LogicalPlan::Filter(filter) => {
            let schema = filter.input.schema();
            split_conjunction(&filter.predicate).into_iter().any(|it| can_fail(it, schema))
        }
        LogicalPlan::Join(join) => {
            let Ok(schema) = join.left.schema().join(join.right.schema()) else { return true };
            let keys = join.on.iter().flat_map(|(left, right)| [left, right]);
            keys.chain(&join.filter).any(|it| can_fail(it, &schema))
        }
        _ => false,
    })
}
