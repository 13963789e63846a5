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

mod file;
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

use file::Failures;
pub use open::OpenError;
use writer::{Change, Writer};

/// Bytes that the store keeps in memory, at most.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// A store in a file.
pub struct RedbStore {
    access: Access,
    failures: Failures,
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
        let failures = Failures::of(path);
        let database = open::to_write(path, pipeline, &failures)?;
        let access = Access::Write(Writer::new(database, failures.clone()));
        Ok(RedbStore { access, failures, pipeline: pipeline.to_string() })
    }

    /// Opens the store in the file `path` to read it, whichever pipeline it belongs to. Fails
    /// with [`OpenError::Locked`] while a run is active. Puts are refused.
    ///
    /// Reads the whole file to verify it, unless this user cannot write it: then it is trusted.
    pub fn open_read_only(path: &Path) -> Result<RedbStore, OpenError> {
        let failures = Failures::of(path);
        let (access, pipeline) = open::to_read(path, &failures)?;
        Ok(RedbStore { access, failures, pipeline })
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

    fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        Ok(match &self.access {
            Access::Write(writer) => writer.database().begin_read()?,
            Access::Verified(database) => database.begin_read()?,
            Access::Unverified(database) => database.begin_read()?,
        })
    }

    fn read_range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, redb::Error> {
        let items = self.begin_read()?.open_table(layout::ITEMS)?;
        let (from, end) = (layout::key(pk, from_sk), layout::end_of(pk));
        let mut rows = Vec::new();
        let mut bytes = 0usize;
        for entry in items.range::<&[u8]>(&from[..]..&end[..])? {
            let (key, value) = entry?;
            let row = row_of(pk, key.value(), value.value())?;
            bytes = bytes.saturating_add(row.item.bytes.len());
            rows.push(row);
            if rows.len() >= limits.items || bytes >= limits.bytes {
                break;
            }
        }
        Ok(rows)
    }

    fn read_last(&self, pk: &str) -> Result<Option<Row>, redb::Error> {
        let items = self.begin_read()?.open_table(layout::ITEMS)?;
        let (from, end) = (layout::key(pk, ""), layout::end_of(pk));
        let last = items.range::<&[u8]>(&from[..]..&end[..])?.next_back();
        let Some((key, value)) = last.transpose()? else { return Ok(None) };
        row_of(pk, key.value(), value.value()).map(Some)
    }
}

fn row_of(pk: &str, key: &[u8], value: &[u8]) -> Result<Row, redb::Error> {
    let row = layout::sk_of(pk, key).zip(layout::item_of(value)).map(|(sk, item)| Row { sk, item });
    row.ok_or_else(|| {
        redb::Error::Corrupted(format!("an item of `{pk}` is not of this store's layout"))
    })
}

#[async_trait]
impl Store for RedbStore {
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
        self.writer()?.submit(Change::Put { key: layout::key(pk, sk), item })
    }

    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError> {
        self.read_range(pk, from_sk, limits).map_err(|error| self.failures.not_done(error))
    }

    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
        self.read_last(pk).map_err(|error| self.failures.not_done(error))
    }

    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
        let change = Change::Expire { key: layout::key(pk, sk), at };
        self.writer()?.submit(change).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
