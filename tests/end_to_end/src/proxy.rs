//! A proxy in front of DynamoDB Local that answers as an unwell DynamoDB does.
//!
//! # Invariants
//! 1. What it does to a request depends on its seed and on the requests before, never on the time.
//!    (Which request comes when is up to the processes.)
//! 2. A refused request was not passed on; a request whose answer is lost was, or was not: the
//!    caller cannot know.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_testkit::Rng;

use crate::http::{Answer, Client, Request, Response, Server};

/// How long a request hangs before its connection is closed: longer than the invocations of tests
/// that use it may take.
const HANG: Duration = Duration::from_secs(10);

/// Shortest and longest delay of a request that is delayed, milliseconds.
const DELAY_MS: (i64, i64) = (20, 800);

/// What goes wrong, each of 1,000 requests.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Answered `ProvisionedThroughputExceededException`, not passed on.
    pub throttled: u64,
    /// Answered `InternalServerError`, not passed on.
    pub internal: u64,
    /// Passed on, the answer dropped and the connection closed.
    pub answer_dropped: u64,
    /// Connection reset, not passed on.
    pub reset: u64,
    /// Passed on, and silence until the caller's time is up.
    pub answer_late: u64,
    /// Not passed on, and silence until the caller's time is up.
    pub hangs: u64,
    /// Passed on late, and answered.
    pub delayed: u64,
    /// Passed on, half of the answer sent, and the connection closed.
    pub answer_cut: u64,
    /// Not passed on. The connection stays, takes what comes, and never answers anything.
    pub half_open: u64,
}

impl Faults {
    /// Everything passes.
    pub const NONE: Faults = Faults {
        throttled: 0,
        internal: 0,
        answer_dropped: 0,
        reset: 0,
        answer_late: 0,
        hangs: 0,
        delayed: 0,
        answer_cut: 0,
        half_open: 0,
    };
    /// A bad day: about one request in eight goes wrong.
    pub const MANY: Faults = Faults {
        throttled: 60,
        internal: 15,
        answer_dropped: 30,
        reset: 15,
        answer_late: 1,
        hangs: 1,
        ..Faults::NONE
    };
}

/// What a request's fate is called in [`Proxy::counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Passed on and answered.
    Passed,
    /// See [`Faults::throttled`].
    Throttled,
    /// See [`Faults::internal`].
    Internal,
    /// See [`Faults::answer_dropped`].
    AnswerDropped,
    /// See [`Faults::reset`].
    Reset,
    /// See [`Faults::answer_late`].
    AnswerLate,
    /// See [`Faults::hangs`].
    Hangs,
    /// See [`Faults::delayed`].
    Delayed,
    /// See [`Faults::answer_cut`].
    AnswerCut,
    /// See [`Faults::half_open`].
    HalfOpen,
    /// See [`Proxy::deny`].
    Denied,
    /// See [`Proxy::distrust_clocks`].
    ClockDistrusted,
    /// See [`Proxy::hold_puts`].
    Held,
}

/// The proxy.
pub struct Proxy {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    backend: SocketAddr,
    clients: Mutex<Vec<Client>>,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    faults: Faults,
    /// Operations that are answered `AccessDeniedException`; all when it holds `*`.
    denied: Vec<String>,
    /// Whether requests are refused because of the caller's clock.
    distrusts_clocks: bool,
    /// The table whose puts are held, and those that are.
    holds: Option<String>,
    held: Vec<Request>,
    counts: BTreeMap<Fate, u64>,
}

