//! Bytes of columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray,
    Float64Array, Int32Array, ListArray, NullArray, StringArray, StringViewArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::Int64Type;

use super::column_bytes;

#[test]
fn a_column_has_the_bytes_that_the_engine_says_whatever_its_type_and_however_it_is_cut() {
    let fixed = [Some([1u8; 16]), None, Some([2; 16])].into_iter();
    let lists = [Some(vec![Some(1), None]), None, Some(vec![])];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(StringArray::from(vec![Some("a"), None, Some("a longer text")])),
        Arc::new(BinaryArray::from(vec![b"12".as_slice(), b"", b"345"])),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 16).unwrap()),
        Arc::new(Int32Array::from(vec![1, 2, 3])),
        Arc::new(Float64Array::from(vec![None, Some(1.0), None])),
        Arc::new(Decimal128Array::from(vec![1, 2, 3])),
        Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, None])),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
        Arc::new(NullArray::new(3)),
        Arc::new(StringViewArray::from(vec![
            Some("a view"),
            None,
            Some("a view of a longer text"),
        ])),
    ];
    for column in columns {
        for (offset, length) in [(0, 3), (1, 2), (2, 1), (1, 0)] {
            let cut = column.slice(offset, length);
            let said = cut.to_data().get_slice_memory_size().unwrap();
            assert_eq!(column_bytes(&cut), said, "{}", column.data_type());
        }
    }
}
