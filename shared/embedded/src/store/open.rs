//! Opening a store file: whose it is, and what can be wrong with it.
//!
//! A new file is made under another name, with its identity in it, and then linked to its own: a
//! file of that name is whole or absent, whenever the process is killed.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, TableError,
    backends::FileBackend,
};

use super::{
    Access, CACHE_BYTES,
    file::{Failures, Watched},
    layout::{EXPIRY, IDENTITY, ITEMS},
};

const FORMAT: &[u8] = b"tidemill store";
/// Version of `layout` that this program writes and reads.
const VERSION: u32 = 1;
/// The first bytes of every redb file.
const REDB_MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// Why a store file cannot be opened. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The path names a folder.
    #[error("store is a folder: name a file in it. path=`{path}`")]
    Folder {
        /// The path as given.
        path: String,
    },
    /// There is no such file, or no folder to create it in.
    #[error("{what} of the store does not exist. path=`{path}`")]
    Missing {
        /// `file` or `folder`.
        what: &'static str,
        /// The path as given.
        path: String,
    },
    /// Another process has the file open.
    #[error(
        "store is in use by another process: wait until it ends, or name another file. path=`{path}`"
    )]
    Locked {
        /// The path as given.
        path: String,
    },
    /// The file is something else.
    #[error(
        "file is not a Tidemill store and was left as it is: name another file. path=`{path}` found=`{found}`"
    )]
    NotOurs {
        /// The path as given.
        path: String,
        /// What the file seems to be.
        found: String,
    },
    /// The file was written by a newer Tidemill.
    #[error(
        "store was written by a newer Tidemill: use that version. path=`{path}` format=`{found}` known=`{known}`"
    )]
    Newer {
        /// The path as given.
        path: String,
        /// Version of the file.
        found: u32,
        /// Newest version that this program reads.
        known: u32,
    },
    /// The file is another pipeline's.
    #[error(
        "store belongs to another pipeline: name another file, or run that pipeline. path=`{path}` pipeline=`{found}` wanted=`{wanted}`"
    )]
    OtherPipeline {
        /// The path as given.
        path: String,
        /// The pipeline that the file belongs to.
        found: String,
        /// The pipeline that was to be run.
        wanted: String,
    },
    /// What is in the file is not what was written.
    #[error(
        "store is damaged: restore it from a copy, or start again with another file. path=`{path}` reason=`{reason}`"
    )]
    Damaged {
        /// The path as given.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The operating system does not let this user read or write the file.
    #[error("store may not be opened by this user. path=`{path}` reason=`{reason}`")]
    Denied {
        /// The path as given.
        path: String,
        /// What the operating system said.
        reason: String,
    },
    /// The operating system failed otherwise.
    #[error(
        "store cannot be opened: see that its disk works and has room, then run the same command again. path=`{path}` reason=`{reason}`"
    )]
    Io {
        /// The path as given.
        path: String,
        /// What the operating system said.
        reason: String,
    },
}

/// Opens the file to write it, as `pipeline`'s; creates it when it is absent or empty.
pub(super) fn to_write(
    path: &Path,
    pipeline: &str,
    failures: &Failures,
) -> Result<Database, OpenError> {
    match look(path)? {
        Found::Redb => (),
        Found::Empty => create(path, pipeline, true)?,
        Found::Nothing => create(path, pipeline, false)?,
    }
    let database = open(path, failures)?;
    let found = pipeline_of(failures, &database)?;
    if found != pipeline {
        let (path, wanted) = (shown(path), pipeline.to_string());
        return Err(OpenError::OtherPipeline { path, found, wanted });
    }
    Ok(database)
}

/// Opens the file to read it, and answers whose it is.
pub(super) fn to_read(path: &Path, failures: &Failures) -> Result<(Access, String), OpenError> {
    match look(path)? {
        Found::Redb => (),
        Found::Empty => {
            return Err(OpenError::NotOurs { path: shown(path), found: "empty file".to_string() });
        }
        Found::Nothing => return Err(OpenError::Missing { what: "file", path: shown(path) }),
    }
    // Verifying needs a writer's rights: redb panics when it reads a damaged file unverified.
    match open(path, failures) {
        Ok(database) => {
            let pipeline = pipeline_of(failures, &database)?;
            Ok((Access::Verified(database), pipeline))
        }
        Err(OpenError::Denied { .. }) => to_read_unverified(path, failures),
        Err(error) => Err(error),
    }
}

/// Opens a file that this user cannot write. One that was not closed properly stays closed.
fn to_read_unverified(path: &Path, failures: &Failures) -> Result<(Access, String), OpenError> {
    let database = builder().open_read_only(path).map_err(|error| match error {
        DatabaseError::RepairAborted => OpenError::Denied {
            path: shown(path),
            reason: "it was not closed properly, and repairing it needs to write it".to_string(),
        },
        error => database_error(failures, error),
    })?;
    let pipeline = pipeline_of(failures, &database)?;
    Ok((Access::Unverified(database), pipeline))
}

/// Opens the file of a store that exists.
fn open(path: &Path, failures: &Failures) -> Result<Database, OpenError> {
    database_in(OpenOptions::new().read(true).write(true).open(path), failures)
}

fn database_in(file: io::Result<File>, failures: &Failures) -> Result<Database, OpenError> {
    let file = file.map_err(DatabaseError::from).and_then(FileBackend::new);
    file.and_then(|file| builder().create_with_backend(Watched::new(file, failures)))
        .map_err(|error| database_error(failures, error))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // Without the check, redb trusts a file that was closed properly, and panics on one that was
    // damaged since.
    builder.set_check_integrity_on_open(true);
    builder
}

