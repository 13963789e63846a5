//! The last row of each key: deduplication that keeps the newest.
//!
//! # Invariants
//! A key's last row is handed on when no row can come any more within `keep` behind it; rows are
//! handed on in the order in which that becomes known, those of one time in the order of the input.
//!
//! Of rows of one event time the one that stands last in the input is the last.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, internal_err};
use tidemill_model::EventMs;
use tidemill_plan::LastStage;

use super::keys::Keys;
use super::{evaluated, typed};
use crate::aggregate::rows_bytes;
use crate::merge::failed::Failures;
use crate::merge::operator::{Operator, Rows};

/// The open state of a deduplication that keeps last rows.
pub(in crate::merge) struct Last {
    stage: LastStage,
    /// The newest row of each key that may have a newer one, in the order of the input.
    kept: RecordBatch,
}

impl Last {
    pub(in crate::merge) fn new(stage: &LastStage) -> Last {
        let kept = RecordBatch::new_empty(Arc::clone(&stage.kept));
        Last { stage: stage.clone(), kept }
    }

    fn keys(&self) -> usize {
        self.stage.partition_by.len()
    }

    fn times(&self) -> &[i64] {
        self.kept.column(self.keys()).as_primitive::<Int64Type>().values()
    }
}

impl Operator for Last {
    fn advance(
        &mut self,
        mut inputs: Vec<Rows>,
        watermarks: &[EventMs],
        _: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let (Some(Rows { batch, times }), [watermark]) = (inputs.pop(), watermarks) else {
            return internal_err!("a deduplication has one input");
        };
        let mut columns = evaluated(&self.stage.partition_by, &batch)?;
        columns.push(Arc::new(times) as ArrayRef);
        columns.extend(batch.columns().iter().cloned());
        let came = typed(&self.stage.kept, columns)?;
        let all = concat_batches(&self.stage.kept, [&self.kept, &came])?;
        let key_schema =
            arrow::datatypes::Schema::new(all.schema().fields()[..self.keys()].to_vec());
        let mut keys = Keys::new(key_schema, None)?;
        let numbers = keys.number(&all.columns()[..self.keys()], all.num_rows())?;
        let times = all.column(self.keys()).as_primitive::<Int64Type>().values().clone();

        // A row is its key's last when the next one of the key comes too late, or cannot come.
        let last_at = |row: usize| {
            self.stage.keep_ms.map_or(i64::MAX, |keep| times[row].saturating_add(keep))
        };
        let mut next: Vec<Option<usize>> = vec![None; keys.len()];
        let mut ripe: Vec<(i64, u32)> = Vec::new();
        let mut stays = vec![false; all.num_rows()];
        for row in (0..all.num_rows()).rev() {
            let key = numbers[row] as usize;
            let at = last_at(row);
            match next[key].replace(row) {
                Some(next) if times[next] <= at => continue,
                _ => {}
            }
            if at < watermark.0 || *watermark == EventMs::MAX {
                ripe.push((at, row as u32));
            } else {
                stays[row] = true;
            }
        }
        ripe.sort_unstable();
        self.kept = filter_record_batch(&all, &BooleanArray::from(stays))?;
        let ripe: UInt32Array = ripe.into_iter().map(|(_, row)| row).collect();
        let rows = take_record_batch(&all, &ripe)?;
        let mut columns = rows.columns()[self.keys() + 1..].to_vec();
        columns.push(Arc::new(UInt64Array::from_value(1, rows.num_rows())));
        typed(&self.stage.output, columns)
    }

    fn parts(&self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.kept.clone()])
    }

    fn restore(&mut self, parts: Vec<RecordBatch>) -> Result<()> {
        match <[RecordBatch; 1]>::try_from(parts) {
            Ok([kept]) => self.kept = kept,
            Err(_) => return internal_err!("a deduplication's state has one part"),
        }
        Ok(())
    }

    fn clear(&mut self) {
        *self = Last::new(&self.stage);
    }

    fn last_close(&self) -> Option<EventMs> {
        let newest = self.times().iter().max()?;
        Some(match self.stage.keep_ms {
            Some(keep) => EventMs(*newest).plus(keep).plus(1),
            None => EventMs::MAX,
        })
    }

    fn rows(&self) -> u64 {
        self.kept.num_rows() as u64
    }

    fn bytes(&self) -> u64 {
        rows_bytes(&self.kept)
    }
}
