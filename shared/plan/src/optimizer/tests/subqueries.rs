//! IN and NOT IN of a subquery, with its three values. The table `names` holds a, b and a null.

use super::*;

fn rows() -> Vec<Row> {
    [Some("a"), Some("zz"), None, Some("q")]
        .into_iter()
        .zip(1..)
        .map(|(v, id)| Row { id, v, d: Some(id), ..Row::default() })
        .collect()
}

/// `v = 'zz' OR v NOT IN (SELECT k FROM t)` held for a v that is not in t, though t has a null.
#[test]
fn not_in_below_or_knows_null() {
    for (condition, expected) in [
        ("v NOT IN (SELECT k FROM names)", vec![]),
        ("v = 'zz' OR v NOT IN (SELECT k FROM names)", vec![2]),
        ("v = 'zz' OR NOT (v IN (SELECT k FROM names))", vec![2]),
        ("v = 'zz' OR v NOT IN (SELECT k FROM names WHERE k IS NOT NULL)", vec![2, 4]),
        ("v = 'zz' OR v IN (SELECT k FROM names)", vec![1, 2]),
        ("NOT (v = 'zz' OR v IN (SELECT k FROM names))", vec![]),
        ("NOT (v = 'zz' OR v IN (SELECT k FROM names WHERE k IS NOT NULL))", vec![4]),
        ("NOT (v = 'a' AND v NOT IN (SELECT k FROM names))", vec![1, 2, 4]),
        ("d = 9 OR v NOT IN (SELECT k FROM names WHERE n > 100)", vec![1, 2, 3, 4]),
        ("v NOT IN (SELECT k FROM names WHERE n = d)", vec![2, 4]),
        ("d = 9 OR v NOT IN (SELECT k FROM names WHERE n = d)", vec![2, 4]),
        ("'q' NOT IN (SELECT k FROM names)", vec![]),
        ("'q' NOT IN (SELECT k FROM names WHERE k IS NOT NULL)", vec![1, 2, 3, 4]),
        ("d - 1 NOT IN (SELECT n FROM names)", vec![1]),
        ("d IS NOT NULL AND 12 / d NOT IN (SELECT n FROM names WHERE n > 1)", vec![1, 2, 3]),
    ] {
        let mut found = ids(condition, &rows());
        found.sort_unstable();
        assert_eq!(found, expected, "{condition}");
    }
}

#[test]
fn a_place_that_asks_for_null_is_refused() {
    let refused = refused("SELECT id FROM s WHERE (v IN (SELECT k FROM names)) IS NULL");
    assert!(refused.contains("plan::join::mark"), "{refused}");
}

/// A windowed NOT IN was accepted, and knew no null.
#[test]
fn not_in_over_windows_is_refused_with_a_way_out() {
    let windowed = |condition: &str| {
        format!(
            "SELECT a.v FROM (SELECT v, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) GROUP BY v, window_start, window_end) a WHERE {condition}"
        )
    };
    let other = "(SELECT b.v FROM (SELECT v, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) GROUP BY v, window_start, window_end) b WHERE b.window_start = a.window_start AND b.window_end = a.window_end AND b.n > 1)";
    for condition in [
        format!("a.v NOT IN {other}"),
        format!("NOT (a.v IN {other})"),
        format!("a.v = 'zz' OR a.v NOT IN {other}"),
        format!("a.v = 'zz' OR NOT (a.n > 1 AND a.v IN {other})"),
    ] {
        let refused = refused(&windowed(&condition));
        assert!(refused.contains("plan::join::not_in"), "{condition}: {refused}");
        assert!(refused.contains("NOT EXISTS"), "{refused}");
    }
    planned(&windowed(&format!("a.v IN {other}")));
}

/// The engine's LEAD … IGNORE NULLS over the rows of a closed window skips rows.
#[test]
fn lead_ignoring_nulls_is_refused_over_windows() {
    let sql = |call: &str| {
        format!(
            "SELECT v, {call} IGNORE NULLS OVER (PARTITION BY window_start, window_end ORDER BY v) AS l FROM (SELECT v, window_start, window_end, SUM(d) AS n FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) GROUP BY v, window_start, window_end) a"
        )
    };
    for call in ["LEAD(n)", "LEAD(n, 2)", "LAG(n, -1)"] {
        let refused = refused(&sql(call));
        assert!(refused.contains("plan::over::ignore_nulls"), "{call}: {refused}");
    }
    planned(&sql("LAG(n)"));
}
