//! `tidemill put`: the lines of a file into a Kinesis stream, at a rate.
//!
//! Lines are sent as they are: one that is no JSON too, because a pipeline must stand it. Not here:
//! how what the stream refuses is sent again (`tidemill_aws::put`).

#[cfg(feature = "aws")]
mod lines;
#[cfg(feature = "aws")]
mod member;
#[cfg(feature = "aws")]
mod pace;
#[cfg(feature = "aws")]
mod send;
#[cfg(feature = "aws")]
mod shift;

#[cfg(feature = "aws")]
pub(crate) use self::send::put;

#[cfg(not(feature = "aws"))]
pub(crate) use self::without_aws::put;

#[cfg(not(feature = "aws"))]
mod without_aws {
    use std::process::ExitCode;

    use miette::Report;

    use crate::args::PutArgs;
    use crate::problem::Problem;

    /// Says how to get a build that can.
    pub(crate) fn put(args: &PutArgs) -> Result<ExitCode, Report> {
        let PutArgs { stream, file, rate: _, partition_key: _, limit: _, repeat: _, shift: _ } =
            args;
        Err(Problem::new(
            format!(
                "this build of tidemill cannot put {} into the stream `{stream}`: it is without AWS",
                file.display()
            ),
            "build it with: cargo build -p tidemill --features aws",
        )
        .into())
    }
}
