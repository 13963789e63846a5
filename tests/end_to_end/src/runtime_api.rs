//! The Lambda Runtime API (2018-06-01) of one execution environment: what hands invocations to one
//! function process and takes its answers.
//!
//! ```text
//! process ── GET next ──▶ blocks until an invocation is offered
//!         ── POST {id}/response | {id}/error | init/error ──▶ wakes whoever waits
//! ```
//!
//! # Invariants
//! 1. One invocation at a time: the next is offered after the last was answered.
//! 2. An answer counts only for the invocation that is running; any other is refused, as on AWS.
//!
//! Not here: the process ([`crate::function`]).

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::Value;

use crate::clock::wall_ms;
use crate::http::{Answer, Request, Response, Server};

/// Largest answer that Lambda takes, bytes.
const RESPONSE_BYTES_MAX: usize = 6 * 1024 * 1024;

/// One invocation.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// Its request id.
    pub(crate) id: String,
    /// When Lambda will kill it, milliseconds since 1970, by the real clock.
    pub(crate) deadline_ms: i64,
    /// The event, JSON.
    pub(crate) payload: Vec<u8>,
}

/// What a process answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answered {
    /// The handler's answer.
    Response(Value),
    /// The handler's error, as it was sent.
    Error(Value),
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// It has answered.
    Answered(Answered),
    /// It told that it cannot start.
    InitError(Value),
    /// It is gone; how.
    Ended(String),
    /// Nothing of this until the given instant.
    Nothing,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not asked for its first invocation yet.
    Starting,
    /// It has an invocation.
    Running,
    /// It waits for one.
    Idle,
}

/// The API's server.
pub(crate) struct RuntimeApi {
    server: Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// The process asked for its first invocation.
    is_ready: bool,
    /// The process waits for an invocation.
    is_waiting: bool,
    offered: Option<Invocation>,
    running: Option<String>,
    answered: Option<Answered>,
    init_error: Option<Value>,
    ended: Option<String>,
}

impl RuntimeApi {
    /// Starts the server of one process.
    pub(crate) fn start() -> RuntimeApi {
        let state = Arc::new(State::default());
        let server = {
            let state = Arc::clone(&state);
            Server::start(move |request| state.serve(request))
        };
        RuntimeApi { server, state }
    }

    /// For `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The process is gone.
    pub(crate) fn ended(&self, how: String) {
        self.state.lock().ended = Some(how);
        self.state.changed.notify_all();
    }

    /// What the process does now.
    pub(crate) fn stage(&self) -> Stage {
        let inner = self.state.lock();
        match (inner.is_ready, inner.is_waiting) {
            (false, _) => Stage::Starting,
            (true, false) => Stage::Running,
            (true, true) => Stage::Idle,
        }
    }

    /// Waits until the process asks for its first invocation: [`Seen::Nothing`] when it has.
    /// `None`: not until `until`.
    pub(crate) fn wait_ready(&self, until: Instant) -> Option<Seen> {
        self.state.wait(until, |inner| match (inner.end(), inner.is_ready) {
            (Some(end), _) => Some(end),
            (None, true) => Some(Seen::Nothing),
            (None, false) => None,
        })
    }

    /// Hands an invocation over.
    pub(crate) fn offer(&self, invocation: Invocation) {
        let mut inner = self.state.lock();
        inner.answered = None;
        inner.offered = Some(invocation);
        drop(inner);
        self.state.changed.notify_all();
    }

    /// Waits for the answer.
    pub(crate) fn wait_answer(&self, until: Instant) -> Seen {
        let seen = self.state.wait(until, |inner| match inner.answered.take() {
            Some(answered) => Some(Seen::Answered(answered)),
            None => inner.end(),
        });
        seen.unwrap_or(Seen::Nothing)
    }

