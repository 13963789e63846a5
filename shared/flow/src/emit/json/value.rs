//! One value of an Arrow array as JSON.

use std::fmt::Display;
use std::io::Write;

use arrow::array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::time::{Date, Span, TimeOfDay, Timestamp, date_of_ms};

/// Whether [`write`] knows the type.
pub(super) fn is_writable(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => is_writable(item.data_type()),
        DataType::Map(entries, _) => is_writable(entries.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_writable(field.data_type())),
        DataType::Dictionary(_, values) => is_writable(values),
        DataType::Union(..) | DataType::RunEndEncoded(..) => false,
        _ => true,
    }
}

/// Appends value `row` of `array`.
pub(super) fn write(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    macro_rules! primitive {
        ($type:ty) => {
            array.as_primitive::<$type>().value(row)
        };
    }
    match array.data_type() {
        DataType::Boolean => plain(out, array.as_boolean().value(row)),
        DataType::Int8 => plain(out, primitive!(Int8Type)),
        DataType::Int16 => plain(out, primitive!(Int16Type)),
        DataType::Int32 => plain(out, primitive!(Int32Type)),
        DataType::Int64 => plain(out, primitive!(Int64Type)),
        DataType::UInt8 => plain(out, primitive!(UInt8Type)),
        DataType::UInt16 => plain(out, primitive!(UInt16Type)),
        DataType::UInt32 => plain(out, primitive!(UInt32Type)),
        DataType::UInt64 => plain(out, primitive!(UInt64Type)),
        DataType::Float16 => write_f32(out, primitive!(Float16Type).to_f32()),
        DataType::Float32 => write_f32(out, primitive!(Float32Type)),
        DataType::Float64 => write_f64(out, primitive!(Float64Type)),
        DataType::Utf8 => write_text(out, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write_text(out, array.as_string::<i64>().value(row)),
        DataType::Utf8View => write_text(out, array.as_string_view().value(row)),
        DataType::Binary => write_binary(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => write_binary(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => write_binary(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => {
            write_binary(out, array.as_fixed_size_binary().value(row));
        }
        DataType::Decimal32(_, scale) => {
            decimal(out, primitive!(Decimal32Type).to_string(), *scale);
        }
        DataType::Decimal64(_, scale) => {
            decimal(out, primitive!(Decimal64Type).to_string(), *scale);
        }
        DataType::Decimal128(_, scale) => {
            decimal(out, primitive!(Decimal128Type).to_string(), *scale);
        }
        DataType::Decimal256(_, scale) => {
            decimal(out, primitive!(Decimal256Type).to_string(), *scale);
        }
        DataType::Timestamp(unit, _) => {
            let ticks = match unit {
                TimeUnit::Second => primitive!(TimestampSecondType),
                TimeUnit::Millisecond => primitive!(TimestampMillisecondType),
                TimeUnit::Microsecond => primitive!(TimestampMicrosecondType),
                TimeUnit::Nanosecond => primitive!(TimestampNanosecondType),
            };
            quoted(out, Timestamp { ticks, tick_ns: nanos_of(unit) });
        }
        DataType::Date32 => quoted(out, Date(i64::from(primitive!(Date32Type)))),
        DataType::Date64 => quoted(out, date_of_ms(primitive!(Date64Type))),
        DataType::Time32(unit) => {
            let ticks = match unit {
                TimeUnit::Second => primitive!(Time32SecondType),
                _ => primitive!(Time32MillisecondType),
            };
            quoted(out, TimeOfDay(i128::from(ticks) * i128::from(nanos_of(unit))));
        }
        DataType::Time64(unit) => {
            let ticks = match unit {
                TimeUnit::Microsecond => primitive!(Time64MicrosecondType),
                _ => primitive!(Time64NanosecondType),
            };
            quoted(out, TimeOfDay(i128::from(ticks) * i128::from(nanos_of(unit))));
        }
        DataType::Duration(unit) => {
            let ticks = match unit {
                TimeUnit::Second => primitive!(DurationSecondType),
                TimeUnit::Millisecond => primitive!(DurationMillisecondType),
                TimeUnit::Microsecond => primitive!(DurationMicrosecondType),
                TimeUnit::Nanosecond => primitive!(DurationNanosecondType),
            };
            let nanos = i128::from(ticks) * i128::from(nanos_of(unit));
            quoted(out, Span { nanos, ..Span::default() });
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = i64::from(primitive!(IntervalYearMonthType));
            quoted(out, Span { months, ..Span::default() });
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let interval = primitive!(IntervalDayTimeType);
            quoted(out, Span::of_days_and_ms(interval.days, interval.milliseconds));
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let interval = primitive!(IntervalMonthDayNanoType);
            let (months, days) = (i64::from(interval.months), i64::from(interval.days));
            quoted(out, Span { months, days, nanos: i128::from(interval.nanoseconds) });
        }
        DataType::List(_) => write_list(out, &array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => write_list(out, &array.as_list::<i64>().value(row)),
        DataType::ListView(_) => write_list(out, &array.as_list_view::<i32>().value(row)),
        DataType::LargeListView(_) => write_list(out, &array.as_list_view::<i64>().value(row)),
        DataType::FixedSizeList(..) => write_list(out, &array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let names = fields.iter().map(|field| field.name().as_str());
            members(out, names.zip(columns), |out, (name, column)| {
                write_text(out, name);
                out.push(b':');
                write(out, column.as_ref(), row);
            });
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            members(out, 0..entries.len(), |out, entry| {
                write_key(out, keys.as_ref(), entry);
                out.push(b':');
                write(out, values.as_ref(), entry);
            });
        }
        DataType::Dictionary(..) => {
            // Keys are normalized for a whole array, so of one row only.
            let one = array.slice(row, 1);
            let dictionary = one.as_any_dictionary();
            write(out, dictionary.values().as_ref(), dictionary.normalized_keys()[0]);
        }
        // `is_writable` refused the batch: what is left has no rows to get here with.
        DataType::Null | DataType::Union(..) | DataType::RunEndEncoded(..) => {
            out.extend_from_slice(b"null");
        }
    }
}

/// Appends a JSON text.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..index]);
        done = index + 1;
        if short == 0 {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// Appends bytes as base64 text.
pub(super) fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    quoted(out, STANDARD.encode(bytes));
}

/// Appends what prints as JSON.
pub(super) fn plain(out: &mut Vec<u8>, value: impl Display) {
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{value}");
}

/// Appends what prints without anything to escape, as text.
pub(super) fn quoted(out: &mut Vec<u8>, value: impl Display) {
    let _ = write!(out, "\"{value}\"");
}

fn write_f64(out: &mut Vec<u8>, value: f64) {
    match not_finite(value) {
        Some(name) => quoted(out, name),
        None => finite(out, &value),
    }
}

fn write_f32(out: &mut Vec<u8>, value: f32) {
    match not_finite(f64::from(value)) {
        Some(name) => quoted(out, name),
        None => finite(out, &value),
    }
}

fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

fn finite(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // A finite number serializes, and writing into a Vec cannot fail.
    let _ = serde_json::to_writer(out, value);
}

/// Appends the digits of a decimal with its point, as text.
fn decimal(out: &mut Vec<u8>, unscaled: String, scale: i8) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled.as_str()),
    };
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { places };
        return quoted(out, format_args!("{sign}{digits}{:0<zeros$}", ""));
    }
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    quoted(out, format_args!("{sign}{whole}.{fraction}"));
}

fn nanos_of(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1,
    }
}

fn write_list(out: &mut Vec<u8>, items: &ArrayRef) {
    out.push(b'[');
    for index in 0..items.len() {
        if index > 0 {
            out.push(b',');
        }
        write(out, items.as_ref(), index);
    }
    out.push(b']');
}

/// A map's key as text: text as it is, everything else as its JSON.
fn write_key(out: &mut Vec<u8>, keys: &dyn Array, row: usize) {
    let mut json = Vec::new();
    write(&mut json, keys, row);
    if json.first() == Some(&b'"') {
        out.append(&mut json);
    } else {
        write_text(out, &String::from_utf8_lossy(&json));
    }
}

fn members<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write_one: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'{');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_one(out, item);
    }
    out.push(b'}');
}
