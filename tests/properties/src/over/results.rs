//! Sessions and count windows over what other stages hand over.

use super::{Over, exact};

/// Of rows with the sum of the one before.
pub(super) const COUNTED_ROWS: Over = Over {
    oracle: Some(
        "SELECT k, MIN(ts) AS window_start, MAX(ts) AS window_end, COUNT(*) AS n, SUM(two) AS two,
                ARRAY_AGG(id ORDER BY ts, __log, __offset) AS ids
         FROM (SELECT *, (CAST(ROW_NUMBER() OVER (PARTITION BY k{run} ORDER BY {order}) AS BIGINT) - 1) / 3 AS w,
                      SUM(i) OVER (PARTITION BY k{run} ORDER BY {order}
                        ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS two
               FROM {events})
         GROUP BY k{run}, w HAVING COUNT(*) = 3",
    ),
    ..exact(
        "counted_rows",
        "WITH o AS (SELECT id, k, ts, SUM(i) OVER (PARTITION BY k ORDER BY ts
                      ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS two FROM events)
         SELECT k, window_start, window_end, COUNT(*) AS n, SUM(two) AS two, ARRAY_AGG(id) AS ids
         FROM TUMBLE_ROWS(o, ts, 3) GROUP BY k, window_start, window_end",
    )
};

/// Of windows: those that end together are counted in the order of their values.
pub(super) const COUNTED_WINDOWS: Over = Over {
    emits: true,
    oracle: Some(
        "WITH m AS (SELECT k, CAST(date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01')
                                   + INTERVAL '5 milliseconds' AS TIMESTAMP(3)) AS at, COUNT(*) AS n
                    FROM events GROUP BY 1, 2),
              r AS (SELECT *, CAST(ROW_NUMBER() OVER (ORDER BY at, k NULLS FIRST) AS BIGINT) - 1 AS r FROM m)
         SELECT MIN(at) AS window_start, MAX(at) AS window_end, SUM(n) AS n, COUNT(k) AS c
         FROM (SELECT *, r / 2 - ago AS w FROM r CROSS JOIN (VALUES (0), (1)) AS v(ago))
         WHERE w >= 0 AND r - w * 2 < 3 GROUP BY w",
    ),
    ..exact(
        "counted_windows",
        "WITH m AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '5 milliseconds')
                    GROUP BY k, window_start, window_end)
         SELECT window_start, window_end, SUM(n) AS n, COUNT(k) AS c
         FROM HOP_ROWS(m, window_end, 2, 3) GROUP BY window_start, window_end",
    )
};

/// Of rows that differ from the one before: the others do not make a session longer.
pub(super) const SESSIONS_OF_ROWS: Over = Over {
    oracle: Some(
        "WITH d AS (SELECT * FROM (SELECT *, LAG(i) OVER (PARTITION BY k{run} ORDER BY {order}) AS before
                                   FROM {events}) WHERE before IS DISTINCT FROM i),
              g AS (SELECT *, CASE WHEN CAST(ts AS BIGINT) - LAG(CAST(ts AS BIGINT))
                      OVER (PARTITION BY k ORDER BY {order}) > 4 THEN 1 ELSE 0 END AS begins FROM d),
              w AS (SELECT *, SUM(begins) OVER (PARTITION BY k ORDER BY {order}) AS w FROM g)
         SELECT k, MIN(ts) AS window_start,
                CAST(MAX(ts) + INTERVAL '4 milliseconds' AS TIMESTAMP(3)) AS window_end,
                COUNT(*) AS n, SUM(i) AS sum, ARRAY_AGG(id ORDER BY {order}) AS ids
         FROM w GROUP BY k, w",
    ),
    ..exact(
        "sessions_of_rows",
        "WITH d AS (SELECT id, k, ts, i, LAG(i) OVER (PARTITION BY k ORDER BY ts) AS before FROM events)
         SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS sum, ARRAY_AGG(id) AS ids
         FROM SESSION(TABLE d PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4 milliseconds')
         WHERE before IS DISTINCT FROM i GROUP BY k, window_start, window_end",
    )
};

/// Of windows, and windows of them again.
pub(super) const SESSIONS_OF_WINDOWS: Over = Over {
    oracle: Some(
        "WITH m AS (SELECT k, CAST(date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01')
                                   AS TIMESTAMP(3)) AS at, COUNT(*) AS n FROM events GROUP BY 1, 2),
              g AS (SELECT *, CASE WHEN CAST(at AS BIGINT) - LAG(CAST(at AS BIGINT))
                      OVER (PARTITION BY k ORDER BY at) > 9 THEN 1 ELSE 0 END AS begins FROM m),
              w AS (SELECT *, SUM(begins) OVER (PARTITION BY k ORDER BY at) AS w FROM g),
              s AS (SELECT k, CAST(MAX(at) + INTERVAL '9 milliseconds' AS TIMESTAMP(3)) AS at,
                           SUM(n) AS n, COUNT(*) AS c FROM w GROUP BY k, w),
              t AS (SELECT *, CAST(date_bin(INTERVAL '20 milliseconds', at, TIMESTAMP '1970-01-01')
                                   + INTERVAL '20 milliseconds' AS TIMESTAMP(3)) AS window_end FROM s)
         SELECT window_end, COUNT(*) AS sessions, SUM(n) AS n, MAX(c) AS c FROM t GROUP BY window_end",
    ),
    ..exact(
        "sessions_of_windows",
        "WITH m AS (SELECT k, window_start, window_end, COUNT(*) AS n
                    FROM TUMBLE(events, ts, INTERVAL '5 milliseconds')
                    GROUP BY k, window_start, window_end),
              s AS (SELECT k, window_start, window_end, SUM(n) AS n, COUNT(*) AS c
                    FROM SESSION(m, window_start, INTERVAL '9 milliseconds')
                    GROUP BY k, window_start, window_end)
         SELECT window_end, COUNT(*) AS sessions, SUM(n) AS n, MAX(c) AS c
         FROM TUMBLE(s, window_end, INTERVAL '20 milliseconds') GROUP BY window_start, window_end",
    )
};
