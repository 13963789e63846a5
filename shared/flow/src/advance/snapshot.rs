//! Snapshots: when one is due, its chunks, and what it makes superfluous.
//!
//! A snapshot named by checkpoint e is the state before e. It is written before e is created, and
//! only after the results of e − 1 were emitted, so whatever may still have to be emitted can be
//! recomputed from it.
//!
//! # What goes when a newer snapshot is there
//! The older snapshot's chunks, and checkpoints and markers of the epochs that no cold start reads
//! any more. They are given a time to live, not deleted: a process that stalled may be reading them,
//! or hold a put of an epoch whose key must not become free. The newest marker always stays, for
//! sinks go back to it. This is housekeeping: a crash in it leaves a few small items behind.

use futures::stream::{self, StreamExt, TryStreamExt};
use tidemill_codec::{decode_snapshot, encode_snapshot};
use tidemill_model::limits::{SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_LOG_RATIO};
use tidemill_model::store::Limits;
use tidemill_model::{Checkpoint, Emitted, Epoch, SnapshotRef, WallMs};

use super::chain::{Chain, Winner};
use super::{AdvanceError, Settings};
use crate::keys::Keys;
use crate::ports::{OpenState, StatePart};

/// Bytes of one read of chunks.
const PAGE: Limits = Limits { items: usize::MAX, bytes: 4 * SNAPSHOT_CHUNK_BYTES_MAX };
/// Chunks that are written at once: they lie in different partitions of the store.
const PUTS_AT_ONCE: usize = 16;
/// Writes of a time to live at once.
const EXPIRES_AT_ONCE: usize = 16;

/// Whether the epoch after `newest` should begin with a snapshot: replaying the log since the last
/// one costs more than reading one, or its oldest segment has lived a quarter of its time.
pub(super) fn is_due(newest: &Checkpoint, settings: &Settings, now: WallMs) -> bool {
    let last = newest.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes);
    let worth = settings.snapshot_after_bytes.max(last.saturating_mul(SNAPSHOT_LOG_RATIO));
    let is_old = |oldest: WallMs| now.since(oldest) > settings.segment_ttl_ms / 4;
    newest.log_bytes > worth || newest.oldest_since_snapshot.is_some_and(is_old)
}

/// Writes the open state as the state before `epoch`. Also passes it through its own encoding.
pub(super) async fn write(
    chain: &Chain,
    open: &mut dyn OpenState,
    epoch: Epoch,
    nonce: &str,
) -> Result<SnapshotRef, AdvanceError> {
    let chunks = encode(chain, open, epoch, nonce)?;
    let reference = SnapshotRef {
        epoch,
        nonce: nonce.to_string(),
        chunks: chunks.len() as u32,
        bytes: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
    };
    stream::iter((0..).zip(chunks).map(Ok))
        .try_for_each_concurrent(PUTS_AT_ONCE, |(number, chunk)| async move {
            let (pk, sk) = chain.keys.snapshot(epoch, nonce, number);
            match chain.put(&pk, &sk, chunk).await? {
                Winner::Us => Ok(()),
                Winner::Other => Err(AdvanceError::NonceUsed { item: format!("{pk} {sk}") }),
            }
        })
        .await?;
    Ok(reference)
}

fn encode(
    chain: &Chain,
    open: &mut dyn OpenState,
    epoch: Epoch,
    nonce: &str,
) -> Result<Vec<Vec<u8>>, AdvanceError> {
    let parts: Vec<_> = open
        .snapshot()?
        .into_iter()
        .map(|StatePart { query, stage, batch }| (query, stage, batch))
        .collect();
    encode_snapshot(&parts).map_err(|cause| {
        let (pk, sk) = chain.keys.snapshot(epoch, nonce, 0);
        AdvanceError::codec(&pk, &sk, cause)
    })
}

/// Replaces the open state by a snapshot's.
pub(super) async fn read(
    chain: &Chain,
    open: &mut dyn OpenState,
    reference: &SnapshotRef,
) -> Result<(), AdvanceError> {
    let mut chunks: Vec<Option<Vec<u8>>> = vec![None; reference.chunks as usize];
    let key = |number: u32| chain.keys.snapshot(reference.epoch, &reference.nonce, number);
    for first in 0..reference.chunks {
        if chunks[first as usize].is_some() {
            continue;
        }
        // The first missing chunk of a partition fetches all behind it.
        let (pk, mut sk) = key(first);
        loop {
            let rows = chain.store.range(&pk, &sk, PAGE).await?;
            let Some(last) = rows.last() else { break };
            sk = format!("{}\0", last.sk);
            for row in rows {
                let number = row.sk.parse::<u32>().ok();
                if let Some(chunk) = number.and_then(|number| chunks.get_mut(number as usize)) {
                    *chunk = Some(row.item.bytes);
                }
            }
        }
    }
    let (pk, sk) = key(0);
    let missing = chunks.iter().position(Option::is_none);
    if let Some(missing) = missing {
        let reason = format!("chunk {missing} of {} is missing", reference.chunks);
        return Err(AdvanceError::damaged(&pk, &sk, reason));
    }
    let chunks: Vec<Vec<u8>> = chunks.into_iter().flatten().collect();
    let parts = decode_snapshot(&chunks, &|query, stage| open.part_schema(query, stage))
        .map_err(|cause| AdvanceError::codec(&pk, &sk, cause))?
        .into_iter()
        .map(|(query, stage, batch)| StatePart { query, stage, batch })
        .collect();
    Ok(open.restore(parts)?)
}

/// Lets the store delete a snapshot that no checkpoint names.
pub(super) async fn expire_chunks(chain: &Chain, reference: &SnapshotRef, at: WallMs) {
    let keys =
        (0..reference.chunks).map(|n| chain.keys.snapshot(reference.epoch, &reference.nonce, n));
    expire(chain, keys, at).await;
}

/// Lets the store delete what `newer` makes superfluous, from `older` on.
pub(super) async fn expire_older(
    chain: &Chain,
    older: Option<&SnapshotRef>,
    newer: &SnapshotRef,
    marker: Option<&Emitted>,
    at: WallMs,
) {
    if let Some(older) = older {
        expire_chunks(chain, older, at).await;
    }
    // A replay also reads the checkpoint before its first epoch.
    let kept = |snapshot: &SnapshotRef| snapshot.epoch.0.saturating_sub(1);
    let epochs = older.map_or(0, kept)..kept(newer);
    let marked = marker.map_or(0, |marker| marker.epoch.0);
    let checkpoints =
        epochs.clone().map(|epoch| (chain.keys.checkpoint(), Keys::epoch(Epoch(epoch))));
    let markers = epochs
        .filter(|epoch| *epoch < marked)
        .map(|epoch| (chain.keys.emitted(), Keys::epoch(Epoch(epoch))));
    expire(chain, checkpoints.chain(markers), at).await;
}

async fn expire(chain: &Chain, keys: impl Iterator<Item = (String, String)>, at: WallMs) {
    stream::iter(keys)
        .for_each_concurrent(EXPIRES_AT_ONCE, |(pk, sk)| async move {
            // Best effort: what stays costs storage, nothing else.
            let _ = chain.store.expire(&pk, &sk, at).await;
        })
        .await;
}
