//! What a query's fingerprint covers: every change of its meaning, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use tidemill_pipeline::Pipeline;
use tidemill_plan::{Functions, Versioned, plan, plan_with};

use crate::docs::{blocks, root};

fn read(text: &str, folder: &Path) -> Option<Pipeline> {
    tidemill_pipeline::parse("p.toml", text, folder, &|_| None).ok()
}

/// The fingerprints of a pipeline's queries in the order of their names; `None`: it cannot run.
fn fingerprints(text: &str, folder: &Path) -> Option<Vec<String>> {
    let plan = plan(&read(text, folder)?).ok()?;
    Some(plan.queries.iter().map(|query| query.fingerprint.to_string()).collect())
}

/// `sql` in pieces: what is quoted, and what stands between.
fn pieces(sql: &str) -> Vec<(bool, String)> {
    let mut pieces = vec![(false, String::new())];
    let mut open = None;
    for c in sql.chars() {
        match open {
            None if c == '\'' || c == '"' => {
                open = Some(c);
                pieces.push((true, c.to_string()));
            }
            Some(quote) if c == quote => {
                open = None;
                pieces.last_mut().unwrap().1.push(c);
                pieces.push((false, String::new()));
            }
            _ => pieces.last_mut().unwrap().1.push(c),
        }
    }
    pieces
}

fn rewritten(sql: &str, plain: impl Fn(&str) -> String) -> String {
    let rewrite = |(quoted, piece): (bool, String)| if quoted { piece } else { plain(&piece) };
    pieces(sql).into_iter().map(rewrite).collect()
}

const KEYWORDS: [&str; 14] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "INTERVAL",
    "ORDER BY",
    "AS",
    "AND",
    "OVER",
    "JOIN",
    "ON",
    "WITH",
    "UNION ALL",
];

/// The same query, written otherwise.
fn same(sql: &str) -> Vec<String> {
    let spaced = rewritten(sql, |piece| piece.replace(' ', "\n  "));
    let commented = rewritten(sql, |piece| piece.replace(' ', " /* a /* b */ ' c */ "));
    let lower = rewritten(sql, |piece| {
        let words = KEYWORDS.iter();
        words.fold(piece.to_string(), |text, word| text.replace(word, &word.to_lowercase()))
    });
    vec![spaced, commented, lower, format!("{sql} -- the end")]
}

/// Other queries: each with one literal, function, operator, order, column or name changed.
fn others(sql: &str) -> BTreeSet<String> {
    const SWAPS: [(&str, &str); 16] = [
        ("COUNT(", "MAX("),
        ("SUM(", "AVG("),
        ("AVG(", "MIN("),
        ("TUMBLE(", "tumble_rows("),
        ("ROW_NUMBER()", "RANK()"),
        ("amount", "items"),
        ("shop", "customer"),
        (" DESC", " ASC"),
        (" >= ", " > "),
        (" > ", " < "),
        (" = ", " <> "),
        (" AND ", " OR "),
        (" JOIN ", " LEFT JOIN "),
        ("UNION ALL", "UNION"),
        ("PRECEDING", "FOLLOWING"),
        ("window_start", "window_end"),
    ];
    let mut others: BTreeSet<String> =
        SWAPS.iter().map(|(from, to)| sql.replacen(from, to, 1)).collect();
    for digit in sql.match_indices(|c: char| c.is_ascii_digit()) {
        let next = (digit.1.parse::<u8>().unwrap() + 1) % 10;
        others.insert(format!("{}{next}{}", &sql[..digit.0], &sql[digit.0 + 1..]));
    }
    for (at, _) in sql.match_indices("',") {
        others.insert(format!("{}x{}", &sql[..at], &sql[at..]));
    }
    others.remove(sql);
    others
}

/// A fingerprint was the hash of the engine's text of the plan, which leaves things out (rows of VALUES
/// after the fifth), so that two queries shared their state; and what a column was read from was not in it.
#[test]
fn every_other_query_of_the_reference_has_another_fingerprint_and_the_same_one_the_same() {
    let document = fs::read_to_string(root().join("docs/sql.md")).unwrap();
    let blocks = blocks(&document);
    let of = |info: &str| &blocks.iter().find(|block| block.info == info).unwrap().text;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("products.csv"), of("csv")).unwrap();
    let (mut sames, mut differing) = (0, 0);
    for (index, block) in blocks.iter().enumerate() {
        let Some(options) = block.info.strip_prefix("sql") else { continue };
        let Some(options) =
            options.trim().strip_prefix("with").or(options.is_empty().then_some(""))
        else {
            continue;
        };
        let of = |sql: &str| {
            let text = format!("{}\n[queries.q]\n{options}\nsql = '''\n{sql}'''\n", of("toml"));
            fingerprints(&text, folder.path()).map(|mut it| it.remove(0))
        };
        let own = of(&block.text).unwrap_or_else(|| panic!("{}", block.text));
        let same = same(&block.text);
        let other = &same[index % same.len()];
        assert_eq!(of(other).as_ref(), Some(&own), "{other}");
        sames += 1;
        // A few of each, other ones of each query: planning takes its time.
        let others: Vec<String> = others(&block.text).into_iter().collect();
        for number in 0..4.min(others.len()) {
            let other = &others[(index * 7 + number * 5) % others.len()];
            if let Some(fingerprint) = of(other) {
                assert_ne!(fingerprint, own, "{}\n{other}", block.text);
                differing += 1;
            }
        }
    }
    assert!(sames >= 30 && differing >= 60, "{sames} {differing}");
}

