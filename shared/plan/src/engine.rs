//! The engine's session, set up for plans that are made once, run many times on one thread, and
//! give the same rows each time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::{DFSchema, DataFusionError, Result, TableReference};
use datafusion::datasource::MemTable;
use datafusion::execution::context::{ExecutionProps, SessionContext};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::planner::RelationPlanner;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use futures::FutureExt;
use tidemill_pipeline::Stream;

use crate::functions::{CheckpointTime, join_markers, time_functions};
use crate::leaf::{ClosedWindowsPlanner, StreamScan};
use crate::rows;
use crate::tables::StaticTable;

/// Functions of a Rust program's own, for use in its pipeline's SQL.
#[derive(Debug, Clone, Default)]
pub struct Functions {
    /// Scalar functions. They must be deterministic.
    pub scalar: Vec<Arc<ScalarUDF>>,
    /// Aggregate functions. Their partial states must merge in any order.
    pub aggregate: Vec<Arc<AggregateUDF>>,
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
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    let context = SessionContext::new_with_state(state);
    for function in time_functions(time) {
        context.register_udf(function.as_ref().clone());
    }
    for marker in join_markers() {
        context.register_udf(marker);
    }
    for function in &functions.scalar {
        context.register_udf(function.as_ref().clone());
    }
    for function in &functions.aggregate {
        context.register_udaf(function.as_ref().clone());
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
    now(planner.create_physical_plan(plan, state))?
}

/// An expression as the engine runs it, which must give the same value whenever it is evaluated. The
/// simplifier is part of that: it writes some functions out, such as COALESCE, which cannot be run as
/// they are.
pub(crate) fn physical_expr(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    rows::check_volatile(expr)?;
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let expr = ExprSimplifier::new(context).simplify(expr.clone())?;
    let planning = PhysicalPlanningContext::default();
    let physical = create_physical_expr(&expr, schema, &ExecutionProps::new(), &planning)?;
    // What the engine cannot run shows here, and not on the first row.
    match physical.evaluate(&RecordBatch::new_empty(Arc::clone(schema.inner()))) {
        Err(error) if matches!(error.find_root(), DataFusionError::Internal(_)) => Err(error),
        _ => Ok(physical),
    }
}

/// The value of a future that waits for nothing.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> Result<T> {
    match tokio::task::unconstrained(future).now_or_never() {
        Some(value) => Ok(value),
        None => datafusion::common::internal_err!("a plan over data in memory had to wait"),
    }
}
