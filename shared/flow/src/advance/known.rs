//! The logs of a pipeline: what the registry, the chain and the sources know of each.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use tidemill_model::{Checkpoint, LogId, LogProgress, Position};

use super::chain::Chain;
use super::replay::entry_of;
use super::{AdvanceError, Settings};
use crate::ports::{Drained, Source};
use crate::time::{LogFacts, StreamTime};

/// A known log. Every registered log is known, even before its first segment.
pub(super) struct Known {
    /// How far it is merged: the chain's word, moved on while a tick merges.
    pub(super) progress: LogProgress,
    /// Where reading of its source began.
    start: Position,
    stream: StreamTime,
    parents: Vec<LogId>,
    registered_at: tidemill_model::WallMs,
    ended: bool,
}

/// The known logs, as they stand at the newest checkpoint.
pub(super) async fn logs(
    chain: &Chain,
    settings: &Settings,
    source: &dyn Source,
    newest: Option<&Checkpoint>,
) -> Result<BTreeMap<LogId, Known>, AdvanceError> {
    let registry = chain.registry().await?;
    if let Some(newest) = newest {
        newest.logs.keys().try_for_each(|log| entry_of(chain, &registry, log).map(|_| ()))?;
    }
    let mut logs = BTreeMap::new();
    for (log, entry) in registry {
        let Some(stream) = settings.streams.get(&log.stream).copied() else {
            return Err(AdvanceError::StreamGone { log });
        };
        let progress = newest.and_then(|newest| newest.logs.get(&log)).cloned();
        let progress = progress.unwrap_or(LogProgress {
            merged: entry.start,
            clock: None,
            newest_append: entry.registered_at,
            newest_arrival: None,
            idle: false,
        });
        let known = Known {
            progress,
            start: entry.start,
            stream,
            parents: entry.parents,
            registered_at: entry.registered_at,
            ended: source.ended(&log).await,
        };
        logs.insert(log, known);
    }
    Ok(logs)
}

/// What time is decided by, once a tick's segments are merged.
pub(super) fn facts(
    logs: &BTreeMap<LogId, Known>,
    unread: &BTreeSet<LogId>,
) -> BTreeMap<LogId, LogFacts> {
    logs.iter()
        .map(|(log, known)| {
            let progress = &known.progress;
            let facts = LogFacts {
                stream: known.stream,
                position: progress.merged,
                clock: progress.clock,
                appended: (progress.merged > known.start).then_some(progress.newest_append),
                registered_at: known.registered_at,
                unread: unread.contains(log),
                ended: known.ended,
                parents: known.parents.clone(),
            };
            (log.clone(), facts)
        })
        .collect()
}

/// Asks the sources of `candidates` whether they are drained.
pub(super) async fn ask(
    source: &dyn Source,
    candidates: Vec<(LogId, Position)>,
) -> BTreeMap<LogId, Drained> {
    let answers = candidates.into_iter().map(|(log, position)| async move {
        let drained = source.drained(&log, position).await;
        (log, drained)
    });
    join_all(answers).await.into_iter().collect()
}
