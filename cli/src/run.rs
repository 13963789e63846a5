//! `tidemill run`: a pipeline on one machine.
//!
//! ```text
//! input ─ reader ─┬─▶ worker 0 ─ decode ─ combine ─ append ─┐
//! input ─ reader ─┼─▶ worker 1 ─ …                          ├─▶ store ─▶ advance loop ─▶ output
//!                 └─▶ worker n ─ …                          ┘
//! ```
//!
//! One reader thread an input, one worker thread a shard, the advance loop on the main thread.
//! Queues are bounded, ingest waits for advance (`backlog`), and of several inputs the one that is
//! behind in event time reads (`balance`): memory does not grow with the inputs.
//!
//! Not here: what makes it exactly once (`tidemill_flow::append`, `tidemill_flow::advance`).

mod advance;
mod backlog;
mod balance;
mod handed;
mod ingest;
mod logs;
mod output;
mod progress;
mod reader;
mod stop;
mod store;
mod summary;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use miette::Report;
use tidemill_embedded::sink::new_id;
use tidemill_flow::advance::{Advance, Ticked};
use tidemill_flow::append::{AppendSettings, Appender, Registry};
use tidemill_flow::combine::Combiner;
use tidemill_flow::keys::Keys;
use tidemill_flow::merge::State;
use tidemill_model::store::Store;
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;
use tokio::runtime::Runtime;

use self::advance::Nonces;
pub(crate) use self::handed::Handed;
use self::ingest::{BLOCKS_QUEUED, Block, Shared, Worker};
use self::logs::Logs;
use self::output::Output;
pub(crate) use self::progress::{Counters, Progress};
use self::reader::{Hands, Reader};
pub(crate) use self::stop::{INTERRUPTED, Stop};
use self::store::Opened;
use self::summary::{Ending, Summary};
use crate::args::RunArgs;
use crate::clock::Stopwatch;
use crate::problem::Problem;
use crate::{pipeline, stored};

pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Report> {
    let started = Stopwatch::start();
    let (pipeline, plan) = pipeline::load(&args.pipeline)?;
    reader::check(&args, &pipeline)?;
    let opened = store::open(args.store.as_deref(), args.output.as_ref(), &pipeline)?;
    if let Some(note) = opened.note(args.store.is_none()) {
        eprintln!("{note}");
    }
    if let Some(note) = output::redirected(&pipeline) {
        eprintln!("{note}");
    }
    let stop = Stop::on_signals()
        .map_err(|error| Problem::plain(format!("cannot listen for Ctrl-C: {error}")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .map_err(|error| Problem::plain(format!("cannot start threads: {error}")))?;
    let mut run = runtime.block_on(Run::prepare(&args, &pipeline, &plan, &opened, stop))?;
    let before = run.before;
    let last = run.go(&runtime, &pipeline, &plan);

    let Run { output, shared, progress, .. } = run;
    let results_in = runtime.block_on(output.finish());
    drop(progress);
    let failure = shared.stop.take_failure();
    let (last, failure) = match (last, failure) {
        (Ok(last), failure) => (Some(last), failure),
        (Err(error), failure) => (None, failure.or(Some(error))),
    };
    let (results_in, failure) = match results_in {
        Ok(results_in) => (results_in, failure),
        Err(error) => (None, failure.or(Some(error))),
    };
    let ending = match (&failure, shared.stop.was_signalled()) {
        (Some(_), _) => Ending::Failed,
        (None, true) => Ending::Interrupted,
        (None, false) => Ending::Finished,
    };
    let summary = Summary {
        ending,
        before,
        after: last.as_ref().map_or(before, |last| last.totals),
        duplicates_skipped: shared.counters.skipped.load(Ordering::SeqCst),
        segments: shared.counters.segments.load(Ordering::SeqCst),
        segment_bytes: shared.counters.segment_bytes.load(Ordering::SeqCst),
        open_bytes: shared.counters.open_bytes.load(Ordering::SeqCst),
        time: started.elapsed(),
        watermark: last.and_then(|last| last.watermark),
        results_in,
        state_in: opened.kept.as_ref().map(|path| path.display().to_string()),
    };
    eprint!("{summary}");
    match (failure, ending) {
        (Some(failure), _) => Err(failure),
        (None, Ending::Interrupted) => Ok(ExitCode::from(INTERRUPTED)),
        (None, _) => Ok(ExitCode::SUCCESS),
    }
}

/// A run that is ready to go.
struct Run {
    shared: Shared,
    handed: Arc<Handed>,
    logs: Logs,
    readers: Vec<Reader>,
    opened: Opened,
    store: Arc<dyn Store>,
    keys: Keys,
    advance: Advance,
    nonces: Nonces,
    output: Output,
    progress: Progress,
    /// Counts of earlier runs.
    before: tidemill_model::Totals,
}

impl Run {
    /// Registers the logs and brings output and state to where the last run left them. Whatever is
    /// wrong with the store, the inputs or the output shows here, before anything is read.
    async fn prepare(
        args: &RunArgs,
        pipeline: &Pipeline,
        plan: &PipelinePlan,
        opened: &Opened,
        stop: Stop,
    ) -> Result<Run, Report> {
        let store: Arc<dyn Store> = opened.store.clone();
        let keys = Keys::new(&pipeline.name);
        let handed = Arc::new(Handed::default());
        let registry = Registry::new(Arc::clone(&store), keys.clone());
        let logs = Logs::of(&registry, args.shards).await?;
        let mut readers = Reader::open_all(args, pipeline, logs, opened).await?;
        for reader in &readers {
            logs.register(&registry, reader.stream()).await?;
        }
        let before = stored::newest_checkpoint(&*store, &keys).await?;
        let run_id = new_id();
        let store_id = stored::id(&opened.store, &run_id).await?;

        let counters = Arc::new(Counters::default());
        let bytes_total = readers.iter().map(Reader::bytes_total).sum::<Option<u64>>();
        let progress = Progress::show(Arc::clone(&counters), bytes_total);
        let (output, emit) =
            Output::new(args.output.as_ref(), args.show, pipeline, plan, store_id, &progress)?;
        let shared = Shared {
            stop,
            backlog: Arc::default(),
            balance: Arc::new(balance::Balance::new(readers.len())),
            counters,
        };
        let state = Box::new(State::new(plan).map_err(Problem::plain)?);
        let source = Arc::clone(&handed) as _;
        let settings = advance::settings(pipeline);
        let mut advance =
            Advance::new(Arc::clone(&store), keys.clone(), state, settings, source, emit);
        let mut nonces = Nonces::new(run_id);
        advance::tick(&mut advance, &shared, &mut nonces).await?;
        let settings = AppendSettings::new(pipeline.segment_ttl_ms, false);
        let mut appender = Appender::new(Arc::clone(&store), keys.clone(), settings);
        for reader in &mut readers {
            reader.resume(logs, &mut appender).await?;
        }
        Ok(Run {
            shared,
            handed,
            logs,
            readers,
            opened: opened.clone(),
            store,
            keys,
            advance,
            nonces,
            output,
            progress,
            before: before.map_or_else(Default::default, |before| before.totals),
        })
    }

    /// Reads, ingests and advances until the inputs have ended or the run is stopped. Answers what
    /// the last tick said.
    fn go(
        &mut self,
        runtime: &Runtime,
        pipeline: &Pipeline,
        plan: &PipelinePlan,
    ) -> Result<Ticked, Report> {
        let mut queues = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..self.logs.shards().get() {
            let (queue, blocks) = sync_channel(BLOCKS_QUEUED);
            let worker = self.worker(runtime, pipeline, plan)?;
            workers.push(std::thread::spawn(move || worker.run(&blocks)));
            queues.push(queue);
        }
        self.start_readers(runtime, queues);

        let ended = Arc::new(AtomicBool::new(false));
        let waiter = wait_for(workers, self.shared.stop.clone(), Arc::clone(&ended));
        let advanced = runtime.block_on(advance::advance(
            &mut self.advance,
            &self.shared,
            &ended,
            &mut self.nonces,
        ));
        if let Err(error) = advanced {
            // The workers end by themselves; the first failure is the one that is shown.
            self.shared.stop.fail(error);
            let _ = waiter.join();
            return Err(self.shared.stop.take_failure().unwrap_or_else(|| {
                Problem::plain("the run stopped for a reason that was lost").into()
            }));
        }
        if self.shared.stop.is_set() {
            let _ = waiter.join();
        }
        advanced
    }

    fn worker(
        &self,
        runtime: &Runtime,
        pipeline: &Pipeline,
        plan: &PipelinePlan,
    ) -> Result<Worker, Report> {
        let settings = AppendSettings::new(pipeline.segment_ttl_ms, false);
        Ok(Worker {
            shared: self.shared.clone(),
            runtime: runtime.handle().clone(),
            streams: pipeline.streams.clone(),
            decoders: BTreeMap::new(),
            combine: Box::new(Combiner::new(plan).map_err(Problem::plain)?),
            appender: Appender::new(Arc::clone(&self.store), self.keys.clone(), settings),
        })
    }

    /// Starts a thread for each input. They are never waited for: one may be blocked in a read of
    /// a silent stdin, and all that they hold is read again by the next run.
    fn start_readers(&mut self, runtime: &Runtime, queues: Vec<SyncSender<Block>>) {
        for (number, reader) in std::mem::take(&mut self.readers).into_iter().enumerate() {
            let hands = Hands {
                number,
                shared: self.shared.clone(),
                handed: Arc::clone(&self.handed),
                logs: self.logs,
                queues: queues.clone(),
                runtime: runtime.handle().clone(),
                opened: self.opened.clone(),
            };
            std::thread::spawn(move || reader.run(&hands));
        }
    }
}

/// Notes in `ended` when all workers have ended; a worker that panicked fails the run.
fn wait_for(workers: Vec<JoinHandle<()>>, stop: Stop, ended: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for worker in workers {
            if worker.join().is_err() {
                stop.fail(
                    Problem::new(
                        "an ingest thread panicked",
                        "nothing is lost; please report this with the text above",
                    )
                    .into(),
                );
            }
        }
        ended.store(true, Ordering::SeqCst);
    })
}
