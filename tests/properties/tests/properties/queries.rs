//! Every case on fixed data: the stream's answer is the oracle's.

use properties::cases::{self, Case};
use properties::flow::Flow;
use properties::oracle;
use properties::pipeline::try_plan;
use properties::random::{Ticking, always_the_same, way};
use properties::rows::{Rows, types};
use properties::script::Script;
use properties::windows::{Spelling, Windows};

const SHAPES: [Windows; 9] = [
    Windows::Tumble { size: 20, offset: 0 },
    Windows::Tumble { size: 33, offset: -7 },
    Windows::Hop { slide: 10, size: 30, offset: 0 },
    Windows::Hop { slide: 7, size: 25, offset: 3 },
    Windows::Hop { slide: 20, size: 13, offset: 5 },
    Windows::Cumulate { step: 10, size: 40, offset: 0 },
    Windows::Cumulate { step: 7, size: 21, offset: 4 },
    Windows::Session { gap: 5 },
    Windows::Session { gap: 15 },
];

/// The same script each time.
fn script() -> Script {
    way(&always_the_same(40), 17, Ticking::OnTime)
}

/// What is different from the oracle's answer, if anything is.
fn check(case: &Case, windows: Windows, script: &Script, spelling: Spelling) -> Result<(), String> {
    let grace = 3;
    let planned = try_plan(&[case.query(windows, spelling, grace)]).map_err(|errors| {
        let errors: Vec<String> = errors.errors.iter().map(ToString::to_string).collect();
        format!("refused: {}", errors.join("; "))
    })?;
    let outcome = Flow::new(planned).run(script);
    let sql = case.oracle_sql();
    let answer = oracle::ask(script, &case.question(&sql, windows, grace));
    let results = outcome.results.get(&case.name).map_or(&[][..], Vec::as_slice);
    if let Some(first) = results.first()
        && types(&first.schema()) != types(&answer.schema)
    {
        return Err(format!("types {:?}, expected {:?}", first.schema(), answer.schema));
    }
    Rows::of(results).same(&Rows::of(&answer.batches), case.tolerance)
}

/// Tries the cases of every fourth number from `part` on, on two shapes each.
fn every_fourth(part: usize) {
    let script = script();
    let mut wrong = Vec::new();
    for (number, case) in cases::all().iter().enumerate().filter(|(number, _)| number % 4 == part) {
        let shapes: Vec<Windows> =
            SHAPES.into_iter().filter(|windows| case.takes(*windows)).collect();
        for turn in 0..2 {
            let windows = shapes[(number / 4 + turn * shapes.len() / 2) % shapes.len()];
            let spelling = [Spelling::Plain, Spelling::Flink, Spelling::Named][(number + turn) % 3];
            let run = || check(case, windows, &script, spelling);
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            let checked = checked.unwrap_or_else(|_| Err("panicked".to_string()));
            if let Err(difference) = checked {
                wrong.push(format!("{} over {windows:?}: {difference}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_query_answers_what_a_batch_answers_1() {
    every_fourth(0);
}

#[test]
fn a_query_answers_what_a_batch_answers_2() {
    every_fourth(1);
}

#[test]
fn a_query_answers_what_a_batch_answers_3() {
    every_fourth(2);
}

#[test]
fn a_query_answers_what_a_batch_answers_4() {
    every_fourth(3);
}
