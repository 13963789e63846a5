//! Constants that can never work are refused when the query is planned, and not record by record:
//! `CAST('abc' AS INT)`, `1 / 0`, `date_trunc('fortnight', ts)`, `v ~ '(a'`.
//!
//! # Invariants
//! 1. Every expression over literals alone is evaluated, innermost first, also in a branch that is never
//!    taken: what cannot work there is a mistake all the same.
//! 2. A call that reads a unit, a zone, a format or a pattern is tried on one row of ordinary values, so
//!    that what fails then fails on every row. Other calls are not tried: `split_part(x, ',', n)` fails
//!    on some rows only.
//!
//! Not here: what constants are in the plan that runs (the optimizer).

mod tried;

use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use crate::engine;
use crate::error::{Refusal, shown};
use crate::functions::{AS_OF, AS_OF_TIME};

/// Code of what can never work.
const CONSTANT: &str = "plan::constant";

/// Refuses an analyzed plan in which a constant can never work. `sql` is the query's text.
pub(crate) fn check(plan: &LogicalPlan, sql: &str) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            check_expr(expr, node, sql)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(())
}

fn check_expr(expr: &Expr, node: &LogicalPlan, sql: &str) -> Result<()> {
    // The schema that the expression is over.
    let mut schema = DFSchema::empty();
    for input in node.inputs() {
        schema.merge(input.schema());
    }
    expr.clone().transform_up(|part| {
        if is_constant(&part) {
            let value = value(&part).map_err(|error| refused(&part, error, sql))?;
            return Ok(Transformed::yes(Expr::Literal(value, None)));
        }
        tried::check(&part, &schema, sql)?;
        Ok(Transformed::no(part))
    })?;
    Ok(())
}

/// An expression with the values of its constant parts. A part that cannot work stays as it is.
pub(crate) fn folded(expr: Expr) -> Expr {
    let folded = expr.clone().transform_up(|part| match is_constant(&part) {
        true => Ok(value(&part)
            .map_or(Transformed::no(part), |value| Transformed::yes(Expr::Literal(value, None)))),
        false => Ok(Transformed::no(part)),
    });
    folded.map_or(expr, |folded| folded.data)
}

/// Whether an expression is a computation over literals alone: its constant parts are literals already.
fn is_constant(expr: &Expr) -> bool {
    let computes = match expr {
        Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::InList(_) => true,
        Expr::ScalarFunction(call) => {
            call.func.signature().volatility == Volatility::Immutable
                && ![AS_OF, AS_OF_TIME].contains(&call.func.name())
        }
        _ => false,
    };
    let literals = |expr: &Expr| {
        let mut all = true;
        let visited = expr.apply_children(|child| {
            all &= matches!(child, Expr::Literal(..));
            Ok(TreeNodeRecursion::Continue)
        });
        all && visited.is_ok()
    };
    computes && literals(expr)
}

/// What an expression over no column gives.
fn value(expr: &Expr) -> Result<ScalarValue> {
    let physical = engine::physical_expr(expr, &DFSchema::empty())?;
    let row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &row)?;
    ScalarValue::try_from_array(&physical.evaluate(&row)?.into_array(1)?, 0)
}

fn refused(part: &Expr, error: DataFusionError, sql: &str) -> DataFusionError {
    let engine = Refusal::from_engine(error, sql);
    let help = match part {
        Expr::Cast(cast) => format!(
            "write a value that can be read as {}, or TRY_CAST, which gives NULL",
            shown::data_type(cast.field.data_type())
        ),
        _ => "correct the constant; also in a branch of CASE that is never taken".to_string(),
    };
    let at = literals(part).into_iter().find_map(|text| place(&text, sql));
    let message = format!("{} can never work: {}", shown::expr(part), engine.message);
    Refusal::new(CONSTANT, message).help(help).at(at).into_engine()
}

/// The texts among an expression's literals.
fn literals(expr: &Expr) -> Vec<String> {
    let mut texts = Vec::new();
    let visited = expr.apply(|part| {
        if let Expr::Literal(value, _) = part
            && let Some(Some(text)) = value.try_as_str()
        {
            texts.push(text.to_string());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok());
    texts
}

/// Where a literal stands in the SQL, when it stands there once.
fn place(text: &str, sql: &str) -> Option<std::ops::Range<usize>> {
    let quoted = format!("'{}'", text.replace('\'', "''"));
    let mut found = sql.match_indices(&quoted);
    match (found.next(), found.next()) {
        (Some((start, _)), None) => Some(start..start + quoted.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
