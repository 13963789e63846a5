//! Virtual time: the wall clock and an offset, which the functions read from a file
//! (`TIDEMILL_CLOCK_OFFSET_FILE`).
//!
//! # Invariants
//! 1. A reader of the file sees an old offset or a new one, never half of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// A clock that tests move on.
pub struct VirtualClock {
    file: PathBuf,
    offset_ms: AtomicI64,
}

impl VirtualClock {
    /// A clock that shows the wall clock's time and keeps its offset in `file`.
    pub fn new(file: PathBuf) -> VirtualClock {
        let clock = VirtualClock { file, offset_ms: AtomicI64::new(0) };
        clock.write();
        clock
    }

    /// The file that holds the offset, milliseconds.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Now, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        wall_ms() + self.offset_ms.load(Ordering::SeqCst)
    }

    /// Moves time on.
    pub fn move_on(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("a test moves time by less than ages");
        self.offset_ms.fetch_add(by, Ordering::SeqCst);
        self.write();
    }

    /// Makes the clock go wrong by so many milliseconds, forwards or backwards.
    pub fn skew(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.write();
    }

    fn write(&self) {
        let next = self.file.with_extension("next");
        fs::write(&next, self.offset_ms.load(Ordering::SeqCst).to_string())
            .and_then(|()| fs::rename(&next, &self.file))
            .expect("the test's folder can be written");
    }
}

/// The real wall clock, milliseconds since 1970.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.expect("it is after 1970").as_millis()).expect("milliseconds fit")
}
