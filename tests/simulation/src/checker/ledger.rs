//! Counted + late + dead = all, over everything that came out in the end. Asks neither checkpoints
//! nor watermarks, so it would also notice a chain that is wrong from end to end.

use std::collections::{BTreeMap, BTreeSet};

use properties::event::Event;
use tidemill_model::{DeadLetter, DeadReason, LogId, Position};

use super::{Counted, Evidence, Span};
use crate::history::{Violation, violated};
use crate::pipelines::{Meaning, Windows};
use crate::sink::Content;
use crate::source::{self, Record};

type Key = Option<String>;

/// A late dead letter, as far as it matters here.
pub(super) struct LateLetter<'a> {
    /// The event, when the letter tells of one alone.
    pub(super) event: Option<&'a Event>,
    /// Key and partial values, when it tells of several.
    partial: Option<serde_json::Value>,
    pub(super) records: u64,
    pub(super) windows: Vec<Span>,
}

impl LateLetter<'_> {
    /// The key `k`.
    pub(super) fn key(&self, letter: &DeadLetter) -> Result<Key, Violation> {
        match (self.event, &self.partial) {
            (Some(event), _) => Ok(event.k.clone()),
            (None, Some(partial)) => match partial["key"]["k"].as_str() {
                Some("null") => Ok(None),
                Some(key) => Ok(Some(key.to_string())),
                None => violated!("a late letter has no key. {letter:?}"),
            },
            (None, None) => violated!("a late letter has neither record nor partial values"),
        }
    }
}

pub(super) fn check(evidence: &Evidence) -> Result<(), Violation> {
    dead_records_are_told_once(evidence)?;
    let totals = evidence.checkpoints.last().map(|newest| newest.totals).unwrap_or_default();
    if evidence.history.orderly && totals.late > 0 {
        violated!("{} rows are late though every event was in time", totals.late);
    }
    let shards = &evidence.history.shards;
    let records: usize = shards.iter().map(|shard| shard.records.len()).sum();
    if totals.records != records as u64 {
        violated!("the chain counts {} of {records} records", totals.records);
    }
    let mut missing = 0;
    // What random queries do not count is the batch's matter.
    let mut is_exact = evidence.history.planned.random.is_empty();
    for query in &evidence.history.planned.known {
        missing += match query.windows {
            Windows::Session { .. } => sessions_balance(evidence, query)?,
            _ => windows_balance(evidence, query)?,
        };
        is_exact &= query.top.is_none();
    }
    if is_exact && missing != totals.late {
        violated!("{missing} (row, window) pairs are in no result, {} are late", totals.late);
    }
    Ok(())
}

/// Every dead record is one dead letter with its reason and bytes, and no other record is.
fn dead_records_are_told_once(evidence: &Evidence) -> Result<(), Violation> {
    let mut told = BTreeSet::new();
    for line in evidence.lines.values() {
        let Content::Dead(letter) = &line.content else { continue };
        if matches!(letter.reason, DeadReason::Late { .. }) {
            continue;
        }
        let record = record(evidence, &letter.log, letter.position)?;
        if record.content != source::Content::Dead(letter.reason.tag()) {
            violated!("a letter tells {:?} of {:?}", letter.reason, record.content);
        }
        if letter.raw.as_ref().is_none_or(|raw| raw.first != record.bytes) {
            violated!("a letter has other bytes than its record. id=`{}`", line.id);
        }
        if !told.insert((letter.log.clone(), letter.position)) {
            violated!("a dead record was told twice. id=`{}`", line.id);
        }
    }
    for shard in &evidence.history.shards {
        let dead = shard.records.iter().filter(|it| matches!(it.content, source::Content::Dead(_)));
        for record in dead {
            let position = record.position;
            if !told.contains(&(shard.log.clone(), position)) {
                violated!("a dead record was never told. log=`{}` {position:?}", shard.log);
            }
        }
    }
    Ok(())
}

fn record<'a>(
    evidence: &Evidence<'a>,
    log: &LogId,
    position: Position,
) -> Result<&'a Record, Violation> {
    let shard = evidence.history.shards.iter().find(|shard| shard.log == *log);
    let found = shard.and_then(|it| it.records.iter().find(|it| it.position == position));
    found.ok_or_else(|| Violation::Broken(format!("there is no record at {position:?} of {log}")))
}

/// The events that a query counts, as (key, value, time).
fn events<'a>(
    evidence: &Evidence<'a>,
    query: &'a Meaning,
) -> impl Iterator<Item = (Key, i64, i64)> + 'a {
    let shards = evidence.history.shards.iter().filter(|it| it.log.stream == query.stream);
    shards.flat_map(|shard| &shard.records).filter_map(|record| match &record.content {
        source::Content::Event(event) if query.counts(event.i) => {
            Some((event.k.clone(), event.i.unwrap_or(0), event.ts))
        }
        _ => None,
    })
}

fn rows(evidence: &Evidence, query: &Meaning) -> Result<Vec<Counted>, Violation> {
    let rows = evidence.lines.values().filter_map(|line| match &line.content {
        Content::Result { query: name, row } if *name == query.name => {
            let unreadable = || Violation::Broken(format!("{name} has other columns: {row:?}"));
            Some(row.counted().ok_or_else(unreadable))
        }
        _ => None,
    });
    rows.collect()
}

