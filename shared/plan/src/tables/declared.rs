//! Tables whose columns are declared: read as a stream's records are, but that what cannot be read is
//! an error of the whole table.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidemill_model::ColumnType;
use tidemill_pipeline::{Column, Table, TableFormat};
use tidemill_records::{ColumnBuilder, RowReader, Value, file_records};

use super::{BATCH_ROWS, TABLE_BYTES_MAX, bounded, text_of};
use crate::schema::arrow_type;

/// The table's rows, of the declared types.
pub(super) fn read(
    table: &Table,
    columns: &[Column],
) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let field = |column: &Column| Field::new(&column.name, arrow_type(column.data_type), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let batches = match table.format {
        TableFormat::Csv => csv(&text_of(table)?, columns, &schema)?,
        TableFormat::JsonLines => {
            rows(json_lines(&text_of(table)?), RowReader::json(columns), &schema)?
        }
        TableFormat::Parquet => parquet(table, columns, &schema)?,
    };
    Ok((schema, batches))
}

/// The rows of a CSV file, whose first record is the header.
pub(super) fn csv(
    text: &str,
    columns: &[Column],
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, String> {
    let mut records = file_records(text);
    let (_, header) = records.next().ok_or("the file is empty: it has no header")?;
    let reader = RowReader::csv(columns, Some(header.as_bytes())).map_err(|e| e.to_string())?;
    rows(records, reader, schema)
}

/// The objects of a file of JSON lines, each with its line's number.
pub(super) fn json_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.bytes().all(|byte| byte.is_ascii_whitespace()))
}

/// The records' rows.
pub(super) fn rows<'a>(
    records: impl Iterator<Item = (usize, &'a str)>,
    mut reader: RowReader,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, String> {
    let mut records = records.peekable();
    let batches = std::iter::from_fn(|| {
        records.peek()?;
        reader.begin(BATCH_ROWS);
        for (line, record) in records.by_ref().take(BATCH_ROWS) {
            if let Err(what) = reader.push(record) {
                return Some(Err(Unreadable(format!("line {line}: {what}"))));
            }
        }
        let batch =
            reader.finish().and_then(|arrays| RecordBatch::try_new(Arc::clone(schema), arrays));
        Some(batch.map_err(Unreadable::from))
    });
    bounded(batches, TABLE_BYTES_MAX).map_err(|unreadable| unreadable.0)
}

/// Why a table cannot be read.
struct Unreadable(String);

impl From<arrow::error::ArrowError> for Unreadable {
    fn from(error: arrow::error::ArrowError) -> Unreadable {
        Unreadable(error.to_string())
    }
}

fn parquet(
    table: &Table,
    columns: &[Column],
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, String> {
    let file = File::open(&table.path).map_err(|error| error.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
    let reader = builder.build().map_err(|error| error.to_string())?;
    let batches = reader.map(|batch| {
        let batch = batch?;
        let arrays = columns.iter().map(|column| {
            let name = column.name_in_file();
            let array = batch
                .column_by_name(name)
                .ok_or_else(|| Unreadable(format!("the file has no column `{name}`")))?;
            typed(array, column)
                .map_err(|error| Unreadable(format!("column `{}`: {error}", column.name)))
        });
        let arrays = arrays.collect::<Result<Vec<_>, Unreadable>>()?;
        Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
    });
    bounded(batches, TABLE_BYTES_MAX).map_err(|unreadable: Unreadable| unreadable.0)
}

/// A column of a file that has types of its own, as the declared type. Texts, and numbers that are
/// times, are read as they are in records.
fn typed(array: &ArrayRef, column: &Column) -> Result<ArrayRef, String> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast =
        |to: &DataType| cast_with_options(array, to, &strict).map_err(|error| error.to_string());
    let is_text =
        matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let counts = matches!(
        column.data_type,
        ColumnType::TimestampS
            | ColumnType::TimestampMs
            | ColumnType::TimestampUs
            | ColumnType::TimestampNs
    );
    let is_count = counts && array.data_type().is_numeric();
    if !is_text && !is_count {
        return cast(&arrow_type(column.data_type));
    }
    let texts = cast(&DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut builder = ColumnBuilder::new(column);
    builder.begin(texts.len());
    for text in texts {
        let value = match text {
            None => Value::Null,
            Some(text) => Value::Field(text),
        };
        builder.push(&value)?;
    }
    builder.finish().map_err(|error| error.to_string())
}
