//! Sinks of one machine: result files in a folder, standard output, a terminal.
//!
//! A run has one of them, under one name ([`OUTPUT`]), so that the marker of the last emitted
//! epoch always tells where that epoch went ([`OutputState`]): a folder that a later run names
//! again is not cut back by a marker that speaks of another place.
//!
//! Not here: how a row becomes JSON (`tidemill_flow::emit::json`), when an epoch is emitted
//! (`tidemill_flow::advance`).

mod folder;
mod growing_file;
mod printer;
mod rows_file;
mod stdout;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_flow::ports::SinkError;

pub use folder::{FileFormat, FolderSink, Owner, ResultFile, new_id};
pub use printer::{PrinterSink, PrinterStyle};
pub use stdout::StdoutSink;

/// Name of a run's one sink, in the emitted markers and in errors.
pub const OUTPUT: &str = "output";

/// What the marker of an emitted epoch keeps of a run's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
enum OutputState {
    /// It went to standard output, where nothing can be cut back.
    Stdout,
    /// It went to files.
    Folder {
        /// The folder's id, from its ownership file.
        folder: String,
        /// Length of every file after the epoch, bytes, by name.
        files: BTreeMap<String, u64>,
    },
}

impl OutputState {
    fn encode(&self) -> Result<Vec<u8>, SinkError> {
        serde_json::to_vec(self).map_err(down)
    }

    fn decode(bytes: &[u8]) -> Result<OutputState, SinkError> {
        serde_json::from_slice(bytes).map_err(|error| {
            down(format!(
                "the store's marker of the last emitted epoch cannot be read ({error}); use the \
                 version of tidemill that wrote the store"
            ))
        })
    }
}

fn down(reason: impl ToString) -> SinkError {
    SinkError { sink: OUTPUT.to_string(), reason: reason.to_string() }
}
