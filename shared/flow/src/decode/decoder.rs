//! The decoder of one stream: record after record into the columns, or aside.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::SchemaRef;
use tidemill_model::limits::RECORD_BYTES_MAX;
use tidemill_model::{ColumnType, DeadReason, EventMs, LogId, WallMs};
use tidemill_pipeline::{EventTime, Format, Stream};

use super::columns::Column;
use super::csv::CsvReader;
use super::json::JsonReader;
use super::{Decoded, RawBatch};

/// Decodes the records of one stream.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    names: Vec<String>,
    types: Vec<ColumnType>,
    columns: Vec<Column>,
    /// For each column where the reader has its value.
    sources: Vec<usize>,
    reader: Reader,
    event_time: EventTime,
    max_future_ms: i64,
}

#[derive(Debug)]
enum Reader {
    Json(JsonReader),
    Csv(CsvReader),
}

/// Why a stream's records cannot be decoded at all: the input or the pipeline file has to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeSetupError {
    /// The header line is no line of CSV.
    #[error("the CSV header cannot be read: {reason}. stream=`{stream}`")]
    HeaderUnreadable {
        /// The stream.
        stream: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The header lacks a declared column.
    #[error(
        "the CSV header has no column `{column}`{}. It must be the input's first line. \
         stream=`{stream}` columns_in_header=`{columns}`",
        .suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
    )]
    MissingColumn {
        /// The stream.
        stream: String,
        /// Name that the header should have.
        column: String,
        /// A name of the header that it may be a misspelling of.
        suggestion: Option<String>,
        /// How many names the header has. They are not told: without a header, the first line is a
        /// record.
        columns: usize,
    },
    /// The header names a declared column twice.
    #[error("the CSV header has two columns `{column}`. stream=`{stream}`")]
    AmbiguousColumn {
        /// The stream.
        stream: String,
        /// The name.
        column: String,
    },
}

impl Decoder {
    /// The decoder of `stream`. `csv_header` is the line that names the fields of a CSV input;
    /// without it the fields are the declared columns in order. JSON needs none.
    pub fn new(stream: &Stream, csv_header: Option<&[u8]>) -> Result<Decoder, DecodeSetupError> {
        let (reader, sources) = match stream.format {
            Format::Json => {
                let (reader, slots) = JsonReader::new(&stream.columns);
                (Reader::Json(reader), slots)
            }
            Format::Csv => {
                let (reader, fields) = CsvReader::new(&stream.name, &stream.columns, csv_header)?;
                (Reader::Csv(reader), fields)
            }
        };
        Ok(Decoder {
            schema: tidemill_plan::stream_schema(stream),
            names: stream.columns.iter().map(|column| column.name.clone()).collect(),
            types: stream.columns.iter().map(|column| column.data_type).collect(),
            columns: stream.columns.iter().map(|column| Column::new(column.data_type)).collect(),
            sources,
            reader,
            event_time: stream.event_time,
            max_future_ms: stream.max_future_ms,
        })
    }

    /// Decodes the records of `log` that a source delivered together.
    ///
    /// # Panics
    /// When a record does not lie in the batch's buffer.
    pub fn decode(&mut self, log: &LogId, raw: RawBatch) -> Decoded {
        let count = raw.records.len();
        self.columns.iter_mut().for_each(|column| column.begin(count));
        let mut records = Vec::with_capacity(count);
        let mut event_times = Vec::with_capacity(count);
        let mut arrivals = Vec::with_capacity(count);
        let mut dead = Vec::new();
        let mut cut = raw.cut.iter().peekable();
        let mut nulls = raw.nulls.iter().peekable();
        // Once for all records: most batches are UTF-8 throughout.
        let text = std::str::from_utf8(&raw.buffer).ok();
        for (index, record) in raw.records.iter().enumerate() {
            let row = match cut.next_if(|cut| cut.index as usize == index) {
                Some(cut) => Err(too_large(cut.length)),
                None if nulls.next_if(|null| **null as usize == index).is_some() => {
                    Err(undecodable("the record has no value (null)".to_string()))
                }
                None => self.record(&raw, index, text, records.len()),
            };
            match row {
                Ok(event_time) => {
                    records.push(index as u32);
                    event_times.push(event_time);
                    arrivals.push(record.arrival.0);
                }
                Err(reason) => {
                    self.columns.iter_mut().for_each(|column| column.truncate(records.len()));
                    dead.push((index as u32, raw.dead_letter(log, index, reason)));
                }
            }
        }
        let rows = self.finish(arrivals);
        Decoded { raw: Arc::new(raw), range: 0..count, rows, records, event_times, dead }
    }

