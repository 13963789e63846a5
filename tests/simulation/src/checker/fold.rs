//! Epoch by epoch: the source's own records that a checkpoint merged, folded by the definition of
//! each query, late where the checkpoint before had closed the window.

use std::collections::BTreeMap;

use tidemill_model::{Checkpoint, DeadReason, EventMs};

use super::{Counted, Evidence, Span, ledger};
use crate::history::{Violation, violated};
use crate::pipelines::{Meaning, Windows};
use crate::sink::Content;
use crate::source;

type Key = Option<String>;

/// Late records by (log, key, window).
type Late = BTreeMap<(String, Key, Span), u64>;

/// One event that an epoch merged.
struct Event {
    log: String,
    key: Key,
    value: i64,
    time: i64,
}

/// An open session.
#[derive(Debug, Clone)]
struct Session {
    first: i64,
    last: i64,
    n: i64,
    total: i64,
}

/// What one query has open.
#[derive(Default)]
struct Open {
    windows: BTreeMap<(Span, Key), (i64, i64)>,
    sessions: BTreeMap<Key, Vec<Session>>,
}

pub(super) fn check(evidence: &Evidence) -> Result<(), Violation> {
    for query in &evidence.history.planned.known {
        let mut open = Open::default();
        let mut before: Option<&Checkpoint> = None;
        for checkpoint in &evidence.checkpoints {
            let events = merged(evidence, query, before, checkpoint);
            let judge = before.and_then(|before| before.watermark);
            let late = match query.windows {
                Windows::Session { gap } => open.join(query, gap, events, judge),
                _ => open.add(query, events, judge),
            };
            let rows = open.close(query, checkpoint.watermark);
            same_late(evidence, query, checkpoint, late)?;
            same_rows(evidence, query, checkpoint, rows)?;
            before = Some(checkpoint);
        }
        if !open.windows.is_empty() || !open.sessions.is_empty() {
            violated!("windows of {} never closed", query.name);
        }
    }
    Ok(())
}

/// The events that lie between two checkpoints.
fn merged(
    evidence: &Evidence,
    query: &Meaning,
    before: Option<&Checkpoint>,
    checkpoint: &Checkpoint,
) -> Vec<Event> {
    let mut events = Vec::new();
    for shard in evidence.history.shards.iter().filter(|it| it.log.stream == query.stream) {
        let merged = |checkpoint: Option<&Checkpoint>| {
            let progress = checkpoint.and_then(|it| it.logs.get(&shard.log));
            progress.map_or(shard.start, |progress| progress.merged)
        };
        let (after, through) = (merged(before), merged(Some(checkpoint)));
        for record in &shard.records {
            let source::Content::Event(event) = &record.content else { continue };
            let is_new = after < record.position && record.position <= through;
            if is_new && query.counts(event.i) {
                let (log, key) = (shard.log.to_string(), event.k.clone());
                events.push(Event { log, key, value: event.i.unwrap_or(0), time: event.ts });
            }
        }
    }
    events
}

/// Whether nothing that is on time at `watermark` can lie in the window any more. A window ends
/// before its end, but an event at a session's end joins it.
fn is_closed(query: &Meaning, end: i64, watermark: Option<EventMs>) -> bool {
    let last = match query.windows {
        Windows::Session { .. } => end,
        _ => end - 1,
    };
    watermark.is_some_and(|watermark| last + query.grace < watermark.0)
}

impl Open {
    fn add(&mut self, query: &Meaning, events: Vec<Event>, judge: Option<EventMs>) -> Late {
        let mut late = Late::new();
        for Event { log, key, value, time } in events {
            for span in query.spans(time) {
                if is_closed(query, span.1, judge) {
                    *late.entry((log.clone(), key.clone(), span)).or_default() += 1;
                } else {
                    let sum = self.windows.entry((span, key.clone())).or_default();
                    *sum = (sum.0 + 1, sum.1 + value);
                }
            }
        }
        late
    }

