//! The chain of checkpoints, the markers and the registry, as they lie in the store.
//!
//! SUBTLE: a put that answers *exists* or *unknown* may be our own: a client that retries may have
//! landed its first attempt. What is there is read back and compared by its bytes. Equal bytes are
//! ours in every sense that matters, because equal checkpoints mean equal states and results.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_codec::{
    decode_checkpoint, decode_emitted, decode_log_entry, encode_checkpoint, encode_emitted,
};
use tidemill_model::limits::CHECKPOINT_BYTES_MAX;
use tidemill_model::store::{Item, Limits, Put, Row, Store, StoreError};
use tidemill_model::{Checkpoint, Emitted, Epoch, LogEntry, LogId};

use super::AdvanceError;
use crate::keys::Keys;

/// Checkpoints that a replay holds at once, and their bytes.
const PAGE: Limits = Limits { items: 256, bytes: 4 * 1024 * 1024 };
const ONE: Limits = Limits { items: 1, bytes: usize::MAX };

/// One pipeline's items in its store.
pub(super) struct Chain {
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: Keys,
}

/// Whose item lies under a key that we wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Winner {
    /// Ours, or one that is equal to ours.
    Us,
    /// Another one.
    Other,
}

impl Chain {
    /// The newest checkpoint's row. Its sort key tells the epoch.
    pub(super) async fn newest(&self) -> Result<Option<Row>, AdvanceError> {
        Ok(self.store.last(&self.keys.checkpoint()).await?)
    }

    pub(super) fn decode(&self, row: &Row) -> Result<Checkpoint, AdvanceError> {
        let pk = self.keys.checkpoint();
        let checkpoint = decode_checkpoint(&row.item.bytes)
            .map_err(|cause| AdvanceError::codec(&pk, &row.sk, cause))?;
        if Keys::epoch(checkpoint.epoch) != row.sk {
            let reason = format!("it is the checkpoint of epoch {}", checkpoint.epoch);
            return Err(AdvanceError::damaged(&pk, &row.sk, reason));
        }
        Ok(checkpoint)
    }

    /// Some checkpoints from `first` on, one after the other; at least that of `first`.
    pub(super) async fn from(&self, first: Epoch) -> Result<Vec<Checkpoint>, AdvanceError> {
        let pk = self.keys.checkpoint();
        let rows = self.store.range(&pk, &Keys::epoch(first), PAGE).await?;
        let mut expected = first;
        let mut checkpoints = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.sk != Keys::epoch(expected) {
                break;
            }
            checkpoints.push(self.decode(row)?);
            expected = expected.next();
        }
        if checkpoints.is_empty() {
            let reason = "it is missing from the chain of checkpoints";
            return Err(AdvanceError::damaged(&pk, &Keys::epoch(first), reason));
        }
        Ok(checkpoints)
    }

    /// Creates a link of the chain.
    pub(super) async fn commit(&self, checkpoint: &Checkpoint) -> Result<Winner, AdvanceError> {
        let (pk, sk) = (self.keys.checkpoint(), Keys::epoch(checkpoint.epoch));
        let encoded = encode_checkpoint(checkpoint);
        if encoded.len() > CHECKPOINT_BYTES_MAX {
            return Err(AdvanceError::CheckpointTooLarge {
                bytes: encoded.len(),
                logs: checkpoint.logs.len(),
                queries: checkpoint.queries.len(),
            });
        }
        self.put(&pk, &sk, encoded).await
    }

    /// Whether a checkpoint that we created is the newest.
    ///
    /// SUBTLE: that a put creates an epoch proves nothing to a process that slept for long before
    /// it: the epoch may have been another's, replaced by a snapshot and expired. Then there are
    /// newer ones, and ours must not be emitted under the ids of the other. If there are newer ones
    /// because others went on from ours, they have emitted it.
    pub(super) async fn is_newest(&self, checkpoint: &Checkpoint) -> Result<bool, AdvanceError> {
        let newest = self.newest().await?;
        Ok(newest.is_some_and(|row| row.sk == Keys::epoch(checkpoint.epoch)))
    }

    /// The newest marker.
    pub(super) async fn marker(&self) -> Result<Option<Emitted>, AdvanceError> {
        let pk = self.keys.emitted();
        let Some(row) = self.store.last(&pk).await? else { return Ok(None) };
        let emitted = decode_emitted(&row.item.bytes)
            .map_err(|cause| AdvanceError::codec(&pk, &row.sk, cause))?;
        Ok(Some(emitted))
    }

    /// Marks an epoch as emitted.
    pub(super) async fn mark(&self, emitted: &Emitted) -> Result<Winner, AdvanceError> {
        let (pk, sk) = (self.keys.emitted(), Keys::epoch(emitted.epoch));
        self.put(&pk, &sk, encode_emitted(emitted)).await
    }

    /// Every registered log.
    pub(super) async fn registry(&self) -> Result<BTreeMap<LogId, LogEntry>, AdvanceError> {
        let pk = self.keys.logs();
        let rows = self.store.range(&pk, "", Limits::NONE).await?;
        rows.iter()
            .map(|row| {
                let entry = decode_log_entry(&row.item.bytes)
                    .map_err(|cause| AdvanceError::codec(&pk, &row.sk, cause))?;
                Ok((entry.log.clone(), entry))
            })
            .collect()
    }

    /// Creates an item, and finds out whose lies there when the put does not say.
    pub(super) async fn put(
        &self,
        pk: &str,
        sk: &str,
        bytes: Vec<u8>,
    ) -> Result<Winner, AdvanceError> {
        let item = Item { bytes: bytes.clone(), expires_at: None };
        let unknown = match self.store.put_new(pk, sk, item).await {
            Ok(Put::Created) => return Ok(Winner::Us),
            Ok(Put::AlreadyExists) => None,
            Err(error @ StoreError::Unknown { .. }) => Some(error),
            Err(error) => return Err(error.into()),
        };
        let rows = self.store.range(pk, sk, ONE).await?;
        match (rows.iter().find(|row| row.sk == sk), unknown) {
            (Some(row), _) if row.item.bytes == bytes => Ok(Winner::Us),
            (Some(_), _) => Ok(Winner::Other),
            (None, Some(error)) => Err(error.into()),
            (None, None) => {
                Err(AdvanceError::damaged(pk, sk, "it exists for a put and not for a read"))
            }
        }
    }
}