    /// One record as the row of number `row`; on failure some columns may be a value ahead.
    fn record(
        &mut self,
        raw: &RawBatch,
        index: usize,
        text: Option<&str>,
        row: usize,
    ) -> Result<EventMs, DeadReason> {
        let bytes = raw.bytes_of(index);
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(too_large(bytes.len() as u64));
        }
        let span = &raw.records[index].bytes;
        let span = span.start as usize..span.end as usize;
        let text = match text.and_then(|text| text.get(span)) {
            Some(text) => text,
            None => std::str::from_utf8(bytes).map_err(|error| {
                undecodable(format!("not UTF-8 at byte {}", error.valid_up_to()))
            })?,
        };
        self.values(text)?;
        debug_assert!(self.columns.iter().all(|column| column.len() == row + 1));
        self.time(raw.records[index].arrival)
    }

    /// Adds the record's values to the columns.
    fn values(&mut self, text: &str) -> Result<(), DeadReason> {
        let names = &self.names;
        let targets = self.columns.iter_mut().zip(&self.sources).enumerate();
        match &mut self.reader {
            Reader::Json(reader) => {
                let sources = &self.sources;
                let fault = |fault: super::json::Fault| {
                    let column = fault.slot.and_then(|slot| {
                        let index = sources.iter().position(|source| *source == slot)?;
                        names.get(index)
                    });
                    let column = column.map(|name| format!("column `{name}`: "));
                    let column = column.unwrap_or_default();
                    undecodable(format!("{column}{} at byte {}", fault.what, fault.at))
                };
                reader.read(text).map_err(fault)?;
                for (index, (column, slot)) in targets {
                    let value = reader.value(*slot, text).map_err(fault)?;
                    column
                        .push(&value)
                        .map_err(|what| mismatch(&names[index], &what, reader.offset(*slot)))?;
                }
            }
            Reader::Csv(reader) => {
                reader
                    .read(text)
                    .map_err(|fault| undecodable(format!("{} at byte {}", fault.what, fault.at)))?;
                for (index, (column, field)) in targets {
                    let value = reader.value(*field, self.types[index], text);
                    column
                        .push(&value)
                        .map_err(|what| mismatch(&names[index], &what, reader.offset(*field)))?;
                }
            }
        }
        Ok(())
    }

    /// The event time of the row that was just added.
    fn time(&self, arrival: WallMs) -> Result<EventMs, DeadReason> {
        let EventTime::Column(index) = self.event_time else { return Ok(EventMs(arrival.0)) };
        let Some(ms) = self.columns[index].last_time() else {
            return Err(DeadReason::NoEventTime);
        };
        let event_time = EventMs(ms);
        if event_time > EventMs(arrival.0).plus(self.max_future_ms) {
            return Err(DeadReason::Future { event_time });
        }
        Ok(event_time)
    }

    /// The columns as a batch; they are empty afterwards.
    #[allow(clippy::expect_used, reason = "the columns are of the schema's types and equally long")]
    fn finish(&mut self, arrivals: Vec<i64>) -> RecordBatch {
        let mut arrays: Vec<ArrayRef> = self
            .columns
            .iter_mut()
            .map(|column| column.finish().expect("values and nulls are equally many"))
            .collect();
        arrays.push(Arc::new(TimestampMillisecondArray::from(arrivals)));
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .expect("the columns are the schema's, and the event time has no null")
    }
}

fn undecodable(detail: String) -> DeadReason {
    DeadReason::Undecodable { detail }
}

fn mismatch(column: &str, what: &str, at: usize) -> DeadReason {
    undecodable(format!("column `{column}`: {what} at byte {at}"))
}

fn too_large(length: u64) -> DeadReason {
    DeadReason::TooLarge {
        detail: format!("the record has {length} bytes; at most {RECORD_BYTES_MAX} are decoded"),
    }
}
