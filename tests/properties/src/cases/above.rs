//! What runs over closed windows.

use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let counts = "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end";
    let keys = "SELECT id, k FROM events";
    vec![
        case("window_arithmetic", "SELECT k, window_end - window_start AS long, date_part('epoch', window_start) AS epoch, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end")
            .sessions(keys),
        case("per_second", "SELECT k, window_start, window_end, COUNT(*) * 1000.0 / GREATEST(SUM(i), 1) AS rate FROM {events} GROUP BY k, window_start, window_end")
            .sessions(keys)
            .floats(),
        case("now_in_select", "SELECT k, window_start, window_end, COUNT(*) AS n, {now} AS at FROM {events} GROUP BY k, window_start, window_end")
            .sessions(keys),
        case("now_in_having", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end HAVING window_end < {now}")
            .sessions(keys),
        case("outer_filter", &format!("SELECT * FROM ({counts}) c WHERE n > 1 AND window_start >= '1970-01-01T00:00:00'"))
            .sessions(keys),
        case("outer_order", &format!("{counts} ORDER BY n DESC, k")).sessions(keys),
        case("limit_per_window", &format!("{counts} ORDER BY n DESC, k LIMIT 2"))
            .oracle(&format!("SELECT k, window_start, window_end, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, k) AS r FROM ({counts})) WHERE r <= 2")),
        case("limit_and_offset_per_window", &format!("{counts} ORDER BY k LIMIT 1 OFFSET 1"))
            .oracle(&format!("SELECT k, window_start, window_end, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY k) AS r FROM ({counts})) WHERE r = 2")),
        case("qualify", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY COUNT(*) DESC, k) <= 2").sessions(keys),
        case("qualify_per_key", "SELECT k, s, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, s, window_start, window_end QUALIFY ROW_NUMBER() OVER (PARTITION BY k, window_start, window_end ORDER BY COUNT(*) DESC, s) = 1").sessions("SELECT id, k, s FROM events"),
        case("rank", "SELECT k, window_start, window_end, COUNT(*) AS n, RANK() OVER (PARTITION BY window_start, window_end ORDER BY COUNT(*) DESC) AS rank, DENSE_RANK() OVER (PARTITION BY window_start, window_end ORDER BY COUNT(*)) AS dense FROM {events} GROUP BY k, window_start, window_end").sessions(keys),
        case("share", "SELECT k, window_start, window_end, SUM(i) AS total, SUM(SUM(i)) OVER (PARTITION BY window_start, window_end) AS all_keys, COUNT(*) OVER (PARTITION BY window_start, window_end) AS keys FROM {events} GROUP BY k, window_start, window_end").sessions(keys),
        case("lag", "SELECT k, window_start, window_end, COUNT(*) AS n, LAG(COUNT(*)) OVER (PARTITION BY window_start, window_end ORDER BY k) AS before, FIRST_VALUE(k) OVER (PARTITION BY window_start, window_end ORDER BY k) AS first FROM {events} GROUP BY k, window_start, window_end").sessions(keys),
        case("top_n_in_subquery", &format!("SELECT k, n, window_start FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, k) AS r FROM ({counts}) c) t WHERE r <= 1")).sessions(keys),
        case("second_aggregate", &format!("SELECT window_start, window_end, MAX(n) AS most, AVG(n) AS mean, COUNT(*) AS keys FROM ({counts}) c GROUP BY window_start, window_end")).sessions(keys),
        case("second_aggregate_by_key", "SELECT k, window_start, window_end, MAX(n) AS most, SUM(n) AS all FROM (SELECT k, g, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, g, window_start, window_end) c GROUP BY k, window_start, window_end").sessions("SELECT id, k, g FROM events"),
        case("third_aggregate", "SELECT window_start, window_end, SUM(most) AS x FROM (SELECT k, window_start, window_end, MAX(n) AS most FROM (SELECT k, g, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, g, window_start, window_end) c GROUP BY k, window_start, window_end) m GROUP BY window_start, window_end").sessions("SELECT id, k, g FROM events"),
        case("histogram", &format!("SELECT n, window_start, window_end, COUNT(*) AS keys, STRING_AGG(k, ',' ORDER BY k) AS who FROM ({counts}) c GROUP BY n, window_start, window_end")).sessions(keys),
        case("second_aggregate_sets", &format!("SELECT n, window_start, window_end, COUNT(*) AS keys FROM ({counts}) c GROUP BY GROUPING SETS ((window_start, window_end, n), (window_start, window_end))")).sessions(keys),
        case("nexmark_q5", "SELECT a.k, a.n, a.window_start, a.window_end FROM (SELECT k, COUNT(*) AS n, window_start, window_end FROM {events} GROUP BY k, window_start, window_end) a JOIN (SELECT MAX(n) AS most, window_start, window_end FROM (SELECT k, COUNT(*) AS n, window_start, window_end FROM {events} GROUP BY k, window_start, window_end) c GROUP BY window_start, window_end) m ON a.window_start = m.window_start AND a.window_end = m.window_end AND a.n >= m.most").sessions(keys),
        case("nexmark_q5_with", "WITH counts AS (SELECT k, COUNT(*) AS n, window_start, window_end FROM {events} GROUP BY k, window_start, window_end) SELECT c.k, c.n, c.window_start FROM counts c JOIN (SELECT window_start, window_end, MAX(n) AS most FROM counts GROUP BY window_start, window_end) m ON c.window_start = m.window_start AND c.window_end = m.window_end WHERE c.n = m.most").sessions(keys),
        case("join_of_aggregates", "SELECT a.k, a.n, b.total, a.window_start, a.window_end FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end) a JOIN (SELECT k, window_start, window_end, SUM(i) AS total FROM {others} GROUP BY k, window_start, window_end) b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end"),
        case("left_join_of_aggregates", "SELECT a.k, a.n, b.n AS m, a.window_start, a.window_end FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end) a LEFT JOIN (SELECT k, window_start, window_end, COUNT(*) AS n FROM {others} GROUP BY k, window_start, window_end) b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end"),
        case("full_join_of_aggregates", "SELECT COALESCE(a.k, b.k) AS k, a.n, b.n AS m, COALESCE(a.window_start, b.window_start) AS ws FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end) a FULL JOIN (SELECT k, window_start, window_end, COUNT(*) AS n FROM {others} GROUP BY k, window_start, window_end) b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end"),
        case("union_of_aggregates", "SELECT 'k' AS what, k AS value, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end UNION ALL SELECT 's', s, window_start, window_end, COUNT(*) FROM {events} GROUP BY s, window_start, window_end"),
        case("union_of_two_streams_above", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end UNION ALL SELECT k, window_start, window_end, COUNT(*) AS n FROM {others} GROUP BY k, window_start, window_end"),
        case("lookup_above", &format!("SELECT c.k, m.name, c.n, c.window_start FROM ({counts}) c JOIN names m ON m.k = c.k"))
            .sessions(keys),
        case("left_lookup_above", &format!("SELECT c.k, m.name, c.n, c.window_start FROM ({counts}) c LEFT JOIN names m ON m.k = c.k"))
            .sessions(keys),
        case("semi_lookup_above", &format!("SELECT * FROM ({counts}) c WHERE k IN (SELECT k FROM names)"))
            .sessions(keys),
        case("scalar_subquery_above", &format!("SELECT k, window_start, n * (SELECT MAX(weight) FROM names) AS x FROM ({counts}) c"))
            .sessions(keys),
        case("distinct_above", "SELECT DISTINCT n, window_start, window_end FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end) c").sessions(keys),
        case("filtered_aggregates_apart", "SELECT window_start, window_end, SUM(n) FILTER (WHERE k = 'a') AS a, SUM(n) AS all FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end) c GROUP BY window_start, window_end").sessions(keys),
        case("same_function_twice", "SELECT k, window_start, window_end, COUNT(*) AS n, COUNT(*) AS again, SUM(i) AS total, SUM(i) + 1 AS more FROM {events} GROUP BY k, window_start, window_end")
            .sessions(keys),
        case("constant_column", "SELECT 'v1' AS version, k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end")
            .sessions(keys),
    ]
}
