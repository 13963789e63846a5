//! Every query equals the same SQL run by the engine as a batch, over the rows that were not late.
//!
//! ```text
//!            ┌─ decode ─ combine ─ segments ─ merge ─ close ─▶ results ┐
//! script ────┤                                                         ├─ the same rows
//!            └─ windows by their definition ─ batch SQL ──▶ results ───┘
//! ```
//!
//! A [`script`] says which records came in which batches and when ticks ran, with which watermark.
//! [`flow`] runs it through the verbs, [`oracle`] through the engine as one batch: it shares no
//! code with the verbs, and finds windows by their definition ([`windows`]), not by slices.
//! [`cases`] is the list of queries.
//!
//! Not here: faults of the store (`simulation`), peers' vectors (`vectors`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a crate of tests: whatever is not as expected is a failed test"
)]

pub mod cases;
pub mod event;
pub mod failing;
pub mod flow;
pub mod oracle;
pub mod over;
pub mod pipeline;
pub mod random;
pub mod rows;
pub mod script;
pub mod stages;
pub mod stored;
mod strict_average;
pub mod trial;
pub mod windows;
