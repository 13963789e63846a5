//! Columns that grow by one value a record and become Arrow arrays at the end.
//!
//! # Invariants
//! 1. A value that was refused leaves its column as it was.
//! 2. [`ColumnBuilder::truncate`] takes back every value after a row: a record that fails half-way is
//!    taken out of the columns that it had already reached.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, PrimitiveArray, StringArray,
    TimestampMillisecondArray,
};
use arrow::array::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, TimeUnit};
use arrow::error::ArrowError;
use tidemill_model::ColumnType;
use tidemill_pipeline::Column;

use crate::number::{self, NumberError};
use crate::time_text::{TimeText, TimeTextError};
use crate::timestamp::{self, TIMESTAMP_MS};

/// Arrow type of a declared column. Every timestamp is milliseconds without a zone, meaning UTC.
pub fn arrow_type(data_type: ColumnType) -> DataType {
    match data_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float32 => DataType::Float32,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::String => DataType::Utf8,
        ColumnType::TimestampS
        | ColumnType::TimestampMs
        | ColumnType::TimestampUs
        | ColumnType::TimestampNs
        | ColumnType::TimestampText => DataType::Timestamp(TimeUnit::Millisecond, None),
        ColumnType::Date => DataType::Date32,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
    }
}

/// One value of a record, as its format has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Absent, or null.
    Null,
    /// JSON `true` or `false`.
    Bool(bool),
    /// A JSON number.
    Number(&'a str),
    /// A JSON string, unescaped.
    Text(&'a str),
    /// A JSON object or array, as it was written.
    Composite(&'a str),
    /// A CSV field, which may be anything.
    Field(&'a str),
}

/// A column under construction.
#[derive(Debug)]
pub struct ColumnBuilder {
    data_type: ColumnType,
    /// How texts of a `timestamp` are read.
    time: TimeText,
    values: Values,
    nulls: NullBufferBuilder,
    /// Text bytes of the batch before: what to expect of the next one.
    text_bytes: usize,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    /// End of each text, and the texts. No text begins at or past `i32::MAX`.
    Text(Vec<i32>, Vec<u8>),
    Decimal(Vec<i128>),
}

impl ColumnBuilder {
    /// An empty column.
    pub fn new(column: &Column) -> ColumnBuilder {
        let data_type = column.data_type;
        ColumnBuilder {
            data_type,
            time: TimeText::new(column),
            values: Values::new(data_type, 0, 0),
            nulls: NullBufferBuilder::new(0),
            text_bytes: 0,
        }
    }

    /// Makes room for `rows` values.
    pub fn begin(&mut self, rows: usize) {
        self.values = Values::new(self.data_type, rows, self.text_bytes);
        self.nulls = NullBufferBuilder::new(rows);
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `value`, or says why it is none of this column's.
    #[inline]
    pub fn push(&mut self, value: &Value<'_>) -> Result<(), String> {
        // The common cases here, where the caller's value is still in registers.
        match (&mut self.values, value) {
            (Values::Text(ends, bytes), Value::Text(text)) => push_text(ends, bytes, text)?,
            (Values::Int64(values), Value::Number(text)) => {
                match (self.data_type, number::short_number(text.as_bytes())) {
                    (ColumnType::Int64, Some(number)) => values.push(number),
                    (ColumnType::TimestampMs, Some(ms)) if TIMESTAMP_MS.contains(&ms) => {
                        values.push(ms);
                    }
                    _ => return self.push_any(*value),
                }
            }
            _ => return self.push_any(*value),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_any(&mut self, value: Value<'_>) -> Result<(), String> {
        match (&mut self.values, value) {
            (values, Value::Null) => {
                values.push_default();
                self.nulls.append_null();
                return Ok(());
            }
            (Values::Text(ends, bytes), value) => {
                let text = match value {
                    Value::Text(text)
                    | Value::Number(text)
                    | Value::Composite(text)
                    | Value::Field(text) => text,
                    Value::Bool(true) => "true",
                    Value::Bool(false) | Value::Null => "false",
                };
                push_text(ends, bytes, text)?;
            }
            (Values::Int64(values), value) => values.push(match self.data_type {
                ColumnType::Int64 => whole_number(value)?,
                _ => time(self.data_type, &self.time, value)?,
            }),
            (Values::Int32(values), value) => values.push(match self.data_type {
                ColumnType::Date => date(value)?,
                _ => {
                    let number = whole_number(value)?;
                    i32::try_from(number).map_err(|_| too_large(value, "int"))?
                }
            }),
            (Values::Float64(values), value) => values.push(float(value, "double")?),
            (Values::Float32(values), value) => {
                let number: f64 = float(value, "float")?;
                // Parsed anew: rounding twice is not rounding once.
                let narrow: f32 = match value {
                    Value::Number(text) | Value::Field(text) if number.is_finite() => {
                        text.parse().map_err(|_| wrong("a number", value))?
                    }
                    _ => number as f32,
                };
                if number.is_finite() && narrow.is_infinite() {
                    return Err(too_large(value, "float"));
                }
                values.push(narrow);
            }
            (Values::Boolean(values), value) => values.append(boolean(value)?),
            (Values::Decimal(values), value) => {
                let ColumnType::Decimal { precision, scale } = self.data_type else {
                    return Err(wrong("a decimal", value));
                };
                // Text too: many write decimals so, since readers make doubles of JSON's numbers, and
                // so do this project's results.
                let (Value::Number(text) | Value::Field(text) | Value::Text(text)) = value else {
                    return Err(wrong("a number", value));
                };
                let number =
                    number::decimal(text, precision, scale).map_err(|error| match error {
                        NumberError::TooLarge => {
                            too_large(value, &format!("decimal({precision}, {scale})"))
                        }
                        _ => wrong("a number", value),
                    })?;
                values.push(number);
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// The last value of a timestamp column, in milliseconds; `None` when it is null.
    pub fn last_time(&self) -> Option<i64> {
        let last = self.len().checked_sub(1)?;
        match &self.values {
            Values::Int64(values) if self.nulls.is_valid(last) => values.get(last).copied(),
            _ => None,
        }
    }

    /// Takes back every value from row `len` on.
    pub fn truncate(&mut self, len: usize) {
        if self.len() <= len {
            return;
        }
        self.nulls.truncate(len);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int32(values) => values.truncate(len),
            Values::Int64(values) => values.truncate(len),
            Values::Float32(values) => values.truncate(len),
            Values::Float64(values) => values.truncate(len),
            Values::Decimal(values) => values.truncate(len),
            Values::Text(ends, bytes) => {
                ends.truncate(len + 1);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
        }
    }

    /// The values as an array; the column is empty afterwards.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        let empty = Values::new(self.data_type, 0, 0);
        Ok(match std::mem::replace(&mut self.values, empty) {
            Values::Boolean(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int32(values) if self.data_type == ColumnType::Date => {
                Arc::new(Date32Array::try_new(values.into(), nulls)?)
            }
            Values::Int32(values) => primitive::<arrow::datatypes::Int32Type>(values, nulls)?,
            Values::Int64(values) if self.data_type.is_timestamp() => {
                Arc::new(TimestampMillisecondArray::try_new(values.into(), nulls)?)
            }
            Values::Int64(values) => primitive::<arrow::datatypes::Int64Type>(values, nulls)?,
            Values::Float32(values) => primitive::<arrow::datatypes::Float32Type>(values, nulls)?,
            Values::Float64(values) => primitive::<arrow::datatypes::Float64Type>(values, nulls)?,
            Values::Text(ends, bytes) => {
                self.text_bytes = bytes.len();
                let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
                Arc::new(StringArray::try_new(ends, Buffer::from_vec(bytes), nulls)?)
            }
            Values::Decimal(values) => {
                let array = Decimal128Array::try_new(values.into(), nulls)?;
                match arrow_type(self.data_type) {
                    DataType::Decimal128(precision, scale) => {
                        Arc::new(array.with_precision_and_scale(precision, scale)?)
                    }
                    _ => Arc::new(array),
                }
            }
        })
    }
}

impl Values {
    fn new(data_type: ColumnType, rows: usize, text_bytes: usize) -> Values {
        match data_type {
            ColumnType::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            ColumnType::Int32 | ColumnType::Date => Values::Int32(Vec::with_capacity(rows)),
            ColumnType::Int64
            | ColumnType::TimestampS
            | ColumnType::TimestampMs
            | ColumnType::TimestampUs
            | ColumnType::TimestampNs
            | ColumnType::TimestampText => Values::Int64(Vec::with_capacity(rows)),
            ColumnType::Float32 => Values::Float32(Vec::with_capacity(rows)),
            ColumnType::Float64 => Values::Float64(Vec::with_capacity(rows)),
            ColumnType::String => {
                let mut ends = Vec::with_capacity(rows + 1);
                ends.push(0);
                Values::Text(ends, Vec::with_capacity(text_bytes))
            }
            ColumnType::Decimal { .. } => Values::Decimal(Vec::with_capacity(rows)),
        }
    }

    fn push_default(&mut self) {
        match self {
            Values::Boolean(values) => values.append(false),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Text(ends, _) => ends.push(ends.last().copied().unwrap_or(0)),
            Values::Decimal(values) => values.push(0),
        }
    }
}

fn push_text(ends: &mut Vec<i32>, bytes: &mut Vec<u8>, text: &str) -> Result<(), String> {
    let end = i32::try_from(bytes.len() + text.len())
        .map_err(|_| "the batch holds more than 2 GiB of text".to_string())?;
    bytes.extend_from_slice(text.as_bytes());
    ends.push(end);
    Ok(())
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls)?))
}

fn whole_number(value: Value<'_>) -> Result<i64, String> {
    let (Value::Number(text) | Value::Field(text)) = value else {
        return Err(wrong("a whole number", value));
    };
    number::whole_number(text).map_err(|error| match error {
        NumberError::TooLarge => too_large(value, "bigint"),
        NumberError::Fraction | NumberError::Malformed => wrong("a whole number", value),
    })
}

fn float(value: Value<'_>, name: &str) -> Result<f64, String> {
    let text = match value {
        Value::Number(text) => text,
        Value::Text("NaN") | Value::Field("NaN") => return Ok(f64::NAN),
        Value::Text("Infinity") | Value::Field("Infinity") => return Ok(f64::INFINITY),
        Value::Text("-Infinity") | Value::Field("-Infinity") => return Ok(f64::NEG_INFINITY),
        Value::Field(text) if number::is_number(text) => text,
        _ => return Err(wrong("a number", value)),
    };
    let number: f64 = text.parse().map_err(|_| wrong("a number", value))?;
    if number.is_finite() { Ok(number) } else { Err(too_large(value, name)) }
}

fn boolean(value: Value<'_>) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(value),
        Value::Field("true") => Ok(true),
        Value::Field("false") => Ok(false),
        _ => Err(wrong("true or false", value)),
    }
}

fn date(value: Value<'_>) -> Result<i32, String> {
    let (Value::Text(text) | Value::Field(text)) = value else {
        return Err(wrong("a date like 2013-01-31", value));
    };
    timestamp::date_days(text).ok_or_else(|| wrong("a date like 2013-01-31", value))
}

/// A timestamp of any type, in milliseconds.
fn time(data_type: ColumnType, texts: &TimeText, value: Value<'_>) -> Result<i64, String> {
    // How many digits before or after the point milliseconds are, and what the number counts.
    let (scale, unit) = match data_type {
        ColumnType::TimestampS => (3, "seconds"),
        ColumnType::TimestampMs => (0, "milliseconds"),
        ColumnType::TimestampUs => (-3, "microseconds"),
        ColumnType::TimestampNs => (-6, "nanoseconds"),
        _ => return time_of_text(texts, value),
    };
    let wanted = || wrong(&format!("a number of {unit} since 1970"), value);
    // Text too: many write large numbers so, since readers make doubles of JSON's numbers.
    let (Value::Number(text) | Value::Field(text) | Value::Text(text)) = value else {
        return Err(wanted());
    };
    match number::cut(text, scale) {
        Ok(ms) => i64::try_from(ms)
            .ok()
            .filter(|ms| TIMESTAMP_MS.contains(ms))
            .ok_or_else(|| outside_calendar(value)),
        Err(NumberError::TooLarge) => Err(outside_calendar(value)),
        Err(_) => Err(wanted()),
    }
}

fn time_of_text(texts: &TimeText, value: Value<'_>) -> Result<i64, String> {
    let (Value::Text(text) | Value::Field(text)) = value else {
        return Err(wrong(&texts.wanted(), value));
    };
    texts.ms(text).map_err(|error| match error {
        TimeTextError::Malformed => wrong(&texts.wanted(), value),
        TimeTextError::OutOfRange => outside_calendar(value),
        TimeTextError::Skipped(zone) => {
            format!("{} never was in {zone}: its clocks were put forward past it", shown(value))
        }
        TimeTextError::UnknownZone(zone) => format!("there is no time zone `{zone}`"),
    })
}

fn outside_calendar(value: Value<'_>) -> String {
    format!("{} lies outside the years 0001 to 9999", shown(value))
}

fn wrong(wanted: &str, value: Value<'_>) -> String {
    format!("expected {wanted}, found {}", shown(value))
}

fn too_large(value: Value<'_>, data_type: &str) -> String {
    format!("{} does not fit into {data_type}", shown(value))
}

/// The value for people, cut to a length that a message can bear.
fn shown(value: Value<'_>) -> String {
    const CHARS_MAX: usize = 40;
    let cut = |text: &str| match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    };
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) => format!("the number {}", cut(text)),
        Value::Text(text) => format!("the text \"{}\"", cut(text)),
        Value::Composite(text) if text.starts_with('{') => "an object".to_string(),
        Value::Composite(_) => "an array".to_string(),
        Value::Field(text) => format!("`{}`", cut(text)),
    }
}
