//! decode: every record is a row or a dead letter, whatever is in it, and however it is cut.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use serde::de::IgnoredAny;
use tidemill_flow::decode::{Decoded, Decoder};
use tidemill_model::limits::{DEAD_LETTER_RAW_BYTES_MAX, JSON_DEPTH_MAX};
use tidemill_model::{ColumnType, DeadReason};
use tidemill_pipeline::{EventTime, Format, Stream};
use xxhash_rust::xxh3::xxh3_64;

use crate::Reached;
use crate::text::{self, Text, log, string};

/// JSON records under a schema.
pub fn decode_json(input: &[u8]) -> Reached {
    let text = Text::read(input, Format::Json);
    let reached = decode(input, &text);
    text.records.iter().for_each(|record| json_is_rfc_8259(record));
    reached
}

/// CSV records under a schema, with a header line or without.
pub fn decode_csv(input: &[u8]) -> Reached {
    let text = Text::read(input, Format::Csv);
    let reached = decode(input, &text);
    quoted_fields_come_back(&text);
    reached
}

fn decode(input: &[u8], text: &Text<'_>) -> Reached {
    let decoder = || Decoder::new(&text.stream, text.header);
    let mut decoder_of_all = match decoder() {
        Ok(decoder) => decoder,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Reached::Rejected;
        }
    };
    let count = text.records.len();
    let whole = decoder_of_all.decode(&log(), text.raw(0, count));
    every_record_is_here_once(text, &whole);

    // The same records, cut in two, by a decoder that remembers the first half at the second.
    let cut = (xxh3_64(input) % (count as u64 + 1)) as usize;
    let mut decoder_of_halves = decoder().unwrap();
    let first = decoder_of_halves.decode(&log(), text.raw(0, cut));
    let second = decoder_of_halves.decode(&log(), text.raw(cut, count));
    let rows = concat_batches(&whole.rows.schema(), [&first.rows, &second.rows]).unwrap();
    assert_eq!(rows, whole.rows, "rows depend on how records are cut into batches");
    let letters = |decoded: &Decoded| -> Vec<_> {
        decoded.dead.iter().map(|(_, letter)| letter.clone()).collect()
    };
    assert_eq!([letters(&first), letters(&second)].concat(), letters(&whole));

    // And by slicing what was decoded.
    for (part, half) in [(whole.part(0..cut), &first), (whole.part(cut..count), &second)] {
        assert_eq!(part.rows, half.rows);
        assert_eq!(part.event_times, half.event_times);
        assert_eq!(letters(&part), letters(half));
        assert_eq!(part.record_count(), half.record_count());
        assert_eq!(part.positions(), half.positions());
        assert_eq!(part.clock(), half.clock());
    }
    Reached::accepted_if(!whole.records.is_empty())
}

fn every_record_is_here_once(text: &Text<'_>, decoded: &Decoded) {
    let count = text.records.len();
    let mut found: Vec<u32> = decoded.records.clone();
    found.extend(decoded.dead.iter().map(|(index, _)| *index));
    assert!(decoded.records.is_sorted() && decoded.dead.is_sorted_by_key(|(index, _)| *index));
    found.sort_unstable();
    assert_eq!(found, (0..count as u32).collect::<Vec<_>>(), "a record is a row or a dead letter");
    assert_eq!(decoded.record_count(), count);
    assert_eq!(decoded.event_times.len(), decoded.records.len());
    is_valid(&decoded.rows, decoded.records.len());
    if let EventTime::Column(index) = text.stream.event_time {
        let column = decoded.rows.column(index);
        let times = column.as_primitive::<arrow::datatypes::TimestampMillisecondType>();
        let found = decoded.event_times.iter().map(|time| time.0);
        assert!(found.eq(times.values().iter().copied()) && times.null_count() == 0);
    }
    for (index, letter) in &decoded.dead {
        let index = *index as usize;
        assert_eq!(letter.position, decoded.raw.records[index].position);
        assert_eq!(letter.arrival, decoded.raw.records[index].arrival);
        let raw = letter.raw.as_ref().expect("a dead record keeps its bytes");
        assert!(decoded.raw.bytes_of(index).starts_with(&raw.first));
        let kept = decoded.raw.bytes_of(index).len().min(DEAD_LETTER_RAW_BYTES_MAX);
        assert_eq!(raw.first.len(), kept);
        if let DeadReason::Undecodable { detail } | DeadReason::TooLarge { detail } = &letter.reason
        {
            assert!(!detail.is_empty() && detail.len() < 500, "a reason of {}", detail.len());
        }
    }
}

/// Every array is what Arrow demands of it.
pub(crate) fn is_valid(rows: &RecordBatch, count: usize) {
    assert_eq!(rows.num_rows(), count);
    for column in rows.columns() {
        assert_eq!(column.len(), count);
        column.to_data().validate_full().unwrap();
    }
}

/// A record whose columns are all absent is a row exactly when another reader takes it for JSON.
fn json_is_rfc_8259(record: &[u8]) {
    let Ok(record) = std::str::from_utf8(record) else { return };
    if record.starts_with(['\u{1}', '\u{2}']) {
        return;
    }
    let column = vec![string("\u{0}absent")];
    let stream = text::of(column, EventTime::Arrival, Format::Json);
    let decoded = decoded(&stream, record);
    let object = record.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{');
    let known = object && serde_json::from_str::<IgnoredAny>(record).is_ok();
    match decoded.dead.first() {
        None => assert!(known, "no JSON object, but a row: {record:?}"),
        Some((_, letter)) => {
            let open = record.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
            let too_deep = matches!(&letter.reason, DeadReason::Undecodable { detail }
                if detail.contains("too deep") && open > JSON_DEPTH_MAX);
            assert!(!known || too_deep, "a JSON object, but dead: {record:?} {:?}", letter.reason);
        }
    }
}

fn decoded(stream: &Stream, record: &str) -> Decoded {
    let input = format!("s\n{record}");
    let one = Text::read(input.as_bytes(), stream.format);
    Decoder::new(stream, None).unwrap().decode(&log(), one.raw(0, one.records.len()))
}

/// A row of texts is the same when it is written with every field in quotes.
fn quoted_fields_come_back(text: &Text<'_>) {
    let mut stream = text.stream.clone();
    stream.columns.iter_mut().for_each(|column| column.data_type = ColumnType::String);
    stream.event_time = EventTime::Arrival;
    for record in &text.records {
        let Ok(record) = std::str::from_utf8(record) else { continue };
        if record.starts_with(['\u{1}', '\u{2}']) {
            continue;
        }
        let rows = decoded(&stream, record).rows;
        if rows.num_rows() == 0 {
            continue;
        }
        let fields = (0..stream.columns.len()).map(|index| {
            let column = rows.column(index).as_string::<i32>();
            match column.is_valid(0) {
                true => format!("\"{}\"", column.value(0).replace('"', "\"\"")),
                false => String::new(),
            }
        });
        let written = fields.collect::<Vec<_>>().join(",");
        // A line of nothing but empty fields is one with a single column, which is no record.
        if !written.is_empty() {
            assert_eq!(decoded(&stream, &written).rows, rows, "{record:?} as {written:?}");
        }
    }
}
