//! The Kafka function: records of a topic's partitions in, segments of their logs out.
//!
//! Not here: anything. `tidemill_lambda::function` tells the story.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidemill_lambda::function::kafka()
}
