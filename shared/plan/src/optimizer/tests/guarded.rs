//! What can fail stays behind what guards it, wherever a query has the two.

use super::*;

fn rows() -> Vec<Row> {
    let row = |id, v, d| Row { id, v, d, ..Row::default() };
    vec![
        row(1, Some("7"), Some(1)),
        row(2, Some("n/a"), Some(0)),
        row(3, Some("3"), Some(5)),
        row(4, None, None),
        row(5, Some("12"), None),
    ]
}

/// The optimizer put the cheaper condition first, so that records failed that the query leaves out.
#[test]
fn a_failing_condition_runs_on_rows_that_the_ones_before_let_through() {
    for (condition, expected) in [
        ("v ~ '^[0-9]+$' AND CAST(v AS BIGINT) > 5", vec![1, 5]),
        ("d <> 0 AND 10 / d > 4", vec![1]),
        ("d <> 0 AND 10 / d > 4 AND v ~ '^[0-9]+$' AND CAST(v AS BIGINT) > 5", vec![1]),
        ("CASE WHEN d <> 0 THEN 10 / d > 4 ELSE false END", vec![1]),
        ("v ~ '^[0-9]+$' AND CAST(v AS BIGINT) > 5 AND 10 / CAST(v AS BIGINT) >= 1", vec![1]),
        ("d <> 0 AND (id = 3 OR 10 / d > 4)", vec![1, 3]),
        ("(d = 0 OR 10 / d > 4)", vec![1, 2]),
        ("NOT (d = 0 OR 10 / d > 4)", vec![3]),
        ("v IN ('7', '3') AND CAST(v AS INT) = 3", vec![3]),
    ] {
        assert_eq!(ids(condition, &rows()), expected, "{condition}");
    }
}

/// A guard that is null lets nothing through, so it guards: `NULL AND 1 / 0 > 1`.
#[test]
fn a_guard_that_is_null_guards() {
    let rows: Vec<Row> = [None, Some(2)]
        .map(|d| Row { id: 1, d, j: Some(i64::from(d.is_some())), ..Row::default() })
        .to_vec();
    assert_eq!(ids("d > 1 AND 10 / j > 4", &rows), [1]);
    assert_eq!(ids("(d > 1 AND 10 / j > 4) OR v = 'x'", &rows), [1]);
}

