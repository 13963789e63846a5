//! What expressions mean here and mean otherwise in the engine: rewritten in the analyzer, before the
//! engine makes operands' types equal.
//!
//! - A literal with a point is an exact decimal beside decimals (`literals`).
//! - `/` of decimals is rounded ([`decimal_division`]).
//! - Times are compared and computed in microseconds, which hold the years 0001 to 9999 and more, and
//!   never in nanoseconds, which end in 2262 (`times`).
//! - ORDER BY a duration of OVER orders by its number.
//!
//! # Invariants
//! 1. A column keeps its name, whatever becomes of its expression.
//! 2. The rules applied again change no type: the engine analyzes each part of a plan once more.
//!
//! Not here: functions that the engine has another value for (`functions`), keys (`one_key`).

mod literals;
mod times;

pub(crate) use literals::{POINT, point};

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Case, InList, ScalarFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, Union, Values, WindowFrameBound,
};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::functions::decimal_division::{decimal_division, divides_decimals};

/// An expression over columns of `schema` that no plan has.
pub(crate) fn expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let expr = expr.transform_up(|part| of_part(part, schema))?.data;
    literals::alone(expr)
}

/// Gives a plan's expressions what they mean here; runs before operands get their types.
#[derive(Debug)]
pub(crate) struct Meaning;

impl AnalyzerRule for Meaning {
    fn name(&self) -> &str {
        "meaning"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(of_node)?.data)
    }
}

fn of_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(Transformed::yes(name.restore(expression(expr, &schema)?)))
    })?;
    let plan = match plan.data {
        LogicalPlan::Join(mut join) => {
            for (left, right) in &mut join.on {
                Operands::new(Beside::Compared, vec![left, right]).adjust(&schema)?;
            }
            LogicalPlan::Join(join)
        }
        LogicalPlan::Values(values) => of_values(values)?,
        LogicalPlan::Union(union) => of_union(union)?,
        other => other,
    };
    Ok(Transformed::yes(plan.recompute_schema()?))
}

fn is_nanoseconds(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _))
}

/// The same rows, under their columns' names, with the types that they now have.
fn of_values(values: Values) -> Result<LogicalPlan> {
    let schema = DFSchema::empty();
    let same = values.values.iter().all(|row| {
        row.iter().zip(values.schema.fields()).all(|(value, field)| {
            value.get_type(&schema).is_ok_and(|it| it.is_null() || it == *field.data_type())
        })
    });
    if same {
        return Ok(LogicalPlan::Values(values));
    }
    match LogicalPlanBuilder::values(values.values)?.build()? {
        LogicalPlan::Values(made) => {
            let fields = values.schema.iter().zip(made.schema.fields());
            let fields = fields.map(|((qualifier, named), typed)| {
                (qualifier.cloned(), Arc::new(typed.as_ref().clone().with_name(named.name())))
            });
            let schema = DFSchema::new_with_metadata(fields.collect(), Default::default())?;
            Ok(LogicalPlan::Values(Values { schema: Arc::new(schema), values: made.values }))
        }
        other => Ok(other),
    }
}

/// How expressions stand beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Operands of `+ - * / %`.
    Computed,
    /// Operands of a comparison.
    Compared,
    /// One of them is the value: branches of CASE, arguments of COALESCE.
    Chosen,
}

/// Expressions that the engine makes the types of equal.
struct Operands<'a> {
    beside: Beside,
    exprs: Vec<&'a mut Expr>,
}

