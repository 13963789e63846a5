//! Bytes in, records of one block out. No I/O.

mod long;

use std::num::NonZeroUsize;

use memchr::{memchr, memchr_iter, memrchr};
use tidemill_flow::decode::{RawBatch, RawRecord};
use tidemill_model::{Position, WallMs};
use xxhash_rust::xxh3::xxh3_64;

use super::{Bounds, InputError, InputPath};
use long::LongLine;

/// Bytes read past the end of a block, so that its last line's end is mostly among them.
const BEYOND_BYTES: usize = 4 * 1024;
/// Bytes read at a time to find the end of a long line.
const STEP_BYTES: usize = 64 * 1024;
/// Most bytes that tell an input from another one.
const IDENTITY_BYTES: usize = 4 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What stands at the beginning of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What tells this input from another one of the same name, and stays the same while it grows:
    /// hash of its first line (with a header, of its first two), or of the first 4 KiB of that.
    /// `None` when the input ended before.
    pub identity: Option<String>,
    /// The line that names the fields, if the input has one.
    pub csv_header: Option<Vec<u8>>,
}

/// Where a chunk may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Only where a block ends: more is to come at once.
    WholeBlock,
    /// After any whole line: there is no more now.
    WholeLines,
    /// Nothing is left over: there will be no more.
    All,
}

/// The bytes of an input that were read and not yet handed out.
#[derive(Debug)]
pub(super) struct Lines {
    path: InputPath,
    bounds: Bounds,
    has_header: bool,
    head: Option<Head>,
    /// Begins where a line begins, but inside of `long`.
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    base: u64,
    /// Up to where the buffer was searched for the end of the block's last line.
    searched: usize,
    /// A line that is too long to be held.
    long: Option<LongLine>,
    shards: Vec<Shard>,
}

/// What is known of one log.
#[derive(Debug, Clone, Default)]
struct Shard {
    /// Offset of the last record that it already has.
    after: Option<u64>,
    /// Whether a record was found there.
    found: bool,
}

impl Lines {
    pub(super) fn new(
        path: InputPath,
        shards: NonZeroUsize,
        has_header: bool,
        bounds: Bounds,
    ) -> Lines {
        Lines {
            path,
            bounds,
            has_header,
            head: None,
            buffer: Vec::new(),
            base: 0,
            searched: 0,
            long: None,
            shards: vec![Shard::default(); shards.get()],
        }
    }

    /// Where bytes are to be added.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// How many bytes would be good to have.
    pub(super) fn wanted(&self) -> usize {
        let missing = self.block_end().saturating_sub(self.buffer.len());
        match missing {
            _ if self.long.is_some() => STEP_BYTES,
            0 => STEP_BYTES,
            missing => missing + BEYOND_BYTES,
        }
    }

