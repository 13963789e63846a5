//! PARTITION BY and ORDER BY of OVER as plain columns, before the engine plans a node that runs it.
//!
//! The engine's physical planner compares such keys between the functions of a node and with the order
//! of its input, and is wrong about expressions: two functions whose equal keys were rewritten one by
//! one panic in it, a constant key panics in it, and a function of a function counts as another order
//! than its own. Of columns it knows everything.
//!
//! # Invariants
//! 1. The node's columns keep their names, order and types.
//!
//! Not here: floats as keys (`one_key`), which comes first and may put two names around a call.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, internal_err};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Window};

use crate::lineage::plain;

/// The plan, in which every key of OVER is a column.
pub(crate) fn as_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(of_node)?.data)
}

fn of_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = plan else { return Ok(Transformed::no(plan)) };
    let calls = window.window_expr.iter().map(called).collect::<Result<Vec<_>>>()?;
    let Some(first) = calls.first() else {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    };
    let params = &first.params;
    let keys = params.partition_by.iter().chain(params.order_by.iter().map(|key| &key.expr));
    let keys: Vec<Expr> = keys.cloned().collect();
    let is_plain = |key: &Expr| matches!(key, Expr::Column(_));
    let same_keys = |call: &&WindowFunction| {
        call.params.partition_by == params.partition_by && call.params.order_by == params.order_by
    };
    let named_once = |expr: &Expr| match expr {
        Expr::Alias(alias) => matches!(*alias.expr, Expr::WindowFunction(_)),
        _ => true,
    };
    if keys.iter().all(is_plain)
        && calls.iter().all(same_keys)
        && window.window_expr.iter().all(named_once)
    {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }

    let mut exprs: Vec<Expr> = window.input.schema().iter().map(Expr::from).collect();
    let mut columns = Vec::new();
    for (number, key) in keys.into_iter().enumerate() {
        columns.push(match plain(&key) {
            Expr::Column(column) => Expr::Column(column.clone()),
            _ => {
                let name = format!("__over{number}");
                exprs.push(key.alias(&name));
                Expr::Column(Column::from_name(name))
            }
        });
    }
    let input = LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(&window.input))?);
    let kept = window.input.schema().fields().len();
    let mut outer: Vec<Expr> = window.input.schema().iter().map(Expr::from).collect();
    let mut inner = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let mut call = (*call).clone();
        let (partition_by, order_by) = columns.split_at(params.partition_by.len());
        call.params.partition_by = partition_by.to_vec();
        let directions = &params.order_by;
        let sorts = order_by.iter().zip(directions);
        call.params.order_by =
            sorts.map(|(expr, sort)| Sort { expr: expr.clone(), ..sort.clone() }).collect();
        let name = format!("__call{number}");
        inner.push(Expr::WindowFunction(Box::new(call)).alias(&name));
        let (qualifier, field) = window.schema.qualified_field(kept + number);
        let column = Expr::Column(Column::from_name(name));
        outer.push(column.alias_qualified(qualifier.cloned(), field.name()));
    }
    let node = LogicalPlan::Window(Window::try_new(inner, Arc::new(input))?);
    let named = Projection::try_new(outer, Arc::new(node))?;
    Ok(Transformed::yes(LogicalPlan::Projection(named)))
}

/// The call without the names around it.
fn called(expr: &Expr) -> Result<&WindowFunction> {
    match plain(expr) {
        Expr::WindowFunction(call) => Ok(call),
        other => internal_err!("OVER without a call: {other}"),
    }
}
