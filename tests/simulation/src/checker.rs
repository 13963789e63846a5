//! What must be true of every history, whatever went wrong in it.
//!
//! | part | says |
//! |---|---|
//! | [`logs`] | segments tile each source; no record is in two or in none; nothing is taken for done before |
//! | [`chain`] | epochs are dense and created once; watermark and merged positions never go back |
//! | [`emission`] | an id has one content for ever; an epoch is marked after its last line |
//! | [`fold`] | each epoch gave what folding its records by the query's definition gives |
//! | [`batch`] | random queries gave what the engine's batch SQL gives over the rows that were not late |
//! | [`ledger`] | whatever the chain says: counted + late + dead = all, record by record |
//!
//! Shares no code with append, merge and advance: it decodes what they stored, and folds the
//! source's own records.

mod batch;
mod chain;
mod emission;
mod fold;
mod ledger;
mod logs;

use std::collections::BTreeMap;

use properties::rows::Cell;
use tidemill_codec::{decode_checkpoint, decode_segment};
use tidemill_flow::keys::Keys;
use tidemill_model::{Checkpoint, Segment};

use crate::history::{History, Stats, Violation, violated};
use crate::pipelines::{Meaning, Windows};
use crate::sink::{Content, Line, ResultRow};

/// A segment, and which created item it was.
pub(crate) struct Stored {
    pub(crate) segment: Segment,
    pub(crate) index: usize,
}

/// What lay in the store, decoded.
pub(crate) struct Evidence<'a> {
    pub(crate) history: &'a History,
    /// By shard, by `after`.
    pub(crate) segments: Vec<Vec<Stored>>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Every delivered id.
    pub(crate) lines: BTreeMap<String, Line>,
}

/// A window, [start, end).
pub(crate) type Span = (i64, i64);

/// A result row of a query of known meaning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    start: i64,
    end: i64,
    key: Option<String>,
    n: i64,
    total: i64,
}

/// Checks a history.
pub(crate) fn check(history: &History) -> Result<(), Violation> {
    let lines = emission::lines(history)?;
    let segments = logs::segments(history)?;
    let checkpoints = chain::checkpoints(history)?;
    let evidence = Evidence { history, segments, checkpoints, lines };
    logs::check(&evidence)?;
    chain::check(&evidence)?;
    emission::check(&evidence)?;
    ledger::check(&evidence)?;
    fold::check(&evidence)?;
    batch::check(&evidence)
}

/// The items under one partition key, by sort key; one that was created twice is a violation.
fn items(history: &History, pk: &str) -> Result<BTreeMap<String, (usize, Vec<u8>)>, Violation> {
    let mut items = BTreeMap::new();
    for (index, item) in history.created.iter().enumerate().filter(|(_, item)| item.pk == pk) {
        let before = items.insert(item.sk.clone(), (index, item.bytes.clone()));
        if before.is_some() {
            let when = item.at.0;
            violated!("an item was created twice. pk=`{pk}` sk=`{}` at=`{when}`", item.sk);
        }
    }
    Ok(items)
}

fn keys(history: &History) -> Keys {
    Keys::new(&history.planned.pipeline.name)
}

fn unreadable(error: impl std::fmt::Display) -> Violation {
    Violation::Broken(format!("a stored item cannot be read: {error}"))
}

impl Meaning {
    /// Whether an event with this value counts.
    fn counts(&self, value: Option<i64>) -> bool {
        !self.from_zero || value.is_some_and(|value| value >= 0)
    }

    /// The windows of fixed length that an event at `time` lies in, by their definition.
    fn spans(&self, time: i64) -> Vec<Span> {
        let grid = |step: i64| time.div_euclid(step) * step;
        match self.windows {
            Windows::Tumble { size } => vec![(grid(size), grid(size) + size)],
            Windows::Hop { slide, size } => {
                let starts = (0..).map(|back| grid(slide) - back * slide);
                starts.take_while(|start| time < start + size).map(|it| (it, it + size)).collect()
            }
            Windows::Cumulate { step, size } => {
                let start = grid(size);
                let ends = (1..=size / step).map(|steps| start + steps * step);
                ends.filter(|end| time < *end).map(|end| (start, end)).collect()
            }
            Windows::Session { .. } => Vec::new(),
        }
    }
}

impl History {
    /// Completes the counts of what happened.
    pub(crate) fn count(&mut self) {
        let lines = self.outbox.lines();
        let ids: BTreeMap<&String, &Content> =
            lines.iter().map(|line| (&line.id, &line.content)).collect();
        let keys = keys(self);
        let checkpoint = keys.checkpoint();
        let of = |wanted: &str| self.created.iter().filter(move |item| item.pk == wanted).count();
        let newest = self.created.iter().rev().find(|item| item.pk == checkpoint);
        let newest = newest.and_then(|item| decode_checkpoint(&item.bytes).ok());
        let logs = self.shards.iter().map(|shard| of(&keys.log(&shard.log)));
        let records = self.shards.iter().flat_map(|shard| &shard.records);
        let dead = records.filter_map(|it| match it.content {
            crate::source::Content::Dead(reason) => Some(reason),
            crate::source::Content::Event(_) => None,
        });
        let future = dead.clone().filter(|reason| *reason == "future").count();
        let results = ids.values().filter(|it| matches!(it, Content::Result { .. })).count();
        let failed = ids.values().filter(|it| matches!(it, Content::Failed(_))).count();
        self.stats = Stats {
            segments: logs.sum::<usize>() as u64,
            epochs: of(&checkpoint) as u64,
            late: newest.map_or(0, |newest| newest.totals.late),
            dead: dead.count() as u64,
            future: future as u64,
            results: results as u64,
            batch_rows: if self.planned.random.is_empty() { 0 } else { results as u64 },
            failed_rows: failed as u64,
            repeated: (lines.len() - ids.len()) as u64,
            ..self.stats
        };
    }
}

impl ResultRow {
    /// What a query of known meaning says in this row: `k`, `n` and `total`, by the order of its
    /// columns.
    fn counted(&self) -> Option<Counted> {
        let text = |column: usize| match self.cells.get(column) {
            Some(Cell::Exact(text)) => Some(text.as_str()),
            _ => None,
        };
        let number = |column: usize| text(column)?.trim_matches('\'').parse().ok();
        let key = text(0).filter(|key| *key != "NULL");
        let key = key.map(|key| key.trim_matches('\'').to_string());
        let (start, end, n, total) = (self.start, self.end, number(3)?, number(4)?);
        Some(Counted { start, end, key, n, total })
    }
}

fn segment(bytes: &[u8]) -> Result<Segment, Violation> {
    decode_segment(bytes).map_err(unreadable)
}

#[cfg(test)]
mod tests;
