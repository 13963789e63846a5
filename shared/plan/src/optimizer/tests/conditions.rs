//! Random conditions over columns with nulls, against an interpreter of three-valued logic.

use super::*;

/// What a condition means for a row.
type Meaning = Box<dyn Fn(&Row) -> Option<bool>>;

/// A condition, as SQL and as what it means for a row.
struct Condition {
    sql: String,
    holds: Meaning,
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn leaf(random: &mut Random) -> Condition {
    let value = random.of(&["a", "b", ""]);
    let other = random.of(&["a", "b", "7"]);
    let number = random.below(4) as i64;
    match random.below(11) {
        0 => Condition {
            sql: format!("v = '{value}'"),
            holds: Box::new(move |row| row.v.map(|v| v == value)),
        },
        1 => Condition {
            sql: format!("v IN ('{value}', '{other}')"),
            holds: Box::new(move |row| row.v.map(|v| v == value || v == other)),
        },
        2 => Condition {
            sql: format!("v NOT IN ('{value}', '{other}')"),
            holds: Box::new(move |row| row.v.map(|v| v != value && v != other)),
        },
        3 => Condition {
            sql: format!("v IN ('{value}', NULL)"),
            holds: Box::new(move |row| row.v.and_then(|v| (v == value).then_some(true))),
        },
        4 => Condition {
            sql: format!("v NOT IN ('{value}', NULL)"),
            holds: Box::new(move |row| row.v.and_then(|v| (v == value).then_some(false))),
        },
        5 => Condition { sql: "v ~ '.*'".to_string(), holds: Box::new(|row| row.v.map(|_| true)) },
        6 => {
            Condition { sql: "v LIKE '%'".to_string(), holds: Box::new(|row| row.v.map(|_| true)) }
        }
        7 => Condition {
            sql: format!("d > {number}"),
            holds: Box::new(move |row| row.d.map(|d| d > number)),
        },
        8 => {
            Condition { sql: "d IS NULL".to_string(), holds: Box::new(|row| Some(row.d.is_none())) }
        }
        9 => Condition {
            sql: format!("TRY_CAST(d AS INT) > {number}"),
            holds: Box::new(move |row| {
                let d = row.d.and_then(|d| i32::try_from(d).ok());
                d.map(|d| i64::from(d) > number)
            }),
        },
        _ => Condition {
            sql: format!("d BETWEEN {number} AND 3"),
            holds: Box::new(move |row| row.d.map(|d| d >= number && d <= 3)),
        },
    }
}

fn condition(random: &mut Random, depth: u32) -> Condition {
    if depth == 0 {
        return leaf(random);
    }
    let kind = random.below(7);
    let a = condition(random, depth - 1);
    let (a_sql, a_holds) = (a.sql, a.holds);
    if kind < 4 {
        let b = condition(random, depth - 1);
        let b_holds = b.holds;
        let op = if kind < 2 { "AND" } else { "OR" };
        let not = |it: Option<bool>| it.map(|it| !it);
        return Condition {
            sql: format!("({a_sql} {op} {})", b.sql),
            holds: Box::new(move |row| match kind < 2 {
                true => and(a_holds(row), b_holds(row)),
                false => not(and(not(a_holds(row)), not(b_holds(row)))),
            }),
        };
    }
    match kind {
        4 => Condition {
            sql: format!("(NOT {a_sql})"),
            holds: Box::new(move |row| a_holds(row).map(|it| !it)),
        },
        5 => Condition {
            sql: format!("({a_sql} IS NULL)"),
            holds: Box::new(move |row| Some(a_holds(row).is_none())),
        },
        _ => Condition {
            sql: format!("CASE WHEN {a_sql} THEN d <> 0 AND 6 / d > 1 ELSE d IS NULL END"),
            holds: Box::new(move |row| match a_holds(row) {
                Some(true) => row.d.map(|d| d != 0 && 6 / d > 1),
                _ => Some(row.d.is_none()),
            }),
        },
    }
}

/// `a NOT IN ('x') OR a NOT IN ('y')` was true of a null, `v ~ '.*'` false; a condition did not agree
/// with the value that it is when it is selected.
#[test]
fn conditions_and_values_are_those_of_three_valued_logic() {
    let mut rows = Vec::new();
    for v in [None, Some("a"), Some("b"), Some(""), Some("7")] {
        for d in [None, Some(0), Some(1), Some(2), Some(7), Some(5_000_000_000)] {
            rows.push(Row { id: rows.len() as i64, v, d, ..Row::default() });
        }
    }
    let mut random = Random(7);
    for round in 0..60 {
        let Condition { sql, holds } = condition(&mut random, 1 + round % 3);
        let expected: Vec<Option<bool>> = rows.iter().map(&holds).collect();
        let values = texts(&format!("SELECT id, {sql} AS x FROM s"), 1, &rows);
        let texts: Vec<Option<String>> =
            expected.iter().map(|it| it.map(|it| it.to_string())).collect();
        assert_eq!(values, texts, "{sql}");
        let through: Vec<i64> = rows
            .iter()
            .zip(&expected)
            .filter(|(_, holds)| **holds == Some(true))
            .map(|(row, _)| row.id)
            .collect();
        assert_eq!(ids(&sql, &rows), through, "{sql}");
    }
}

/// `CAST(price AS INT) = 1` was `price = 1`, and TRY_CAST that gives null was compared as a number.
#[test]
fn a_cast_in_a_comparison_is_the_cast_that_is_selected() {
    let prices = ["1.50", "1.49", "1.00", "2.00", "0.99", "-1.50"];
    let rows: Vec<Row> = (0..)
        .zip(prices)
        .map(|(id, p)| Row { id, p: Some(p), d: Some(id * 3_000_000_000), ..Row::default() })
        .collect();
    for (cast, literal) in [
        ("CAST(p AS INT)", "1"),
        ("TRY_CAST(d AS INT)", "0"),
        ("CAST(p AS DECIMAL(10, 1))", "CAST(1.5 AS DECIMAL(10, 1))"),
        ("CAST(CAST(p AS DOUBLE) AS BIGINT)", "1"),
        ("CAST(ts AS DATE)", "DATE '1970-01-01'"),
    ] {
        for op in ["=", "<=", ">", "IS DISTINCT FROM"] {
            let direct = texts(&format!("SELECT id, {cast} {op} {literal} AS x FROM s"), 1, &rows);
            let values = texts(&format!("SELECT id, {cast} AS x FROM s"), 1, &rows);
            let again: Vec<Option<String>> = values
                .iter()
                .map(|value| {
                    let kind = cast.rsplit("AS ").next().unwrap().trim_end_matches(')');
                    let kind = if kind.starts_with("DECIMAL") { "DECIMAL(10, 1)" } else { kind };
                    let written = match value {
                        Some(value) => format!("CAST('{value}' AS {kind})"),
                        None => format!("CAST(NULL AS {kind})"),
                    };
                    let one = [Row { id: 1, ..Row::default() }];
                    texts(&format!("SELECT id, {written} {op} {literal} AS x FROM s"), 1, &one)
                        .remove(0)
                })
                .collect();
            assert_eq!(direct, again, "{cast} {op} {literal}");
            let expected: Vec<i64> = (0..)
                .zip(&again)
                .filter(|(_, it)| it.as_deref() == Some("true"))
                .map(|(id, _)| id)
                .collect();
            assert_eq!(ids(&format!("{cast} {op} {literal}"), &rows), expected, "{cast} {op}");
        }
    }
}
