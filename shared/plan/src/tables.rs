//! Static lookup tables: a file, read whole, once, at start.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidemill_model::ColumnType;
use tidemill_model::limits::{TABLE_BYTES_MAX, TABLE_FILE_BYTES_MAX};
use tidemill_pipeline::{Table, TableFormat};
use xxhash_rust::xxh3::Xxh3;

use crate::schema::arrow_type;

/// A static table in memory.
#[derive(Debug, Clone)]
pub(crate) struct StaticTable {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// XXH3-128 of the file: part of the fingerprint of queries whose advance reads the table.
    pub(crate) hash: u128,
}

/// Rows of a file that its column types are guessed from.
const INFER_ROWS: usize = 10_000;

/// Reads a table's file. The error says what is wrong with it.
pub(crate) fn read(table: &Table) -> Result<StaticTable, String> {
    let bytes = std::fs::metadata(&table.path).map_err(|error| error.to_string())?.len();
    if bytes > TABLE_FILE_BYTES_MAX {
        return Err(format!("the file has {bytes} bytes, more than {TABLE_FILE_BYTES_MAX}"));
    }
    let hash = hash_of(table).map_err(|error| error.to_string())?;
    let (schema, batches) = match table.format {
        TableFormat::Csv => read_csv(table),
        TableFormat::JsonLines => read_json(table),
        TableFormat::Parquet => read_parquet(table),
    }
    .map_err(|error| error.to_string())?;
    match &table.columns {
        None => Ok(StaticTable { schema, batches, hash }),
        Some(columns) => {
            let declared = Arc::new(Schema::new(
                columns
                    .iter()
                    .map(|column| Field::new(&column.name, arrow_type(column.data_type), true))
                    .collect::<Vec<_>>(),
            ));
            let batches = batches
                .iter()
                .map(|batch| {
                    let arrays = columns
                        .iter()
                        .map(|column| {
                            let array =
                                batch.column_by_name(&column.path.join(".")).ok_or_else(|| {
                                    format!("the file has no column `{}`", column.path.join("."))
                                })?;
                            typed(array, column.data_type)
                                .map_err(|error| format!("column `{}`: {error}", column.name))
                        })
                        .collect::<Result<Vec<_>, String>>()?;
                    RecordBatch::try_new(Arc::clone(&declared), arrays)
                        .map_err(|error| error.to_string())
                })
                .collect::<Result<Vec<_>, String>>()?;
            Ok(StaticTable { schema: declared, batches, hash })
        }
    }
}

fn hash_of(table: &Table) -> std::io::Result<u128> {
    let mut file = File::open(&table.path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn typed(array: &ArrayRef, data_type: ColumnType) -> Result<ArrayRef, ArrowError> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let unit = match data_type {
        ColumnType::TimestampS => Some(TimeUnit::Second),
        ColumnType::TimestampMs => Some(TimeUnit::Millisecond),
        ColumnType::TimestampUs => Some(TimeUnit::Microsecond),
        _ => None,
    };
    let numbered = match unit {
        Some(unit) => {
            let number = cast_with_options(array, &DataType::Int64, &strict)?;
            cast_with_options(&number, &DataType::Timestamp(unit, None), &strict)?
        }
        None => Arc::clone(array),
    };
    cast_with_options(&numbered, &arrow_type(data_type), &strict)
}

type Contents = Result<(SchemaRef, Vec<RecordBatch>), ArrowError>;

fn read_csv(table: &Table) -> Contents {
    let mut file = BufReader::new(File::open(&table.path)?);
    let format = arrow::csv::reader::Format::default().with_header(true);
    let (inferred, _) = format.infer_schema(&mut file, None)?;
    file.rewind()?;
    let fields: Vec<Field> = inferred
        .fields()
        .iter()
        .map(|field| {
            let data_type = match field.data_type() {
                DataType::Int64 | DataType::Float64 if table.columns.is_none() => {
                    field.data_type().clone()
                }
                _ => DataType::Utf8,
            };
            Field::new(field.name(), data_type, true)
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let reader =
        arrow::csv::ReaderBuilder::new(Arc::clone(&schema)).with_header(true).build(file)?;
    Ok((schema, bounded(reader, TABLE_BYTES_MAX)?))
}

fn read_json(table: &Table) -> Contents {
    let mut file = BufReader::new(File::open(&table.path)?);
    let (schema, _) = arrow::json::reader::infer_json_schema(&mut file, Some(INFER_ROWS))?;
    file.rewind()?;
    let schema = Arc::new(schema);
    let reader = arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build(file)?;
    Ok((schema, bounded(reader, TABLE_BYTES_MAX)?))
}

fn read_parquet(table: &Table) -> Contents {
    let parquet =
        |error: parquet::errors::ParquetError| ArrowError::from_external_error(Box::new(error));
    let file = File::open(&table.path)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
    let schema = Arc::clone(builder.schema());
    let reader = builder.build().map_err(parquet)?;
    Ok((schema, bounded(reader, TABLE_BYTES_MAX)?))
}

/// The batches, as long as they have at most `bytes_max` bytes together: a compressed file may hold
/// far more than its size.
fn bounded(
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    bytes_max: usize,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut read = Vec::new();
    let mut bytes = 0;
    for batch in batches {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > bytes_max {
            let reason = format!("the table has more than {bytes_max} bytes in memory");
            return Err(ArrowError::MemoryError(reason));
        }
        read.push(batch);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn a_table_that_grows_too_large_is_refused_while_it_is_read() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![7; 1000]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let endless = || std::iter::repeat_with(|| Ok(batch.clone()));
        assert_eq!(bounded(endless().take(10), 100_000).unwrap().len(), 10);
        assert!(bounded(endless(), 100_000).unwrap_err().to_string().contains("100000 bytes"));
    }
}