impl<'a> Operands<'a> {
    fn new(beside: Beside, exprs: Vec<&'a mut Expr>) -> Operands<'a> {
        Operands { beside, exprs }
    }

    fn types(&self, schema: &DFSchema) -> Option<Vec<DataType>> {
        self.exprs.iter().map(|expr| expr.get_type(schema).ok()).collect()
    }

    /// Where a type is not known the engine refuses the expression, and says why.
    fn adjust(mut self, schema: &DFSchema) -> Result<()> {
        let Some(types) = self.types(schema) else { return Ok(()) };
        literals::adjust(&mut self, &types)?;
        let Some(types) = self.types(schema) else { return Ok(()) };
        times::adjust(&mut self, &types);
        if self.beside != Beside::Computed {
            self.doubles(&types);
        }
        Ok(())
    }

    /// Beside a float a decimal is a double. The engine makes a decimal of 15 digits after the point of
    /// both, in which a large double fails and a small one is cut.
    fn doubles(&mut self, types: &[DataType]) {
        if !types.iter().any(DataType::is_floating) {
            return;
        }
        for (expr, data_type) in self.exprs.iter_mut().zip(types) {
            if data_type.is_decimal() {
                let decimal = Box::new(std::mem::take(*expr));
                **expr = Expr::Cast(Cast::new(decimal, DataType::Float64));
            }
        }
    }
}

/// A UNION with the types that its inputs have now: doubles where one of them has floats and another
/// decimals.
fn of_union(union: Union) -> Result<LogicalPlan> {
    let types = |column: usize| {
        union.inputs.iter().map(move |input| input.schema().field(column).data_type())
    };
    let columns = union.schema.fields().len();
    let is_mixed = |column: usize| {
        types(column).any(|it| it.is_floating()) && types(column).any(|it| it.is_decimal())
    };
    let same_width = union.inputs.iter().all(|it| it.schema().fields().len() == columns);
    if !same_width || !(0..columns).any(is_mixed) {
        // The types of its times may be those that they had before its inputs had theirs.
        let is_typed = !union.schema.fields().iter().any(|it| is_nanoseconds(it));
        return Ok(LogicalPlan::Union(match is_typed {
            true => union,
            false => Union::try_new_with_loose_types(union.inputs)?,
        }));
    }
    let mut inputs = Vec::new();
    for input in &union.inputs {
        let exprs = input.schema().iter().enumerate().map(|(index, (qualifier, field))| {
            let column = Expr::from((qualifier, field));
            match is_mixed(index) && field.data_type().is_decimal() {
                true => Expr::Cast(Cast::new(Box::new(column), DataType::Float64))
                    .alias_qualified(qualifier.cloned(), field.name()),
                false => column,
            }
        });
        let projection = Projection::try_new(exprs.collect(), Arc::clone(input))?;
        inputs.push(Arc::new(LogicalPlan::Projection(projection)));
    }
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

/// A part of an expression whose own parts are done.
fn of_part(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let op = *op;
            if let Some(beside) = beside(op) {
                Operands::new(beside, vec![left, right]).adjust(schema)?;
            }
            if op == Operator::Divide
                && let (Ok(dividend), Ok(divisor)) = (left.get_type(schema), right.get_type(schema))
                && divides_decimals(&dividend, &divisor)
            {
                let divided = decimal_division(left.as_ref().clone(), right.as_ref().clone());
                return Ok(Transformed::yes(divided));
            }
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            Operands::new(Beside::Compared, vec![expr, low, high]).adjust(schema)?;
        }
        Expr::InList(InList { expr, list, .. }) => {
            let operands = std::iter::once(expr.as_mut()).chain(list).collect();
            Operands::new(Beside::Compared, operands).adjust(schema)?;
        }
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (mut compared, mut chosen) = (Vec::new(), Vec::new());
            let has_base = expr.is_some();
            compared.extend(expr.as_deref_mut());
            for (when, then) in when_then_expr {
                if has_base {
                    compared.push(when.as_mut());
                }
                chosen.push(then.as_mut());
            }
            chosen.extend(else_expr.as_deref_mut());
            Operands::new(Beside::Compared, compared).adjust(schema)?;
            Operands::new(Beside::Chosen, chosen).adjust(schema)?;
        }
        Expr::Cast(Cast { expr, field }) => {
            literals::cast(expr, field.data_type())?;
            times::cast(expr, field, schema);
        }
        Expr::TryCast(cast) => {
            literals::cast(&mut cast.expr, cast.field.data_type())?;
            times::cast(&mut cast.expr, &mut cast.field, schema);
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => match func.name() {
            "coalesce" | "nullif" | "greatest" | "least" | "nvl" | "ifnull" => {
                Operands::new(Beside::Chosen, args.iter_mut().collect()).adjust(schema)?;
            }
            "nvl2" => {
                Operands::new(Beside::Chosen, args.iter_mut().skip(1).collect()).adjust(schema)?;
            }
            _ => {
                if let Some(call) = times::call(func.name(), args, schema) {
                    return Ok(Transformed::yes(call));
                }
            }
        },
        Expr::WindowFunction(call) => of_call(call, schema)?,
        _ => {}
    }
    Ok(Transformed::yes(expr))
}

/// Whether an operator compares.
pub(crate) fn compares(op: Operator) -> bool {
    beside(op) == Some(Beside::Compared)
}

fn beside(op: Operator) -> Option<Beside> {
    match op {
        Operator::Plus
        | Operator::Minus
        | Operator::Multiply
        | Operator::Divide
        | Operator::Modulo => Some(Beside::Computed),
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom => Some(Beside::Compared),
        _ => None,
    }
}

/// A call of a function with OVER.
fn of_call(call: &mut WindowFunction, schema: &DFSchema) -> Result<()> {
    if matches!(call.fun.name(), "lag" | "lead")
        && let [value, _, default] = call.params.args.as_mut_slice()
    {
        Operands::new(Beside::Chosen, vec![value, default]).adjust(schema)?;
    }
    // The engine knows no RANGE over a duration, not even the one that is meant where none is written.
    let frame = &call.params.window_frame;
    let is_open = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => {
            distance.is_null()
        }
    };
    if is_open(&frame.start_bound) && is_open(&frame.end_bound) {
        for sort in &mut call.params.order_by {
            if let Ok(DataType::Duration(_)) = sort.expr.get_type(schema) {
                let expr = Box::new(sort.expr.clone());
                sort.expr = Expr::Cast(Cast::new(expr, DataType::Int64));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