    /// Offset up to which the input was read.
    pub(super) fn read_to(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Takes the head off the input, if enough of it is there. Whether it is known now.
    pub(super) fn find_head(&mut self, cut: Cut) -> Result<bool, InputError> {
        if self.head.is_some() {
            return Ok(true);
        }
        let all = cut == Cut::All;
        if self.buffer.len() < BYTE_ORDER_MARK.len() && !all {
            return Ok(false);
        }
        let mark = if self.buffer.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let text = &self.buffer[mark..];
        let mut ends = memchr_iter(b'\n', text);
        let header_end = match self.has_header.then(|| ends.next()) {
            Some(None) if text.len() > self.bounds.record_bytes_max => {
                return Err(InputError::HeaderTooLong {
                    path: self.path.to_string(),
                    bytes_max: self.bounds.record_bytes_max,
                });
            }
            Some(None) if !all => return Ok(false),
            Some(None) => text.len(),
            Some(Some(end)) => end + 1,
            None => 0,
        };
        let identity = match ends.next() {
            Some(end) => Some(&text[..end.min(IDENTITY_BYTES)]),
            None if text.len() >= IDENTITY_BYTES => Some(&text[..IDENTITY_BYTES]),
            None if all => None,
            None => return Ok(false),
        };
        let identity = identity.map(|text| format!("{:016x}", xxh3_64(text)));
        let header = &text[..header_end];
        let header = trim_return(header.strip_suffix(b"\n").unwrap_or(header));
        let csv_header = (self.has_header && header_end > 0).then(|| header.to_vec());
        self.head = Some(Head { identity, csv_header });
        self.pass(mark + header_end);
        Ok(true)
    }

    /// Leaves out what the logs already have. The offset from which on the input is needed, when
    /// that is later than what was read: of an input with a head, because that is not found later.
    pub(super) fn resume_after(&mut self, after: &[Position]) -> Option<u64> {
        for (shard, after) in self.shards.iter_mut().zip(after) {
            shard.after = after.to_offset();
        }
        let least = self.shards.iter().map(|shard| shard.after).min().flatten();
        least.filter(|least| *least > self.base && self.head.is_some())
    }

    /// Goes on at `offset`, where a line begins.
    pub(super) fn restart_at(&mut self, offset: u64) {
        self.buffer.clear();
        self.base = offset;
        self.searched = 0;
        self.long = None;
    }

    /// Whether the records were found after which the logs go on. For the end of the input.
    pub(super) fn check_resumed(&self) -> Result<(), InputError> {
        match self.shards.iter().find(|shard| !shard.found).and_then(|shard| shard.after) {
            Some(offset) => Err(self.changed(offset)),
            None => Ok(()),
        }
    }

    /// The next records with their log, if the buffer has them. The head was found before.
    pub(super) fn take(
        &mut self,
        cut: Cut,
        arrival: WallMs,
    ) -> Result<Option<(usize, RawBatch)>, InputError> {
        loop {
            if let Some(long) = &mut self.long {
                let end = memchr(b'\n', &self.buffer);
                long.push(&self.buffer[..end.unwrap_or(self.buffer.len())]);
                if end.is_none() && cut != Cut::All {
                    self.pass(self.buffer.len());
                    return Ok(None);
                }
                self.pass(end.map_or(self.buffer.len(), |end| end + 1));
                let Some(long) = self.long.take() else { continue };
                let (start, shard) = (long.start(), self.shard_of(long.start()));
                if self.is_new(shard, start)? {
                    return Ok(Some((shard, long.finish(arrival))));
                }
                continue;
            }
            let Some(end) = self.chunk_end(cut) else {
                if self.long.is_some() {
                    continue;
                }
                return Ok(None);
            };
            let (base, shard) = (self.base, self.shard_of(self.base));
            let rest = self.buffer.split_off(end);
            let block = std::mem::replace(&mut self.buffer, rest);
            self.base += end as u64;
            self.searched = 0;
            let batch = self.records(block, base, shard, arrival)?;
            if !batch.records.is_empty() {
                return Ok(Some((shard, batch)));
            }
        }
    }

    /// Up to where the buffer's lines can be handed out: all of them begin in the same block. May
    /// find instead that the first line is too long to be held.
    fn chunk_end(&mut self, cut: Cut) -> Option<usize> {
        let length = self.buffer.len();
        if length == 0 {
            return None;
        }
        let block_end = self.block_end();
        if length < block_end {
            return match cut {
                Cut::WholeBlock => None,
                Cut::WholeLines => memrchr(b'\n', &self.buffer).map(|end| end + 1),
                Cut::All => Some(length),
            };
        }
        // The block's last line is the one with the block's last byte.
        let from = self.searched.max(block_end - 1);
        if let Some(end) = memchr(b'\n', &self.buffer[from..]) {
            return Some(from + end + 1);
        }
        self.searched = length;
        let last = memrchr(b'\n', &self.buffer[..block_end - 1]).map_or(0, |end| end + 1);
        // One byte more, because a line may end with `\r`, which does not count.
        if length - last > self.bounds.record_bytes_max + 1 {
            if last == 0 {
                self.long = Some(LongLine::new(self.base));
                return None;
            }
            return Some(last);
        }
        match cut {
            Cut::WholeBlock => None,
            Cut::WholeLines => (last > 0).then_some(last),
            Cut::All => Some(length),
        }
    }

    /// The records of `block`, which begins at `base`.
    fn records(
        &mut self,
        block: Vec<u8>,
        base: u64,
        shard: usize,
        arrival: WallMs,
    ) -> Result<RawBatch, InputError> {
        let mut records = Vec::new();
        let mut start = 0;
        let last = (!block.ends_with(b"\n")).then_some(block.len());
        for end in memchr_iter(b'\n', &block).chain(last) {
            let line = trim_return(&block[start..end]);
            let offset = base + start as u64;
            if !line.is_empty() && self.is_new(shard, offset)? {
                records.push(RawRecord {
                    bytes: start as u32..(start + line.len()) as u32,
                    position: Position::from_offset(offset),
                    arrival,
                });
            }
            start = end + 1;
        }
        Ok(RawBatch::new(block.into(), records))
    }

    /// Whether the log has yet to get the record at `offset`.
    fn is_new(&mut self, shard: usize, offset: u64) -> Result<bool, InputError> {
        let state = &mut self.shards[shard];
        let Some(after) = state.after else { return Ok(true) };
        state.found |= offset == after;
        if offset > after && !state.found {
            return Err(self.changed(after));
        }
        Ok(offset > after)
    }

    fn changed(&self, offset: u64) -> InputError {
        InputError::Changed { path: self.path.to_string(), offset }
    }

    /// Log of a line that begins at `offset`.
    fn shard_of(&self, offset: u64) -> usize {
        ((offset / self.bounds.split_bytes) % self.shards.len() as u64) as usize
    }

    /// End of the block that the buffer begins in, as an index of the buffer.
    fn block_end(&self) -> usize {
        (self.bounds.split_bytes - self.base % self.bounds.split_bytes) as usize
    }

    /// Drops the buffer's first bytes.
    fn pass(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.base += bytes as u64;
        self.searched = 0;
    }
}

fn trim_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
