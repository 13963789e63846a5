//! GROUPING SETS, ROLLUP, CUBE, GROUPING() and HAVING.

use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("grouping_sets", "SELECT k, g, window_start, window_end, COUNT(*) AS n, SUM(i) AS total FROM {events} GROUP BY window_start, window_end, GROUPING SETS ((k), (g), (k, g), ())"),
        case("grouping_sets_with_window", "SELECT k, b, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY GROUPING SETS ((window_start, window_end, k), (window_start, window_end, b))"),
        case("grouping_set_twice", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY window_start, window_end, GROUPING SETS ((k), (k), ())"),
        case("rollup", "SELECT k, g, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY window_start, window_end, ROLLUP (k, g)"),
        case("cube", "SELECT k, b, window_start, window_end, MAX(i) AS x FROM {events} GROUP BY window_start, window_end, CUBE (k, b)"),
        case("grouping_function", "SELECT k, g, GROUPING(k) AS all_k, GROUPING(g) AS all_g, GROUPING(k, g) AS both, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY window_start, window_end, ROLLUP (k, g)"),
        case("grouping_in_having", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY window_start, window_end, ROLLUP (k) HAVING GROUPING(k) = 1 OR COUNT(*) > 2"),
        case("rollup_of_ordered", "SELECT k, window_start, window_end, FIRST_VALUE(id {order}) AS first, COUNT(DISTINCT s) AS kinds FROM {events} GROUP BY window_start, window_end, ROLLUP (k)"),
        case("rollup_of_nulls", "SELECT s, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY window_start, window_end, ROLLUP (s)"),
        case("rollup_of_expression", "SELECT UPPER(k) AS u, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY window_start, window_end, ROLLUP (UPPER(k))"),
        case("having", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end HAVING COUNT(*) > 1 AND SUM(i) > 3")
            .sessions("SELECT id, k FROM events"),
        case("having_other_aggregate", "SELECT k, window_start, window_end, MIN(s) AS x FROM {events} GROUP BY k, window_start, window_end HAVING MAX(i) IS NOT NULL")
            .sessions("SELECT id, k FROM events"),
        case("having_window", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end HAVING window_end > '1970-01-01T00:00:00.050'")
            .sessions("SELECT id, k FROM events"),
        case("having_nothing", "SELECT k, window_start, window_end, COUNT(*) AS n FROM {events} GROUP BY k, window_start, window_end HAVING COUNT(*) < 0"),
    ]
}
