//! Window by window, below other stages: ranks, LIMIT, a second aggregate, UNION, and joins of windows
//! that close at different watermarks.

use super::{HOPS, Stages, TEN};
use crate::windows::Windows;

/// What OVER with ROWS keeps is kept.
const KEEP: &str = "keep = \"forever\"\n";

const fn within(
    windows: Windows,
    name: &'static str,
    sql: &'static str,
    oracle: &'static str,
) -> Stages {
    Stages { name, sql, oracle, windows, grace: 3, settings: KEEP, judges_late: false }
}

/// All of them.
pub(super) const ALL: [Stages; 12] = [
    within(
        TEN,
        "windows_of_the_best",
        "WITH best AS (SELECT k, window_start, window_end, COUNT(*) AS n
                       FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
                       GROUP BY k, window_start, window_end
                       QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end
                                                  ORDER BY COUNT(*) DESC, k) <= 2)
         SELECT k, window_start, COUNT(*) AS times, SUM(n) AS n
         FROM TUMBLE(best, window_start, INTERVAL '30 milliseconds') GROUP BY k, window_start, window_end",
        "WITH c AS (SELECT k, window_start, window_end, COUNT(*) AS n FROM w_events
                    GROUP BY k, window_start, window_end),
              best AS (SELECT *, CAST(date_bin(INTERVAL '30 milliseconds', window_start,
                          TIMESTAMP '1970-01-01') AS TIMESTAMP(3)) AS at FROM c
                       QUALIFY ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n DESC, k) <= 2)
         SELECT k, at AS window_start, COUNT(*) AS times, SUM(n) AS n FROM best GROUP BY k, at",
    ),
    within(
        HOPS,
        "over_of_the_most",
        "WITH c AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM HOP(events, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds')
                    GROUP BY k, window_start, window_end),
              m AS (SELECT window_start, window_end, MAX(n) AS most, COUNT(*) AS keys FROM c
                    GROUP BY window_start, window_end)
         SELECT window_end, most, SUM(most) OVER (ORDER BY window_end
                  RANGE BETWEEN INTERVAL '12 milliseconds' PRECEDING AND CURRENT ROW) AS lately,
                LAG(keys) OVER (ORDER BY window_end) AS before
         FROM m",
        "WITH c AS (SELECT k, window_end, COUNT(*) AS n FROM w_events GROUP BY k, window_end),
              m AS (SELECT window_end, MAX(n) AS most, COUNT(*) AS keys FROM c GROUP BY window_end)
         SELECT window_end, most, SUM(most) OVER (ORDER BY window_end
                  RANGE BETWEEN INTERVAL '12 milliseconds' PRECEDING AND CURRENT ROW) AS lately,
                LAG(keys) OVER (ORDER BY window_end) AS before
         FROM m",
    ),
    within(
        TEN,
        "over_of_the_fewest",
        "SELECT id, i, window_end, COUNT(*) OVER (PARTITION BY k ORDER BY window_end) AS times
         FROM (SELECT * FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') ORDER BY i, id LIMIT 3)",
        "SELECT id, i, window_end, COUNT(*) OVER (PARTITION BY k ORDER BY window_end) AS times
         FROM (SELECT * FROM w_events
               QUALIFY ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY i, id) <= 3)",
    ),
    within(
        TEN,
        "sessions_of_the_firsts",
        "WITH f AS (SELECT id, ts, k FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
                    QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k
                                               ORDER BY ts, id) = 1)
         SELECT k, window_start, window_end, COUNT(*) AS n
         FROM SESSION(f, ts, INTERVAL '12 milliseconds') GROUP BY k, window_start, window_end",
        "WITH f AS (SELECT id, ts, k FROM w_events
                    QUALIFY ROW_NUMBER() OVER (PARTITION BY window_end, k ORDER BY ts, id) = 1),
              m AS (SELECT *, CASE WHEN ts <= LAG(ts) OVER (PARTITION BY k ORDER BY ts)
                      + INTERVAL '12 milliseconds' THEN 0 ELSE 1 END AS first FROM f),
              s AS (SELECT *, SUM(first) OVER (PARTITION BY k ORDER BY ts) AS session FROM m)
         SELECT k, MIN(ts) AS window_start,
                CAST(MAX(ts) + INTERVAL '12 milliseconds' AS TIMESTAMP(3)) AS window_end, COUNT(*) AS n
         FROM s GROUP BY k, session",
    ),
    within(
        TEN,
        "windows_of_united_counts",
        "WITH u AS (SELECT 'e' AS of, k, window_start, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end
                    UNION ALL
                    SELECT 'o' AS of, k, window_start, MAX(g) AS n
                    FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end)
         SELECT of, window_end, SUM(n) AS n, COUNT(*) AS c
         FROM TUMBLE(u, window_start, INTERVAL '20 milliseconds') GROUP BY of, window_start, window_end",
        "WITH u AS (SELECT 'e' AS of, k, window_start, COUNT(*) AS n FROM w_events GROUP BY k, window_start
                    UNION ALL
                    SELECT 'o' AS of, k, window_start, MAX(g) AS n FROM w_others GROUP BY k, window_start),
              w AS (SELECT *, CAST(date_bin(INTERVAL '20 milliseconds', window_start,
                      TIMESTAMP '1970-01-01') + INTERVAL '20 milliseconds' AS TIMESTAMP(3)) AS window_end
                    FROM u)
         SELECT of, window_end, SUM(n) AS n, COUNT(*) AS c FROM w GROUP BY of, window_end",
    ),
    // A join in the upper plan lost the windows that its sides closed at different ticks.
    within(
        TEN,
        "a_join_of_windows_that_close_at_different_watermarks",
        "WITH c AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end),
              m AS (SELECT window_start, window_end, MAX(n) AS n
                    FROM TUMBLE(c, window_start, INTERVAL '10 milliseconds') GROUP BY window_start, window_end)
         SELECT c.k, c.window_end, c.n FROM c
         JOIN m ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.n = m.n",
        "WITH c AS (SELECT k, window_end, COUNT(*) AS n FROM w_events GROUP BY k, window_end),
              m AS (SELECT window_end, MAX(n) AS n FROM c GROUP BY window_end)
         SELECT c.k, c.window_end, c.n FROM c JOIN m ON c.window_end = m.window_end AND c.n = m.n",
    ),
    within(
        TEN,
        "an_aggregate_of_windows_that_close_at_different_watermarks",
        "WITH c AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end),
              m AS (SELECT window_start, window_end, MAX(n) AS n
                    FROM TUMBLE(c, window_start, INTERVAL '10 milliseconds') GROUP BY window_start, window_end),
              u AS (SELECT window_start, window_end, n FROM c UNION ALL SELECT window_start, window_end, n FROM m)
         SELECT window_end, COUNT(*) AS c, SUM(n) AS n FROM u GROUP BY window_start, window_end",
        "WITH c AS (SELECT k, window_end, COUNT(*) AS n FROM w_events GROUP BY k, window_end),
              m AS (SELECT window_end, MAX(n) AS n FROM c GROUP BY window_end),
              u AS (SELECT window_end, n FROM c UNION ALL SELECT window_end, n FROM m)
         SELECT window_end, COUNT(*) AS c, SUM(n) AS n FROM u GROUP BY window_end",
    ),
    within(
        TEN,
        "a_rank_of_windows_that_close_at_different_watermarks",
        "WITH c AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end),
              m AS (SELECT window_start, window_end, MIN(n) AS n
                    FROM TUMBLE(c, window_start, INTERVAL '10 milliseconds') GROUP BY window_start, window_end)
         SELECT c.k, c.window_end, c.n - m.n AS more,
                RANK() OVER (PARTITION BY c.window_start, c.window_end ORDER BY c.n DESC) AS place
         FROM c LEFT JOIN m ON c.window_start = m.window_start AND c.window_end = m.window_end",
        "WITH c AS (SELECT k, window_end, COUNT(*) AS n FROM w_events GROUP BY k, window_end),
              m AS (SELECT window_end, MIN(n) AS n FROM c GROUP BY window_end)
         SELECT c.k, c.window_end, c.n - m.n AS more,
                RANK() OVER (PARTITION BY c.window_end ORDER BY c.n DESC) AS place
         FROM c LEFT JOIN m ON c.window_end = m.window_end",
    ),
    within(
        TEN,
        "windows_of_the_unmarked",
        "WITH j AS (SELECT a.id, a.i, a.window_start FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
                    WHERE a.i > 2 OR EXISTS (SELECT 1 FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                                             WHERE b.window_start = a.window_start
                                               AND b.window_end = a.window_end AND b.k = a.k))
         SELECT window_end, COUNT(*) AS n, SUM(i) AS s
         FROM TUMBLE(j, window_start, INTERVAL '20 milliseconds') GROUP BY window_start, window_end",
        "WITH j AS (SELECT a.id, a.i, CAST(date_bin(INTERVAL '20 milliseconds', a.window_start,
                        TIMESTAMP '1970-01-01') + INTERVAL '20 milliseconds' AS TIMESTAMP(3)) AS window_end
                    FROM w_events a
                    WHERE a.i > 2 OR EXISTS (SELECT 1 FROM w_others b
                                             WHERE b.window_end = a.window_end AND b.k = a.k))
         SELECT window_end, COUNT(*) AS n, SUM(i) AS s FROM j GROUP BY window_end",
    ),
    within(
        TEN,
        "a_join_with_the_best",
        "SELECT e.id, best.k, best.n FROM events e
         JOIN (SELECT k, window_start, window_end, COUNT(*) AS n
               FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end
               QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end
                                          ORDER BY COUNT(*) DESC, k) = 1) best
           ON e.ts >= best.window_end AND e.ts < best.window_end + INTERVAL '10 milliseconds'",
        "WITH c AS (SELECT k, window_end, COUNT(*) AS n FROM w_others GROUP BY k, window_end),
              best AS (SELECT * FROM c
                       QUALIFY ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n DESC, k) = 1)
         SELECT e.id, best.k, best.n FROM events e JOIN best
           ON e.ts >= best.window_end AND e.ts < best.window_end + INTERVAL '10 milliseconds'",
    ),
    within(
        TEN,
        "rows_that_do_not_tell_their_window_beside_counts",
        "SELECT id AS x, 1 AS n FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
         UNION ALL
         SELECT n AS x, 2 AS n FROM (SELECT window_end, COUNT(*) AS n
           FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') GROUP BY window_end)",
        "SELECT id AS x, 1 AS n FROM w_events
         UNION ALL
         SELECT n AS x, 2 AS n FROM (SELECT window_end, COUNT(*) AS n FROM w_others GROUP BY window_end)",
    ),
    within(
        TEN,
        "ranks_of_ranks",
        "WITH best AS (SELECT k, window_start, window_end, SUM(i) AS n
                       FROM TUMBLE(events, ts, INTERVAL '5 milliseconds')
                       GROUP BY k, window_start, window_end
                       QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end
                                                  ORDER BY SUM(i) DESC, k) <= 2)
         SELECT k, window_start, SUM(n) AS n
         FROM TUMBLE(best, window_start, INTERVAL '20 milliseconds') GROUP BY k, window_start, window_end
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY SUM(n) DESC, k) = 1",
        "WITH c AS (SELECT k, date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01') AS at,
                           SUM(i) AS n FROM events GROUP BY 1, 2),
              best AS (SELECT * FROM c QUALIFY ROW_NUMBER() OVER (PARTITION BY at ORDER BY n DESC, k) <= 2),
              w AS (SELECT k, CAST(date_bin(INTERVAL '20 milliseconds', at, TIMESTAMP '1970-01-01')
                      AS TIMESTAMP(3)) AS window_start, SUM(n) AS n FROM best GROUP BY 1, 2)
         SELECT * FROM w
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start ORDER BY n DESC, k) = 1",
    ),
];