impl Proxy {
    /// A proxy of the server at `backend` that lets everything through.
    pub fn start(backend: SocketAddr, seed: u64) -> Proxy {
        let state = State {
            rng: Rng::new(seed),
            faults: Faults::NONE,
            denied: Vec::new(),
            distrusts_clocks: false,
            holds: None,
            held: Vec::new(),
            counts: BTreeMap::new(),
        };
        let shared = Arc::new(Shared { backend, clients: Mutex::default(), state: state.into() });
        let server = {
            let shared = Arc::clone(&shared);
            Server::start(move |request| shared.serve(&request))
        };
        Proxy { server, shared }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Sets what goes wrong from now on; [`Faults::NONE`]: nothing.
    pub fn fail(&self, faults: Faults) {
        self.shared.state.lock().expect("no panic while held").faults = faults;
    }

    /// Denies these operations (`PutItem` …, or `*`) from now on, and no others.
    pub fn deny(&self, operations: &[&str]) {
        let denied = operations.iter().map(|name| name.to_string()).collect();
        self.shared.state.lock().expect("no panic while held").denied = denied;
    }

    /// From now on refuses every request because its signature is of another time, as AWS does when
    /// the caller's clock is wrong by more than five minutes; or no longer.
    pub fn distrust_clocks(&self, distrust: bool) {
        self.shared.state.lock().expect("no panic while held").distrusts_clocks = distrust;
    }

    /// From now on holds every `PutItem` into a table: nobody answers, and it has not arrived until
    /// [`Proxy::pass_held`]. With `None` no more of them.
    pub fn hold_puts(&self, table: Option<&str>) {
        let mut state = self.shared.state.lock().expect("no panic while held");
        state.holds = table.map(str::to_string);
    }

    /// Lets the puts that were held arrive now, whoever still waits for them. Answers how many.
    pub fn pass_held(&self) -> usize {
        let held = {
            let mut state = self.shared.state.lock().expect("no panic while held");
            std::mem::take(&mut state.held)
        };
        held.iter().filter(|request| self.shared.pass(request).is_some()).count()
    }

    /// What became of the requests so far.
    pub fn counts(&self) -> BTreeMap<Fate, u64> {
        self.shared.state.lock().expect("no panic while held").counts.clone()
    }
}

impl State {
    /// What becomes of a request, and after which delay.
    fn fate(&mut self, operation: &str, request: &Request) -> (Fate, Duration) {
        let fate = if self.holds(operation, request) {
            self.held.push(request.clone());
            Fate::Held
        } else if self.denied.iter().any(|name| name == operation || name == "*") {
            Fate::Denied
        } else if self.distrusts_clocks {
            Fate::ClockDistrusted
        } else {
            self.draw()
        };
        *self.counts.entry(fate).or_default() += 1;
        let delay_ms = match fate {
            Fate::Delayed => self.rng.between(DELAY_MS.0, DELAY_MS.1).unsigned_abs(),
            _ => 0,
        };
        (fate, Duration::from_millis(delay_ms))
    }

    fn holds(&self, operation: &str, request: &Request) -> bool {
        let Some(table) = &self.holds else { return false };
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        operation == "PutItem" && input["TableName"] == table.as_str()
    }

