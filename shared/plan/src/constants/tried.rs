//! Calls that read a unit, a zone, a format or a pattern, tried on one row of ordinary values.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::{CONSTANT, place};
use crate::engine;
use crate::error::{Refusal, shown};

/// What a literal argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// A unit that times are cut to.
    Trunc,
    /// A part of a time.
    Part,
    /// A format of times.
    Format,
    /// A regular expression, and the argument behind it.
    Pattern,
    /// A length of time.
    Length,
    /// One of the names that the function knows.
    Name,
    /// A number.
    Number,
}

/// Functions whose calls are tried, and the argument that is meant, with what it is.
const TRIED: &[(&str, usize, Meaning)] = &[
    ("date_bin", 0, Meaning::Length),
    ("date_format", 1, Meaning::Format),
    ("date_part", 0, Meaning::Part),
    ("date_trunc", 0, Meaning::Trunc),
    // `/` of decimals.
    ("decimal_division", 1, Meaning::Number),
    ("digest", 1, Meaning::Name),
    ("encode", 1, Meaning::Name),
    ("regexp_count", 1, Meaning::Pattern),
    ("regexp_instr", 1, Meaning::Pattern),
    ("regexp_like", 1, Meaning::Pattern),
    ("regexp_match", 1, Meaning::Pattern),
    ("regexp_replace", 1, Meaning::Pattern),
    ("split_part", 2, Meaning::Number),
    ("to_char", 1, Meaning::Format),
];

const TRUNC_UNITS: &[&str] = &[
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
];

const PARTS: &[&str] = &[
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "isoyear",
    "dow",
    "isodow",
    "doy",
    "epoch",
    "nanosecond",
];

/// Refuses a call that fails on a row of ordinary values because of a literal.
pub(super) fn check(part: &Expr, schema: &DFSchema, sql: &str) -> Result<()> {
    match part {
        Expr::ScalarFunction(call) => function(call, schema, sql),
        Expr::BinaryExpr(binary) => operator(binary, schema, sql),
        Expr::Cast(cast) => zone(cast, sql),
        _ => Ok(()),
    }
}

fn function(call: &ScalarFunction, schema: &DFSchema, sql: &str) -> Result<()> {
    let name = call.func.name();
    if name.starts_with("to_timestamp") || name.starts_with("to_date") {
        return call.args.iter().skip(1).try_for_each(|format| parsing(format, sql));
    }
    let Some((_, argument, meaning)) = TRIED.iter().find(|(known, ..)| *known == name) else {
        return Ok(());
    };
    let Some(Expr::Literal(value, _)) = call.args.get(*argument) else { return Ok(()) };
    if value.is_null() {
        return Ok(());
    }
    let Err(error) = try_on_a_row(&Expr::ScalarFunction(call.clone()), &call.args, schema) else {
        return Ok(());
    };
    Err(refusal(*meaning, value, name, &error, sql).into_engine())
}

/// The formats of `to_timestamp` and its like: what cannot be written in a format cannot be read in it.
fn parsing(format: &Expr, sql: &str) -> Result<()> {
    let Expr::Literal(value, _) = format else { return Ok(()) };
    let Some(Some(text)) = value.try_as_str() else { return Ok(()) };
    // Read, but never written.
    if text.contains("%#z") {
        return Ok(());
    }
    let call = ScalarFunction::new_udf(
        datafusion::functions::datetime::to_char(),
        vec![Expr::Literal(time(TimeUnit::Millisecond, Some("+00:00")), None), format.clone()],
    );
    match try_on_a_row(&Expr::ScalarFunction(call), &[], &DFSchema::empty()) {
        Ok(()) => Ok(()),
        Err(error) => {
            Err(refusal(Meaning::Format, value, "to_timestamp", &error, sql).into_engine())
        }
    }
}

