//! Reading segments: in bounded pages, and never past a gap.
//!
//! # Invariants
//! 1. A segment's `after` is the previous one's `through`, and the first one's is the merged
//!    position; anything else is an error, never skipped.
//! 2. What lies before the merged position is never read, whoever wrote it there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures::future::try_join_all;
use tidemill_codec::decode_segment;
use tidemill_model::limits::TICK_COMPRESSION;
use tidemill_model::store::Limits;
use tidemill_model::{DeadLetter, EventMs, LogId, Position, Segment};

use super::{AdvanceError, chain::Chain, known::Known};
use crate::keys::Keys;

/// Bytes of one read of one log.
const PAGE_BYTES: usize = 1024 * 1024;
/// Logs that are read at once.
const READS_AT_ONCE: usize = 16;
/// Bytes of segments that a replay reads ahead, over all logs.
const REPLAY_BYTES: usize = 32 * 1024 * 1024;
/// The least that a replay reads ahead of one log.
const REPLAY_PAGE_BYTES_MIN: usize = 64 * 1024;

/// A segment and what it cost.
pub(super) struct Read {
    pub(super) segment: Segment,
    pub(super) bytes: u64,
    /// Bytes that it counts for among those of a tick.
    weight: usize,
}

/// What a segment of `stored` bytes counts for: more than that when it was compressed well, because
/// it is held decompressed.
fn weight(segment: &Segment, stored: usize) -> usize {
    let blocks = segment.blocks.iter().map(|block| block.batch.len());
    let raw = |letter: &DeadLetter| letter.raw.as_ref().map_or(0, |raw| raw.first.len());
    let letters = segment.dead_letters.iter().map(raw);
    stored.max(blocks.chain(letters).sum::<usize>() / TICK_COMPRESSION)
}

struct Page {
    reads: Vec<Read>,
    /// Whether more may follow.
    more: bool,
}

async fn page(
    chain: &Chain,
    log: &LogId,
    after: Position,
    bytes: usize,
) -> Result<Page, AdvanceError> {
    let pk = chain.keys.log(log);
    let limits = Limits { items: usize::MAX, bytes };
    let rows = chain.store.range(&pk, &Keys::segment(after), limits).await?;
    let mut expected = after;
    let mut total = 0;
    let mut reads: Vec<Read> = Vec::new();
    for row in rows {
        let segment = decode_segment(&row.item.bytes)
            .map_err(|cause| AdvanceError::codec(&pk, &row.sk, cause))?;
        if Keys::segment(segment.after) != row.sk {
            return Err(AdvanceError::damaged(&pk, &row.sk, "it is another key's segment"));
        }
        if segment.after != expected {
            let (log, found) = (log.clone(), segment.after);
            return Err(AdvanceError::Gap { log, expected, found });
        }
        expected = segment.through;
        let stored = row.item.bytes.len();
        let read = Read { weight: weight(&segment, stored), segment, bytes: stored as u64 };
        total += read.weight;
        reads.push(read);
        // What compresses well is large in memory: the rest is read again when it is its turn.
        if total >= bytes {
            break;
        }
    }
    Ok(Page { more: total >= bytes, reads })
}

/// What a tick read.
pub(super) struct Unmerged {
    /// Segments by log, in position order.
    pub(super) logs: BTreeMap<LogId, Vec<Read>>,
    /// The logs that have, or may have, segments that were not read.
    pub(super) unread: BTreeSet<LogId>,
}

struct Cursor {
    log: LogId,
    after: Position,
    clock: Option<EventMs>,
    more: bool,
    reads: Vec<Read>,
}

