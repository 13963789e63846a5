use std::sync::Arc;

use arrow::{
    array::*,
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Fields, Int32Type, Int64Type, Schema},
};
use proptest::prelude::*;

use super::*;

/// `rows` rows of every type that aggregate states and buffered rows use, with nulls.
fn every_type(rows: usize) -> RecordBatch {
    let some = |n: usize| !n.is_multiple_of(3);
    let text = |n: usize| some(n).then(|| format!("value number {n}, longer than a view"));
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..rows).map(|n| some(n).then(|| (0..n % 4).map(|m| some(m).then_some(m as i64)))),
    );
    let large_list = LargeListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..rows).map(|n| Some(vec![Some(n as i32); n % 3])),
    );
    let views: StringViewArray = (0..rows * 2).map(text).collect();
    let list_of_views = ListArray::new(
        Arc::new(Field::new_list_field(DataType::Utf8View, true)),
        OffsetBuffer::from_lengths(vec![2; rows]),
        Arc::new(views),
        Some(NullBuffer::from_iter((0..rows).map(some))),
    );
    let fixed_list = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..rows).map(|n| some(n).then(|| vec![Some(n as i32), None])),
        2,
    );
    let fields: Fields = vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("list", list.data_type().clone(), true),
    ]
    .into();
    let nested = StructArray::new(
        fields,
        vec![Arc::new((0..rows).map(text).collect::<StringArray>()), Arc::new(list.clone())],
        Some(NullBuffer::from_iter((0..rows).map(some))),
    );
    let list_of_structs = ListArray::new(
        Arc::new(Field::new_list_field(nested.data_type().clone(), true)),
        OffsetBuffer::from_lengths(vec![1; rows]),
        Arc::new(nested.clone()),
        None,
    );
    let bytes = |n: usize| some(n).then(|| vec![n as u8; n % 20]);
    let fixed = (0..rows).map(|n| some(n).then_some([n as u8; 5]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("null", Arc::new(NullArray::new(rows))),
        (
            "boolean",
            Arc::new((0..rows).map(|n| some(n).then_some(n % 2 == 0)).collect::<BooleanArray>()),
        ),
        ("tiny", Arc::new((0..rows).map(|n| some(n).then_some(n as u8)).collect::<UInt8Array>())),
        ("int", Arc::new((0..rows).map(|n| some(n).then_some(n as i64)).collect::<Int64Array>())),
        ("required", Arc::new(TimestampMillisecondArray::from_iter_values(0..rows as i64))),
        (
            "float",
            Arc::new(
                (0..rows).map(|n| some(n).then_some(n as f64 / 3.0)).collect::<Float64Array>(),
            ),
        ),
        ("date", Arc::new((0..rows).map(|n| some(n).then_some(n as i32)).collect::<Date32Array>())),
        (
            "decimal",
            Arc::new((0..rows).map(|n| some(n).then_some(n as i128)).collect::<Decimal128Array>()),
        ),
        (
            "wide",
            Arc::new(Decimal256Array::from_iter_values((0..rows).map(|n| (n as i128).into()))),
        ),
        (
            "interval",
            Arc::new(
                (0..rows)
                    .map(|n| arrow::datatypes::IntervalMonthDayNano::new(n as i32, 1, 2))
                    .map(Some)
                    .collect::<IntervalMonthDayNanoArray>(),
            ),
        ),
        ("text", Arc::new((0..rows).map(text).collect::<StringArray>())),
        ("large_text", Arc::new((0..rows).map(text).collect::<LargeStringArray>())),
        ("text_view", Arc::new((0..rows).map(text).collect::<StringViewArray>())),
        ("bytes", Arc::new((0..rows).map(bytes).collect::<BinaryArray>())),
        ("large_bytes", Arc::new((0..rows).map(bytes).collect::<LargeBinaryArray>())),
        ("bytes_view", Arc::new((0..rows).map(bytes).collect::<BinaryViewArray>())),
        (
            "fixed",
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 5).unwrap()),
        ),
        ("list", Arc::new(list)),
        ("large_list", Arc::new(large_list)),
        ("list_of_views", Arc::new(list_of_views)),
        ("fixed_list", Arc::new(fixed_list)),
        ("struct", Arc::new(nested)),
        ("list_of_structs", Arc::new(list_of_structs)),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), *name != "required"))
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn round_trip(batch: &RecordBatch) -> RecordBatch {
    let bytes = encode_batch(batch).unwrap();
    decode_batch(&batch.schema(), &bytes).unwrap()
}

#[test]
fn every_type_round_trips() {
    for rows in [0, 1, 2, 9, 300] {
        let batch = every_type(rows);
        assert_eq!(round_trip(&batch), batch, "{rows} rows");
    }
}

#[test]
fn a_batch_without_columns_keeps_its_rows() {
    let rows = RecordBatchOptions::new().with_row_count(Some(17));
    let schema = Arc::new(Schema::empty());
    let batch = RecordBatch::try_new_with_options(schema, vec![], &rows).unwrap();
    assert_eq!(round_trip(&batch).num_rows(), 17);
}

