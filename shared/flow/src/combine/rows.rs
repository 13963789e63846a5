//! Single events on their way through the log, for stages that must see every row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::common::Result;
use tidemill_model::EventMs;
use tidemill_pipeline::Late;
use tidemill_plan::{QueryPlan, RowStage};

use super::{row_numbers, shipped};
use crate::decode::Decoded;

/// The rows of the lower plan in the order of their records, each with its event time; those behind
/// `seen` also with position and perhaps raw bytes, for they may be late. A row that falls in no
/// window is left out.
pub(super) fn shipped(
    query: &QueryPlan,
    stage: &RowStage,
    decoded: &Decoded,
    lower: RecordBatch,
    seen: Option<EventMs>,
) -> Result<RecordBatch> {
    let numbers = row_numbers(&lower)?.values();
    let time = |row: &u32| decoded.event_times[*row as usize];
    let falls = |row: &u32| stage.shape.is_none_or(|shape| shape.slice_of(time(row)).is_some());
    let mut order: Vec<u32> =
        (0..).zip(numbers).filter(|(_, row)| falls(row)).map(|(index, _)| index).collect();
    let is_whole = order.len() == lower.num_rows();
    let is_sorted = numbers.is_sorted();
    if !is_sorted {
        order.sort_by_key(|index| numbers[*index as usize]);
    }
    let rows = match is_whole && is_sorted {
        true => lower.clone(),
        false => take_record_batch(&lower, &UInt32Array::from(order))?,
    };
    let numbers = row_numbers(&rows)?.values();
    let behind = |index: usize| {
        let time = time(&numbers[index]);
        let closes = match stage.shape {
            Some(shape) => shape.slice_of(time).map_or(time, |slice| shape.first_end(slice)),
            None => time.plus(1),
        };
        seen.is_some_and(|seen| closes.plus(query.grace_ms) <= seen)
    };
    let keep_raw = query.late == Late::DeadLetter;
    let (positions, raw) = shipped::sources(decoded, numbers, behind, keep_raw)?;
    let times: ArrayRef =
        Arc::new(Int64Array::from_iter_values(numbers.iter().map(|row| time(row).0)));
    let mut columns: Vec<ArrayRef> = rows.columns()[..stage.columns].to_vec();
    columns.extend([times, positions, raw]);
    Ok(RecordBatch::try_new(Arc::clone(&stage.partial), columns)?)
}
