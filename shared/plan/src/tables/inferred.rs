//! Tables without declared columns: their types are found from all of their values.
//!
//! A CSV column is numbers if every one of its texts is one: whole ones that fit are `bigint`, else
//! `double`. Everything else is text, also what only looks like numbers: with leading zeros, with more
//! digits than fit. In JSON lines numbers, booleans and texts are what they are; a column of several
//! kinds is text, and so is one of whole numbers that do not fit. Parquet says its types itself.
//!
//! Quoted empty text in CSV is text; an empty field without quotes is null.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidemill_model::ColumnType;
use tidemill_pipeline::{Column, Table, TableFormat};
use tidemill_records::{ColumnBuilder, RowReader, Value, file_records, header_names};

use super::declared::{csv, json_lines, rows};
use super::{TABLE_BYTES_MAX, bounded, text_of};
use crate::schema::arrow_type;

/// What was found of a table whose columns are not declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferredTable {
    /// Its name.
    pub name: String,
    /// Its file's name, without folders.
    pub file: String,
    /// Its columns, in the order of `SELECT *`: the file's, of JSON lines the names'.
    pub columns: Vec<InferredColumn>,
}

/// A column of such a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferredColumn {
    /// Its name.
    pub name: String,
    /// Its type, as a pipeline file spells it, where it has a name there.
    pub data_type: String,
    /// Whether it is text only because a query compares it with a text.
    pub joined_with_text: bool,
}

type Contents = (SchemaRef, Vec<RecordBatch>, InferredTable);

/// The table's rows, and what its columns are; those named in `as_text` are text.
pub(super) fn read(table: &Table, as_text: &BTreeSet<String>) -> Result<Contents, String> {
    let (schema, batches) = match table.format {
        TableFormat::Csv => read_csv(&text_of(table)?, as_text)?,
        TableFormat::JsonLines => read_json(&text_of(table)?, as_text)?,
        TableFormat::Parquet => read_parquet(&table.path, as_text)?,
    };
    let columns = schema.fields().iter().map(|field| InferredColumn {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
        joined_with_text: as_text.contains(field.name()),
    });
    let file = table.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let found = InferredTable { name: table.name.clone(), file, columns: columns.collect() };
    Ok((schema, batches, found))
}

fn read_csv(
    text: &str,
    as_text: &BTreeSet<String>,
) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let header = file_records(text).next().map(|(_, header)| header).unwrap_or_default();
    let names = header_names(header.as_bytes()).map_err(|error| error.to_string())?;
    let columns: Vec<Column> =
        names.iter().map(|name| Column::new(name, ColumnType::String)).collect();
    let texts = csv(text, &columns, &text_schema(&columns))?;
    let types =
        columns.iter().enumerate().map(|(index, column)| match as_text.contains(&column.name) {
            true => ColumnType::String,
            false => number_type(texts_of(&texts, index)),
        });
    typed(&texts, &columns, types.collect())
}

/// One object a line. Columns of objects and lists are read by the engine's reader, the others as in
/// a stream.
fn read_json(
    text: &str,
    as_text: &BTreeSet<String>,
) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let engine = |error: arrow::error::ArrowError| error.to_string();
    let (found, _) =
        arrow::json::reader::infer_json_schema(text.as_bytes(), None).map_err(engine)?;
    let columns: Vec<Column> =
        found.fields().iter().map(|field| Column::new(field.name(), ColumnType::String)).collect();
    let texts = rows(json_lines(text), RowReader::json(&columns), &text_schema(&columns))?;
    let types = found.fields().iter().enumerate().map(|(index, field)| match field.data_type() {
        _ if as_text.contains(field.name()) => ColumnType::String,
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int64 | DataType::Float64 => number_type(texts_of(&texts, index)),
        _ => ColumnType::String,
    });
    let (schema, batches) = typed(&texts, &columns, types.collect())?;
    let nested: Vec<&Arc<Field>> =
        found.fields().iter().filter(|field| field.data_type().is_nested()).collect();
    if nested.is_empty() || batches.is_empty() {
        return Ok((schema, batches));
    }
    let all = concat_batches(&schema, &batches).map_err(engine)?;
    let nested = Arc::new(Schema::new(nested.into_iter().cloned().collect::<Vec<_>>()));
    let reader = arrow::json::ReaderBuilder::new(Arc::clone(&nested))
        .with_batch_size(all.num_rows())
        .build(text.as_bytes())
        .map_err(engine)?;
    let nested = concat_batches(&nested, &bounded(reader, TABLE_BYTES_MAX).map_err(engine)?);
    let nested = nested.map_err(engine)?;
    let arrays = schema
        .fields()
        .iter()
        .zip(all.columns())
        .map(|(field, array)| nested.column_by_name(field.name()).unwrap_or(array));
    let arrays: Vec<ArrayRef> = arrays.cloned().collect();
    let fields = schema.fields().iter().zip(&arrays);
    let fields =
        fields.map(|(field, array)| Field::new(field.name(), array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let whole = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(engine)?;
    Ok((schema, vec![whole]))
}

fn read_parquet(
    path: &Path,
    as_text: &BTreeSet<String>,
) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let engine = |error: arrow::error::ArrowError| error.to_string();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
    let fields =
        builder.schema().fields().iter().map(|field| match as_text.contains(field.name()) {
            true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
            false => Arc::clone(field),
        });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let reader = builder.build().map_err(|error| error.to_string())?;
    let batches = reader.map(|batch| {
        let batch = batch?;
        let arrays = schema.fields().iter().zip(batch.columns());
        let arrays = arrays.map(|(field, array)| cast(array, field.data_type()));
        RecordBatch::try_new(Arc::clone(&schema), arrays.collect::<Result<Vec<_>, _>>()?)
    });
    let batches = bounded(batches, TABLE_BYTES_MAX).map_err(engine)?;
    Ok((schema, batches))
}

