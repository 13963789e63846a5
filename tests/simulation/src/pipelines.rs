//! The pipelines that are simulated: some whose queries are written down with their meaning, for a
//! checker that folds them itself, and random ones, for the engine's batch SQL.
//!
//! A pipeline is planned when it is first needed, once per test run.

mod known;
mod pool;
mod random;
mod rows;

use std::path::Path;
use std::sync::OnceLock;

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
/// Random pipelines of the first seeds, which every test run plays: planning them all takes time.
const FEW: u64 = 24;
/// Seeds that share those. Their histories are shorter, too.
pub(crate) const FIRST_SEEDS: u64 = 1000;
/// Random pipelines of all other seeds.
const MANY: u64 = 1200;

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

type Cell = OnceLock<Result<Planned, Violation>>;

/// The pipeline of a seed: `draws` are the seed's own.
pub(crate) fn of(seed: u64, draws: &mut Rng) -> Result<&'static Planned, Violation> {
    static KNOWN: OnceLock<Vec<Cell>> = OnceLock::new();
    static RANDOM: OnceLock<Vec<Cell>> = OnceLock::new();
    let cells = |count: usize| (0..count).map(|_| Cell::new()).collect();
    let known = known::pipelines();
    let (is_random, pick) = (draws.chance(55), draws.bits());
    let planned = if is_random {
        let number = pick % if seed < FIRST_SEEDS { FEW } else { MANY };
        let cell = &RANDOM.get_or_init(|| cells(MANY as usize))[number as usize];
        cell.get_or_init(|| Planned::new(Vec::new(), random::queries(number)))
    } else {
        let number = (pick % known.len() as u64) as usize;
        let cell = &KNOWN.get_or_init(|| cells(known.len()))[number];
        cell.get_or_init(|| Planned::new(known[number].clone(), Vec::new()))
    };
    planned.as_ref().map_err(Violation::clone)
}
