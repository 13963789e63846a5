//! Whose folder it is: the file `.tidemill` says which store's results lie here.
//!
//! Written before any result file, so that a run that crashes before its first epoch is marked
//! can tell its own unfinished files from a stranger's.
//!
//! # Invariants
//! 1. A file that is not listed in the owner's own `.tidemill` is a stranger's, and a folder with a
//!    stranger's results is never taken over.
//! 2. A listed file may be cut back to nothing only while the store has never marked an epoch as
//!    emitted, or when its newest marker speaks of this folder and does not know the file.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidemill_flow::ports::SinkError;

use super::super::growing_file::named;
use super::super::{OutputState, down};

const FILE: &str = ".tidemill";

/// Whose results they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The pipeline's name.
    pub pipeline: String,
    /// What tells its store from every other store.
    pub store: String,
}

/// The ownership file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ownership {
    owner: Owner,
    /// What tells this folder from every other one.
    pub(super) folder: String,
    /// Files that the owner has created or is about to.
    files: BTreeSet<String>,
}

impl Ownership {
    /// Makes `dir` the folder of `owner`, who is about to write the files `names`, or refuses when
    /// that could destroy somebody's results. `state` is what the newest marker says.
    pub(super) fn claim(
        dir: &Path,
        owner: &Owner,
        state: Option<&OutputState>,
        names: &BTreeSet<String>,
    ) -> Result<Ownership, SinkError> {
        let (own, other) = match read(dir)? {
            Some(found) if found.owner == *owner => (Some(found), None),
            found => (None, found),
        };
        let may_cut = match (&own, state) {
            (None, _) => BTreeSet::new(),
            (Some(own), None) => own.files.clone(),
            (Some(own), Some(OutputState::Folder { folder, .. })) if *folder == own.folder => {
                own.files.clone()
            }
            (Some(_), Some(_)) => BTreeSet::new(),
        };
        let strange = names.iter().chain(other.iter().flat_map(|other| &other.files));
        for name in strange.filter(|name| !may_cut.contains(*name)) {
            let path = dir.join(name);
            if path.metadata().is_ok_and(|found| found.len() > 0) {
                return Err(down(format!(
                    "{} holds something that this pipeline's state does not know of; choose \
                     another output folder, or remove the file if it is not needed",
                    path.display()
                )));
            }
        }
        let claimed = match own {
            Some(own) => Ownership { files: &own.files | names, ..own },
            None => Ownership { owner: owner.clone(), folder: new_id(), files: names.clone() },
        };
        write(dir, &claimed).map_err(down)?;
        Ok(claimed)
    }
}

fn read(dir: &Path) -> Result<Option<Ownership>, SinkError> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            down(format!(
                "{} is not what tidemill wrote ({error}); choose another output folder",
                path.display()
            ))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(down(named(&path, &error))),
    }
}

fn write(dir: &Path, ownership: &Ownership) -> io::Result<()> {
    let (path, temporary) = (dir.join(FILE), dir.join(".tidemill.tmp"));
    let mut bytes = serde_json::to_vec(ownership).map_err(io::Error::other)?;
    bytes.push(b'\n');
    std::fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .map_err(|error| named(&temporary, &error))?;
    std::fs::rename(&temporary, &path).map_err(|error| named(&path, &error))
}

/// 32 hexadecimal digits that nobody else has, from the randomness that seeds the hash maps of every
/// process.
pub fn new_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
