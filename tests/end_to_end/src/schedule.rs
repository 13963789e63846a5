//! The schedule: invokes the advance function again and again, by one worker or several at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clock::wall_ms;
use crate::function::Function;

/// Pause between two invocations of one worker.
const PAUSE: Duration = Duration::from_millis(20);

/// A schedule that runs until it is dropped.
pub struct Schedule {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    function: Arc<Function>,
    stopped: AtomicBool,
    answers: Mutex<Vec<Value>>,
    failures: Mutex<Vec<String>>,
}

impl Schedule {
    /// Invokes `function` by `at_once` workers.
    pub fn start(function: &Arc<Function>, at_once: usize) -> Schedule {
        let shared = Arc::new(Shared {
            function: Arc::clone(function),
            stopped: AtomicBool::new(false),
            answers: Mutex::default(),
            failures: Mutex::default(),
        });
        let workers = (0..at_once).map(|_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.work())
        });
        Schedule { workers: workers.collect(), shared }
    }

    /// Waits until `count` more invocations, all of them begun after this call, have succeeded, and
    /// answers what the last one said.
    #[track_caller]
    pub fn wait_for_more(&self, count: usize, within: Duration) -> Value {
        // Those that run now may have begun before.
        let wanted = self.answers().len() + self.workers.len() + count;
        let until = Instant::now() + within;
        loop {
            let answers = self.answers();
            if answers.len() >= wanted {
                return answers.last().cloned().unwrap_or_default();
            }
            let failures = self.failures();
            assert!(
                Instant::now() < until,
                "advance did not succeed in time; it failed so: {:?}",
                failures.last()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until an invocation fails, and answers why.
    #[track_caller]
    pub fn wait_for_failure(&self, within: Duration) -> String {
        let until = Instant::now() + within;
        loop {
            if let Some(failure) = self.failures().pop() {
                return failure;
            }
            assert!(Instant::now() < until, "no invocation failed");
            std::thread::sleep(PAUSE);
        }
    }

    /// What the invocations answered so far.
    pub fn answers(&self) -> Vec<Value> {
        self.shared.answers.lock().expect("no panic while held").clone()
    }

    /// Why invocations failed so far.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().expect("no panic while held").clone()
    }
}

impl Shared {
    fn work(&self) {
        while !self.stopped.load(Ordering::SeqCst) {
            match self.function.invoke(&event()) {
                Ok(answer) => self.answers.lock().expect("no panic while held").push(answer),
                Err(failure) => {
                    let failure = failure.to_string();
                    self.failures.lock().expect("no panic while held").push(failure);
                }
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // An invocation goes on until shortly before its timeout: nobody waits for that.
        self.shared.function.abort();
        for worker in self.workers.drain(..) {
            let ended = worker.join();
            if ended.is_err() && !std::thread::panicking() {
                panic!("the schedule's thread panicked: see above");
            }
        }
    }
}

/// The event that an EventBridge rule with a schedule sends now.
pub fn event() -> Value {
    let now = jiff::Timestamp::from_millisecond(wall_ms()).expect("a time of our age");
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": format!("{now:.0}"),
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:000000000000:rule/advance"],
        "detail": {},
    })
}