#[test]
fn a_slice_costs_what_its_rows_cost() {
    let batch = every_type(3000);
    for (offset, length) in [(0, 1), (1, 5), (1501, 8), (2999, 1), (700, 0)] {
        let slice = batch.slice(offset, length);
        assert_eq!(round_trip(&slice), slice);
        let sliced = encode_batch(&slice).unwrap().len();
        let few = encode_batch(&every_type(length + 3)).unwrap().len();
        assert!(sliced <= few + 1024, "{length} rows at {offset}: {sliced} bytes, not {few}");
    }
}

#[test]
fn decoded_bytes_may_stand_at_any_address() {
    let batch = every_type(40);
    let bytes = encode_batch(&batch).unwrap();
    for shift in 1..17 {
        let shifted = [vec![0; shift], bytes.clone()].concat();
        assert_eq!(decode_batch(&batch.schema(), &shifted[shift..]).as_ref(), Ok(&batch));
    }
}

#[test]
fn types_that_are_never_stored_are_named() {
    let dictionary: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let column = Arc::new(dictionary) as ArrayRef;
    let list = Arc::new(ListArray::new(
        Arc::new(Field::new_list_field(column.data_type().clone(), true)),
        OffsetBuffer::from_lengths([3]),
        Arc::clone(&column),
        None,
    )) as ArrayRef;
    for column in [column, list] {
        let batch = RecordBatch::try_from_iter([("plane", column)]).unwrap();
        let error = encode_batch(&batch).unwrap_err();
        assert!(
            matches!(&error, CodecError::Unsupported { column, .. } if column == "plane"),
            "{error}"
        );
        assert!(matches!(
            decode_batch(&batch.schema(), b"whatever"),
            Err(CodecError::Unsupported { .. })
        ));
    }
}

#[test]
fn a_batch_is_not_read_by_another_schema() {
    let batch = every_type(12);
    let bytes = encode_batch(&batch).unwrap();
    let fields = batch.schema().fields().clone();
    let without_last: Fields = fields.iter().take(fields.len() - 1).cloned().collect();
    let with_more: Fields = fields
        .iter()
        .cloned()
        .chain([Arc::new(Field::new("more", DataType::Int8, true))])
        .collect();
    for fields in [without_last, with_more] {
        let schema = Arc::new(Schema::new(fields));
        assert!(matches!(decode_batch(&schema, &bytes), Err(CodecError::Malformed { .. })));
    }
    let narrow =
        RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef)])
            .unwrap();
    let bytes = encode_batch(&narrow).unwrap();
    let wide = Arc::new(Schema::new(vec![Field::new("n", DataType::Decimal128(38, 0), true)]));
    assert!(matches!(decode_batch(&wide, &bytes), Err(CodecError::Malformed { .. })));
}

#[test]
fn text_that_is_no_utf8_is_an_error() {
    let column = Arc::new(BinaryArray::from(vec![&b"\xff\xfe"[..]])) as ArrayRef;
    let bytes = encode_batch(&RecordBatch::try_from_iter([("t", column)]).unwrap()).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8, true)]));
    assert!(matches!(decode_batch(&schema, &bytes), Err(CodecError::Malformed { .. })));
}

#[test]
fn a_null_in_a_required_column_is_an_error() {
    let column = Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef;
    let bytes = encode_batch(&RecordBatch::try_from_iter([("n", column)]).unwrap()).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    assert!(matches!(decode_batch(&schema, &bytes), Err(CodecError::Malformed { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slices_round_trip(rows in 0usize..60, from in 0usize..60, length in 0usize..60) {
        let from = from.min(rows);
        let slice = every_type(rows).slice(from, length.min(rows - from));
        prop_assert_eq!(round_trip(&slice), slice);
    }

    #[test]
    fn random_bytes_are_an_error(bytes: Vec<u8>) {
        let schema = every_type(0).schema();
        prop_assert!(decode_batch(&schema, &bytes).is_err());
        let framed = [&CONTINUATION[..], &(bytes.len() as u32).to_le_bytes(), &bytes].concat();
        prop_assert!(decode_batch(&schema, &framed).is_err());
    }

    #[test]
    fn any_prefix_is_an_error(rows in 0usize..20, cut: prop::sample::Index) {
        let batch = every_type(rows);
        let bytes = encode_batch(&batch).unwrap();
        prop_assert!(decode_batch(&batch.schema(), &bytes[..cut.index(bytes.len())]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// No checksum stands before the batch here: whatever a changed byte says, reading it is a
    /// value or an error.
    #[test]
    fn damaged_bytes_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_metadata: bool,
    ) {
        thread_local! {
            static WRITTEN: (RecordBatch, Vec<u8>) = {
                let batch = every_type(7);
                let bytes = encode_batch(&batch).unwrap();
                (batch, bytes)
            };
        }
        WRITTEN.with(|(batch, bytes)| {
            let mut bytes = bytes.clone();
            let metadata = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
            for (at, with) in changes {
                let at = at.index(if in_metadata { metadata + 8 } else { bytes.len() });
                bytes[at] = with;
            }
            if let Ok(read) = decode_batch(&batch.schema(), &bytes) {
                // What was read can be walked from end to end.
                let _ = format!("{read:?}");
            }
        });
    }
}
