//! What cannot run as a stream is refused when it is planned: with a code, a way out, and the place.

use std::fmt::Write;

use miette::Diagnostic;
use properties::pipeline::{QueryText, text, try_plan};

/// A query's SQL, the code of its refusal, and the text that the refusal points at ("" for the
/// query as a whole).
type Refused = (&'static str, &'static str, &'static str);

const WINDOWS: &[Refused] = &[
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(nowhere, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::window::not_a_stream",
        "nowhere",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(names, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::window::not_a_stream",
        "names",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(events, t, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::window::not_event_time",
        "t",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(events, arrival_time, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::window::not_event_time",
        "arrival_time",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(t), INTERVAL '1' DAY)) GROUP BY k, window_end",
        "plan::window::not_event_time",
        "t",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' MONTH) GROUP BY k, window_end",
        "plan::window::interval",
        "'1'",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(events, ts, 10) GROUP BY k, window_end",
        "plan::window::interval",
        "10",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '10 microseconds') GROUP BY k, window_end",
        "plan::window::interval",
        "'10 microseconds'",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '0' SECOND) GROUP BY k, window_end",
        "plan::window::not_positive",
        "'0'",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM HOP(events, ts, INTERVAL '-5 seconds', INTERVAL '5' SECOND) GROUP BY k, window_end",
        "plan::window::not_positive",
        "'-5 seconds'",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM CUMULATE(events, ts, INTERVAL '7' MINUTE, INTERVAL '1' HOUR) GROUP BY k, window_start, window_end",
        "plan::window::uneven_step",
        "'7'",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(events, ts) GROUP BY k, window_end",
        "plan::window::arguments",
        "TUMBLE",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM HOP(events, ts, INTERVAL '5' SECOND) GROUP BY k, window_end",
        "plan::window::arguments",
        "HOP",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM SESSION(events, ts, INTERVAL '5' SECOND, INTERVAL '5' SECOND) GROUP BY k, window_start, window_end",
        "plan::window::arguments",
        "'5'",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM TABLE(TUMBLE(DATA => TABLE events, TIMECOL => DESCRIPTOR(ts), LENGTH => INTERVAL '5' SECOND)) GROUP BY k, window_end",
        "plan::window::arguments",
        "'5'",
    ),
    (
        "SELECT k, COUNT(*) AS n FROM HOP(events, ts, INTERVAL '1' DAY, INTERVAL '2' DAY) WHERE window_end > ts GROUP BY k, window_end",
        "plan::window::early",
        "",
    ),
    (
        "SELECT k, window_end, MAX(window_start) AS x FROM CUMULATE(events, ts, INTERVAL '1' DAY, INTERVAL '2' DAY) GROUP BY k, window_start, window_end",
        "plan::window::early",
        "",
    ),
    (
        "SELECT k, window_start, window_end, COUNT(*) AS n FROM TABLE(SESSION(TABLE events PARTITION BY g, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY k, window_start, window_end",
        "plan::window::partition",
        "",
    ),
    (
        "SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end",
        "plan::window::partition",
        "",
    ),
    (
        "SELECT a.k, COUNT(*) AS n FROM (SELECT k, window_end FROM TUMBLE(events, ts, INTERVAL '1' DAY) UNION ALL SELECT k, window_end FROM TUMBLE(others, ts, INTERVAL '2' DAY)) a GROUP BY a.k, window_end",
        "plan::several_windows",
        "",
    ),
    (
        "SELECT a.n, b.n AS m FROM (SELECT window_start, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY window_start, window_end) a JOIN (SELECT window_start, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '2' DAY) GROUP BY window_start, window_end) b ON a.window_start = b.window_start AND a.window_end = b.window_end",
        "plan::several_windows",
        "",
    ),
];