enum Found {
    Nothing,
    Empty,
    Redb,
}

/// What the path names, before redb touches it.
fn look(path: &Path) -> Result<Found, OpenError> {
    let io = |error: io::Error| io_error(path, error);
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(io(error)),
        Ok(metadata) if metadata.is_dir() => return Err(OpenError::Folder { path: shown(path) }),
        Ok(metadata) if !metadata.is_file() => {
            let found = "device, pipe or socket".to_string();
            return Err(OpenError::NotOurs { path: shown(path), found });
        }
        Ok(_) => (),
    }
    let mut head = Vec::new();
    File::open(path).map_err(io)?.take(16).read_to_end(&mut head).map_err(io)?;
    match head {
        _ if head.starts_with(REDB_MAGIC) => Ok(Found::Redb),
        _ if head.is_empty() => Ok(Found::Empty),
        _ => {
            let found = format!("a file that begins with {}", head.escape_ascii());
            Err(OpenError::NotOurs { path: shown(path), found })
        }
    }
}

/// Makes a new store and gives it the name `path`.
fn create(path: &Path, pipeline: &str, over_empty: bool) -> Result<(), OpenError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(OpenError::Missing { what: "folder", path: shown(path) });
    }
    let draft = draft_of(path);
    let made = make(&draft, pipeline).and_then(|()| {
        let named = if over_empty {
            fs::rename(&draft, path)
        } else {
            // Unlike a rename, a link never replaces a store that another process just made.
            match fs::hard_link(&draft, path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                Err(_) => fs::rename(&draft, path),
                Ok(()) => Ok(()),
            }
        };
        named.map_err(|error| io_error(path, error))
    });
    // Gone already after a rename; and a draft that stays harms nobody.
    let _ = fs::remove_file(&draft);
    made?;
    // The name is durable once its folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_error(path, error))
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".new-{}", std::process::id()));
    path.with_file_name(name)
}

/// Writes an empty store of `pipeline` to a new file.
fn make(path: &Path, pipeline: &str) -> Result<(), OpenError> {
    // Left by a process of the same number that was killed here.
    let _ = fs::remove_file(path);
    let failures = Failures::of(path);
    let database = database_in(File::create_new(path), &failures)?;
    let written = write_identity(&database, pipeline, VERSION);
    written.map_err(|error| error_of(&failures, error))?;
    database.close().map_err(|error| database_error(&failures, error))
}

fn write_identity(database: &Database, pipeline: &str, version: u32) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut identity = transaction.open_table(IDENTITY)?;
        identity.insert("format", FORMAT)?;
        identity.insert("version", &version.to_le_bytes()[..])?;
        identity.insert("pipeline", pipeline.as_bytes())?;
        transaction.open_table(ITEMS)?;
        transaction.open_table(EXPIRY)?;
    }
    Ok(transaction.commit()?)
}

/// The pipeline that an open file belongs to.
fn pipeline_of(failures: &Failures, database: &impl ReadableDatabase) -> Result<String, OpenError> {
    let path = failures.path();
    let transaction = database.begin_read().map_err(|error| error_of(failures, error.into()))?;
    let read = |name| read_identity(&transaction, name).map_err(|error| error_of(failures, error));
    let not_ours = || {
        let found = "a redb database of another program".to_string();
        OpenError::NotOurs { path: path.to_string(), found }
    };
    if read("format")?.as_deref() != Some(FORMAT) {
        return Err(not_ours());
    }
    let version = read("version")?.and_then(|version| version.try_into().ok());
    let version = u32::from_le_bytes(version.ok_or_else(not_ours)?);
    if version > VERSION {
        return Err(OpenError::Newer { path: path.to_string(), found: version, known: VERSION });
    }
    let pipeline = read("pipeline")?.and_then(|name| String::from_utf8(name).ok());
    pipeline.ok_or_else(not_ours)
}

fn read_identity(
    transaction: &ReadTransaction,
    name: &str,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let identity = match transaction.open_table(IDENTITY) {
        Ok(identity) => identity,
        Err(TableError::Storage(error)) => return Err(error.into()),
        // Absent, or of other types: another program's.
        Err(_) => return Ok(None),
    };
    Ok(identity.get(name)?.map(|value| value.value().to_vec()))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn database_error(failures: &Failures, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::Locked { path: failures.path().to_string() }
        }
        error => error_of(failures, error.into()),
    }
}

fn error_of(failures: &Failures, error: redb::Error) -> OpenError {
    let path = failures.path();
    match (error, failures.first()) {
        (redb::Error::Io(error), _) => io_error(Path::new(path), error),
        // Said of a file that failed a moment ago, and is not damaged.
        (redb::Error::PreviousIo, Some(first)) => {
            OpenError::Io { path: path.to_string(), reason: first.to_string() }
        }
        (error, _) => OpenError::Damaged { path: path.to_string(), reason: error.to_string() },
    }
}

fn io_error(path: &Path, error: io::Error) -> OpenError {
    let (path, reason) = (shown(path), error.to_string());
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::Denied { path, reason }
        }
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => OpenError::Damaged { path, reason },
        _ => OpenError::Io { path, reason },
    }
}

#[cfg(test)]
mod tests;
