//! The store of one machine: one file, kept by redb.
//!
//! # Invariants
//! 1. A put that was answered survives `kill -9` and loss of power: it is answered after its
//!    transaction is on the disk (`writer`).
//! 2. One process writes a file at a time; another one hears [`OpenError::Locked`].
//! 3. A file belongs to one pipeline, named in its identity record (`open`).
//! 4. Nothing expires by itself: [`RedbStore::sweep`] deletes what may go.
//!
//! Calls block their thread for as long as the disk takes; readers wait for no writer.
//!
//! Not here: the contract (`tidemill_model::store`), what the items mean (`flow`).

mod layout;
mod open;
mod writer;

use std::path::Path;

use async_trait::async_trait;
use redb::{Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase};
use tidemill_model::{
    WallMs,
    store::{Item, Limits, Put, Row, Store, StoreError},
};

pub use open::OpenError;
use writer::{Change, Writer};

/// Bytes that the store keeps in memory, at most.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// A store in a file.
pub struct RedbStore {
    access: Access,
    pipeline: String,
}

enum Access {
    Write(Writer),
    /// For reading. Verified, and repaired if it had not been closed properly, as the next run
    /// would.
    Verified(Database),
    /// For reading, from a file that this user cannot write.
    Unverified(ReadOnlyDatabase),
}

impl RedbStore {
    /// Opens the store of `pipeline` in the file `path`, and creates it if there is none.
    ///
    /// Reads the whole file to verify it.
    pub fn open(path: &Path, pipeline: &str) -> Result<RedbStore, OpenError> {
        let database = open::to_write(path, pipeline)?;
        let access = Access::Write(Writer::new(database));
        Ok(RedbStore { access, pipeline: pipeline.to_string() })
    }

    /// Opens the store in the file `path` to read it, whichever pipeline it belongs to. Fails
    /// with [`OpenError::Locked`] while a run is active. Puts are refused.
    ///
    /// Reads the whole file to verify it, unless this user cannot write it: then it is trusted.
    pub fn open_read_only(path: &Path) -> Result<RedbStore, OpenError> {
        let (access, pipeline) = open::to_read(path)?;
        Ok(RedbStore { access, pipeline })
    }

    /// The pipeline that the store belongs to.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Deletes what may be deleted at `now`, and answers how many items that were.
    pub fn sweep(&self, now: WallMs) -> Result<u64, StoreError> {
        self.writer()?.sweep(now)
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        match &self.access {
            Access::Write(writer) => Ok(writer),
            Access::Verified(_) | Access::Unverified(_) => {
                Err(StoreError::Refused { reason: "store was opened for reading only".to_string() })
            }
        }
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        match &self.access {
            Access::Write(writer) => writer.database().begin_read(),
            Access::Verified(database) => database.begin_read(),
            Access::Unverified(database) => database.begin_read(),
        }
        .map_err(not_done)
    }
}

/// The error of an operation that changed nothing.
fn not_done(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(reason) => StoreError::Damaged { reason },
        error => StoreError::Refused { reason: error.to_string() },
    }
}

fn row_of(pk: &str, key: &[u8], value: &[u8]) -> Result<Row, StoreError> {
    let row = layout::sk_of(pk, key).zip(layout::item_of(value)).map(|(sk, item)| Row { sk, item });
    row.ok_or_else(|| StoreError::Damaged {
        reason: format!("an item of `{pk}` is not of this store's layout"),
    })
}

#[async_trait]
impl Store for RedbStore {
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
        self.writer()?.submit(Change::Put { key: layout::key(pk, sk), item })
    }

    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError> {
        let transaction = self.begin_read()?;
        let items = transaction.open_table(layout::ITEMS).map_err(not_done)?;
        let (from, end) = (layout::key(pk, from_sk), layout::end_of(pk));
        let mut rows = Vec::new();
        let mut bytes = 0usize;
        for entry in items.range::<&[u8]>(&from[..]..&end[..]).map_err(not_done)? {
            let (key, value) = entry.map_err(not_done)?;
            let row = row_of(pk, key.value(), value.value())?;
            bytes = bytes.saturating_add(row.item.bytes.len());
            rows.push(row);
            if rows.len() >= limits.items || bytes >= limits.bytes {
                break;
            }
        }
        Ok(rows)
    }

    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
        let transaction = self.begin_read()?;
        let items = transaction.open_table(layout::ITEMS).map_err(not_done)?;
        let (from, end) = (layout::key(pk, ""), layout::end_of(pk));
        let last = items.range::<&[u8]>(&from[..]..&end[..]).map_err(not_done)?.next_back();
        let Some((key, value)) = last.transpose().map_err(not_done)? else { return Ok(None) };
        row_of(pk, key.value(), value.value()).map(Some)
    }

    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
        let change = Change::Expire { key: layout::key(pk, sk), at };
        self.writer()?.submit(change).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
