//! With late rows: every (row, window) is counted once or late once, and what counts is what a batch
//! over the rows that were not late counts.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use properties::cases::named;
use properties::flow::Flow;
use properties::oracle;
use properties::pipeline::{QueryText, planned};
use properties::random::{Ticking, shards, way, windows};
use properties::rows::{Rows, Tolerance};
use properties::trial::{Trial, random_cases};
use proptest::collection::vec;
use proptest::prelude::*;
use tidemill_model::DeadReason;

/// The one number that a query of one row and column gives.
fn number(batches: &[arrow::array::RecordBatch]) -> i64 {
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

proptest! {
    #![proptest_config(random_cases(40))]

    #[test]
    fn what_counts_is_what_was_not_late(
        shards in shards(22),
        windows in windows(),
        grace in 0..6i64,
        picks in vec(0..10_000usize, 1..4),
        seed: u64,
    ) {
        let script = way(&shards, seed, Ticking::Anywhere);
        let mut trial = Trial::picked(&picks, windows, grace);
        let outcome = trial.flow.run(&script);
        trial.compare(&script, &outcome).map_err(TestCaseError::fail)?;
    }

    /// What is late is counted per (row, window) and told as dead letters, whether ingest shipped
    /// the row alone or combined it.
    #[test]
    fn what_is_late_is_counted_once(
        shards in shards(30),
        windows in windows(),
        grace in 0..6i64,
        case in prop_oneof![Just(("count_all", "TRUE")), Just(("filtered", "i > 2 AND b IS NOT FALSE"))],
        seed: u64,
    ) {
        let (name, filter) = case;
        let script = way(&shards, seed, Ticking::Anywhere);
        let mut trial = Trial::new(vec![named(name)], windows, grace);
        let outcome = trial.flow.run(&script);
        let ask = |table: &str| {
            let sql = format!("SELECT COUNT(*) AS n FROM {table}_events WHERE {filter}");
            let question = trial.cases[0].question(&sql, windows, grace);
            number(&oracle::ask(&script, &question).batches)
        };
        let late = ask("late");
        prop_assert_eq!(outcome.late_rows as i64, late);
        let on_time: i64 = outcome
            .of(name)
            .iter()
            .flat_map(|batch| batch.columns().last().unwrap().as_primitive::<Int64Type>().values().to_vec())
            .sum();
        prop_assert_eq!(on_time, ask("w"));
        let mut told = 0;
        for letter in &outcome.late {
            let DeadReason::Late { query, windows: missed, windows_missed, records, partial, .. } = &letter.reason else {
                return Err(TestCaseError::fail(format!("{:?} is not late", letter.reason)));
            };
            prop_assert_eq!(query.as_str(), name);
            prop_assert_eq!(missed.len() as u64, (*windows_missed).min(16));
            prop_assert_eq!(partial.is_none(), letter.raw.is_some());
            prop_assert!(letter.raw.is_none() || *records == 1);
            told += records * windows_missed;
        }
        prop_assert_eq!(told as i64, late);
    }

    /// Each grouping set has sessions of its own, and a row can be late in one and on time in
    /// another: ROLLUP gives and loses what a query per set gives and loses.
    #[test]
    fn sessions_of_grouping_sets_are_those_of_each_set(
        shards in shards(25),
        gap in 1..25i64,
        seed: u64,
    ) {
        let script = way(&shards, seed, Ticking::Anywhere);
        let run = |columns: &str, grouping: &str| {
            let sql = format!(
                "SELECT {columns}, window_start, window_end, COUNT(*) AS n FROM SESSION(events, ts, INTERVAL '{gap} milliseconds') GROUP BY window_start, window_end{grouping}"
            );
            let query = QueryText { name: "q".to_string(), sql, grace: 1 };
            Flow::new(planned(&[query])).run(&script)
        };
        let rollup = run("k", ", ROLLUP (k)");
        let (by_key, all) = (run("k", ", k"), run("CAST(NULL AS VARCHAR) AS k", ""));
        let mut apart = Rows::of(by_key.of("q"));
        apart.0.extend(Rows::of(all.of("q")).0);
        let apart = apart.sorted();
        let same = Rows::of(rollup.of("q")).same(&apart, Tolerance::Exact);
        prop_assert!(same.is_ok(), "{:?}", same);
        prop_assert_eq!(rollup.late_rows, by_key.late_rows + all.late_rows);
    }
}
