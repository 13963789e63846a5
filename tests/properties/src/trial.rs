//! Queries of one pipeline over the same windows, compared with the oracle.

use proptest::test_runner::Config;

use crate::cases::{self, Case};
use crate::flow::{Flow, Outcome};
use crate::oracle::{self, Answer};
use crate::pipeline::planned;
use crate::rows::{Rows, types};
use crate::script::Script;
use crate::windows::{Spelling, Windows};

/// Some cases in one pipeline.
pub struct Trial {
    /// The cases; each can have these windows.
    pub cases: Vec<Case>,
    windows: Windows,
    grace: i64,
    /// The verbs.
    pub flow: Flow,
}

impl Trial {
    /// Of these cases.
    pub fn new(cases: Vec<Case>, windows: Windows, grace: i64) -> Trial {
        let spellings = [Spelling::Plain, Spelling::Flink, Spelling::Named].into_iter().cycle();
        let queries: Vec<_> = cases
            .iter()
            .zip(spellings)
            .map(|(case, spelling)| case.query(windows, spelling, grace))
            .collect();
        Trial { cases, windows, grace, flow: Flow::new(planned(&queries)) }
    }

    /// Of the cases that can have these windows, those that `picks` point at.
    pub fn picked(picks: &[usize], windows: Windows, grace: i64) -> Trial {
        let fitting: Vec<Case> =
            cases::all().into_iter().filter(|case| case.takes(windows)).collect();
        let mut picks: Vec<usize> = picks.iter().map(|pick| pick % fitting.len()).collect();
        picks.sort_unstable();
        picks.dedup();
        let cases = picks.into_iter().map(|pick| fitting[pick].clone()).collect();
        Trial::new(cases, windows, grace)
    }

    /// The oracle's answer for one case.
    pub fn answer(&self, case: &Case, script: &Script) -> Answer {
        let sql = case.oracle_sql();
        oracle::ask(script, &case.question(&sql, self.windows, self.grace))
    }

    /// Compares what the verbs gave for every case with what the oracle gives.
    pub fn compare(&self, script: &Script, outcome: &Outcome) -> Result<(), String> {
        for case in &self.cases {
            let answer = self.answer(case, script);
            let results = outcome.of(&case.name);
            if let Some(first) = results.first()
                && types(&first.schema()) != types(&answer.schema)
            {
                let (ours, batch) = (first.schema(), answer.schema);
                return Err(format!("{}: types {ours:?}, expected {batch:?}", case.name));
            }
            Rows::of(results)
                .same(&Rows::of(&answer.batches), case.tolerance)
                .map_err(|difference| format!("{}: {difference}", case.name))?;
        }
        Ok(())
    }
}

/// `cases` random cases, or as many as `PROPTEST_CASES` says.
pub fn random_cases(cases: u32) -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    Config { cases, failure_persistence: None, max_shrink_iters: 300, ..default }
}
