//! Key columns as bytes that compare, in the arrow row encoding.

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;

pub(super) struct KeyCodec {
    /// `None`: there are no columns, and all keys are one.
    converter: Option<RowConverter>,
    types: Vec<DataType>,
}

impl KeyCodec {
    pub(super) fn new(types: impl Iterator<Item = DataType>) -> Result<KeyCodec> {
        let types: Vec<DataType> = types.collect();
        let fields: Vec<SortField> = types.iter().cloned().map(SortField::new).collect();
        let converter = match fields.is_empty() {
            true => None,
            false => Some(RowConverter::new(fields)?),
        };
        Ok(KeyCodec { converter, types })
    }

    /// The key of each of `count` rows.
    pub(super) fn encode(&self, columns: &[ArrayRef], count: usize) -> Result<Vec<Box<[u8]>>> {
        let Some(converter) = &self.converter else { return Ok(vec![Box::default(); count]) };
        let rows = converter.convert_columns(columns)?;
        Ok(rows.iter().map(|row| row.as_ref().into()).collect())
    }

    /// The columns of these keys.
    pub(super) fn decode(&self, keys: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        Ok(converter.convert_rows(keys.iter().map(|key| parser.parse(key)))?)
    }

    /// A key whose columns are all null.
    pub(super) fn none(&self) -> Result<Box<[u8]>> {
        let columns: Vec<ArrayRef> = self.types.iter().map(|it| new_null_array(it, 1)).collect();
        Ok(self.encode(&columns, 1)?.pop().unwrap_or_default())
    }
}
