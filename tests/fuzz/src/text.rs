//! A stream and its records, made of any bytes, so that random bytes get past the schema.
//!
//! ```text
//! sMlb!                      a letter per column; what is no letter of a type is passed over
//! {"c0":"x","o":{"c1":5}}    a record a line
//! ```
//!
//! | letter | type | letter | type |
//! |---|---|---|---|
//! | b | boolean | e | timestamp_s |
//! | i | int | m | timestamp_ms |
//! | l | bigint | u | timestamp_us |
//! | f | float | x | timestamp |
//! | d | double | a | date |
//! | s | string | n | decimal(12, 3) |
//!
//! Column n is called `cn`; a capital letter puts it inside the object `o`. `!` makes the first
//! timestamp the event time, `#` makes the second line a CSV header. A record that begins with byte
//! 1 has no value, one that begins with byte 2 was cut by its source.

use bytes::Bytes;
use tidemill_flow::decode::{CutRecord, RawBatch, RawRecord};
use tidemill_model::limits::RECORD_BYTES_MAX;
use tidemill_model::{ColumnType, LogId, Position, WallMs};
use tidemill_pipeline::{Column, EventTime, Format, Stream};

/// Arrival of the first record, milliseconds.
const NOW: i64 = 1_700_000_000_000;
const COLUMNS_MAX: usize = 12;
const NO_VALUE: u8 = 1;
const CUT: u8 = 2;

/// A stream and its records.
pub(crate) struct Text<'a> {
    pub(crate) stream: Stream,
    pub(crate) header: Option<&'a [u8]>,
    pub(crate) records: Vec<&'a [u8]>,
}

impl<'a> Text<'a> {
    /// What `input` says, as records of `format`.
    pub(crate) fn read(input: &'a [u8], format: Format) -> Text<'a> {
        let mut lines = input.split(|byte| *byte == b'\n');
        let types = lines.next().unwrap_or_default();
        let header = types.contains(&b'#').then(|| lines.next().unwrap_or_default());
        let stream = stream(types, format);
        Text { stream, header, records: lines.collect() }
    }

    /// The records from `from` to before `to` as their source would hand them on.
    pub(crate) fn raw(&self, from: usize, to: usize) -> RawBatch {
        let mut buffer = Vec::new();
        let mut raw = RawBatch::default();
        for (index, record) in self.records.iter().enumerate().take(to).skip(from) {
            let nth = (index - from) as u32;
            let bytes = match record.split_first() {
                Some((&NO_VALUE, _)) => {
                    raw.nulls.push(nth);
                    &[]
                }
                Some((&CUT, rest)) => {
                    let length = RECORD_BYTES_MAX as u64 + 1;
                    raw.cut.push(CutRecord { index: nth, length, hash: index as u64 });
                    rest
                }
                _ => record,
            };
            let start = buffer.len() as u32;
            buffer.extend_from_slice(bytes);
            raw.records.push(RawRecord {
                bytes: start..buffer.len() as u32,
                position: Position::from_offset(index as u64),
                arrival: WallMs(NOW + index as i64),
            });
        }
        raw.buffer = Bytes::from(buffer);
        raw
    }
}

/// The log that the records are of.
pub(crate) fn log() -> LogId {
    LogId::new("s", "0")
}

fn stream(types: &[u8], format: Format) -> Stream {
    let known = types.iter().filter_map(|letter| Some((*letter, type_of(*letter)?)));
    let mut columns: Vec<Column> = known
        .take(COLUMNS_MAX)
        .enumerate()
        .map(|(n, (letter, data_type))| {
            let name = format!("c{n}");
            let nested = letter.is_ascii_uppercase() && format == Format::Json;
            let outer = nested.then(|| "o".to_string());
            Column::new(&name, data_type).within(outer.into_iter().chain([name.clone()]))
        })
        .collect();
    if columns.is_empty() {
        columns.push(string("c0"));
    }
    let time = columns.iter().position(|column| column.data_type.is_timestamp());
    let event_time = match time.filter(|_| types.contains(&b'!')) {
        Some(index) => EventTime::Column(index),
        None => EventTime::Arrival,
    };
    of(columns, event_time, format)
}

/// A column of text.
pub(crate) fn string(name: &str) -> Column {
    Column::new(name, ColumnType::String)
}

/// A stream of these columns.
pub(crate) fn of(columns: Vec<Column>, event_time: EventTime, format: Format) -> Stream {
    Stream {
        name: "s".to_string(),
        format,
        columns,
        event_time,
        out_of_orderness_ms: 0,
        idle_after_ms: 60_000,
        max_future_ms: 600_000,
        assume_idle: false,
        source: None,
    }
}

fn type_of(letter: u8) -> Option<ColumnType> {
    Some(match letter.to_ascii_lowercase() {
        b'b' => ColumnType::Boolean,
        b'i' => ColumnType::Int32,
        b'l' => ColumnType::Int64,
        b'f' => ColumnType::Float32,
        b'd' => ColumnType::Float64,
        b's' => ColumnType::String,
        b'e' => ColumnType::TimestampS,
        b'm' => ColumnType::TimestampMs,
        b'u' => ColumnType::TimestampUs,
        b'o' => ColumnType::TimestampNs,
        b'x' => ColumnType::TimestampText,
        b'a' => ColumnType::Date,
        b'n' => ColumnType::Decimal { precision: 12, scale: 3 },
        _ => return None,
    })
}
