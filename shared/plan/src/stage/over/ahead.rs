//! LEAD … IGNORE NULLS, wherever it stands.
//!
//! Over rows of a stream it may wait for ever. Over the rows of a closed window, or of a table, it has a
//! value, but the engine's is wrong when nulls stand between (apache/datafusion#25471), so it is refused
//! there too.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::Refusal;
use crate::lineage::plain;

/// Refuses calls that look ahead for rows that are not null.
pub(crate) fn check_looks_ahead(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Window(window) = node else { return Ok(TreeNodeRecursion::Continue) };
        for expr in &window.window_expr {
            if let Expr::WindowFunction(call) = plain(expr)
                && looks_ahead(call)
            {
                return Err(refuse_lead_ignoring_nulls().into_engine());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn looks_ahead(call: &WindowFunction) -> bool {
    let ignores = call.params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let offset = match call.params.args.get(1) {
        None => Some(1),
        Some(Expr::Literal(value, _)) => match value.cast_to(&arrow::datatypes::DataType::Int64) {
            Ok(ScalarValue::Int64(offset)) => offset,
            _ => None,
        },
        Some(_) => None,
    };
    ignores
        && match call.fun.name().to_lowercase().as_str() {
            "lead" => offset.is_none_or(|offset| offset > 0),
            "lag" => offset.is_none_or(|offset| offset < 0),
            _ => false,
        }
}

/// The refusal of LEAD … IGNORE NULLS.
pub(super) fn refuse_lead_ignoring_nulls() -> Refusal {
    Refusal::new(
        "plan::over::ignore_nulls",
        "LEAD … IGNORE NULLS may wait for ever: nobody knows how many rows are null",
    )
    .help("leave the rows out that are null, WHERE … IS NOT NULL, or use LAG")
}
