//! How records are cut into batches, how shards take turns and when ticks run does not matter.

use properties::random::{Ticking, always_the_same, shards, way, windows};
use properties::rows::{Rows, Tolerance};
use properties::trial::{Trial, random_cases};
use properties::windows::{Windows, sessions, sessions_by_tick};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(random_cases(40))]

    /// When nothing is late, every schedule gives what a batch over all records gives; and two
    /// schedules give the same bytes, where no sum of floats and no sketch is in them.
    #[test]
    fn schedules_do_not_matter(
        shards in shards(22),
        windows in windows(),
        grace in 0..4i64,
        picks in vec(0..10_000usize, 1..4),
        seeds in any::<[u64; 2]>(),
    ) {
        let mut trial = Trial::picked(&picks, windows, grace);
        let scripts = seeds.map(|seed| way(&shards, seed, Ticking::OnTime));
        let outcomes = scripts.each_ref().map(|script| trial.flow.run(script));
        trial.compare(&scripts[0], &outcomes[0]).map_err(TestCaseError::fail)?;
        for outcome in &outcomes {
            prop_assert_eq!(outcome.late_rows, 0);
        }
        for case in &trial.cases {
            let [one, other] = outcomes.each_ref().map(|outcome| Rows::of(outcome.of(&case.name)));
            let same = one.same(&other, case.tolerance);
            prop_assert!(same.is_ok(), "{}: two schedules differ: {:?}", case.name, same);
        }
    }

    /// Sessions tick by tick, when nothing is late, are those that sorting finds: the oracle's own
    /// definition of sessions does not depend on ticks.
    #[test]
    fn the_oracle_finds_the_sessions_that_sorting_finds(
        shards in shards(30),
        gap in 1..20i64,
        grace in 0..4i64,
        seed: u64,
    ) {
        let script = way(&shards, seed, Ticking::OnTime);
        let merged = script.merged();
        let keys = merged.iter().map(|it| (it.event.id, it.event.k.clone())).collect();
        let judged = sessions_by_tick(&merged, &keys, gap, grace, &script.watermarks());
        for key in [None, Some("a"), Some("b"), Some("c")] {
            let of_key = || merged.iter().filter(|it| it.event.k.as_deref() == key);
            let times: Vec<i64> = of_key().map(|it| it.event.ts).collect();
            let mut found: Vec<_> = of_key().flat_map(|it| judged[&it.event.id].on_time.clone()).collect();
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found, sessions(&times, gap));
        }
    }
}

/// Results of one epoch come sorted by window end, start, then the rest, so that their numbers are
/// the same on every replay.
#[test]
fn results_of_an_epoch_are_in_window_order() {
    use arrow::array::AsArray;
    use arrow::datatypes::TimestampMillisecondType;

    let shards = always_the_same(60);
    let windows = Windows::Hop { slide: 7, size: 20, offset: 0 };
    let mut trial = Trial::new(vec![properties::cases::named("count_all")], windows, 0);
    let outcome = trial.flow.run(&way(&shards, 3, Ticking::OnTime));
    let mut rows = 0;
    for batch in outcome.of("count_all") {
        let ends = batch.column_by_name("window_end").unwrap();
        let ends = ends.as_primitive::<TimestampMillisecondType>();
        assert!(ends.values().is_sorted());
        rows += batch.num_rows();
    }
    assert!(rows > 50, "{rows} rows");
    assert!(Rows::of(outcome.of("count_all")).same(&Rows::of(&[]), Tolerance::Exact).is_err());
}
