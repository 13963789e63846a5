//! Stages after stages: window joins that feed another stage, sessions and count windows over results.

use super::{HOPS, Stages, TEN, on_time};
use crate::windows::Windows;

/// What OVER with ROWS and count windows keep is kept.
const KEEP: &str = "keep = \"forever\"\n";

const fn over(
    windows: Windows,
    name: &'static str,
    sql: &'static str,
    oracle: &'static str,
) -> Stages {
    Stages { name, sql, oracle, windows, grace: 3, settings: KEEP, judges_late: false }
}

/// All of them.
pub(super) const ALL: [Stages; 14] = [
    over(
        HOPS,
        "windows_of_an_inner_join",
        "WITH j AS (SELECT a.k, a.i, b.g, a.window_start, a.window_end
                    FROM HOP(events, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds') a
                    JOIN HOP(others, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds') b
                      ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.k = b.k)
         SELECT k, window_end, COUNT(*) AS n, SUM(i) AS s, MAX(g) AS g
         FROM TUMBLE(j, window_end, INTERVAL '20 milliseconds') GROUP BY k, window_start, window_end",
        "WITH j AS (SELECT a.k, a.i, b.g, a.window_end AS at FROM w_events a JOIN w_others b
                      ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.k = b.k),
              w AS (SELECT *, CAST(date_bin(INTERVAL '20 milliseconds', at, TIMESTAMP '1970-01-01')
                        + INTERVAL '20 milliseconds' AS TIMESTAMP(3)) AS window_end FROM j)
         SELECT k, window_end, COUNT(*) AS n, SUM(i) AS s, MAX(g) AS g FROM w GROUP BY k, window_end",
    ),
    over(
        TEN,
        "over_of_a_left_join",
        "SELECT id, other, window_end, SUM(i) OVER (PARTITION BY k ORDER BY window_end
                  RANGE BETWEEN INTERVAL '20 milliseconds' PRECEDING AND CURRENT ROW) AS lately
         FROM (SELECT a.id, b.id AS other, a.k, a.i, a.window_end
               FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
               LEFT JOIN TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                 ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end
                AND a.g < b.g)",
        "SELECT id, other, window_end, SUM(i) OVER (PARTITION BY k ORDER BY window_end
                  RANGE BETWEEN INTERVAL '20 milliseconds' PRECEDING AND CURRENT ROW) AS lately
         FROM (SELECT a.id, b.id AS other, a.k, a.i, a.window_end FROM w_events a
               LEFT JOIN w_others b
                 ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end
                AND a.g < b.g)",
    ),
    over(
        TEN,
        "windows_of_a_right_join",
        "WITH j AS (SELECT a.id, b.k, b.window_start
                    FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
                    RIGHT JOIN TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                      ON a.window_start = b.window_start AND a.k IS NOT DISTINCT FROM b.k)
         SELECT k, window_end, COUNT(*) AS n, COUNT(id) AS m
         FROM TUMBLE(j, window_start, INTERVAL '30 milliseconds') GROUP BY k, window_start, window_end",
        "WITH j AS (SELECT a.id, b.k, b.window_start AS at FROM w_events a RIGHT JOIN w_others b
                      ON a.window_start = b.window_start AND a.k IS NOT DISTINCT FROM b.k),
              w AS (SELECT *, CAST(date_bin(INTERVAL '30 milliseconds', at, TIMESTAMP '1970-01-01')
                        + INTERVAL '30 milliseconds' AS TIMESTAMP(3)) AS window_end FROM j)
         SELECT k, window_end, COUNT(*) AS n, COUNT(id) AS m FROM w GROUP BY k, window_end",
    ),
    over(
        TEN,
        "over_of_a_full_join",
        "SELECT id, other, at, COUNT(*) OVER (PARTITION BY k ORDER BY at
                  RANGE BETWEEN INTERVAL '15 milliseconds' PRECEDING AND CURRENT ROW) AS n
         FROM (SELECT a.id, b.id AS other, COALESCE(b.k, a.k) AS k,
                      COALESCE(a.window_end, b.window_end) AS at
               FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
               FULL JOIN TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                 ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end)",
        "SELECT id, other, at, COUNT(*) OVER (PARTITION BY k ORDER BY at
                  RANGE BETWEEN INTERVAL '15 milliseconds' PRECEDING AND CURRENT ROW) AS n
         FROM (SELECT a.id, b.id AS other, COALESCE(b.k, a.k) AS k,
                      COALESCE(a.window_end, b.window_end) AS at
               FROM w_events a FULL JOIN w_others b
                 ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end)",
    ),
    over(
        TEN,
        "over_of_a_semi_join",
        "SELECT id, ts, SUM(i) OVER (PARTITION BY k ORDER BY ts
                  ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS three
         FROM (SELECT * FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
               WHERE EXISTS (SELECT 1 FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                             WHERE b.window_end = a.window_end AND b.window_start = a.window_start
                               AND b.k = a.k))",
        "SELECT id, ts, SUM(i) OVER (PARTITION BY k ORDER BY ts, __log, __offset
                  ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS three
         FROM (SELECT a.* FROM w_events a LEFT SEMI JOIN w_others b
                 ON b.window_end = a.window_end AND b.k = a.k)",
    ),
    over(
        TEN,
        "windows_of_an_anti_join",
        "WITH j AS (SELECT * FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
                    WHERE NOT EXISTS (SELECT 1 FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                                      WHERE b.window_end = a.window_end AND b.k = a.k))
         SELECT window_start, window_end, COUNT(*) AS n, SUM(i) AS s
         FROM TUMBLE(j, ts, INTERVAL '5 milliseconds') GROUP BY window_start, window_end",
        "WITH j AS (SELECT a.* FROM w_events a LEFT ANTI JOIN w_others b
                      ON b.window_end = a.window_end AND b.k = a.k),
              w AS (SELECT i, CAST(date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01')
                                   AS TIMESTAMP(3)) AS at FROM j)
         SELECT at AS window_start, CAST(at + INTERVAL '5 milliseconds' AS TIMESTAMP(3)) AS window_end,
                COUNT(*) AS n, SUM(i) AS s FROM w GROUP BY at",
    ),
    over(
        TEN,
        "windows_of_joined_counts",
        "WITH a AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end),
              b AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end),
              j AS (SELECT a.k, a.n, b.n AS m, a.window_start
                    FROM a LEFT JOIN b ON a.k = b.k AND a.window_start = b.window_start
                                      AND a.window_end = b.window_end)
         SELECT window_end, SUM(n) AS n, SUM(m) AS m, COUNT(*) AS c
         FROM TUMBLE(j, window_start, INTERVAL '30 milliseconds') GROUP BY window_start, window_end",
        "WITH a AS (SELECT k, window_end, COUNT(*) AS n FROM w_events GROUP BY k, window_end),
              b AS (SELECT k, window_end, COUNT(*) AS n FROM w_others GROUP BY k, window_end),
              j AS (SELECT a.n, b.n AS m, a.window_end - INTERVAL '10 milliseconds' AS at
                    FROM a LEFT JOIN b ON a.k = b.k AND a.window_end = b.window_end),
              w AS (SELECT *, CAST(date_bin(INTERVAL '30 milliseconds', at, TIMESTAMP '1970-01-01')
                        + INTERVAL '30 milliseconds' AS TIMESTAMP(3)) AS window_end FROM j)
         SELECT window_end, SUM(n) AS n, SUM(m) AS m, COUNT(*) AS c FROM w GROUP BY window_end",
    ),
    on_time(
        "a_join_of_a_join",
        "SELECT j.id, j.other, c.id AS third
         FROM (SELECT a.id, b.id AS other, a.k, a.window_end
               FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
               JOIN TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                 ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end) j
         LEFT JOIN events c
           ON c.k = j.k AND c.ts BETWEEN j.window_end AND j.window_end + INTERVAL '7 milliseconds'",
        "SELECT j.id, j.other, c.id AS third
         FROM (SELECT a.id, b.id AS other, a.k, a.window_end FROM w_events a JOIN w_others b
                 ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end) j
         LEFT JOIN events c
           ON c.k = j.k AND c.ts BETWEEN j.window_end AND j.window_end + INTERVAL '7 milliseconds'",
    ),
    over(
        TEN,
        "sessions_of_first_rows",
        "WITH d AS (SELECT id, ts, k, i FROM events
                    QUALIFY ROW_NUMBER() OVER (PARTITION BY k, i ORDER BY ts) = 1)
         SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS s, ARRAY_AGG(id) AS ids
         FROM SESSION(TABLE d PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5 milliseconds')
         GROUP BY k, window_start, window_end",
        "WITH d AS (SELECT * FROM events
                    QUALIFY ROW_NUMBER() OVER (PARTITION BY k, i ORDER BY ts, __log, __offset) = 1),
              m AS (SELECT *, CASE WHEN ts <= LAG(ts) OVER (PARTITION BY k ORDER BY ts, __log, __offset)
                      + INTERVAL '5 milliseconds' THEN 0 ELSE 1 END AS first FROM d),
              s AS (SELECT *, SUM(first) OVER (PARTITION BY k ORDER BY ts, __log, __offset
                      ROWS UNBOUNDED PRECEDING) AS session FROM m)
         SELECT k, MIN(ts) AS window_start,
                CAST(MAX(ts) + INTERVAL '5 milliseconds' AS TIMESTAMP(3)) AS window_end,
                COUNT(*) AS n, SUM(i) AS s, ARRAY_AGG(id ORDER BY ts, __log, __offset) AS ids
         FROM s GROUP BY k, session",
    ),
    over(
        TEN,
        "longest_of_equal_sessions",
        "WITH c AS (SELECT k, window_start, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '5 milliseconds')
                    GROUP BY k, window_start, window_end)
         SELECT k, window_start, window_end, SUM(n) AS total, COUNT(*) AS busy
         FROM SESSION(c, window_start, INTERVAL '10 milliseconds')
         GROUP BY k, window_start, window_end
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY SUM(n) DESC, k) = 1",
        "WITH c AS (SELECT k, date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01') AS at,
                           COUNT(*) AS n FROM events GROUP BY 1, 2),
              m AS (SELECT *, CASE WHEN at <= LAG(at) OVER (PARTITION BY k ORDER BY at)
                      + INTERVAL '10 milliseconds' THEN 0 ELSE 1 END AS first FROM c),
              s AS (SELECT *, SUM(first) OVER (PARTITION BY k ORDER BY at ROWS UNBOUNDED PRECEDING)
                      AS session FROM m),
              t AS (SELECT k, CAST(MIN(at) AS TIMESTAMP(3)) AS window_start,
                      CAST(MAX(at) + INTERVAL '10 milliseconds' AS TIMESTAMP(3)) AS window_end,
                      SUM(n) AS total, COUNT(*) AS busy FROM s GROUP BY k, session)
         SELECT * FROM t
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY total DESC, k) = 1",
    ),
    over(
        TEN,
        "windows_of_sessions_of_a_join",
        "WITH j AS (SELECT a.k, a.ts, a.i FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
                    WHERE EXISTS (SELECT 1 FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                                  WHERE b.window_end = a.window_end AND b.k = a.k)),
              s AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM SESSION(j, ts, INTERVAL '4 milliseconds') GROUP BY k, window_start, window_end)
         SELECT window_end, COUNT(*) AS sessions, SUM(n) AS n, MAX(n) AS longest
         FROM TUMBLE(s, window_end, INTERVAL '20 milliseconds') GROUP BY window_start, window_end",
        "WITH j AS (SELECT a.* FROM w_events a LEFT SEMI JOIN w_others b
                      ON b.window_end = a.window_end AND b.k = a.k),
              m AS (SELECT *, CASE WHEN ts <= LAG(ts) OVER (PARTITION BY k ORDER BY ts, __log, __offset)
                      + INTERVAL '4 milliseconds' THEN 0 ELSE 1 END AS first FROM j),
              s AS (SELECT *, SUM(first) OVER (PARTITION BY k ORDER BY ts, __log, __offset
                      ROWS UNBOUNDED PRECEDING) AS session FROM m),
              t AS (SELECT MAX(ts) + INTERVAL '4 milliseconds' AS at, COUNT(*) AS n FROM s
                    GROUP BY k, session),
              w AS (SELECT n, CAST(date_bin(INTERVAL '20 milliseconds', at, TIMESTAMP '1970-01-01')
                      + INTERVAL '20 milliseconds' AS TIMESTAMP(3)) AS window_end FROM t)
         SELECT window_end, COUNT(*) AS sessions, SUM(n) AS n, MAX(n) AS longest
         FROM w GROUP BY window_end",
    ),
    over(
        TEN,
        "threes_of_first_rows",
        "WITH d AS (SELECT id, ts, k, i FROM events
                    QUALIFY ROW_NUMBER() OVER (PARTITION BY k, i ORDER BY ts) = 1)
         SELECT k, window_start, window_end, SUM(i) AS s, ARRAY_AGG(id) AS ids
         FROM TUMBLE_ROWS(d, ts, 3) WHERE i IS NOT NULL GROUP BY k, window_start, window_end",
        "WITH d AS (SELECT * FROM events
                    QUALIFY ROW_NUMBER() OVER (PARTITION BY k, i ORDER BY ts, __log, __offset) = 1),
              n AS (SELECT *, (CAST(ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts, __log, __offset)
                      AS BIGINT) - 1) / 3 AS third FROM d WHERE i IS NOT NULL)
         SELECT k, MIN(ts) AS window_start, MAX(ts) AS window_end, SUM(i) AS s,
                ARRAY_AGG(id ORDER BY ts, __log, __offset) AS ids
         FROM n GROUP BY k, third HAVING COUNT(*) = 3",
    ),
    over(
        TEN,
        "overlapping_threes_of_counts",
        "WITH c AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '5 milliseconds')
                    GROUP BY k, window_start, window_end)
         SELECT k, window_start, window_end, SUM(n) AS n, MAX(n) AS most
         FROM HOP_ROWS(c, window_end, 2, 3) GROUP BY k, window_start, window_end",
        "WITH c AS (SELECT k, CAST(date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01')
                      + INTERVAL '5 milliseconds' AS TIMESTAMP(3)) AS at, COUNT(*) AS n
                    FROM events GROUP BY 1, 2),
              r AS (SELECT *, CAST(ROW_NUMBER() OVER (PARTITION BY k ORDER BY at) AS BIGINT) - 1 AS row FROM c),
              w AS (SELECT *, row / 2 AS number FROM r UNION ALL SELECT *, row / 2 - 1 AS number FROM r)
         SELECT k, MIN(at) AS window_start, MAX(at) AS window_end, SUM(n) AS n, MAX(n) AS most
         FROM w WHERE number >= 0 AND row - 2 * number < 3 GROUP BY k, number HAVING COUNT(*) = 3",
    ),
    over(
        TEN,
        "twos_of_a_join",
        "WITH j AS (SELECT a.id, a.ts, a.i FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
                    WHERE EXISTS (SELECT 1 FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') b
                                  WHERE b.window_end = a.window_end AND b.k = a.k))
         SELECT window_start, window_end, SUM(i) AS s, ARRAY_AGG(id) AS ids
         FROM TUMBLE_ROWS(j, ts, 2) GROUP BY window_start, window_end",
        "WITH j AS (SELECT a.* FROM w_events a LEFT SEMI JOIN w_others b
                      ON b.window_end = a.window_end AND b.k = a.k),
              n AS (SELECT *, (CAST(ROW_NUMBER() OVER (ORDER BY ts, __log, __offset) AS BIGINT) - 1) / 2
                      AS half FROM j)
         SELECT MIN(ts) AS window_start, MAX(ts) AS window_end, SUM(i) AS s,
                ARRAY_AGG(id ORDER BY ts, __log, __offset) AS ids
         FROM n GROUP BY half HAVING COUNT(*) = 2",
    ),
];
