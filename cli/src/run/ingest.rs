//! Ingest: one thread per shard, which decodes, combines and appends its share of every input.
//!
//! # Invariants
//! 1. A log has one writer: shard n of every stream belongs to worker n.
//! 2. Memory is bounded: a worker holds [`BLOCKS_QUEUED`] blocks and as many that it works on, and
//!    waits while too much is unmerged.
//! 3. Whatever fails, what was appended stays, and the next run reads the rest again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use miette::Report;
use tidemill_flow::append::{AppendFailure, Appended, Appender, RetryCause};
use tidemill_flow::decode::{Decoded, Decoder, RawBatch};
use tidemill_flow::ports::Combine;
use tidemill_model::LogId;
use tidemill_pipeline::Stream;
use tokio::runtime::Handle;

use super::backlog::Backlog;
use super::balance::Balance;
use super::progress::Counters;
use super::stop::Stop;
use crate::clock;
use crate::problem::Problem;

/// Blocks that wait for one worker.
pub(crate) const BLOCKS_QUEUED: usize = 4;
/// How often an idle worker looks whether the run ends.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Tries of one append while the store does not answer.
const TRIES_MAX: u32 = 5;
/// Pause before the next try; the n-th is n times as long.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Records of one log on their way to its worker.
pub(crate) struct Block {
    /// The input that they come from.
    pub(crate) input: usize,
    pub(crate) log: LogId,
    /// The line that names the fields of the input's records, if it has one.
    pub(crate) header: Option<Arc<[u8]>>,
    pub(crate) raw: RawBatch,
}

/// What the threads of a run share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) stop: Stop,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) balance: Arc<Balance>,
    pub(crate) counters: Arc<Counters>,
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) shared: Shared,
    pub(crate) runtime: Handle,
    pub(crate) streams: BTreeMap<String, Stream>,
    /// By stream; made when its first block comes.
    pub(crate) decoders: BTreeMap<String, Decoder>,
    pub(crate) combine: Box<dyn Combine>,
    pub(crate) appender: Appender,
}

impl Worker {
    /// Works until no more blocks can come, or the run is stopped and none is queued.
    pub(crate) fn run(mut self, blocks: &Receiver<Block>) {
        let mut next = None;
        loop {
            let block = match next.take() {
                Some(block) => Ok(block),
                None => blocks.recv_timeout(LOOK_AGAIN),
            };
            match block {
                Ok(mut block) => {
                    next = join_queued(&mut block, blocks);
                    if let Err(report) = self.block(block) {
                        return self.shared.stop.fail(report);
                    }
                }
                Err(RecvTimeoutError::Timeout) if !self.shared.stop.is_set() => {}
                Err(_) => return,
            }
        }
    }

    fn block(&mut self, block: Block) -> Result<(), Report> {
        let Block { input, log, header, raw } = block;
        let decoder = match self.decoders.entry(log.stream.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let decoder = Decoder::new(&self.streams[&log.stream], header.as_deref());
                new.insert(decoder.map_err(Problem::plain)?)
            }
        };
        let decoded = decoder.decode(&log, raw);
        self.shared.counters.saw(decoded.clock());
        self.shared.balance.progress(input, decoded.clock());
        self.shared.backlog.wait_for_room(|| self.shared.stop.is_set());
        self.append(&log, decoded)
    }

    /// Appends until everything is in the log. A stopped run finishes what it has begun.
    fn append(&mut self, log: &LogId, mut decoded: Decoded) -> Result<(), Report> {
        let mut tries = 1;
        loop {
            let seen = self.shared.counters.watermark();
            let append = self.appender.append(log, &decoded, &mut *self.combine, seen, &clock::now);
            let error = match self.runtime.block_on(append) {
                Ok(done) => {
                    self.count(&done);
                    return Ok(());
                }
                Err(error) => error,
            };
            self.count(&error.done);
            let records = &decoded.raw.records;
            let covered = records.partition_point(|r| r.position < error.first_uncovered);
            decoded = decoded.part(covered..records.len());
            match &error.failure {
                AppendFailure::Stuck(_) => return Err(Problem::plain(error.failure).into()),
                AppendFailure::LogNearExpiry { .. } if !self.shared.stop.is_set() => {
                    std::thread::sleep(RETRY_AFTER);
                }
                AppendFailure::Retry(RetryCause::Contended { .. }) => {
                    return Err(Problem::new(
                        error.failure,
                        "another process writes to this store; run one at a time",
                    )
                    .into());
                }
                _ if tries < TRIES_MAX => {
                    std::thread::sleep(RETRY_AFTER * tries);
                    tries += 1;
                }
                _ => {
                    return Err(Problem::new(
                        error.failure,
                        "what was read so far is safe; see that the store's disk has room and can \
                         be written, then run the same command again",
                    )
                    .into());
                }
            }
        }
    }

    fn count(&self, done: &Appended) {
        let counters = &self.shared.counters;
        counters.appended.fetch_add(done.records, Ordering::Relaxed);
        counters.skipped.fetch_add(done.duplicates_skipped, Ordering::Relaxed);
        counters.segments.fetch_add(done.segments, Ordering::Relaxed);
        counters.segment_bytes.fetch_add(done.segment_bytes, Ordering::Relaxed);
        self.shared.backlog.appended(done.segment_bytes);
    }
}

/// Joins the blocks of the same log that are queued already to `block`, so that more records are
/// combined into one segment when ingest is behind, and none waits when it is not. Answers a block
/// of another log that came in between.
fn join_queued(block: &mut Block, blocks: &Receiver<Block>) -> Option<Block> {
    let mut joined = vec![std::mem::take(&mut block.raw)];
    let mut other = None;
    while joined.len() < BLOCKS_QUEUED {
        match blocks.try_recv() {
            Ok(next) if next.log == block.log => joined.push(next.raw),
            Ok(next) => {
                other = Some(next);
                break;
            }
            Err(_) => break,
        }
    }
    block.raw = match joined.len() {
        1 => joined.swap_remove(0),
        _ => RawBatch::concat(joined),
    };
    other
}
