//! decode: source records → columns of the stream; what cannot be read becomes a dead letter.
//!
//! ```text
//! record ─ tidemill-records ─▶ one row of every column
//!               │
//!               └── fault ───▶ one dead letter, no row
//! ```
//!
//! # Invariants
//! 1. Every raw record is exactly one row or exactly one dead letter.
//! 2. A dead record leaves no trace in the columns: the rows of its neighbours are the same
//!    without it, and the same however the records were cut into batches.
//! 3. Pure: arrival times are arguments. What the decoder remembers between records (the order
//!    of a JSON record's members) makes it faster and never changes an answer.
//!
//! Not here: what a text is the value of (`tidemill-records`), reading files (`embedded`), what queries make of the rows (`plan`).

mod decoder;

#[cfg(test)]
mod tests;

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use bytes::Bytes;
use tidemill_model::limits::DEAD_LETTER_RAW_BYTES_MAX;
use tidemill_model::{DeadLetter, DeadReason, EventMs, LogId, Position, RawBytes, WallMs};
use xxhash_rust::xxh3::xxh3_64;

pub use decoder::{DecodeSetupError, Decoder};

/// Records of one shard as the source gave them, in position order.
#[derive(Debug, Clone, Default)]
pub struct RawBatch {
    /// The bytes that the records lie in; at most `i32::MAX`.
    pub buffer: Bytes,
    /// The records, by rising position. Their bytes do not overlap.
    pub records: Vec<RawRecord>,
    /// Records that are longer than a record may be, of which `buffer` holds only the beginning;
    /// by rising index.
    pub cut: Vec<CutRecord>,
    /// Indices of records that have no value at all (a Kafka tombstone), rising. They are dead
    /// letters, whatever their stream's format makes of no bytes.
    pub nulls: Vec<u32>,
}

/// One record inside a [`RawBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Where its bytes lie in the buffer.
    pub bytes: Range<u32>,
    /// Its position.
    pub position: Position,
    /// When it reached its source.
    pub arrival: WallMs,
}

/// What is known of a record that a source did not keep whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutRecord {
    /// Its index in [`RawBatch::records`].
    pub index: u32,
    /// Length of the whole record, bytes; more than
    /// [`RECORD_BYTES_MAX`](tidemill_model::limits::RECORD_BYTES_MAX).
    pub length: u64,
    /// XXH3-64 of the whole record.
    pub hash: u64,
}

impl RawBatch {
    /// Records that are all whole.
    pub fn new(buffer: Bytes, records: Vec<RawRecord>) -> RawBatch {
        RawBatch { buffer, records, ..RawBatch::default() }
    }

    /// Neighbouring batches of one shard as one, in their order: fewer, larger batches combine into
    /// fewer partial rows.
    pub fn concat(batches: Vec<RawBatch>) -> RawBatch {
        let bytes = batches.iter().map(|batch| batch.buffer.len()).sum();
        let mut buffer = Vec::with_capacity(bytes);
        let mut whole = RawBatch::default();
        for batch in batches {
            let (shift, count) = (buffer.len() as u32, whole.records.len() as u32);
            buffer.extend_from_slice(&batch.buffer);
            whole.records.extend(batch.records.into_iter().map(|record| RawRecord {
                bytes: record.bytes.start + shift..record.bytes.end + shift,
                ..record
            }));
            whole.cut.extend(
                batch.cut.into_iter().map(|cut| CutRecord { index: cut.index + count, ..cut }),
            );
            whole.nulls.extend(batch.nulls.into_iter().map(|index| index + count));
        }
        whole.buffer = Bytes::from(buffer);
        whole
    }

    /// The bytes of the record of this index; of a cut record, its beginning.
    ///
    /// # Panics
    /// When there is no such record, or it does not lie in the buffer.
    pub fn bytes_of(&self, index: usize) -> &[u8] {
        let Range { start, end } = self.records[index].bytes;
        &self.buffer[start as usize..end as usize]
    }

    /// What a dead letter keeps of the record of this index.
    ///
    /// # Panics
    /// As [`RawBatch::bytes_of`].
    pub fn raw_bytes(&self, index: usize) -> RawBytes {
        let bytes = self.bytes_of(index);
        match self.cut_of(index) {
            Some(cut) => {
                let kept = bytes.len().min(DEAD_LETTER_RAW_BYTES_MAX);
                RawBytes { first: bytes[..kept].to_vec(), length: cut.length, hash: cut.hash }
            }
            None => RawBytes::of(bytes, xxh3_64(bytes)),
        }
    }

