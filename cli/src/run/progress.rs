//! What a run shows while it runs, on stderr: a bar on a terminal, else a line now and then.
//!
//! Results go to stdout. Where both are the same terminal, [`AboveBar`] keeps them apart.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidemill_model::EventMs;

use crate::clock::Stopwatch;
use crate::text;

/// How often the bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// How often a line is printed where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Exit code where a shell reports a process that SIGPIPE ended.
const BROKEN_PIPE: i32 = 141;

/// Counts that the threads of a run share with whoever shows them.
#[derive(Default)]
pub(crate) struct Counters {
    /// Bytes read of the inputs, as they lie on disk.
    pub(crate) bytes_read: AtomicU64,
    /// Records that were appended.
    pub(crate) appended: AtomicU64,
    /// Records that were in the log already.
    pub(crate) skipped: AtomicU64,
    /// Segments that were appended.
    pub(crate) segments: AtomicU64,
    /// Their bytes.
    pub(crate) segment_bytes: AtomicU64,
    /// Bytes that queries kept open after a tick, about, at most.
    pub(crate) open_bytes: AtomicU64,
    newest: Latest,
    watermark: Latest,
}

impl Counters {
    /// Notes an event time that was decoded.
    pub(crate) fn saw(&self, clock: Option<EventMs>) {
        self.newest.raise(clock);
    }

    /// Notes the pipeline's watermark.
    pub(crate) fn watermark_is(&self, watermark: Option<EventMs>) {
        self.watermark.raise(watermark);
    }

    /// The newest watermark that a checkpoint told of.
    pub(crate) fn watermark(&self) -> Option<EventMs> {
        self.watermark.get()
    }

    /// Event time between the newest record and the watermark, milliseconds.
    fn lag_ms(&self) -> Option<i64> {
        let (newest, watermark) = (self.newest.get()?, self.watermark.get()?);
        Some(newest.0.saturating_sub(watermark.0).max(0))
    }
}

/// A time that only rises, or none yet.
struct Latest {
    ms: AtomicI64,
    known: AtomicBool,
}

impl Default for Latest {
    fn default() -> Latest {
        Latest { ms: AtomicI64::new(i64::MIN), known: AtomicBool::new(false) }
    }
}

impl Latest {
    fn raise(&self, time: Option<EventMs>) {
        if let Some(time) = time {
            self.ms.fetch_max(time.0, Ordering::SeqCst);
            self.known.store(true, Ordering::SeqCst);
        }
    }

    fn get(&self) -> Option<EventMs> {
        self.known.load(Ordering::SeqCst).then(|| EventMs(self.ms.load(Ordering::SeqCst)))
    }
}

/// The display of a run; it ends when this is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows `counters` from now on. `bytes_total` is what the inputs have on disk; `None` when
    /// nobody knows.
    pub(crate) fn show(counters: Arc<Counters>, bytes_total: Option<u64>) -> Progress {
        let bar = if io::stderr().is_terminal() { bar(bytes_total) } else { ProgressBar::hidden() };
        let (stop, stopped) = mpsc::channel();
        let shown = bar.clone();
        let thread = std::thread::spawn(move || watch(&counters, bytes_total, &shown, &stopped));
        Progress { bar, stop: Some(stop), thread: Some(thread) }
    }

    /// Standard output, for results that people read.
    pub(crate) fn stdout(&self) -> AboveBar {
        AboveBar { bar: self.bar.clone() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

fn bar(bytes_total: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes_total {
        Some(total) => (ProgressBar::new(total), "{bar:24} {percent:>3} %  {msg}"),
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn watch(
    counters: &Counters,
    bytes_total: Option<u64>,
    bar: &ProgressBar,
    stopped: &mpsc::Receiver<()>,
) {
    let started = Stopwatch::start();
    let every = if bar.is_hidden() { LINE_EVERY } else { BAR_EVERY };
    while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let read = counters.bytes_read.load(Ordering::Relaxed);
        let message = message(counters, started.elapsed());
        if bar.is_hidden() {
            let part = match bytes_total {
                Some(total) if total > 0 => format!("{} %", (read * 100 / total).min(100)),
                _ => HumanBytes(read).to_string(),
            };
            eprintln!("tidemill: {part}, {message}");
        } else {
            bar.set_position(read);
            bar.set_message(message);
            bar.tick();
        }
    }
}

fn message(counters: &Counters, elapsed: Duration) -> String {
    let records = counters.appended.load(Ordering::Relaxed);
    let rate = records as f64 / elapsed.as_secs_f64().max(0.001);
    let mut message =
        format!("{} records, {}/s", HumanCount(records), HumanCount(rate.round() as u64));
    if let Some(watermark) = counters.watermark() {
        message.push_str(&format!(", watermark {}", text::time(watermark.0)));
    }
    if let Some(lag_ms) = counters.lag_ms() {
        message.push_str(&format!(", lag {}", text::duration(lag_ms)));
    }
    message
}

/// Standard output while a bar is shown on stderr. When nobody listens any more (`| head`), the
/// process ends like any other at a broken pipe; to the state that is one more kill.
pub(crate) struct AboveBar {
    bar: ProgressBar,
}

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.bar.suspend(|| io::stdout().write_all(bytes)) {
            Ok(()) => Ok(bytes.len()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(BROKEN_PIPE),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
