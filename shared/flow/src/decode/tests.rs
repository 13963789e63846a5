mod csv;
mod types;

use arrow::array::AsArray;
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use tidemill_model::limits::RECORD_BYTES_MAX;
use tidemill_model::{ColumnType, DeadReason, LogId};
use tidemill_pipeline::{Column, EventTime, Format, Stream};

use super::*;

const ARRIVAL: i64 = 1_700_000_000_000;

fn stream(format: Format, columns: &[(&str, ColumnType)]) -> Stream {
    let columns: Vec<Column> = columns
        .iter()
        .map(|(path, data_type)| {
            Column::new(path.replace('.', "_"), *data_type).within(path.split('.'))
        })
        .collect();
    let event_time = match columns.iter().position(|column| column.data_type.is_timestamp()) {
        Some(index) => EventTime::Column(index),
        None => EventTime::Arrival,
    };
    Stream {
        name: "s".to_string(),
        format,
        columns,
        event_time,
        out_of_orderness_ms: 0,
        idle_after_ms: 1,
        max_future_ms: 1_000,
        assume_idle: false,
        source: None,
    }
}

fn ads() -> Stream {
    stream(
        Format::Json,
        &[
            ("ad", ColumnType::String),
            ("ts", ColumnType::TimestampMs),
            ("price", ColumnType::Float64),
            ("n", ColumnType::Int32),
        ],
    )
}

fn log() -> LogId {
    LogId::new("s", "0")
}

/// The records one after another in one buffer; position and arrival count up.
fn batch(records: &[impl AsRef<[u8]>]) -> RawBatch {
    let mut buffer = Vec::new();
    let mut raw = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let start = buffer.len() as u32;
        buffer.extend_from_slice(record.as_ref());
        raw.push(RawRecord {
            bytes: start..buffer.len() as u32,
            position: Position::from_offset(index as u64),
            arrival: WallMs(ARRIVAL + index as i64),
        });
    }
    RawBatch::new(buffer.into(), raw)
}

fn decode(stream: &Stream, records: &[impl AsRef<[u8]>]) -> Decoded {
    Decoder::new(stream, None).unwrap().decode(&log(), batch(records))
}

/// The rows, each as its values' texts; the arrival time left out.
fn rows(decoded: &Decoded) -> Vec<Vec<String>> {
    let columns = &decoded.rows.columns()[..decoded.rows.num_columns() - 1];
    (0..decoded.rows.num_rows())
        .map(|row| {
            columns
                .iter()
                .map(|column| match column.is_null(row) {
                    true => "null".to_string(),
                    false => array_value_to_string(column, row).unwrap(),
                })
                .collect()
        })
        .collect()
}

/// The only dead letter's reason.
fn reason(stream: &Stream, record: impl AsRef<[u8]>) -> DeadReason {
    let decoded = decode(stream, &[record]);
    assert_eq!((decoded.rows.num_rows(), decoded.dead.len()), (0, 1));
    decoded.dead[0].1.reason.clone()
}