/// Reads about `bytes_max` bytes of segments behind the merged positions, always from the logs
/// with the smallest clocks: those are the ones that hold the watermark.
pub(super) async fn unmerged(
    chain: &Chain,
    logs: &BTreeMap<LogId, Known>,
    bytes_max: usize,
) -> Result<Unmerged, AdvanceError> {
    let mut cursors: Vec<Cursor> = logs
        .iter()
        .map(|(log, known)| Cursor {
            log: log.clone(),
            after: known.progress.merged,
            clock: known.progress.clock,
            more: true,
            reads: Vec::new(),
        })
        .collect();
    let mut left = bytes_max;
    while left > 0 && cursors.iter().any(|cursor| cursor.more) {
        // One log at a time when the bytes run out, so that the slowest gets what is left.
        let at_once = (left / PAGE_BYTES).clamp(1, READS_AT_ONCE);
        cursors.sort_by(|a, b| {
            let key = |cursor: &Cursor| (!cursor.more, cursor.clock);
            key(a).cmp(&key(b)).then_with(|| a.log.cmp(&b.log))
        });
        let slowest: Vec<&mut Cursor> =
            cursors.iter_mut().take_while(|cursor| cursor.more).take(at_once).collect();
        let bytes = left.min(PAGE_BYTES);
        let pages = try_join_all(
            slowest.iter().map(|cursor| page(chain, &cursor.log, cursor.after, bytes)),
        )
        .await?;
        for (cursor, page) in slowest.into_iter().zip(pages) {
            cursor.more = page.more;
            for read in page.reads {
                cursor.after = read.segment.through;
                cursor.clock = cursor.clock.max(read.segment.clock);
                left = left.saturating_sub(read.weight);
                cursor.reads.push(read);
            }
        }
    }
    let unread =
        cursors.iter().filter(|cursor| cursor.more).map(|cursor| cursor.log.clone()).collect();
    let logs = cursors.into_iter().map(|cursor| (cursor.log, cursor.reads)).collect();
    Ok(Unmerged { logs, unread })
}

/// What a tick has that merges nothing: which logs have segments behind their merged positions.
/// `unread` are those that are known to.
pub(super) async fn untouched(
    chain: &Chain,
    logs: &BTreeMap<LogId, Known>,
    mut unread: BTreeSet<LogId>,
) -> Result<Unmerged, AdvanceError> {
    let unknown: Vec<_> = logs.iter().filter(|(log, _)| !unread.contains(*log)).collect();
    for logs in unknown.chunks(READS_AT_ONCE) {
        let pages = logs.iter().map(|(log, known)| page(chain, log, known.progress.merged, 1));
        let pages = try_join_all(pages).await?;
        let more = logs.iter().zip(pages).filter(|(_, page)| page.more);
        unread.extend(more.map(|((log, _), _)| (*log).clone()));
    }
    Ok(Unmerged { logs: BTreeMap::new(), unread })
}

/// Reads one log from its start or a checkpoint's position, epoch by epoch.
pub(super) struct Replayer {
    log: LogId,
    /// `through` of the last segment handed out.
    position: Position,
    ahead: VecDeque<Segment>,
    page_bytes: usize,
}

impl Replayer {
    /// Reads `log` from `position` on; `logs` of them share the memory.
    pub(super) fn new(log: LogId, position: Position, logs: usize) -> Replayer {
        let page_bytes = (REPLAY_BYTES / logs.max(1)).clamp(REPLAY_PAGE_BYTES_MIN, PAGE_BYTES);
        Replayer { log, position, ahead: VecDeque::new(), page_bytes }
    }

    /// The next segment up to `merged`; `None` when `merged` is reached.
    pub(super) async fn next(
        &mut self,
        chain: &Chain,
        merged: Position,
    ) -> Result<Option<Segment>, AdvanceError> {
        if self.position >= merged {
            return Ok(None);
        }
        if self.ahead.is_empty() {
            let page = page(chain, &self.log, self.position, self.page_bytes).await?;
            self.ahead.extend(page.reads.into_iter().map(|read| read.segment));
        }
        let sk = Keys::segment(self.position);
        let Some(segment) = self.ahead.pop_front() else {
            let reason = format!("it is gone, though only merged through {merged} by checkpoints");
            return Err(AdvanceError::damaged(&chain.keys.log(&self.log), &sk, reason));
        };
        if segment.through > merged {
            let reason = format!("it ends behind {merged}, where a checkpoint's merging ended");
            return Err(AdvanceError::damaged(&chain.keys.log(&self.log), &sk, reason));
        }
        self.position = segment.through;
        Ok(Some(segment))
    }
}
