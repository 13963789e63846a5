//! A pipeline file, read, checked and planned.

use std::path::Path;

use miette::Report;
use tidemill_flow::emit::parquet;
use tidemill_pipeline::{FileFormat, Pipeline, SinkKind};
use tidemill_plan::{LOG_CONTENT, PipelinePlan, shows_content};

use crate::problem::Problem;

/// Reads and checks the file, then plans its queries. All mistakes of the file are reported at
/// once; those of its SQL once the rest of the file is right (`check` reports both).
pub(crate) fn load(path: &Path) -> Result<(Pipeline, PipelinePlan), Report> {
    let pipeline = tidemill_pipeline::load(path, &|name| std::env::var(name).ok())?;
    let mut plan = tidemill_plan::plan(&pipeline)?;
    plan.show_content = shows_content(std::env::var(LOG_CONTENT).ok().as_deref());
    check_formats(&pipeline, &plan)?;
    Ok((pipeline, plan))
}

/// Whether the sinks' formats can hold what their queries give.
fn check_formats(pipeline: &Pipeline, plan: &PipelinePlan) -> Result<(), Problem> {
    for query in &plan.queries {
        let names = pipeline.queries.get(&query.name).map_or(&[][..], |query| &query.sinks);
        for sink in names.iter().filter_map(|name| pipeline.sinks.get(name)) {
            let (SinkKind::File { format: FileFormat::Parquet }
            | SinkKind::S3 { format: FileFormat::Parquet, .. }) = &sink.kind
            else {
                continue;
            };
            parquet::check(&query.output).map_err(|error| {
                let (query, sink) = (&query.name, &sink.name);
                Problem::new(
                    format!("sink `{sink}` cannot hold query `{query}` as Parquet: {error}"),
                    format!("write `format = \"json\"` under [sinks.{sink}], or cast the column"),
                )
            })?;
        }
    }
    Ok(())
}
