//! `make bench-aws`: what a deployed pipeline costs, and how fast its functions are.
//!
//! ```text
//! bench-aws [--events N] [--batches N,N,…] [--only cpu|start|cost] [BINARY…]
//! ```
//!
//! Three tables:
//! - **Cost**: write units and requests per million events on DynamoDB Local, as it accounts for
//!   them, against two simple ways to keep the same windows in a table (`baseline`).
//! - **CPU**: milliseconds of the function's handler per batch, with a store in memory, so that
//!   nothing but the function's own work counts.
//! - **Start**: for each BINARY (a function's `bootstrap`), its size, its compressed size, and the
//!   time from the process's start to its first request for an invocation.
//!
//! Not here: what the streams hold (`bench::generate`), what the pipelines mean
//! (`bench/pipelines`).

mod baseline;
mod case;
mod cost;
mod cpu;
mod dynamodb;
mod event;
mod function;
mod start;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tidemill_testkit::servers::DynamoDbLocal;

/// What any part of the benchmark fails with: a sentence.
type Result<T> = std::result::Result<T, String>;

#[derive(Debug, Parser)]
#[command(about = "Cost and speed of a deployed pipeline, on DynamoDB Local")]
struct Args {
    /// Events of each stream that are ingested for the table of costs.
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// Records of a batch.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    batches: Vec<usize>,
    /// Only this table.
    #[arg(long)]
    only: Option<Table>,
    /// Functions whose size and start are measured [default: those beside this program].
    binaries: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    Cpu,
    Start,
    Cost,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(bench(&args)),
        Err(error) => Err(error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench-aws: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(args: &Args) -> Result<()> {
    if cfg!(debug_assertions) {
        println!("(a build for development: CPU and start say nothing)\n");
    }
    let wanted = |table| args.only.is_none_or(|only| only == table);
    if wanted(Table::Cpu) {
        cpu::table(&args.batches).await?;
    }
    if wanted(Table::Start) || wanted(Table::Cost) {
        let dynamodb = DynamoDbLocal::start();
        if wanted(Table::Start) {
            start::table(&dynamodb, &binaries(args)?).await?;
        }
        if wanted(Table::Cost) {
            cost::table(&dynamodb, args.events, &args.batches).await?;
        }
    }
    Ok(())
}

/// The functions to measure.
fn binaries(args: &Args) -> Result<Vec<PathBuf>> {
    if !args.binaries.is_empty() {
        return Ok(args.binaries.clone());
    }
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = ["tidemill-kinesis", "tidemill-kafka", "tidemill-advance"];
    let beside: Vec<PathBuf> = beside.iter().map(|name| this.with_file_name(name)).collect();
    match beside.iter().find(|path| !path.exists()) {
        None => Ok(beside),
        Some(missing) => {
            Err(format!("{} is missing: `make bench-aws` builds it", missing.display()))
        }
    }
}
