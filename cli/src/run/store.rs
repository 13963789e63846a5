//! Where a run keeps its state.
//!
//! `--store FILE` says so. Without it the state lies with the results, `DIR/state.redb`, so that
//! the same command goes on where it was; a run that only prints keeps it in a temporary file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Report;
use tempfile::TempDir;
use tidemill_embedded::store::RedbStore;
use tidemill_pipeline::Pipeline;

use crate::args::OutputArg;
use crate::clock;
use crate::problem::Problem;

/// Name of the store in a folder of results.
const IN_OUTPUT: &str = "state.redb";

/// An open store.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) store: Arc<RedbStore>,
    /// Where it stays; `None`: nowhere.
    pub(crate) kept: Option<PathBuf>,
    /// Removed when the run ends, where an open file cannot be removed.
    _temporary: Option<Arc<TempDir>>,
}

impl Opened {
    /// What to say of it; `chosen`: nobody named a file.
    pub(crate) fn note(&self, chosen: bool) -> Option<String> {
        match &self.kept {
            Some(path) if chosen => Some(format!("note: the state is in {}", path.display())),
            Some(_) => None,
            None => Some(
                "note: the state is temporary, so this run cannot be continued; --store FILE \
                 keeps it"
                    .to_string(),
            ),
        }
    }
}

/// Opens the store, and creates it if there is none.
pub(crate) fn open(
    store: Option<&Path>,
    output: Option<&OutputArg>,
    pipeline: &Pipeline,
) -> Result<Opened, Report> {
    let kept = match (store, output) {
        (Some(file), _) => Some(file.to_path_buf()),
        (None, Some(OutputArg::Folder(dir))) => {
            std::fs::create_dir_all(dir).map_err(|error| {
                Problem::new(
                    format!("cannot make the output folder {}: {error}", dir.display()),
                    "name a folder that can be written with --output",
                )
            })?;
            Some(dir.join(IN_OUTPUT))
        }
        (None, _) => None,
    };
    let temporary = match &kept {
        Some(_) => None,
        None => Some(TempDir::with_prefix("tidemill-").map_err(|error| {
            Problem::new(
                format!("cannot make a temporary folder: {error}"),
                "name a file for the state with --store",
            )
        })?),
    };
    let path = match (&kept, &temporary) {
        (Some(path), _) => path.clone(),
        (None, Some(dir)) => dir.path().join(IN_OUTPUT),
        (None, None) => return Err(Problem::plain("no place for the state").into()),
    };
    let store = RedbStore::open(&path, &pipeline.name).map_err(Problem::plain)?;
    store.sweep(clock::now()).map_err(|error| Problem::of_store(&error))?;
    // On Unix an open file needs no name, and one without a name is gone even after kill -9.
    let _temporary = if cfg!(unix) { None } else { temporary.map(Arc::new) };
    Ok(Opened { store: Arc::new(store), kept, _temporary })
}