    fn draw(&mut self) -> Fate {
        let faults = self.faults;
        let mut drawn = self.rng.below(1_000);
        for (share, fate) in [
            (faults.throttled, Fate::Throttled),
            (faults.internal, Fate::Internal),
            (faults.answer_dropped, Fate::AnswerDropped),
            (faults.reset, Fate::Reset),
            (faults.answer_late, Fate::AnswerLate),
            (faults.hangs, Fate::Hangs),
            (faults.delayed, Fate::Delayed),
            (faults.answer_cut, Fate::AnswerCut),
            (faults.half_open, Fate::HalfOpen),
        ] {
            if drawn < share {
                return fate;
            }
            drawn -= share;
        }
        Fate::Passed
    }
}

impl Shared {
    fn serve(&self, request: &Request) -> Answer {
        let target = request.header("X-Amz-Target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let (fate, delay) =
            self.state.lock().expect("no panic while held").fate(operation, request);
        match fate {
            Fate::Passed | Fate::Delayed => {
                std::thread::sleep(delay);
                self.pass(request).map_or(Answer::HangUp, Answer::Send)
            }
            Fate::AnswerCut => self.pass(request).map_or(Answer::HangUp, Answer::Cut),
            Fate::HalfOpen | Fate::Held => Answer::Swallow,
            Fate::Throttled => refusal(
                400,
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded.",
            ),
            Fate::Internal => refusal(
                500,
                "com.amazonaws.dynamodb.v20120810#InternalServerError",
                "The request processing has failed because of an unknown error.",
            ),
            Fate::Denied => refusal(
                400,
                "com.amazon.coral.service#AccessDeniedException",
                &format!(
                    "User: arn:aws:sts::000000000000:assumed-role/function is not authorized to \
                     perform: dynamodb:{operation} because no identity-based policy allows the \
                     dynamodb:{operation} action"
                ),
            ),
            Fate::ClockDistrusted => refusal(
                400,
                "com.amazon.coral.service#InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z \
                 (20260101T002000Z - 5 min.)",
            ),
            Fate::Reset => Answer::Reset,
            Fate::AnswerDropped => {
                let _ = self.pass(request);
                Answer::HangUp
            }
            Fate::AnswerLate => {
                let _ = self.pass(request);
                Answer::Hold(HANG)
            }
            Fate::Hangs => Answer::Hold(HANG),
        }
    }

    fn pass(&self, request: &Request) -> Option<Response> {
        let pooled = self.clients.lock().expect("no panic while held").pop();
        let mut client = pooled.unwrap_or_else(|| Client::new(self.backend));
        let answer =
            client.send(&request.method, &request.path, &request.headers, &request.body).ok()?;
        self.clients.lock().expect("no panic while held").push(client);
        Some(answer)
    }
}

fn refusal(status: u16, error_type: &str, message: &str) -> Answer {
    let body = json!({ "__type": error_type, "message": message }).to_string();
    let mut response = Response::new(status, body).with("x-amzn-RequestId", "TEST");
    response.headers[0].1 = "application/x-amz-json-1.0".to_string();
    Answer::Send(response)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::api::Api;

    fn backend() -> Server {
        Server::start(|request| Answer::Send(Response::new(200, request.body)))
    }

    #[test]
    fn without_faults_everything_passes() {
        let (backend, input) = (backend(), json!({ "a": 1 }));
        let proxy = Proxy::start(backend.address(), 1);
        let api = Api::dynamodb(proxy.server.address());
        for _ in 0..20 {
            assert_eq!(api.call("PutItem", &input), Ok(input.clone()));
        }
        assert_eq!(proxy.counts(), BTreeMap::from([(Fate::Passed, 20)]));
    }

    #[test]
    fn faults_come_as_often_as_told() {
        let backend = backend();
        let proxy = Proxy::start(backend.address(), 1);
        proxy.fail(Faults { throttled: 200, answer_dropped: 200, reset: 100, ..Faults::NONE });
        let api = Api::dynamodb(proxy.server.address());
        let answers: Vec<_> = (0..500).map(|_| api.call("PutItem", &json!({}))).collect();
        let throttled = |error: &crate::api::ApiError| {
            error.code == "ProvisionedThroughputExceededException" && error.status == 400
        };
        let count = answers.iter().flat_map(|answer| answer.as_ref().err());
        let (told, lost): (Vec<_>, Vec<_>) = count.partition(|error| throttled(error));
        assert!((60..140).contains(&told.len()), "{}", told.len());
        assert!((100..200).contains(&lost.len()), "{}", lost.len());
        assert!(lost.iter().all(|error| error.status == 0));
    }

    #[test]
    fn an_answer_that_is_cut_or_dropped_was_executed_and_a_reset_request_was_not() {
        let executed = Arc::new(AtomicU64::new(0));
        let backend = {
            let executed = Arc::clone(&executed);
            Server::start(move |request| {
                executed.fetch_add(1, Ordering::SeqCst);
                Answer::Send(Response::new(200, request.body))
            })
        };
        let proxy = Proxy::start(backend.address(), 1);
        let api = Api::dynamodb(proxy.server.address());
        let none = Faults::NONE;
        for (faults, fate, executions) in [
            (Faults { answer_cut: 1_000, ..none }, Fate::AnswerCut, 1),
            (Faults { answer_dropped: 1_000, ..none }, Fate::AnswerDropped, 2),
            (Faults { reset: 1_000, ..none }, Fate::Reset, 2),
        ] {
            proxy.fail(faults);
            assert_eq!(api.call("PutItem", &json!({})).unwrap_err().status, 0, "{fate:?}");
            assert_eq!(executed.load(Ordering::SeqCst), executions, "{fate:?}");
            assert_eq!(proxy.counts()[&fate], 1);
        }
        proxy.fail(Faults { delayed: 1_000, ..none });
        assert_eq!(api.call("PutItem", &json!({})), Ok(json!({})));
        assert_eq!(proxy.counts()[&Fate::Delayed], 1);
    }

    #[test]
    fn a_put_that_is_held_arrives_when_it_is_passed() {
        let backend = backend();
        let proxy = Proxy::start(backend.address(), 1);
        let address = proxy.server.address();
        let call = move |operation: &str, table: &str| {
            Api::dynamodb(address).call(operation, &json!({ "TableName": table })).is_ok()
        };
        proxy.hold_puts(Some("results"));
        assert!(call("PutItem", "state") && call("Query", "results"));
        // It waits for an answer as long as it likes.
        std::thread::spawn(move || call("PutItem", "results"));
        while proxy.counts().get(&Fate::Held) != Some(&1) {
            std::thread::yield_now();
        }
        proxy.hold_puts(None);
        assert!(call("PutItem", "results"));
        assert_eq!((proxy.pass_held(), proxy.pass_held()), (1, 0));
    }

    #[test]
    fn what_is_denied_is_denied_and_nothing_else() {
        let backend = backend();
        let proxy = Proxy::start(backend.address(), 1);
        proxy.deny(&["PutItem"]);
        let api = Api::dynamodb(proxy.server.address());
        let error = api.call("PutItem", &json!({})).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, "AccessDeniedException"));
        assert!(api.call("Query", &json!({})).is_ok());
        proxy.deny(&[]);
        assert!(api.call("PutItem", &json!({})).is_ok());
    }
}
