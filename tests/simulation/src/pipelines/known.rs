//! Queries whose meaning is written down, so that a checker can fold them by itself.
//!
//! Every query gives the columns `k`, `window_start`, `window_end`, `n` (records) and `total` (sum
//! of their `i`), so that one checker reads them all.

use super::QueryText;

/// How a query groups time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Windows {
    Tumble { size: i64 },
    Hop { slide: i64, size: i64 },
    Cumulate { step: i64, size: i64 },
    Session { gap: i64 },
}

/// What a query means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meaning {
    pub(crate) name: &'static str,
    pub(crate) stream: &'static str,
    pub(crate) windows: Windows,
    pub(crate) grace: i64,
    /// Whether late rows become dead letters; else they are only counted.
    pub(crate) letters: bool,
    /// Whether values below zero, and null, are left out.
    pub(crate) from_zero: bool,
    /// How many keys of a window are kept: those with the most records.
    pub(crate) top: Option<usize>,
}

const fn counts(name: &'static str, windows: Windows) -> Meaning {
    let (grace, stream) = (0, "events");
    Meaning { name, stream, windows, grace, letters: true, from_zero: false, top: None }
}

/// The queries of every such pipeline.
pub(super) fn pipelines() -> Vec<Vec<Meaning>> {
    use Windows::{Cumulate, Hop, Session, Tumble};
    let tumbling = counts("tumbling", Tumble { size: 10_000 });
    let hopping = counts("hopping", Hop { slide: 4000, size: 10_000 });
    let sessions = counts("sessions", Session { gap: 7000 });
    let growing = counts("growing", Cumulate { step: 5000, size: 20_000 });
    let top = Meaning { top: Some(2), ..counts("top", Tumble { size: 15_000 }) };
    vec![
        vec![tumbling],
        vec![Meaning { grace: 3000, from_zero: true, ..hopping }],
        vec![Meaning { grace: 2000, ..sessions }],
        vec![Meaning { letters: false, ..top }],
        vec![sessions, Meaning { letters: false, from_zero: true, ..tumbling }],
        vec![growing, Meaning { grace: 5000, ..top }],
        vec![Meaning { letters: false, ..sessions }, Meaning { stream: "others", ..hopping }],
    ]
}

impl Meaning {
    /// What the pipeline file says.
    pub(super) fn text(&self) -> QueryText {
        let Meaning { name, stream, grace, letters, .. } = *self;
        QueryText {
            name: name.to_string(),
            stream,
            sql: self.sql(),
            grace,
            letters,
            more: String::new(),
        }
    }

    fn sql(&self) -> String {
        let time = |ms: i64| format!("INTERVAL '{}' SECOND", ms / 1000);
        let stream = self.stream;
        let windows = match self.windows {
            Windows::Tumble { size } => format!("TUMBLE({stream}, ts, {})", time(size)),
            Windows::Hop { slide, size } => {
                format!("HOP({stream}, ts, {}, {})", time(slide), time(size))
            }
            Windows::Cumulate { step, size } => {
                format!("CUMULATE({stream}, ts, {}, {})", time(step), time(size))
            }
            Windows::Session { gap } => format!("SESSION({stream}, ts, {})", time(gap)),
        };
        let filter = if self.from_zero { "WHERE i >= 0 " } else { "" };
        let top = self.top.map_or(String::new(), |count| {
            format!(
                " QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end \
                 ORDER BY n DESC, k NULLS LAST) <= {count}"
            )
        });
        format!(
            "SELECT k, window_start, window_end, COUNT(*) AS n, COALESCE(SUM(i), 0) AS total \
             FROM {windows} {filter}GROUP BY k, window_start, window_end{top}"
        )
    }
}
