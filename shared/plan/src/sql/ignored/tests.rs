//! What would be ignored is refused; what is used is not.

use super::*;
use crate::sql::{parse, parse_condition};

fn is_scalar(name: &str) -> bool {
    ["abs", "upper", "unnest"].contains(&name)
}

fn refused(sql: &str) -> Option<Refusal> {
    statement(&parse(sql).unwrap(), sql, &is_scalar).err()
}

/// Each of these was planned as if the clause were not there, or refused with the engine's insides.
#[test]
fn what_nothing_would_read_is_refused_with_what_to_write() {
    for (sql, what, help) in [
        ("SELECT k FROM s TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE", "WHERE id % 10 = 0"),
        ("SELECT k FROM s PREWHERE v > 1", "PREWHERE", "WHERE"),
        ("SELECT k FROM s FOR UPDATE", "FOR UPDATE", "leave it out"),
        ("SELECT k FROM s SETTINGS a = 1", "SETTINGS", "pipeline file"),
        ("SELECT k FROM s FORMAT JSON", "FORMAT", "sink"),
        ("SELECT k FROM s PARTITION (p)", "PARTITION", "WHERE"),
        ("SELECT k FROM s WITH (nolock)", "WITH (…)", "leave it out"),
        ("SELECT k FROM s FETCH FIRST 3 ROWS ONLY", "FETCH", "LIMIT 3"),
        ("SELECT k FROM s FETCH FIRST 3 ROWS WITH TIES", "FETCH", "RANK()"),
        ("SELECT TOP 3 k FROM s", "TOP", "LIMIT 3"),
        ("SELECT k FROM s SORT BY k", "SORT BY", "ORDER BY"),
        ("SELECT k FROM s CLUSTER BY k", "CLUSTER BY", "leave it out"),
        ("SELECT k FROM s DISTRIBUTE BY k", "DISTRIBUTE BY", "leave it out"),
        ("SELECT x FROM s LATERAL VIEW explode(k) t AS x", "LATERAL VIEW", "unnest"),
        ("SELECT k INTO t FROM s", "SELECT INTO", "sink"),
        ("SELECT k FROM s CONNECT BY PRIOR k = k", "CONNECT BY", "join"),
        ("SELECT k FROM s LIMIT 3 BY k", "LIMIT … BY", "ROW_NUMBER()"),
        ("SELECT k FROM s GROUP BY k WITH ROLLUP", "WITH ROLLUP", "ROLLUP (a, b)"),
        ("SELECT k FROM s GROUP BY k WITH TOTALS", "WITH TOTALS", "GROUPING SETS"),
        ("SELECT * FROM s PIVOT (SUM(v) FOR k IN ('a'))", "PIVOT", "FILTER"),
        ("SELECT * FROM s UNPIVOT (v FOR k IN (a))", "UNPIVOT", "UNION ALL"),
        ("SELECT * FROM s AS t (a INT)", "a type", "CAST"),
        ("SELECT x FROM s, UNNEST(k) WITH ORDINALITY", "WITH ORDINALITY", "leave it out"),
        ("SELECT k FROM s GLOBAL JOIN r ON s.k = r.k", "GLOBAL", "JOIN"),
        ("SELECT k FROM s CROSS APPLY r", "APPLY", "UNNEST"),
        ("SELECT abs(DISTINCT v) FROM s", "DISTINCT", "SELECT DISTINCT"),
        ("SELECT abs(v) FILTER (WHERE v > 1) FROM s", "FILTER", "CASE"),
        ("SELECT ABS(v) OVER (PARTITION BY k) FROM s", "OVER", "alone"),
        ("SELECT upper(k) IGNORE NULLS FROM s", "NULLS", "leave it out"),
        ("SELECT upper(k ORDER BY k) FROM s", "ORDER BY", "leave it out"),
        ("SELECT GROUP_CONCAT(k SEPARATOR ',') FROM s", "SEPARATOR", "STRING_AGG"),
        ("SELECT quantile(0.5)(v) FROM s", "parameters", "one list"),
        ("SELECT COUNT(* EXCLUDE (k)) FROM s", "* with options", "COUNT(*)"),
        ("SELECT CAST(k AS VARCHAR(3)) FROM s", "the length", "left(x, 3)"),
        ("SELECT CAST(k AS INT(3)) FROM s", "the width", "INT"),
        ("SELECT CAST(k AS FLOAT(3)) FROM s", "FLOAT(3)", "DOUBLE"),
        ("SELECT k::json FROM s", "JSON", "types are"),
        ("SELECT k COLLATE \"de\" FROM s", "COLLATE", "lower(x)"),
        ("SELECT k RLIKE 'a' FROM s", "RLIKE", "k ~ 'a'"),
        ("SELECT k -> 'a' FROM s", "->", "path"),
        ("SELECT k LIKE ANY ('a') FROM s", "LIKE ANY", "OR"),
        ("SELECT FLOOR(ts TO HOUR) FROM s", "FLOOR", "date_trunc('hour', ts)"),
        ("SELECT INTERVAL '1:30' HOUR TO MINUTE FROM s", "TO in", "1 hour 30 minutes"),
        ("SELECT k FROM (SELECT k FROM s FOR SHARE) q", "FOR SHARE", "leave it out"),
        ("SELECT k FROM s WHERE k IN (SELECT k FROM r FORMAT CSV)", "FORMAT", "sink"),
    ] {
        let refusal = refused(sql).unwrap_or_else(|| panic!("planned: {sql}"));
        assert!(refusal.code == "plan::sql::unused", "{sql}: {refusal:?}");
        assert!(refusal.message.contains(what), "{sql}: {refusal:?}");
        assert!(refusal.help.as_deref().unwrap().contains(help), "{sql}: {refusal:?}");
    }
}