    /// Joins an epoch's events with each other and with the open sessions, then judges.
    fn join(
        &mut self,
        query: &Meaning,
        gap: i64,
        events: Vec<Event>,
        judge: Option<EventMs>,
    ) -> Late {
        let mut late = Late::new();
        let mut by_key: BTreeMap<Key, Vec<Event>> = BTreeMap::new();
        for event in events {
            by_key.entry(event.key.clone()).or_default().push(event);
        }
        for (key, events) in by_key {
            let open = self.sessions.remove(&key).unwrap_or_default();
            let spans = open.iter().map(|session| (session.first, session.last));
            let mut spans: Vec<Span> =
                spans.chain(events.iter().map(|it| (it.time, it.time))).collect();
            spans.sort_unstable();
            let mut joined: Vec<Span> = Vec::new();
            for (first, last) in spans {
                match joined.last_mut() {
                    Some(before) if first - before.1 <= gap => before.1 = before.1.max(last),
                    _ => joined.push((first, last)),
                }
            }
            for (first, last) in joined {
                let within = |time: i64| first <= time && time <= last;
                let open = open.iter().filter(|session| within(session.first));
                let events: Vec<&Event> = events.iter().filter(|it| within(it.time)).collect();
                if open.clone().count() == 0 && is_closed(query, last + gap, judge) {
                    for event in events {
                        let at = (event.log.clone(), key.clone(), (first, last + gap));
                        *late.entry(at).or_default() += 1;
                    }
                    continue;
                }
                let n = open.clone().map(|it| it.n).sum::<i64>() + events.len() as i64;
                let total = open.map(|it| it.total).sum::<i64>();
                let total = total + events.iter().map(|it| it.value).sum::<i64>();
                let session = Session { first, last, n, total };
                self.sessions.entry(key.clone()).or_default().push(session);
            }
        }
        late
    }

    /// Takes out what the watermark closes, as result rows.
    fn close(&mut self, query: &Meaning, watermark: Option<EventMs>) -> Vec<Counted> {
        let mut rows = Vec::new();
        if let Windows::Session { gap } = query.windows {
            for (key, sessions) in &mut self.sessions {
                sessions.retain(|session| {
                    let Session { first, last, n, total } = *session;
                    let end = last + gap;
                    let closes = is_closed(query, end, watermark);
                    if closes {
                        rows.push(Counted { start: first, end, key: key.clone(), n, total });
                    }
                    !closes
                });
            }
            self.sessions.retain(|_, sessions| !sessions.is_empty());
        } else {
            self.windows.retain(|((start, end), key), (n, total)| {
                let closes = is_closed(query, *end, watermark);
                if closes {
                    let (start, end, key) = (*start, *end, key.clone());
                    rows.push(Counted { start, end, key, n: *n, total: *total });
                }
                !closes
            });
        }
        match query.top {
            Some(count) => top(rows, count),
            None => rows,
        }
    }
}

/// The `count` rows of each window with the most records; among equals the first keys, null last.
fn top(rows: Vec<Counted>, count: usize) -> Vec<Counted> {
    let mut by_window: BTreeMap<Span, Vec<Counted>> = BTreeMap::new();
    for row in rows {
        by_window.entry((row.start, row.end)).or_default().push(row);
    }
    let mut kept = Vec::new();
    for (_, mut rows) in by_window {
        rows.sort_by_key(|row| (-row.n, row.key.is_none(), row.key.clone()));
        rows.truncate(count);
        kept.extend(rows);
    }
    kept
}

fn same_rows(
    evidence: &Evidence,
    query: &Meaning,
    checkpoint: &Checkpoint,
    mut expected: Vec<Counted>,
) -> Result<(), Violation> {
    let epoch = checkpoint.epoch;
    let emitted = (0..).map_while(|n| evidence.lines.get(&format!("{}/{epoch}/{n}", query.name)));
    let mut emitted: Vec<Counted> = emitted
        .filter_map(|line| match &line.content {
            Content::Result { row, .. } => row.counted(),
            Content::Dead(_) | Content::Failed(_) => None,
        })
        .collect();
    emitted.sort_unstable();
    expected.sort_unstable();
    if emitted != expected {
        let name = query.name;
        violated!("{name} in epoch {epoch} gave {emitted:?}, its records give {expected:?}");
    }
    let told = checkpoint.queries.get(query.name).map(|progress| progress.results);
    if told != Some(expected.len() as u64) {
        violated!("epoch {epoch} tells of {told:?} results of {}", query.name);
    }
    Ok(())
}

fn same_late(
    evidence: &Evidence,
    query: &Meaning,
    checkpoint: &Checkpoint,
    expected: Late,
) -> Result<(), Violation> {
    if !query.letters {
        return Ok(());
    }
    let epoch = checkpoint.epoch;
    let mut told = Late::new();
    for n in 0.. {
        let Some(line) = evidence.lines.get(&format!("dead/{epoch}/{n}")) else { break };
        let Content::Dead(letter) = &line.content else { continue };
        let DeadReason::Late { query: name, .. } = &letter.reason else { continue };
        if name == query.name {
            let late = ledger::read(evidence, letter)?;
            let key = late.key(letter)?;
            for span in late.windows {
                let at = (letter.log.to_string(), key.clone(), span);
                *told.entry(at).or_default() += late.records;
            }
        }
    }
    if told != expected {
        let name = query.name;
        violated!("{name} in epoch {epoch} tells of {told:?} as late, late are {expected:?}");
    }
    Ok(())
}
