//! Joins of two streams: the rows that the engine's batch answer has over the same events, whatever
//! the arrival, the cuts of batches, the shards, the ticks and the snapshots in between; and nothing is
//! kept in the end.

use properties::event::Event;
use properties::flow::{Flow, Outcome};
use properties::oracle::{self, Question};
use properties::pipeline::{QueryText, checked, text};
use properties::random::{Ticking, always_the_same, shards, way};
use properties::rows::{Cell, Rows, Tolerance, cells, types};
use properties::script::Script;
use properties::trial::random_cases;
use properties::windows::{Spelling, Windows};
use proptest::prelude::*;

/// A query and what it is to a batch.
struct Case {
    name: String,
    sql: String,
    oracle: String,
    windows: Windows,
    /// Whether the order of its results is told, too.
    is_ordered: bool,
}

const TUMBLE: Windows = Windows::Tumble { size: 20, offset: 0 };
const HOP: Windows = Windows::Hop { slide: 10, size: 30, offset: 5 };
const CUMULATE: Windows = Windows::Cumulate { step: 10, size: 40, offset: 0 };

fn case(name: impl Into<String>, sql: impl Into<String>) -> Case {
    let sql = sql.into();
    Case { name: name.into(), oracle: sql.clone(), sql, windows: TUMBLE, is_ordered: true }
}

impl Case {
    fn oracle(self, oracle: impl Into<String>) -> Case {
        Case { oracle: oracle.into(), ..self }
    }
}

/// Bounds in time of all signs, inclusive and exclusive, in several spellings.
const BOUNDS: [&str; 11] = [
    "b.ts BETWEEN a.ts - INTERVAL '7 milliseconds' AND a.ts + INTERVAL '3 milliseconds'",
    "b.ts > a.ts - INTERVAL '7 milliseconds' AND b.ts < a.ts + INTERVAL '3 milliseconds'",
    "b.ts >= a.ts AND b.ts <= a.ts + INTERVAL '9 milliseconds'",
    "a.ts <= b.ts AND b.ts < a.ts + INTERVAL '9 milliseconds'",
    "a.ts - b.ts <= INTERVAL '8 milliseconds' AND a.ts >= b.ts",
    "a.ts = b.ts",
    "b.ts >= a.ts + INTERVAL '5 milliseconds' AND a.ts + INTERVAL '11 milliseconds' > b.ts",
    "b.ts + INTERVAL '12 milliseconds' >= a.ts AND b.ts < a.ts - INTERVAL '4 milliseconds'",
    "a.ts BETWEEN b.ts AND b.ts + INTERVAL '6 milliseconds'",
    "b.ts BETWEEN a.ts - INTERVAL '1 second' AND a.ts + INTERVAL '1 second'",
    "b.ts BETWEEN a.ts + INTERVAL '3 milliseconds' AND a.ts - INTERVAL '3 milliseconds'",
];

const KINDS: [&str; 8] = [
    "JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "LEFT SEMI JOIN",
    "LEFT ANTI JOIN",
    "RIGHT SEMI JOIN",
    "RIGHT ANTI JOIN",
];

fn columns(kind: &str) -> &'static str {
    match kind {
        "LEFT SEMI JOIN" | "LEFT ANTI JOIN" => "a.id, a.ts, a.k",
        "RIGHT SEMI JOIN" | "RIGHT ANTI JOIN" => "b.id, b.ts, b.k",
        _ => "a.id AS a, b.id AS b, a.ts AS at, b.ts AS bt, a.s, b.dec",
    }
}

fn intervals() -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, kind) in KINDS.iter().enumerate() {
        for (number, bounds) in BOUNDS.iter().enumerate() {
            let on = match (at + number) % 4 {
                0 => "a.k = b.k",
                1 => "a.k = b.k AND a.g = b.g",
                2 => "a.k = b.k AND (a.i <= b.i OR a.b)",
                _ => "a.i + 1 = b.i AND a.id <> b.id",
            };
            let columns = columns(kind);
            cases.push(case(
                format!("interval_{at}_{number}"),
                format!("SELECT {columns} FROM events a {kind} others b ON {on} AND {bounds}"),
            ));
        }
    }
    cases
}

