//! `tidemill`: wiring, and what a person sees. Everything that decides is in the libraries.
//!
//! Exit codes: 0 done; 1 something is wrong that the user can mend; 2 the command line makes no
//! sense; 130 ended by Ctrl-C or SIGTERM, with the state saved.

mod args;
mod check;
mod clock;
mod explain;
mod pipeline;
mod problem;
mod put;
mod run;
mod state;
mod stored;
mod text;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use miette::Report;

use args::{Args, Command};
use problem::Problem;

fn main() -> ExitCode {
    quiet_planner();
    let done = match Args::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check { pipeline } => check::check(&pipeline),
        Command::Explain { pipeline, query } => explain::explain(&pipeline, query.as_deref()),
        Command::State(args) => state::state(args),
        Command::Put(args) => put::put(&args),
    };
    done.unwrap_or_else(|report| {
        show(&report);
        ExitCode::FAILURE
    })
}

/// A panic of the planner is shown as an error of the query, without a stack trace before it.
fn quiet_planner() {
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(tidemill_plan::PLANNER_THREAD) {
            shown(panic);
        }
    }));
}

/// Shows an error with its place and help, on stderr.
fn show(report: &Report) {
    eprintln!("{report:?}");
}

/// Writes to stdout; nobody listening any more is no error.
fn print(text: &str) -> Result<(), Report> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Problem::plain(format!("cannot write to stdout: {error}")).into())
        }
        _ => Ok(()),
    }
}
