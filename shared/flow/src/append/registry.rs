//! The registry of a pipeline's logs: what exists, where reading began, and which source it was.
//!
//! # Invariants
//! 1. A log's entry is written before its first segment, so that advance knows every log that can
//!    hold time back or hold records.
//! 2. An entry never changes: whoever writes first decides where the log starts.

use std::sync::Arc;

use tidemill_codec::{CodecError, decode_log_entry, encode_log_entry};
use tidemill_model::store::{Item, Limits, Put, Row, Store, StoreError};
use tidemill_model::{LogEntry, LogId};

use crate::keys::Keys;

/// The registry.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    keys: Keys,
}

/// Why the registry did not take or give an entry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The store did not answer, or refused: try again. Damaged: stop.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log's source is another one than before, under the same name: stop, a person decides.
    #[error(
        "the log was filled from another source of the same name. Name the source differently, or \
         start with a new state (another store file, or another pipeline name). log=`{log}` \
         registered=`{registered}` found=`{found}`"
    )]
    SourceChanged {
        /// The log.
        log: LogId,
        /// Identity of the source that the log was registered for.
        registered: String,
        /// Identity of the source that is there now.
        found: String,
    },
    /// Stored bytes cannot be read: stop.
    #[error("registry entry cannot be read. log=`{log}`: {cause}")]
    Unreadable {
        /// The log, as its key says.
        log: String,
        /// Why.
        #[source]
        cause: CodecError,
    },
}

impl Registry {
    /// The registry of the pipeline that `keys` names.
    pub fn new(store: Arc<dyn Store>, keys: Keys) -> Registry {
        Registry { store, keys }
    }

    /// The entry of `entry.log`: the one that is stored, else `entry`, which is stored then. A
    /// source with another identity than the stored one is refused; a source that has no identity
    /// is believed.
    pub async fn ensure(&self, entry: &LogEntry) -> Result<LogEntry, RegistryError> {
        if let Some(stored) = self.get(&entry.log).await? {
            return same_source(stored, entry);
        }
        let item = Item { bytes: encode_log_entry(entry), expires_at: None };
        match self.store.put_new(&self.keys.logs(), &Keys::entry(&entry.log), item).await? {
            Put::Created => Ok(entry.clone()),
            Put::AlreadyExists => match self.get(&entry.log).await? {
                Some(stored) => same_source(stored, entry),
                None => {
                    let reason = format!("a registry entry vanished. log=`{}`", entry.log);
                    Err(StoreError::Damaged { reason }.into())
                }
            },
        }
    }

    /// The entry of a log.
    pub async fn get(&self, log: &LogId) -> Result<Option<LogEntry>, RegistryError> {
        let sk = Keys::entry(log);
        let one = Limits { items: 1, bytes: usize::MAX };
        let rows = self.store.range(&self.keys.logs(), &sk, one).await?;
        rows.into_iter().find(|row| row.sk == sk).map(read).transpose()
    }

    /// All entries, in the order of their logs' names.
    pub async fn all(&self) -> Result<Vec<LogEntry>, RegistryError> {
        let rows = self.store.range(&self.keys.logs(), "", Limits::NONE).await?;
        rows.into_iter().map(read).collect()
    }
}

fn read(row: Row) -> Result<LogEntry, RegistryError> {
    decode_log_entry(&row.item.bytes)
        .map_err(|cause| RegistryError::Unreadable { log: row.sk, cause })
}

fn same_source(stored: LogEntry, found: &LogEntry) -> Result<LogEntry, RegistryError> {
    let both_known = !stored.identity.is_empty() && !found.identity.is_empty();
    if both_known && stored.identity != found.identity {
        return Err(RegistryError::SourceChanged {
            log: stored.log,
            registered: stored.identity,
            found: found.identity.clone(),
        });
    }
    Ok(stored)
}
