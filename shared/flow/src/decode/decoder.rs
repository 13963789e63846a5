//! The decoder of one stream: record after record into the columns, or aside.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::SchemaRef;
use tidemill_model::limits::RECORD_BYTES_MAX;
use tidemill_model::{DeadReason, EventMs, LogId, WallMs};
use tidemill_pipeline::{EventTime, Format, Stream};
use tidemill_records::{HeaderError, RowReader};

use super::{Decoded, RawBatch};

/// Decodes the records of one stream.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    reader: RowReader,
    event_time: EventTime,
    max_future_ms: i64,
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
        let reader = match stream.format {
            Format::Json => RowReader::json(&stream.columns),
            Format::Csv => RowReader::csv(&stream.columns, csv_header)
                .map_err(|error| of_header(&stream.name, error))?,
        };
        Ok(Decoder {
            schema: tidemill_plan::stream_schema(stream),
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
        self.reader.begin(count);
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
                    self.reader.truncate(records.len());
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
        self.reader.push(text).map_err(undecodable)?;
        debug_assert!(self.reader.has_rows(row + 1));
        self.time(raw.records[index].arrival)
    }

    /// The event time of the row that was just added.
    fn time(&self, arrival: WallMs) -> Result<EventMs, DeadReason> {
        let EventTime::Column(index) = self.event_time else { return Ok(EventMs(arrival.0)) };
        let Some(ms) = self.reader.last_time(index) else {
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
        let mut arrays: Vec<ArrayRef> =
            self.reader.finish().expect("values and nulls are equally many");
        arrays.push(Arc::new(TimestampMillisecondArray::from(arrivals)));
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .expect("the columns are the schema's, and the event time has no null")
    }
}

fn undecodable(detail: String) -> DeadReason {
    DeadReason::Undecodable { detail }
}

fn too_large(length: u64) -> DeadReason {
    DeadReason::TooLarge {
        detail: format!("the record has {length} bytes; at most {RECORD_BYTES_MAX} are decoded"),
    }
}

fn of_header(stream: &str, error: HeaderError) -> DecodeSetupError {
    let stream = stream.to_string();
    match error {
        HeaderError::Unreadable(reason) => DecodeSetupError::HeaderUnreadable { stream, reason },
        HeaderError::Missing { column, suggestion, columns } => {
            DecodeSetupError::MissingColumn { stream, column, suggestion, columns }
        }
        HeaderError::Ambiguous(column) => DecodeSetupError::AmbiguousColumn { stream, column },
    }
}
