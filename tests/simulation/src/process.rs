//! A process: warm state, one task at a time, a clock that is a little off, a store that fails.

mod advance;
mod ingest;
mod port;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tidemill_model::WallMs;
use tidemill_testkit::{Call, FaultyStore, Step};

pub(crate) use advance::{Ticker, Untickable, tick};
pub(crate) use ingest::{Delivered, Ingest, Stopped, deliver};
pub(crate) use port::Port;

use crate::store::Recorder;

/// What a process does now. Gives its warm state back with what it did.
pub(crate) type Task<W, R> = Pin<Box<dyn Future<Output = (W, R)>>>;

/// A process with warm state `W` whose tasks answer `R`.
pub(crate) struct Process<W, R> {
    pub(crate) name: String,
    pub(crate) skew_ms: i64,
    pub(crate) store: Arc<FaultyStore<Recorder>>,
    /// What the last task left; `None`: the next task starts cold.
    pub(crate) warm: Option<W>,
    pub(crate) task: Option<Task<W, R>>,
    /// When the task began.
    pub(crate) began: WallMs,
    /// Until when its task stalls.
    pub(crate) stalled_until: Option<WallMs>,
}

/// What one poll of a process gave.
pub(crate) enum Polled<R> {
    /// The task goes on.
    Going,
    Done(R),
    /// The process is gone, and what it knew.
    Crashed,
    /// The task waits until the world resumes it.
    Stalled(Call),
}

impl<W, R> Process<W, R> {
    pub(crate) fn new(
        name: String,
        skew_ms: i64,
        store: Arc<FaultyStore<Recorder>>,
    ) -> Process<W, R> {
        Process {
            name,
            skew_ms,
            store,
            warm: None,
            task: None,
            began: WallMs(0),
            stalled_until: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.task.is_none()
    }

    pub(crate) fn can_run(&self) -> bool {
        self.task.is_some() && self.stalled_until.is_none()
    }

    /// Runs the task up to its next pause.
    pub(crate) fn poll(&mut self) -> Polled<R> {
        let Some(task) = &mut self.task else { return Polled::Going };
        let step = {
            let step = pin!(self.store.step(task));
            step.poll(&mut Context::from_waker(Waker::noop()))
        };
        match step {
            Poll::Pending => Polled::Going,
            Poll::Ready(Step::Done((warm, done))) => {
                self.task = None;
                self.warm = Some(warm);
                Polled::Done(done)
            }
            Poll::Ready(Step::Crashed(_)) => {
                self.crash();
                Polled::Crashed
            }
            Poll::Ready(Step::Stalled(call)) => Polled::Stalled(call),
        }
    }

    /// Drops the task, where it is, and everything that the process knew.
    pub(crate) fn crash(&mut self) {
        self.task = None;
        self.warm = None;
        self.stalled_until = None;
    }

    /// Crashes; answers the name, and whether nothing was under way.
    pub(crate) fn kill(&mut self) -> (String, bool) {
        let was_idle = self.is_idle();
        self.crash();
        (self.name.clone(), was_idle)
    }

    /// Lets stalled calls go on.
    pub(crate) fn resume(&mut self) {
        self.stalled_until = None;
        for call in self.store.stalled() {
            self.store.resume(call.number);
        }
    }
}
