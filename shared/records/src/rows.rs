//! Record after record into the columns of one stream or table.
//!
//! # Invariants
//! 1. A record adds one value to every column; one that fails may have added some, and is taken back
//!    by [`RowReader::truncate`].

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use tidemill_model::ColumnType;
use tidemill_pipeline::Column;

use crate::columns::ColumnBuilder;
use crate::csv::{CsvReader, HeaderError};
use crate::json::JsonReader;

/// Reads records into columns.
#[derive(Debug)]
pub struct RowReader {
    names: Vec<String>,
    types: Vec<ColumnType>,
    columns: Vec<ColumnBuilder>,
    /// For each column where the reader has its value.
    sources: Vec<usize>,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Json(JsonReader),
    Csv(CsvReader),
}

impl RowReader {
    /// A reader of JSON objects.
    pub fn json(columns: &[Column]) -> RowReader {
        let (reader, slots) = JsonReader::new(columns);
        RowReader::new(columns, Reader::Json(reader), slots)
    }

    /// A reader of CSV records, whose fields `header` names; without it they are the columns in
    /// order.
    pub fn csv(columns: &[Column], header: Option<&[u8]>) -> Result<RowReader, HeaderError> {
        let (reader, fields) = CsvReader::new(columns, header)?;
        Ok(RowReader::new(columns, Reader::Csv(reader), fields))
    }

    fn new(columns: &[Column], reader: Reader, sources: Vec<usize>) -> RowReader {
        RowReader {
            names: columns.iter().map(|column| column.name.clone()).collect(),
            types: columns.iter().map(|column| column.data_type).collect(),
            columns: columns.iter().map(ColumnBuilder::new).collect(),
            sources,
            reader,
        }
    }

    /// Makes room for `rows` rows.
    pub fn begin(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.begin(rows));
    }

    /// Adds the record's values to the columns, or says why it cannot be read.
    pub fn push(&mut self, record: &str) -> Result<(), String> {
        let names = &self.names;
        let targets = self.columns.iter_mut().zip(&self.sources).enumerate();
        match &mut self.reader {
            Reader::Json(reader) => {
                let sources = &self.sources;
                let fault = |fault: crate::json::Fault| {
                    let column = fault.slot.and_then(|slot| {
                        let index = sources.iter().position(|source| *source == slot)?;
                        names.get(index)
                    });
                    let column = column.map(|name| format!("column `{name}`: "));
                    let column = column.unwrap_or_default();
                    format!("{column}{} at byte {}", fault.what, fault.at)
                };
                reader.read(record).map_err(fault)?;
                for (index, (column, slot)) in targets {
                    let value = reader.value(*slot, record).map_err(fault)?;
                    column
                        .push(&value)
                        .map_err(|what| mismatch(&names[index], &what, reader.offset(*slot)))?;
                }
            }
            Reader::Csv(reader) => {
                reader
                    .read(record)
                    .map_err(|fault| format!("{} at byte {}", fault.what, fault.at))?;
                for (index, (column, field)) in targets {
                    let value = reader.value(*field, self.types[index], record);
                    column
                        .push(&value)
                        .map_err(|what| mismatch(&names[index], &what, reader.offset(*field)))?;
                }
            }
        }
        Ok(())
    }

    /// Takes back every value from row `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(len));
    }

    /// Whether every column has this many values.
    pub fn has_rows(&self, rows: usize) -> bool {
        self.columns.iter().all(|column| column.len() == rows)
    }

    /// The last value of this column, a timestamp, in milliseconds; `None` when it is null.
    pub fn last_time(&self, column: usize) -> Option<i64> {
        self.columns.get(column)?.last_time()
    }

    /// The columns as arrays; they are empty afterwards.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.iter_mut().map(ColumnBuilder::finish).collect()
    }
}

fn mismatch(column: &str, what: &str, at: usize) -> String {
    format!("column `{column}`: {what} at byte {at}")
}
