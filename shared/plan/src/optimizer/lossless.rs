//! Casts that lose nothing, and comparisons that need none of them.
//!
//! To compare a narrow column with a literal the engine casts the column, row by row. Where the cast
//! loses nothing and the literal is a value of the column's own type, the literal is cast instead,
//! once. The engine's own rule does that to any cast, which changes what `CAST(price AS INT) = 1` and
//! `TRY_CAST(n AS INT) > 0` mean (apache/datafusion#14303, #23095, #24702), so it does not run.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

/// Whether every value has exactly one value of the other type, and other values have others.
pub(crate) fn keeps_all(from: &DataType, to: &DataType) -> bool {
    if from == to {
        return true;
    }
    if let (Some((bits, signed)), Some((to_bits, to_signed))) = (whole(from), whole(to)) {
        return match (signed, to_signed) {
            (true, true) | (false, false) => bits <= to_bits,
            (false, true) => bits < to_bits,
            (true, false) => false,
        };
    }
    if let (Some((bits, _)), Some(mantissa)) = (whole(from), mantissa(to)) {
        return bits <= mantissa;
    }
    if let (Some((bits, _)), Some((precision, scale))) = (whole(from), decimal(to)) {
        let digits = [(8, 3), (16, 5), (32, 10), (64, 20)];
        let needed = digits.iter().find(|(of, _)| *of == bits).map_or(39, |(_, digits)| *digits);
        return scale >= 0 && i32::from(precision) - i32::from(scale) >= needed;
    }
    if let (Some((precision, scale)), Some((to_precision, to_scale))) = (decimal(from), decimal(to))
    {
        let whole = i32::from(precision) - i32::from(scale);
        return to_scale >= scale && i32::from(to_precision) - i32::from(to_scale) >= whole;
    }
    matches!(
        (from, to),
        (DataType::Float16, DataType::Float32 | DataType::Float64)
            | (DataType::Float32, DataType::Float64)
            | (DataType::Utf8, DataType::LargeUtf8 | DataType::Utf8View)
            | (DataType::Binary, DataType::LargeBinary | DataType::BinaryView)
            | (
                DataType::Date32,
                DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, None)
            )
    )
}

/// Whether a cast gives a value for every value.
pub(crate) fn always_casts(from: &DataType, to: &DataType) -> bool {
    let number = |it: &DataType| it.is_integer() || it.is_floating() || decimal(it).is_some();
    let text =
        |it: &DataType| matches!(it, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    keeps_all(from, to)
        || number(from) && matches!(to, DataType::Float32 | DataType::Float64)
        || text(to) && (number(from) || *from == DataType::Boolean || text(from))
        || *from == DataType::Boolean && to.is_integer()
        || matches!((from, to), (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) if from >= to)
        || from.is_null()
}

/// A comparison with a literal without the lossless cast around what is compared.
pub(crate) fn without_cast(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            if let Some((plain, literals)) = narrowed(&left, &[right.as_ref()], schema)? {
                let right = one(literals)?;
                return Ok(yes(Expr::BinaryExpr(BinaryExpr { left: plain, op, right })));
            }
            if let Some((plain, literals)) = narrowed(&right, &[left.as_ref()], schema)? {
                let left = one(literals)?;
                return Ok(yes(Expr::BinaryExpr(BinaryExpr { left, op, right: plain })));
            }
            Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            match narrowed(&expr, &[low.as_ref(), high.as_ref()], schema)? {
                Some((plain, mut literals)) => {
                    let high = one(literals.split_off(1))?;
                    let low = one(literals)?;
                    Ok(yes(Expr::Between(Between { expr: plain, negated, low, high })))
                }
                None => Ok(Transformed::no(Expr::Between(Between { expr, negated, low, high }))),
            }
        }
        Expr::InList(InList { expr, list, negated }) => {
            match narrowed(&expr, &list.iter().collect::<Vec<_>>(), schema)? {
                Some((plain, list)) => Ok(yes(Expr::InList(InList { expr: plain, list, negated }))),
                None => Ok(Transformed::no(Expr::InList(InList { expr, list, negated }))),
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn yes(expr: Expr) -> Transformed<Expr> {
    Transformed::yes(expr)
}

fn one(mut literals: Vec<Expr>) -> Result<Box<Expr>> {
    match literals.pop() {
        Some(literal) => Ok(Box::new(literal)),
        None => datafusion::common::internal_err!("a comparison has lost its literal"),
    }
}

/// What a lossless cast is of, and all literals as values of its type; `None` if one is none.
fn narrowed(
    cast: &Expr,
    literals: &[&Expr],
    schema: &DFSchema,
) -> Result<Option<(Box<Expr>, Vec<Expr>)>> {
    let Expr::Cast(Cast { expr, field }) = cast else { return Ok(None) };
    let (from, to) = (expr.get_type(schema)?, field.data_type());
    let finer = matches!((&from, to), (DataType::Timestamp(from, a), DataType::Timestamp(to, b)) if from <= to && a == b);
    if !keeps_all(&from, to) && !finer || matches!(expr.as_ref(), Expr::Literal(..)) {
        return Ok(None);
    }
    let mut given = Vec::new();
    for literal in literals {
        let Expr::Literal(value, metadata) = literal else { return Ok(None) };
        // Both ways, so that the literal is a value of the narrow type and not one near it.
        let narrow = value.cast_to(&from).ok().filter(|it| it.is_null() == value.is_null());
        let Some(narrow) = narrow.filter(|it| is_same(it, value)) else { return Ok(None) };
        given.push(Expr::Literal(narrow, metadata.clone()));
    }
    Ok(Some((expr.clone(), given)))
}

fn is_same(narrow: &ScalarValue, value: &ScalarValue) -> bool {
    narrow.cast_to(&value.data_type()).is_ok_and(|back| back == *value)
}

fn whole(of: &DataType) -> Option<(u32, bool)> {
    Some(match of {
        DataType::Int8 => (8, true),
        DataType::Int16 => (16, true),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    })
}

/// The whole numbers of how many bits a float holds.
fn mantissa(of: &DataType) -> Option<u32> {
    match of {
        DataType::Float32 => Some(24),
        DataType::Float64 => Some(53),
        _ => None,
    }
}

fn decimal(of: &DataType) -> Option<(u8, i8)> {
    match of {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}
