//! Which ROW_NUMBER of a query serves deduplication only: above it a filter keeps number 1.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, Window};

use super::called;
use crate::lineage::plain;

/// The window nodes whose row number a filter right above keeps only where it is 1, wherever the
/// query has them.
pub(crate) fn reduced(plan: &LogicalPlan) -> Result<Vec<Window>> {
    let mut filtered: Vec<Window> = Vec::new();
    let mut all: Vec<Window> = Vec::new();
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Window(window) => all.push(window.clone()),
            LogicalPlan::Filter(filter) => {
                let columns = split_conjunction(&filter.predicate).into_iter().filter_map(first);
                filtered.extend(columns.filter_map(|it| numbered(&filter.input, it)).cloned());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let count = |of: &[Window], window: &Window| of.iter().filter(|it| *it == window).count();
    let kept: Vec<bool> =
        filtered.iter().map(|it| count(&filtered, it) >= count(&all, it)).collect();
    let mut kept = kept.into_iter();
    filtered.retain(|_| kept.next().unwrap_or(false));
    Ok(filtered)
}

/// Whether the one ORDER BY of a window node is a time attribute, in whatever direction.
pub(crate) fn is_by_time(window: &Window, times: &[Option<i64>]) -> Result<bool> {
    for expr in &window.window_expr {
        let is_time = match called(expr)?.params.order_by.as_slice() {
            [sort] => match plain(&sort.expr) {
                Expr::Column(column) => window
                    .input
                    .schema()
                    .maybe_index_of_column(column)
                    .is_some_and(|index| times.get(index).copied().flatten().is_some()),
                _ => false,
            },
            _ => false,
        };
        if !is_time {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The column that a condition lets be 1 only, among numbers from 1 on.
fn first(condition: &Expr) -> Option<&Column> {
    let Expr::BinaryExpr(comparison) = condition else { return None };
    let (column, literal, op) = match (uncast(&comparison.left), uncast(&comparison.right)) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, value, comparison.op),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, value, comparison.op.swap()?),
        _ => return None,
    };
    let number = match literal.cast_to(&arrow::datatypes::DataType::Int64) {
        Ok(ScalarValue::Int64(Some(number))) => number,
        _ => return None,
    };
    let only_first = match op {
        Operator::Eq | Operator::LtEq => number == 1,
        Operator::Lt => number == 2,
        _ => false,
    };
    only_first.then_some(column)
}

fn uncast(expr: &Expr) -> &Expr {
    match plain(expr) {
        Expr::Cast(cast) => uncast(&cast.expr),
        other => other,
    }
}

/// The window node of which `column` is the row number, when nothing but projections and filters
/// lies between.
fn numbered<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<&'a Window> {
    let index = plan.schema().maybe_index_of_column(column)?;
    numbered_by_index(plan, index)
}

fn numbered_by_index(plan: &LogicalPlan, index: usize) -> Option<&Window> {
    match plan {
        LogicalPlan::Projection(node) => match plain(node.expr.get(index)?) {
            Expr::Column(column) => numbered(&node.input, column),
            _ => None,
        },
        LogicalPlan::SubqueryAlias(node) => numbered_by_index(&node.input, index),
        LogicalPlan::Filter(node) => numbered_by_index(&node.input, index),
        LogicalPlan::Window(node) => {
            let passed = node.input.schema().fields().len();
            match index.checked_sub(passed) {
                None => numbered_by_index(&node.input, index),
                Some(index) => {
                    let call = called(node.window_expr.get(index)?).ok()?;
                    (call.fun.name() == "row_number").then_some(node)
                }
            }
        }
        _ => None,
    }
}
