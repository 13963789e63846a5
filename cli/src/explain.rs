//! `tidemill explain`: what each query does in ingest and what in advance.

use std::path::Path;
use std::process::ExitCode;

use miette::Report;

use crate::pipeline;
use crate::problem::Problem;

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
    for (n, query) in chosen.into_iter().enumerate() {
        if n > 0 {
            println!();
        }
        println!("{}", tidemill_plan::explain(query).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
