//! Wiring: environment → a function that is ready, or everything that is wrong with its deployment.
//!
//! # Invariants
//! 1. All faults are found before the first invocation, and shown at once: the environment, the
//!    pipeline file with its SQL, the state table and, for advance, the sinks. One fault does not
//!    hide another unless it must (sinks cannot be looked for while the file is unreadable).
//! 2. [`read`] is pure but for the files that it is told of. Only `wiring` talks to AWS.
//!
//! The state table is looked at before the first invocation too, although that is a round trip: it
//! opens the connection that the first append needs, and it tells a wrong name when it is deployed
//! rather than when records come. Shards are listed with the first invocation (`logs.rs`).
//!
//! Not here: which faults the tables and sinks have (`aws`).

use std::fmt;
use std::path::Path;
use std::time::Duration;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use tidemill_aws::Fault;
use tidemill_aws::source::StartingPosition;
use tidemill_model::limits::{
    SEGMENT_BYTES_MAX, STATE_MEMORY_PARTS, TICK_BYTES_MAX, TICK_MEMORY_PARTS,
};
use tidemill_pipeline::{Pipeline, PipelineError};
use tidemill_plan::{LOG_CONTENT, PipelinePlan};

use crate::environment::Environment;

/// The pipeline file.
pub const PIPELINE: &str = "TIDEMILL_PIPELINE";
/// The state table.
pub const STATE_TABLE: &str = "TIDEMILL_STATE_TABLE";
/// Where the event source mappings begin to read.
pub const STARTING_POSITION: &str = "TIDEMILL_STARTING_POSITION";
/// Seconds from one schedule of advance to the next.
pub const SCHEDULE_SECONDS: &str = "TIDEMILL_SCHEDULE_SECONDS";

/// Where Lambda's Runtime API is.
pub const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// MB of memory that the function has.
const MEMORY_SIZE: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
/// What Lambda itself sets, without which its runtime cannot begin.
const SET_BY_LAMBDA: [&str; 4] =
    [RUNTIME_API, "AWS_LAMBDA_FUNCTION_NAME", MEMORY_SIZE, "AWS_LAMBDA_FUNCTION_VERSION"];

/// Width of a mistake's picture, columns.
const WIDTH: usize = 100;
/// Longest period that a schedule may have: nothing is emitted in between.
const SCHEDULE_SECONDS_MAX: u64 = 24 * 3600;

