//! Random queries: over the rows that were not late, the engine's own SQL as one batch gives the
//! same rows.
//!
//! A query may fail on some rows of closed windows: then these are the batch's no more, and are told
//! of one by one.
//!
//! Which rows were late follows from the definition of the windows and from what the chain says:
//! which epoch merged a record, and where the watermark stood before. The letters and the count of
//! late rows must say the same.

use std::collections::BTreeMap;

use properties::oracle::{self, Facts};
use properties::rows::{Cell, Rows, Tolerance};
use properties::script::Merged;
use properties::windows::{Judged, Windows};
use tidemill_model::{DeadReason, LogId};

use super::{Evidence, Span, ledger};
use crate::history::{Violation, violated};
use crate::pipelines::RandomQuery;
use crate::sink::{Content, ResultRow};
use crate::source;

/// Late records by (epoch, log, window).
type Late = BTreeMap<(u64, LogId, Span), u64>;

pub(super) fn check(evidence: &Evidence) -> Result<(), Violation> {
    let queries = &evidence.history.planned.random;
    if queries.is_empty() {
        return Ok(());
    }
    let watermarks = evidence.checkpoints.iter().map(|it| it.watermark.map(|at| at.0)).collect();
    let facts = Facts { merged: merged(evidence)?, watermarks };
    let questions: Vec<_> = queries.iter().map(RandomQuery::question).collect();
    let mut late_rows = 0;
    for (query, answer) in queries.iter().zip(oracle::ask_all(&facts, &questions)) {
        let late = answer.judged.values().map(|it| it.late.len() as u64).sum::<u64>();
        late_rows += late * query.scans;
        same_late(evidence, query, &facts, &answer.judged)?;
        let emitted = emitted(evidence, query)?;
        same_failed(evidence, query, &facts)?;
        if let Err(difference) = emitted.same(&Rows::of(&answer.batches), Tolerance::Exact) {
            violated!("{} gives other rows than a batch: {difference}", query.name);
        }
    }
    let totals = evidence.checkpoints.last().map(|newest| newest.totals).unwrap_or_default();
    if totals.late != late_rows {
        violated!("the chain counts {} late (row, window) pairs of {late_rows}", totals.late);
    }
    Ok(())
}

/// Every event, with the epoch that merged it.
fn merged(evidence: &Evidence) -> Result<Vec<Merged>, Violation> {
    let mut merged = Vec::new();
    for shard in &evidence.history.shards {
        let log = &shard.log;
        for (index, record) in shard.records.iter().enumerate() {
            let source::Content::Event(event) = &record.content else { continue };
            let has_it = |checkpoint: &tidemill_model::Checkpoint| {
                checkpoint.logs.get(log).is_some_and(|log| log.merged >= record.position)
            };
            // Merged positions never go back.
            let tick = evidence.checkpoints.partition_point(|checkpoint| !has_it(checkpoint));
            if tick == evidence.checkpoints.len() {
                violated!("a record was never merged. log=`{log}` {:?}", record.position);
            }
            let (log, event, offset) = (log.clone(), event.clone(), index as u64);
            merged.push(Merged { log, offset, event, tick });
        }
    }
    Ok(merged)
}

/// What a reader holds in the end, each row emitted in the epoch whose watermark closed its window;
/// of results that change, by what they say of it.
fn emitted(evidence: &Evidence, query: &RandomQuery) -> Result<Rows, Violation> {
    let mut lines: Vec<(u64, &ResultRow)> = Vec::new();
    for line in evidence.lines.values() {
        match &line.content {
            Content::Result { query: name, row } if *name == query.name => {
                lines.push((line.epoch.0, row));
            }
            _ => {}
        }
    }
    if query.changes.is_some() {
        return held(evidence, query, lines);
    }
    let mut rows = Vec::new();
    for (epoch, row) in lines {
        if timing(evidence, query, epoch, row.end) != "on_time" {
            violated!("{} gave the window that ends at {} in epoch {epoch}", query.name, row.end);
        }
        rows.push(row.cells.clone());
    }
    Ok(Rows(rows).sorted())
}

/// How an epoch stands to the closing of a window that ends at `end`.
fn timing(evidence: &Evidence, query: &RandomQuery, epoch: u64, end: i64) -> &'static str {
    // A row at a session's end, or in its grace, joins it.
    let inclusive = i64::from(matches!(query.windows, Windows::Session { .. }));
    let closes_at = end + query.grace + query.delay + inclusive;
    let watermark = |epoch: Option<u64>| {
        let checkpoint = epoch.and_then(|epoch| evidence.checkpoints.get(epoch as usize));
        checkpoint.and_then(|checkpoint| checkpoint.watermark)
    };
    let closed = |epoch| watermark(epoch).is_some_and(|it| it.0 >= closes_at);
    match (closed(epoch.checked_sub(1)), closed(Some(epoch))) {
        (true, _) => "late",
        (false, true) => "on_time",
        (false, false) => "early",
    }
}

