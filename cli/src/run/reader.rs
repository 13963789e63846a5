//! Readers: one thread per input, which hands blocks of records to the workers.
//!
//! # Invariants
//! 1. Nothing is handed over before it is known that the input is the one that the store was begun
//!    with.
//! 2. A reader that fails or is stopped never reports the input's end.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use miette::Report;
use tidemill_embedded::input::{Input, InputPath, InputSpec, Next};
use tidemill_flow::append::{AppendFailure, Appender, RetryCause};
use tidemill_flow::decode::{Decoder, RawBatch};
use tidemill_model::Position;
use tidemill_pipeline::{Format, Pipeline, Stream};
use tokio::runtime::Handle;

use super::handed::Handed;
use super::ingest::{Block, Shared};
use super::logs::Logs;
use super::store::Opened;
use crate::args::{InputArg, InputFrom, RunArgs};
use crate::problem::Problem;
use crate::{clock, stored};

/// Pause before an input that had nothing is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// One input of a run.
pub(crate) struct Reader {
    stream: Stream,
    name: String,
    input: Input,
    /// Whether its first line was found right.
    checked: bool,
    header: Option<Arc<[u8]>>,
    /// Bytes of it that are in the shared count.
    counted: u64,
}

/// What a reader's thread needs besides the input.
pub(crate) struct Hands {
    /// The input's number on the command line.
    pub(crate) number: usize,
    pub(crate) shared: Shared,
    pub(crate) handed: Arc<Handed>,
    pub(crate) logs: Logs,
    /// The workers, by shard.
    pub(crate) queues: Vec<SyncSender<Block>>,
    pub(crate) runtime: Handle,
    pub(crate) opened: Opened,
}

/// Checks that each stream has one input and that the files can be read, before anything is
/// created.
pub(crate) fn check(args: &RunArgs, pipeline: &Pipeline) -> Result<(), Report> {
    let mut streams = BTreeSet::new();
    let mut stdin = false;
    for InputArg { stream, from } in &args.inputs {
        if !pipeline.streams.contains_key(stream) {
            let names: Vec<&str> = pipeline.streams.keys().map(String::as_str).collect();
            let what = format!("{} has no stream `{stream}`", args.pipeline.display());
            return Err(Problem::new(what, format!("its streams are: {}", names.join(", "))).into());
        }
        if !streams.insert(stream) {
            return Err(Problem::new(
                format!("stream `{stream}` has two inputs"),
                "name each stream once; several files can come through stdin: cat a b | tidemill \
                 run …",
            )
            .into());
        }
        if *from == InputFrom::Stdin && std::mem::replace(&mut stdin, true) {
            return Err(Problem::new("two inputs are stdin", "name a file for one of them").into());
        }
    }
    if let Some(stream) = pipeline.streams.keys().find(|stream| !streams.contains(stream)) {
        return Err(Problem::new(
            format!("stream `{stream}` has no input"),
            format!(
                "add --input {stream}=FILE, or --input {stream}=/dev/null if it has no records"
            ),
        )
        .into());
    }
    for InputArg { stream, from } in &args.inputs {
        // A pipe is not opened twice: what was read of it would be gone.
        if let InputFrom::File(path) = from
            && fs::metadata(path).map_or(true, |found| found.is_file() || found.is_dir())
        {
            open(&pipeline.streams[stream], from, NonZeroUsize::MIN, args.until_end)?;
        }
    }
    Ok(())
}

fn open(
    stream: &Stream,
    from: &InputFrom,
    shards: NonZeroUsize,
    until_end: bool,
) -> Result<Reader, Report> {
    let path = match from {
        InputFrom::Stdin => InputPath::Stdin,
        InputFrom::File(path) => InputPath::File(path.clone()),
    };
    let name = match from {
        InputFrom::Stdin => "stdin".to_string(),
        InputFrom::File(path) => path.display().to_string(),
    };
    let csv_header = stream.format == Format::Csv;
    let spec = InputSpec { path, csv_header, shards, follow: !until_end };
    let input = Input::open(&spec).map_err(Problem::plain)?;
    let (stream, header) = (stream.clone(), None);
    Ok(Reader { stream, name, input, checked: false, header, counted: 0 })
}

