//! One query's SQL as the engine's plan, before operands get their types.
//!
//! # Invariants
//! 1. Every part of the planner that asks what a query says asks here, so that none reads it otherwise.
//!
//! Not here: reading SQL (`sql`), what the plan is cut into (`split`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement;
use tidemill_pipeline::{Query, Stream};

use crate::engine;
use crate::error::Refusal;
use crate::lateral;
use crate::lineage::any_part;
use crate::schema::stream_schema;
use crate::sql;
use crate::tables::StaticTable;
use crate::windowed::WindowFunctions;

/// The session's state with the query's window functions.
pub(crate) fn session(
    context: &SessionContext,
    streams: &Arc<BTreeMap<String, Stream>>,
    query: &Query,
) -> SessionState {
    let windows = WindowFunctions { streams: Arc::clone(streams), sql: query.sql.clone() };
    engine::with_windows(context, Arc::new(windows))
}

/// What the query says.
pub(crate) fn logical_plan(
    state: &SessionState,
    streams: &BTreeMap<String, Stream>,
    static_tables: &BTreeMap<String, StaticTable>,
    query: &Query,
) -> Result<LogicalPlan> {
    let refused = Refusal::into_engine;
    let mut statement = sql::parse(&query.sql).map_err(refused)?;
    let relations = relations(streams, static_tables);
    sql::names::resolve(&mut statement, &relations, &query.sql).map_err(refused)?;
    sql::ignored::statement(&statement, &query.sql, &|name| engine::is_scalar(state, name))
        .map_err(refused)?;
    let statement = Statement::Statement(Box::new(statement));
    let plan = lateral::joined(engine::now(state.statement_to_plan(statement))??)?;
    check_subqueries(&plan)?;
    Ok(plan)
}

/// Refuses IN and EXISTS of a subquery as a value: the engine runs them as joins, under WHERE alone.
fn check_subqueries(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let asks = |part: &Expr| matches!(part, Expr::InSubquery(_) | Expr::Exists(_));
        let is_filter = matches!(node, LogicalPlan::Filter(_));
        if !is_filter && node.expressions().iter().any(|expr| any_part(expr, asks)) {
            return Err(Refusal::new(
                "plan::subquery::value",
                "IN (SELECT …) and EXISTS (SELECT …) can stand in WHERE and HAVING alone",
            )
            .help(
                "join the table, LEFT JOIN (SELECT DISTINCT k, TRUE AS found FROM t) t ON t.k = s.k, and \
                 write COALESCE(t.found, FALSE)",
            )
            .into_engine());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Everything that FROM can read by its name.
fn relations(
    streams: &BTreeMap<String, Stream>,
    static_tables: &BTreeMap<String, StaticTable>,
) -> sql::names::Relations {
    let columns = |schema: &SchemaRef| schema.fields().iter().map(|it| it.name().clone()).collect();
    let streams = streams.iter().map(|(name, it)| (name.clone(), columns(&stream_schema(it))));
    let tables = static_tables.iter().map(|(name, it)| (name.clone(), columns(&it.schema)));
    streams.chain(tables).collect()
}
