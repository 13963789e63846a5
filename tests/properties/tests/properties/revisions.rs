//! Results that change: whatever the schedule, who applies all of them in order holds what a batch
//! over the rows that were not later than is allowed gives.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use properties::cases::{self, Case};
use properties::flow::{Flow, Outcome};
use properties::oracle;
use properties::pipeline::{checked, text};
use properties::random::{Ticking, shards, way, windows};
use properties::rows::{Cell, Rows, cells};
use properties::trial::random_cases;
use properties::windows::{Spelling, Windows};
use proptest::collection::vec;
use proptest::prelude::*;
use tidemill_plan::{PipelinePlan, PlanErrors, QueryPlan, plan};

/// Columns that results have at their end when they can change.
const OWN: usize = 3;

/// How results change, as settings of a query.
fn modes() -> impl Strategy<Value = (&'static str, bool)> {
    prop_oneof![
        Just(("emit = 'updates'\n", false)),
        Just(("emit_when = '1 < 2'\n", false)),
        Just(("", true)),
        Just(("emit = 'updates'\n", true)),
        Just(("emit_when = '1 < 2'\n", true)),
    ]
}

fn pipeline_text(cases: &[Case], windows: Windows, grace: i64, settings: &str) -> String {
    let queries: Vec<_> =
        cases.iter().map(|case| case.query(windows, Spelling::Plain, grace)).collect();
    text(&queries).replace("sql = ", &format!("{settings}sql = "))
}

fn planned(text: &str) -> Result<(tidemill_pipeline::Pipeline, PipelinePlan), PlanErrors> {
    let pipeline = checked(text);
    let plan = plan(&pipeline)?;
    Ok((pipeline, plan))
}

/// The cases whose results can change, by kind of window: enough that the property says something.
fn fitting(windows: Windows) -> &'static [Case] {
    static KINDS: [OnceLock<Vec<Case>>; 4] = [const { OnceLock::new() }; 4];
    let (kind, sample, least) = match windows {
        Windows::Tumble { .. } => (0, Windows::Tumble { size: 10, offset: 0 }, 20),
        Windows::Hop { .. } => (1, Windows::Hop { slide: 4, size: 10, offset: 0 }, 20),
        Windows::Cumulate { .. } => (2, Windows::Cumulate { step: 2, size: 10, offset: 0 }, 20),
        Windows::Session { .. } => (3, Windows::Session { gap: 5 }, 5),
    };
    KINDS[kind].get_or_init(|| {
        let mut cases: Vec<Case> =
            cases::all().into_iter().filter(|case| case.takes(sample)).collect();
        if let Err(refused) = planned(&pipeline_text(&cases, sample, 0, "emit = 'updates'\n")) {
            for error in &refused.errors {
                assert!(error.code().starts_with("plan::revision"), "{error}");
            }
            let errors: Vec<String> = refused.errors.iter().map(ToString::to_string).collect();
            let is_refused = |case: &Case| {
                let name = format!("query `{}`:", case.name);
                errors.iter().any(|error| error.starts_with(&name))
            };
            cases.retain(|case| !is_refused(case));
        }
        assert!(cases.len() >= least, "{windows:?}: {}", cases.len());
        cases
    })
}

/// What a sink holds that applies all results in order, and the least that every step must keep.
fn held(plan: &QueryPlan, batches: &[RecordBatch]) -> Result<Rows, String> {
    let key = plan.result_key();
    let columns = key.columns.clone().unwrap();
    let edges = [key.start.unwrap().column, key.end.unwrap().column];
    let identity: Vec<usize> = columns.into_iter().chain(edges).collect();
    let mut revisions: BTreeMap<String, i64> = BTreeMap::new();
    let mut rows: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
    for batch in batches {
        let own = batch.num_columns() - OWN;
        let ops = batch.column(own).as_string::<i32>();
        let numbers = batch.column(own + 1).as_primitive::<Int64Type>();
        let mut of_epoch = Vec::new();
        for row in 0..batch.num_rows() {
            let mut cells = cells(batch, row);
            cells.truncate(own);
            let id = format!("{:?}", identity.iter().map(|it| &cells[*it]).collect::<Vec<_>>());
            if of_epoch.contains(&id) {
                return Err(format!("{id} is twice in an epoch"));
            }
            of_epoch.push(id.clone());
            let before = revisions.insert(id.clone(), numbers.value(row));
            if before >= Some(numbers.value(row)) {
                return Err(format!("{id}: revision {} after {before:?}", numbers.value(row)));
            }
            let had = match ops.value(row) {
                "upsert" => {
                    rows.insert(id, cells);
                    true
                }
                _ => rows.remove(&id).is_some(),
            };
            if !had {
                return Err("a row was deleted that is not there".to_string());
            }
        }
    }
    Ok(Rows(rows.into_values().collect()).sorted())
}

