//! One process of a function, with its Runtime API.
//!
//! # Invariants
//! 1. A signal goes only to a process that was not reaped, so never to a stranger with its number.
//! 2. A dropped process is killed and reaped.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::FunctionSettings;
use crate::logs::Logs;
use crate::runtime_api::{RuntimeApi, Stage};

/// The process.
pub(super) struct Process {
    pub(super) number: u32,
    pub(super) api: Arc<RuntimeApi>,
    /// `None` once it is reaped.
    pid: Arc<Mutex<Option<Pid>>>,
    threads: Vec<JoinHandle<()>>,
}

/// What reaches a process from outside for as long as it lives, whoever has it.
pub(super) struct Handle {
    pub(super) number: u32,
    api: Weak<RuntimeApi>,
    pid: Weak<Mutex<Option<Pid>>>,
}

impl Handle {
    /// Whether the process was not seen to end.
    pub(super) fn is_alive(&self) -> bool {
        self.stage().is_some()
    }

    /// What it does; `None`: it is gone.
    pub(super) fn stage(&self) -> Option<Stage> {
        let (api, pid) = (self.api.upgrade()?, self.pid.upgrade()?);
        let alive = pid.lock().expect("no panic while held").is_some();
        alive.then(|| api.stage())
    }

    /// `kill -9`, without waiting for its end.
    pub(super) fn kill(&self) {
        if let Some(pid) = self.pid.upgrade() {
            signal(&pid, Signal::SIGKILL);
        }
    }

    /// Lets whoever waits for it know that it is gone, though it is not.
    pub(super) fn give_up(&self) {
        if let Some(api) = self.api.upgrade() {
            api.ended("aborted by the test".to_string());
        }
    }
}

impl Process {
    /// Starts one. The caller waits until it is ready.
    pub(super) fn start(settings: &FunctionSettings, number: u32, logs: &Logs) -> Process {
        let api = Arc::new(RuntimeApi::start());
        let mut command = Command::new(&settings.binary);
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Ok(value) = std::env::var(name) {
                command.env(name, value);
            }
        }
        command
            .env("AWS_LAMBDA_RUNTIME_API", api.address().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", &settings.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", settings.name))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", format!("{number}"))
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("TZ", ":UTC")
            .envs(&settings.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        logs.note(number, "(cold start)");
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", settings.binary.display()));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = Arc::new(Mutex::new(Some(pid_of(&child))));
        let mut threads = Vec::new();
        if let Some(stdout) = stdout {
            let logs = logs.clone();
            threads.push(std::thread::spawn(move || logs.note_all(number, stdout)));
        }
        if let Some(stderr) = stderr {
            let logs = logs.clone();
            threads.push(std::thread::spawn(move || logs.note_all(number, stderr)));
        }
        {
            let (api, pid, logs) = (Arc::clone(&api), Arc::clone(&pid), logs.clone());
            threads.push(std::thread::spawn(move || reap(child, number, &api, &pid, &logs)));
        }
        Process { number, api, pid, threads }
    }

    /// What others may reach it by.
    pub(super) fn handle(&self) -> Handle {
        let (api, pid) = (Arc::downgrade(&self.api), Arc::downgrade(&self.pid));
        Handle { number: self.number, api, pid }
    }

    /// Whether it was not seen to end.
    pub(super) fn is_alive(&self) -> bool {
        self.pid.lock().expect("no panic while held").is_some()
    }

    /// Stops it from running until it is thawed.
    pub(super) fn freeze(&self) {
        signal(&self.pid, Signal::SIGSTOP);
    }

    /// Lets it run.
    pub(super) fn thaw(&self) {
        signal(&self.pid, Signal::SIGCONT);
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        signal(&self.pid, Signal::SIGKILL);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn signal(pid: &Mutex<Option<Pid>>, signal: Signal) {
    let pid = pid.lock().expect("no panic while held");
    if let Some(pid) = *pid {
        let _ = kill(pid, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for the end of a process and tells of it.
fn reap(mut child: Child, number: u32, api: &RuntimeApi, pid: &Mutex<Option<Pid>>, logs: &Logs) {
    // Waits without reaping, so that the number stays taken until nobody signals it any more.
    let _ = waitid(Id::Pid(pid_of(&child)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    let mut pid = pid.lock().expect("no panic while held");
    let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    *pid = None;
    drop(pid);
    logs.note(number, &format!("(ended: {how})"));
    api.ended(how);
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"))
}
