//! Whatever a stranger can send: one function per entry point that reads bytes, which asserts what
//! must hold for any input.
//!
//! ```text
//! seeds ─ mutate ─▶ target ─▶ accepted | rejected          `make test`, fixed numbers
//! libFuzzer ──────▶ target                                 `make fuzz`, guided by coverage
//! ```
//!
//! A target is a plain function of bytes. It answers whether the bytes were taken or refused, so
//! that a test can tell a run that gets deep from one that stops at the first byte, and panics when
//! something that was promised does not hold. Where random bytes would stop at a checksum, at base64
//! or at a schema, the target makes these right, and spends the input on what is behind them.
//!
//! Not here: what the entry points mean (their own tests), whole pipelines (`simulation`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a crate of tests: whatever is not as expected is a failed test"
)]

mod batch;
mod corpus;
mod decode;
mod events;
mod kafka;
mod kinesis;
mod kpl;
mod mutate;
mod pipeline;
pub mod run;
mod sql;
mod stored;
mod text;

pub use batch::{record_batch, snapshot};
pub use decode::{decode_csv, decode_json};
pub use events::schedule_event;
pub use kafka::kafka_event;
pub use kinesis::kinesis_event;
pub use kpl::kpl;
pub use pipeline::pipeline_file;
pub use sql::sql;
pub use stored::{checkpoint, emitted, item, log_entry, segment};

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The entry point refused it, with an error.
    Rejected,
    /// The entry point took it, at least in part.
    Accepted,
}

impl Reached {
    fn accepted_if(accepted: bool) -> Reached {
        if accepted { Reached::Accepted } else { Reached::Rejected }
    }
}

/// An entry point that reads bytes of strangers.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of its seeds' folder, of its dictionary, of its program for `make fuzz`.
    pub name: &'static str,
    /// What is done with an input.
    pub run: fn(&[u8]) -> Reached,
    /// Inputs that `make test` tries.
    pub inputs: usize,
    /// Share of them that the entry point must accept, percent: less, and the run tests nothing.
    pub accepted_percent_min: usize,
}

/// All of them.
pub const TARGETS: [Target; 15] = [
    target("decode_json", decode_json, 2000, 50),
    target("decode_csv", decode_csv, 2000, 50),
    target("kpl", kpl, 4000, 10),
    target("kinesis_event", kinesis_event, 1000, 6),
    target("kafka_event", kafka_event, 1000, 7),
    target("schedule_event", schedule_event, 4000, 6),
    target("pipeline_file", pipeline_file, 300, 2),
    target("sql", sql, 150, 4),
    target("segment", segment, 4000, 9),
    target("checkpoint", checkpoint, 4000, 8),
    target("log_entry", log_entry, 4000, 8),
    target("emitted", emitted, 4000, 10),
    target("snapshot", snapshot, 1000, 20),
    target("record_batch", record_batch, 1000, 30),
    target("item", item, 4000, 6),
];

const fn target(
    name: &'static str,
    run: fn(&[u8]) -> Reached,
    inputs: usize,
    accepted_percent_min: usize,
) -> Target {
    Target { name, run, inputs, accepted_percent_min }
}