/// The late letters of a query, with their keys.
fn letters<'a>(
    evidence: &Evidence<'a>,
    query: &Meaning,
) -> Result<Vec<(Key, LateLetter<'a>)>, Violation> {
    let mut letters = Vec::new();
    for line in evidence.lines.values() {
        if let Content::Dead(letter) = &line.content
            && let DeadReason::Late { query: name, .. } = &letter.reason
            && *name == query.name
        {
            let late = read(evidence, letter)?;
            letters.push((late.key(letter)?, late));
        }
    }
    Ok(letters)
}

/// What a late letter says. One with raw bytes is one record, whose bytes it must have.
pub(super) fn read<'a>(
    evidence: &Evidence<'a>,
    letter: &DeadLetter,
) -> Result<LateLetter<'a>, Violation> {
    let DeadReason::Late { windows, windows_missed, records, partial, event_time, .. } =
        &letter.reason
    else {
        violated!("not a late letter: {letter:?}")
    };
    if windows.len() as u64 != *windows_missed {
        violated!("a letter names {} of {windows_missed} windows", windows.len());
    }
    let windows = windows.iter().map(|(start, end)| (start.0, end.0)).collect();
    let records = *records;
    match (&letter.raw, partial) {
        (Some(raw), None) => {
            let record = record(evidence, &letter.log, letter.position)?;
            let source::Content::Event(event) = &record.content else {
                violated!("a dead record is called late. {letter:?}")
            };
            if raw.first != record.bytes || records != 1 || event.ts != event_time.0 {
                violated!("a late letter does not tell of its record. {letter:?}");
            }
            Ok(LateLetter { event: Some(event), partial: None, records, windows })
        }
        (None, Some(partial)) => {
            let partial = serde_json::from_str(partial).map_err(super::unreadable)?;
            Ok(LateLetter { event: None, partial: Some(partial), records, windows })
        }
        _ => violated!("a late letter has neither record nor partial values. {letter:?}"),
    }
}

/// Answers how many (row, window) pairs are in no result.
fn windows_balance(evidence: &Evidence, query: &Meaning) -> Result<u64, Violation> {
    // By window and key: events and their sum.
    let mut all: BTreeMap<(Span, Key), (i64, i64)> = BTreeMap::new();
    for (key, value, time) in events(evidence, query) {
        for span in query.spans(time) {
            let entry = all.entry((span, key.clone())).or_default();
            *entry = (entry.0 + 1, entry.1 + value);
        }
    }
    let mut late: BTreeMap<(Span, Key), i64> = BTreeMap::new();
    for (key, letter) in letters(evidence, query)? {
        for span in letter.windows {
            *late.entry((span, key.clone())).or_default() += letter.records as i64;
        }
    }
    let mut counted = BTreeMap::new();
    for row in rows(evidence, query)? {
        let at = ((row.start, row.end), row.key.clone());
        if counted.insert(at.clone(), (row.n, row.total)).is_some() {
            violated!("{} has two results for {at:?}", query.name);
        }
        if !all.contains_key(&at) {
            violated!("{} has a result for {at:?}, which has no event", query.name);
        }
    }
    let mut missing = 0;
    for (at, (n, total)) in &all {
        let (counted_n, counted_total) = counted.get(at).copied().unwrap_or_default();
        let late_n = late.remove(at).unwrap_or_default();
        let (name, left_out) = (query.name, n - counted_n);
        let is_whole = counted_n == *n && counted_total == *total;
        let is_balanced = match (query.letters, query.top) {
            (true, None) => left_out == late_n,
            // What is below the top is in no result, and what was dropped in no letter.
            _ => left_out >= late_n && late_n >= 0,
        };
        if !is_balanced || left_out == 0 && !is_whole {
            violated!(
                "{name} {at:?}: {n} events (sum {total}), {counted_n} counted (sum \
                 {counted_total}), {late_n} late"
            );
        }
        missing += left_out as u64;
    }
    match late.first_key_value() {
        Some((at, _)) => violated!("{} is late for {at:?}, which has no event", query.name),
        None => Ok(missing),
    }
}

/// The same for sessions, whose bounds depend on what was late: by key only.
fn sessions_balance(evidence: &Evidence, query: &Meaning) -> Result<u64, Violation> {
    let mut all: BTreeMap<Key, i64> = BTreeMap::new();
    for (key, _, _) in events(evidence, query) {
        *all.entry(key).or_default() += 1;
    }
    let mut late: BTreeMap<Key, i64> = BTreeMap::new();
    for (key, letter) in letters(evidence, query)? {
        *late.entry(key).or_default() += letter.records as i64;
    }
    let mut counted: BTreeMap<Key, i64> = BTreeMap::new();
    for row in rows(evidence, query)? {
        *counted.entry(row.key.clone()).or_default() += row.n;
    }
    let mut missing = 0;
    for (key, n) in &all {
        let left_out = n - counted.remove(key).unwrap_or_default();
        let late_n = late.remove(key).unwrap_or_default();
        if left_out < 0 || query.letters && left_out != late_n {
            violated!("{} {key:?}: {n} events, {left_out} not counted, {late_n} late", query.name);
        }
        missing += left_out as u64;
    }
    if !counted.is_empty() || !late.is_empty() {
        violated!("{} tells of keys that no event has", query.name);
    }
    Ok(missing)
}