fn operator(binary: &BinaryExpr, schema: &DFSchema, sql: &str) -> Result<()> {
    use Operator::*;
    let Expr::Literal(value, _) = binary.right.as_ref() else { return Ok(()) };
    let meaning = match binary.op {
        RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch => Meaning::Pattern,
        Divide | Modulo | IntegerDivide => Meaning::Number,
        _ => return Ok(()),
    };
    if value.is_null() {
        return Ok(());
    }
    let sides = [binary.left.as_ref().clone(), binary.right.as_ref().clone()];
    match try_on_a_row(&Expr::BinaryExpr(binary.clone()), &sides, schema) {
        Ok(()) => Ok(()),
        Err(error) => {
            Err(refusal(meaning, value, &binary.op.to_string(), &error, sql).into_engine())
        }
    }
}

/// `ts AT TIME ZONE 'Europe/Berlin'` is a cast to times of that zone.
fn zone(cast: &Cast, sql: &str) -> Result<()> {
    let DataType::Timestamp(_, Some(zone)) = cast.field.data_type() else { return Ok(()) };
    let sample = Expr::Literal(time(TimeUnit::Millisecond, None), None);
    let tried = Expr::Cast(Cast::new_from_field(Box::new(sample), Arc::clone(&cast.field)));
    if super::value(&tried).is_ok() {
        return Ok(());
    }
    let help = match nearest_zone(zone) {
        Some(zone) => format!("did you mean '{zone}'?"),
        None => {
            "write a zone of the IANA list, 'Europe/Berlin', or an offset, '+02:00'".to_string()
        }
    };
    let message = format!("no time zone is called '{zone}'");
    Err(Refusal::new(CONSTANT, message).help(help).at(place(zone, sql)).into_engine())
}

fn refusal(
    meaning: Meaning,
    value: &ScalarValue,
    name: &str,
    error: &DataFusionError,
    sql: &str,
) -> Refusal {
    let text = value.try_as_str().flatten().unwrap_or_default();
    let said = shown::reason(error);
    let (message, help) = match meaning {
        Meaning::Trunc => {
            (format!("{name} knows no unit '{text}'"), near(text, TRUNC_UNITS, "unit"))
        }
        Meaning::Part => (format!("a time has no part '{text}'"), near(text, PARTS, "part")),
        Meaning::Format => (
            format!("'{text}' is no format of times"),
            "write the codes of strftime: '%Y-%m-%d %H:%M:%S'; a % alone is %%".to_string(),
        ),
        Meaning::Pattern if text.is_empty() => {
            (format!("{name} cannot work with this pattern: {said}"), PATTERN.to_string())
        }
        Meaning::Pattern => {
            (format!("'{text}' is no regular expression: {said}"), PATTERN.to_string())
        }
        Meaning::Length => (
            format!("{name} cannot work with this length: {said}"),
            "write a length above zero: INTERVAL '15' MINUTE".to_string(),
        ),
        Meaning::Name => {
            (format!("{name} cannot work with '{text}': {said}"), "correct the name".to_string())
        }
        Meaning::Number => (
            format!("{name} can never work with {}: {said}", shown::value(value)),
            "write another number; NULLIF(x, 0) gives NULL instead of zero".to_string(),
        ),
    };
    Refusal::new(CONSTANT, message).help(help).at(place(text, sql).filter(|_| !text.is_empty()))
}

const PATTERN: &str = "a character that means something stands behind a \\: '\\(' is a parenthesis; \
                       there is no look-ahead and no back-reference";

/// The nearest of `known`, or all of them.
fn near(text: &str, known: &[&str], what: &str) -> String {
    let text = text.to_lowercase();
    let most = 1 + text.chars().count() / 4;
    let nearest = known
        .iter()
        .map(|known| (levenshtein(known, &text), known))
        .filter(|(edits, _)| *edits <= most)
        .min();
    match nearest {
        Some((_, known)) => format!("did you mean '{known}'?"),
        None => format!("write one of these {what}s: {}", known.join(", ")),
    }
}

