//! Rows in the order in which they came, of which the first go first.
//!
//! Rows keep their places in the batches that they came in until batches are put together, each at
//! most as often as the number of rows doubles.
//!
//! Not here: what is known of a row.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, interleave, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

use crate::aggregate::rows_bytes;

/// In place of a row: none, which is taken as nulls.
pub(in crate::merge) const NO_ROW: u32 = u32::MAX;

/// Rows of one schema.
pub(in crate::merge) struct Chunks {
    schema: SchemaRef,
    chunks: VecDeque<RecordBatch>,
    rows: usize,
    bytes: u64,
}

impl Chunks {
    pub(in crate::merge) fn new(schema: SchemaRef) -> Chunks {
        Chunks { schema, chunks: VecDeque::new(), rows: 0, bytes: 0 }
    }

    pub(in crate::merge) fn len(&self) -> usize {
        self.rows
    }

    pub(in crate::merge) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(in crate::merge) fn clear(&mut self) {
        *self = Chunks::new(Arc::clone(&self.schema));
    }

    /// Adds rows at the end.
    pub(in crate::merge) fn push(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.rows += rows.num_rows();
        self.bytes += rows_bytes(&rows);
        self.chunks.push_back(rows);
        while let [.., before, last] = &*self.chunks.make_contiguous()
            && last.num_rows() * 2 > before.num_rows()
        {
            let both = concat_batches(&self.schema, [before, last])?;
            self.bytes = self.bytes - rows_bytes(before) - rows_bytes(last) + rows_bytes(&both);
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push_back(both);
        }
        Ok(())
    }

    /// Drops the first `count` rows.
    pub(in crate::merge) fn drop_first(&mut self, count: usize) {
        let mut left = count.min(self.rows);
        self.rows -= left;
        while left > 0
            && let Some(first) = self.chunks.pop_front()
        {
            self.bytes -= rows_bytes(&first);
            if first.num_rows() > left {
                let rest = first.slice(left, first.num_rows() - left);
                self.bytes += rows_bytes(&rest);
                self.chunks.push_front(rest);
                break;
            }
            left -= first.num_rows();
        }
    }

    /// All rows as one batch.
    pub(in crate::merge) fn all(&self) -> Result<RecordBatch> {
        Ok(concat_batches(&self.schema, self.chunks.iter())?)
    }

    /// The values of a column at `rows`, counted from the first row; [`NO_ROW`]: null.
    pub(in crate::merge) fn take(&self, column: usize, rows: &[u32]) -> Result<ArrayRef> {
        let data_type = self.schema.field(column).data_type();
        if self.chunks.is_empty() {
            return Ok(new_null_array(data_type, rows.len()));
        }
        if let [only] = self.chunks.iter().collect::<Vec<_>>().as_slice() {
            let rows = rows.iter().map(|row| (*row != NO_ROW).then_some(*row));
            return Ok(take(only.column(column), &rows.collect::<UInt32Array>(), None)?);
        }
        let null = new_null_array(data_type, 1);
        let mut values: Vec<&dyn Array> =
            self.chunks.iter().map(|chunk| chunk.column(column).as_ref()).collect();
        values.push(null.as_ref());
        Ok(interleave(&values, &self.places(rows))?)
    }

    /// For each row its chunk, the one after the last for none, and its place there.
    fn places(&self, rows: &[u32]) -> Vec<(usize, usize)> {
        let mut ends = Vec::with_capacity(self.chunks.len());
        for chunk in &self.chunks {
            ends.push(ends.last().copied().unwrap_or(0) + chunk.num_rows());
        }
        let place = |row: &u32| {
            let row = *row as usize;
            if row == NO_ROW as usize {
                return (self.chunks.len(), 0);
            }
            let chunk = ends.partition_point(|end| *end <= row);
            (chunk, row - if chunk == 0 { 0 } else { ends[chunk - 1] })
        };
        rows.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    #[test]
    fn rows_are_found_in_whatever_batches_they_came() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let mut chunks = Chunks::new(Arc::clone(&schema));
        let mut expected: VecDeque<i64> = VecDeque::new();
        let mut next = 0;
        for (pushed, dropped) in [(9, 2), (1, 0), (3, 0), (0, 5), (1, 0), (40, 30), (2, 1), (1, 0)]
        {
            let values = Int64Array::from_iter_values(next..next + pushed);
            expected.extend(next..next + pushed);
            next += pushed;
            chunks
                .push(RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)]).unwrap())
                .unwrap();
            chunks.drop_first(dropped);
            expected.drain(..dropped.min(expected.len()));
            assert_eq!(chunks.len(), expected.len());
            let rows: Vec<u32> = (0..expected.len() as u32).rev().chain([NO_ROW]).collect();
            let taken = chunks.take(0, &rows).unwrap();
            let taken: Vec<Option<i64>> = taken.as_primitive::<Int64Type>().iter().collect();
            let wanted: Vec<Option<i64>> =
                expected.iter().rev().map(|it| Some(*it)).chain([None]).collect();
            assert_eq!(taken, wanted);
            let all = chunks.all().unwrap();
            assert_eq!(all.num_rows(), expected.len());
            assert_eq!(chunks.bytes(), chunks.chunks.iter().map(rows_bytes).sum::<u64>());
        }
        chunks.drop_first(chunks.len());
        assert_eq!((chunks.len(), chunks.bytes()), (0, 0));
        assert!(chunks.take(0, &[NO_ROW]).unwrap().is_null(0));
    }
}