/// What a reader holds that applies all rows, epoch by epoch. A revision that does not rise, a row
/// twice in an epoch, or one that is deleted and was not there, is a violation.
fn held(
    evidence: &Evidence,
    query: &RandomQuery,
    mut lines: Vec<(u64, &ResultRow)>,
) -> Result<Rows, Violation> {
    lines.sort_by_key(|(epoch, _)| *epoch);
    let name = &query.name;
    let mut seen: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    let mut held: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
    for (epoch, row) in lines {
        let Some((cells, [Cell::Exact(op), Cell::Exact(revision), Cell::Exact(said)])) =
            row.cells.split_last_chunk::<3>()
        else {
            violated!("{name} has other columns: {row:?}")
        };
        let id = format!("{:?}", &cells[..query.key_columns + 2]);
        let Ok(revision) = revision.trim_matches('\'').parse::<i64>() else {
            violated!("{name} has a revision that is no number: {row:?}")
        };
        let before = seen.insert(id.clone(), (epoch, revision));
        if before.is_some_and(|before| before.0 == epoch || before.1 >= revision) {
            violated!("{name} gave {id} revision {revision} in epoch {epoch} after {before:?}");
        }
        if op == "'upsert'" {
            let expected = timing(evidence, query, epoch, row.end);
            if said.trim_matches('\'') != expected {
                violated!("{name} called {id} of epoch {epoch} {said}, it is {expected}");
            }
            held.insert(id, cells.to_vec());
        } else if held.remove(&id).is_none() {
            violated!("{name} deleted {id} in epoch {epoch}, which was not there");
        }
    }
    Ok(Rows(held.into_values().collect()).sorted())
}

/// The letters tell of the rows that the query fails on: of each when its window closes, and perhaps
/// again when it has changed.
fn same_failed(evidence: &Evidence, query: &RandomQuery, facts: &Facts) -> Result<(), Violation> {
    let expected = query.failing().map_or(0, |question| {
        let answers = oracle::ask_all(facts, &[question]);
        answers[0].batches.iter().map(|batch| batch.num_rows()).sum()
    });
    let mut told = 0;
    for line in evidence.lines.values() {
        let Content::Failed(failed) = &line.content else { continue };
        if failed.query != query.name {
            continue;
        }
        told += 1;
        let timing =
            failed.window.map(|window| timing(evidence, query, line.epoch.0, window.end.0));
        let is_due = timing == Some("on_time") || (query.fails_again() && timing == Some("late"));
        if failed.rows != 1 || !is_due {
            violated!("{} tells of {failed:?} in epoch {}: {timing:?}", query.name, line.epoch);
        }
    }
    if told < expected || (told > expected && !query.fails_again()) {
        violated!("{} tells of {told} rows that it fails on, expected {expected}", query.name);
    }
    Ok(())
}

/// The letters tell of the rows that are late by definition, of each in its epoch.
fn same_late(
    evidence: &Evidence,
    query: &RandomQuery,
    facts: &Facts,
    judged: &BTreeMap<i64, Judged>,
) -> Result<(), Violation> {
    if !query.letters {
        return Ok(());
    }
    let mut expected = Late::new();
    for record in &facts.merged {
        for span in judged.get(&record.event.id).into_iter().flat_map(|it| &it.late) {
            let at = (record.tick as u64, record.log.clone(), *span);
            *expected.entry(at).or_default() += 1;
        }
    }
    let mut told = Late::new();
    for line in evidence.lines.values() {
        let Content::Dead(letter) = &line.content else { continue };
        let DeadReason::Late { query: name, .. } = &letter.reason else { continue };
        if *name != query.name {
            continue;
        }
        let late = ledger::read(evidence, letter)?;
        if let Some(event) = late.event {
            let judged = judged.get(&event.id);
            if judged.is_none_or(|it| late.windows.iter().any(|span| !it.late.contains(span))) {
                violated!("{name} calls late what is not: {letter:?}");
            }
        }
        for span in late.windows {
            let at = (line.epoch.0, letter.log.clone(), span);
            *told.entry(at).or_default() += late.records;
        }
    }
    if told != expected {
        violated!("{} tells of {told:?} as late, late are {expected:?}", query.name);
    }
    Ok(())
}
