//! What runs in ingest: filters, projections, joins with tables, unions, keys.

use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("no_key", "SELECT window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY window_start, window_end")
            .sessions("SELECT id FROM events"),
        case("aliased", "SELECT e.k, e.window_start, e.window_end, SUM(e.i) AS total FROM {events} AS e GROUP BY e.k, e.window_start, e.window_end")
            .sessions("SELECT id, k FROM events"),
        case("start_only", "SELECT k, window_start, COUNT(*) AS n FROM {events} GROUP BY k, window_start").one_bound(),
        case("end_only", "SELECT window_end, k, COUNT(*) AS n FROM {events} GROUP BY window_end, k").one_bound(),
        case("window_not_selected", "SELECT k, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM events"),
        case("key_not_selected", "SELECT window_start, MAX(i) AS x FROM {events} GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM events"),
        case("no_aggregate_function", "SELECT k, g, window_start, window_end FROM {events} GROUP BY k, g, window_start, window_end"),
        case("ordinals", "SELECT window_start, window_end, k, COUNT(*) FROM {events} GROUP BY 1, 2, 3")
            .sessions("SELECT id, k FROM events"),
        case("filtered", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} WHERE i > 2 AND b IS NOT FALSE GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM events WHERE i > 2 AND b IS NOT FALSE"),
        case("filtered_text", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} WHERE s LIKE 'x%' OR s IN ('y', 'zz') GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM events WHERE s LIKE 'x%' OR s IN ('y', 'zz')"),
        case("filtered_away", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} WHERE i < -1000 GROUP BY k, window_start, window_end"),
        case("filtered_by_time", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} WHERE ts >= '1970-01-01T00:00:00' GROUP BY k, window_start, window_end"),
        case("filtered_by_window", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} WHERE window_start >= '1970-01-01T00:00:00' GROUP BY k, window_start, window_end").tumbling(),
        case("argument_of_window", "SELECT k, window_start, window_end, MAX(ts - window_start) AS x FROM {events} GROUP BY k, window_start, window_end").tumbling(),
        case("key_expression", "SELECT UPPER(k) AS key, g % 2 AS odd, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY UPPER(k), g % 2, window_start, window_end")
            .sessions("SELECT id, UPPER(k), g % 2 FROM events"),
        case("key_case", "SELECT CASE WHEN i > 3 THEN 'high' WHEN i IS NULL THEN NULL ELSE 'low' END AS level, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY level, window_start, window_end")
            .sessions("SELECT id, CASE WHEN i > 3 THEN 'high' WHEN i IS NULL THEN NULL ELSE 'low' END FROM events"),
        case("key_of_every_type", "SELECT b, d, dec, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY b, d, dec, window_start, window_end")
            .sessions("SELECT id, b, d, dec FROM events"),
        case("key_float", "SELECT f, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY f, window_start, window_end"),
        case("key_time", "SELECT date_trunc('second', t) AS second, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY second, window_start, window_end"),
        case("time_functions", "SELECT EXTRACT(DOW FROM d) AS day, to_char(d, '%Y-%m') AS month, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY 1, 2, window_start, window_end"),
        case("text_functions", "SELECT SUBSTR(s, 1, 1) AS c, LENGTH(k) AS l, window_start, window_end, STRING_AGG(TRIM(CONCAT(k, '/', s)), '|' {order}) AS x FROM {events} GROUP BY 1, 2, window_start, window_end"),
        case("regular_expression", "SELECT regexp_replace(s, '[xy]', '*') AS r, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY 1, window_start, window_end"),
        case("subquery", "SELECT key, window_start, window_end, SUM(j) AS total FROM (SELECT k AS key, i * 2 AS j, window_start, window_end FROM {events} WHERE i > 1) x GROUP BY key, window_start, window_end")
            .sessions("SELECT id, k FROM events WHERE i > 1"),
        case("renamed_window", "SELECT ws, we, COUNT(*) AS n FROM (SELECT window_start AS ws, window_end AS we, k FROM {events}) x GROUP BY ws, we")
            .sessions("SELECT id FROM events"),
        case("nested_subqueries", "SELECT k, window_start, window_end, MIN(j) AS x FROM (SELECT *, j0 + 1 AS j FROM (SELECT *, i + g AS j0 FROM {events} WHERE g IS NOT NULL) a WHERE j0 > 0) b GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM events WHERE g IS NOT NULL AND i + g > 0"),
        case("with", "WITH big AS (SELECT * FROM {events} WHERE i > 2) SELECT k, window_start, window_end, COUNT(*) AS n FROM big GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM events WHERE i > 2"),
        case("join", "SELECT n.name, window_start, window_end, COUNT(*) AS n, SUM(n.weight) AS weight FROM {events} e JOIN names n ON n.k = e.k GROUP BY n.name, window_start, window_end"),
        case("join_using_json", "SELECT r.label, window_start, window_end, COUNT(*) AS n FROM {events} e JOIN ranks r ON e.i = r.i GROUP BY r.label, window_start, window_end")
            .sessions("SELECT id, r.label FROM events e JOIN ranks r ON e.i = r.i"),
        case("left_join", "SELECT n.name, window_start, window_end, COUNT(*) AS n FROM {events} e LEFT JOIN names n ON n.k = e.k GROUP BY n.name, window_start, window_end"),
        case("left_join_json", "SELECT COALESCE(r.label, 'none') AS label, window_start, window_end, COUNT(*) AS n FROM {events} e LEFT JOIN ranks r ON e.i = r.i GROUP BY 1, window_start, window_end")
            .sessions("SELECT id, COALESCE(r.label, 'none') FROM events e LEFT JOIN ranks r ON e.i = r.i"),
        case("right_join", "SELECT n.name, window_start, window_end, COUNT(*) AS n FROM names n RIGHT JOIN {events} e ON n.k = e.k GROUP BY n.name, window_start, window_end"),
        case("join_parquet_by_range", "SELECT p.g, window_start, window_end, COUNT(*) AS n FROM {events} e JOIN bounds p ON e.f >= p.low AND e.f < p.high GROUP BY p.g, window_start, window_end"),
        case("join_parquet_both", "SELECT e.k, window_start, window_end, SUM(p.high) AS x FROM {events} e JOIN bounds p ON e.g = p.g AND e.f > p.low GROUP BY e.k, window_start, window_end").floats(),
        case("left_join_by_range", "SELECT p.g, window_start, window_end, COUNT(*) AS n FROM {events} e LEFT JOIN bounds p ON e.f >= p.low AND e.f < p.high GROUP BY p.g, window_start, window_end"),
        case("cross_join", "SELECT p.g, e.k, window_start, window_end, COUNT(*) AS n FROM {events} e CROSS JOIN bounds p GROUP BY p.g, e.k, window_start, window_end"),
        case("two_joins", "SELECT n.name, r.label, window_start, window_end, COUNT(*) AS n FROM {events} e JOIN names n ON n.k = e.k LEFT JOIN ranks r ON r.i = e.i WHERE n.weight < 4 GROUP BY n.name, r.label, window_start, window_end"),
        case("semi_join", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} WHERE k IN (SELECT k FROM names) GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM events WHERE k IN (SELECT k FROM names)"),
        case("anti_join", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} e WHERE NOT EXISTS (SELECT 1 FROM names n WHERE n.k = e.k) GROUP BY k, window_start, window_end"),
        case("not_in", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} WHERE i NOT IN (SELECT i FROM ranks) GROUP BY k, window_start, window_end"),
        case("scalar_subquery", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} WHERE i > (SELECT MIN(weight) FROM names) GROUP BY k, window_start, window_end"),
        case("join_aggregated_table", "SELECT t.total, window_start, window_end, COUNT(*) AS n FROM {events} e JOIN (SELECT k, SUM(weight) AS total FROM names GROUP BY k) t ON t.k = e.k GROUP BY t.total, window_start, window_end"),
        case("first_of_joined", "SELECT n.name, window_start, window_end, FIRST_VALUE(e.id {order}) AS first, LAST_VALUE(e.s {order}) AS last FROM {events} e JOIN names n ON n.k = e.k GROUP BY n.name, window_start, window_end"),
        case("union_of_streams", "SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS total FROM (SELECT k, i, window_start, window_end FROM {events} UNION ALL SELECT k, i, window_start, window_end FROM {others}) u GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM events UNION ALL SELECT id, k FROM others"),
        case("union_of_parts", "SELECT what, window_start, window_end, COUNT(*) AS n FROM (SELECT 'e' AS what, window_start, window_end FROM {events} WHERE b UNION ALL SELECT 'o', window_start, window_end FROM {others} WHERE i > 1) u GROUP BY what, window_start, window_end")
            .sessions("SELECT id, 'e' FROM events WHERE b UNION ALL SELECT id, 'o' FROM others WHERE i > 1"),
        case("union_with_itself", "SELECT k, window_start, window_end, COUNT(*) AS n FROM (SELECT k, window_start, window_end FROM {events} UNION ALL SELECT s AS k, window_start, window_end FROM {events} WHERE b) u GROUP BY k, window_start, window_end"),
        case("other_stream", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {others} GROUP BY k, window_start, window_end")
            .sessions("SELECT id, k FROM others"),
        case("select_distinct", "SELECT DISTINCT k, window_start, window_end FROM {events}")
            .sessions("SELECT id, k FROM events"),
        case("select_distinct_expression", "SELECT DISTINCT i % 3 AS r, s, window_start, window_end FROM {events} WHERE i IS NOT NULL"),
        case("arrival", "SELECT window_start, window_end, MIN(arrival_time) AS first, COUNT(arrival_time) AS n FROM {events} GROUP BY window_start, window_end"),
        case("unnested", "SELECT item, window_start, window_end, COUNT(*) AS n FROM (SELECT UNNEST(make_array(i, g)) AS item, window_start, window_end FROM {events}) u GROUP BY item, window_start, window_end"),
    ]
}
