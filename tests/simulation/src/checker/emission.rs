//! An id has one content, whoever emits it however often, and a marker comes after its epoch.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_codec::decode_emitted;
use tidemill_model::Epoch;

use super::{Evidence, items, keys, unreadable};
use crate::history::{History, Violation, violated};
use crate::sink::{Content, Line};

/// What was delivered, each id once; an id with two contents is a violation.
pub(super) fn lines(history: &History) -> Result<BTreeMap<String, Line>, Violation> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for line in history.outbox.lines() {
        match lines.get(&line.id) {
            Some(before) if *before != line => {
                violated!("an id has two contents: {before:?} and {line:?}")
            }
            Some(_) => {}
            None => drop(lines.insert(line.id.clone(), line)),
        }
    }
    Ok(lines)
}

pub(super) fn check(evidence: &Evidence) -> Result<(), Violation> {
    numbers_are_dense(evidence)?;
    markers_come_last(evidence)?;
    if evidence.history.files { files_are_whole(evidence) } else { Ok(()) }
}

/// Rows are numbered 0, 1, 2 … within their query and epoch.
fn numbers_are_dense(evidence: &Evidence) -> Result<(), Violation> {
    let mut counts: BTreeMap<(&str, Epoch), usize> = BTreeMap::new();
    for line in evidence.lines.values() {
        *counts.entry((name(line), line.epoch)).or_default() += 1;
    }
    for ((name, epoch), count) in counts {
        let missing = (0..count).find(|n| {
            let id = format!("{name}/{epoch}/{n}");
            !evidence.lines.contains_key(&id)
        });
        if let Some(missing) = missing {
            violated!("a result is missing: {name}/{epoch}/{missing}");
        }
    }
    Ok(())
}

fn name(line: &Line) -> &str {
    match &line.content {
        Content::Result { query, .. } => query,
        Content::Dead(_) | Content::Failed(_) => "dead",
    }
}

/// When an epoch was marked as emitted, sinks had all its lines; every epoch that emits is marked.
fn markers_come_last(evidence: &Evidence) -> Result<(), Violation> {
    let history = evidence.history;
    let delivered = history.outbox.lines();
    let mut marked = BTreeSet::new();
    for (_, (index, bytes)) in items(history, &keys(history).emitted())? {
        let epoch = decode_emitted(&bytes).map_err(unreadable)?.epoch;
        let before = &delivered[..history.created[index].delivered];
        let before: BTreeSet<&String> = before.iter().map(|line| &line.id).collect();
        let mut of_epoch = evidence.lines.values().filter(|line| line.epoch == epoch);
        if let Some(line) = of_epoch.find(|line| !before.contains(&line.id)) {
            violated!("epoch {epoch} was marked before {} was emitted", line.id);
        }
        marked.insert(epoch);
    }
    for checkpoint in &evidence.checkpoints {
        let epoch = checkpoint.epoch;
        if checkpoint.emits && !marked.contains(&epoch) {
            violated!("epoch {epoch} was never marked as emitted");
        }
        let emits = evidence.lines.values().any(|line| line.epoch == epoch);
        if emits != checkpoint.emits {
            violated!("epoch {epoch} says emits={}, sinks say {emits}", checkpoint.emits);
        }
    }
    Ok(())
}

/// Files that are cut back hold every line once, in the order of epochs.
fn files_are_whole(evidence: &Evidence) -> Result<(), Violation> {
    let mut ids = BTreeSet::new();
    for (file, lines) in evidence.history.outbox.files() {
        if !lines.is_sorted_by_key(|line| line.epoch) {
            violated!("a file is not in the order of epochs. file=`{file}`");
        }
        for line in lines {
            if !ids.insert(line.id.clone()) {
                violated!("a file holds a line twice. file=`{file}` id=`{}`", line.id);
            }
        }
    }
    match evidence.lines.keys().find(|id| !ids.contains(*id)) {
        Some(id) => violated!("a line was cut off a file and not written again. id=`{id}`"),
        None => Ok(()),
    }
}
