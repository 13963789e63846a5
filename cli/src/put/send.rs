//! The loop of `tidemill put`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::HumanCount;
use miette::Report;
use tidemill_aws::put::{BATCH_RECORDS_MAX, Put, Record};
use tidemill_aws::{Aws, Fault};

use super::lines::{Line, Lines};
use super::member::member;
use super::pace::Pace;
use super::shift::Shift;
use crate::args::PutArgs;
use crate::clock::{self, Stopwatch};
use crate::problem::Problem;
use crate::run::{Counters, INTERRUPTED, Progress, Stop};
use crate::text;

/// Pause when there is nothing to read, and longest pause before Ctrl-C is seen.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn put(args: &PutArgs) -> Result<ExitCode, Report> {
    let stop = Stop::on_signals()
        .map_err(|error| Problem::plain(format!("cannot listen for Ctrl-C: {error}")))?;
    let lines = Lines::open(&args.file, args.repeat)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::plain(format!("cannot start: {error}")))?;
    runtime.block_on(send(args, lines, &stop))
}

async fn send(args: &PutArgs, lines: Lines, stop: &Stop) -> Result<ExitCode, Report> {
    let aws = Aws::from_env().await.map_err(problem)?;
    let put = Put::open(&aws, &args.stream).await.map_err(problem)?;
    let counters = Arc::new(Counters::default());
    let progress = Progress::show(Arc::clone(&counters), lines.bytes_total());
    let mut sender = Sender {
        lines,
        put,
        partition_key: args.partition_key.as_deref(),
        shift: args.shift.as_deref().map(Shift::new),
        limit: args.limit.unwrap_or(u64::MAX),
        taken: 0,
        counters: &counters,
    };
    let watch = Stopwatch::start();
    let sent = sender.run(Pace::new(args.rate), watch, stop).await;
    drop(progress);
    eprintln!("{}", sender.summary(&args.stream, watch.elapsed()));
    sent?;
    Ok(if stop.was_signalled() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

struct Sender<'a> {
    lines: Lines,
    put: Put,
    partition_key: Option<&'a str>,
    shift: Option<Shift>,
    limit: u64,
    /// Lines taken from the file.
    taken: u64,
    counters: &'a Counters,
}

impl Sender<'_> {
    async fn run(&mut self, pace: Pace, watch: Stopwatch, stop: &Stop) -> Result<(), Report> {
        while !stop.is_set() {
            let sent = self.counters.appended.load(Ordering::Relaxed);
            let wait = pace.wait(watch.elapsed(), sent, BATCH_RECORDS_MAX);
            if !wait.is_zero() {
                tokio::time::sleep(wait.min(PAUSE)).await;
                continue;
            }
            let (batch, more) = self.batch(pace.batch(BATCH_RECORDS_MAX))?;
            let records = batch.len() as u64;
            self.put.put(batch).await.map_err(problem)?;
            self.counters.appended.fetch_add(records, Ordering::Relaxed);
            self.counters.bytes_read.store(self.lines.bytes_read(), Ordering::Relaxed);
            match more {
                More::Now => {}
                More::Later => tokio::time::sleep(PAUSE).await,
                More::Never => break,
            }
        }
        Ok(())
    }

    /// The next records, at most `count`, and whether there are more.
    fn batch(&mut self, count: usize) -> Result<(Vec<Record>, More), Report> {
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count {
            if self.taken == self.limit {
                return Ok((batch, More::Never));
            }
            match self.lines.next()? {
                Line::Record { line, is_first } => batch.push(self.record(line, is_first)),
                Line::Wait => return Ok((batch, More::Later)),
                Line::End => return Ok((batch, More::Never)),
            }
        }
        Ok((batch, More::Now))
    }

    fn record(&mut self, line: Vec<u8>, is_first: bool) -> Record {
        let key = self.partition_key.and_then(|name| {
            let text = std::str::from_utf8(&line).ok()?;
            let value = text[member(text, name)?].trim_matches('"');
            (!value.is_empty()).then(|| value.to_owned())
        });
        let key = key.unwrap_or_else(|| self.taken.to_string());
        self.taken += 1;
        let data = match &mut self.shift {
            Some(shift) => {
                if is_first {
                    shift.begin();
                }
                shift.apply(&line, clock::now().0).into_owned()
            }
            None => line,
        };
        Record { key, data }
    }

    fn summary(&self, stream: &str, elapsed: Duration) -> String {
        let sent = self.counters.appended.load(Ordering::Relaxed);
        let rate = sent as f64 / elapsed.as_secs_f64().max(0.001);
        let took = text::duration(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX));
        let (sent, rate) = (HumanCount(sent), HumanCount(rate.round() as u64));
        let mut summary = format!("put {sent} records into stream `{stream}` in {took}, {rate}/s");
        let repeated = self.put.repeated();
        if repeated > 0 {
            let repeated = HumanCount(repeated);
            summary.push_str(&format!("; {repeated} were refused at first and sent again"));
        }
        let unmoved = self.shift.as_ref().map_or(0, Shift::unmoved);
        if unmoved > 0 {
            let unmoved = HumanCount(unmoved);
            summary.push_str(&format!("; {unmoved} had no time to move and were sent as they are"));
        }
        summary
    }
}

/// Whether there are more records.
enum More {
    Now,
    Later,
    Never,
}

fn problem(fault: Fault) -> Report {
    Problem::new(fault.what, fault.help).into()
}