fn others() -> Vec<Case> {
    let near = "b.ts BETWEEN a.ts - INTERVAL '9 milliseconds' AND a.ts + INTERVAL '4 milliseconds'";
    vec![
        case("no_key", format!("SELECT a.id, b.id AS other FROM events a JOIN others b ON {near}")),
        case(
            "in_where",
            format!(
                "SELECT a.id, b.id AS other FROM events a, others b WHERE a.k = b.k AND a.i > 2 AND {near} AND b.s IS NOT NULL"
            ),
        ),
        case(
            "using",
            format!(
                "SELECT k, a.id, b.id AS other FROM events a JOIN others b USING (k) WHERE {near}"
            ),
        ),
        case(
            "not_distinct",
            format!(
                "SELECT a.id, b.id AS other FROM events a LEFT JOIN others b ON (a.k IS NOT DISTINCT FROM b.k) AND {near}"
            ),
        ),
        case(
            "self_join",
            format!(
                "SELECT a.id, b.id AS other FROM events a JOIN events b ON a.k = b.k AND a.id < b.id AND {near}"
            ),
        ),
        case(
            "exists",
            format!(
                "SELECT a.id FROM events a WHERE a.i > 1 AND EXISTS (SELECT 1 FROM others b WHERE b.k = a.k AND {near})"
            ),
        ),
        case(
            "not_exists",
            format!(
                "SELECT a.id FROM events a WHERE NOT EXISTS (SELECT 1 FROM others b WHERE b.k = a.k AND b.i > 2 AND {near})"
            ),
        ),
        case(
            "in",
            format!(
                "SELECT a.id FROM events a WHERE a.k IN (SELECT b.k FROM others b WHERE {near})"
            ),
        ),
        // The engine hands on rows without a match in the table last.
        Case {
            is_ordered: false,
            ..case(
                "filtered",
                format!(
                    "SELECT a.id, b.up, n.name FROM (SELECT * FROM events WHERE i > 1) a LEFT JOIN (SELECT ts, k, upper(s) AS up FROM others WHERE g <> 1) b ON a.k = b.k AND {near} LEFT JOIN names n ON n.k = a.k"
                ),
            )
        },
        case(
            "three",
            "SELECT a.id AS x, b.id AS y, c.id AS z FROM events a JOIN others b ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '9 milliseconds' AND a.ts JOIN events c ON c.k = b.k AND c.ts BETWEEN a.ts AND a.ts + INTERVAL '4 milliseconds' AND c.id <> a.id",
        ),
        case(
            "three_outer",
            "SELECT a.id AS x, b.id AS y, c.id AS z FROM events a LEFT JOIN others b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '9 milliseconds' LEFT JOIN events c ON c.k = a.k AND c.ts BETWEEN a.ts - INTERVAL '3 milliseconds' AND a.ts AND c.id <> a.id",
        ),
    ]
}

/// The latest version by its definition: of all candidates the last one.
fn as_of_oracle(left: &str, right: &str, kind: &str, on: &str) -> String {
    format!(
        "SELECT id, other, s, i FROM (SELECT a.id, b.id AS other, b.s, b.i, ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.ts DESC, b.__log DESC, b.__offset DESC) AS n FROM {left} a {kind} {right} b ON {on}) WHERE n = 1"
    )
}

fn as_of() -> Vec<Case> {
    let mut cases = Vec::new();
    for (left, right) in [("events", "others"), ("others", "events")] {
        for (ours, batch) in [("ASOF JOIN", "JOIN"), ("ASOF LEFT JOIN", "LEFT JOIN")] {
            for (condition, further) in [
                ("a.ts >= b.ts", ""),
                ("a.ts > b.ts", ""),
                ("b.ts <= a.ts - INTERVAL '5 milliseconds'", ""),
                ("a.ts >= b.ts", " AND b.ts >= a.ts - INTERVAL '6 milliseconds'"),
                ("a.ts > b.ts", " AND b.ts > a.ts - INTERVAL '6 milliseconds'"),
            ] {
                let on = if cases.len() % 3 == 0 { "a.k = b.k AND a.g = b.g" } else { "a.k = b.k" };
                let oracle = format!("{on} AND {condition}{further}");
                cases.push(
                    case(
                        format!("as_of_{}", cases.len()),
                        format!("SELECT a.id, b.id AS other, b.s, b.i FROM {left} a {ours} {right} b MATCH_CONDITION ({condition}) ON {on}{further}"),
                    )
                    .oracle(as_of_oracle(left, right, batch, &oracle)),
                );
            }
        }
    }
    cases.push(
        case(
            "system_time",
            "SELECT a.id, b.id AS other, b.s, b.i FROM others a LEFT JOIN events FOR SYSTEM_TIME AS OF a.ts AS b ON a.k = b.k",
        )
        .oracle(as_of_oracle("others", "events", "LEFT JOIN", "a.k = b.k AND a.ts >= b.ts")),
    );
    cases.push(
        case(
            "as_of_itself",
            "SELECT a.id, b.id AS other, b.s, b.i FROM events a ASOF LEFT JOIN events b MATCH_CONDITION (a.ts > b.ts) ON a.k = b.k",
        )
        .oracle(as_of_oracle("events", "events", "LEFT JOIN", "a.k = b.k AND a.ts > b.ts")),
    );
    cases
}

