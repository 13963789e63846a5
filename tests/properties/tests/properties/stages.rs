//! Single events, window by window or in order, and stages that feed each other: what a stream
//! answers is what a batch answers, however rows come.

use properties::random::{Ticking, always_the_same, shards, way};
use properties::rows::Rows;
use properties::script::{Script, Step};
use properties::stages::{Stages, all};
use properties::trial::random_cases;
use proptest::prelude::*;

fn check(query: &Stages, script: &Script) -> Result<(), String> {
    let answer = query.answer(script);
    let outcome = query.flow().run(script);
    let results = Rows::of(outcome.of(query.name));
    results.same(&Rows::of(&answer.batches), Stages::TOLERANCE)
}

#[test]
fn a_query_answers_what_a_batch_answers() {
    let script = way(&always_the_same(40), 17, Ticking::OnTime);
    let mut wrong = Vec::new();
    for query in &all() {
        let run = || check(query, &script);
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let checked = checked.unwrap_or_else(|_| Err("panicked".to_string()));
        if let Err(difference) = checked {
            wrong.push(format!("{}: {difference}", query.name));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// The rows that a stage hands on in order: those at or above every watermark before them.
#[test]
fn a_single_event_is_late_below_the_last_checkpoints_watermark() {
    let filter = all().into_iter().find(|query| query.name == "filter").unwrap();
    for seed in 0..20 {
        let script = way(&always_the_same(40), seed, Ticking::Anywhere);
        let watermarks = script.watermarks();
        let (mut late, mut on_time) = (0, 0);
        for record in script.merged().iter().filter(|it| it.log.stream == "events") {
            let judge = record.tick.checked_sub(1).and_then(|before| watermarks[before]);
            let is_late = judge.is_some_and(|judge| record.event.ts < judge);
            match record.event.b == Some(true) {
                true if is_late => late += 1,
                true => on_time += 1,
                false => {}
            }
        }
        let outcome = filter.flow().run(&script);
        assert_eq!(outcome.late_rows, late, "seed {seed}");
        assert_eq!(outcome.late.len() as u64, late, "seed {seed}");
        let rows: usize = outcome.of("filter").iter().map(|batch| batch.num_rows()).sum();
        assert_eq!(rows, on_time, "seed {seed}");
    }
}

/// The script without reloads.
fn warm(script: &Script) -> Script {
    let mut script = script.clone();
    for step in &mut script.steps {
        if let Step::Tick { reload, .. } = step {
            *reload = false;
        }
    }
    script
}

proptest! {
    #![proptest_config(random_cases(40))]

    #[test]
    fn any_way_of_any_rows_gives_what_a_batch_gives(
        shards in shards(25),
        pick in 0..all().len(),
        seed: u64,
        is_late: bool,
    ) {
        let query = all()[pick];
        let ticking = match is_late && query.judges_late {
            true => Ticking::Anywhere,
            false => Ticking::OnTime,
        };
        let script = way(&shards, seed, ticking);
        if let Err(difference) = check(&query, &script) {
            return Err(TestCaseError::fail(format!("{}: {difference}", query.name)));
        }
    }

    #[test]
    fn snapshots_change_no_bit(shards in shards(25), pick in 0..all().len(), seed: u64) {
        let query = all()[pick];
        let script = way(&shards, seed, Ticking::OnTime);
        let (cold, warm) = (query.flow().run(&script), query.flow().run(&warm(&script)));
        prop_assert_eq!(cold.of(query.name), warm.of(query.name), "{}", query.name);
    }
}
