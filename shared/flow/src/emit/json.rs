//! A result row or a dead letter as one line of JSON.
//!
//! | type | JSON |
//! |---|---|
//! | integers, booleans, text, null | themselves |
//! | floats | shortest digits that read back the same; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | decimals | text with all digits of the scale, because readers make doubles of JSON numbers |
//! | timestamps | RFC 3339, UTC, milliseconds (more digits only where there are any); years beyond 0000–9999 with a sign and six digits or more (ISO 8601) |
//! | dates, times | `"2013-01-31"`, `"06:00:00.000"` |
//! | durations, intervals | ISO 8601: `"PT1.5S"`, `"P1M2DT3S"` |
//! | binary | base64 |
//! | lists, structs, maps | arrays, objects, objects (keys as text) |
//!
//! # Invariants
//! 1. The same row gives the same bytes. Columns stand in the batch's order.
//! 2. A line holds no line break but its last byte.
//! 3. Every type is known before the first row is written ([`RowWriter::new`]).

mod dead_letter;
mod time;
mod value;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use tidemill_model::EventMs;

pub(super) use dead_letter::{write_dead_letter, write_failed, write_rejected, write_shortened};

/// A column that JSON lines cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a column of this type has no JSON. column=`{column}` type=`{data_type}`")]
pub struct JsonError {
    /// The column.
    pub column: String,
    /// Its Arrow type.
    pub data_type: String,
}

/// Refuses columns that JSON lines cannot hold.
pub fn check(schema: &Schema) -> Result<(), JsonError> {
    match schema.fields().iter().find(|field| !value::is_writable(field.data_type())) {
        None => Ok(()),
        Some(field) => {
            let (column, data_type) = (field.name().clone(), field.data_type().to_string());
            Err(JsonError { column, data_type })
        }
    }
}

/// Appends value `row` of `array`, whose type [`check`] took.
pub fn write_value(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    value::write(out, array, row);
}

/// A point in time as every timestamp is written, without quotes. Within the years 0000–9999 texts
/// sort as their times do.
pub fn time_text(time: EventMs) -> String {
    time::Timestamp::from_ms(time.0).to_string()
}

/// Writes the rows of one batch.
pub struct RowWriter<'a> {
    batch: &'a RecordBatch,
    /// What stands before each value: `{"name":`, then `,"name":`.
    keys: Vec<Vec<u8>>,
}

impl<'a> RowWriter<'a> {
    /// A writer of `batch`'s rows.
    pub fn new(batch: &'a RecordBatch) -> Result<RowWriter<'a>, JsonError> {
        check(batch.schema_ref())?;
        let mut keys = Vec::with_capacity(batch.num_columns());
        for (index, field) in batch.schema_ref().fields().iter().enumerate() {
            let mut key = vec![if index == 0 { b'{' } else { b',' }];
            value::write_text(&mut key, field.name());
            key.push(b':');
            keys.push(key);
        }
        Ok(RowWriter { batch, keys })
    }

    /// Appends row `row` and a line break to `out`.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        self.write_tagged(&[], row, out);
    }

    /// The same with members of text before the columns, such as the row's id. No column may have
    /// the name of one.
    pub fn write_tagged(&self, tags: &[(&str, &str)], row: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        for (name, text) in tags {
            out.push(if out.len() == begin { b'{' } else { b',' });
            value::write_text(out, name);
            out.push(b':');
            value::write_text(out, text);
        }
        if self.keys.is_empty() && tags.is_empty() {
            out.push(b'{');
        }
        for (key, column) in self.keys.iter().zip(self.batch.columns()) {
            let comma = out.len();
            out.extend_from_slice(key);
            if comma > begin {
                out[comma] = b',';
            }
            value::write(out, column.as_ref(), row);
        }
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests;
