//! The queries that every property is tried on.
//!
//! SQL is a template: `{events}` and `{others}` are the windowed streams, `{order}` is what a batch
//! needs for the order that a stream has anyway (event time, log, position), `{then}` the same
//! after sort keys of the query's own, and `{now}` is the checkpoint's time.

mod above;
mod aggregates;
mod below;
mod grouping;

use crate::flow::NOW;
use crate::oracle::Question;
use crate::pipeline::QueryText;
use crate::rows::Tolerance;
use crate::windows::{Spelling, Windows};

/// One query.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    sql: String,
    oracle: Option<String>,
    keys: Option<String>,
    only_start: bool,
    only_tumbling: bool,
    /// How its floats are compared with the oracle's.
    pub tolerance: Tolerance,
}

/// A case for windows of fixed length, with exact results.
fn case(name: &str, sql: &str) -> Case {
    Case {
        name: name.to_string(),
        sql: sql.to_string(),
        oracle: None,
        keys: None,
        only_start: false,
        only_tumbling: false,
        tolerance: Tolerance::Exact,
    }
}

impl Case {
    /// Also for sessions of the rows and keys that `keys` gives.
    fn sessions(mut self, keys: &str) -> Case {
        self.keys = Some(keys.to_string());
        self
    }

    /// Says the same to a batch in other words.
    fn oracle(mut self, sql: &str) -> Case {
        self.oracle = Some(sql.to_string());
        self
    }

    /// Floats that depend on the order of additions.
    fn floats(mut self) -> Case {
        self.tolerance = Tolerance::Floats;
        self
    }

    /// A sketch with this error.
    fn within(mut self, error: f64) -> Case {
        self.tolerance = Tolerance::Within(error);
        self
    }

    /// Groups by the window's start or end alone.
    fn one_bound(mut self) -> Case {
        self.only_start = true;
        self
    }

    /// Uses a window's bounds before the aggregate.
    fn tumbling(mut self) -> Case {
        self.only_tumbling = true;
        self
    }

    /// Whether the query can have such windows.
    pub fn takes(&self, windows: Windows) -> bool {
        match windows {
            Windows::Tumble { .. } => true,
            Windows::Hop { .. } => !self.only_tumbling,
            Windows::Cumulate { .. } => !self.only_tumbling && !self.only_start,
            Windows::Session { .. } => self.keys.is_some(),
        }
    }

    /// The query over streams.
    pub fn query(&self, windows: Windows, spelling: Spelling, grace: i64) -> QueryText {
        let sql = self
            .sql
            .replace("{events}", &windows.to_sql("events", spelling))
            .replace("{others}", &windows.to_sql("others", spelling))
            .replace("{order}", "")
            .replace("{then}", "")
            .replace("{now}", "now()");
        QueryText { name: self.name.clone(), sql, grace }
    }

    /// The same over the oracle's tables.
    pub fn oracle_sql(&self) -> String {
        let now = format!("arrow_cast({}, 'Timestamp(Millisecond, None)')", NOW.0);
        self.oracle
            .as_ref()
            .unwrap_or(&self.sql)
            .replace("{events}", "w_events")
            .replace("{others}", "w_others")
            .replace("{order}", "ORDER BY ts, __log, __offset")
            .replace("{then}", ", ts, __log, __offset")
            .replace("{now}", &now)
    }

    /// The question to the oracle, whose SQL is [`Case::oracle_sql`].
    pub fn question<'a>(&'a self, sql: &'a str, windows: Windows, grace: i64) -> Question<'a> {
        Question { sql, windows, grace, keys: self.keys.as_deref() }
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = aggregates::cases();
    cases.extend(below::cases());
    cases.extend(grouping::cases());
    cases.extend(above::cases());
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "names are unique");
    cases
}

/// The case of this name.
pub fn named(name: &str) -> Case {
    all().into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}"))
}
