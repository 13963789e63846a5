use std::sync::Arc;

use arrow::array::types::{Int8Type, IntervalDayTime, IntervalMonthDayNano};
use arrow::array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    Decimal256Array, DictionaryArray, DurationMillisecondArray, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int8Array, Int64Array, IntervalDayTimeArray, IntervalMonthDayNanoArray,
    IntervalYearMonthArray, LargeStringArray, ListArray, MapBuilder, NullArray, RecordBatchOptions,
    StringArray, StringBuilder, StringViewArray, StructArray, Time32SecondArray,
    Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, i256};
use proptest::prelude::*;
use tidemill_model::{DeadLetter, DeadReason, EventMs, LogId, Position, RawBytes, WallMs};

use super::*;

fn column(array: impl arrow::array::Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// The values of one column, without the braces around them.
fn values(array: ArrayRef) -> Vec<String> {
    let batch = RecordBatch::try_from_iter_with_nullable([("v", array, true)]).unwrap();
    let writer = RowWriter::new(&batch).unwrap();
    (0..batch.num_rows())
        .map(|row| {
            let mut line = Vec::new();
            writer.write(row, &mut line);
            let line = String::from_utf8(line).unwrap();
            serde_json::from_str::<serde_json::Value>(&line).unwrap();
            line.strip_prefix(r#"{"v":"#).unwrap().strip_suffix("}\n").unwrap().to_string()
        })
        .collect()
}

#[test]
fn a_row_is_one_line_with_the_columns_in_order() {
    let batch = RecordBatch::try_from_iter([
        ("window_start", column(TimestampMillisecondArray::from(vec![1_357_020_000_000]))),
        ("a \"name\"", column(StringArray::from(vec!["line\nbreak"]))),
        ("n", column(Int64Array::from(vec![-7]))),
    ])
    .unwrap();
    let mut line = Vec::new();
    RowWriter::new(&batch).unwrap().write(0, &mut line);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        r#"{"window_start":"2013-01-01T06:00:00.000Z","a \"name\"":"line\nbreak","n":-7}"#
            .to_string()
            + "\n"
    );
}

#[test]
fn a_row_without_columns_is_an_empty_object() {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::empty());
    let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap();
    let mut line = Vec::new();
    RowWriter::new(&batch).unwrap().write(0, &mut line);
    assert_eq!(line, b"{}\n");
}

#[test]
fn a_row_has_its_tags_before_its_columns() {
    let batch = RecordBatch::try_from_iter([("n", column(Int64Array::from(vec![1, 2])))]).unwrap();
    let mut lines = Vec::new();
    let writer = RowWriter::new(&batch).unwrap();
    writer.write_tagged(&[("query", "q"), ("result_id", "q/3/0")], 0, &mut lines);
    writer.write_tagged(&[("result_id", "a\"b")], 1, &mut lines);
    assert_eq!(
        String::from_utf8(lines).unwrap(),
        "{\"query\":\"q\",\"result_id\":\"q/3/0\",\"n\":1}\n{\"result_id\":\"a\\\"b\",\"n\":2}\n"
    );
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::empty());
    let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap();
    let mut line = Vec::new();
    RowWriter::new(&batch).unwrap().write_tagged(&[("id", "q/3/0")], 0, &mut line);
    assert_eq!(line, b"{\"id\":\"q/3/0\"}\n");
}

#[test]
fn numbers() {
    assert_eq!(values(column(Int8Array::from(vec![Some(-128), None]))), ["-128", "null"]);
    assert_eq!(values(column(Int64Array::from(vec![i64::MIN]))), ["-9223372036854775808"]);
    assert_eq!(values(column(UInt64Array::from(vec![u64::MAX]))), ["18446744073709551615"]);
    assert_eq!(values(column(BooleanArray::from(vec![true, false]))), ["true", "false"]);
    assert_eq!(
        values(column(Float64Array::from(vec![0.1, -0.0, 1e300, f64::NAN]))),
        ["0.1", "-0.0", "1e+300", "\"NaN\""]
    );
    assert_eq!(
        values(column(Float64Array::from(vec![f64::INFINITY, f64::NEG_INFINITY]))),
        ["\"Infinity\"", "\"-Infinity\""]
    );
    // The shortest digits of the 32 bits, not those of the same number in 64.
    assert_eq!(values(column(Float32Array::from(vec![0.1]))), ["0.1"]);
    assert_eq!(values(column(NullArray::new(1))), ["null"]);
}

