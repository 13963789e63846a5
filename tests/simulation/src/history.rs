//! What a world leaves to its checker.

use std::fmt;
use std::sync::Arc;

use tidemill_model::Position;

use crate::pipelines::Planned;
use crate::sink::Outbox;
use crate::source::Shard;
use crate::store::Created;
use crate::trace::Trace;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A promise is broken, and the pipeline noticed nothing.
    #[error("{0}")]
    Broken(String),
    /// The pipeline stopped by itself, and says why.
    #[error("{0}")]
    Stopped(String),
}

/// A violation with a formatted text, returned at once.
macro_rules! violated {
    ($($text:tt)*) => { return Err($crate::history::Violation::Broken(format!($($text)*))) };
}
pub(crate) use violated;

/// A whole history.
pub(crate) struct History {
    pub(crate) planned: Arc<Planned>,
    pub(crate) orderly: bool,
    /// Whether sinks are files, which are cut back.
    pub(crate) files: bool,
    /// The sources, whole.
    pub(crate) shards: Vec<Shard>,
    /// Every item that was ever created, in the order of creation.
    pub(crate) created: Vec<Created>,
    /// What the source took for done, and how many items were created by then.
    pub(crate) acks: Vec<Ack>,
    pub(crate) outbox: Outbox,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
}

/// A source's word that everything of a shard up to a position is done.
pub(crate) struct Ack {
    pub(crate) shard: usize,
    pub(crate) through: Position,
    pub(crate) created: usize,
}

/// What happened in one history or in many: to see that a simulation did what it is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Histories.
    pub seeds: u64,
    /// Histories of random queries.
    pub random: u64,
    /// Source records.
    pub records: u64,
    /// Records that can never be counted.
    pub dead: u64,
    /// Of these, records whose time was too far ahead.
    pub future: u64,
    /// (record, window) pairs that were late.
    pub late: u64,
    /// Records offered again after they were in the log.
    pub duplicates: u64,
    /// Shards that were split.
    pub splits: u64,
    /// Pairs of shards that were merged.
    pub merges: u64,
    /// Records of shards that continue others.
    pub inherited: u64,
    /// Segments created.
    pub segments: u64,
    /// Puts of a segment that lost a race.
    pub races: u64,
    /// Checkpoints created.
    pub epochs: u64,
    /// Checkpoints with a snapshot of their own.
    pub snapshots: u64,
    /// Ticks that lost a race.
    pub lost_ticks: u64,
    /// Epochs that were emitted by another tick than the one that made them.
    pub recovered: u64,
    /// Result rows, each id once.
    pub results: u64,
    /// Of these, rows compared with what a batch gives.
    pub batch_rows: u64,
    /// Rows that a query failed on, each id once.
    pub failed_rows: u64,
    /// Lines that a sink got more than once.
    pub repeated: u64,
    /// Emissions of which a sink took some lines and then failed.
    pub half_emitted: u64,
    /// Processes that crashed in a call of the store, done or not.
    pub crashes: u64,
    /// Processes that were killed between two calls, with work under way.
    pub killed: u64,
    /// Calls of the store that stalled.
    pub stalls: u64,
    /// Calls of the store that stalled for more than an hour.
    pub long_stalls: u64,
    /// Calls that were refused: throttled.
    pub refused: u64,
    /// Calls whose outcome nobody heard, done or not.
    pub unknown: u64,
    /// Processes whose clock was off.
    pub skewed: u64,
    /// Hours that passed.
    pub hours: u64,
    /// Times in which no advance ran for hours.
    pub outages: u64,
    /// Items that expired.
    pub expired: u64,
    /// Appends refused because nobody merged.
    pub near_expiry: u64,
}

impl Stats {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Stats) {
        for (mine, theirs) in self.counts_mut().into_iter().zip(other.counts()) {
            *mine.1 += theirs.1;
        }
    }

    fn counts(&self) -> [(&'static str, u64); 32] {
        let mut copy = *self;
        copy.counts_mut().map(|(name, count)| (name, *count))
    }

    fn counts_mut(&mut self) -> [(&'static str, &mut u64); 32] {
        [
            ("seeds", &mut self.seeds),
            ("random", &mut self.random),
            ("records", &mut self.records),
            ("dead", &mut self.dead),
            ("future", &mut self.future),
            ("late", &mut self.late),
            ("duplicates", &mut self.duplicates),
            ("splits", &mut self.splits),
            ("merges", &mut self.merges),
            ("inherited", &mut self.inherited),
            ("segments", &mut self.segments),
            ("races", &mut self.races),
            ("epochs", &mut self.epochs),
            ("snapshots", &mut self.snapshots),
            ("lost_ticks", &mut self.lost_ticks),
            ("recovered", &mut self.recovered),
            ("results", &mut self.results),
            ("batch_rows", &mut self.batch_rows),
            ("failed_rows", &mut self.failed_rows),
            ("repeated", &mut self.repeated),
            ("half_emitted", &mut self.half_emitted),
            ("crashes", &mut self.crashes),
            ("killed", &mut self.killed),
            ("stalls", &mut self.stalls),
            ("long_stalls", &mut self.long_stalls),
            ("refused", &mut self.refused),
            ("unknown", &mut self.unknown),
            ("skewed", &mut self.skewed),
            ("hours", &mut self.hours),
            ("outages", &mut self.outages),
            ("expired", &mut self.expired),
            ("near_expiry", &mut self.near_expiry),
        ]
    }

    /// The names of what never happened.
    pub fn never(&self) -> Vec<&'static str> {
        self.counts().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.counts().into_iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}={count}")?;
        }
        Ok(())
    }
}
