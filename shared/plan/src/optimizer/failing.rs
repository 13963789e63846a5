//! Which expressions can fail on a row.
//!
//! Whatever is not known to give a value for every row can fail: a call of a function that is not
//! listed, a narrowing cast, a division. What can fail is never evaluated for a row that what stands
//! before it in the query leaves out.
//!
//! Not here: how the others are kept behind their guards (`filters`, `guards`, `joins`).

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList, Like, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use super::constants;
use super::lossless;

/// Functions that give a value for all arguments that their signature takes.
const NEVER_FAIL: [&str; 31] = [
    "bit_length",
    "btrim",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "ends_with",
    "greatest",
    "initcap",
    "isnan",
    "iszero",
    "least",
    "lower",
    "ltrim",
    "md5",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "one_zero",
    "reverse",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "starts_with",
    "strpos",
    "to_hex",
    "upper",
];

/// Whether evaluating an expression can fail on some row. What depends on the clock, on chance or on
/// a subquery counts as what can: it stays where it was written, too.
pub(crate) fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    let fails = |expr: &Expr| can_fail(expr, schema);
    match expr {
        Expr::Column(_) | Expr::Literal(..) | Expr::OuterReferenceColumn(..) => false,
        Expr::Alias(alias) => fails(&alias.expr),
        Expr::Not(expr)
        | Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::IsTrue(expr)
        | Expr::IsFalse(expr)
        | Expr::IsUnknown(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsNotFalse(expr)
        | Expr::IsNotUnknown(expr) => fails(expr),
        Expr::Negative(expr) => !is_float(expr, schema) || fails(expr),
        Expr::BinaryExpr(binary) => operator_fails(binary, schema),
        Expr::Between(Between { expr, low, high, .. }) => fails(expr) || fails(low) || fails(high),
        Expr::InList(InList { expr, list, .. }) => fails(expr) || list.iter().any(fails),
        Expr::Like(Like { expr, pattern, escape_char: None, .. }) => fails(expr) || fails(pattern),
        Expr::Case(case) => {
            let mut base = case.expr.iter().chain(&case.else_expr);
            let mut arms = case.when_then_expr.iter();
            base.any(|expr| fails(expr)) || arms.any(|(when, then)| fails(when) || fails(then))
        }
        Expr::Cast(Cast { expr, field }) => {
            let known = expr.get_type(schema);
            let sure = known.is_ok_and(|from| lossless::always_casts(&from, field.data_type()));
            !sure || fails(expr)
        }
        Expr::TryCast(TryCast { expr, .. }) => fails(expr),
        Expr::ScalarFunction(call) => {
            !NEVER_FAIL.contains(&call.func.name()) || call.args.iter().any(fails)
        }
        _ => true,
    }
}

fn operator_fails(binary: &BinaryExpr, schema: &DFSchema) -> bool {
    let BinaryExpr { left, op, right } = binary;
    let own = match op {
        Operator::And
        | Operator::Or
        | Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom
        | Operator::LikeMatch
        | Operator::ILikeMatch
        | Operator::NotLikeMatch
        | Operator::NotILikeMatch
        | Operator::StringConcat
        | Operator::BitwiseAnd
        | Operator::BitwiseOr
        | Operator::BitwiseXor => false,
        Operator::RegexMatch
        | Operator::RegexIMatch
        | Operator::RegexNotMatch
        | Operator::RegexNotIMatch => !is_pattern(*op, right),
        // Arithmetic of whole numbers wraps around in this engine, that of decimals fails.
        Operator::Plus | Operator::Minus => {
            let whole = is_whole(left, schema) && is_whole(right, schema);
            let float = is_float(left, schema) && is_float(right, schema);
            let shifted = is_shifted_time(left, right, schema)
                || *op == Operator::Plus && is_shifted_time(right, left, schema);
            !whole && !float && !shifted
        }
        Operator::Multiply => {
            let whole = is_whole(left, schema) && is_whole(right, schema);
            let float = is_float(left, schema) && is_float(right, schema);
            !whole && !float
        }
        Operator::Divide | Operator::Modulo => {
            let float = is_float(left, schema) && is_float(right, schema);
            let whole = is_whole(left, schema) && divides_all(right);
            !float && !whole
        }
        _ => true,
    };
    own || can_fail(left, schema) || can_fail(right, schema)
}

/// Whether the right side of a match is a literal that is a pattern.
fn is_pattern(op: Operator, pattern: &Expr) -> bool {
    if !matches!(pattern, Expr::Literal(..)) {
        return false;
    }
    let text = Box::new(Expr::Literal(ScalarValue::Utf8(Some("x".to_string())), None));
    let tried = Expr::BinaryExpr(BinaryExpr { left: text, op, right: Box::new(pattern.clone()) });
    constants::value(&tried).is_ok()
}

/// Whether an expression is a time that is moved by a literal.
fn is_shifted_time(time: &Expr, by: &Expr, schema: &DFSchema) -> bool {
    let literal = match by {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(by)), _) => by.months == 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(_)), _) => true,
        Expr::Literal(ScalarValue::DurationMillisecond(Some(_)), _) => true,
        _ => false,
    };
    let is_time = |it| matches!(it, DataType::Timestamp(unit, _) if unit != arrow::datatypes::TimeUnit::Nanosecond);
    literal && time.get_type(schema).is_ok_and(is_time)
}

/// Whether a whole number is divided by a literal that can divide all of them.
fn divides_all(by: &Expr) -> bool {
    let Expr::Literal(value, _) = by else { return false };
    let minus = ["0", "-1"];
    value.data_type().is_integer()
        && !value.is_null()
        && !minus.contains(&value.to_string().as_str())
}

fn is_whole(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|it| it.is_integer())
}

fn is_float(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|it| it.is_floating())
}
