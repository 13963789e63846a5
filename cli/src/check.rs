//! `tidemill check`: everything that is wrong with a pipeline file, at once.

use std::path::Path;
use std::process::ExitCode;

use miette::Report;

use crate::{pipeline, print};

pub(crate) fn check(path: &Path) -> Result<ExitCode, Report> {
    let (pipeline, _) = pipeline::load(path)?;
    let streams = counted(pipeline.streams.len(), "stream", "streams");
    let queries = counted(pipeline.queries.len(), "query", "queries");
    print(&format!("ok: {streams}, {queries}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