#[test]
fn decimals_are_texts_with_all_their_digits() {
    let decimals = |values: Vec<i128>, scale| {
        column(Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap())
    };
    assert_eq!(
        values(decimals(vec![12_345, -5, 0, 100], 2)),
        ["\"123.45\"", "\"-0.05\"", "\"0.00\"", "\"1.00\""]
    );
    assert_eq!(values(decimals(vec![12, 0], 0)), ["\"12\"", "\"0\""]);
    assert_eq!(values(decimals(vec![12, -3, 0], -2)), ["\"1200\"", "\"-300\"", "\"0\""]);
    let large = Decimal256Array::from(vec![i256::MAX]).with_precision_and_scale(76, 76);
    assert_eq!(
        values(column(large.unwrap())),
        ["\"5.7896044618658097711785492504343953926634992332820282019728792003956564819967\""]
    );
}

#[test]
fn texts_of_all_kinds() {
    let expected = [r#""a\"\\\u0001\r\té漢🦀""#, r#""""#];
    let texts = vec!["a\"\\\u{1}\r\té漢🦀", ""];
    assert_eq!(values(column(StringArray::from(texts.clone()))), expected);
    assert_eq!(values(column(LargeStringArray::from(texts.clone()))), expected);
    assert_eq!(values(column(StringViewArray::from(texts))), expected);
    let keys = Int8Array::from(vec![Some(1), None, Some(0)]);
    let dictionary =
        DictionaryArray::<Int8Type>::new(keys, column(StringArray::from(vec!["zero", "one"])));
    assert_eq!(values(column(dictionary)), ["\"one\"", "null", "\"zero\""]);
    assert_eq!(values(column(BinaryArray::from(vec![&b"\xff\x00"[..]]))), ["\"/wA=\""]);
    let fixed = FixedSizeBinaryArray::try_from_iter([[1u8, 2]].into_iter()).unwrap();
    assert_eq!(values(column(fixed)), ["\"AQI=\""]);
}

#[test]
fn points_in_time() {
    let ms = TimestampMillisecondArray::from(vec![0, -1, 253_402_300_799_999, 253_402_300_800_000]);
    assert_eq!(
        values(column(ms)),
        [
            "\"1970-01-01T00:00:00.000Z\"",
            "\"1969-12-31T23:59:59.999Z\"",
            "\"9999-12-31T23:59:59.999Z\"",
            "\"+010000-01-01T00:00:00.000Z\""
        ]
    );
    let years = TimestampSecondArray::from(vec![951_782_400, -62_167_219_200, -62_167_219_201]);
    assert_eq!(
        values(column(years)),
        [
            "\"2000-02-29T00:00:00.000Z\"",
            "\"0000-01-01T00:00:00.000Z\"",
            "\"-000001-12-31T23:59:59.000Z\""
        ]
    );
    let zoned = TimestampMicrosecondArray::from(vec![1500, 1_000_001]).with_timezone("+02:00");
    assert_eq!(
        values(column(zoned)),
        ["\"1970-01-01T00:00:00.001500Z\"", "\"1970-01-01T00:00:01.000001Z\""]
    );
    let nanos = TimestampNanosecondArray::from(vec![1, 2_000_000]);
    assert_eq!(
        values(column(nanos)),
        ["\"1970-01-01T00:00:00.000000001Z\"", "\"1970-01-01T00:00:00.002Z\""]
    );
    assert_eq!(values(column(Date32Array::from(vec![15_706]))), ["\"2013-01-01\""]);
    assert_eq!(values(column(Date64Array::from(vec![-1]))), ["\"1969-12-31\""]);
    assert_eq!(values(column(Time32SecondArray::from(vec![3661]))), ["\"01:01:01.000\""]);
    assert_eq!(
        values(column(Time64NanosecondArray::from(vec![86_399_999_999_999]))),
        ["\"23:59:59.999999999\""]
    );
}

#[test]
fn the_ends_of_the_time_scale_are_written() {
    let ends = values(column(TimestampMillisecondArray::from(vec![i64::MIN, i64::MAX])));
    assert_eq!(ends[0], "\"-292275055-05-16T16:47:04.192Z\"");
    assert_eq!(ends[1], "\"+292278994-08-17T07:12:55.807Z\"");
    let seconds = values(column(TimestampSecondArray::from(vec![i64::MIN])));
    assert_eq!(seconds[0], "\"-292277022657-01-27T08:29:52.000Z\"");
}

#[test]
fn spans_of_time() {
    let durations = DurationMillisecondArray::from(vec![1500, -90_000, 0]);
    assert_eq!(values(column(durations)), ["\"PT1.5S\"", "\"PT-90S\"", "\"PT0S\""]);
    assert_eq!(
        values(column(IntervalYearMonthArray::from(vec![14, -1, 0]))),
        ["\"P1Y2M\"", "\"P-1M\"", "\"PT0S\""]
    );
    let days = IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 500)]);
    assert_eq!(values(column(days)), ["\"P1DT0.5S\""]);
    let mixed =
        IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, -2, 3_000_000_001)]);
    assert_eq!(values(column(mixed)), ["\"P1M-2DT3.000000001S\""]);
}

