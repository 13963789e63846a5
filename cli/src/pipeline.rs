//! A pipeline file, read, checked and planned.

use std::path::Path;

use miette::Report;
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;

/// Reads and checks the file, then plans its queries. All mistakes of the file are reported at
/// once; those of its SQL once the rest of the file is right (`check` reports both).
pub(crate) fn load(path: &Path) -> Result<(Pipeline, PipelinePlan), Report> {
    let pipeline = tidemill_pipeline::load(path, &|name| std::env::var(name).ok())?;
    let mut plan = tidemill_plan::plan(&pipeline)?;
    plan.show_content = std::env::var("TIDEMILL_LOG_CONTENT").is_ok_and(|value| value == "true");
    Ok((pipeline, plan))
}