#[test]
fn what_is_used_passes() {
    for sql in [
        "SELECT DISTINCT ON (k) k, COUNT(DISTINCT v) FILTER (WHERE v > 1) FROM s ORDER BY k NULLS FIRST LIMIT 3 OFFSET 2",
        "SELECT FIRST_VALUE(v IGNORE NULLS ORDER BY ts), LAG(v) IGNORE NULLS OVER (PARTITION BY k ORDER BY ts) FROM s",
        "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY v), CAST(v AS DECIMAL(10, 2)), v::TIMESTAMP(3) FROM s GROUP BY ALL",
        "SELECT * EXCLUDE (k) FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' HOUR)) AS t(a, b) NATURAL JOIN r",
        "SELECT {fn abs(v)}, CASE WHEN v > 1 THEN 2 END, EXTRACT(HOUR FROM ts), TRIM(BOTH 'a' FROM k) FROM s",
        "FROM s |> WHERE v > 1 |> SELECT k",
        "SELECT a.k FROM s a LEFT JOIN UNNEST(string_to_array(a.k, ',')) AS t(x) ON TRUE, r",
        "SELECT k FROM s GROUP BY GROUPING SETS ((k), ()) HAVING COUNT(*) > ALL (SELECT 1) UNION ALL BY NAME VALUES (1)",
    ] {
        assert_eq!(refused(sql), None, "{sql}");
    }
}

#[test]
fn the_place_is_that_of_the_clause() {
    let at = |sql: &'static str| refused(sql).and_then(|it| it.at).map(|at| &sql[at]);
    assert_eq!(at("SELECT v FROM s WHERE k RLIKE 'a'"), Some("k"));
    assert_eq!(at("SELECT v FROM s PREWHERE v > 1"), Some("v > 1"));
    assert_eq!(at("SELECT v, abs(v) OVER () FROM s"), Some("abs"));
}

/// `emit_when` is SQL as any other.
#[test]
fn a_condition_is_looked_at_too() {
    for sql in ["abs(n) FILTER (WHERE n > 1) > 1", "n::VARCHAR(3) = 'a'"] {
        let parsed = parse_condition(sql).unwrap();
        assert!(condition(&parsed, sql, &is_scalar).is_err(), "{sql}");
    }
    assert_eq!(condition(&parse_condition("abs(n) > 1").unwrap(), "", &is_scalar), Ok(()));
}
