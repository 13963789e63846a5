//! The store's file as redb sees it, and what went wrong with it first.
//!
//! After an error of input or output redb serves nothing until the file is opened again, and says
//! only that there was an error before. So the error is kept here, by what redb calls the file
//! through, before redb itself knows of it.
//!
//! # Invariants
//! 1. Every error names the file; once the file has failed, every error says how.

use std::{
    io,
    ops::Bound,
    path::Path,
    sync::{Arc, OnceLock},
};

use redb::{BackendError, StorageBackend};
use tidemill_model::store::StoreError;

/// What is wrong with one file. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Failures {
    path: Arc<str>,
    first: Arc<OnceLock<String>>,
}

impl Failures {
    /// Nothing is wrong with the file at `path` yet.
    pub(super) fn of(path: &Path) -> Failures {
        Failures { path: path.display().to_string().into(), first: Arc::default() }
    }

    /// The file, as people named it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The first failure; `None`: the file works.
    pub(super) fn first(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }

    /// The error of an operation that changed nothing.
    pub(super) fn not_done(&self, error: impl Into<redb::Error>) -> StoreError {
        match error.into() {
            redb::Error::Corrupted(reason) => {
                StoreError::Damaged { reason: format!("{}: {reason}", self.path) }
            }
            error => StoreError::Refused { reason: self.reason(&error) },
        }
    }

    /// The error of a commit that may have happened.
    pub(super) fn uncertain(&self, error: &redb::Error, key: &str) -> StoreError {
        StoreError::Unknown { key: key.to_string(), reason: self.reason(error) }
    }

    fn reason(&self, error: &redb::Error) -> String {
        match (error, self.first()) {
            (redb::Error::PreviousIo, Some(first)) => format!("{}: {first}", self.path),
            _ => format!("{}: {error}", self.path),
        }
    }

    /// Passes a result of the file on, and keeps the first error.
    pub(super) fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.first.get_or_init(|| error.to_string());
        }
        result
    }
}

/// A file that notes its first failure.
#[derive(Debug)]
pub(super) struct Watched<B> {
    file: B,
    failures: Failures,
}

impl<B: StorageBackend> Watched<B> {
    pub(super) fn new(file: B, failures: &Failures) -> Watched<B> {
        Watched { file, failures: failures.clone() }
    }
}

impl<B: StorageBackend> StorageBackend for Watched<B> {
    fn len(&self) -> io::Result<u64> {
        self.failures.note(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.failures.note(self.file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.failures.note(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.failures.note(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.failures.note(self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.failures.note(self.file.close())
    }

    // Locks pass through.

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
