//! Times are microseconds where the engine takes nanoseconds, which end in the year 2262.
//!
//! `TIMESTAMP` and literals of it are `TIMESTAMP(6)`, dates beside times are milliseconds, texts
//! beside times microseconds. So every operand of a comparison holds the years 0001 to 9999.
//!
//! Not here: functions that compute in nanoseconds inside (`functions`).

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::functions::datetime;
use datafusion::functions::math;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, lit};

use super::{Beside, Operands};
use crate::functions::date_trunc::date_trunc;

const MILLISECONDS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

fn microseconds(zone: Option<&Arc<str>>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.cloned())
}

fn casted(expr: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to))
}

/// A cast, whose type is given: nanoseconds become microseconds, and times lose what is finer than
/// their new unit downwards, as date_trunc has it; the engine cuts off towards 1970.
pub(super) fn cast(expr: &mut Expr, field: &mut FieldRef, schema: &DFSchema) {
    let DataType::Timestamp(unit, zone) = field.data_type() else { return };
    if *unit == TimeUnit::Nanosecond {
        let finest = microseconds(zone.as_ref());
        *field = Arc::new(field.as_ref().clone().with_data_type(finest));
        return;
    }
    let is_coarser = |from: TimeUnit| from > *unit;
    if let Ok(DataType::Timestamp(from, _)) = expr.get_type(schema)
        && is_coarser(from)
        && !is_call(expr, "date_trunc")
    {
        let name = match unit {
            TimeUnit::Second => "second",
            TimeUnit::Millisecond => "millisecond",
            _ => "microsecond",
        };
        *expr = cut(std::mem::take(expr), name);
    }
}

fn is_call(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == name)
}

fn cut(time: Expr, unit: &str) -> Expr {
    date_trunc().call(vec![lit(unit), time])
}

/// Casts what stands beside a time.
pub(super) fn adjust(operands: &mut Operands<'_>, types: &[DataType]) {
    let zone = |data_type: &DataType| match data_type {
        DataType::Timestamp(_, zone) => Some(zone.clone()),
        _ => None,
    };
    let Some(first) = types.iter().find_map(zone) else { return };
    let has_date = types.iter().any(|it| matches!(it, DataType::Date32 | DataType::Date64));
    let has_zone = types.iter().filter_map(zone).any(|zone| zone.is_some());
    for (expr, data_type) in operands.exprs.iter_mut().zip(types) {
        let to = match data_type {
            DataType::Date32 | DataType::Date64 => MILLISECONDS,
            // A date has no zone: it is compared with what clocks there show.
            DataType::Timestamp(unit, Some(_)) if has_date => DataType::Timestamp(*unit, None),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
                if operands.beside == Beside::Compared =>
            {
                microseconds(first.as_ref().filter(|_| has_zone && !has_date))
            }
            _ => continue,
        };
        let operand = std::mem::take(*expr);
        **expr = casted(operand, to);
    }
}

/// A call in place of that of a function of times, if another is needed.
pub(super) fn call(name: &str, args: &mut Vec<Expr>, schema: &DFSchema) -> Option<Expr> {
    if let ("date_trunc" | "date_part", [_, time]) = (name, args.as_mut_slice()) {
        let to = match time.get_type(schema).ok()? {
            DataType::Date32 | DataType::Date64 if name == "date_trunc" => MILLISECONDS,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => microseconds(None),
            _ => return None,
        };
        *time = casted(std::mem::take(time), to);
        return None;
    }
    let data_type = args.first()?.get_type(schema).ok()?;
    if let ("to_unixtime", [time]) = (name, args.as_mut_slice()) {
        if matches!(data_type, DataType::Timestamp(_, _)) && !is_call(time, "date_trunc") {
            *time = cut(std::mem::take(time), "second");
        }
        return None;
    }
    let unit = match name {
        "to_timestamp_seconds" => TimeUnit::Second,
        "to_timestamp_millis" => TimeUnit::Millisecond,
        "to_timestamp" | "to_timestamp_micros" => TimeUnit::Microsecond,
        _ => return None,
    };
    let is_text = data_type.is_string();
    if name != "to_timestamp" && !is_text {
        return None;
    }
    if let [_, _, ..] = args.as_slice() {
        let micros = || datetime::to_timestamp_micros(&ConfigOptions::default());
        return (name == "to_timestamp").then(|| micros().call(std::mem::take(args)));
    }
    let argument = args.pop()?;
    let to = DataType::Timestamp(unit, None);
    Some(match &data_type {
        _ if is_text => casted(argument, to),
        DataType::Null | DataType::Timestamp(_, _) | DataType::Date32 => casted(argument, to),
        it if it.is_integer() => {
            casted(casted(argument, DataType::Timestamp(TimeUnit::Second, None)), to)
        }
        // Seconds and fractions of them.
        _ => {
            let micros = casted(argument, DataType::Float64) * lit(1_000_000.0);
            let rounded = math::round().call(vec![micros]);
            casted(casted(rounded, DataType::Int64), to)
        }
    })
}
