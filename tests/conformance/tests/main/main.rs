//! Conformance: one contract for all stores, durability of the one on disk, golden bytes of the
//! formats.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod contract;
mod golden;
mod killed;
