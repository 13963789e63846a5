//! Queries whose results change after they were first emitted: `emit = "updates"`, `emit_when` and
//! `late = "update"`.
//!
//! Their rows have three columns more, [`OP`], [`REVISION`] and [`TIMING`], and a row that was
//! emitted can be withdrawn: then all but its key, its window and those three is null.
//!
//! # Invariants
//! 1. Rows have a provable key ([`ResultKey`]): whoever keeps rows finds the one that a later one
//!    replaces, or withdraws.
//! 2. Over sessions the upper plan is row-wise: a session's row depends on that session alone.
//!
//! Not here: what was emitted before (`flow::merge::revisions`).

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, Projection, Volatility};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::sql::sqlparser::ast::ExprWithAlias;
use tidemill_model::WindowShape;
use tidemill_pipeline::{EmitMode, Late, Query};

use crate::constants;
use crate::engine;
use crate::error::{CONDITION, Refusal};
use crate::lineage::{any_part, plain};
use crate::result_key::ResultKey;
use crate::sql;
use crate::stage::Stage;

/// Column of results that can change: `upsert`, or `delete` for a row that is withdrawn.
pub const OP: &str = "op";
/// Column of results that can change: how often the window's result was emitted before.
pub const REVISION: &str = "revision";
/// Column of results that can change: when the row was emitted, as [`Timing`] spells it.
pub const TIMING: &str = "timing";

/// How a query's results change.
#[derive(Debug, Clone)]
pub struct Revisions {
    /// Whether every tick emits the windows that it changed.
    pub updates: bool,
    /// What makes a row worth emitting before its window closes.
    pub when: Option<Condition>,
    /// Whether a row of a window of fixed length can fall out of its result, also because something
    /// fails on it: only then is it needed to know which rows were emitted.
    pub withdraws: bool,
    /// Schema of the rows without the columns of this module.
    pub rows: SchemaRef,
}

/// When a result is emitted, by the closing of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Before it closes.
    Early,
    /// When it closes.
    OnTime,
    /// After it has closed.
    Late,
}

impl Timing {
    /// As the column [`TIMING`] has it.
    pub fn text(self) -> &'static str {
        match self {
            Timing::Early => "early",
            Timing::OnTime => "on_time",
            Timing::Late => "late",
        }
    }
}

/// A condition over result rows.
#[derive(Debug, Clone)]
pub struct Condition {
    expr: Arc<dyn PhysicalExpr>,
}

impl Condition {
    /// For which rows it is true; not where it is null.
    pub fn holds(&self, rows: &RecordBatch) -> Result<Vec<bool>> {
        let answer = self.expr.evaluate(rows)?.into_array(rows.num_rows())?;
        let Some(answer): Option<&BooleanArray> = answer.as_boolean_opt() else {
            return internal_err!("a condition has no boolean value");
        };
        Ok((0..rows.num_rows()).map(|row| answer.is_valid(row) && answer.value(row)).collect())
    }
}

/// How the query's results change; `None`: they do not. `upper` is the unoptimized upper plan,
/// `shape` the windows of the aggregates under it, `stages`; `None`: it is not over aggregates alone.
pub(crate) fn of(
    query: &Query,
    upper: &LogicalPlan,
    shape: Option<WindowShape>,
    row_wise: bool,
    stages: &[Stage],
    key: &ResultKey,
    state: &SessionState,
) -> Result<Option<Revisions>> {
    let updates = query.emit == EmitMode::Updates;
    let Some(cause) = cause(query) else { return Ok(None) };
    let rows = Arc::clone(upper.schema().inner());
    if let Some(field) = rows.fields().iter().find(|field| is_reserved(field.name())) {
        let name = field.name();
        return Err(Refusal::new(
            "plan::output::reserved",
            format!("with {cause} results have a column `{name}` of their own"),
        )
        .help(format!("give this column another name: {name} AS {name}_value"))
        .into_engine());
    }
    let Some(shape) = shape else {
        return Err(Refusal::new(
            "plan::revision::rows",
            format!(
                "{cause} works for aggregates over windows, and this query reads single events"
            ),
        )
        .help(format!(
            "leave out {cause}: single events are told once, when they are final; a longer `grace` \
             waits for more of them"
        ))
        .into_engine());
    };
    if matches!(shape, WindowShape::Session { .. }) && !row_wise {
        return Err(Refusal::new(
            "plan::revision::sessions",
            format!(
                "with {cause} a session's result must depend on that session alone, and above the \
                 sessions stands more than HAVING, WHERE and expressions"
            ),
        )
        .help(format!("leave out {cause}, or aggregate the sessions in another query"))
        .into_engine());
    }
    if key.columns.is_none() {
        return Err(Refusal::new(
            "plan::revision::no_key",
            format!(
                "with {cause} a result replaces an earlier one, and nothing tells which: its rows \
                 have no provable key"
            ),
        )
        .help(
            "make every column of GROUP BY an output column as it is, the window too, without \
             GROUPING SETS and without a join above the aggregate",
        )
        .into_engine());
    }
    let when = query.emit_when.as_ref().map(|when| condition(&when.sql, &rows, state));
    let can_fail = |stage: &Stage| stage.aggregates.iter().any(|aggregate| aggregate.can_fail);
    let withdraws = !keeps_rows(upper) || stages.iter().any(can_fail);
    Ok(Some(Revisions { updates, when: when.transpose()?, withdraws, rows }))
}