const AGGREGATES: &[Refused] = &[
    ("SELECT k, COUNT(*) AS n FROM events GROUP BY k", "plan::aggregate::no_window", ""),
    ("SELECT COUNT(*) AS n FROM events", "plan::aggregate::no_window", ""),
    ("SELECT DISTINCT k FROM events", "plan::aggregate::no_window", ""),
    (
        "SELECT k, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k",
        "plan::aggregate::no_window",
        "",
    ),
    (
        "SELECT k, window_start, COUNT(*) AS n FROM SESSION(events, ts, INTERVAL '1' DAY) GROUP BY k, window_start",
        "plan::aggregate::no_window",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n FROM CUMULATE(events, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::aggregate::no_window",
        "",
    ),
    (
        "SELECT DISTINCT k FROM TUMBLE(events, ts, INTERVAL '1' DAY)",
        "plan::aggregate::no_window",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY ROLLUP (window_end, k)",
        "plan::aggregate::no_window",
        "",
    ),
    (
        "SELECT k, window_end FROM SESSION(events, ts, INTERVAL '1' DAY) WHERE i > 1",
        "plan::session::rows",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k FROM events) SELECT * FROM TUMBLE(o, ts, INTERVAL '1' DAY)",
        "plan::window::no_aggregate",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k FROM events) SELECT window_end, COUNT(*) AS n FROM TUMBLE(o, k, INTERVAL '1' DAY) GROUP BY window_end",
        "plan::window::not_event_time",
        "",
    ),
    (
        "WITH o AS (SELECT ts + INTERVAL '1' HOUR AS later, k FROM events) SELECT window_end, COUNT(*) AS n FROM TUMBLE(o, later, INTERVAL '1' DAY) GROUP BY window_end",
        "plan::window::not_event_time",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k FROM events) SELECT k, window_end, COUNT(*) AS n FROM HOP(o, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) WHERE ts < window_end - INTERVAL '1' HOUR GROUP BY k, window_end",
        "plan::window::early",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k FROM events) SELECT k, window_end, COUNT(*) AS n FROM SESSION(o, ts, INTERVAL '1' HOUR) GROUP BY k, window_end",
        "plan::aggregate::no_window",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k, i FROM events) SELECT k, window_start, window_end, COUNT(*) AS n FROM SESSION(o, ts, i) GROUP BY k, window_start, window_end",
        "plan::window::gap",
        "i",
    ),
    (
        "WITH o AS (SELECT ts, k, i FROM events) SELECT k, window_start, window_end, COUNT(*) AS n FROM SESSION(TABLE o PARTITION BY i, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY k, window_start, window_end",
        "plan::window::partition",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k FROM events) SELECT k, window_end, COUNT(*) AS n FROM TUMBLE_ROWS(o, ts, 3) GROUP BY k, window_start, window_end",
        "plan::count::unbounded",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k FROM events) SELECT window_end, COUNT(*) AS n FROM TUMBLE_ROWS(o, k, 3) GROUP BY window_end",
        "plan::window::not_event_time",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k FROM events) SELECT k FROM TUMBLE_ROWS(o, ts, 3)",
        "plan::window::no_aggregate",
        "",
    ),
    (
        "WITH o AS (SELECT ts, k FROM events) SELECT window_end, COUNT(*) AS n FROM TUMBLE_ROWS(o, ts, 3) WHERE window_end > ts GROUP BY window_end",
        "plan::window::early",
        "",
    ),
    ("SELECT name FROM names", "plan::no_stream", ""),
    ("SELECT 1 AS one", "plan::no_stream", ""),
    (
        "SELECT window_end, STDDEV(DISTINCT f) AS x FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY window_end",
        "plan::aggregate::no_partial_state",
        "",
    ),
    (
        "SELECT window_end, APPROX_MEDIAN(DISTINCT f) AS x FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY window_end",
        "plan::aggregate::no_partial_state",
        "",
    ),
];

