//! Properties of queries: what a stream answers is what a batch answers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failing;
mod joins;
mod late;
mod over;
mod queries;
mod refusals;
mod revisions;
mod schedules;
mod snapshots;
mod stages;
mod stored;
