//! `tidemill explain`: what each query does in ingest and what in advance.

use std::path::Path;
use std::process::ExitCode;

use miette::Report;

use crate::problem::Problem;
use crate::{pipeline, print};

pub(crate) fn explain(path: &Path, only: Option<&str>) -> Result<ExitCode, Report> {
    let (_, plan) = pipeline::load(path)?;
    let chosen: Vec<_> =
        plan.queries.iter().filter(|query| only.is_none_or(|only| query.name == only)).collect();
    if let (Some(only), true) = (only, chosen.is_empty()) {
        let names: Vec<&str> = plan.queries.iter().map(|query| query.name.as_str()).collect();
        return Err(Problem::new(
            format!("{} has no query `{only}`", path.display()),
            format!("its queries are: {}", names.join(", ")),
        )
        .into());
    }
    let parts: Vec<String> =
        chosen.into_iter().map(|query| tidemill_plan::explain(query)).collect();
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    print(&format!("{}\n", parts.join("\n\n")))?;
    Ok(ExitCode::SUCCESS)
}