/// The setting that makes results change, as the pipeline file has it.
fn cause(query: &Query) -> Option<&'static str> {
    if query.emit == EmitMode::Updates {
        Some("emit = \"updates\"")
    } else if query.emit_when.is_some() {
        Some("`emit_when`")
    } else {
        (query.late == Late::Update).then_some("late = \"update\"")
    }
}

fn is_reserved(name: &str) -> bool {
    [OP, REVISION, TIMING].contains(&name)
}

/// Whether a row that is once in a window's result is in all later ones: groups only come, and no
/// expression can fail on them.
fn keeps_rows(plan: &LogicalPlan) -> bool {
    let kept = match plan {
        LogicalPlan::Projection(it) => {
            it.expr.iter().all(|expr| matches!(plain(expr), Expr::Column(_) | Expr::Literal(_, _)))
        }
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Extension(_) => true,
        _ => false,
    };
    kept && plan.inputs().into_iter().all(keeps_rows)
}

fn condition(text: &str, rows: &SchemaRef, state: &SessionState) -> Result<Condition> {
    let refuse = |message: String, help: String| {
        Refusal::new(CONDITION, format!("`emit_when` {message}")).help(help).into_engine()
    };
    let names: Vec<&str> = rows.fields().iter().map(|field| field.name().as_str()).collect();
    let columns = format!("it is SQL over the result's columns: {}", names.join(", "));
    let of_engine = |error| {
        let Refusal { message, help, .. } = Refusal::from_engine(error, "");
        refuse(format!("cannot be read: {message}"), help.unwrap_or_else(|| columns.clone()))
    };
    let mut parsed = sql::parse_condition(text).map_err(Refusal::into_engine).map_err(of_engine)?;
    sql::names::resolve_columns(&mut parsed, &names);
    let schema = DFSchema::try_from(rows.as_ref().clone())?;
    let parsed = ExprWithAlias { expr: parsed, alias: None };
    let is_scalar = |name: &str| engine::is_scalar(state, name);
    sql::ignored::condition(&parsed.expr, "", &is_scalar)
        .map_err(Refusal::into_engine)
        .map_err(of_engine)?;
    let expr = state.create_logical_expr_from_sql_expr(parsed, &schema).map_err(of_engine)?;
    let other = any_part(&expr, |part| {
        matches!(
            part,
            Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
        )
    });
    if other {
        let message = "must be about one result row, without aggregates and subqueries";
        return Err(refuse(message.to_string(), columns));
    }
    let volatile = any_part(&expr, |part| {
        matches!(part, Expr::ScalarFunction(call)
            if call.func.signature().volatility != Volatility::Immutable)
    });
    if volatile {
        let message = "cannot depend on the clock or on chance";
        return Err(refuse(message.to_string(), columns));
    }
    let expr = analyzed(expr, schema.clone(), state).map_err(of_engine)?;
    let expr = engine::physical_condition(&expr, &schema).map_err(of_engine)?;
    let found = expr.data_type(rows)?;
    if found != DataType::Boolean {
        let help = "write a comparison, such as \"views > 100\"".to_string();
        return Err(refuse(format!("is a value of type {found}, not a condition"), help));
    }
    Ok(Condition { expr })
}

/// A condition as the engine's analyzer leaves it, as it does with a query's expressions.
fn analyzed(expr: Expr, schema: DFSchema, state: &SessionState) -> Result<Expr> {
    let rows = EmptyRelation { produce_one_row: false, schema: Arc::new(schema) };
    let rows = Arc::new(LogicalPlan::EmptyRelation(rows));
    let plan = LogicalPlan::Projection(Projection::try_new(vec![expr], rows)?);
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    constants::check(&plan, "")?;
    match plan {
        LogicalPlan::Projection(mut it) if it.expr.len() == 1 => {
            it.expr.pop().map_or_else(|| internal_err!("no condition"), Ok)
        }
        _ => internal_err!("a condition is no expression any more"),
    }
}

impl Revisions {
    /// Schema of the results: the rows, all of which a deletion can leave null, and the columns of
    /// this module.
    pub(crate) fn output(&self) -> SchemaRef {
        let rows = self.rows.fields().iter().map(|it| it.as_ref().clone().with_nullable(true));
        let own = [
            Field::new(OP, DataType::Utf8, false),
            Field::new(REVISION, DataType::Int64, false),
            Field::new(TIMING, DataType::Utf8, false),
        ];
        Arc::new(Schema::new(rows.chain(own).collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests;
