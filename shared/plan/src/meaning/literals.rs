//! Literals with a point: exact decimals beside decimals, doubles elsewhere.
//!
//! `sql::points` has made each of them a call of [`point`], which is none of a user's functions. Such a
//! literal is *open*, and so is CASE or COALESCE whose values are all open: what it is follows from
//! what it stands beside in `+ - * / %`, a comparison, BETWEEN, IN, CASE, COALESCE and the like.
//!
//! - One of the others is a decimal: all that are open are decimals, with the digits that are written.
//! - All are open, and they are computed with or compared: the same.
//! - Otherwise, and alone: doubles. CAST AS DECIMAL of an open one takes its digits as they are.

use std::sync::{Arc, LazyLock};

use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use super::{Beside, Operands};

/// Name of the function whose call a literal with a point is, until it is known what it is.
pub(crate) const POINT: &str = "__point";

/// The function [`POINT`].
pub(crate) fn point() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::from(Point { signature }))
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct Point {
    signature: Signature,
}

impl ScalarUDFImpl for Point {
    fn name(&self) -> &str {
        POINT
    }

    /// As that of the double, so that columns without a name keep theirs.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [Expr::Literal(ScalarValue::Utf8(Some(digits)), _)] => {
                Ok(format!("Float64({})", double(digits)?))
            }
            _ => internal_err!("{POINT} takes digits"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Scalar(ScalarValue::Utf8(Some(digits)))] => {
                Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(double(digits)?))))
            }
            _ => internal_err!("{POINT} takes digits"),
        }
    }
}

fn double(digits: &str) -> Result<f64> {
    match digits.parse() {
        Ok(double) => Ok(double),
        Err(_) => plan_err!("{digits} is no number"),
    }
}

/// The digits of a literal with a point.
fn digits(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == POINT => match call.args.as_slice() {
            [Expr::Literal(ScalarValue::Utf8(Some(digits)), _)] => Some(digits),
            _ => None,
        },
        _ => None,
    }
}

fn is_open(expr: &Expr) -> bool {
    let all = |values: &mut dyn Iterator<Item = &Expr>| {
        let mut some = false;
        let all = values.filter(|value| !is_null(value)).all(|value| {
            some = true;
            is_open(value)
        });
        some && all
    };
    match expr {
        Expr::Negative(inner) => is_open(inner),
        Expr::Case(Case { when_then_expr, else_expr, .. }) => {
            let thens = when_then_expr.iter().map(|(_, then)| then.as_ref());
            all(&mut thens.chain(else_expr.as_deref()))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => match func.name() {
            POINT => true,
            "coalesce" | "nullif" | "greatest" | "least" | "nvl" | "ifnull" => {
                all(&mut args.iter())
            }
            "nvl2" => all(&mut args.iter().skip(1)),
            _ => false,
        },
        _ => false,
    }
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

/// Decides what the open ones among `operands` are.
pub(super) fn adjust(operands: &mut Operands<'_>, types: &[DataType]) -> Result<()> {
    let open: Vec<bool> = operands.exprs.iter().map(|expr| is_open(expr)).collect();
    let count = open.iter().filter(|open| **open).count();
    if count == 0 {
        return Ok(());
    }
    let mut known =
        types.iter().zip(&open).filter(|(it, open)| !**open && !it.is_null()).peekable();
    let exact = match known.peek() {
        Some(_) => known.any(|(data_type, _)| data_type.is_decimal()),
        // It is known where this stands itself.
        None if operands.beside == Beside::Chosen => return Ok(()),
        None => count > 1,
    };
    for (expr, _) in operands.exprs.iter_mut().zip(open).filter(|(_, open)| *open) {
        let literal = std::mem::take(*expr);
        **expr = if exact { decided(literal, exactly)? } else { alone(literal)? };
    }
    Ok(())
}

/// The argument of a cast: an open one has the digits that are written.
pub(super) fn cast(expr: &mut Expr, to: &DataType) -> Result<()> {
    if to.is_decimal() && is_open(expr) {
        let literal = std::mem::take(expr);
        *expr = decided(literal, exactly)?;
    }
    Ok(())
}

/// The expression, whose open literals are doubles.
pub(super) fn alone(expr: Expr) -> Result<Expr> {
    decided(expr, |digits| Ok(lit(double(digits)?)))
}

fn decided(expr: Expr, value: impl Fn(&str) -> Result<Expr>) -> Result<Expr> {
    let decided = expr.transform_up(|part| match digits(&part) {
        Some(digits) => Ok(Transformed::yes(value(digits)?)),
        None => Ok(Transformed::no(part)),
    });
    Ok(decided?.data)
}

/// The decimal; the double where it has more than 38 digits.
fn exactly(digits: &str) -> Result<Expr> {
    let unsigned = digits.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let whole = whole.trim_start_matches('0');
    let precision = (whole.len() + fraction.len()).max(1);
    if precision > usize::from(DECIMAL128_MAX_PRECISION) {
        return Ok(lit(double(digits)?));
    }
    let (precision, scale) = (precision as u8, fraction.len() as i8);
    let value = parse_decimal::<Decimal128Type>(digits, precision, scale)?;
    Ok(lit(ScalarValue::Decimal128(Some(value), precision, scale)))
}