impl Reader {
    /// Opens all inputs. What their first lines tell is checked as far as they are there already.
    pub(crate) async fn open_all(
        args: &RunArgs,
        pipeline: &Pipeline,
        logs: Logs,
        opened: &Opened,
    ) -> Result<Vec<Reader>, Report> {
        let mut readers = Vec::new();
        for InputArg { stream, from } in &args.inputs {
            let stream = &pipeline.streams[stream];
            let mut reader = open(stream, from, logs.shards(), args.until_end)?;
            reader.check_head(opened).await?;
            readers.push(reader);
        }
        Ok(readers)
    }

    /// The stream that the records are of.
    pub(crate) fn stream(&self) -> &str {
        &self.stream.name
    }

    /// Bytes of the input on disk; `None` for a pipe.
    pub(crate) fn bytes_total(&self) -> Option<u64> {
        self.input.progress().total
    }

    /// Leaves out what the logs have already.
    pub(crate) async fn resume(
        &mut self,
        logs: Logs,
        appender: &mut Appender,
    ) -> Result<(), Report> {
        let mut after: Vec<Position> = Vec::new();
        for shard in 0..logs.shards().get() {
            let log = logs.log(self.stream(), shard);
            let tail = appender.tail(&log, &clock::now).await;
            after.push(tail.map_err(|error| match &error.failure {
                AppendFailure::Retry(RetryCause::Store(error)) => Problem::of_store(error),
                _ => Problem::plain(error),
            })?);
        }
        Ok(self.input.resume_after(&after).map_err(Problem::plain)?)
    }

    /// Reads until the input ends or the run is stopped.
    pub(crate) fn run(mut self, hands: &Hands) {
        let Hands { number, shared, .. } = hands;
        if let Err(report) = self.read(hands) {
            shared.stop.fail(report);
        }
        shared.balance.ended(*number);
    }

    fn read(&mut self, hands: &Hands) -> Result<(), Report> {
        let Hands { number, shared, handed, runtime, opened, .. } = hands;
        loop {
            shared.balance.wait_for_turn(*number, || shared.stop.is_set());
            if shared.stop.is_set() {
                return Ok(());
            }
            let next = self.input.next_chunk(clock::now()).map_err(Problem::plain)?;
            self.count(shared);
            match next {
                Next::Records { shard, batch } => {
                    runtime.block_on(self.check_head(opened))?;
                    if !self.hand_over(hands, shard, batch) {
                        return Ok(());
                    }
                }
                Next::Nothing => {
                    handed.nothing_now(self.stream());
                    std::thread::sleep(ASK_AGAIN);
                }
                Next::End => {
                    handed.at_end(self.stream());
                    return Ok(());
                }
            }
        }
    }

    /// Gives a worker its records; whether it is there to take them.
    fn hand_over(&self, hands: &Hands, shard: usize, raw: RawBatch) -> bool {
        let log = hands.logs.log(self.stream(), shard);
        if let Some(last) = raw.records.last() {
            hands.handed.block(&log, last.position);
        }
        let header = self.header.clone();
        let block = Block { input: hands.number, log, header, raw };
        hands.shared.balance.progress(hands.number, None);
        hands.queues.get(shard).is_some_and(|queue| queue.send(block).is_ok())
    }

    /// Once the first line is there: checks that it names the columns, and that the input is the
    /// one that the store was begun with.
    async fn check_head(&mut self, opened: &Opened) -> Result<(), Report> {
        let (false, Some(head)) = (self.checked, self.input.head()) else { return Ok(()) };
        self.header = head.csv_header.as_deref().map(Arc::from);
        Decoder::new(&self.stream, head.csv_header.as_deref())
            .map_err(|error| Problem::plain(format!("{}: {error}", self.name)))?;
        if let Some(identity) = &head.identity {
            let stream = &self.stream.name;
            let known = stored::input_identity(&opened.store, stream, identity).await?;
            if known != *identity {
                return Err(Problem::new(
                    format!(
                        "{} is not what this store has read as stream `{stream}` before: it \
                         begins differently",
                        self.name
                    ),
                    "give the input that the store was begun with (it may have grown), or name a \
                     new store",
                )
                .into());
            }
        }
        self.checked = true;
        Ok(())
    }

    fn count(&mut self, shared: &Shared) {
        let read = self.input.progress().read;
        shared.counters.bytes_read.fetch_add(read.saturating_sub(self.counted), Ordering::Relaxed);
        self.counted = read;
    }
}
