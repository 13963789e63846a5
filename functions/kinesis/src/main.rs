//! The Kinesis function: records of one shard in, segments of its log out.
//!
//! Not here: anything. `tidemill_lambda::function` tells the story.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidemill_lambda::function::kinesis()
}
