//! The advance function: on each schedule ticks until the next; results come out at the sinks.
//!
//! Not here: anything. `tidemill_lambda::function` tells the story.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidemill_lambda::function::advance()
}