/// What of the environment could be read, and what is wrong with the rest.
#[derive(Debug)]
pub struct Read {
    /// Pipeline and plan.
    pub planned: Option<(Pipeline, PipelinePlan)>,
    /// Name of the state table.
    pub state_table: Option<String>,
    /// Where the event source mappings begin to read.
    pub starting: Option<StartingPosition>,
    /// From one schedule of advance to the next.
    pub schedule: Option<Duration>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Reads the environment and the pipeline file that it names.
pub fn read(environment: &Environment) -> Read {
    let mut faults = Vec::from_iter(not_in_lambda(environment));
    let mut noted = |fault: Fault| faults.push(fault);
    let path = environment.get(PIPELINE);
    if path.is_none() {
        noted(Fault::new(
            format!("{PIPELINE} is not set"),
            "set it to the path of the pipeline file in the function's package, such as \
             /var/task/pipeline.toml",
        ));
    }
    let state_table = environment.get(STATE_TABLE).map(str::to_string);
    if state_table.is_none() {
        noted(Fault::new(
            format!("{STATE_TABLE} is not set"),
            "set it to the name of the DynamoDB table that keeps the pipeline's state",
        ));
    }
    let starting = starting(environment).map_err(&mut noted).ok();
    let schedule = schedule(environment).map_err(&mut noted).ok();
    let planned = path.and_then(|path| match plan(Path::new(path), environment) {
        Ok((pipeline, mut plan)) => {
            plan.show_content = shows_content(environment);
            if let (None, Some(memory)) = (pipeline.state_bytes_max, memory_bytes(environment)) {
                plan.state_bytes_max = memory / STATE_MEMORY_PARTS;
            }
            Some((pipeline, plan))
        }
        Err(mistakes) => {
            faults.extend(mistakes);
            None
        }
    });
    Read { planned, state_table, starting, schedule, faults }
}

/// Whether the operator wants to see what records hold.
pub fn shows_content(environment: &Environment) -> bool {
    tidemill_plan::shows_content(environment.get(LOG_CONTENT))
}

/// The function's memory; `None` outside of Lambda.
fn memory_bytes(environment: &Environment) -> Option<u64> {
    environment.get(MEMORY_SIZE)?.parse::<u64>().ok()?.checked_mul(1024 * 1024)
}

/// Bytes of segments that a tick of a function with this memory merges.
pub fn tick_bytes_max(environment: &Environment) -> usize {
    let share = memory_bytes(environment).map(|memory| memory / TICK_MEMORY_PARTS);
    let share = share.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(TICK_BYTES_MAX);
    share.clamp(SEGMENT_BYTES_MAX, TICK_BYTES_MAX)
}

/// The fault of a process that was not started by Lambda.
fn not_in_lambda(environment: &Environment) -> Option<Fault> {
    let lacks = |name: &&&str| environment.get(name).is_none();
    let missing: Vec<&str> = SET_BY_LAMBDA.iter().filter(lacks).copied().collect();
    (!missing.is_empty()).then(|| {
        Fault::new(
            format!("this process was not started by Lambda, which sets {}", missing.join(", ")),
            "deploy it as a function, or run it under `cargo lambda watch`",
        )
    })
}

fn starting(environment: &Environment) -> Result<StartingPosition, Fault> {
    match environment.get(STARTING_POSITION) {
        None | Some("TRIM_HORIZON") => Ok(StartingPosition::TrimHorizon),
        Some("LATEST") => Ok(StartingPosition::Latest),
        Some(other) => Err(Fault::new(
            format!("{STARTING_POSITION} is `{other}`, which is no starting position"),
            "set it to what the event source mapping has: TRIM_HORIZON or LATEST",
        )),
    }
}

fn schedule(environment: &Environment) -> Result<Duration, Fault> {
    let Some(text) = environment.get(SCHEDULE_SECONDS) else { return Ok(Duration::from_secs(60)) };
    match text.parse::<u64>() {
        Ok(seconds @ 1..=SCHEDULE_SECONDS_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(Fault::new(
            format!("{SCHEDULE_SECONDS} is `{text}`, which is no number of seconds"),
            format!("set it to the schedule's period, 1 to {SCHEDULE_SECONDS_MAX}, such as 60"),
        )),
    }
}

/// Reads and plans the pipeline file; its SQL too when the rest of the file has mistakes.
fn plan(path: &Path, environment: &Environment) -> Result<(Pipeline, PipelinePlan), Vec<Fault>> {
    let variable = |name: &str| environment.set(name).map(str::to_string);
    match tidemill_pipeline::load(path, &variable) {
        Ok(pipeline) => match tidemill_plan::plan(&pipeline) {
            Ok(plan) => Ok((pipeline, plan)),
            Err(errors) => Err(errors.errors.iter().map(mistake).collect()),
        },
        Err(errors) => {
            let mut faults: Vec<Fault> = errors.iter().map(mistake).collect();
            let sql = errors.rest().and_then(|rest| tidemill_plan::plan(rest).err());
            faults.extend(sql.iter().flat_map(|sql| &sql.errors).map(mistake));
            Err(faults)
        }
    }
}

/// A mistake in the pipeline file as a fault: its picture, with the place and the line.
fn mistake(error: &PipelineError) -> Fault {
    let help = error.help().map(|help| help.to_string());
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    let mut picture = String::new();
    let drawn = handler.with_width(WIDTH).render_report(&mut picture, &Pictured(error));
    let what = match drawn {
        Ok(()) => picture.trim().to_string(),
        Err(_) => error.to_string(),
    };
    Fault::new(what, help.unwrap_or_else(|| "mend the pipeline file".to_string()))
}

/// A mistake without its help, which a fault says itself.
#[derive(Debug)]
struct Pictured<'a>(&'a PipelineError);

impl fmt::Display for Pictured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Pictured<'_> {}

impl Diagnostic for Pictured<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Diagnostic::code(self.0)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.0.labels()
    }
}

/// Every fault, numbered, as one text for a person.
pub fn told(faults: &[Fault]) -> String {
    let count = match faults.len() {
        1 => "1 fault".to_string(),
        n => format!("{n} faults"),
    };
    let mut text = format!("this function cannot start: {count} in its deployment");
    for (n, Fault { what, help }) in faults.iter().enumerate() {
        let what = what.replace('\n', "\n     ");
        text.push_str(&format!("\n  {}. {what}\n     help: {help}", n + 1));
    }
    text
}

#[cfg(test)]
mod tests;
