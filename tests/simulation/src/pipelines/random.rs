//! Random queries, each decided by its pipeline's number.
//!
//! Their aggregates are exact and do not depend on the order of rows, or name the order, so that a
//! batch gives the same rows to the last bit.

use properties::oracle::Question;
use properties::windows::{Spelling, Windows};
use tidemill_testkit::Rng;

use super::{QueryText, STREAMS, rows};

/// A random query.
#[derive(Debug, Clone)]
pub(crate) struct RandomQuery {
    pub(crate) name: String,
    pub(crate) stream: &'static str,
    pub(crate) windows: Windows,
    pub(crate) grace: i64,
    /// Whether late rows become dead letters; else they are only counted.
    pub(crate) letters: bool,
    /// How its results change.
    pub(crate) changes: Option<Changes>,
    /// Number of its key columns, which come first, before the window's.
    pub(crate) key_columns: usize,
    pub(super) spelling: Spelling,
    /// `{from}` stands for what it reads, `{order}` for the order that a stream has anyway.
    pub(super) template: String,
    /// Ids and keys of the rows that it counts.
    pub(super) keys: String,
    /// The same query over the batch's tables.
    pub(super) batch: String,
    /// Of what it fails on, a batch query that gives a row for each row.
    pub(super) failing: Option<String>,
    /// Further settings of the pipeline file.
    pub(super) settings: &'static str,
    /// How often it reads its stream: a late row is counted each time.
    pub(crate) scans: u64,
    /// Milliseconds that its results come later than their window's end and the grace.
    pub(crate) delay: i64,
}

/// How a query's results change after they were first emitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changes {
    /// What the pipeline file says of the open windows.
    early: &'static str,
    /// How late rows may be, milliseconds; 0: not at all.
    allowed: i64,
}

impl Changes {
    /// For some pipelines, from a generator of their own.
    fn draw(number: u64) -> Option<Changes> {
        let mut rng = Rng::new(number ^ 0x7265_7669_7365_6421);
        if !rng.chance(35) {
            return None;
        }
        let early =
            one_of(&mut rng, &["", "", "emit = 'updates'\n", "emit_when = 'x0 IS NOT NULL'\n"]);
        let allowed = match early.is_empty() || rng.chance(50) {
            true => rng.between(1, 60_000),
            false => 0,
        };
        Some(Changes { early, allowed })
    }
}

impl RandomQuery {
    /// What the pipeline file says.
    pub(super) fn text(&self) -> QueryText {
        let from = self.windows.to_sql(self.stream, self.spelling);
        let sql = self.template.replace("{from}", &from).replace("{order}", "");
        let (name, stream) = (self.name.clone(), self.stream);
        let more = match self.changes {
            None => self.settings.to_string(),
            Some(Changes { early, allowed: 0 }) => early.to_string(),
            Some(Changes { early, allowed }) => {
                format!("{early}late = 'update'\nallowed_lateness = '{allowed}ms'\n")
            }
        };
        QueryText { name, stream, sql, grace: self.grace, letters: self.letters, more }
    }

    /// For some pipelines, decided by a generator of their own: a column that cannot be computed for
    /// groups of so many rows. A batch has the other groups, and knows those apart.
    fn divide(&mut self, number: u64) {
        let mut rng = Rng::new(number ^ 0x6661_696c_696e_6721);
        let rows = rng.between(1, 3);
        if !rng.chance(40) || self.template.contains("QUALIFY") {
            return;
        }
        let columns = "window_start, window_end, ";
        let with = |sql: &str, divisor: &str| {
            sql.replacen(columns, &format!("{columns}60 / {divisor} AS share, "), 1)
        };
        let groups = |sql: &str, condition: &str| {
            let and = if sql.contains(" HAVING ") { "AND" } else { "HAVING" };
            format!("{sql} {and} COUNT(*) {condition} {rows}")
        };
        self.template = with(&self.template, &format!("(COUNT(*) - {rows})"));
        self.failing = Some(groups(&self.batch, "="));
        let batch = with(&self.batch, &format!("NULLIF(COUNT(*) - {rows}, 0)"));
        self.batch = groups(&batch, "<>");
    }

    /// Whether a row on which it fails may be told of again, as its window changes.
    pub(crate) fn fails_again(&self) -> bool {
        self.changes.is_some_and(|changes| changes.allowed > 0)
    }

    /// What to ask a batch.
    pub(crate) fn question(&self) -> Question<'_> {
        self.asked(&self.batch)
    }

    /// What to ask a batch about the rows that the query fails on; `None`: it never does.
    pub(crate) fn failing(&self) -> Option<Question<'_>> {
        self.failing.as_deref().map(|failing| self.asked(failing))
    }

    fn asked<'a>(&'a self, sql: &'a str) -> Question<'a> {
        let (windows, keys) = (self.windows, Some(self.keys.as_str()));
        let allowed = self.changes.map_or(0, |changes| changes.allowed);
        Question { sql, windows, grace: self.grace + allowed, keys }
    }
}

/// The queries of a random pipeline: one to three, and perhaps one of rows.
pub(super) fn queries(number: u64) -> Vec<RandomQuery> {
    let mut rng = Rng::new(number);
    let mut queries: Vec<RandomQuery> =
        (0..rng.between(1, 3)).map(|query| random(format!("random_{query}"), &mut rng)).collect();
    for query in &mut queries {
        // A session's result that can change depends on the session alone.
        let is_alone = !query.template.contains("QUALIFY");
        if is_alone || !matches!(query.windows, Windows::Session { .. }) {
            query.changes = Changes::draw(number);
            query.letters |= query.changes.is_some_and(|changes| changes.allowed > 0);
        }
    }
    for query in &mut queries {
        query.divide(number);
    }
    queries.extend(rows::query(number));
    queries
}

