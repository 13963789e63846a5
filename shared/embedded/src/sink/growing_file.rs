//! A file that only grows, and can be cut back to a length that it had.
//!
//! # Invariants
//! 1. Bytes beyond `length` are of an append that failed or was taken back; the next append
//!    replaces them.
//! 2. `append` answers after the bytes are on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One growing file, open for writing.
#[derive(Debug)]
pub(super) struct GrowingFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl GrowingFile {
    /// Opens or creates the file at `path` and cuts it to `length`.
    ///
    /// # Errors
    /// Also when the file is shorter than `length`.
    pub(super) fn open(path: PathBuf, length: u64) -> io::Result<GrowingFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| named(&path, &error))?;
        let found = file.metadata().map_err(|error| named(&path, &error))?.len();
        if found < length {
            return Err(io::Error::other(format!(
                "{} holds {found} bytes of results, but {length} were written; put the file back, \
                 or choose another output folder for the results to come",
                path.display()
            )));
        }
        let mut opened = GrowingFile { path, file, length };
        opened.cut(length)?;
        Ok(opened)
    }

    /// The bytes that count.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts the file back to `length`, which it had before.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        debug_assert!(length <= self.length, "a file is only cut back");
        self.file.set_len(length).map_err(|error| named(&self.path, &error))?;
        self.length = length;
        Ok(())
    }

    /// Appends `bytes` durably.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(bytes))
            .and_then(|()| self.length.checked_add(bytes.len() as u64).ok_or_else(too_long))
            .and_then(|length| self.file.set_len(length).map(|()| length))
            .and_then(|length| self.file.sync_data().map(|()| length));
        self.length = written.map_err(|error| named(&self.path, &error))?;
        Ok(())
    }
}

fn too_long() -> io::Error {
    io::Error::other("the file is longer than 2^64 bytes")
}

/// The error with the file's name.
pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
