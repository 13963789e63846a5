//! OVER windows and deduplication: what a stream answers is what a batch answers, however rows come.

use properties::over::{self, ALL, Over};
use properties::random::{Ticking, always_the_same, shards, way};
use properties::rows::{Rows, types};
use properties::script::{Script, Step};
use properties::trial::random_cases;
use proptest::prelude::*;

fn check(query: &Over, script: &Script) -> Result<(), String> {
    let answer = query.answer(script);
    let outcome = over::flow(&[*query]).run(script);
    if outcome.late_rows > 0 {
        return Err("a row was late".to_string());
    }
    let results = outcome.of(query.name);
    if let Some(first) = results.first()
        && types(&first.schema()) != types(&answer.schema)
    {
        return Err(format!("types {:?}, expected {:?}", first.schema(), answer.schema));
    }
    Rows::of(results).same(&Rows::of(&answer.batches), query.tolerance)
}

#[test]
fn a_query_answers_what_a_batch_answers() {
    let script = way(&always_the_same(40), 17, Ticking::OnTime);
    let mut wrong = Vec::new();
    for query in &ALL {
        let run = || check(query, &script);
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let checked = checked.unwrap_or_else(|_| Err("panicked".to_string()));
        if let Err(difference) = checked {
            wrong.push(format!("{}: {difference}", query.name));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
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

/// What was known of a key by its kept rows alone was lost with a restart, and the rows with it.
#[test]
fn a_key_that_is_kept_for_ever_goes_on_after_a_restart() {
    let mut wrong = Vec::new();
    // The last row of a key is known by its silence.
    for query in ALL.iter().filter(|query| query.name != "last_of_each") {
        for seed in [1, 3] {
            let script = way(&always_the_same(40), seed, Ticking::OnTime);
            let outcome = over::flow_keeping(&[*query], "forever").run(&script);
            let answer = query.answer_for_ever(&script);
            let results = Rows::of(outcome.of(query.name));
            if let Err(difference) = results.same(&Rows::of(&answer.batches), query.tolerance) {
                wrong.push(format!("{} {seed}: {difference}", query.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

proptest! {
    #![proptest_config(random_cases(40))]

    #[test]
    fn any_way_of_any_rows_gives_what_a_batch_gives(
        shards in shards(25),
        pick in 0..ALL.len(),
        seed: u64,
    ) {
        let script = way(&shards, seed, Ticking::OnTime);
        if let Err(difference) = check(&ALL[pick], &script) {
            return Err(TestCaseError::fail(format!("{}: {difference}", ALL[pick].name)));
        }
    }

    #[test]
    fn ticks_and_snapshots_change_no_bit(
        shards in shards(25),
        pick in 0..ALL.len(),
        seeds: (u64, u64),
    ) {
        let query = ALL[pick];
        let mut flow = over::flow(&[query]);
        let [one, two] = [seeds.0, seeds.1].map(|seed| way(&shards, seed, Ticking::OnTime));
        let (cold, warm) = (flow.run(&one), flow.run(&warm(&one)));
        prop_assert_eq!(cold.of(query.name), warm.of(query.name), "{}", query.name);
        let other = flow.run(&two);
        let same = Rows::of(other.of(query.name)).same(&Rows::of(cold.of(query.name)), query.tolerance);
        prop_assert_eq!(same, Ok(()), "{}", query.name);
    }
}