#[test]
fn nested_values() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    assert_eq!(values(column(lists)), ["[1,null]", "null", "[]"]);
    let structs = StructArray::from(vec![
        (Arc::new(Field::new("x", DataType::Int64, true)), column(Int64Array::from(vec![1]))),
        (Arc::new(Field::new("y", DataType::Utf8, true)), column(StringArray::from(vec!["b"]))),
    ]);
    let item = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
    let nested = ListArray::new(item, OffsetBuffer::from_lengths([1]), column(structs), None);
    assert_eq!(values(column(nested)), [r#"[{"x":1,"y":"b"}]"#]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Array::builder(1));
    map.keys().append_value("k");
    map.values().append_value(5);
    map.append(true).unwrap();
    map.append(true).unwrap();
    assert_eq!(values(column(map.finish())), [r#"{"k":5}"#, "{}"]);
    let mut map = MapBuilder::new(None, Int64Array::builder(1), Int64Array::builder(1));
    map.keys().append_value(3);
    map.values().append_value(5);
    map.append(true).unwrap();
    assert_eq!(values(column(map.finish())), [r#"{"3":5}"#]);
}

#[test]
fn a_type_without_json_is_refused_before_the_first_row() {
    let field = |name, data_type, null| Arc::new(Field::new(name, data_type, null));
    let runs = DataType::RunEndEncoded(
        field("run_ends", DataType::Int32, false),
        field("values", DataType::Utf8, true),
    );
    let nested = DataType::List(field("item", runs, true));
    let batch = RecordBatch::try_from_iter([("bad", new_empty_array(&nested))]).unwrap();
    let error = RowWriter::new(&batch).err().unwrap();
    assert_eq!(error.column, "bad");
}

fn letter(reason: DeadReason, raw: Option<RawBytes>) -> DeadLetter {
    let (log, position) = (LogId::new("ads", "shard/0"), Position::from_offset(41));
    DeadLetter { log, position, arrival: WallMs(1000), reason, raw }
}

fn line(id: Option<&str>, letter: &DeadLetter) -> String {
    let mut line = Vec::new();
    write_dead_letter(&mut line, id, letter);
    let line = String::from_utf8(line).unwrap();
    serde_json::from_str::<serde_json::Value>(&line).unwrap();
    line
}

#[test]
fn a_dead_letter_tells_the_record_and_the_reason() {
    let undecodable = DeadReason::Undecodable { detail: "column `n`: no number".to_string() };
    let raw = RawBytes::of(b"{\"n\":x}", 255);
    assert_eq!(
        line(Some("dead/7/0"), &letter(undecodable, Some(raw))),
        concat!(
            r#"{"id":"dead/7/0","reason":"undecodable","detail":"column `n`: no number","#,
            r#""stream":"ads","shard":"shard/0","position":"41","#,
            r#""arrival":"1970-01-01T00:00:01.000Z","raw":"{\"n\":x}","raw_length":7,"#,
            r#""raw_hash":"00000000000000ff"}"#,
            "\n"
        )
    );
    let future = DeadReason::Future { event_time: EventMs(2000) };
    assert_eq!(
        line(None, &letter(future, None)),
        concat!(
            r#"{"reason":"future","stream":"ads","shard":"shard/0","position":"41","#,
            r#""arrival":"1970-01-01T00:00:01.000Z","event_time":"1970-01-01T00:00:02.000Z"}"#,
            "\n"
        )
    );
}

#[test]
fn a_late_dead_letter_tells_the_windows_and_what_was_combined() {
    let late = |partial: &str| DeadReason::Late {
        query: "views".to_string(),
        event_time: EventMs(5),
        windows: vec![(EventMs(0), EventMs(10))],
        windows_missed: 1,
        records: 3,
        partial: Some(partial.to_string()),
        counted_elsewhere: true,
    };
    let expected = |partial: &str| {
        format!(
            concat!(
                r#"{{"reason":"late","stream":"ads","shard":"shard/0","position":"41","#,
                r#""arrival":"1970-01-01T00:00:01.000Z","query":"views","#,
                r#""event_time":"1970-01-01T00:00:00.005Z","#,
                r#""windows":[{{"start":"1970-01-01T00:00:00.000Z","end":"1970-01-01T00:00:00.010Z"}}],"#,
                r#""windows_missed":1,"records":3,"counted_elsewhere":true,"partial":{}}}"#,
                "\n"
            ),
            partial
        )
    };
    assert_eq!(line(None, &letter(late(r#"{"key":1}"#), None)), expected(r#"{"key":1}"#));
    // What is no JSON, or of several lines, is kept as text.
    assert_eq!(line(None, &letter(late("{key"), None)), expected(r#""{key""#));
    assert_eq!(line(None, &letter(late("{\n}"), None)), expected(r#""{\n}""#));
}

#[test]
fn bytes_that_are_no_text_stand_in_base64() {
    let of = |raw: RawBytes| line(None, &letter(DeadReason::NoEventTime, Some(raw)));
    assert!(of(RawBytes::of(b"\xff\xfe", 0)).contains(r#""raw_base64":"//4=","raw_length":2"#));
    // Cut through a character: the text before it; a whole record that ends so is no text.
    let cut = RawBytes { first: b"a\xc3".to_vec(), length: 3, hash: 0 };
    assert!(of(cut).contains(r#""raw":"a","raw_length":3"#));
    assert!(of(RawBytes::of(b"a\xc3", 0)).contains(r#""raw_base64":"YcM=""#));
}

proptest! {
    #[test]
    fn any_text_reads_back(text: String) {
        let mut out = Vec::new();
        value::write_text(&mut out, &text);
        prop_assert!(!out.contains(&b'\n'));
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn any_finite_float_reads_back(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
        let text = &values(column(Float64Array::from(vec![value])))[0];
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
    }

    #[test]
    fn timestamps_are_those_of_jiff(ms in -377_705_023_201_000i64..253_402_207_200_000) {
        let jiff = jiff::Timestamp::from_millisecond(ms).unwrap();
        let text = time::Timestamp::from_ms(ms).to_string();
        prop_assert_eq!(text.parse::<jiff::Timestamp>().unwrap(), jiff);
    }

    #[test]
    fn any_record_gives_one_line(bytes: Vec<u8>, detail: String) {
        let raw = Some(RawBytes::of(&bytes, 0));
        let line = line(None, &letter(DeadReason::Undecodable { detail }, raw));
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
    }
}
