//! Keys of a join as small numbers.
//!
//! # Invariants
//! 1. Equal keys that are held have one number; a number that nobody holds is given again.
//!
//! Not here: what is kept of a key.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::PhysicalExpr;

use crate::blame;
use crate::merge::operator::Rows;

/// In place of a number: the key is null and equals none.
pub(in crate::merge) const NO_KEY: u32 = u32::MAX;

/// The keys that are held, for the rows of both sides of a join.
pub(in crate::merge) struct Keys {
    exprs: [Vec<Arc<dyn PhysicalExpr>>; 2],
    nulls_equal: bool,
    /// Equal keys are equal bytes; `None`: every key is equal.
    converter: Option<RowConverter>,
    numbers: BTreeMap<Arc<[u8]>, u32>,
    /// By number: the key's bytes and how many hold it.
    held: Vec<(Arc<[u8]>, u32)>,
    free: Vec<u32>,
    bytes: usize,
}

impl Keys {
    pub(in crate::merge) fn new(
        exprs: [Vec<Arc<dyn PhysicalExpr>>; 2],
        schema: &arrow::datatypes::Schema,
        nulls_equal: bool,
    ) -> Result<Keys> {
        let fields = exprs[0]
            .iter()
            .map(|expr| Ok(SortField::new(expr.data_type(schema)?)))
            .collect::<Result<Vec<_>>>()?;
        let converter = match fields.is_empty() {
            true => None,
            false => Some(RowConverter::new(fields)?),
        };
        let (numbers, held, free) = (BTreeMap::new(), Vec::new(), Vec::new());
        Ok(Keys { exprs, nulls_equal, converter, numbers, held, free, bytes: 0 })
    }

    /// Forgets all keys.
    pub(in crate::merge) fn clear(&mut self) {
        self.numbers.clear();
        self.held.clear();
        self.free.clear();
        self.bytes = 0;
    }

    fn columns(&self, side: usize, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.exprs[side].iter().map(|expr| blame::values(expr, rows)).collect()
    }

    /// The rows of a side whose key can be equal to another.
    pub(in crate::merge) fn with_key(&self, side: usize, rows: Rows) -> Result<Rows> {
        let columns = self.columns(side, &rows.batch)?;
        let Some(valid) = valid(&columns).filter(|_| !self.nulls_equal) else { return Ok(rows) };
        let valid = BooleanArray::new(valid.into_inner(), None);
        let batch = filter_record_batch(&rows.batch, &valid)?;
        let times = filter(&rows.times, &valid)?.as_primitive().clone();
        Ok(Rows { batch, times })
    }

    /// The number of each row's key, which the row then holds.
    pub(in crate::merge) fn hold(&mut self, side: usize, rows: &RecordBatch) -> Result<Vec<u32>> {
        let columns = self.columns(side, rows)?;
        let valid = if self.nulls_equal { None } else { valid(&columns) };
        let encoded = match &self.converter {
            Some(converter) => Some(converter.convert_columns(&columns)?),
            None => None,
        };
        let mut numbers = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            if valid.as_ref().is_some_and(|valid| valid.is_null(row)) {
                numbers.push(NO_KEY);
                continue;
            }
            match &encoded {
                Some(encoded) => numbers.push(self.number(encoded.row(row).as_ref())?),
                None => numbers.push(self.number(&[])?),
            }
        }
        Ok(numbers)
    }

    fn number(&mut self, key: &[u8]) -> Result<u32> {
        if let Some(number) = self.numbers.get(key) {
            self.held[*number as usize].1 += 1;
            return Ok(*number);
        }
        let bytes: Arc<[u8]> = Arc::from(key);
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.held.len() < NO_KEY as usize => {
                self.held.push((Arc::clone(&bytes), 0));
                (self.held.len() - 1) as u32
            }
            None => return internal_err!("a join holds more keys than there are numbers"),
        };
        self.held[number as usize] = (Arc::clone(&bytes), 1);
        self.bytes += 2 * (bytes.len() + 64);
        self.numbers.insert(bytes, number);
        Ok(number)
    }

    /// One holder less. Answers whether none is left.
    pub(in crate::merge) fn release(&mut self, number: u32) -> bool {
        let (key, holders) = &mut self.held[number as usize];
        *holders -= 1;
        if *holders > 0 {
            return false;
        }
        self.bytes -= 2 * (key.len() + 64);
        self.numbers.remove(key);
        *key = Arc::from([]);
        self.free.push(number);
        true
    }

    /// Numbers are below this.
    pub(in crate::merge) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes held, about.
    pub(in crate::merge) fn bytes(&self) -> u64 {
        self.bytes as u64
    }
}

/// The rows in which no column is null; `None`: all.
fn valid(columns: &[ArrayRef]) -> Option<NullBuffer> {
    let nulls = columns.iter().map(|column| column.logical_nulls());
    nulls.fold(None, |all, one| NullBuffer::union(all.as_ref(), one.as_ref()))
}
