//! A line longer than a record may be: its beginning, length and hash, and never the whole.

use tidemill_flow::decode::{CutRecord, RawBatch, RawRecord};
use tidemill_model::limits::DEAD_LETTER_RAW_BYTES_MAX;
use tidemill_model::{Position, WallMs};
use xxhash_rust::xxh3::Xxh3;

/// A long line as far as it was seen.
pub(super) struct LongLine {
    start: u64,
    first: Vec<u8>,
    length: u64,
    hash: Box<Xxh3>,
    /// Whether a `\r` was seen last, which may belong to the line's end.
    held_return: bool,
}

impl LongLine {
    /// A line that begins at the offset `start`.
    pub(super) fn new(start: u64) -> LongLine {
        LongLine {
            start,
            first: Vec::new(),
            length: 0,
            hash: Box::new(Xxh3::new()),
            held_return: false,
        }
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Adds the line's next bytes, without its `\n`.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.held_return {
            self.add(b"\r");
        }
        self.held_return = bytes.ends_with(b"\r");
        self.add(&bytes[..bytes.len() - usize::from(self.held_return)]);
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = DEAD_LETTER_RAW_BYTES_MAX - self.first.len();
        self.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// The line as the only record of a batch.
    pub(super) fn finish(self, arrival: WallMs) -> RawBatch {
        let record = RawRecord {
            bytes: 0..self.first.len() as u32,
            position: Position::from_offset(self.start),
            arrival,
        };
        let cut = CutRecord { index: 0, length: self.length, hash: self.hash.digest() };
        RawBatch { cut: vec![cut], ..RawBatch::new(self.first.into(), vec![record]) }
    }
}

impl std::fmt::Debug for LongLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LongLine")
            .field("start", &self.start)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
