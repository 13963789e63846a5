//! `tidemill check`: everything that is wrong with a pipeline file, at once.

use std::path::Path;
use std::process::ExitCode;

use miette::Report;

use crate::pipeline;

pub(crate) fn check(path: &Path) -> Result<ExitCode, Report> {
    let (pipeline, _) = pipeline::load(path)?;
    println!(
        "ok: {}, {}",
        counted(pipeline.streams.len(), "stream", "streams"),
        counted(pipeline.queries.len(), "query", "queries"),
    );
    Ok(ExitCode::SUCCESS)
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
