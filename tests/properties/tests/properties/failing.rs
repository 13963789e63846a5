//! What a query fails on in advance is told of, and nothing else is in want of it, however rows come.

use properties::failing::{ALL, Failing};
use properties::flow::Outcome;
use properties::random::{Ticking, always_the_same, shards, way};
use properties::rows::{Rows, Tolerance};
use properties::script::Script;
use properties::trial::random_cases;
use proptest::prelude::*;
use tidemill_flow::ports::FailedRows;

/// What is told of, in an order of its own.
fn told(outcome: &Outcome) -> Vec<&FailedRows> {
    let mut told: Vec<&FailedRows> = outcome.failed.iter().collect();
    told.sort_by_key(|it| (it.window, &it.raw.first, &it.detail));
    told
}

fn check(query: &Failing, script: &Script) -> Result<Outcome, String> {
    let outcome = query.flow().run(script);
    if let Some((rows, failing)) = query.answer(script) {
        Rows::of(outcome.of(query.name)).same(&rows, Tolerance::Exact)?;
        if outcome.failed.len() != failing {
            return Err(format!("told of {} parts, expected {failing}", outcome.failed.len()));
        }
    }
    Ok(outcome)
}

#[test]
fn every_query_fails_somewhere_and_not_everywhere() {
    let script = way(&always_the_same(60), 17, Ticking::OnTime);
    let mut wrong = Vec::new();
    for query in &ALL {
        let run = || check(query, &script);
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        match checked.unwrap_or_else(|_| Err("panicked".to_string())) {
            Err(difference) => wrong.push(format!("{}: {difference}", query.name)),
            Ok(outcome) => {
                let rows: usize = outcome.of(query.name).iter().map(|it| it.num_rows()).sum();
                if rows == 0 || outcome.failed.is_empty() {
                    wrong.push(format!("{}: {rows} rows, {:?}", query.name, outcome.failed));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

proptest! {
    #![proptest_config(random_cases(40))]

    #[test]
    fn any_way_of_any_rows_fails_on_the_same_and_gives_the_rest(
        shards in shards(25),
        pick in 0..ALL.len(),
        seeds: [u64; 2],
    ) {
        let query = ALL[pick];
        let ran = seeds.map(|seed| check(&query, &way(&shards, seed, Ticking::OnTime)));
        let [one, other] = ran.map(|ran| ran.map_err(|it| format!("{}: {it}", query.name)));
        let (one, other) = (one.map_err(TestCaseError::fail)?, other.map_err(TestCaseError::fail)?);
        prop_assert_eq!(told(&one), told(&other), "{}", query.name);
        let rows = |outcome: &Outcome| Rows::of(outcome.of(query.name));
        prop_assert_eq!(rows(&one), rows(&other), "{}", query.name);
    }
}
