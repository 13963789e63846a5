//! Where a run's results go: one sink for all queries.
//!
//! On one machine `--output` decides; what the pipeline names as sinks is for its functions. Only
//! a sink of `type = "file"` still decides the format of its queries' files.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use miette::Report;
use tidemill_embedded::sink::{
    FileFormat, FolderSink, OUTPUT, Owner, PrinterSink, PrinterStyle, ResultFile, StdoutSink,
};
use tidemill_flow::emit::{Emit, Routes};
use tidemill_flow::ports::{Emission, Sink, SinkError, Taken};
use tidemill_pipeline::{Pipeline, SinkKind};
use tidemill_plan::PipelinePlan;
use tokio::sync::Mutex;

use super::progress::Progress;
use crate::args::OutputArg;
use crate::problem::Problem;

/// The run's output.
pub(crate) struct Output {
    folder: Option<(PathBuf, Arc<Mutex<FolderSink>>)>,
}

impl Output {
    /// The output that `--output` names, with the sinks for advance. `rows_max` is `--show`.
    pub(crate) fn new(
        arg: Option<&OutputArg>,
        rows_max: Option<usize>,
        pipeline: &Pipeline,
        plan: &PipelinePlan,
        store_id: String,
        progress: &Progress,
    ) -> Result<(Output, Emit), Report> {
        let names = || plan.queries.iter().map(|query| query.name.as_str());
        let (output, sink): (Output, Box<dyn Sink>) = match arg {
            None => {
                let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                let style = PrinterStyle { colours, rows_max };
                let printer = PrinterSink::new(Box::new(progress.stdout()), style, names());
                (Output { folder: None }, Box::new(printer))
            }
            Some(OutputArg::Stdout) => {
                let sink = StdoutSink::new(Box::new(progress.stdout()));
                (Output { folder: None }, Box::new(sink))
            }
            Some(OutputArg::Folder(dir)) => {
                let owner = Owner { pipeline: pipeline.name.clone(), store: store_id };
                let files = plan.queries.iter().flat_map(|query| {
                    let formats = formats_of(pipeline, &query.name).into_iter();
                    formats.map(|format| ResultFile {
                        query: query.name.clone(),
                        format,
                        schema: query.output.clone(),
                    })
                });
                let sink = FolderSink::new(dir.clone(), owner, files.collect());
                let sink = Arc::new(Mutex::new(sink));
                let shared = SharedSink(Arc::clone(&sink));
                (Output { folder: Some((dir.clone(), sink)) }, Box::new(shared))
            }
        };
        let results = names().map(|name| (name.to_string(), vec![OUTPUT.to_string()])).collect();
        let routes = Routes { results, dead_letters: OUTPUT.to_string() };
        let sinks = BTreeMap::from([(OUTPUT.to_string(), sink)]);
        Ok((output, Emit::new(sinks, routes).map_err(Problem::plain)?))
    }

    /// Makes the files that only appear at the end of a run. Answers where the results are.
    pub(crate) async fn finish(&self) -> Result<Option<String>, Report> {
        let Some((dir, sink)) = &self.folder else { return Ok(None) };
        let written = sink.lock().await.finish().map_err(Problem::of_output)?;
        let names: Vec<_> = written.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        Ok(Some(format!("{}: {}", dir.display(), names.join(", "))))
    }
}

/// What of the pipeline's sinks `run` does not do, for a note; `None` when it does all.
pub(crate) fn redirected(pipeline: &Pipeline) -> Option<String> {
    let named: Vec<&str> = pipeline
        .sinks
        .values()
        .filter(|sink| !matches!(sink.kind, SinkKind::File { .. } | SinkKind::Stdout))
        .map(|sink| sink.name.as_str())
        .collect();
    (!named.is_empty()).then(|| {
        format!("note: `run` writes to --output what the pipeline sends to {}", named.join(", "))
    })
}

/// The formats of the query's files, each once: those that its file sinks say.
fn formats_of(pipeline: &Pipeline, query: &str) -> Vec<FileFormat> {
    let sinks = pipeline.queries.get(query).map_or(&[][..], |query| &query.sinks);
    let mut formats = Vec::new();
    for sink in sinks.iter().filter_map(|name| pipeline.sinks.get(name)) {
        let format = match sink.kind {
            SinkKind::File { format } => format,
            _ => FileFormat::JsonLines,
        };
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    if formats.is_empty() {
        formats.push(FileFormat::JsonLines);
    }
    formats
}

/// A folder sink that is finished by the run when advance has let go of it.
struct SharedSink(Arc<Mutex<FolderSink>>);

#[async_trait]
impl Sink for SharedSink {
    async fn restore(&mut self, state: Option<&[u8]>) -> Result<(), SinkError> {
        self.0.lock().await.restore(state).await
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        self.0.lock().await.emit(emission).await
    }
}
