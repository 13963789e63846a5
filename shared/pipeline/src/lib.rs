//! The pipeline file: `pipeline.toml` → a checked [`Pipeline`], or everything that is wrong with it.
//!
//! ```text
//! text ── raw.rs ──▶ RawPipeline ── check.rs ──▶ Pipeline ──▶ plan, flow, cli
//!          unknown keys,            names, references,
//!          wrong TOML types,        durations, types
//!          variables
//! ```
//!
//! # Invariants
//! 1. [`parse`] is the only way to make a [`Pipeline`].
//! 2. All mistakes are reported at once, each with its place and a way out; only a file that is
//!    no TOML stops at its first mistake.
//! 3. No environment variable is read here: the environment is an argument.
//! 4. No mistake tells the value of a variable, which may be a secret.
//!
//! Not here: what the SQL says (`plan`), whether a sink can be reached (the ports).

mod check;
mod error;
mod pipeline;
mod raw;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub use error::{PipelineError, PipelineErrors, code};
pub use pipeline::*;

pub use tidemill_model::limits::PIPELINE_FILE_BYTES_MAX;

/// Reads and checks the text of a pipeline file.
///
/// `file_name` is what messages call the file, `base_dir` the folder that the files of static
/// tables are relative to, and `env` answers `${VAR}`.
///
/// # Errors
/// Everything that is wrong with the file, in the file's order; never empty.
pub fn parse(
    file_name: &str,
    text: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Pipeline, PipelineErrors> {
    let file = SourceFile { name: file_name.to_owned(), text: Arc::from(text) };
    let mut errors = Vec::new();
    let used = RefCell::new(BTreeMap::new());
    let noted = |name: &str| {
        let value = env(name)?;
        used.borrow_mut().insert(value.clone(), name.to_string());
        Some(value)
    };
    let checked = raw::read(text, &noted, &mut errors)
        .map(|raw| check::check(raw, &file, base_dir, &mut errors));
    for error in &mut errors {
        error.hide(&used.borrow());
    }
    match checked {
        Some(pipeline) if errors.is_empty() => Ok(pipeline),
        checked => {
            let few = errors.iter().all(|error| error.code() != code::TOO_MANY);
            let rest =
                checked.filter(|_| few && errors.iter().all(|error| spares_sources(text, error)));
            Err(PipelineErrors::new(&file, errors).with_rest(rest))
        }
    }
}

/// Whether a mistake lies in a section that has no say in what a stream's or a table's columns are,
/// so that SQL can still be checked against those.
fn spares_sources(text: &str, error: &PipelineError) -> bool {
    let Some(before) = error.place().and_then(|place| text.get(..place.end)) else { return false };
    let section = before.lines().rev().find(|line| line.trim_start().starts_with('['));
    section.is_some_and(|line| {
        let name = line.trim_start().trim_start_matches(['[', ' ']);
        let spares = ["queries", "sinks", "state", "advance"];
        let is_source = name.starts_with("streams")
            && name.split([']', '.']).nth(2).is_some_and(|part| part.trim() == "source");
        is_source || spares.iter().any(|section| name.starts_with(section))
    })
}

/// Reads and checks the pipeline file at `path`; its folder is the base of its tables' files.
///
/// # Errors
/// As [`parse`]; also when the file cannot be read or is no text.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Pipeline, PipelineErrors> {
    let name = path.display().to_string();
    let unreadable = |message: String, help: &str| {
        let file = SourceFile { name: name.clone(), text: Arc::from("") };
        PipelineErrors::new(&file, vec![PipelineError::new(code::UNREADABLE, message).help(help)])
    };
    // One byte more, so that a larger file shows without being read whole.
    let read = || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(PIPELINE_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e: std::io::Error| {
        unreadable(
            format!("cannot read the pipeline file `{name}`: {e}"),
            "give the path of a pipeline file, such as `examples/flights/pipeline.toml`",
        )
    })?;
    if bytes.len() > PIPELINE_FILE_BYTES_MAX {
        let file = SourceFile { name, text: Arc::from("") };
        return Err(PipelineErrors::new(&file, vec![raw::too_large()]));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        unreadable(
            format!("the pipeline file `{name}` is not UTF-8 text: byte {at} is invalid"),
            "save the file as UTF-8",
        )
    })?;
    parse(&name, &text, path.parent().unwrap_or(Path::new("")), env)
}