    /// The dead letter of the record of this index of a log.
    ///
    /// # Panics
    /// As [`RawBatch::bytes_of`].
    pub fn dead_letter(&self, log: &LogId, index: usize, reason: DeadReason) -> DeadLetter {
        let RawRecord { position, arrival, .. } = self.records[index];
        DeadLetter { log: log.clone(), position, arrival, reason, raw: Some(self.raw_bytes(index)) }
    }

    fn cut_of(&self, index: usize) -> Option<&CutRecord> {
        let at = self.cut.binary_search_by_key(&index, |cut| cut.index as usize).ok()?;
        self.cut.get(at)
    }
}

/// Records of one shard, decoded.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// What was decoded, whole: rows and dead letters are found here again.
    pub raw: Arc<RawBatch>,
    /// The part of `raw.records` that this stands for.
    pub range: Range<usize>,
    /// One row per decoded record: the stream's columns of
    /// [`tidemill_plan::stream_schema`], which ends with the arrival time.
    pub rows: RecordBatch,
    /// For each row its record's index in `raw.records`, rising.
    pub records: Vec<u32>,
    /// For each row its event time.
    pub event_times: Vec<EventMs>,
    /// Dead letters, with the index of each in `raw.records`, rising.
    pub dead: Vec<(u32, DeadLetter)>,
}

impl Decoded {
    /// The records of `range` (indices in `raw.records`, as `self.range` has them; what lies
    /// outside `self.range` is left out) with their rows and dead letters. Columns are shared, not
    /// copied.
    pub fn part(&self, range: Range<usize>) -> Decoded {
        let start = range.start.clamp(self.range.start, self.range.end);
        let end = range.end.clamp(start, self.range.end);
        let rows = between(&self.records, start..end, |record| *record);
        let dead = between(&self.dead, start..end, |(record, _)| *record);
        Decoded {
            raw: Arc::clone(&self.raw),
            range: start..end,
            rows: self.rows.slice(rows.start, rows.len()),
            records: self.records[rows.clone()].to_vec(),
            event_times: self.event_times[rows].to_vec(),
            dead: self.dead[dead].to_vec(),
        }
    }

    /// The rows of these numbers, rising, copied; of the same records, without dead letters.
    pub fn only(&self, rows: impl IntoIterator<Item = u32>) -> Result<Decoded, ArrowError> {
        let chosen: Vec<u32> = rows.into_iter().collect();
        Ok(Decoded {
            raw: Arc::clone(&self.raw),
            range: self.range.clone(),
            records: chosen.iter().map(|row| self.records[*row as usize]).collect(),
            event_times: chosen.iter().map(|row| self.event_times[*row as usize]).collect(),
            rows: take_record_batch(&self.rows, &UInt32Array::from(chosen))?,
            dead: Vec::new(),
        })
    }

    /// How many source records this stands for, dead ones included.
    pub fn record_count(&self) -> usize {
        self.range.len()
    }

    /// First and last position; `None` when no record is left.
    pub fn positions(&self) -> Option<RangeInclusive<Position>> {
        let records = &self.raw.records[self.range.clone()];
        Some(records.first()?.position..=records.last()?.position)
    }

    /// Arrival of the row of this index.
    pub fn arrival(&self, row: usize) -> WallMs {
        self.raw.records[self.records[row] as usize].arrival
    }

    /// Newest arrival among the records, dead ones included; `None` when no record is left.
    pub fn newest_arrival(&self) -> Option<WallMs> {
        self.raw.records[self.range.clone()].iter().map(|record| record.arrival).max()
    }

    /// What these records do to their log's clock: the largest min(event time, arrival) over the
    /// rows; `None` without a row.
    pub fn clock(&self) -> Option<EventMs> {
        self.event_times
            .iter()
            .enumerate()
            .map(|(row, event_time)| (*event_time).min(EventMs(self.arrival(row).0)))
            .max()
    }
}

/// Where in `sorted` the items lie whose record is in `range`.
fn between<T>(sorted: &[T], range: Range<usize>, record: impl Fn(&T) -> u32) -> Range<usize> {
    let start = sorted.partition_point(|item| (record(item) as usize) < range.start);
    let end = sorted.partition_point(|item| (record(item) as usize) < range.end);
    start..end
}
