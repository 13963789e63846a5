//! How each engine's semantics are said in ours. Every conversion is exact for whole milliseconds;
//! the README's table gives the reasons.
//!
//! Not here: semantics that ours cannot say; vectors of those are listed in `lists`.

use vectors::{Event, Vector};

/// One engine's habits, for one vector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// Where the watermark comes from.
    pub(crate) clock: Clock,
    /// Our watermark less the one that a vector gives.
    pub(crate) shift_ms: i64,
    /// Whether the end of input closes every window.
    pub(crate) closes_at_end: bool,
    /// Our session's gap less the engine's: −1 where an event exactly a gap later does not join.
    pub(crate) gap_shift_ms: i64,
    /// Our session's end less the engine's.
    pub(crate) session_end_shift_ms: i64,
    /// Whether the engine has no windows that start below 0.
    pub(crate) no_negative_windows: bool,
    /// Whether each key has a clock of its own.
    pub(crate) clock_per_key: bool,
    /// What one entry of `late` stands for.
    pub(crate) late: LateEntry,
    /// What an engine's firing of a window stands for.
    pub(crate) firing: Firing,
}

/// Where the watermark comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The largest event time so far, less `wait_ms`.
    Records,
    /// The vector's own watermark entries.
    Given,
    /// Nothing closes before the end of input.
    End,
}

/// What one entry of `late` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LateEntry {
    /// A record that no window took.
    Record,
    /// A record that one window did not take.
    RecordAndWindow,
    /// The same, and the window is named.
    NamedWindow,
}

/// What an engine's firing of a window stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firing {
    /// The window's final result.
    Final,
    /// Its result so far, until `lateness_ms` have passed: the last one is final, and replaces
    /// those of sessions that it swallowed.
    SoFar,
    /// What came since the previous firing: their sum is final.
    Since,
}

/// The habits of a vector's engine.
pub(crate) fn of(vector: &Vector) -> Dialect {
    let window = &vector.window;
    let session = window.kind == "session";
    let gap_ms = window.gap_ms.unwrap_or(0);
    let given = vector.events.iter().any(|event| matches!(event, Event::Watermark(_)));
    let common = Dialect {
        clock: if given { Clock::Given } else { Clock::Records },
        shift_ms: 0,
        closes_at_end: true,
        gap_shift_ms: 0,
        session_end_shift_ms: 0,
        no_negative_windows: false,
        clock_per_key: false,
        late: LateEntry::Record,
        firing: Firing::Final,
    };
    match vector.engine.as_str() {
        "arroyo" | "flink-sql" => common,
        "beam" => Dialect {
            clock: if given { Clock::Given } else { Clock::End },
            gap_shift_ms: -1,
            session_end_shift_ms: -1,
            ..common
        },
        "bytewax" => Dialect {
            clock: if window.wait_ms.is_some() { Clock::Records } else { Clock::End },
            session_end_shift_ms: gap_ms,
            clock_per_key: true,
            late: LateEntry::RecordAndWindow,
            ..common
        },
        "flink" => Dialect {
            // A window fires at end − 1; so does a session, where ours closes past its end.
            shift_ms: if session { 2 } else { 1 },
            // The wall clock closes windows of arrival; those vectors end behind all of them.
            closes_at_end: window.time.is_some(),
            firing: match (window.purging, window.lateness_ms) {
                (true, _) => Firing::Since,
                (false, Some(1..)) => Firing::SoFar,
                (false, _) => Firing::Final,
            },
            ..common
        },
        "kafka-streams" => Dialect {
            closes_at_end: false,
            session_end_shift_ms: gap_ms,
            no_negative_windows: true,
            late: if session { LateEntry::Record } else { LateEntry::NamedWindow },
            ..common
        },
        "quix-streams" => Dialect {
            closes_at_end: false,
            no_negative_windows: true,
            clock_per_key: window.closing.as_deref() == Some("key"),
            late: LateEntry::NamedWindow,
            ..common
        },
        other => panic!("no dialect for engine {other}"),
    }
}