fn window_joins() -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, windows) in [TUMBLE, HOP, CUMULATE].into_iter().enumerate() {
        for (number, kind) in KINDS.iter().enumerate() {
            let columns = match *kind {
                "LEFT SEMI JOIN" | "LEFT ANTI JOIN" => "a.window_start, a.window_end, a.id",
                "RIGHT SEMI JOIN" | "RIGHT ANTI JOIN" => "b.window_start, b.window_end, b.id",
                _ => {
                    "COALESCE(a.window_start, b.window_start) AS window_start, COALESCE(a.window_end, b.window_end) AS window_end, a.id, b.id AS other"
                }
            };
            let sql = |left: &str, right: &str| {
                format!(
                    "SELECT {columns} FROM {left} a {kind} {right} b ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.k = b.k"
                )
            };
            let ours = |stream| windows.to_sql(stream, Spelling::Plain);
            let name = format!("window_{at}_{number}");
            let case = case(name, sql(&ours("events"), &ours("others")));
            let case = case.oracle(sql("w_events", "w_others"));
            cases.push(Case { windows, is_ordered: false, ..case });
        }
    }
    cases
}

fn flow(case: &Case) -> Flow {
    let query = QueryText { name: case.name.clone(), sql: case.sql.clone(), grace: 0 };
    let text = text(&[query]).replace("\ngrace", "\nkeep = \"forever\"\ngrace");
    let pipeline = checked(&text);
    let plan = tidemill_plan::plan(&pipeline)
        .unwrap_or_else(|errors| panic!("{}: {:?}", case.name, miette::Report::new(errors)));
    Flow::new((pipeline, plan))
}

fn in_order(outcome: &Outcome, case: &Case) -> Vec<Vec<Cell>> {
    let batches = outcome.of(&case.name).iter();
    batches.flat_map(|batch| (0..batch.num_rows()).map(|row| cells(batch, row))).collect()
}

fn check(case: &Case, script: &Script) -> Result<Outcome, String> {
    let outcome = flow(case).run(script);
    let question = Question { sql: &case.oracle, windows: case.windows, grace: 0, keys: None };
    let answer = oracle::ask(script, &question);
    let results = outcome.of(&case.name);
    if let Some(first) = results.first()
        && types(&first.schema()) != types(&answer.schema)
    {
        return Err(format!("{}: types {:?}, not {:?}", case.name, first.schema(), answer.schema));
    }
    Rows::of(results)
        .same(&Rows::of(&answer.batches), Tolerance::Exact)
        .map_err(|difference| format!("{}: {difference}", case.name))?;
    Ok(outcome)
}

/// Two ways of the same events: the batch's answer both times, in the same order.
fn try_case(case: &Case, shards: &[Vec<Event>], seed: u64) -> Result<(), String> {
    let first = check(case, &way(shards, seed, Ticking::OnTime))?;
    let second = check(case, &way(shards, seed + 1, Ticking::OnTime))?;
    if case.is_ordered && in_order(&first, case) != in_order(&second, case) {
        return Err(format!("{}: the order depends on the ticks", case.name));
    }
    Ok(())
}

fn try_all(cases: &[Case]) {
    let shards = always_the_same(40);
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let run = || try_case(case, &shards, number as u64 * 7);
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        wrong.extend(tried.unwrap_or_else(|_| Err(format!("{}: panicked", case.name))).err());
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn interval_joins_of_every_kind_are_the_batch_answer() {
    try_all(&intervals());
}

#[test]
fn joins_in_other_words_are_the_batch_answer() {
    try_all(&others());
}

#[test]
fn as_of_joins_get_the_latest_version() {
    try_all(&as_of());
}

#[test]
fn window_joins_of_every_kind_are_the_batch_answer() {
    try_all(&window_joins());
}

proptest! {
    #![proptest_config(random_cases(24))]

    #[test]
    fn any_join_over_any_events_is_the_batch_answer(
        shards in shards(30),
        pick in any::<prop::sample::Index>(),
        seed in any::<u32>(),
    ) {
        let mut cases = intervals();
        cases.extend(others());
        cases.extend(as_of());
        cases.extend(window_joins());
        let case = &cases[pick.index(cases.len())];
        prop_assert_eq!(try_case(case, &shards, u64::from(seed)), Ok(()));
    }
}
