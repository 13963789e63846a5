//! The one clock of a world, and how far each process is off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidemill_model::WallMs;

/// Virtual time. Clones show the same time.
#[derive(Debug, Clone)]
pub(crate) struct VirtualClock {
    now: Arc<AtomicI64>,
}

impl VirtualClock {
    pub(crate) fn new(at: WallMs) -> VirtualClock {
        VirtualClock { now: Arc::new(AtomicI64::new(at.0)) }
    }

    pub(crate) fn now(&self) -> WallMs {
        WallMs(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    /// The clock of a process whose own is `skew_ms` ahead.
    pub(crate) fn skewed(&self, skew_ms: i64) -> impl Fn() -> WallMs + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.now().plus(skew_ms)
    }
}