const EVENTS: &[Refused] = &[
    (
        "SELECT k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS r FROM events",
        "plan::over::unbounded",
        "",
    ),
    (
        "SELECT k, window_end, SUM(i) OVER (PARTITION BY k ORDER BY ts) AS r FROM TUMBLE(events, ts, INTERVAL '1' DAY)",
        "plan::over::unbounded",
        "",
    ),
    (
        "SELECT k, window_end, SUM(r) AS x FROM (SELECT k, window_end, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS r FROM TUMBLE(events, ts, INTERVAL '1' DAY)) e GROUP BY k, window_end",
        "plan::over::unbounded",
        "",
    ),
    (
        "WITH a AS (SELECT k, window_start, window_end, COUNT(*) AS n FROM SESSION(events, ts, INTERVAL '1' HOUR) GROUP BY k, window_start, window_end ORDER BY n LIMIT 3) SELECT window_end, SUM(n) AS n FROM TUMBLE(a, window_end, INTERVAL '1' DAY) GROUP BY window_end",
        "plan::mixes_windows",
        "",
    ),
    (
        "WITH a AS (SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' HOUR) GROUP BY k, window_start, window_end), b AS (SELECT window_start, MAX(n) AS n, MAX(now()) AS at FROM a GROUP BY window_start) SELECT window_end, SUM(n) AS n, MAX(at) AS at FROM TUMBLE(b, window_start, INTERVAL '1' DAY) GROUP BY window_end",
        "plan::volatile",
        "",
    ),
    (
        "WITH a AS (SELECT k, ts, i FROM TUMBLE(events, ts, INTERVAL '1' HOUR) UNION ALL SELECT k, ts, SUM(i) OVER (ORDER BY ts) AS i FROM events) SELECT k, window_end, SUM(i) AS n FROM TUMBLE(a, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::mixes_windows",
        "",
    ),
    (
        "WITH a AS (SELECT k, ts, SUM(i) OVER (ORDER BY ts) AS s FROM events UNION ALL SELECT k, ts, SUM(i) OVER (ORDER BY ts) AS s FROM others) SELECT k, window_end, SUM(s) AS n FROM TUMBLE(a, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::union::stages",
        "",
    ),
    ("SELECT k, ts FROM events LIMIT 10", "plan::sort", ""),
    ("SELECT k, ts FROM events ORDER BY i LIMIT 10", "plan::sort", ""),
    (
        "WITH o AS (SELECT ts, k FROM events WHERE b), c AS (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(others, ts, INTERVAL '1' DAY) GROUP BY k, window_end) SELECT a.k, a.window_end, COUNT(*) AS n FROM TUMBLE(o, ts, INTERVAL '1' DAY) a JOIN c ON c.k = a.k AND c.window_end = a.window_end GROUP BY a.k, a.window_end",
        "plan::window::no_aggregate",
        "",
    ),
    ("SELECT e.k, e.i FROM events e JOIN others o ON e.k = o.k", "plan::join::unbounded", ""),
    (
        "SELECT e.k FROM events e JOIN others o ON e.k = o.k AND o.ts >= e.ts",
        "plan::join::unbounded",
        "",
    ),
    (
        "SELECT e.k FROM events e LEFT JOIN others o ON e.k = o.k AND o.ts < e.ts + INTERVAL '1' DAY",
        "plan::join::unbounded",
        "",
    ),
    (
        "SELECT e.k FROM events e LEFT JOIN others o ON e.k = o.k WHERE o.ts BETWEEN e.ts AND e.ts + INTERVAL '1' DAY",
        "plan::join::unbounded",
        "",
    ),
    (
        "SELECT e.k FROM events e JOIN others o ON e.k = o.k AND o.t BETWEEN e.t AND e.t + INTERVAL '1' DAY",
        "plan::join::unbounded",
        "",
    ),
    (
        "SELECT e.k FROM events e JOIN others o ON o.ts BETWEEN e.ts AND e.ts + INTERVAL '1' MONTH",
        "plan::join::unbounded",
        "",
    ),
    (
        "SELECT e.k FROM events e JOIN (SELECT k FROM others) o ON e.k = o.k",
        "plan::join::no_time",
        "",
    ),
    (
        "SELECT e.k FROM events e WHERE e.k NOT IN (SELECT o.k FROM others o WHERE o.ts BETWEEN e.ts AND e.ts + INTERVAL '1' DAY)",
        "plan::join::not_in",
        "",
    ),
    (
        "SELECT e.k FROM events e WHERE e.i = 1 OR EXISTS (SELECT 1 FROM others o WHERE o.k = e.k AND o.ts BETWEEN e.ts AND e.ts + INTERVAL '1' DAY)",
        "plan::join::mark",
        "",
    ),
    (
        "SELECT e.k FROM events e ASOF JOIN others o MATCH_CONDITION (e.ts >= o.ts) ON e.k = o.k",
        "plan::join::keep",
        "",
    ),
    (
        "SELECT e.k FROM events e ASOF JOIN others o MATCH_CONDITION (e.ts <= o.ts) ON e.k = o.k",
        "plan::join::as_of",
        "",
    ),
    (
        "SELECT e.k FROM events e ASOF JOIN others o MATCH_CONDITION (e.t >= o.t) ON e.k = o.k",
        "plan::join::as_of",
        "",
    ),
    (
        "SELECT e.k FROM events e ASOF JOIN others o MATCH_CONDITION (e.ts >= o.ts) ON e.k = o.k AND o.i > 1",
        "plan::join::as_of",
        "",
    ),
    (
        "SELECT e.k FROM events e ASOF JOIN names n MATCH_CONDITION (e.i >= n.weight) ON e.k = n.k",
        "plan::join::as_of",
        "",
    ),
    (
        "SELECT e.k FROM events e JOIN others o ON e.k = o.k AND e.f > random() AND o.ts BETWEEN e.ts AND e.ts + INTERVAL '1' DAY",
        "plan::volatile",
        "",
    ),
    (
        "SELECT e.k FROM events e LEFT JOIN others o ON e.k = o.k AND e.ts < now() AND o.ts BETWEEN e.ts AND e.ts + INTERVAL '1' DAY",
        "plan::volatile",
        "",
    ),
    (
        "SELECT k, LEAD(i) OVER (ORDER BY ts) AS a, SUM(i) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '1' DAY PRECEDING AND CURRENT ROW) AS b FROM events",
        "plan::over::order",
        "",
    ),
    (
        "SELECT e.k FROM events e RIGHT JOIN others FOR SYSTEM_TIME AS OF e.ts AS o ON e.k = o.k",
        "plan::join::as_of",
        "",
    ),
    (
        "SELECT e.k, e.window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) e JOIN TUMBLE(others, ts, INTERVAL '1' DAY) o ON e.k = o.k GROUP BY e.k, e.window_end",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT e.k, e.window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) e WHERE k IN (SELECT k FROM others) GROUP BY e.k, e.window_end",
        "plan::join::no_time",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) WHERE i > (SELECT AVG(i) FROM others) GROUP BY k, window_end",
        "plan::subquery",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) + (SELECT COUNT(*) FROM others) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::subquery",
        "",
    ),
    (
        "SELECT m.name, window_end, COUNT(*) AS n FROM names m LEFT JOIN TUMBLE(events, ts, INTERVAL '1' DAY) e ON m.k = e.k GROUP BY m.name, window_end",
        "plan::join::keeps_table_rows",
        "",
    ),
    (
        "SELECT m.name, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) e RIGHT JOIN names m ON m.k = e.k GROUP BY m.name, window_end",
        "plan::join::keeps_table_rows",
        "",
    ),
    (
        "SELECT m.name, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) e FULL JOIN names m ON m.k = e.k GROUP BY m.name, window_end",
        "plan::join::keeps_table_rows",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n FROM (SELECT k, window_end FROM TUMBLE(events, ts, INTERVAL '1' DAY) UNION ALL SELECT k, NULL FROM names) u GROUP BY k, window_end",
        "plan::union::table",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) WHERE t < now() GROUP BY k, window_end",
        "plan::volatile",
        "",
    ),
    (
        "SELECT k, window_end, MAX(now() - ts) AS x FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::volatile",
        "",
    ),
    (
        "SELECT k, window_end, SUM(i) AS x FROM TUMBLE(events, ts, INTERVAL '1' DAY) WHERE random() < 0.5 GROUP BY k, window_end",
        "plan::volatile",
        "",
    ),
    (
        "SELECT k, window_end, uuid() AS x, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::volatile",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) WHERE d < current_date GROUP BY k, window_end",
        "plan::volatile",
        "",
    ),
];

