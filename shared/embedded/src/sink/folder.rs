//! Results as files in a folder: `{query}.jsonl` or `{query}.parquet`, and `dead_letters.jsonl`.
//!
//! # Invariants
//! 1. A JSON lines file holds whole epochs once `emit` has answered; what a crash left beyond the
//!    last marked epoch is cut off before anything is added.
//! 2. Nothing is cut that this pipeline's store did not write (see [`owner`]).
//! 3. A Parquet file is replaced whole, by [`FolderSink::finish`]. Until then its rows are in
//!    `.{query}.rows`.
//!
//! Not here: how a row becomes JSON (`tidemill_flow::emit::json`).

mod owner;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidemill_flow::emit::json;
use tidemill_flow::ports::{Emission, Sink, SinkError, Taken};

use super::growing_file::{GrowingFile, named};
use super::{OutputState, down, rows_file};
use owner::Ownership;
pub use owner::{Owner, new_id};
pub use tidemill_pipeline::FileFormat;

const DEAD_LETTERS: &str = "dead_letters.jsonl";

/// The file of one query's results.
#[derive(Debug, Clone)]
pub struct ResultFile {
    /// The query; its name is the file's.
    pub query: String,
    /// Format of the file.
    pub format: FileFormat,
    /// The results' columns: those of a Parquet file without rows.
    pub schema: SchemaRef,
}

/// The sink that writes a folder.
#[derive(Debug)]
pub struct FolderSink {
    dir: PathBuf,
    owner: Owner,
    results: BTreeMap<String, Vec<ResultFile>>,
    /// Set by `restore`.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    folder: String,
    /// By name, the files that this run appends to.
    files: BTreeMap<String, GrowingFile>,
    /// Lengths of files that earlier runs wrote and this one does not.
    others: BTreeMap<String, u64>,
}

impl FolderSink {
    /// A sink for `results` in `dir`, which is created when the first epoch is restored.
    pub fn new(dir: PathBuf, owner: Owner, results: Vec<ResultFile>) -> FolderSink {
        let mut by_query: BTreeMap<String, Vec<ResultFile>> = BTreeMap::new();
        for file in results {
            by_query.entry(file.query.clone()).or_default().push(file);
        }
        FolderSink { dir, owner, results: by_query, open: None }
    }

    /// Every result file.
    fn files(&self) -> impl Iterator<Item = &ResultFile> {
        self.results.values().flatten()
    }

    /// Writes every Parquet file anew with all rows so far, and answers all result files that
    /// people may now read. Call it at the end of a run.
    pub fn finish(&mut self) -> Result<Vec<PathBuf>, SinkError> {
        let Some(open) = &self.open else { return Ok(Vec::new()) };
        let mut written = Vec::new();
        for result in self.files() {
            let path = self.dir.join(result.public_name());
            if result.format == FileFormat::Parquet
                && let Some(rows) = open.files.get(&result.growing_name())
            {
                rows_file::to_parquet(rows.path(), rows.length(), &result.schema, &path)
                    .map_err(down)?;
            }
            written.push(path);
        }
        sync_folder(&self.dir).map_err(down)?;
        Ok(written)
    }

    /// Names of all files that this run may write.
    fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::from([DEAD_LETTERS.to_string()]);
        for result in self.files() {
            names.extend([result.growing_name(), result.public_name()]);
        }
        names
    }
}

impl ResultFile {
    /// The file that grows with every epoch.
    fn growing_name(&self) -> String {
        match self.format {
            FileFormat::JsonLines => format!("{}.jsonl", self.query),
            FileFormat::Parquet => format!(".{}.rows", self.query),
        }
    }

    /// The file that the user reads.
    fn public_name(&self) -> String {
        match self.format {
            FileFormat::JsonLines => format!("{}.jsonl", self.query),
            FileFormat::Parquet => format!("{}.parquet", self.query),
        }
    }
}

#[async_trait]
impl Sink for FolderSink {
    async fn restore(&mut self, state: Option<&[u8]>) -> Result<(), SinkError> {
        let state = state.map(OutputState::decode).transpose()?;
        std::fs::create_dir_all(&self.dir).map_err(|error| down(named(&self.dir, &error)))?;
        let names = self.names();
        let ownership = Ownership::claim(&self.dir, &self.owner, state.as_ref(), &names)?;

        let mut marked = match state {
            Some(OutputState::Folder { folder, files }) if folder == ownership.folder => files,
            _ => BTreeMap::new(),
        };
        let mut files = BTreeMap::new();
        let growing = self.files().map(ResultFile::growing_name);
        for name in growing.chain([DEAD_LETTERS.to_string()]) {
            let length = marked.remove(&name).unwrap_or(0);
            let file = GrowingFile::open(self.dir.join(&name), length).map_err(down)?;
            files.insert(name, file);
        }
        sync_folder(&self.dir).map_err(down)?;
        self.open = Some(Open { folder: ownership.folder, files, others: marked });
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let Some(open) = &mut self.open else { return Err(down("emit came before restore")) };
        for results in &emission.results {
            let Some(files) = self.results.get(&results.query) else {
                return Err(down(format!("query `{}` has no result file", results.query)));
            };
            for file in files {
                let bytes = match file.format {
                    FileFormat::JsonLines => {
                        let rows = json::RowWriter::new(&results.batch).map_err(down)?;
                        let mut lines = Vec::new();
                        (0..results.batch.num_rows()).for_each(|row| rows.write(row, &mut lines));
                        lines
                    }
                    FileFormat::Parquet if results.batch.num_rows() == 0 => Vec::new(),
                    FileFormat::Parquet => rows_file::frame(&results.batch).map_err(down)?,
                };
                open.append(&file.growing_name(), &bytes)?;
            }
        }
        let mut lines = Vec::new();
        emission.letters().for_each(|letter| letter.write_without_id(&mut lines));
        open.append(DEAD_LETTERS, &lines)?;
        open.state().encode().map(Taken::all)
    }
}

impl Open {
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        let Some(file) = self.files.get_mut(name) else {
            return Err(down(format!("{name} is not open")));
        };
        file.append(bytes).map_err(down)
    }

    fn state(&self) -> OutputState {
        let mut files = self.others.clone();
        files.extend(self.files.iter().map(|(name, file)| (name.clone(), file.length())));
        OutputState::Folder { folder: self.folder.clone(), files }
    }
}

/// Makes the names in `dir` durable.
fn sync_folder(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| named(dir, &error))
}

#[cfg(test)]
mod tests;