/// Whatever place asks for a condition, its guard is one.
#[test]
fn guards_guard_in_values_and_arguments() {
    for (value, expected) in [
        (
            "v ~ '^[0-9]+$' AND CAST(v AS BIGINT) > 5",
            [Some("true"), Some("false"), Some("false"), None, Some("true")],
        ),
        (
            "v !~ '^[0-9]+$' OR CAST(v AS BIGINT) > 5",
            [Some("true"), Some("true"), Some("false"), None, Some("true")],
        ),
        (
            "CASE WHEN v ~ '^[0-9]+$' AND CAST(v AS BIGINT) > 5 THEN 'big' ELSE 'no' END",
            [Some("big"), Some("no"), Some("no"), Some("no"), Some("big")],
        ),
        (
            "COALESCE(TRY_CAST(v AS BIGINT), 0) > 5",
            [Some("true"), Some("false"), Some("false"), Some("false"), Some("true")],
        ),
        (
            "NULLIF(d, 0) IS NOT NULL AND 10 / d > 4",
            [Some("true"), Some("false"), Some("false"), Some("false"), Some("false")],
        ),
    ] {
        let found = texts(&format!("SELECT id, {value} AS x FROM s"), 1, &rows());
        let expected: Vec<Option<String>> =
            expected.iter().map(|it| it.map(str::to_string)).collect();
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn guards_guard_in_filter_of_an_aggregate() {
    for sql in [
        "SELECT COUNT(*) FILTER (WHERE v ~ '^[0-9]+$' AND CAST(v AS BIGINT) > 5) AS n FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) GROUP BY window_start",
        "SELECT SUM(CAST(v AS BIGINT)) FILTER (WHERE v ~ '^[0-9]+$') AS n FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) GROUP BY window_start",
    ] {
        run(sql, &rows()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// A join's keys are computed for all rows of a side, also for those that ON leaves out.
#[test]
fn guards_guard_a_joins_keys() {
    let rows = rows();
    for (sql, expected) in [
        (
            "SELECT id, k FROM s LEFT JOIN names ON v ~ '^[0-9]+$' AND CAST(v AS BIGINT) - 6 = n",
            vec![(1, Some("a")), (2, None), (3, None), (4, None), (5, None)],
        ),
        (
            "SELECT id, k FROM s JOIN names ON v ~ '^[0-9]+$' AND CAST(v AS BIGINT) - 6 = n",
            vec![(1, Some("a"))],
        ),
        (
            "SELECT id, k FROM s, names WHERE v ~ '^[0-9]+$' AND CAST(v AS BIGINT) - 6 = n",
            vec![(1, Some("a"))],
        ),
        (
            "SELECT id, k FROM s, names WHERE d > 0 AND 10 / d > 4 AND n = d AND CAST(v AS BIGINT) = 7",
            vec![(1, Some("a"))],
        ),
    ] {
        let (of, ks) = (texts(sql, 0, &rows), texts(sql, 1, &rows));
        let mut found: Vec<(i64, Option<String>)> =
            of.into_iter().map(|id| id.unwrap().parse().unwrap()).zip(ks).collect();
        found.sort();
        let expected: Vec<(i64, Option<String>)> =
            expected.into_iter().map(|(id, k)| (id, k.map(str::to_string))).collect();
        assert_eq!(found, expected, "{sql}");
    }
}

/// What cannot fail is one filter, as it always was; each failing condition is one above it.
#[test]
fn conditions_that_cannot_fail_stay_one_filter() {
    let filters = |condition: &str| {
        let plan = lower(&format!("SELECT id FROM s WHERE {condition}"));
        plan.matches("FilterExec").count()
    };
    assert_eq!(filters("d > 1 AND id < 5 AND v LIKE 'a%' AND v ~ 'x' AND x IS NULL"), 1);
    assert_eq!(filters("d > 1 AND 10 / d > 1 AND id < 5"), 2);
    assert_eq!(filters("CAST(v AS BIGINT) > 1 AND 10 / d > 1 AND id < 5"), 3);
}

/// A cast of each row, where the literal can be cast once, cost ingest a pass over the column.
#[test]
fn lossless_casts_are_taken_out_of_comparisons() {
    for condition in
        ["j > 5", "j IN (1, 2)", "j BETWEEN 1 AND 3", "ts > TIMESTAMP '2020-01-01 00:00:00'"]
    {
        let plan = lower(&format!("SELECT id FROM s WHERE {condition}"));
        assert!(!plan.contains("CAST"), "{condition}: {plan}");
    }
    let rows: Vec<Row> =
        [1, 2, 5_000_000].map(|j| Row { id: j, j: Some(j), ..Row::default() }).to_vec();
    assert_eq!(ids("j > 2", &rows), [5_000_000]);
    assert_eq!(ids("j < 3000000000", &rows), [1, 2, 5_000_000]);
    assert_eq!(ids("j = 3000000000", &rows), [0_i64; 0]);
}

/// Whether whole numbers wrap around decides whether their arithmetic can fail.
#[test]
fn arithmetic_of_whole_numbers_does_not_fail() {
    let rows = [Row { id: 1, d: Some(i64::MAX), ..Row::default() }];
    for value in ["d + 1", "d * 2", "0 - d - 2", "d / 3", "d % 3", "d & 3", "d | 3"] {
        assert_eq!(texts(&format!("SELECT id, {value} AS x FROM s"), 1, &rows).len(), 1, "{value}");
    }
}
