//! The engine's session, set up for plans that are made once, run many times on one thread, and
//! give the same rows each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::datasource::MemTable;
use datafusion::execution::context::{ExecutionProps, SessionContext};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::planner::RelationPlanner;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use futures::FutureExt;
use tidemill_pipeline::Stream;

use crate::functions::{
    CheckpointTime, aggregate_functions, join_markers, scalar_functions, time_functions,
};
use crate::leaf::{ClosedWindowsPlanner, StreamScan};
use crate::one_key;
use crate::optimizer;
use crate::tables::StaticTable;
use crate::typed;
use crate::volatile;
use crate::window_keys;

/// Functions of a Rust program's own, for use in its pipeline's SQL.
#[derive(Debug, Clone, Default)]
pub struct Functions {
    /// Scalar functions. They must be deterministic.
    pub scalar: Vec<Versioned<ScalarUDF>>,
    /// Aggregate functions. Their partial states must merge in any order.
    pub aggregate: Vec<Versioned<AggregateUDF>>,
}

/// A function with the version of what it computes.
#[derive(Debug, Clone)]
pub struct Versioned<F> {
    /// The function.
    pub function: Arc<F>,
    /// Part of the fingerprint of every query that calls it: another version does not read the state
    /// that this one wrote. Change it when the function gives other values, or another partial state.
    pub version: u32,
}

impl Functions {
    /// The names of all functions in lower case, other names included, with their versions.
    pub(crate) fn versions(&self) -> BTreeMap<String, u32> {
        let scalar =
            self.scalar.iter().map(|it| (it.function.name(), it.function.aliases(), it.version));
        let aggregate =
            self.aggregate.iter().map(|it| (it.function.name(), it.function.aliases(), it.version));
        let named = scalar.chain(aggregate).flat_map(|(name, aliases, version)| {
            let names = std::iter::once(name).chain(aliases.iter().map(String::as_str));
            names.map(move |name| (name.to_lowercase(), version))
        });
        named.collect()
    }
}

/// Rows that a plan handles at once: more than any batch, so that nothing is cut in between.
const BATCH_ROWS: usize = 1 << 20;

/// A session that knows the engine's functions, ours and the program's, but no table yet.
pub(crate) fn session(time: &CheckpointTime, functions: &Functions) -> SessionContext {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_collect_statistics(true);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_round_robin_repartition = false;
    options.optimizer.max_passes = 8;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_analyzer_rules(optimizer::analyzer_rules())
        .with_optimizer_rules(optimizer::optimizer_rules())
        .with_physical_optimizer_rules(optimizer::physical_rules())
        .build();
    let context = SessionContext::new_with_state(state);
    // The time of planning, which a replay would not have again.
    context.deregister_udf("current_time");
    for function in time_functions(time) {
        context.register_udf(function.as_ref().clone());
    }
    for function in join_markers().into_iter().chain(scalar_functions()) {
        context.register_udf(function);
    }
    for function in aggregate_functions() {
        context.register_udaf(function);
    }
    for function in &functions.scalar {
        context.register_udf(function.function.as_ref().clone());
    }
    for function in &functions.aggregate {
        context.register_udaf(function.function.as_ref().clone());
    }
    context
}

/// Makes a static table known.
pub(crate) fn add_table(context: &SessionContext, name: &str, table: &StaticTable) -> Result<()> {
    let table = MemTable::try_new(Arc::clone(&table.schema), vec![table.batches.clone()])?;
    context.register_table(TableReference::bare(name), Arc::new(table)).map(drop)
}

/// Makes a stream known that is read without a window function.
pub(crate) fn add_stream(context: &SessionContext, stream: &Stream) -> Result<()> {
    let scan = StreamScan::new(stream, None, Vec::new());
    context.register_table(TableReference::bare(stream.name.as_str()), Arc::new(scan)).map(drop)
}

/// The session's state with one query's window functions.
pub(crate) fn with_windows(
    context: &SessionContext,
    windows: Arc<dyn RelationPlanner>,
) -> SessionState {
    SessionStateBuilder::new_from_existing(context.state())
        .with_relation_planners(vec![windows])
        .build()
}

/// Whether a function is one of single rows.
pub(crate) fn is_scalar(state: &SessionState, name: &str) -> bool {
    let of_one_row = state.scalar_functions().contains_key(name)
        || state.higher_order_functions().contains_key(name);
    of_one_row || ["unnest", "unnest_outer"].contains(&name)
}

/// The plan without columns that nothing above them reads.
pub(crate) fn needed_columns(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let rule: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(OptimizeProjections::new());
    Optimizer::with_rules(vec![rule]).optimize(plan, state, |_, _| {})
}

/// Plans physically. Planning never waits for anything, so it needs no runtime.
pub(crate) fn physical(state: &SessionState, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let planner =
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ClosedWindowsPlanner)]);
    let plan = window_keys::as_columns(one_key::keyed(plan.clone())?)?;
    now(planner.create_physical_plan(&plan, state))?
}

/// An expression as the engine runs it, which must give the same value whenever it is evaluated, of the
/// type that the plan says.
pub(crate) fn physical_expr(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    volatile::check_expr(expr)?;
    planned(&optimizer::written(expr.clone(), schema)?, schema)
}

/// The same for a condition, of which null is as good as false.
pub(crate) fn physical_condition(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    volatile::check_expr(expr)?;
    planned(&optimizer::written_condition(expr.clone(), schema)?, schema)
}

fn planned(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let expr = &one_key::compared(expr.clone(), schema, &|_| false)?;
    let planning = PhysicalPlanningContext::default();
    let physical = create_physical_expr(expr, schema, &ExecutionProps::new(), &planning)?;
    typed::of_planned_type(physical, schema.inner())
}

/// The value of a future that waits for nothing.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> Result<T> {
    match tokio::task::unconstrained(future).now_or_never() {
        Some(value) => Ok(value),
        None => datafusion::common::internal_err!("a plan over data in memory had to wait"),
    }
}
