//! The six verbs: decode, combine, append, merge, advance, emit.
//!
//! ```text
//! records ─ decode ─ combine ─ append ─┐     ingest: once per batch of one shard
//!                                      ▼
//!                           one log per source shard
//!                                      │
//! results ─ emit ◀─ advance ◀─ merge ──┘     advance: once per tick
//! ```
//!
//! decode, combine, merge and the decisions of advance are pure; [`ports`] names what the rest
//! needs of the world.

pub mod advance;
mod aggregate;
pub mod append;
mod blame;
pub mod combine;
pub mod decode;
pub mod emit;
pub mod keys;
pub mod merge;
pub mod ports;
pub mod time;