const ABOVE: &[Refused] = &[
    (
        "SELECT MAX(n) AS x FROM (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end) c",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT k, MAX(n) AS x FROM (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end) c GROUP BY k",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT window_end, MAX(n) AS x FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM CUMULATE(events, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) GROUP BY k, window_start, window_end) c GROUP BY window_end",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT n, window_end, COUNT(*) AS x FROM (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end) c GROUP BY ROLLUP (window_end, n)",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT DISTINCT n FROM (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end) c",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n, SUM(COUNT(*)) OVER (PARTITION BY k) AS s FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end QUALIFY ROW_NUMBER() OVER (ORDER BY COUNT(*) DESC) <= 3",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT a.k, a.n, b.n AS m FROM (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end) a JOIN (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(others, ts, INTERVAL '1' DAY) GROUP BY k, window_end) b ON a.k = b.k",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT m.name, c.n FROM names m LEFT JOIN (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end) c ON c.k = m.k",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT m.name, c.n FROM (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end) c FULL JOIN names m ON c.k = m.k",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT k, window_start, window_end, COUNT(*) AS n FROM SESSION(events, ts, INTERVAL '1' DAY) GROUP BY k, window_start, window_end ORDER BY n LIMIT 3",
        "plan::mixes_windows",
        "",
    ),
    (
        "SELECT a.k, a.n, b.x FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM SESSION(events, ts, INTERVAL '1' DAY) GROUP BY k, window_start, window_end) a JOIN (SELECT k, window_start, window_end, SUM(i) AS x FROM SESSION(others, ts, INTERVAL '1' DAY) GROUP BY k, window_start, window_end) b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
        "plan::sessions",
        "",
    ),
    (
        "SELECT k, window_end, COUNT(*) AS n, random() AS r FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::volatile",
        "",
    ),
    (
        "SELECT k AS a, g AS a, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, g, window_end",
        "plan::sql",
        "",
    ),
    (
        "SELECT a.k, b.k FROM (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end) a JOIN (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(others, ts, INTERVAL '1' DAY) GROUP BY k, window_end) b ON a.k = b.k AND a.window_end = b.window_end",
        "plan::output::same_name",
        "",
    ),
];

