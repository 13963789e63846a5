//! What a store has asked of DynamoDB, and what that costs.
//!
//! Counted only when somebody asks for it: each answer is longer by the units then.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::failure::Operation;

/// Requests and units of a store so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Consumed {
    /// Requests, every attempt counted.
    pub requests: u64,
    /// Write units of the writes that DynamoDB answered with success: one per KiB begun.
    pub write_units: f64,
    /// Read units: one per 4 KiB begun, of a page.
    pub read_units: f64,
}

/// Counts for all handles of one store.
#[derive(Debug, Default)]
pub(super) struct Counter {
    requests: AtomicU64,
    // Units are multiples of a half.
    write_half_units: AtomicU64,
    read_half_units: AtomicU64,
}

impl Counter {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn units(&self, operation: Operation, units: f64) {
        let halves = match operation {
            Operation::Put | Operation::Update => &self.write_half_units,
            Operation::Query | Operation::Describe => &self.read_half_units,
        };
        halves.fetch_add((units * 2.0).round() as u64, Relaxed);
    }

    pub(super) fn read(&self) -> Consumed {
        let units = |halves: &AtomicU64| halves.load(Relaxed) as f64 / 2.0;
        Consumed {
            requests: self.requests.load(Relaxed),
            write_units: units(&self.write_half_units),
            read_units: units(&self.read_half_units),
        }
    }
}