fn text_schema(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|column| Field::new(&column.name, DataType::Utf8, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The texts of a column that are not null.
fn texts_of(batches: &[RecordBatch], column: usize) -> impl Iterator<Item = &str> {
    let arrays = batches.iter().map(move |batch| batch.column(column).as_string::<i32>());
    arrays.flat_map(|array| array.iter().flatten())
}

/// The type of number that all these texts are, else text.
fn number_type<'a>(texts: impl Iterator<Item = &'a str>) -> ColumnType {
    let mut found = None;
    for text in texts {
        found = match (kind_of(text), found) {
            (ColumnType::String, _) => return ColumnType::String,
            (ColumnType::Int64, Some(ColumnType::Float64)) => Some(ColumnType::Float64),
            (kind, _) => Some(kind),
        };
    }
    found.unwrap_or(ColumnType::String)
}

/// What a text is alone. A number written in an unusual way, such as with leading zeros, is a code.
fn kind_of(text: &str) -> ColumnType {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number =
        digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
            && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let leading_zero = matches!(digits.as_bytes(), [b'0', b'0'..=b'9', ..]);
    if !is_number || leading_zero {
        return ColumnType::String;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // One that does not fit is no double either: two of them could be the same double.
        return if text.parse::<i64>().is_ok() { ColumnType::Int64 } else { ColumnType::String };
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => ColumnType::Float64,
        _ => ColumnType::String,
    }
}

/// Texts as these types.
fn typed(
    texts: &[RecordBatch],
    columns: &[Column],
    types: Vec<ColumnType>,
) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let fields = columns.iter().zip(&types);
    let fields =
        fields.map(|(column, data_type)| Field::new(&column.name, arrow_type(*data_type), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batches = texts.iter().map(|batch| {
        let arrays =
            batch.columns().iter().zip(&types).map(|(array, data_type)| of_type(array, *data_type));
        let arrays = arrays.collect::<Result<Vec<_>, String>>()?;
        RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|error| error.to_string())
    });
    let batches = batches.collect::<Result<Vec<_>, String>>()?;
    Ok((schema, batches))
}

fn of_type(array: &ArrayRef, data_type: ColumnType) -> Result<ArrayRef, String> {
    let engine = |error: arrow::error::ArrowError| error.to_string();
    match data_type {
        ColumnType::String => Ok(Arc::clone(array)),
        // As they are, also `.5` and `5.`, which records may not have.
        ColumnType::Float64 => cast(array, &DataType::Float64).map_err(engine),
        data_type => {
            let mut builder = ColumnBuilder::new(&Column::new("", data_type));
            builder.begin(array.len());
            for text in array.as_string::<i32>() {
                builder.push(&text.map_or(Value::Null, Value::Field))?;
            }
            builder.finish().map_err(engine)
        }
    }
}

/// A type as a pipeline file spells it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_string(),
        DataType::Int32 => "int".to_string(),
        DataType::Int64 => "bigint".to_string(),
        DataType::Float32 => "float".to_string(),
        DataType::Float64 => "double".to_string(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_string(),
        DataType::Date32 => "date".to_string(),
        DataType::Timestamp(..) => "timestamp".to_string(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        other => other.to_string(),
    }
}
