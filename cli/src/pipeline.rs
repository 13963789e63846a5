//! A pipeline file, read, checked and planned.

use std::path::Path;

use miette::Report;
use tidemill_pipeline::Pipeline;
use tidemill_plan::{LOG_CONTENT, PipelinePlan, shows_content};

/// Reads and checks the file, then plans its queries. All mistakes of the file are reported at
/// once; those of its SQL once the rest of the file is right (`check` reports both).
pub(crate) fn load(path: &Path) -> Result<(Pipeline, PipelinePlan), Report> {
    let pipeline = tidemill_pipeline::load(path, &|name| std::env::var(name).ok())?;
    let mut plan = tidemill_plan::plan(&pipeline)?;
    plan.show_content = shows_content(std::env::var(LOG_CONTENT).ok().as_deref());
    Ok((pipeline, plan))
}
