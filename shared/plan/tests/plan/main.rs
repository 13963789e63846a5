//! Whole pipelines, planned through the public interface.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docs;
mod fingerprints;
mod over;