/// The zone of the IANA list that is meant, if one is near: by its whole name, or by its last part.
fn nearest_zone(zone: &str) -> Option<&'static str> {
    let wanted = zone.to_lowercase();
    let most = 1 + wanted.chars().count() / 5;
    let city = |name: &str| name.rsplit('/').next().unwrap_or(name).to_string();
    let edits = |name: &str| {
        let name = name.to_lowercase();
        let of_city = match wanted.contains('/') {
            true => usize::MAX,
            false => levenshtein(&city(&name), &wanted),
        };
        levenshtein(&name, &wanted).min(of_city)
    };
    let zones = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    // Zones with a city first: `Berlin` is none, and neither is a short name of old.
    let rated = zones.map(|name| (edits(name), !name.contains('/'), name));
    rated.filter(|(edits, ..)| *edits <= most).min().map(|(.., name)| name)
}

/// Evaluates a call whose arguments but for literals are columns of one row of ordinary values. A call
/// for which there is no such row is not tried.
fn try_on_a_row(call: &Expr, args: &[Expr], schema: &DFSchema) -> Result<()> {
    let mut fields = Vec::new();
    let mut values = Vec::new();
    let mut replaced = Vec::new();
    for (index, arg) in args.iter().enumerate() {
        if matches!(arg, Expr::Literal(..)) {
            replaced.push(arg.clone());
            continue;
        }
        let Ok(data_type) = arg.get_type(schema) else { return Ok(()) };
        let Some(value) = ordinary(&data_type) else { return Ok(()) };
        let name = format!("a{index}");
        fields.push(Field::new(&name, data_type, true));
        values.push(value.to_array_of_size(1)?);
        replaced.push(Expr::Column(Column::new_unqualified(name)));
    }
    let call = match call {
        Expr::ScalarFunction(call) if !args.is_empty() => {
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), replaced))
        }
        Expr::BinaryExpr(binary) => match <[Expr; 2]>::try_from(replaced) {
            Ok([left, right]) => {
                Expr::BinaryExpr(BinaryExpr::new(Box::new(left), binary.op, Box::new(right)))
            }
            Err(_) => return Ok(()),
        },
        other => other.clone(),
    };
    if fields.is_empty() {
        return super::value(&call).map(drop);
    }
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let row = RecordBatch::try_new(Arc::clone(&schema), values)?;
    let schema = DFSchema::try_from(schema)?;
    engine::physical_expr(&call, &schema)?.evaluate(&row).map(drop)
}

/// 2024-02-29 12:34:56.789.
const MOMENT_MS: i64 = 1_709_210_096_789;

fn time(unit: TimeUnit, zone: Option<&str>) -> ScalarValue {
    let zone = zone.map(Arc::from);
    match unit {
        TimeUnit::Second => ScalarValue::TimestampSecond(Some(MOMENT_MS / 1000), zone),
        TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(MOMENT_MS), zone),
        TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(MOMENT_MS * 1000), zone),
        TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(MOMENT_MS * 1_000_000), zone),
    }
}

/// An ordinary value of a type, on which a call that can work at all works.
fn ordinary(data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::Timestamp(unit, zone) => Some(time(*unit, zone.as_deref())),
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) => {
            time(TimeUnit::Nanosecond, None).cast_to(data_type).ok()
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let day = IntervalMonthDayNano::new(0, 1, 0);
            Some(ScalarValue::IntervalMonthDayNano(Some(day)))
        }
        DataType::Duration(_) => ScalarValue::Int64(Some(1_000)).cast_to(data_type).ok(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            ScalarValue::from("abc").cast_to(data_type).ok()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            ScalarValue::Binary(Some(b"abc".to_vec())).cast_to(data_type).ok()
        }
        DataType::Boolean => Some(ScalarValue::Boolean(Some(true))),
        _ if data_type.is_numeric() => ScalarValue::Int64(Some(1)).cast_to(data_type).ok(),
        _ => None,
    }
}
