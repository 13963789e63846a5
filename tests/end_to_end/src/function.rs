//! A Lambda function: its binary as processes behind the Runtime API, one process per invocation
//! at a time, as many as run at once.
//!
//! # As on AWS
//! - An invocation takes a warm process when one is idle, else it starts one (cold start).
//! - Between invocations a process is frozen: nothing in it runs.
//! - An invocation that takes longer than its timeout is killed with its process.
//! - A process that ends, for whatever reason, fails its invocation; the next one starts another.
//! - An error that the handler answers leaves the process warm.
//!
//! # Beyond AWS
//! [`Function::kill_often`] and [`Function::kill_one`] end processes by `kill -9`, some in the middle
//! of an invocation or of a start, as a seed decides.
//!
//! Not here: who invokes ([`crate::mapping`], [`crate::world`]).

mod killing;
mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_testkit::Rng;

use crate::clock::wall_ms;
use crate::logs::Logs;
use crate::runtime_api::{Answered, Invocation, Seen, Stage};
use killing::Killing;
pub use killing::Kills;
use process::{Handle, Process};

/// How long a process may take to start. AWS gives ten seconds; a build without optimization on a
/// machine that runs many tests at once gets more.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a process that has answered may take to ask for its next invocation.
const PARK_TIMEOUT: Duration = Duration::from_secs(10);

/// What a function is.
#[derive(Debug, Clone)]
pub struct FunctionSettings {
    /// Its name.
    pub name: String,
    /// Its binary.
    pub binary: PathBuf,
    /// Its environment; nothing of the test's own environment is passed on.
    pub env: BTreeMap<String, String>,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// How much longer than that it may take before it is killed; nothing, on AWS. For tests of what
    /// a process does by itself before its time is up, on a machine that may be too busy for that.
    pub patience: Duration,
}

/// A deployed function.
pub struct Function {
    settings: FunctionSettings,
    logs: Logs,
    idle: Mutex<Vec<Process>>,
    /// Its processes, as far as they live.
    processes: Mutex<Vec<Handle>>,
    killing: Mutex<Option<Killing>>,
    kills: Mutex<Kills>,
    /// Whether [`Function::fail_invocations`] is on.
    is_down: AtomicBool,
    started: AtomicU32,
    invoked: AtomicU64,
    failed: AtomicU64,
}

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// The handler answered an error.
    Handler {
        /// Its type.
        error_type: String,
        /// Its message.
        message: String,
    },
    /// The process could not start.
    Init {
        /// What it reported, or how it ended.
        message: String,
    },
    /// The process ended before it answered.
    Crashed {
        /// How it ended.
        how: String,
    },
    /// It took longer than the timeout, and was killed.
    TimedOut,
    /// The function was not reached: throttled, or its invocations are made to fail.
    Throttled,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Handler { error_type, message } => write!(f, "{error_type}: {message}"),
            Failure::Init { message } => write!(f, "cannot start: {message}"),
            Failure::Crashed { how } => write!(f, "process ended: {how}"),
            Failure::TimedOut => f.write_str("timed out"),
            Failure::Throttled => f.write_str("not reached"),
        }
    }
}

/// What can be invoked.
pub trait Invoke: Send + Sync {
    /// Invokes it with an event and waits for its answer.
    fn invoke(&self, event: &Value) -> Result<Value, Failure>;
}

impl Invoke for Function {
    fn invoke(&self, event: &Value) -> Result<Value, Failure> {
        Function::invoke(self, event)
    }
}

