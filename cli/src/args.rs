//! What the user typed. Not here: whether it makes sense together (`run`, `state`).

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand};

/// Streaming SQL, exactly once: run a pipeline on files, check it, look into its state.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline on this machine: files or stdin in, files or stdout out.
    ///
    /// Kill it and run the same command again: it goes on where it was, exactly once.
    Run(RunArgs),
    /// Check a pipeline file and its SQL; show everything that is wrong, at once.
    Check {
        /// The pipeline file.
        pipeline: PathBuf,
    },
    /// Show what each query does in ingest and what in advance.
    Explain {
        /// The pipeline file.
        pipeline: PathBuf,
        /// Only this query.
        query: Option<String>,
    },
    /// Show a store: logs, positions, watermarks, open windows, last checkpoint.
    State(StateArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StateArgs {
    /// The store file.
    #[arg(required_unless_present = "table")]
    pub(crate) store: Option<PathBuf>,

    /// A state table in DynamoDB instead of a file, in the region and account that AWS_REGION,
    /// AWS_PROFILE and the like name. Needs --pipeline: a table can hold several pipelines.
    #[arg(long, value_name = "NAME", conflicts_with = "store", requires = "pipeline")]
    pub(crate) table: Option<String>,

    /// The pipeline file, to show its open windows as well.
    #[arg(long, value_name = "PIPELINE")]
    pub(crate) pipeline: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The pipeline file.
    pub(crate) pipeline: PathBuf,

    /// A stream's records: JSON lines or CSV, plain, gzip or zstd; `-` is stdin. Once per stream.
    #[arg(long = "input", value_name = "STREAM=FILE", required = true)]
    pub(crate) inputs: Vec<InputArg>,

    /// Logs that each input is split into, one thread each [default: cores, at most 4; a store
    /// keeps the number it began with]. 1 suits a slow live input: the watermark waits for the
    /// slowest log, and with several, most are silent most of the time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) shards: Option<u16>,

    /// File that keeps the state, created if absent [default: state.redb in the output folder, or,
    /// without one, a temporary file that is gone after the run].
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,

    /// Folder for one result file per query, or `-` for JSON lines on stdout [default: readable
    /// lines on stdout].
    #[arg(long, value_name = "DIR|-")]
    pub(crate) output: Option<OutputArg>,

    /// Without --output: print at most N rows of a query at a time, the newest, and count the rest
    /// [default: print all].
    #[arg(long, value_name = "N", conflicts_with = "output")]
    pub(crate) show: Option<usize>,

    /// Stop at the end of the inputs, when every window is closed. Without it, the run waits for
    /// plain files to grow, until Ctrl-C; compressed files and stdin end by themselves.
    #[arg(long)]
    pub(crate) until_end: bool,
}

/// `STREAM=FILE` or `STREAM=-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputArg {
    pub(crate) stream: String,
    pub(crate) from: InputFrom,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputFrom {
    Stdin,
    File(PathBuf),
}

impl FromStr for InputArg {
    type Err = String;

    fn from_str(text: &str) -> Result<InputArg, String> {
        let (stream, file) = text
            .split_once('=')
            .filter(|(stream, file)| !stream.is_empty() && !file.is_empty())
            .ok_or("write STREAM=FILE, or STREAM=- for stdin")?;
        let from = match file {
            "-" => InputFrom::Stdin,
            file => InputFrom::File(PathBuf::from(file)),
        };
        Ok(InputArg { stream: stream.to_string(), from })
    }
}

/// `DIR` or `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputArg {
    Stdout,
    Folder(PathBuf),
}

impl FromStr for OutputArg {
    type Err = String;

    fn from_str(text: &str) -> Result<OutputArg, String> {
        match text {
            "" => Err("write a folder, or - for stdout".to_string()),
            "-" => Ok(OutputArg::Stdout),
            dir => Ok(OutputArg::Folder(PathBuf::from(dir))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_input_names_a_stream_and_a_file() {
        let input: InputArg = "flights=a=b.jsonl".parse().unwrap();
        assert_eq!(input.stream, "flights");
        assert_eq!(input.from, InputFrom::File("a=b.jsonl".into()));
        assert_eq!("flights=-".parse::<InputArg>().unwrap().from, InputFrom::Stdin);
        for wrong in ["flights", "=file", "flights=", ""] {
            assert!(wrong.parse::<InputArg>().is_err(), "{wrong}");
        }
    }
}
