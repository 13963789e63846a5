//! Which rules change a plan, and why none of them changes what a query means.
//!
//! The engine's rules are listed by name here, so that one that comes with another version of it does
//! not run unseen: a test compares the list with the engine's own.
//!
//! # Analyzer
//!
//! | rule | |
//! |---|---|
//! | `ResolveGroupingFunction` | kept: writes GROUPING(…) as bits of the grouping id |
//! | [`Meaning`] | ours: literals with a point, `/` of decimals, times without nanoseconds |
//! | `TypeCoercion` | kept: without it operators have no common types. Runs again after [`constants`], where a literal decides a type (the digits of ROUND) |
//! | [`constants::Constants`] | ours |
//!
//! # Optimizer
//!
//! | rule of the engine | |
//! |---|---|
//! | `RewriteSetComparison` | kept: `= ANY (SELECT …)` cannot run otherwise; by EXISTS with three values |
//! | `OptimizeUnions` | kept: flattens UNION ALL, casts inputs to the common type |
//! | `UnionsToFilter` | off (as by default): makes OR of branches that were computed apart |
//! | `SimplifyExpressions` | **replaced** by [`constants::WrittenOut`], see there |
//! | `ReplaceDistinctWithAggregate` | kept: DISTINCT is GROUP BY all columns, nulls are one key in both |
//! | `EliminateJoin` | kept: an inner join ON FALSE has no rows |
//! | `DecorrelatePredicateSubquery` | kept: IN, EXISTS cannot run otherwise; where its joins do not know null, [`not_in`] writes what they can |
//! | `ScalarSubqueryToJoin` | kept: a subquery of one value cannot run otherwise |
//! | `DecorrelateLateralJoin` | kept: LATERAL cannot run otherwise |
//! | `ExtractEquijoinPredicate` | **wrapped** by [`joins::JoinKeys`]: a key is computed for every row |
//! | `EliminateDuplicatedExpr` | kept: drops repeated keys of sorts and groups |
//! | `EliminateFilter` | kept: WHERE TRUE, FALSE and NULL |
//! | `EliminateCrossJoin` | **wrapped** by [`joins::CrossJoins`]: only where nothing can fail |
//! | `EliminateLimit` | kept: LIMIT 0 has no rows |
//! | `PropagateEmptyRelation` | kept: what is over no rows; keeps one row of aggregates without keys |
//! | `FilterNullJoinKeys` | off (as by default): no use in memory |
//! | `EliminateOuterJoin` | kept: null-rejecting conditions by a list of what returns null on null |
//! | `PushDownLimit` | kept: below projections and into unions, never below a filter |
//! | `PushDownFilter` | **wrapped** by [`filters::Filters`] |
//! | `SingleDistinctToGroupBy` | kept: COUNT(DISTINCT x) as two aggregates, with nulls left out |
//! | `EliminateGroupByConstant` | kept: a literal is no key, unless it is the only one |
//! | `CommonSubexprEliminate` | kept: takes out only what is evaluated for every row anyway, not what is behind AND, OR, CASE |
//! | `ExtractLeafExpressions`, `PushDownLeafProjections` | off: they move fields of structs below filters |
//! | `OptimizeProjections` | kept: drops columns that are not read, merges projections |
//! | [`guards`] | ours, after all |
//!
//! # Physical optimizer
//!
//! | rule of the engine | |
//! |---|---|
//! | `OutputRequirements`, `EnsureRequirements`, `SanityCheckPlan`, `EnsureCooperative` | kept: orders, partitions, yielding |
//! | `AggregateStatistics` | kept: COUNT of a static table from its exact row count |
//! | `JoinSelection` | kept: which side is held in memory |
//! | `LimitedDistinctAggregation`, `TopKAggregation`, `TopKRepartition`, `LimitPushdown` | kept: stop early; what they leave out no LIMIT gives |
//! | `FilterPushdown` (both) | **off**: merges filters that stand one upon another. Streams and tables are in memory and take no filters |
//! | `LimitPushPastWindows` | **off**: takes LEAD … IGNORE NULLS its rows (apache/datafusion#25471) |
//! | `WindowTopN` | off (as by default) |
//! | `CombinePartialFinalAggregate`, `OptimizeAggregateOrder`, `PushdownSort` | kept: no expression moves |
//! | `ProjectionPushdown` | **replaced** by [`projections::Projections`] |
//! | `HashJoinBuffering` | off (as by default): no I/O to wait for |
//!
//! Expressions that are no part of a plan ([`crate::engine::physical_expr`]) are written out and
//! guarded by the same two functions, and by nothing else.

mod constants;
mod failing;
mod filters;
mod guards;
mod joins;
mod lossless;
pub(crate) mod not_in;
mod projections;

use std::sync::Arc;

use datafusion::common::{DFSchema, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_group_by_constant::EliminateGroupByConstant;
use datafusion::optimizer::eliminate_join::EliminateJoin;
use datafusion::optimizer::eliminate_limit::EliminateLimit;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion::optimizer::push_down_limit::PushDownLimit;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::single_distinct_to_groupby::SingleDistinctToGroupBy;
use datafusion::optimizer::{AnalyzerRule, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use crate::meaning::Meaning;

pub(crate) use failing::can_fail;
pub(crate) use joins::guarded_keys;
pub(crate) use lossless::keeps_all;

/// What gives a statement's plan its types.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(Meaning),
        Arc::new(TypeCoercion::new()),
        // What was made equal in nanoseconds: columns of a UNION, a date and a time of day.
        Arc::new(Meaning),
        Arc::new(TypeCoercion::new()),
        Arc::new(constants::Constants),
        Arc::new(TypeCoercion::new()),
        Arc::new(constants::Constants),
    ]
}

/// What rewrites a plan that has its types, in the engine's order.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(constants::WrittenOut),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(EliminateJoin::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(joins::JoinKeys::default()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(joins::CrossJoins),
        Arc::new(EliminateLimit::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownLimit::new()),
        Arc::new(filters::Filters::default()),
        Arc::new(SingleDistinctToGroupBy::new()),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// Physical rules of the engine that do not run: see the table above.
const PHYSICAL_OFF: [&str; 2] = ["FilterPushdown", "LimitPushPastWindows"];

/// What rewrites a physical plan, in the engine's order.
pub(crate) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let ours = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name() {
        name if PHYSICAL_OFF.iter().any(|off| name.starts_with(off)) => None,
        "ProjectionPushdown" => Some(Arc::new(projections::Projections) as _),
        _ => Some(rule),
    };
    PhysicalOptimizer::new().rules.into_iter().filter_map(ours).collect()
}

/// The plan as it is run.
pub(crate) fn optimized(state: &SessionState, plan: &LogicalPlan) -> Result<LogicalPlan> {
    guards::guarded_plan(state.optimize(plan)?)
}

/// The expression as it is run, as a value.
pub(crate) fn written(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let schema = Arc::new(schema.clone());
    let expr = constants::written_out(expr, &schema)?.data;
    Ok(guards::guarded(expr, &schema, false)?.data)
}

/// The expression as it is run, as a condition: null is as good as false.
pub(crate) fn written_condition(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let schema = Arc::new(schema.clone());
    let expr = constants::written_out(expr, &schema)?.data;
    Ok(guards::guarded(expr, &schema, true)?.data)
}

#[cfg(test)]
mod tests;