    /// Waits until the process asks for another invocation, or is gone: then it may be frozen.
    pub(crate) fn wait_parked(&self, until: Instant) {
        let parked = |inner: &mut Inner| (inner.is_waiting || inner.ended.is_some()).then_some(());
        let _ = self.state.wait(until, parked);
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        // Nobody may be left waiting for an invocation in the server's threads.
        self.ended("the execution environment was closed".to_string());
    }
}

impl Inner {
    fn end(&self) -> Option<Seen> {
        // A process that reported why it cannot start ends too: the report says more.
        match (&self.init_error, &self.ended) {
            (Some(error), Some(_)) => Some(Seen::InitError(error.clone())),
            (None, Some(how)) => Some(Seen::Ended(how.clone())),
            (_, None) => None,
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while held")
    }

    /// Waits until `look` finds something; `None` when it has not until `until`.
    fn wait<T>(&self, until: Instant, look: impl Fn(&mut Inner) -> Option<T>) -> Option<T> {
        let mut inner = self.lock();
        loop {
            if let Some(found) = look(&mut inner) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            inner = self.changed.wait_timeout(inner, left).expect("no panic while held").0;
        }
    }

    fn serve(&self, request: Request) -> Answer {
        let Some(path) = request.path.strip_prefix("/2018-06-01/runtime/") else {
            return refuse(404, "UnknownPath");
        };
        match (request.method.as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["invocation", "next"]) => self.next(),
            ("POST", ["invocation", id, "response"]) => {
                if request.body.len() > RESPONSE_BYTES_MAX {
                    let error = serde_json::json!({
                        "errorType": "Function.ResponseSizeTooLarge",
                        "errorMessage": format!("{} bytes", request.body.len()),
                    });
                    self.answer(id, Answered::Error(error));
                    return refuse(413, "RequestEntityTooLarge");
                }
                self.answer(id, Answered::Response(json_of(&request.body)))
            }
            ("POST", ["invocation", id, "error"]) => {
                self.answer(id, Answered::Error(json_of(&request.body)))
            }
            ("POST", ["init", "error"]) => {
                self.lock().init_error = Some(json_of(&request.body));
                accepted()
            }
            _ => refuse(404, "UnknownPath"),
        }
    }

    fn next(&self) -> Answer {
        let mut inner = self.lock();
        inner.is_ready = true;
        inner.is_waiting = true;
        self.changed.notify_all();
        loop {
            if inner.ended.is_some() {
                return Answer::HangUp;
            }
            if let Some(invocation) = inner.offered.take() {
                inner.is_waiting = false;
                inner.running = Some(invocation.id.clone());
                return Answer::Send(described(invocation));
            }
            inner = self.changed.wait(inner).expect("no panic while held");
        }
    }

    fn answer(&self, id: &str, answered: Answered) -> Answer {
        let mut inner = self.lock();
        if inner.running.as_deref() != Some(id) {
            return refuse(400, "InvalidRequestID");
        }
        inner.running = None;
        inner.answered = Some(answered);
        self.changed.notify_all();
        accepted()
    }
}

fn described(invocation: Invocation) -> Response {
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:test";
    let trace = format!("Root=1-{:08x}-000000000000000000000001;Sampled=0", wall_ms() / 1000);
    Response::new(200, invocation.payload)
        .with("Lambda-Runtime-Aws-Request-Id", invocation.id)
        .with("Lambda-Runtime-Deadline-Ms", invocation.deadline_ms.to_string())
        .with("Lambda-Runtime-Invoked-Function-Arn", arn)
        .with("Lambda-Runtime-Trace-Id", trace)
}

/// A body as JSON; one that is none, as text.
fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

fn accepted() -> Answer {
    Answer::Send(Response::new(202, r#"{"status":"OK"}"#))
}

fn refuse(status: u16, error_type: &str) -> Answer {
    let body = serde_json::json!({ "errorType": error_type, "errorMessage": "refused" });
    Answer::Send(Response::new(status, body.to_string()))
}
