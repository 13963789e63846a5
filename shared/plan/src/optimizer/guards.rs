//! AND and OR whose right side can fail, written so that it is evaluated only where the left side
//! does not decide.
//!
//! The engine evaluates `a AND b` for all rows of a batch, unless `a` is false for most of them. So
//! what can fail is put into CASE, whose parts are evaluated only for the rows that reach them:
//!
//! ```text
//! a condition, where null is as good as false:   a value:
//! a AND b   CASE WHEN a THEN b ELSE FALSE END    CASE WHEN NOT a THEN FALSE ELSE a AND b END
//! a OR b    CASE WHEN a THEN TRUE ELSE b END     CASE WHEN a THEN TRUE ELSE a OR b END
//! ```
//!
//! Conditions are what WHERE, HAVING, ON, FILTER and CASE WHEN ask for. In a value, a null left side
//! does not decide: the right side may make it false.
//!
//! # Invariants
//! 1. This runs once, after all other rules: they see AND and OR.
//! 2. The last part of a chain stands where its own rows are; every other part is at most twice in
//!    what it becomes, and what would grow beyond [`PARTS_MAX`] is left as it is. There a failing row
//!    is found by running halves again (`blame`, in `flow`).

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr, Case};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, disjunction, merge_schema};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, lit};

use super::failing::can_fail;

/// Parts of a left side of a value that is written twice, at most.
const PARTS_MAX: usize = 200;

/// The plan with guarded expressions in all its nodes.
pub(crate) fn guarded_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let schema = match (&node, node.inputs().as_slice()) {
            (_, []) => return Ok(Transformed::no(node)),
            (_, inputs) => merge_schema(inputs),
        };
        let is_condition = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
        let names = NamePreserver::new(&node);
        let mut named = |expr: Expr| {
            let name = names.save(&expr);
            let guarded = guarded(expr, &schema, is_condition)?;
            Ok(guarded.update_data(|expr| name.restore(expr)))
        };
        node.map_expressions(|expr| match expr {
            Expr::GroupingSet(_) => expr.map_children(&mut named),
            expr => named(expr),
        })
    })
    .map(|plan| plan.data)
}

/// An expression in which nothing that can fail is evaluated where it was guarded; as a condition, or
/// as a value.
pub(crate) fn guarded(
    expr: Expr,
    schema: &DFSchema,
    is_condition: bool,
) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => {
            let mut parts = Vec::new();
            flatten(expr, op, &mut parts);
            let mut changed = false;
            let mut written = Vec::new();
            for part in parts {
                let part = guarded(part, schema, is_condition)?;
                changed |= part.transformed;
                written.push(part.data);
            }
            let chained = chained(written, op, schema, is_condition)?;
            Ok(Transformed::new_transformed(chained.data, changed || chained.transformed))
        }
        Expr::Case(case) => {
            let asks = case.expr.is_none();
            let mut changed = false;
            let mut one = |expr: Box<Expr>, is_condition: bool| -> Result<Box<Expr>> {
                let written = guarded(*expr, schema, is_condition)?;
                changed |= written.transformed;
                Ok(Box::new(written.data))
            };
            let base = case.expr.map(|expr| one(expr, false)).transpose()?;
            let arms = case.when_then_expr.into_iter();
            let arms = arms
                .map(|(when, then)| Ok((one(when, asks)?, one(then, is_condition)?)))
                .collect::<Result<Vec<_>>>()?;
            let otherwise = case.else_expr.map(|expr| one(expr, is_condition)).transpose()?;
            let case = Expr::Case(Case::new(base, arms, otherwise));
            Ok(Transformed::new_transformed(case, changed))
        }
        Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
            let changed = call(&mut params.args, &mut params.filter, schema)?;
            let call = Expr::AggregateFunction(AggregateFunction { func, params });
            Ok(Transformed::new_transformed(call, changed))
        }
        Expr::WindowFunction(mut window) => {
            let params = &mut window.params;
            let changed = call(&mut params.args, &mut params.filter, schema)?;
            Ok(Transformed::new_transformed(Expr::WindowFunction(window), changed))
        }
        Expr::IsTrue(_) | Expr::IsNotTrue(_) => {
            expr.map_children(|part| guarded(part, schema, true))
        }
        Expr::Alias(_) => expr.map_children(|part| guarded(part, schema, is_condition)),
        other => other.map_children(|part| guarded(part, schema, false)),
    }
}

