//! What is evaluated when a query is planned: expressions over literals alone, and what functions
//! write themselves out as.
//!
//! This is all that runs of the engine's `SimplifyExpressions`. That is one rule of about a hundred
//! rewrites which cannot be switched off one by one, and some change what a query means: IN lists of
//! a null (apache/datafusion#24258), casts in comparisons (#14303, #23095, #24702), a regular
//! expression that matches everything (#24379).
//!
//! # Invariants
//! 1. An expression that fails to evaluate is left as it is; `constants` of the planner refuses it
//!    then, and says what to write.
//! 2. An expression has the same type before and after, but where its type depends on a literal that
//!    was cast before it was known (the digits of ROUND): then it is the type of its values.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    DFSchema, DFSchemaRef, DataFusionError, Result, ScalarValue, internal_err,
};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, Volatility};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::create_physical_expr;

use super::lossless;

/// Functions whose `simplify` rewrites by rules of algebra what runs as it is.
const RUN_AS_THEY_ARE: [&str; 5] = ["array_has", "concat", "concat_ws", "log", "power"];

/// Evaluates what literals alone decide, before a plan is cut.
#[derive(Debug)]
pub(crate) struct Constants;

impl AnalyzerRule for Constants {
    fn name(&self) -> &str {
        "constants"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let evaluate = |expr: Expr, _: &DFSchemaRef| evaluated(expr);
        plan.transform_up_with_subqueries(|node| rewritten(node, evaluate)?.map_data(typed))
            .map(|plan| plan.data)
    }
}

/// A node with the types that its expressions have now.
fn typed(node: LogicalPlan) -> Result<LogicalPlan> {
    match &node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Join(_) => node.recompute_schema(),
        _ => Ok(node),
    }
}

/// Evaluates what literals alone decide, has functions write themselves out, and takes lossless casts
/// out of comparisons: in the place of the engine's `SimplifyExpressions`.
#[derive(Debug)]
pub(crate) struct WrittenOut;

impl OptimizerRule for WrittenOut {
    fn name(&self) -> &str {
        "written_out"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        rewritten(plan, written_out)
    }
}

/// A node with other expressions under the same names.
fn rewritten(
    plan: LogicalPlan,
    mut rewrite: impl FnMut(Expr, &DFSchemaRef) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let schema = match (&plan, plan.inputs().as_slice()) {
        (LogicalPlan::TableScan(scan), _) => Arc::new(DFSchema::try_from_qualified_schema(
            scan.table_name.clone(),
            &scan.source.schema(),
        )?),
        (_, []) => Arc::new(DFSchema::empty()),
        (_, inputs) => Arc::new(merge_schema(inputs)),
    };
    let names = NamePreserver::new(&plan);
    let mut named = |expr: Expr| {
        let name = names.save(&expr);
        Ok(rewrite(expr, &schema)?.update_data(|expr| name.restore(expr)))
    };
    plan.map_expressions(|expr| match expr {
        // The expressions of grouping sets have no names of their own.
        Expr::GroupingSet(_) => expr.map_children(&mut named),
        expr => named(expr),
    })
}

/// An expression as it is run.
pub(crate) fn written_out(expr: Expr, schema: &DFSchemaRef) -> Result<Transformed<Expr>> {
    let context = SimplifyContext::builder().with_schema(Arc::clone(schema)).build();
    expr.transform_up(|part| {
        evaluate(part)?
            .transform_data(|part| called(part, &context))?
            .transform_data(|part| lossless::without_cast(part, schema))
    })
}

/// An expression with its parts over literals alone evaluated.
fn evaluated(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(evaluate)
}

/// What a function writes itself out as, with what is in that written out too.
fn called(expr: Expr, context: &SimplifyContext) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
    if RUN_AS_THEY_ARE.contains(&call.func.name()) {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    }
    match call.func.simplify(call.args, context)? {
        ExprSimplifyResult::Original(args) => {
            call.args = args;
            Ok(Transformed::no(Expr::ScalarFunction(call)))
        }
        ExprSimplifyResult::Simplified(expr) => {
            let again = expr.transform_up(|part| {
                evaluate(part)?.transform_data(|part| match part {
                    Expr::ScalarFunction(_) => called(part, context),
                    part => Ok(Transformed::no(part)),
                })
            })?;
            Ok(Transformed::yes(again.data))
        }
    }
}

/// The literal that an expression is whose parts are literals.
fn evaluate(expr: Expr) -> Result<Transformed<Expr>> {
    if !is_constant(&expr) {
        return Ok(Transformed::no(expr));
    }
    match value(&expr) {
        Ok(value) => Ok(Transformed::yes(Expr::Literal(value, None))),
        Err(_) => Ok(Transformed::no(expr)),
    }
}

/// Whether an expression is no literal, and its direct parts are all.
fn is_constant(expr: &Expr) -> bool {
    let kind = match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Volatile,
        // A struct or list has parts that a literal cannot hold in every engine's kernel.
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => {
            !field.data_type().is_nested()
        }
        Expr::BinaryExpr(_)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Case(_)
        | Expr::InList(_) => true,
        _ => false,
    };
    let mut all = true;
    let applied = expr.apply_children(|part| {
        all &= matches!(part, Expr::Literal(..));
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    kind && all && applied.is_ok()
}

/// The value of an expression over literals.
pub(crate) fn value(expr: &Expr) -> Result<ScalarValue> {
    let props = ExecutionProps::new();
    let planning = PhysicalPlanningContext::default();
    let physical = create_physical_expr(expr, &DFSchema::empty(), &props, &planning)?;
    let schema = Arc::new(Schema::empty());
    let planned = physical.data_type(&schema)?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(schema, Vec::<ArrayRef>::new(), &options)?;
    let value = match physical.evaluate(&row)? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(values) if values.len() == 1 => {
            ScalarValue::try_from_array(&values, 0)?
        }
        ColumnarValue::Array(values) => {
            return internal_err!("a constant has {} values", values.len());
        }
    };
    match value.data_type() == planned || planned == DataType::Null {
        true => Ok(value),
        false => Err(DataFusionError::Internal(format!(
            "a constant is planned as {planned} and is a value of type {}",
            value.data_type()
        ))),
    }
}