/// A JSON value without floats: their texts are not unique.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec(("[ab]|.{0,3}", inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn detail(stream: &Stream, record: impl AsRef<[u8]>) -> String {
    match reason(stream, record) {
        DeadReason::Undecodable { detail } => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_is_a_row_with_times_and_index() {
    let decoded = decode(
        &ads(),
        &[r#"{"ad":"x","ts":5,"price":1.5,"n":7,"more":[]}"#, "nonsense", r#"{"ts":-1}"#],
    );
    assert_eq!(
        rows(&decoded),
        [
            ["x", "1970-01-01T00:00:00.005", "1.5", "7"],
            ["null", "1969-12-31T23:59:59.999", "null", "null"],
        ]
    );
    assert_eq!(decoded.records, [0, 2]);
    assert_eq!(decoded.event_times, [EventMs(5), EventMs(-1)]);
    let arrivals = decoded.rows.column_by_name(tidemill_plan::ARRIVAL_TIME).unwrap();
    let arrivals = arrivals.as_primitive::<arrow::datatypes::TimestampMillisecondType>();
    assert_eq!(arrivals.values(), &[ARRIVAL, ARRIVAL + 2]);
    let (index, letter) = &decoded.dead[0];
    assert_eq!((*index, letter.position), (1, Position::from_offset(1)));
    assert_eq!((letter.log.clone(), letter.arrival), (log(), WallMs(ARRIVAL + 1)));
    let raw = letter.raw.clone().unwrap();
    assert_eq!((raw.first.as_slice(), raw.hash), (b"nonsense".as_slice(), xxh3_64(b"nonsense")));
}

#[test]
fn a_record_without_a_value_is_a_dead_letter() {
    let csv = stream(Format::Csv, &[("name", ColumnType::String)]);
    let raw = RawBatch { nulls: vec![1], ..batch(&["a", "", "b"]) };
    let decoded = Decoder::new(&csv, None).unwrap().decode(&log(), raw.clone());
    assert_eq!(
        (rows(&decoded), decoded.dead.len()),
        (vec![vec!["a".to_string()], vec!["b".to_string()]], 1)
    );
    let (index, letter) = &decoded.dead[0];
    let detail = "the record has no value (null)".to_string();
    assert_eq!((*index, &letter.reason), (1, &DeadReason::Undecodable { detail }));
    assert!(letter.raw.as_ref().unwrap().first.is_empty());
    let twice = RawBatch::concat(vec![raw.clone(), raw]);
    assert_eq!(twice.nulls, [1, 4]);
}

#[test]
fn event_time_is_judged() {
    let ads = ads();
    for none in [r#"{"ad":"x"}"#, r#"{"ad":"x","ts":null}"#] {
        assert_eq!(reason(&ads, none), DeadReason::NoEventTime);
    }
    let bound = ARRIVAL + 1_000;
    assert_eq!(decode(&ads, &[format!(r#"{{"ts":{bound}}}"#)]).event_times, [EventMs(bound)]);
    assert_eq!(
        reason(&ads, format!(r#"{{"ts":{}}}"#, bound + 1)),
        DeadReason::Future { event_time: EventMs(bound + 1) }
    );
    assert_eq!(
        detail(&ads, r#"{"ts":-62135596800001}"#),
        "column `ts`: the number -62135596800001 lies outside the years 0001 to 9999 at byte 6"
    );
    let mut patient = ads.clone();
    patient.max_future_ms = i64::MAX;
    assert_eq!(decode(&patient, &[r#"{"ts":253402300799999}"#]).rows.num_rows(), 1);
    assert!(matches!(
        reason(&patient, r#"{"ts":253402300800000}"#),
        DeadReason::Undecodable { .. }
    ));
    let arrival = Stream { event_time: EventTime::Arrival, ..ads };
    assert_eq!(
        decode(&arrival, &["{}", "{}"]).event_times,
        [EventMs(ARRIVAL), EventMs(ARRIVAL + 1)]
    );
}

#[test]
fn bad_records_say_what_and_where() {
    let ads = ads();
    for (record, expected) in [
        (&b""[..], "empty record at byte 0"),
        (b"  ", "empty record at byte 2"),
        (b"not json", "expected an object at byte 0"),
        (b"[1]", "expected an object at byte 0"),
        (br#"{"ts":1"#, "expected `,` or `}` at byte 7"),
        (br#"{"ts":1} x"#, "expected the end of the record at byte 9"),
        (b"{\"ts\":1,\"x\":\"\xff\"}", "not UTF-8 at byte 13"),
        (br#"{"ts":1,"price":NaN}"#, "column `price`: expected a value at byte 16"),
        (br#"{"ts":1,"ad":"\ud800"}"#, "column `ad`: unpaired surrogate at byte 14"),
        (
            br#"{"ts":1,"price":"2"}"#,
            "column `price`: expected a number, found the text \"2\" at byte 16",
        ),
        (
            br#"{"ts":"now"}"#,
            "column `ts`: expected a number of milliseconds since 1970, found the text \"now\" at \
             byte 6",
        ),
        (
            br#"{"ts":1,"n":9223372036854775808}"#,
            "column `n`: the number 9223372036854775808 does not fit into bigint at byte 12",
        ),
    ] {
        assert_eq!(detail(&ads, record), expected);
    }
    let deep = format!(r#"{{"ts":1,"x":{}"#, "[".repeat(100_000));
    assert!(detail(&ads, deep).starts_with("nested too deep at byte "));
}

#[test]
fn a_record_of_ten_megabytes_decodes_and_a_longer_one_is_too_large() {
    let frame = r#"{"ts":1,"ad":""}"#.len();
    let record = |bytes: usize| format!(r#"{{"ts":1,"ad":"{}"}}"#, "x".repeat(bytes - frame));
    let whole = decode(&ads(), &[record(RECORD_BYTES_MAX)]);
    assert_eq!(whole.rows.column(0).as_string::<i32>().value(0).len(), RECORD_BYTES_MAX - frame);
    let long = record(RECORD_BYTES_MAX + 1);
    let decoded = decode(&ads(), &[&long]);
    let letter = &decoded.dead[0].1;
    assert!(matches!(letter.reason, DeadReason::TooLarge { .. }), "{:?}", letter.reason);
    let raw = letter.raw.clone().unwrap();
    assert_eq!((raw.length, raw.hash), (long.len() as u64, xxh3_64(long.as_bytes())));
    assert_eq!(raw.first.len(), DEAD_LETTER_RAW_BYTES_MAX);
}

#[test]
fn a_cut_record_is_too_large_and_keeps_what_is_known_of_it() {
    let mut raw = batch(&[r#"{"ts":1}"#, r#"{"ts":2,"beginning"#, r#"{"ts":3}"#]);
    raw.cut.push(CutRecord { index: 1, length: 99_000_000, hash: 42 });
    let decoded = Decoder::new(&ads(), None).unwrap().decode(&log(), raw);
    assert_eq!(decoded.records, [0, 2]);
    let letter = &decoded.dead[0].1;
    assert_eq!(
        letter.reason,
        DeadReason::TooLarge {
            detail: "the record has 99000000 bytes; at most 10485760 are decoded".to_string()
        }
    );
    let first = br#"{"ts":2,"beginning"#.to_vec();
    assert_eq!(letter.raw, Some(RawBytes { first, length: 99_000_000, hash: 42 }));
}

#[test]
fn joined_batches_keep_their_records_and_what_was_cut() {
    let first = batch(&[r#"{"ad_id":"a","event_time":1}"#, "broken"]);
    let mut second = batch(&[r#"{"ad_id":"b","event_time":2}"#, r#"{"ad_id":"c"#]);
    second.cut.push(CutRecord { index: 1, length: 99_000_000, hash: 42 });
    let texts = |batch: &RawBatch| -> Vec<Vec<u8>> {
        (0..batch.records.len()).map(|index| batch.bytes_of(index).to_vec()).collect()
    };
    let apart: Vec<_> = [&first, &second].into_iter().flat_map(texts).collect();
    let joined = RawBatch::concat(vec![first, second]);
    assert_eq!(texts(&joined), apart);
    assert_eq!(joined.raw_bytes(3).length, 99_000_000);
    assert_eq!(joined.raw_bytes(1).length, 6);
}

#[test]
fn clock_is_the_largest_of_the_lesser_of_event_time_and_arrival() {
    let ads = ads();
    // Ahead of its arrival by 500: the arrival counts. The second's event time counts.
    let ahead = ARRIVAL + 500;
    let decoded = decode(&ads, &[format!(r#"{{"ts":{ahead}}}"#), r#"{"ts":7}"#.to_string()]);
    assert_eq!(decoded.clock(), Some(EventMs(ARRIVAL)));
    assert_eq!(decoded.part(1..2).clock(), Some(EventMs(7)));
    assert_eq!(decoded.part(0..0).clock(), None);
    // Dead records have no clock, but they arrived.
    let dead = decode(&ads, &["x", "y"]);
    assert_eq!((dead.clock(), dead.newest_arrival()), (None, Some(WallMs(ARRIVAL + 1))));
}

#[test]
fn a_part_is_what_its_records_decode_to() {
    let records = [r#"{"ts":0}"#, "x", r#"{"ts":2}"#, r#"{"ts":3}"#, "y", r#"{"ts":5}"#];
    let whole = decode(&ads(), &records);
    let part = whole.part(1..5);
    assert_eq!((part.record_count(), part.range.clone()), (4, 1..5));
    assert_eq!(part.positions(), Some(Position::from_offset(1)..=Position::from_offset(4)));
    assert_eq!(part.newest_arrival(), Some(WallMs(ARRIVAL + 4)));
    assert_eq!((part.records.clone(), part.rows.num_rows()), (vec![2, 3], 2));
    assert_eq!(part.event_times, [EventMs(2), EventMs(3)]);
    assert_eq!(part.dead.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 4]);
    let inner = part.part(0..3);
    assert_eq!((inner.range.clone(), inner.records.clone(), inner.dead.len()), (1..3, vec![2], 1));
    assert_eq!(whole.part(6..9).positions(), None);
    #[allow(clippy::reversed_empty_ranges, reason = "an empty part, whichever way it is asked for")]
    let reversed = whole.part(4..2);
    assert_eq!(reversed.record_count(), 0);
}

/// Good records, nearly good ones and random bytes.
fn any_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let record = prop_oneof![
        (any::<i32>(), ".{0,9}").prop_map(|(ts, ad)| {
            serde_json::json!({"ts": ts, "ad": ad, "price": 0.5, "n": ts}).to_string().into_bytes()
        }),
        (any_json(), any_json(), any_json()).prop_map(|(ad, ts, n)| {
            serde_json::json!({"ts": ts, "ad": ad, "n": n}).to_string().into_bytes()
        }),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(record, 0..24)
}

proptest! {
    #[test]
    fn every_record_is_one_row_or_one_dead_letter(records in any_records(), csv: bool) {
        let format = if csv { Format::Csv } else { Format::Json };
        let decoded = decode(&Stream { format, ..ads() }, &records);
        let mut found: Vec<u32> = decoded.records.clone();
        found.extend(decoded.dead.iter().map(|(index, _)| *index));
        found.sort_unstable();
        prop_assert_eq!(found, (0..records.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(decoded.rows.num_rows(), decoded.records.len());
        prop_assert_eq!(decoded.event_times.len(), decoded.records.len());
        prop_assert!(decoded.records.is_sorted() && decoded.dead.is_sorted_by_key(|(at, _)| *at));
    }

    #[test]
    fn batch_cuts_and_neighbours_do_not_matter(records in any_records(), cuts in prop::collection::vec(0usize..24, 0..5)) {
        let whole = decode(&ads(), &records);
        let mut decoder = Decoder::new(&ads(), None).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(records.len())).collect();
        cuts.extend([0, records.len()]);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            let piece = decoder.decode(&log(), batch(&records[cut[0]..cut[1]]));
            let part = whole.part(cut[0]..cut[1]);
            prop_assert_eq!(rows(&piece), rows(&part));
        }
        // Each row alone is the same row.
        for (row, index) in whole.records.iter().enumerate() {
            let alone = decoder.decode(&log(), batch(&records[*index as usize..][..1]));
            prop_assert_eq!(&rows(&alone)[..], &rows(&whole)[row..=row]);
        }
    }
}
