//! What fuzzing found, each as the input that showed it. Most are seeds of their targets too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use fuzz::{Reached, decode_json, kafka_event, kinesis_event, pipeline_file, schedule_event, sql};

/// Of several functions that are as close to a misspelt name, the engine suggested another one each
/// time, because it walks a hash table.
#[test]
fn the_suggestion_for_a_misspelt_function_is_the_same_each_time() {
    let text = "SELECT window_start, CO(*) AS orders
        FROM TUMBLE(orders, placed_at, INTERVAL '10' SECOND)
        GROUP BY window_start";
    for _ in 0..8 {
        assert_eq!(sql(text.as_bytes()), Reached::Rejected);
    }
}

/// Operators in a row, and words and types that nest without parentheses, make a tree as deep as
/// they are many; the parser and the engine recursed along it until the stack was used up, which
/// ends the process.
#[test]
fn sql_that_is_deep_without_parentheses_is_refused() {
    let value = |value: String| {
        let from = "FROM TUMBLE(orders, placed_at, INTERVAL '1' MINUTE) GROUP BY window_start";
        format!("SELECT window_start, MAX({value}) AS m {from}")
    };
    let around = |before: &str, after: &str| {
        value(format!("{}1{}", before.repeat(3000), after.repeat(3000)))
    };
    let one = "SELECT window_start FROM TUMBLE(orders, placed_at, INTERVAL '1' MINUTE)";
    for text in [
        around("", "+1"),
        around("", "||shop"),
        around("", " OR paid"),
        around("", "::int"),
        around("", " IS NULL"),
        around("", " LIKE 'a'"),
        around("", " AT TIME ZONE 'UTC'"),
        around("", "[1]"),
        around("NOT ", ""),
        around("- ", ""),
        around("INTERVAL ", " DAY"),
        around("CAST(", " AS INT)"),
        around("CASE WHEN paid THEN 1 ELSE ", " END"),
        value(format!("CAST(1 AS {}INT{})", "ARRAY<".repeat(3000), ">".repeat(3000))),
        value(format!("CAST(1 AS {}INT{})", "STRUCT<a ".repeat(3000), ">".repeat(3000))),
        value(format!("CAST(1 AS {}INT{})", "Nullable(".repeat(3000), ")".repeat(3000))),
        value(format!("CAST(1 AS INT{})", "[]".repeat(3000))),
        vec![one; 1000].join(" UNION ALL "),
        format!("{one} o {}", "JOIN products p ON true ".repeat(1000)),
    ] {
        assert_eq!(sql(text.as_bytes()), Reached::Rejected, "{}", &text[..100]);
    }
}

/// Deep TOML and JSON end at the first bracket that is too many.
#[test]
fn brackets_without_end_are_refused() {
    for nested in ["[".repeat(200_000), "a={".repeat(100_000), "{\"a\":".repeat(100_000)] {
        assert_eq!(pipeline_file(format!("name = {nested}").as_bytes()), Reached::Rejected);
        assert_eq!(decode_json(format!("s\n{nested}").as_bytes()), Reached::Rejected);
        assert_eq!(kinesis_event(nested.as_bytes()), Reached::Rejected);
        assert_eq!(kafka_event(nested.as_bytes()), Reached::Rejected);
        assert_eq!(schedule_event(nested.as_bytes()), Reached::Rejected);
    }
}

/// The engine looks at a WITH inside a WITH twice as often as at the outer one: thirty of them, in
/// 700 bytes, were planned for hours.
#[test]
fn nested_with_clauses_are_refused_before_they_take_hours() {
    for nested in [9, 30] {
        let (open, close) = ("WITH a AS (".repeat(nested), ") SELECT 1".repeat(nested));
        let text = format!("{open}SELECT window_start FROM orders{close}");
        assert_eq!(sql(text.as_bytes()), Reached::Rejected);
    }
}

/// A CUBE of twelve columns is 4096 grouping sets, each of which was compared with each other one
/// for minutes, and into each of which every record would have been counted.
#[test]
fn a_cube_of_many_columns_is_refused() {
    let columns: Vec<String> = (0..12).map(|n| format!("items + {n}")).collect();
    let text = format!(
        "SELECT window_start, COUNT(*) AS n FROM TUMBLE(orders, placed_at, INTERVAL '1' MINUTE)
        GROUP BY window_start, CUBE({})",
        columns.join(", ")
    );
    assert_eq!(sql(text.as_bytes()), Reached::Rejected);
}
