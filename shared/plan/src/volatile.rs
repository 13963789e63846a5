//! Functions that give another value each time they are called, and where none may stand: results must
//! be the same when they are computed again after a crash.
//!
//! `now()` and its kin are the checkpoint's time, which a replay has again: they may stand above the
//! aggregate, where results are computed once an epoch, and nowhere else.
//!
//! Not here: what those functions give (`functions`).

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use crate::error::Refusal;
use crate::functions::TIME_FUNCTIONS;

/// Whether a call gives another value each time.
pub(crate) fn is_volatile(call: &ScalarFunction) -> bool {
    call.func.signature().volatility == Volatility::Volatile
}

/// Why a volatile function is refused.
pub(crate) fn refuse_volatile(name: &str, in_ingest: bool) -> Refusal {
    let is_time = TIME_FUNCTIONS.contains(&name);
    let help = match (is_time, in_ingest) {
        (true, _) => {
            "now() is the checkpoint's time: use it above the aggregate, in the SELECT or HAVING of closed windows; below it use the event time or arrival_time"
        }
        _ => {
            "results must be the same when they are computed again after a crash; use a column of the event instead"
        }
    };
    Refusal::new("plan::volatile", format!("{name}() gives another value each time it is called"))
        .help(help)
}

/// Refuses an expression with a volatile function, `now()` among them.
pub(crate) fn check_expr(expr: &Expr) -> Result<()> {
    check(expr, true, |_| true)
}

/// Refuses a plan with a volatile function, `now()` among them: its results pass through other stages
/// before they are emitted.
pub(crate) fn check_between_stages(plan: &LogicalPlan) -> Result<()> {
    check_plan(plan, check_expr)
}

/// Refuses an upper plan with a volatile function, but for `now()`.
pub(crate) fn check_upper(plan: &LogicalPlan) -> Result<()> {
    check_plan(plan, |expr| check(expr, false, |name| !TIME_FUNCTIONS.contains(&name)))
}

fn check_plan(plan: &LogicalPlan, check: impl Fn(&Expr) -> Result<()>) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.expressions().iter().try_for_each(&check)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check(expr: &Expr, in_ingest: bool, is_refused: impl Fn(&str) -> bool) -> Result<()> {
    expr.apply(|part| match part {
        Expr::ScalarFunction(call) if is_volatile(call) && is_refused(call.func.name()) => {
            Err(refuse_volatile(call.func.name(), in_ingest).into_engine())
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(())
}
