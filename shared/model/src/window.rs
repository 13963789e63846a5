//! Window assignment: which slices an event belongs to and which windows a slice belongs to.
//!
//! A *slice* is the longest stretch of event time whose events share all their windows, so an
//! event costs one update however many windows it falls in (paired slices: Krishnamurthy, Wu and
//! Franklin, "On-the-fly sharing for streamed aggregation", SIGMOD 2006).
//!
//! ```text
//! HOP, slide 4, size 10: cuts at k·4 and at k·4 + (10 mod 4)
//!
//!   0   2   4   6   8  10  12  14
//!   ├───┼───┼───┼───┼───┼───┼───┤     slices
//!   ├───────────────────┤             window [0, 10)
//!           ├───────────────────┤     window [4, 14)
//! ```
//!
//! # Invariants
//! 1. Every event lies in exactly one slice; a slice lies wholly inside or outside each window.
//! 2. Windows are [start, end), on a grid through `offset_ms` after the epoch; negative times work.
//! 3. Sizes are at least 1 ms. Arithmetic saturates at the ends of the time scale.
//!
//! Not here: sessions' merging (`flow::merge`), when a window closes (`flow::advance`).

use serde::{Deserialize, Serialize};

use crate::EventMs;
use crate::limits::WINDOWS_PER_EVENT_MAX;

/// A window, [start, end).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Exclusive end. First, so that windows sort in the order in which they close.
    pub end: EventMs,
    /// Inclusive start.
    pub start: EventMs,
}

/// A slice, [start, end).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slice {
    /// Inclusive start.
    pub start: EventMs,
    /// Exclusive end.
    pub end: EventMs,
}

/// Shape of a query's windows. Made by [`WindowShape::tumble`] and its siblings, so always valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WindowShape {
    /// Windows of `size_ms`, side by side.
    Tumble {
        /// Length.
        size_ms: i64,
        /// Shift of the grid, 0 ≤ offset < size.
        offset_ms: i64,
    },
    /// Windows of `size_ms`, one starting every `slide_ms`.
    Hop {
        /// Distance of two starts.
        slide_ms: i64,
        /// Length; larger, equal or smaller than the slide.
        size_ms: i64,
        /// Shift of the grid, 0 ≤ offset < slide.
        offset_ms: i64,
    },
    /// Windows that start together every `size_ms` and end `step_ms` apart.
    Cumulate {
        /// Distance of two ends; divides the size.
        step_ms: i64,
        /// Length of the longest.
        size_ms: i64,
        /// Shift of the grid, 0 ≤ offset < size.
        offset_ms: i64,
    },
    /// Per key: events at most `gap_ms` apart. [first, last + gap).
    Session {
        /// Longest silence inside a session. 0: each event brings its own gap, and reaches from its
        /// time to its time + gap; a session is events whose reaches touch, [first, furthest reach).
        gap_ms: i64,
    },
}

/// Why a window is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A size, slide, step or gap below 1 ms.
    #[error("a window's {what} must be at least 1 ms, not {ms} ms")]
    NotPositive {
        /// `size`, `slide`, `step` or `gap`.
        what: &'static str,
        /// What was given.
        ms: i64,
    },
    /// A CUMULATE whose step does not divide its size.
    #[error("the step, {step_ms} ms, does not divide the size, {size_ms} ms")]
    UnevenStep {
        /// The step.
        step_ms: i64,
        /// The size.
        size_ms: i64,
        /// The greatest step at or below the one given that does divide the size.
        suggested_ms: i64,
    },
    /// An event would fall in more windows than it may.
    #[error(
        "an event falls in {windows} windows of {size_ms} ms, one every {step_ms} ms; at most \
         {WINDOWS_PER_EVENT_MAX} can be"
    )]
    TooMany {
        /// Windows that one event falls in.
        windows: i64,
        /// The size.
        size_ms: i64,
        /// The slide or step.
        step_ms: i64,
        /// The least slide or step of this size that can be.
        least_ms: i64,
    },
}

impl WindowShape {
    /// TUMBLE(size, offset).
    pub fn tumble(size_ms: i64, offset_ms: i64) -> Result<WindowShape, WindowError> {
        positive("size", size_ms)?;
        Ok(WindowShape::Tumble { size_ms, offset_ms: offset_ms.rem_euclid(size_ms) })
    }

    /// HOP(slide, size, offset).
    pub fn hop(slide_ms: i64, size_ms: i64, offset_ms: i64) -> Result<WindowShape, WindowError> {
        positive("slide", slide_ms)?;
        positive("size", size_ms)?;
        few(size_ms, slide_ms)?;
        Ok(WindowShape::Hop { slide_ms, size_ms, offset_ms: offset_ms.rem_euclid(slide_ms) })
    }

    /// CUMULATE(step, size, offset).
    pub fn cumulate(
        step_ms: i64,
        size_ms: i64,
        offset_ms: i64,
    ) -> Result<WindowShape, WindowError> {
        positive("step", step_ms)?;
        positive("size", size_ms)?;
        if size_ms % step_ms != 0 {
            let fitting = |parts: &i64| size_ms % parts == 0;
            let fewest = size_ms / step_ms.min(size_ms) + 1;
            let parts = (fewest..=size_ms.min(fewest.saturating_add(1_000_000))).find(fitting);
            let suggested_ms = parts.map_or(1, |parts| size_ms / parts);
            return Err(WindowError::UnevenStep { step_ms, size_ms, suggested_ms });
        }
        few(size_ms, step_ms)?;
        Ok(WindowShape::Cumulate { step_ms, size_ms, offset_ms: offset_ms.rem_euclid(size_ms) })
    }

    /// SESSION(gap).
    pub fn session(gap_ms: i64) -> Result<WindowShape, WindowError> {
        positive("gap", gap_ms)?;
        Ok(WindowShape::Session { gap_ms })
    }