const PIPELINE: &str = r#"
name = "t"
[streams.s]
format = "json"
columns = { k = "string", v = "bigint", price = "double", ts = "timestamp_ms", at = "timestamp_ms", unread = "string" }
event_time = "ts"
out_of_orderness = "5s"
[tables.names]
file = "names.csv"
[queries.q]
grace = "1s"
late = "drop"
sql = """SELECT n.name, window_start, window_end, SUM(v) AS total, MAX(at) AS at
  FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) e JOIN names n ON n.k = e.k GROUP BY n.name, window_start, window_end"""
[queries.r]
keep = "1h"
sql = """SELECT k, ts, COUNT(*) OVER (PARTITION BY k ORDER BY ts) AS n FROM s"""
"#;

/// Fingerprints of `q` and `r` with one part of the file replaced.
fn with(from: &str, to: &str) -> [String; 2] {
    assert!(PIPELINE.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("names.csv"), "k,name,rank\na,Anna,1\nb,Ben,2\n").unwrap();
    let text = PIPELINE.replacen(from, to, 1);
    let found = fingerprints(&text, folder.path());
    found.unwrap_or_else(|| panic!("{text}")).try_into().unwrap()
}

#[test]
fn how_a_time_is_written_is_in_the_fingerprint() {
    let declared = "at = \"timestamp_ms\"";
    let of =
        |more: &str| with(declared, &format!("at = {{ type = \"timestamp\"{more} }}"))[0].clone();
    let plain = of("");
    let zone = of(", time_zone = \"Europe/Berlin\"");
    let format = of(", format = \"%d/%m/%Y %H:%M\"");
    let element = of(", path = \"at[0]\"");
    let all = BTreeSet::from([plain, zone, format, element]);
    assert_eq!(all.len(), 4);
}

#[test]
fn declarations_that_a_query_depends_on_are_in_its_fingerprint() {
    let before = with("name", "name");
    for (from, to, changes) in [
        // Columns and times.
        ("v = \"bigint\"", "v = \"int\"", [true, false]),
        ("v = \"bigint\"", "v = { type = \"bigint\", path = \"w\" }", [true, false]),
        ("at = \"timestamp_ms\"", "at = \"timestamp_s\"", [true, false]),
        ("k = \"string\"", "k = { type = \"string\", path = \"a.k\" }", [true, true]),
        ("ts = \"timestamp_ms\"", "ts = \"timestamp_us\"", [true, true]),
        (", at = \"timestamp_ms\"", ", at = \"timestamp\"", [true, false]),
        // Settings of a query.
        ("grace = \"1s\"", "grace = \"2s\"", [true, false]),
        ("late = \"drop\"", "late = \"dead_letter\"", [true, false]),
        ("late = \"drop\"", "late = \"update\"\nallowed_lateness = \"1h\"", [true, false]),
        ("late = \"drop\"", "late = \"drop\"\nemit = \"updates\"", [true, false]),
        ("late = \"drop\"", "late = \"drop\"\nemit_when = \"total > 1\"", [true, false]),
        ("late = \"drop\"", "late = \"drop\"\nincomplete = \"emit\"", [true, false]),
        ("keep = \"1h\"", "keep = \"2h\"", [false, true]),
        ("keep = \"1h\"", "keep = \"forever\"", [false, true]),
        // Its name.
        ("[queries.q]", "[queries.p]", [true, false]),
        // What nothing depends on.
        ("out_of_orderness = \"5s\"", "out_of_orderness = \"6s\"", [false, false]),
        ("unread = \"string\"", "unread = \"bigint\"", [false, false]),
        (", unread = \"string\"", "", [false, false]),
        ("k = \"string\", v = \"bigint\"", "v = \"bigint\", k = \"string\"", [false, false]),
        ("name = \"t\"", "name = \"u\"", [false, false]),
    ] {
        let after = with(from, to);
        let changed: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a != b).collect();
        assert_eq!(changed, changes, "{from} -> {to}");
    }
}

/// Two queries with equal plans shared their state: one got everything twice, the other nothing.
#[test]
fn equal_queries_of_two_names_have_fingerprints_of_their_own() {
    let sql = "sql = 'SELECT k, ts FROM s'";
    let text = format!("{PIPELINE}\n[queries.a]\n{sql}\n[queries.b]\n{sql}\n");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("names.csv"), "k,name,rank\na,Anna,1\n").unwrap();
    let all = fingerprints(&text, folder.path()).unwrap();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4, "{all:?}");
}

#[test]
fn the_version_of_a_programs_own_function_is_in_the_fingerprint_of_queries_that_call_it() {
    let double = create_udf(
        "double_it",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(|arguments: &[ColumnarValue]| Ok(arguments[0].clone())),
    );
    let of = |version: u32| {
        let text = "
            name = 't'
            [streams.s]
            format = 'json'
            columns = { v = 'bigint', ts = 'timestamp_ms' }
            event_time = 'ts'
            [queries.calls]
            sql = 'SELECT ts, Double_It(v) AS w FROM s'
            [queries.other]
            sql = 'SELECT ts, v FROM s'";
        let pipeline = read(text, Path::new(".")).unwrap();
        let function = Versioned { function: Arc::new(double.clone()), version };
        let functions = Functions { scalar: vec![function], aggregate: Vec::new() };
        let plan = plan_with(&pipeline, &functions).unwrap();
        plan.queries.iter().map(|query| query.fingerprint).collect::<Vec<_>>()
    };
    let (one, two) = (of(1), of(2));
    assert_ne!(one[0], two[0]);
    assert_eq!(one[1], two[1]);
}
