//! The pipelines that are simulated: some whose queries are written down with their meaning, for a
//! checker that folds them itself, and random ones, for the engine's batch SQL.
//!
//! A pipeline is planned when it is first needed, and kept while the seeds that share it are played.

mod known;
mod pool;
mod random;
mod rows;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use properties::event::COLUMNS;
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;
use tidemill_testkit::Rng;

use crate::history::Violation;

pub(crate) use known::{Meaning, Windows};
pub(crate) use pool::PooledCombiner;
pub(crate) use random::RandomQuery;

/// What an event that is further ahead of its arrival becomes: a dead letter. Milliseconds.
pub(crate) const MAX_FUTURE_MS: i64 = 600_000;
/// How long segments live, milliseconds: the shortest time allowed.
pub(crate) const TTL_MS: i64 = 24 * 3_600_000;

/// The streams that a pipeline may read.
const STREAMS: [&str; 2] = ["events", "others"];
/// Neighbouring seeds that share random pipelines: planning one takes longer than a history, and a
/// planned one takes megabytes.
const SHARING_SEEDS: u64 = 1000;
/// Random pipelines that they share.
const SHARED: u64 = 24;

/// A pipeline, ready.
pub(crate) struct Planned {
    pub(crate) pipeline: Pipeline,
    plan: PipelinePlan,
    /// Queries of known meaning.
    pub(crate) known: Vec<Meaning>,
    /// Random queries. A pipeline has queries of one sort.
    pub(crate) random: Vec<RandomQuery>,
    pool: pool::Pool,
}

/// What a pipeline file says of a query.
struct QueryText {
    name: String,
    stream: &'static str,
    sql: String,
    grace: i64,
    letters: bool,
    /// Settings beside these, lines of the file; may say what becomes of late rows.
    more: String,
}

impl Planned {
    /// Plans a pipeline of these queries.
    fn new(known: Vec<Meaning>, random: Vec<RandomQuery>) -> Result<Planned, Violation> {
        let texts = known.iter().map(Meaning::text).chain(random.iter().map(RandomQuery::text));
        let text = text(&texts.collect::<Vec<_>>());
        let wrong = |error: &dyn std::fmt::Debug| {
            Violation::Broken(format!("no pipeline: {error:?} of {text}"))
        };
        let pipeline = tidemill_pipeline::parse("simulated.toml", &text, Path::new("."), &|_| None)
            .map_err(|errors| wrong(&errors))?;
        let plan = tidemill_plan::plan(&pipeline).map_err(|errors| wrong(&errors))?;
        Ok(Planned { pipeline, plan, known, random, pool: pool::Pool::default() })
    }

    /// Names and SQL of the queries.
    pub(crate) fn queries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pipeline.queries.values().map(|query| (query.name.as_str(), query.sql.as_str()))
    }
}

fn text(queries: &[QueryText]) -> String {
    let mut text = format!("name = 'p'\n[state]\nsegment_ttl = '{}h'\n", TTL_MS / 3_600_000);
    for stream in STREAMS.into_iter().filter(|it| queries.iter().any(|q| q.stream == *it)) {
        text += &format!(
            "[streams.{stream}]\nformat = 'json'\nevent_time = 'ts'\ncolumns = {COLUMNS}\n\
             max_future = '{}s'\n",
            MAX_FUTURE_MS / 1000
        );
    }
    for QueryText { name, sql, grace, letters, more, .. } in queries {
        let late = match (more.contains("late ="), letters) {
            (true, _) => "",
            (false, true) => "late = 'dead_letter'\n",
            (false, false) => "late = 'drop'\n",
        };
        text +=
            &format!("[queries.{name}]\nsql = '''\n{sql}'''\ngrace = '{grace}ms'\n{late}{more}");
    }
    text
}

type Cell = Arc<OnceLock<Result<Arc<Planned>, Violation>>>;

/// The random pipelines of the seeds that are played now, and of those just before them.
static RANDOM: Mutex<BTreeMap<u64, Cell>> = Mutex::new(BTreeMap::new());

/// The pipeline of a seed: `draws` are the seed's own.
pub(crate) fn of(seed: u64, draws: &mut Rng) -> Result<Arc<Planned>, Violation> {
    static KNOWN: OnceLock<Vec<Cell>> = OnceLock::new();
    let known = known::pipelines();
    let (is_random, pick) = (draws.chance(55), draws.bits());
    if is_random {
        let first = seed / SHARING_SEEDS * SHARED;
        let number = first + pick % SHARED;
        random_cell(number, first)
            .get_or_init(|| Planned::new(Vec::new(), random::queries(number)).map(Arc::new))
            .clone()
    } else {
        let number = (pick % known.len() as u64) as usize;
        let cells = KNOWN.get_or_init(|| known.iter().map(|_| Cell::default()).collect());
        cells[number]
            .get_or_init(|| Planned::new(known[number].clone(), Vec::new()).map(Arc::new))
            .clone()
    }
}

/// The place of a random pipeline. Forgets those that are so far behind `first`, the first one of
/// the seeds that are played now, that all histories of them are over.
fn random_cell(number: u64, first: u64) -> Cell {
    let mut cells = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = cells.split_off(&first.saturating_sub(SHARED));
    *cells = kept;
    Arc::clone(cells.entry(number).or_default())
}