const SQL: &[Refused] = &[
    (
        "SELECT kk, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY kk, window_end",
        "plan::sql",
        "kk",
    ),
    (
        "SELECT e.nope, window_end FROM TUMBLE(events, ts, INTERVAL '1' DAY) e GROUP BY e.nope, window_end",
        "plan::sql",
        "e.nope",
    ),
    (
        "SELECT k, window_end, FROBNICATE(k) AS x FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::sql",
        "FROBNICATE",
    ),
    (
        "SELECT k, window_end, SUMM(i) AS x FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::sql",
        "SUMM",
    ),
    ("SELECT k FROM nowhere", "plan::sql", "nowhere"),
    (
        "SELECT s, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::sql",
        "s",
    ),
    (
        "SELECT k, window_end, SUM(b) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::sql",
        "",
    ),
    (
        "SELECT k, window_end COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
        "plan::sql::syntax",
        "(",
    ),
    ("SELECT k FROM TUMBLE(events, ts, INTERVAL '1' DAY", "plan::sql::syntax", ""),
    ("DELETE FROM events", "plan::sql::not_a_query", ""),
    ("SELECT 1 AS a; SELECT 2 AS b", "plan::sql::several_statements", ""),
    ("-- nothing", "plan::sql::empty", ""),
];

