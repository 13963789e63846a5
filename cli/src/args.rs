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
    /// Put the lines of a file into a Kinesis stream, for demos and tests.
    Put(PutArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PutArgs {
    /// The Kinesis stream, in the region and account that AWS_REGION, AWS_PROFILE and the like
    /// name.
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: String,

    /// The records, one a line: plain, gzip or zstd; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// At most N records a second [default: as fast as the stream takes them].
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<u32>,

    /// Records that have the same value of this member go to one shard, in order [default: records
    /// are spread over the shards].
    #[arg(long, value_name = "COLUMN")]
    pub(crate) partition_key: Option<String>,

    /// Stop after N records.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    /// Begin again at the file's end, until --limit or Ctrl-C.
    #[arg(long)]
    pub(crate) repeat: bool,

    /// Move the times in this member so that the first record is of now, and with --repeat each
    /// pass's first: whole seconds, milliseconds or microseconds since 1970, or texts like
    /// 2013-01-31T12:00:00Z and 2013-01-31 12:00:00.
    #[arg(long, value_name = "COLUMN=now", value_parser = shift)]
    pub(crate) shift: Option<String>,
}

/// `N` or `N/s`.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate = number.parse().ok().filter(|rate| *rate > 0);
    rate.ok_or_else(|| "write records a second, at least 1, such as 500".to_string())
}

/// `COLUMN=now`: the column.
fn shift(text: &str) -> Result<String, String> {
    let column = text.strip_suffix("=now").filter(|column| !column.is_empty());
    column.map(str::to_string).ok_or_else(|| "write COLUMN=now".to_string())
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
    fn rates_and_shifts_are_read() {
        assert_eq!((rate("500"), rate("500/s")), (Ok(500), Ok(500)));
        for wrong in ["0", "-1", "5/m", "", "fast"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(shift("ts=now"), Ok("ts".to_string()));
        for wrong in ["ts", "=now", "ts=later"] {
            assert!(shift(wrong).is_err(), "{wrong}");
        }
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
