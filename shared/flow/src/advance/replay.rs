//! Cold start: the newest snapshot, then the epochs since, each from exactly the segments that its
//! checkpoint merged and with exactly its watermark and wall clock.
//!
//! No clock, no idleness and no source is asked: the chain says it all, so the state and the
//! results are those of the process that made the epochs, bit for bit.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_model::{Checkpoint, Epoch, LogEntry, LogId};

use super::chain::Chain;
use super::epoch::Work;
use super::error::QueryChange;
use super::logs::Replayer;
use super::{AdvanceError, snapshot};
use crate::emit;
use crate::ports::{Emission, OpenState};

/// Brings `open` to the state after `newest`, and computes what `newest` emits.
pub(super) async fn replay(
    chain: &Chain,
    open: &mut dyn OpenState,
    newest: &Checkpoint,
) -> Result<Option<Emission>, AdvanceError> {
    check_queries(open, newest)?;
    let registry = chain.registry().await?;
    let first = match &newest.snapshot {
        Some(reference) => {
            snapshot::read(chain, open, reference).await?;
            reference.epoch
        }
        None => {
            open.clear();
            Epoch::FIRST
        }
    };

    let mut logs = BTreeMap::new();
    let mut previous: Option<Checkpoint> = None;
    let mut emission = None;
    let mut next = Epoch(first.0.saturating_sub(1));
    while next <= newest.epoch {
        for checkpoint in chain.from(next).await? {
            if checkpoint.epoch > newest.epoch {
                break;
            }
            if checkpoint.epoch >= first {
                let judged_by = previous.as_ref();
                emission = one(chain, open, &registry, &mut logs, judged_by, &checkpoint).await?;
            }
            next = checkpoint.epoch.next();
            previous = Some(checkpoint);
        }
    }
    Ok(emission)
}

/// Replays one epoch.
async fn one(
    chain: &Chain,
    open: &mut dyn OpenState,
    registry: &BTreeMap<LogId, LogEntry>,
    logs: &mut BTreeMap<LogId, Replayer>,
    previous: Option<&Checkpoint>,
    checkpoint: &Checkpoint,
) -> Result<Option<Emission>, AdvanceError> {
    let mut work = Work::new(previous.and_then(|previous| previous.watermark));
    for (log, progress) in &checkpoint.logs {
        if !logs.contains_key(log) {
            let before = previous.and_then(|previous| Some(previous.logs.get(log)?.merged));
            let start = match before {
                Some(merged) => merged,
                None => entry_of(chain, registry, log)?.start,
            };
            let replayer = Replayer::new(log.clone(), start, checkpoint.logs.len());
            logs.insert(log.clone(), replayer);
        }
        let Some(replayer) = logs.get_mut(log) else { continue };
        while let Some(segment) = replayer.next(chain, progress.merged).await? {
            work.merge(open, log, segment)?;
        }
    }
    work.settle(open)?;
    let outcome = work.close(open, checkpoint.epoch, checkpoint.watermark, checkpoint.at)?;
    let counts_differ = checkpoint
        .queries
        .iter()
        .any(|(query, said)| outcome.of_query(query) != (said.windows, said.results));
    if counts_differ || emit::is_empty(&outcome.emission) == checkpoint.emits {
        let reason = "replaying its epoch does not give what it says was given";
        let (pk, sk) = (chain.keys.checkpoint(), checkpoint.epoch.to_key());
        return Err(AdvanceError::damaged(&pk, &sk, reason));
    }
    Ok(checkpoint.emits.then_some(outcome.emission))
}

/// The registry's entry of a log that must have one.
pub(super) fn entry_of<'a>(
    chain: &Chain,
    registry: &'a BTreeMap<LogId, LogEntry>,
    log: &LogId,
) -> Result<&'a LogEntry, AdvanceError> {
    registry.get(log).ok_or_else(|| {
        let reason = "a checkpoint knows this log, the registry does not";
        AdvanceError::damaged(&chain.keys.logs(), &log.to_string(), reason)
    })
}

/// A chain's set of queries is fixed.
fn check_queries(open: &dyn OpenState, newest: &Checkpoint) -> Result<(), AdvanceError> {
    let ours: BTreeMap<_, _> = open.queries().into_iter().collect();
    let names: BTreeSet<&String> = ours.keys().chain(newest.queries.keys()).collect();
    for name in names {
        let change = match (newest.queries.get(name), ours.get(name)) {
            (Some(theirs), Some(ours)) if theirs.fingerprint == *ours => continue,
            (Some(_), Some(_)) => QueryChange::Changed,
            (None, _) => QueryChange::Added,
            (_, None) => QueryChange::Removed,
        };
        return Err(AdvanceError::QueriesChanged { query: name.clone(), change });
    }
    Ok(())
}
