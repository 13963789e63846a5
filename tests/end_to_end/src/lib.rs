//! Everything that an end-to-end test needs and AWS would be: function binaries as processes behind
//! the Lambda Runtime API, servers, and a driver that behaves as event source mappings do.
//!
//! ```text
//! Kinesis or Kafka ─▶ mapping ─▶ function (kinesis | kafka) ──┐
//!                                                             ├─▶ proxy ─▶ DynamoDB Local
//! schedule ─────────────────────▶ function (advance) ─────────┘
//! ```
//!
//! # Invariants
//! 1. Tests look at the functions from outside only: what they put into a source, what they find
//!    in tables. Nothing here calls Tidemill's own code for that.
//! 2. Everything listens on free ports and is gone when its owner is dropped.
//! 3. What is random is drawn from a seed. (When processes run is up to the machine.)
//!
//! Not here: the tests (`tests/end_to_end`).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "processes and servers run by the real clock")]

pub mod ads;
pub mod api;
pub mod binaries;
pub mod chaos;
pub mod clock;
pub mod function;
pub mod http;
pub mod kinesis;
pub mod kinesis_server;
pub mod kpl;
pub mod logs;
pub mod machine;
pub mod mapping;
pub mod payments;
pub mod proxy;
mod runtime_api;
pub mod schedule;
pub mod tables;
pub mod topic;
pub mod world;
