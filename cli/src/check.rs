//! `tidemill check`: everything that is wrong with a pipeline file, at once.

use std::path::Path;
use std::process::ExitCode;

use miette::{Diagnostic, Report};
use tidemill_pipeline::PipelineErrors;
use tidemill_plan::PlanErrors;

use crate::{pipeline, print};

pub(crate) fn check(path: &Path) -> Result<ExitCode, Report> {
    let (pipeline, _) = pipeline::load(path).map_err(|report| match report.downcast() {
        Ok(file) => Mistakes::of(file).into(),
        Err(report) => report,
    })?;
    let streams = counted(pipeline.streams.len(), "stream", "streams");
    let queries = counted(pipeline.queries.len(), "query", "queries");
    print(&format!("ok: {streams}, {queries}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The mistakes of a file, and those of its SQL as far as that can be read all the same.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}", if sql.is_some() { ", and its SQL has some too" } else { "" })]
struct Mistakes {
    file: PipelineErrors,
    sql: Option<PlanErrors>,
}

impl Mistakes {
    fn of(file: PipelineErrors) -> Mistakes {
        let sql = file.rest().and_then(|rest| tidemill_plan::plan(rest).err());
        Mistakes { file, sql }
    }
}

impl Diagnostic for Mistakes {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let file = self.file.iter().map(|error| error as &dyn Diagnostic);
        let sql = self.sql.iter().flat_map(|sql| &sql.errors);
        Some(Box::new(file.chain(sql.map(|error| error as &dyn Diagnostic))))
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
