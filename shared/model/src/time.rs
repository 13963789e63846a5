//! Three kinds of number that must not be swapped: event time, wall clock, epoch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Event time: milliseconds since the Unix epoch, UTC, may be negative. Never the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventMs(pub i64);

/// Wall clock of the process that says so: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WallMs(pub i64);

/// Number of a checkpoint in its chain. Dense: 0, 1, 2, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl EventMs {
    /// Before every event.
    pub const MIN: EventMs = EventMs(i64::MIN);
    /// After every event.
    pub const MAX: EventMs = EventMs(i64::MAX);

    /// This time and `ms` milliseconds, stopping at the ends of the scale.
    pub fn plus(self, ms: i64) -> EventMs {
        EventMs(self.0.saturating_add(ms))
    }

    /// This time less `ms` milliseconds, stopping at the ends of the scale.
    pub fn minus(self, ms: i64) -> EventMs {
        EventMs(self.0.saturating_sub(ms))
    }

    /// The same, but the end of the scale, which stands for the end of all input, stays.
    pub fn minus_unless_max(self, ms: i64) -> EventMs {
        if self == EventMs::MAX { self } else { self.minus(ms) }
    }
}

impl WallMs {
    /// This time and `ms` milliseconds, stopping at the ends of the scale.
    pub fn plus(self, ms: i64) -> WallMs {
        WallMs(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; negative when clocks disagree.
    pub fn since(self, earlier: WallMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Epoch {
    /// The first checkpoint of a pipeline.
    pub const FIRST: Epoch = Epoch(0);

    /// The epoch after this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }

    /// 20 digits, so that text order is epoch order: a checkpoint's sort key.
    pub fn to_key(self) -> String {
        format!("{:020}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
