//! Rows shipped one by one: a window of theirs may have closed, and then advance needs them whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use datafusion::common::{Result, internal_err};
use tidemill_model::{Position, RawBytes, WindowShape};
use tidemill_plan::Stage;

use super::slices::Placed;
use super::{assemble, keys_in, row_numbers};
use crate::aggregate::States;
use crate::decode::Decoded;

/// One partial row per row and grouping set, with event time, position and perhaps raw bytes.
pub(super) fn rows(
    stage: &Stage,
    decoded: &Decoded,
    placed: &Placed,
    rows: &RecordBatch,
    keep_raw: bool,
) -> Result<RecordBatch> {
    let numbers = row_numbers(rows)?.values();
    let times: Vec<i64> = numbers.iter().map(|row| decoded.event_times[*row as usize].0).collect();
    let (positions, raw) = sources(decoded, numbers, |_| true, keep_raw)?;
    let (starts, ends): (Vec<i64>, Vec<i64>) = match stage.shape {
        WindowShape::Session { gap_ms } => {
            let reaches = placed.slices.iter().map(|slice| slice.end.minus(gap_ms).0);
            (times.clone(), reaches.collect())
        }
        _ => placed.slices.iter().map(|slice| (slice.start.0, slice.end.0)).unzip(),
    };
    let event_times: ArrayRef = Arc::new(Int64Array::from(times));
    let each: Vec<usize> = (0..rows.num_rows()).collect();
    let mut parts = Vec::new();
    for set in &stage.grouping {
        let mut states = States::new(stage)?;
        states.update(stage, rows, &each, rows.num_rows())?;
        let (records, states) = states.take_states()?;
        let mut columns = keys_in(stage, set, rows);
        columns.push(Arc::new(Int64Array::from(starts.clone())));
        columns.push(Arc::new(Int64Array::from(ends.clone())));
        let combined = assemble(stage, columns, records, states)?;
        let mut columns = combined.columns().to_vec();
        let shipped = stage.shipped_index();
        columns[shipped] = Arc::clone(&event_times);
        columns[shipped + 1] = Arc::clone(&positions);
        columns[shipped + 2] = Arc::clone(&raw);
        parts.push(RecordBatch::try_new(Arc::clone(&stage.partial), columns)?);
    }
    Ok(concat_batches(&stage.partial, &parts)?)
}

/// Where the rows of these numbers came from: positions and raw bytes of those that are `alone`,
/// which is asked with the index among `numbers`.
pub(super) fn sources(
    decoded: &Decoded,
    numbers: &[u32],
    alone: impl Fn(usize) -> bool,
    keep_raw: bool,
) -> Result<(ArrayRef, ArrayRef)> {
    let record = |row: &u32| decoded.records[*row as usize] as usize;
    let chosen = || numbers.iter().enumerate().map(|(index, row)| alone(index).then_some(row));
    let position = |row: &u32| *decoded.raw.records[record(row)].position.as_bytes();
    let positions = chosen().map(|row| row.map(position));
    let width = Position::BYTES as i32;
    let positions = FixedSizeBinaryArray::try_from_sparse_iter_with_size(positions, width)?;
    let raw = |row: &u32| encode(&decoded.raw.raw_bytes(record(row)));
    let raws = chosen().map(|row| row.filter(|_| keep_raw).map(raw));
    Ok((Arc::new(positions), Arc::new(BinaryArray::from_iter(raws))))
}

/// Length and hash of the whole record, then its first bytes.
fn encode(raw: &RawBytes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + raw.first.len());
    bytes.extend_from_slice(&raw.length.to_le_bytes());
    bytes.extend_from_slice(&raw.hash.to_le_bytes());
    bytes.extend_from_slice(&raw.first);
    bytes
}

/// What [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Result<RawBytes> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return internal_err!("a late row's raw bytes are cut off");
    };
    let Some((hash, first)) = rest.split_first_chunk::<8>() else {
        return internal_err!("a late row's raw bytes are cut off");
    };
    Ok(RawBytes {
        first: first.to_vec(),
        length: u64::from_le_bytes(*length),
        hash: u64::from_le_bytes(*hash),
    })
}
