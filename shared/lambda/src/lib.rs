//! What the functions share: environment and events in, the six verbs in between, answers, log
//! lines and metrics out.
//!
//! ```text
//! environment ─ setup ─ wiring ─▶ handler (ingest) │ advance
//!                                    ▲                  ▲
//! Lambda ── function ── event ───────┴──────────────────┘
//! ```
//!
//! Handlers are plain values over ports: tests give them a store in memory. Only `wiring` and
//! `function` know AWS.
//!
//! Not here: the protocol (`flow`), SDK clients (`aws`).

pub mod advance;
pub mod clock;
pub mod environment;
pub mod event;
pub mod failure;
pub mod function;
pub mod handler;
pub mod ingest;
pub mod logs;
pub mod setup;
pub mod telemetry;
#[cfg(test)]
mod test_world;
pub mod wiring;
