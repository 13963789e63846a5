//! Makes view columns hold only the bytes that they show.
//!
//! Arrow's IPC writer cuts every other column to its slice, but writes all buffers of a view
//! column, and those often belong to a much larger batch.

use arrow::{
    array::{
        Array, ArrayData, ArrayRef, BinaryViewArray, MutableArrayData, StringViewArray, make_array,
    },
    datatypes::DataType,
    error::ArrowError,
};

/// The array, with the views in it compacted.
pub(super) fn compact(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !holds_views(array.data_type()) {
        return Ok(ArrayRef::clone(array));
    }
    // A copy of the shown rows: its children begin at 0 and hold nothing else, so that
    // compacting a child needs no regard to its parent's offsets.
    let data = array.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    Ok(make_array(compact_data(copy.freeze())?))
}

fn compact_data(data: ArrayData) -> Result<ArrayData, ArrowError> {
    match data.data_type() {
        DataType::Utf8View => Ok(StringViewArray::from(data).gc().into_data()),
        DataType::BinaryView => Ok(BinaryViewArray::from(data).gc().into_data()),
        data_type if holds_views(data_type) => {
            let children =
                data.child_data().iter().cloned().map(compact_data).collect::<Result<_, _>>()?;
            data.into_builder().child_data(children).build()
        }
        _ => Ok(data),
    }
}

fn holds_views(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => holds_views(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_views(field.data_type())),
        _ => false,
    }
}
