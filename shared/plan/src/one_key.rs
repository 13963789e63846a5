//! What the engine compares by bits and not as `=` does: floats, by [`one_zero`].
//!
//! Keys of GROUP BY, DISTINCT, PARTITION BY, ORDER BY and joins, values of IN and of `CASE x WHEN`, and
//! what is computed and compared.
//! It is done to plans last, when nothing reads them any more but the physical planner: what stands
//! before must see the query's own columns.
//!
//! # Invariants
//! 1. Plans without floats in these places are left as they are.
//! 2. Columns keep their names and types.
//!
//! Not here: keys that stages compare (`stage`).

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, Alias, Between, Case, GroupingSet, InList, ScalarFunction, Sort,
    WindowFunction,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Window, lit, when,
};

use crate::functions::one_zero::one_zero;
use crate::lineage::{origin, plain};
use crate::meaning::compares;

/// The plan, whose keys are compared as `=` compares them.
pub(crate) fn keyed(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(of_node)?.data)
}

/// The expression, whose comparisons, IN and CASE hold every NaN for the same.
///
/// `is_read` says of which columns it is known that they hold values as they were read.
pub(crate) fn compared(
    expr: Expr,
    schema: &DFSchema,
    is_read: &dyn Fn(&Column) -> bool,
) -> Result<Expr> {
    let comparable = |expr: Expr, schema: &DFSchema| comparable(expr, schema, is_read);
    let done = expr.transform_up(|part| match part {
        Expr::InList(list) => in_list(list, schema),
        Expr::Case(case) if case.expr.is_some() => case_of(case, schema),
        Expr::ScalarFunction(call) if call.func.name() == "nullif" => null_if(call, schema),
        Expr::ScalarFunction(mut call) if ["greatest", "least"].contains(&call.func.name()) => {
            let args = call.args.into_iter().map(|arg| comparable(arg, schema));
            call.args = args.collect::<Result<_>>()?;
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        Expr::Between(between) => {
            let side =
                |side: Box<Expr>| Ok::<_, DataFusionError>(Box::new(comparable(*side, schema)?));
            let Between { expr, negated, low, high } = between;
            let (expr, low, high) = (side(expr)?, side(low)?, side(high)?);
            Ok(Transformed::yes(Expr::Between(Between::new(expr, negated, low, high))))
        }
        Expr::BinaryExpr(comparison) if compares(comparison.op) => {
            let left = comparable(*comparison.left, schema)?;
            let right = comparable(*comparison.right, schema)?;
            let comparison = BinaryExpr::new(Box::new(left), comparison.op, Box::new(right));
            Ok(Transformed::yes(Expr::BinaryExpr(comparison)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(done?.data)
}

/// An operand of a comparison. The engine knows that -0.0 is 0.0, but not that 0.0 / 0.0, whose sign
/// is the processor's, is NaN as any other; what is read from a column has no sign.
fn comparable(expr: Expr, schema: &DFSchema, is_read: &dyn Fn(&Column) -> bool) -> Result<Expr> {
    match is_as_read(&expr, is_read) || expr.get_type(schema).is_err() {
        true => Ok(expr),
        false => one_zero(expr, schema),
    }
}

/// Whether a value was read or written, perhaps cast, and was not computed.
fn is_as_read(expr: &Expr, is_read: &dyn Fn(&Column) -> bool) -> bool {
    match plain(expr) {
        Expr::Column(column) => is_read(column),
        Expr::Literal(_, _) => true,
        Expr::Cast(cast) => is_as_read(&cast.expr, is_read),
        _ => false,
    }
}

fn is_float(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    Ok(expr.get_type(schema)?.is_floating())
}

fn in_list(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !is_float(&list.expr, schema)? {
        return Ok(Transformed::no(Expr::InList(list)));
    }
    let value = one_zero(*list.expr, schema)?;
    let among = list.list.into_iter().map(|it| literal(it, schema)).collect::<Result<_>>()?;
    Ok(Transformed::yes(Expr::InList(InList::new(Box::new(value), among, list.negated))))
}

fn case_of(case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Some(base) = case.expr.as_deref().filter(|base| is_float(base, schema).unwrap_or(false))
    else {
        return Ok(Transformed::no(Expr::Case(case)));
    };
    let base = one_zero(base.clone(), schema)?;
    let branches = case
        .when_then_expr
        .into_iter()
        .map(|(when, then)| Ok((Box::new(literal(*when, schema)?), then)))
        .collect::<Result<_>>()?;
    let case = Case::new(Some(Box::new(base)), branches, case.else_expr);
    Ok(Transformed::yes(Expr::Case(case)))
}

/// NULLIF of floats as CASE: the engine's compares by bits, so that -0.0 is not 0.0.
fn null_if(call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let [value, other] = call.args.as_slice() else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    if !is_float(value, schema)? && !is_float(other, schema)? {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    }
    let data_type = call.func.return_type(&[value.get_type(schema)?, other.get_type(schema)?])?;
    let equal = one_zero(value.clone(), schema)?.eq(one_zero(other.clone(), schema)?);
    let case = when(equal, lit(ScalarValue::try_from(&data_type)?)).otherwise(value.clone())?;
    Ok(Transformed::yes(case))
}

/// A literal stays one: the engine looks values up among literals.
fn literal(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    use datafusion::common::ScalarValue::{Float32, Float64};
    Ok(match expr {
        Expr::Literal(Float64(Some(it)), metadata) => {
            let it = if it.is_nan() { f64::NAN } else { it + 0.0 };
            Expr::Literal(Float64(Some(it)), metadata)
        }
        Expr::Literal(Float32(Some(it)), metadata) => {
            let it = if it.is_nan() { f32::NAN } else { it + 0.0 };
            Expr::Literal(Float32(Some(it)), metadata)
        }
        other if matches!(other.get_type(schema)?, DataType::Null) => other,
        other => one_zero(other, schema)?,
    })
}

fn of_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let plan = match plan {
        LogicalPlan::TableScan(_) | LogicalPlan::Values(_) => return Ok(Transformed::no(plan)),
        plan => {
            let names = NamePreserver::new(&plan);
            let inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
            // Unchanged columns of streams and tables.
            let is_read = |column: &Column| {
                let of_leaf = |input: &LogicalPlan| {
                    origin(input, column)
                        .is_some_and(|(leaf, _)| matches!(leaf, LogicalPlan::TableScan(_)))
                };
                inputs.iter().any(of_leaf)
            };
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(Transformed::yes(name.restore(compared(expr, &schema, &is_read)?)))
            })?
        }
    };
    Ok(Transformed::yes(match plan.data {
        LogicalPlan::Aggregate(aggregate) => aggregated(aggregate, &schema)?,
        LogicalPlan::Window(window) => {
            let calls = window.window_expr.into_iter().map(|expr| call(expr, &schema));
            let calls = calls.collect::<Result<Vec<_>>>()?;
            LogicalPlan::Window(Window::try_new(calls, window.input)?)
        }
        LogicalPlan::Join(mut join) => {
            for (left, right) in &mut join.on {
                *left = one_zero(std::mem::take(left), join.left.schema())?;
                *right = one_zero(std::mem::take(right), join.right.schema())?;
            }
            LogicalPlan::Join(join)
        }
        LogicalPlan::Sort(mut sort) => {
            sort.expr = sorts(sort.expr, &schema)?;
            LogicalPlan::Sort(sort)
        }
        other => other,
    }))
}

fn sorts(keys: Vec<Sort>, schema: &DFSchema) -> Result<Vec<Sort>> {
    keys.into_iter().map(|key| Ok(Sort { expr: one_zero(key.expr, schema)?, ..key })).collect()
}

fn all(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    exprs.into_iter().map(|expr| one_zero(expr, schema)).collect()
}

/// What `make` makes of an expression, under its name.
fn same_name(expr: Expr, make: impl FnOnce(Expr) -> Result<Expr>) -> Result<Expr> {
    let (relation, name) = expr.qualified_name();
    let made = make(expr)?;
    Ok(match made.qualified_name() == (relation.clone(), name.clone()) {
        true => made,
        false => made.alias_qualified(relation, name),
    })
}

fn aggregated(aggregate: Aggregate, schema: &DFSchema) -> Result<LogicalPlan> {
    let key = |expr: Expr| same_name(expr, |expr| one_zero(expr, schema));
    let keys = |exprs: Vec<Expr>| exprs.into_iter().map(key).collect::<Result<Vec<_>>>();
    let groups = aggregate.group_expr.into_iter().map(|expr| {
        Ok(match expr {
            Expr::GroupingSet(GroupingSet::Rollup(exprs)) => {
                Expr::GroupingSet(GroupingSet::Rollup(keys(exprs)?))
            }
            Expr::GroupingSet(GroupingSet::Cube(exprs)) => {
                Expr::GroupingSet(GroupingSet::Cube(keys(exprs)?))
            }
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
                let sets = sets.into_iter().map(keys).collect::<Result<_>>()?;
                Expr::GroupingSet(GroupingSet::GroupingSets(sets))
            }
            other => key(other)?,
        })
    });
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let calls = aggregate.aggr_expr.into_iter().map(|expr| call(expr, schema));
    let calls = calls.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, groups, calls)?))
}

/// A call of an aggregate, or of a function with OVER.
fn call(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    same_name(expr, |expr| {
        Ok(match expr {
            Expr::Alias(alias) => {
                let inner = call(*alias.expr, schema)?;
                Expr::Alias(Alias { expr: Box::new(inner), ..alias })
            }
            Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
                if params.distinct {
                    params.args = all(params.args, schema)?;
                }
                params.order_by = sorts(params.order_by, schema)?;
                Expr::AggregateFunction(AggregateFunction { func, params })
            }
            Expr::WindowFunction(call) => {
                let WindowFunction { fun, mut params } = *call;
                if params.distinct {
                    params.args = all(params.args, schema)?;
                }
                params.partition_by = all(params.partition_by, schema)?;
                params.order_by = sorts(params.order_by, schema)?;
                Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
            }
            other => other,
        })
    })
}
