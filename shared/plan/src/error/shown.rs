//! Types, values, expressions and reasons of the engine in the words of SQL and of the pipeline file.
//!
//! Not here: whole messages (`elsewhere`).

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::Expr;

use super::{elsewhere, engine_message};

/// A type as SQL calls it.
pub(crate) fn data_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".to_string(),
        DataType::Boolean => "BOOLEAN".to_string(),
        DataType::Int8 => "TINYINT".to_string(),
        DataType::Int16 => "SMALLINT".to_string(),
        DataType::Int32 => "INT".to_string(),
        DataType::Int64 => "BIGINT".to_string(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_string(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_string(),
        DataType::UInt32 => "INT UNSIGNED".to_string(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_string(),
        DataType::Float16 | DataType::Float32 => "REAL".to_string(),
        DataType::Float64 => "DOUBLE".to_string(),
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => format!("DECIMAL({digits}, {scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_string(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "BYTEA".to_string(),
        DataType::Date32 | DataType::Date64 => "DATE".to_string(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_string(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_string(),
        DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP(3)".to_string(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_string(),
        DataType::Interval(_) => "INTERVAL".to_string(),
        DataType::Duration(_) => "a duration".to_string(),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => {
            format!("a list of {}", self::data_type(field.data_type()))
        }
        DataType::Struct(_) => "a struct".to_string(),
        DataType::Map(..) => "a map".to_string(),
        DataType::Dictionary(_, values) => self::data_type(values),
        DataType::RunEndEncoded(_, values) => self::data_type(values.data_type()),
        DataType::Union(..) => "a union".to_string(),
    }
}

/// A value as SQL writes it.
pub(crate) fn value(value: &ScalarValue) -> String {
    match value.try_as_str() {
        Some(Some(text)) => format!("'{}'", text.replace('\'', "''")),
        _ => value.to_string(),
    }
}

/// An expression as SQL writes it.
pub(crate) fn expr(expr: &Expr) -> String {
    match expr {
        Expr::Literal(literal, _) => value(literal),
        Expr::Column(column) => column.name.clone(),
        Expr::Alias(alias) => self::expr(&alias.expr),
        Expr::Cast(cast) => {
            format!("CAST({} AS {})", self::expr(&cast.expr), data_type(cast.field.data_type()))
        }
        Expr::BinaryExpr(it) => {
            format!("{} {} {}", self::expr(&it.left), it.op, self::expr(&it.right))
        }
        Expr::ScalarFunction(call) => {
            let args: Vec<String> = call.args.iter().map(self::expr).collect();
            format!("{}({})", call.func.name(), args.join(", "))
        }
        other => other.human_display().to_string(),
    }
}

/// Why the engine could not compute something, in one line.
pub(crate) fn reason(error: &DataFusionError) -> String {
    let (message, _) = elsewhere::told(engine_message(error));
    let message = message.trim_end_matches('.').to_string();
    // A regular expression's errors have a drawing of the place above the reason.
    match message.rsplit_once("error: ") {
        Some((drawing, reason)) if drawing.contains('\n') => {
            reason.lines().next().unwrap_or_default().trim().to_string()
        }
        _ => message.lines().map(str::trim).collect::<Vec<_>>().join(" "),
    }
}
