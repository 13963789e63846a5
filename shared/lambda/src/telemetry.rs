//! What a function tells: JSON lines, and metrics in CloudWatch's embedded format.
//!
//! One line an invocation with what it did, one loud line (level `ERROR`, with an `error_type`) for
//! each thing that went wrong, and one metrics document. Everything goes to standard output, which
//! Lambda hands to CloudWatch Logs.
//!
//! No line holds a record's content, unless `TIDEMILL_LOG_CONTENT` is `true`: what the engine says
//! when a query fails on a value, and the text of a panic, may quote values.
//!
//! The level is `TIDEMILL_LOG`, else `RUST_LOG`, else `info`.

pub mod emf;
pub mod metrics;

use std::io::Write;
use std::sync::Mutex;

use tidemill_model::WallMs;
use tracing_subscriber::EnvFilter;

use crate::environment::Environment;
use crate::setup;
use emf::Measured;

/// The runtime's own report of a handler's error, which the handler has logged already.
const QUIET: &str = "lambda_runtime::layers::panic=off";

/// Sends the JSON lines of this process to standard output. A panic becomes such a line too.
pub fn start_logs(environment: &Environment) {
    let level = environment.get("TIDEMILL_LOG").or_else(|| environment.get("RUST_LOG"));
    let filter = EnvFilter::builder().parse_lossy(level.unwrap_or("info"));
    let filter = match QUIET.parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    let lines = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stdout);
    // Fails only when logs were started before, as they are between tests of one process.
    let _ = lines.try_init();
    let shows_content = setup::shows_content(environment);
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = match shows_content {
            true => panic.payload_as_str().unwrap_or("no text"),
            false => "set TIDEMILL_LOG_CONTENT=true to see what it says",
        };
        tracing::error!(error_type = "Panic", place, "panicked: {said}");
    }));
}

/// Where metrics go.
pub struct Metrics {
    pipeline: String,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Metrics {
    /// Metrics of a pipeline, a line each.
    pub fn new(pipeline: impl Into<String>, out: Box<dyn Write + Send>) -> Metrics {
        Metrics { pipeline: pipeline.into(), out: Mutex::new(out) }
    }

    /// Publishes what was measured at `at`, of one stream or of the whole pipeline. What cannot be
    /// written is lost: metrics never stop a function.
    pub fn publish(&self, at: WallMs, stream: Option<&str>, measured: &[Measured]) {
        let line = format!("{}\n", emf::document(at, &self.pipeline, stream, measured));
        let mut out = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        if let Err(error) = written {
            tracing::warn!(%error, "metrics cannot be written");
        }
    }
}
