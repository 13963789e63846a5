//! The pipelines that are simulated, and what each of their queries means.
//!
//! Every query gives the columns `k`, `window_start`, `window_end`, `n` (records) and `total` (sum
//! of their values), so that one checker reads them all.

use std::path::Path;
use std::sync::OnceLock;

use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;

use crate::history::Violation;

/// What an event that is further ahead of its arrival becomes: a dead letter. Milliseconds.
pub(crate) const MAX_FUTURE_MS: i64 = 600_000;
/// How long segments live, milliseconds: the shortest time allowed.
pub(crate) const TTL_MS: i64 = 24 * 3_600_000;

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
    /// Whether values below zero are left out.
    pub(crate) from_zero: bool,
    /// How many keys of a window are kept: those with the most records.
    pub(crate) top: Option<usize>,
}

/// A pipeline, ready.
pub(crate) struct Planned {
    pub(crate) pipeline: Pipeline,
    pub(crate) plan: PipelinePlan,
    pub(crate) queries: Vec<Meaning>,
}

const fn counts(name: &'static str, windows: Windows) -> Meaning {
    let (grace, stream) = (0, "s");
    Meaning { name, stream, windows, grace, letters: true, from_zero: false, top: None }
}

/// The queries of every pipeline.
fn meanings() -> Vec<Vec<Meaning>> {
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
        vec![Meaning { letters: false, ..sessions }, Meaning { stream: "t", ..hopping }],
    ]
}

impl Meaning {
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
        let filter = if self.from_zero { "WHERE v >= 0" } else { "" };
        let top = self.top.map_or(String::new(), |count| {
            format!(
                "QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end \
                 ORDER BY n DESC, k NULLS LAST) <= {count}"
            )
        });
        format!(
            "SELECT k, window_start, window_end, COUNT(*) AS n, SUM(v) AS total FROM {windows} \
             {filter} GROUP BY k, window_start, window_end {top}"
        )
    }
}

fn text(queries: &[Meaning]) -> String {
    let mut text = format!("name = 'p'\n[state]\nsegment_ttl = '{}h'\n", TTL_MS / 3_600_000);
    for stream in ["s", "t"].into_iter().filter(|it| queries.iter().any(|q| q.stream == *it)) {
        text += &format!(
            "[streams.{stream}]\nformat = 'json'\nevent_time = 'ts'\n\
             columns = {{ k = 'string', v = 'bigint', ts = 'timestamp_ms' }}\n\
             max_future = '{}s'\n",
            MAX_FUTURE_MS / 1000
        );
    }
    for query in queries {
        let late = if query.letters { "dead_letter" } else { "drop" };
        text += &format!(
            "[queries.{}]\nsql = \"{}\"\ngrace = '{}s'\nlate = '{late}'\n",
            query.name,
            query.sql(),
            query.grace / 1000
        );
    }
    text
}

fn planned(queries: Vec<Meaning>) -> Result<Planned, Violation> {
    let wrong = |error: &dyn std::fmt::Debug| Violation::Broken(format!("no pipeline: {error:?}"));
    let text = text(&queries);
    let pipeline = tidemill_pipeline::parse("simulated.toml", &text, Path::new("."), &|_| None)
        .map_err(|errors| wrong(&errors))?;
    let plan = tidemill_plan::plan(&pipeline).map_err(|errors| wrong(&errors))?;
    Ok(Planned { pipeline, plan, queries })
}

/// Every pipeline, planned once per test run.
pub(crate) fn all() -> Result<&'static [Planned], Violation> {
    static ALL: OnceLock<Result<Vec<Planned>, Violation>> = OnceLock::new();
    let all = ALL.get_or_init(|| meanings().into_iter().map(planned).collect());
    all.as_deref().map_err(Violation::clone)
}