fn in_order(outcome: &Outcome, case: &Case) -> Vec<String> {
    outcome.of(&case.name).iter().map(|batch| format!("{batch:?}")).collect()
}

proptest! {
    #![proptest_config(random_cases(40))]

    #[test]
    fn all_revisions_together_are_the_batch_answer(
        shards in shards(22),
        windows in windows(),
        grace in 0..4i64,
        allowed in 1..60i64,
        (settings, is_late) in modes(),
        picks in vec(0..10_000usize, 1..4),
        seed: u64,
    ) {
        let fitting = fitting(windows);
        let mut picks: Vec<usize> = picks.iter().map(|pick| pick % fitting.len()).collect();
        picks.sort_unstable();
        picks.dedup();
        let cases: Vec<Case> = picks.into_iter().map(|pick| fitting[pick].clone()).collect();
        let (settings, takes) = match is_late {
            true => (
                format!("{settings}late = 'update'\nallowed_lateness = '{allowed}ms'\n"),
                grace + allowed,
            ),
            false => (settings.to_string(), grace),
        };
        let text = pipeline_text(&cases, windows, grace, &settings);
        let mut flow = Flow::new(planned(&text).unwrap());
        let script = way(&shards, seed, Ticking::Anywhere);
        let outcome = flow.run(&script);
        let again = flow.run(&script);
        for case in &cases {
            prop_assert_eq!(in_order(&outcome, case), in_order(&again, case));
            let plan = flow.plan().queries.iter().find(|it| it.name == case.name).unwrap();
            let held = held(plan, outcome.of(&case.name)).map_err(TestCaseError::fail)?;
            let sql = case.oracle_sql();
            let answer = oracle::ask(&script, &case.question(&sql, windows, takes));
            let same = held.same(&Rows::of(&answer.batches), case.tolerance);
            prop_assert!(same.is_ok(), "{} {settings}: {:?}", case.name, same);
        }
    }

    /// Sessions by gaps of the events' own are what joining all reaches that touch gives.
    #[test]
    fn sessions_of_own_gaps_are_unions_of_reaches(shards in shards(30), seed: u64) {
        let sql = "SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS total FROM SESSION(events, ts, i) WHERE i > 0 GROUP BY k, window_start, window_end";
        let query = properties::pipeline::QueryText {
            name: "q".to_string(),
            sql: sql.to_string(),
            grace: 0,
        };
        let script = way(&shards, seed, Ticking::OnTime);
        let outcome = Flow::new(properties::pipeline::planned(&[query])).run(&script);
        prop_assert_eq!(outcome.late_rows, 0);

        let mut events: Vec<(Option<String>, i64, i64)> = script
            .merged()
            .into_iter()
            .filter(|it| it.log.stream == "events")
            .filter_map(|it| Some((it.event.k.clone(), it.event.ts, it.event.i.filter(|i| *i > 0)?)))
            .collect();
        events.sort();
        let mut sessions: Vec<(Option<String>, i64, i64, i64, i64)> = Vec::new();
        for (k, ts, gap) in events {
            match sessions.last_mut().filter(|it| it.0 == k && ts <= it.2) {
                Some(session) => {
                    session.2 = session.2.max(ts + gap);
                    session.3 += 1;
                    session.4 += gap;
                }
                None => sessions.push((k, ts, ts + gap, 1, gap)),
            }
        }
        sessions.sort();
        let mut found = Vec::new();
        for batch in outcome.of("q") {
            let number = |column: usize, row: usize| {
                let column = arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Int64);
                column.unwrap().as_primitive::<Int64Type>().value(row)
            };
            for row in 0..batch.num_rows() {
                let keys = batch.column(0).as_string::<i32>();
                let key = arrow::array::Array::is_valid(keys, row).then(|| keys.value(row).to_string());
                found.push((key, number(1, row), number(2, row), number(3, row), number(4, row)));
            }
        }
        found.sort();
        prop_assert_eq!(found, sessions);
    }
}