    /// SESSION with a gap of each event's own.
    pub fn session_of_own_gaps() -> WindowShape {
        WindowShape::Session { gap_ms: 0 }
    }

    /// The slice of an event; `None` when it falls in no window (a HOP with slide > size).
    ///
    /// A session's slice is the one event's session, [time, time + gap).
    pub fn slice_of(&self, time: EventMs) -> Option<Slice> {
        match *self {
            WindowShape::Tumble { size_ms, offset_ms } => Some(grid(time, size_ms, offset_ms)),
            WindowShape::Cumulate { step_ms, offset_ms, .. } => {
                Some(grid(time, step_ms, offset_ms % step_ms))
            }
            WindowShape::Hop { slide_ms, size_ms, offset_ms } => {
                let pane = grid(time, slide_ms, offset_ms);
                let cut = pane.start.plus(size_ms % slide_ms);
                if time < cut {
                    Some(Slice { start: pane.start, end: cut })
                } else if size_ms < slide_ms {
                    None
                } else {
                    Some(Slice { start: cut, end: pane.end })
                }
            }
            WindowShape::Session { gap_ms } => Some(Slice { start: time, end: time.plus(gap_ms) }),
        }
    }

    /// The windows that contain a slice, in the order in which they close. For a session, the
    /// slice itself.
    pub fn windows_of(&self, slice: Slice) -> Vec<Window> {
        self.each_window_of(slice).collect()
    }

    /// The same, one by one, from either end.
    pub fn each_window_of(&self, slice: Slice) -> impl DoubleEndedIterator<Item = Window> + use<> {
        // The window that closes last, by its start and length; how many close before it, and by how
        // much each of them starts earlier and is shorter.
        let (start, size_ms, older, earlier_ms, shorter_ms) = match *self {
            WindowShape::Tumble { .. } | WindowShape::Session { .. } => {
                (slice.start, slice.end.0.saturating_sub(slice.start.0), 0, 0, 0)
            }
            WindowShape::Hop { slide_ms, size_ms, offset_ms } => {
                let newest = grid(slice.start, slide_ms, offset_ms).start;
                let within = (slice.end.0.saturating_sub(1).saturating_sub(newest.0)).max(0);
                let older = (size_ms - 1 - within).div_euclid(slide_ms);
                (newest, size_ms, older, slide_ms, 0)
            }
            WindowShape::Cumulate { step_ms, size_ms, offset_ms } => {
                let whole = grid(slice.start, size_ms, offset_ms);
                let first = (slice.end.0.saturating_sub(whole.start.0)) / step_ms;
                (whole.start, size_ms, size_ms / step_ms - first, 0, step_ms)
            }
        };
        (0..=older).rev().map(move |back| {
            let start = start.minus(back.saturating_mul(earlier_ms));
            Window { start, end: start.plus(size_ms - back * shorter_ms) }
        })
    }

    /// The windows that contain an event, in the order in which they close.
    pub fn windows_at(&self, time: EventMs) -> Vec<Window> {
        self.slice_of(time).map_or_else(Vec::new, |slice| self.windows_of(slice))
    }

    /// Length of the longest window, milliseconds; `None`: a session has no longest.
    pub fn longest_ms(&self) -> Option<i64> {
        match *self {
            WindowShape::Tumble { size_ms, .. }
            | WindowShape::Hop { size_ms, .. }
            | WindowShape::Cumulate { size_ms, .. } => Some(size_ms),
            WindowShape::Session { .. } => None,
        }
    }

    /// End of the last window that contains a slice: when it closes, the slice's state can go.
    pub fn last_end(&self, slice: Slice) -> EventMs {
        match *self {
            WindowShape::Tumble { .. } | WindowShape::Session { .. } => slice.end,
            WindowShape::Hop { slide_ms, size_ms, offset_ms } => {
                grid(slice.start, slide_ms, offset_ms).start.plus(size_ms)
            }
            WindowShape::Cumulate { size_ms, offset_ms, .. } => {
                grid(slice.start, size_ms, offset_ms).end
            }
        }
    }

    /// End of the first window that contains a slice: when it closes, the slice's records begin to
    /// be late.
    pub fn first_end(&self, slice: Slice) -> EventMs {
        match *self {
            WindowShape::Hop { .. } => {
                self.each_window_of(slice).next().map_or(slice.end, |window| window.end)
            }
            _ => slice.end,
        }
    }
}

fn positive(what: &'static str, ms: i64) -> Result<(), WindowError> {
    if ms < 1 { Err(WindowError::NotPositive { what, ms }) } else { Ok(()) }
}

/// Refuses windows of which one event falls in too many.
fn few(size_ms: i64, step_ms: i64) -> Result<(), WindowError> {
    let parts = |whole: i64, part: i64| whole / part + i64::from(whole % part != 0);
    let windows = parts(size_ms, step_ms);
    if windows <= WINDOWS_PER_EVENT_MAX {
        return Ok(());
    }
    let least_ms = parts(size_ms, WINDOWS_PER_EVENT_MAX);
    Err(WindowError::TooMany { windows, size_ms, step_ms, least_ms })
}

/// The cell of the grid of `step_ms` through `offset_ms` that `time` lies in. In i128, because the
/// ends of the time scale lie inside a cell.
fn grid(time: EventMs, step_ms: i64, offset_ms: i64) -> Slice {
    let (time, step, offset) = (i128::from(time.0), i128::from(step_ms), i128::from(offset_ms));
    let start = (time - offset).div_euclid(step) * step + offset;
    let clamp = |ms: i128| EventMs(ms.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64);
    Slice { start: clamp(start), end: clamp(start + step) }
}

#[cfg(test)]
mod tests;