fn one_of(rng: &mut Rng, choices: &[&'static str]) -> &'static str {
    rng.pick(choices).copied().unwrap_or("")
}

fn random(name: String, rng: &mut Rng) -> RandomQuery {
    let stream = if rng.chance(75) { STREAMS[0] } else { STREAMS[1] };
    let keys = keys(rng);
    let filter = match rng.chance(45) {
        true => format!(" WHERE {}", condition(rng)),
        false => String::new(),
    };
    let template = template(&keys, &filter, rng);
    let selected: String = keys.iter().map(|(key, name)| format!(", {key} AS {name}")).collect();
    let batch = template
        .replace("{from}", &format!("w_{stream}"))
        .replace("{order}", "ORDER BY ts, __log, __offset");
    RandomQuery {
        name,
        stream,
        windows: windows(rng),
        grace: *rng.pick(&[0, 0, 1, 2000, 7500]).unwrap_or(&0),
        letters: rng.chance(60),
        changes: None,
        key_columns: keys.len(),
        spelling: *rng
            .pick(&[Spelling::Plain, Spelling::Flink, Spelling::Named])
            .unwrap_or(&Spelling::Plain),
        template,
        keys: format!("SELECT id{selected} FROM {stream}{filter}"),
        batch,
        failing: None,
        settings: "",
        scans: 1,
        delay: 0,
    }
}

/// Windows of every kind: an event lies in at most 16.
fn windows(rng: &mut Rng) -> Windows {
    let offset = if rng.chance(40) { rng.between(-20_000, 20_000) } else { 0 };
    match rng.below(4) {
        0 => Windows::Tumble { size: rng.between(500, 30_000), offset },
        1 => {
            let slide = rng.between(1000, 15_000);
            Windows::Hop { slide, size: rng.between(500, 4 * slide), offset }
        }
        2 => {
            let step = rng.between(1000, 8000);
            Windows::Cumulate { step, size: step * rng.between(1, 5), offset }
        }
        _ => Windows::Session { gap: rng.between(500, 12_000) },
    }
}

/// No, one or two keys: expressions and their names.
fn keys(rng: &mut Rng) -> Vec<(&'static str, &'static str)> {
    let mut keys =
        [("k", "k"), ("g", "g"), ("s", "s"), ("b", "b"), ("i % 3", "rest"), ("UPPER(k)", "u")];
    rng.shuffle(&mut keys);
    let count = *rng.pick(&[0, 1, 1, 1, 2, 2]).unwrap_or(&1);
    keys[..count].to_vec()
}

/// Something that is true of some rows.
pub(super) fn condition(rng: &mut Rng) -> &'static str {
    one_of(
        rng,
        &[
            "i > 3",
            "i % 2 = 0",
            "b",
            "NOT b",
            "k = 'a'",
            "k IN ('a', 'c')",
            "k IS NOT NULL",
            "s <> ''",
            "s IS NULL OR g = 1",
            "g <> 1 AND i < 15",
            "dec > 0",
        ],
    )
}

/// An aggregate, perhaps of some of the rows only.
fn aggregate(rng: &mut Rng) -> String {
    let any = one_of(
        rng,
        &[
            "COUNT(*)",
            "COUNT(i)",
            "COUNT(s)",
            "COUNT(DISTINCT s)",
            "COUNT(DISTINCT i)",
            "COUNT(DISTINCT b)",
            "SUM(i)",
            "SUM(g)",
            "SUM(dec)",
            "SUM(i * 2 + 1)",
            "SUM(DISTINCT i)",
            "AVG(i)",
            "MIN(i)",
            "MAX(i)",
            "MIN(s)",
            "MAX(k)",
            "MIN(ts)",
            "MAX(d)",
            "MAX(dec)",
            "BOOL_AND(b)",
            "BOOL_OR(b)",
            "BIT_XOR(i)",
            "FIRST_VALUE(id {order})",
            "LAST_VALUE(s {order})",
        ],
    );
    match rng.chance(25) && !any.contains("{order}") {
        true => format!("{any} FILTER (WHERE {})", condition(rng)),
        false => any.to_string(),
    }
}

fn template(keys: &[(&'static str, &'static str)], filter: &str, rng: &mut Rng) -> String {
    let columns: String = keys.iter().map(|(key, name)| format!("{key} AS {name}, ")).collect();
    let aggregates: Vec<String> =
        (0..rng.between(1, 5)).map(|column| format!("{} AS x{column}", aggregate(rng))).collect();
    let grouped: String = keys.iter().map(|(key, _)| format!("{key}, ")).collect();
    let having = match rng.below(100) {
        0..15 => format!(" HAVING COUNT(*) > {}", rng.between(1, 2)),
        15..25 => " HAVING MAX(i) IS NOT NULL AND COUNT(DISTINCT s) < 3".to_string(),
        _ => String::new(),
    };
    let top = match !keys.is_empty() && rng.chance(25) {
        true => {
            let by = one_of(rng, &["COUNT(*) DESC", "MAX(i)", "SUM(i) DESC NULLS LAST"]);
            let then: String = keys.iter().map(|(key, _)| format!(", {key}")).collect();
            let count = rng.between(1, 3);
            format!(
                " QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end \
                 ORDER BY {by}{then}) <= {count}"
            )
        }
        false => String::new(),
    };
    format!(
        "SELECT {columns}window_start, window_end, {} FROM {{from}}{filter} \
         GROUP BY {grouped}window_start, window_end{having}{top}",
        aggregates.join(", ")
    )
}