impl Function {
    /// Deploys a function. No process is started before the first invocation.
    pub fn deploy(settings: FunctionSettings) -> Function {
        Function {
            logs: Logs::new(&settings.name),
            settings,
            idle: Mutex::default(),
            processes: Mutex::default(),
            killing: Mutex::default(),
            kills: Mutex::default(),
            is_down: AtomicBool::new(false),
            started: AtomicU32::new(0),
            invoked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// What its processes said.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Invokes it and waits for its answer.
    pub fn invoke(&self, event: &Value) -> Result<Value, Failure> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Failure::Throttled);
        }
        let answer = self.invoke_process(event);
        self.failed.fetch_add(u64::from(answer.is_err()), Ordering::SeqCst);
        answer
    }

    fn invoke_process(&self, event: &Value) -> Result<Value, Failure> {
        let number = self.invoked.fetch_add(1, Ordering::SeqCst);
        let mut process = match self.idle.lock().expect("no panic while held").pop() {
            Some(process) => process,
            None => self.start()?,
        };
        process.thaw();
        let started = Instant::now();
        let timeout = self.settings.timeout;
        let deadline_ms = wall_ms() + timeout.as_millis() as i64;
        let payload = serde_json::to_vec(event).expect("a value is JSON");
        let id = format!("00000000-0000-4000-8000-{number:012}");
        process.api.offer(Invocation { id, deadline_ms, payload });

        let kill_after = self.kill_after();
        let longest = timeout + self.settings.patience;
        let mut seen =
            process.api.wait_answer(started + kill_after.unwrap_or(longest).min(longest));
        if seen == Seen::Nothing {
            if kill_after.is_none() {
                self.logs.note(process.number, "(killed: timed out)");
                process.kill();
                return Err(Failure::TimedOut);
            }
            self.count_kill(process.number, Stage::Running);
            process.kill();
            // An answer that was sent before the end has been heard: it counts.
            seen = process.api.wait_answer(Instant::now());
        }
        match seen {
            Seen::Answered(answered) => {
                if kill_after.is_some() && process.is_alive() {
                    self.count_kill(process.number, Stage::Idle);
                    process.kill();
                } else if process.is_alive() {
                    process.api.wait_parked(Instant::now() + PARK_TIMEOUT);
                    process.freeze();
                    self.idle.lock().expect("no panic while held").push(process);
                }
                match answered {
                    Answered::Response(value) => Ok(value),
                    Answered::Error(error) => Err(handler_error(&error)),
                }
            }
            Seen::InitError(error) => Err(Failure::Init { message: message_of(&error) }),
            Seen::Ended(how) => Err(Failure::Crashed { how }),
            Seen::Nothing => Err(Failure::TimedOut),
        }
    }

    fn start(&self) -> Result<Process, Failure> {
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        let process = Process::start(&self.settings, number, &self.logs);
        let mut processes = self.processes.lock().expect("no panic while held");
        processes.retain(Handle::is_alive);
        processes.push(process.handle());
        drop(processes);
        match process.api.wait_ready(Instant::now() + INIT_TIMEOUT) {
            Some(Seen::Nothing) => Ok(process),
            Some(Seen::InitError(error)) => Err(Failure::Init { message: message_of(&error) }),
            Some(Seen::Ended(how)) => Err(Failure::Init { message: how }),
            Some(Seen::Answered(_)) | None => {
                Err(Failure::Init { message: "it did not ask for an invocation".to_string() })
            }
        }
    }

    /// Ends its warm processes, so that the next invocation is a cold start. Those that run are
    /// left alone.
    pub fn cool_down(&self) {
        self.idle.lock().expect("no panic while held").clear();
    }

    /// Ends all its processes now, those that run too: their invocations fail.
    pub fn abort(&self) {
        self.processes.lock().expect("no panic while held").iter().for_each(Handle::give_up);
        self.cool_down();
    }

    /// From now on kills the process of `percent` of 100 invocations with `kill -9`, until `times`
    /// processes were killed: mostly while the invocation runs.
    pub fn kill_often(&self, percent: u64, times: u64, seed: u64) {
        let killing = Killing { rng: Rng::new(seed), percent, left: times };
        *self.killing.lock().expect("no panic while held") = Some(killing);
    }

    /// `kill -9` of one of its processes, whichever `rng` draws, whatever it does. Of those that still
    /// start most are spared: else nothing would ever run on a slow machine. Answers whether one was
    /// killed.
    pub fn kill_one(&self, rng: &mut Rng) -> bool {
        let mut processes = self.processes.lock().expect("no panic while held");
        processes.retain(Handle::is_alive);
        if processes.is_empty() {
            return false;
        }
        let drawn = rng.index(processes.len());
        match processes[drawn].stage() {
            None => return false,
            Some(Stage::Starting) if rng.chance(80) => return false,
            Some(stage) => self.count_kill(processes[drawn].number, stage),
        }
        processes.swap_remove(drawn).kill();
        true
    }

    /// Processes killed so far.
    pub fn kills(&self) -> Kills {
        *self.kills.lock().expect("no panic while held")
    }

    fn count_kill(&self, number: u32, stage: Stage) {
        self.kills.lock().expect("no panic while held").count(stage);
        self.logs.note(number, &format!("(killed: {stage:?})"));
    }

    /// Processes started and invocations begun.
    pub fn counts(&self) -> (u32, u64) {
        (self.started.load(Ordering::SeqCst), self.invoked.load(Ordering::SeqCst))
    }

    /// Invocations that ended without an answer, or with an error.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// Makes every invocation fail without reaching the function, or lets them through again.
    pub fn fail_invocations(&self, fail: bool) {
        self.is_down.store(fail, Ordering::SeqCst);
    }

    /// When to kill the process of the invocation that begins now; `None`: not.
    fn kill_after(&self) -> Option<Duration> {
        let mut killing = self.killing.lock().expect("no panic while held");
        killing.as_mut().and_then(Killing::draw)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}: last lines\n{}---", self.settings.name, self.logs.tail(60));
        }
    }
}

fn handler_error(error: &Value) -> Failure {
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_string();
    match error {
        Value::Object(_) => {
            Failure::Handler { error_type: text("errorType"), message: text("errorMessage") }
        }
        other => Failure::Handler { error_type: String::new(), message: other.to_string() },
    }
}

fn message_of(error: &Value) -> String {
    match handler_error(error) {
        Failure::Handler { error_type, message } => format!("{error_type}: {message}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