/// Clauses that nothing would read, constants that can never work, and rows without columns.
const UNUSED: &[Refused] = &[
    ("SELECT k FROM events TABLESAMPLE BERNOULLI (10)", "plan::sql::unused", "events"),
    ("SELECT k FROM events PREWHERE i > 1", "plan::sql::unused", "i > 1"),
    ("SELECT k FROM events FOR UPDATE", "plan::sql::unused", ""),
    ("SELECT TOP 3 k FROM events", "plan::sql::unused", ""),
    ("SELECT k FROM events FETCH FIRST 3 ROWS ONLY", "plan::sql::unused", "3"),
    ("SELECT abs(i) FILTER (WHERE i > 1) AS x FROM events", "plan::sql::unused", "abs"),
    ("SELECT CAST(k AS VARCHAR(3)) AS x FROM events", "plan::sql::unused", "k"),
    ("SELECT date_trunc('fortnight', ts) AS x FROM events", "plan::constant", "'fortnight'"),
    ("SELECT k FROM events WHERE k ~ '('", "plan::constant", "'('"),
    ("SELECT CASE WHEN i > 1 THEN 1 / 0 END AS x FROM events", "plan::constant", ""),
    ("SELECT FROM events", "plan::output::no_column", ""),
    ("FROM events", "plan::output::no_column", ""),
    ("SELECT k FROM \"Events\"", "plan::sql", "\"Events\""),
    (
        "SELECT e.k, x.n FROM events e, LATERAL (SELECT COUNT(*) AS n FROM TUMBLE(others, ts, INTERVAL '1' DAY) o WHERE o.k = e.k GROUP BY window_end) x",
        "plan::subquery",
        "",
    ),
    (
        "SELECT e.k FROM events e, LATERAL TUMBLE(others, ts, INTERVAL '1' DAY)",
        "plan::subquery",
        "TUMBLE",
    ),
    (
        "WITH j AS (SELECT e.ts, e.k, e.i FROM events e JOIN others o ON e.k = o.k AND o.ts BETWEEN e.ts AND e.ts + INTERVAL '1' DAY) SELECT k FROM TUMBLE(j, ts, INTERVAL '1' DAY) QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY i DESC) <= 3",
        "plan::window::no_aggregate",
        "",
    ),
    (
        "SELECT e.k, t.x FROM events e LEFT JOIN UNNEST(string_to_array(e.k, ',')) AS t(x) ON t.x = e.k",
        "plan::join::unnest",
        "",
    ),
];

/// What is wrong with how a query is refused, if anything is.
fn check((sql, code, at): &Refused) -> Option<String> {
    // Between other queries and after a line of text, so that places are not the SQL's own.
    let query = |name: &str, sql: &str| QueryText {
        name: name.to_string(),
        sql: format!("-- ä comment\n{sql}"),
        grace: 0,
    };
    let good = "SELECT window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY window_end";
    let queries = [query("a", good), query("q", sql), query("z", good)];
    let errors = match try_plan(&queries) {
        Ok(_) => return Some("is planned".to_string()),
        Err(errors) => errors,
    };
    let [error] = errors.errors.as_slice() else {
        return Some(format!("has {} errors", errors.errors.len()));
    };
    let said = error.code().to_string();
    if said != *code {
        return Some(format!("is refused as {said}: {error}"));
    }
    if error.help().is_none() && !matches!(*code, "plan::sql" | "plan::sql::syntax") {
        return Some(format!("gives no way out: {error}"));
    }
    if !error.to_string().contains("query `q`") {
        return Some(format!("does not name the query: {error}"));
    }
    let file = text(&queries);
    let label = error.labels().and_then(|mut labels| labels.next())?;
    let pointed = &file[label.offset()..label.offset() + label.len()];
    let right = if at.is_empty() { pointed.contains(sql) } else { pointed == *at };
    (!right).then(|| format!("points at {pointed:?}: {error}"))
}

fn check_all(refused: &[Refused]) {
    let mut wrong = String::new();
    for query in refused {
        if let Some(reason) = check(query) {
            let _ = writeln!(wrong, "{}\n  wanted {} {reason}", query.0, query.1);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn windows_are_refused() {
    check_all(WINDOWS);
}

#[test]
fn aggregates_are_refused() {
    check_all(AGGREGATES);
}

#[test]
fn plans_over_single_events_are_refused() {
    check_all(EVENTS);
}

#[test]
fn plans_above_aggregates_are_refused() {
    check_all(ABOVE);
}

#[test]
fn sql_is_refused() {
    check_all(SQL);
}

#[test]
fn what_would_be_ignored_or_never_work_is_refused() {
    check_all(UNUSED);
}

/// All queries' mistakes are told at once.
#[test]
fn every_query_s_mistake_is_told() {
    let query = |name: &str, sql: &str| QueryText {
        name: name.to_string(),
        sql: sql.to_string(),
        grace: 0,
    };
    let queries = [
        query("a", "SELECT 1 AS x"),
        query("b", "SELECT k FROM events LIMIT 3"),
        query("c", "SELECT"),
    ];
    let errors = try_plan(&queries).err().unwrap();
    let codes: Vec<String> = errors.errors.iter().map(|it| it.code().to_string()).collect();
    assert_eq!(codes, ["plan::no_stream", "plan::sort", "plan::sql::syntax"]);
}
