//! Reading what a writer must know of a log. Nothing is decided here.

use tidemill_codec::{decode_checkpoint, decode_log_entry, decode_segment};
use tidemill_model::store::{Limits, Store};
use tidemill_model::{LogEntry, LogId, LogProgress, Position, Segment};

use crate::append::error::{AppendFailure, StuckCause};
use crate::append::tail::{Facts, Head};
use crate::keys::Keys;

const ONE: Limits = Limits { items: 1, bytes: usize::MAX };

/// The facts of a log. The checkpoint is read before the segments, and again when one of those that
/// it has not merged is missing: meanwhile others may have merged it, and it may have expired.
pub(super) async fn facts(
    store: &dyn Store,
    keys: &Keys,
    log: &LogId,
) -> Result<Facts, AppendFailure> {
    let (pk, sk) = (keys.logs(), Keys::entry(log));
    let Some(row) = store.range(&pk, &sk, ONE).await?.into_iter().find(|row| row.sk == sk) else {
        return Err(StuckCause::Unregistered.into());
    };
    let entry = decode_log_entry(&row.item.bytes).map_err(|cause| StuckCause::Unreadable {
        pk,
        sk,
        cause,
    })?;

    let mut progress = merged(store, keys, log).await?;
    loop {
        let facts = segments(store, keys, log, entry.clone(), progress).await?;
        if facts.is_whole() {
            return Ok(facts);
        }
        progress = merged(store, keys, log).await?;
        if progress == facts.progress {
            return Ok(facts);
        }
    }
}

/// How far the newest checkpoint has merged a log.
async fn merged(
    store: &dyn Store,
    keys: &Keys,
    log: &LogId,
) -> Result<Option<LogProgress>, AppendFailure> {
    let pk = keys.checkpoint();
    let Some(row) = store.last(&pk).await? else { return Ok(None) };
    let checkpoint = decode_checkpoint(&row.item.bytes)
        .map_err(|cause| StuckCause::Unreadable { pk, sk: row.sk, cause })?;
    Ok(checkpoint.logs.get(log).cloned())
}

/// The facts of a log that is merged as far as `progress` says.
async fn segments(
    store: &dyn Store,
    keys: &Keys,
    log: &LogId,
    entry: LogEntry,
    progress: Option<LogProgress>,
) -> Result<Facts, AppendFailure> {
    let pk = keys.log(log);
    let newest = match store.last(&pk).await? {
        Some(row) => Some(Head::of(&segment(&pk, &row.sk, &row.item.bytes)?)),
        None => None,
    };
    let mut facts = Facts { entry, progress, newest, oldest_unmerged: None };
    let merged = facts.merged();
    if let Some(newest) = &facts.newest
        && newest.after >= merged
    {
        facts.oldest_unmerged = if newest.after == merged {
            Some(newest.clone())
        } else {
            let rows = store.range(&pk, &Keys::segment(merged), ONE).await?;
            match rows.first() {
                Some(row) => Some(Head::of(&segment(&pk, &row.sk, &row.item.bytes)?)),
                None => None,
            }
        };
    }
    Ok(facts)
}

/// The head of the segment that begins after `after`; `None`: it is gone.
pub(super) async fn head(
    store: &dyn Store,
    keys: &Keys,
    log: &LogId,
    after: Position,
) -> Result<Option<Head>, AppendFailure> {
    let (pk, sk) = (keys.log(log), Keys::segment(after));
    match store.range(&pk, &sk, ONE).await?.into_iter().find(|row| row.sk == sk) {
        Some(row) => Ok(Some(Head::of(&segment(&pk, &sk, &row.item.bytes)?))),
        None => Ok(None),
    }
}

fn segment(pk: &str, sk: &str, bytes: &[u8]) -> Result<Segment, StuckCause> {
    let unreadable =
        |cause| StuckCause::Unreadable { pk: pk.to_string(), sk: sk.to_string(), cause };
    let segment = decode_segment(bytes).map_err(unreadable)?;
    if Keys::segment(segment.after) != sk {
        let reason = format!("a segment lies under another's key. pk=`{pk}` sk=`{sk}`");
        return Err(StuckCause::Damaged { reason });
    }
    Ok(segment)
}