/// Guards the arguments of an aggregate, also by its FILTER, and that; whether something has changed.
fn call(args: &mut Vec<Expr>, filter: &mut Option<Box<Expr>>, schema: &DFSchema) -> Result<bool> {
    let mut changed = false;
    if let Some(condition) = filter.take() {
        let written = guarded(*condition, schema, true)?;
        changed |= written.transformed;
        *filter = Some(Box::new(written.data));
    }
    for arg in args {
        let written = guarded(std::mem::take(arg), schema, false)?;
        changed |= written.transformed;
        *arg = written.data;
        if let Some(condition) = filter.as_deref()
            && can_fail(arg, schema)
        {
            let arms = vec![(Box::new(condition.clone()), Box::new(std::mem::take(arg)))];
            *arg = Expr::Case(Case::new(None, arms, None));
            changed = true;
        }
    }
    Ok(changed)
}

/// The parts of a chain of one operator, in their order.
fn flatten(expr: Expr, op: Operator, parts: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: own, right }) if own == op => {
            flatten(*left, op, parts);
            flatten(*right, op, parts);
        }
        other => parts.push(other),
    }
}

/// The chain of parts that are written already.
fn chained(
    parts: Vec<Expr>,
    op: Operator,
    schema: &DFSchema,
    is_condition: bool,
) -> Result<Transformed<Expr>> {
    let joined = |parts: Vec<Expr>| match op {
        Operator::And => conjunction(parts),
        _ => disjunction(parts),
    };
    // Parts that cannot fail are evaluated together; each that can, after what stands before it.
    let mut steps: Vec<Vec<Expr>> = vec![Vec::new()];
    for part in parts {
        let fails = can_fail(&part, schema);
        match steps.last_mut() {
            Some(last) if !fails || last.is_empty() => last.push(part),
            _ => steps.push(vec![part]),
        }
    }
    let steps: Vec<Expr> = steps.into_iter().filter_map(joined).collect();
    let is_written = steps.len() > 1 && (is_condition || count(&steps) <= PARTS_MAX);
    if !is_written {
        return match joined(steps) {
            Some(expr) => Ok(Transformed::no(expr)),
            None => datafusion::common::internal_err!("a chain of conditions is empty"),
        };
    }
    let decides = |step: &Expr| match op {
        Operator::And => (Expr::Not(Box::new(step.clone())), lit(false)),
        _ => (step.clone(), lit(true)),
    };
    let boxed = |(when, then): (Expr, Expr)| (Box::new(when), Box::new(then));
    let case = |arms, rest: Expr| Expr::Case(Case::new(None, arms, Some(Box::new(rest))));
    if !is_condition {
        let arms = steps.iter().map(decides).map(boxed).collect();
        return match joined(steps) {
            Some(all) => Ok(Transformed::yes(case(arms, all))),
            None => datafusion::common::internal_err!("a chain of conditions is empty"),
        };
    }
    let mut steps = steps.into_iter().rev();
    let last = steps.next().unwrap_or_else(|| lit(true));
    let written = steps.fold(last, |rest, step| match op {
        Operator::And => case(vec![boxed((step, rest))], lit(false)),
        _ => case(vec![boxed((step, lit(true)))], rest),
    });
    Ok(Transformed::yes(written))
}

fn count(exprs: &[Expr]) -> usize {
    let mut count = 0;
    for expr in exprs {
        let counted = expr.apply(|_| {
            count += 1;
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(counted.is_ok());
    }
    count
}
