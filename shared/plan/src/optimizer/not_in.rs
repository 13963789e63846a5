//! IN and NOT IN of a subquery with its three values.
//!
//! The engine has a join for NOT IN where it is a condition of its own and the subquery asks for
//! nothing of the row. Elsewhere its join knows only found and not found, so that a null in the subquery
//! counts as not found (apache/datafusion#8241, #21309, #25336, #25347): below OR, below NOT, and in a
//! subquery that names the row's columns. There it is written as EXISTS, by what the place asks for:
//!
//! ```text
//! is it true?   x IN S      as it is
//!               x NOT IN S  NOT EXISTS (SELECT … FROM S WHERE x = y OR x IS NULL OR y IS NULL)
//! is it false?  x IN S      EXISTS (SELECT … FROM S WHERE x = y OR x IS NULL OR y IS NULL)
//!               x NOT IN S  NOT EXISTS (SELECT … FROM S WHERE x = y)
//! ```
//!
//! A place that asks for more, such as IS NULL, is refused. So is one over a stream, where a
//! null may still come.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Operator, Subquery};

use crate::lineage::any_part;
use crate::rows;
use crate::stage::join::{refuse_mark, refuse_not_in};

/// The plan with IN and NOT IN that the engine's joins can run.
pub(crate) fn exact(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) if any_part(&filter.predicate, is_in) => {
            let schema = Arc::clone(filter.input.schema());
            let parts = split_conjunction_owned(filter.predicate).into_iter();
            let parts = parts.map(|part| own(part, &schema)).collect::<Result<Vec<_>>>()?;
            let Some(predicate) = conjunction(parts) else {
                return datafusion::common::internal_err!("a filter has lost its condition");
            };
            let filter = Filter::try_new(predicate, filter.input)?;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        other => Ok(Transformed::no(other)),
    })
    .map(|plan| plan.data)
}

/// A condition of its own.
fn own(part: Expr, schema: &DFSchema) -> Result<Expr> {
    match part {
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                own(Expr::InSubquery(InSubquery { expr, subquery, negated: !negated }), schema)
            }
            inner => asked(Expr::Not(Box::new(inner)), schema, true),
        },
        // A constant is no key of a join (apache/datafusion#25340).
        Expr::InSubquery(it)
            if !it.negated
                || it.subquery.outer_ref_columns.is_empty() && it.expr.any_column_refs()
                || rows::reads_stream(&it.subquery.subquery) =>
        {
            Ok(Expr::InSubquery(it))
        }
        part => asked(part, schema, true),
    }
}

/// An expression in whose place only is asked whether it is true, or whether it is false.
fn asked(expr: Expr, schema: &DFSchema, whether: bool) -> Result<Expr> {
    match expr {
        expr if !any_part(&expr, is_in) => Ok(expr),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let left = Box::new(asked(*left, schema, whether)?);
            let right = Box::new(asked(*right, schema, whether)?);
            Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Not(inner) => Ok(Expr::Not(Box::new(asked(*inner, schema, !whether)?))),
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(asked(*alias.expr, schema, whether)?);
            Ok(Expr::Alias(alias))
        }
        Expr::InSubquery(it) => written(it, schema, whether),
        _ => Err(refuse_mark().into_engine()),
    }
}

fn written(it: InSubquery, schema: &DFSchema, whether: bool) -> Result<Expr> {
    let InSubquery { expr, subquery, negated } = it;
    let (qualifier, field) = subquery.subquery.schema().qualified_field(0);
    let nullable = field.is_nullable() || expr.nullable(schema)?;
    if !negated && whether || !nullable {
        return Ok(Expr::InSubquery(InSubquery { expr, subquery, negated }));
    }
    if rows::reads_stream(&subquery.subquery) {
        return Err(refuse_not_in().into_engine());
    }
    if expr.contains_outer() || any_part(&expr, |part| rows::subquery_of(part).is_some()) {
        return Err(refuse_mark().into_engine());
    }
    let x = seen_from_within(*expr, schema)?;
    let y = Expr::from((qualifier, field));
    let equal = x.clone().eq(y.clone());
    let condition = match negated == whether {
        true => equal.or(x.is_null()).or(y.is_null()),
        false => equal,
    };
    let outer_ref_columns = subquery.outer_ref_columns.into_iter();
    let named = condition.clone();
    let mut outer: Vec<Expr> = outer_ref_columns.collect();
    named.apply(|part| {
        if matches!(part, Expr::OuterReferenceColumn(..)) && !outer.contains(part) {
            outer.push(part.clone());
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    let plan = LogicalPlan::Filter(Filter::try_new(condition, subquery.subquery)?);
    let subquery =
        Subquery { subquery: Arc::new(plan), outer_ref_columns: outer, spans: subquery.spans };
    Ok(Expr::Exists(Exists { subquery, negated }))
}

/// An expression over a row's columns as a subquery names them.
fn seen_from_within(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform(|part| match part {
        Expr::Column(column) => {
            let field = schema.field_from_column(&column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column)))
        }
        part => Ok(Transformed::no(part)),
    })
    .map(|expr| expr.data)
}

fn is_in(part: &Expr) -> bool {
    matches!(part, Expr::InSubquery(_))
}
