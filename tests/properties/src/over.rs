//! Queries that see rows in the order of event time, each with what a batch says for it.
//!
//! SQL is a template: `{events}` is the stream; `{order}` its order, which a batch must be told to
//! the last tie (event time, log, position), `{back}` the same backwards; `{run}` what a batch
//! partitions by besides, so that a key starts anew after a silence longer than `keep`.

mod results;

use crate::flow::Flow;
use crate::oracle::{self, Answer, Question};
use crate::pipeline::{checked, text};
use crate::rows::Tolerance;
use crate::script::Script;
use crate::windows::Windows;

/// How long a key may be silent in the queries, milliseconds.
pub const KEEP: i64 = 25;

/// One query.
#[derive(Debug, Clone, Copy)]
pub struct Over {
    /// Its name.
    pub name: &'static str,
    sql: &'static str,
    /// Says the same to a batch in other words.
    oracle: Option<&'static str>,
    /// How its floats are compared with a batch's.
    pub tolerance: Tolerance,
    /// Whether incomplete count windows are results.
    emits: bool,
}

const fn exact(name: &'static str, sql: &'static str) -> Over {
    Over { name, sql, oracle: None, tolerance: Tolerance::Exact, emits: false }
}

const fn floats(name: &'static str, sql: &'static str) -> Over {
    Over { name, sql, oracle: None, tolerance: Tolerance::Floats, emits: false }
}

/// All queries.
pub const ALL: [Over; 27] = [
    results::COUNTED_ROWS,
    results::COUNTED_WINDOWS,
    results::SESSIONS_OF_ROWS,
    results::SESSIONS_OF_WINDOWS,
    exact(
        "range",
        "SELECT id, COUNT(*) OVER w AS n, COUNT(i) OVER w AS c, SUM(i) OVER w AS s,
                SUM(dec) OVER w AS d, MIN(i) OVER w AS least, MAX(s) OVER w AS greatest,
                AVG(CASE WHEN f > -1e9 AND f < 1e9 THEN f END) OVER w AS a,
                SUM(CASE WHEN f > -1e9 AND f < 1e9 THEN f END) OVER w AS fs
         FROM {events} WINDOW w AS (PARTITION BY k ORDER BY ts
           RANGE BETWEEN INTERVAL '10 milliseconds' PRECEDING AND CURRENT ROW)",
    ),
    exact(
        "range_of_all",
        "SELECT id, SUM(i) FILTER (WHERE b) OVER w AS s, MIN(i) FILTER (WHERE b) OVER w AS least,
                MAX(ts) OVER w AS t, COUNT(*) FILTER (WHERE NOT b) OVER w AS n
         FROM {events} WINDOW w AS (ORDER BY ts
           RANGE BETWEEN INTERVAL '7 milliseconds' PRECEDING AND CURRENT ROW)",
    ),
    exact(
        "range_before",
        "SELECT id, COUNT(*) OVER w AS n, SUM(i) OVER w AS s, MAX(dec) OVER w AS d
         FROM {events} WINDOW w AS (PARTITION BY k, g ORDER BY ts
           RANGE BETWEEN INTERVAL '30 milliseconds' PRECEDING AND INTERVAL '5 milliseconds' PRECEDING)",
    ),
    exact(
        "range_around",
        "SELECT id, COUNT(*) OVER w AS n, SUM(i) OVER w AS s, MIN(d) OVER w AS d,
                SUM(i) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '3 milliseconds' PRECEDING AND CURRENT ROW) AS before
         FROM {events} WINDOW w AS (PARTITION BY k ORDER BY ts
           RANGE BETWEEN INTERVAL '10 milliseconds' PRECEDING AND INTERVAL '6 milliseconds' FOLLOWING)",
    ),
    exact(
        "range_behind",
        "SELECT id, COUNT(*) OVER w AS n, MAX(i) OVER w AS s, FIRST_VALUE(ts) OVER w AS t
         FROM {events} WINDOW w AS (PARTITION BY g ORDER BY ts
           RANGE BETWEEN INTERVAL '2 milliseconds' FOLLOWING AND INTERVAL '9 milliseconds' FOLLOWING)",
    ),
    // The engine takes values away again, and keeps what rounding left.
    Over {
        oracle: Some(
            "SELECT e.id, STDDEV(o.i) AS sd, MEDIAN(o.i) AS m, VAR_POP(o.i) FILTER (WHERE o.b) AS v,
                    BOOL_OR(o.b) AS any, COUNT(DISTINCT o.i) AS n, SUM(DISTINCT o.i) AS s
             FROM events e JOIN events o ON (e.k IS NOT DISTINCT FROM o.k)
               AND o.ts BETWEEN e.ts - INTERVAL '20 milliseconds' AND e.ts
             GROUP BY e.id",
        ),
        ..floats(
            "range_by_engine",
            "SELECT id, STDDEV(i) OVER w AS sd, MEDIAN(i) OVER w AS m, VAR_POP(i) FILTER (WHERE b) OVER w AS v,
                    BOOL_OR(b) OVER w AS any, COUNT(DISTINCT i) OVER w AS n, SUM(DISTINCT i) OVER w AS s
             FROM {events} WINDOW w AS (PARTITION BY k ORDER BY ts
               RANGE BETWEEN INTERVAL '20 milliseconds' PRECEDING AND CURRENT ROW)",
        )
    },
    exact(
        "rows",
        "SELECT id, SUM(i) OVER w AS s, COUNT(i) OVER w AS n, MIN(s) OVER w AS least,
                FIRST_VALUE(i) OVER w AS first, LAST_VALUE(s) OVER w AS last,
                NTH_VALUE(i, 2) OVER w AS second, FIRST_VALUE(g) IGNORE NULLS OVER w AS given,
                ARRAY_AGG(i) OVER w AS list
         FROM {events} WINDOW w AS (PARTITION BY k{run} ORDER BY {order}
           ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    ),
    exact(
        "rows_of_all",
        "SELECT id, SUM(i) OVER w AS s, LAG(id, 3) OVER (ORDER BY {order}) AS before
         FROM {events} WINDOW w AS (ORDER BY {order} ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING)",
    ),
    exact(
        "rows_around",
        "SELECT id, SUM(i) OVER w AS s, COUNT(*) OVER w AS n, LAST_VALUE(id) OVER w AS last,
                SUM(i) OVER (PARTITION BY k{run} ORDER BY {order} ROWS 1 PRECEDING) AS two
         FROM {events} WINDOW w AS (PARTITION BY k{run} ORDER BY {order}
           ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING)",
    ),
    exact(
        "lag",
        "SELECT id, LAG(i) OVER w AS one, LAG(i, 2, -1) OVER w AS two, LAG(s, 1) IGNORE NULLS OVER w AS given,
                LAG(i, 2) IGNORE NULLS OVER w AS given2, i - LAG(i, 1, 0) OVER w AS delta
         FROM {events} WINDOW w AS (PARTITION BY k{run} ORDER BY {order})",
    ),
    exact(
        "lead",
        "SELECT id, LEAD(id) OVER w AS one, LEAD(i, 2, -1) OVER w AS two, LAG(id) OVER w AS before,
                ROW_NUMBER() OVER w AS number
         FROM {events} WINDOW w AS (PARTITION BY k{run} ORDER BY {order})",
    ),
    exact(
        "running_rows",
        "SELECT id, SUM(i) OVER w AS s, COUNT(i) FILTER (WHERE b) OVER w AS n, MIN(i) OVER w AS least,
                MAX(s) OVER w AS greatest, SUM(dec) OVER w AS d,
                AVG(CASE WHEN f > -1e9 AND f < 1e9 THEN f END) OVER w AS a,
                FIRST_VALUE(i) OVER w AS first, LAST_VALUE(i) IGNORE NULLS OVER w AS last,
                FIRST_VALUE(s) IGNORE NULLS OVER w AS given, NTH_VALUE(id, 3) OVER w AS third
         FROM {events} WINDOW w AS (PARTITION BY k{run} ORDER BY {order} ROWS UNBOUNDED PRECEDING)",
    ),
    exact(
        "running_range",
        "SELECT id, SUM(i) OVER w AS s, COUNT(*) OVER w AS n, MAX(i) OVER w AS greatest,
                RANK() OVER w AS r, DENSE_RANK() OVER w AS d, LAST_VALUE(ts) OVER w AS t
         FROM {events} WINDOW w AS (PARTITION BY k{run} ORDER BY ts)",
    ),
    floats(
        "running_by_engine",
        "SELECT id, STDDEV(i) OVER w AS sd, COUNT(DISTINCT i) OVER w AS n, ARRAY_AGG(id) OVER w AS ids,
                MEDIAN(i) OVER w AS m
         FROM {events} WINDOW w AS (PARTITION BY k{run} ORDER BY {order} ROWS UNBOUNDED PRECEDING)",
    ),
    exact(
        "running_of_all",
        "SELECT id, SUM(i) OVER w AS s, ROW_NUMBER() OVER w AS number, MAX(dec) OVER w AS d
         FROM {events} WINDOW w AS (ORDER BY {order} ROWS UNBOUNDED PRECEDING)",
    ),
    exact(
        "first_of_each",
        "SELECT id, k, ts FROM {events}
         QUALIFY ROW_NUMBER() OVER (PARTITION BY k{run} ORDER BY {order}) = 1",
    ),
    exact(
        "last_of_each",
        "SELECT id, k, ts, s FROM {events} WHERE i IS NOT NULL
         QUALIFY ROW_NUMBER() OVER (PARTITION BY k{run} ORDER BY {back}) = 1",
    ),
    exact(
        "one_above_the_other",
        "SELECT id, s, SUM(s) OVER (PARTITION BY g ORDER BY ts RANGE BETWEEN INTERVAL '12 milliseconds' PRECEDING AND CURRENT ROW) AS t
         FROM (SELECT id, ts, g, SUM(i) OVER (PARTITION BY k ORDER BY ts
                 RANGE BETWEEN INTERVAL '10 milliseconds' PRECEDING AND INTERVAL '4 milliseconds' FOLLOWING) AS s
               FROM {events} WHERE g IS NOT NULL)",
    ),
    Over {
        oracle: Some(
            "SELECT k, MIN(ts) AS window_start, MAX(ts) AS window_end, COUNT(*) AS n, SUM(i) AS s,
                    MAX(s) FILTER (WHERE b) AS greatest, ARRAY_AGG(id ORDER BY ts, __log, __offset) AS ids
             FROM (SELECT *, (CAST(ROW_NUMBER() OVER (PARTITION BY k{run} ORDER BY {order}) AS BIGINT) - 1) / 3 AS w FROM {events})
             GROUP BY k{run}, w HAVING COUNT(*) = 3",
        ),
        ..exact(
            "tumble_rows",
            "SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS s,
                    MAX(s) FILTER (WHERE b) AS greatest, ARRAY_AGG(id) AS ids
             FROM TUMBLE_ROWS(events, ts, 3) GROUP BY k, window_start, window_end",
        )
    },
    Over {
        oracle: Some(
            "SELECT MAX(ts) AS window_end, COUNT(*) AS n, MIN(i) AS s
             FROM (SELECT *, (CAST(ROW_NUMBER() OVER (ORDER BY {order}) AS BIGINT) - 1) / 4 AS w FROM {events} WHERE i IS NOT NULL)
             GROUP BY w HAVING COUNT(*) = 4 AND MIN(i) > 0",
        ),
        ..exact(
            "tumble_rows_of_all",
            "SELECT window_end, COUNT(*) AS n, MIN(i) AS s FROM TUMBLE_ROWS(events, ts, 4)
             WHERE i IS NOT NULL GROUP BY window_end HAVING MIN(i) > 0",
        )
    },
    Over {
        emits: true,
        oracle: Some(
            "SELECT k, MIN(ts) AS window_start, MAX(ts) AS window_end, COUNT(*) AS n, SUM(i) AS s
             FROM (SELECT *, (CAST(ROW_NUMBER() OVER (PARTITION BY k{run} ORDER BY {order}) AS BIGINT) - 1) / 3 AS w FROM {events})
             GROUP BY k{run}, w",
        ),
        ..exact(
            "tumble_rows_incomplete",
            "SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS s
             FROM TUMBLE_ROWS(events, ts, 3) GROUP BY k, window_start, window_end",
        )
    },
    Over {
        oracle: Some(
            "SELECT k, MIN(ts) AS window_start, MAX(ts) AS window_end, COUNT(*) AS n, SUM(i) AS s,
                    FIRST_VALUE(id ORDER BY ts, __log, __offset) AS f
             FROM (SELECT *, r / 2 - ago AS w FROM
                     (SELECT *, CAST(ROW_NUMBER() OVER (PARTITION BY k{run} ORDER BY {order}) AS BIGINT) - 1 AS r FROM {events})
                     CROSS JOIN (VALUES (0), (1), (2)) AS v(ago))
             WHERE w >= 0 AND r - w * 2 < 5
             GROUP BY k{run}, w HAVING COUNT(*) = 5",
        ),
        ..exact(
            "hop_rows",
            "SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS s, FIRST_VALUE(id) AS f
             FROM HOP_ROWS(events, ts, 2, 5) GROUP BY k, window_start, window_end",
        )
    },
    Over {
        emits: true,
        oracle: Some(
            "SELECT k, MIN(ts) AS window_start, COUNT(*) AS n, MAX(i) AS s
             FROM (SELECT *, CAST(ROW_NUMBER() OVER (PARTITION BY k{run} ORDER BY {order}) AS BIGINT) - 1 AS r FROM {events})
             WHERE r % 5 < 2 GROUP BY k{run}, r / 5",
        ),
        ..exact(
            "hop_rows_apart",
            "SELECT k, window_start, COUNT(*) AS n, MAX(i) AS s
             FROM HOP_ROWS(events, ts, 5, 2) GROUP BY k, window_start",
        )
    },
];

impl Over {
    /// The query over streams.
    pub fn sql(&self) -> String {
        self.sql
            .replace("{events}", "events")
            .replace("{order}", "ts")
            .replace("{back}", "ts DESC")
            .replace("{run}", "")
    }

    /// The same over the oracle's tables, of keys that are kept for ever.
    pub fn oracle_sql_for_ever(&self) -> String {
        self.oracle
            .unwrap_or(self.sql)
            .replace("{events}", "events")
            .replace("{order}", "ts, __log, __offset")
            .replace("{back}", "ts DESC, __log DESC, __offset DESC")
            .replace("{run}", "")
    }

    /// The same over the oracle's tables.
    pub fn oracle_sql(&self) -> String {
        let counted = match self.sql.contains("WHERE i IS NOT NULL") {
            true => "(SELECT * FROM events WHERE i IS NOT NULL)",
            false => "events",
        };
        let runs = format!(
            "(SELECT *, SUM(anew) OVER (PARTITION BY k ORDER BY ts, __log, __offset) AS run
              FROM (SELECT *, CASE WHEN CAST(ts AS BIGINT) - LAG(CAST(ts AS BIGINT))
                      OVER (PARTITION BY k ORDER BY ts, __log, __offset) > {KEEP} THEN 1 ELSE 0 END AS anew
                    FROM {counted}))"
        );
        self.oracle
            .unwrap_or(self.sql)
            .replace("{events}", &runs)
            .replace("{order}", "ts, __log, __offset")
            .replace("{back}", "ts DESC, __log DESC, __offset DESC")
            .replace("{run}", ", run")
    }

    /// What a batch answers.
    pub fn answer(&self, script: &Script) -> Answer {
        self.asked(script, &self.oracle_sql())
    }

    /// What a batch answers when keys are kept for ever.
    pub fn answer_for_ever(&self, script: &Script) -> Answer {
        self.asked(script, &self.oracle_sql_for_ever())
    }

    fn asked(&self, script: &Script, sql: &str) -> Answer {
        let windows = Windows::Tumble { size: 10, offset: 0 };
        oracle::ask(script, &Question { sql, windows, grace: 0, keys: None })
    }
}

/// The verbs with these queries, of keys that may be silent for [`KEEP`].
pub fn flow(queries: &[Over]) -> Flow {
    flow_keeping(queries, &format!("{KEEP}ms"))
}

/// The verbs with these queries, as the pipeline file spells `keep`.
pub fn flow_keeping(queries: &[Over], keep: &str) -> Flow {
    let mut text = text(&[]);
    for query in queries {
        let sql = query.sql();
        let incomplete = if query.emits { "emit" } else { "drop" };
        text += &format!(
            "\n[queries.{}]\nkeep = \"{keep}\"\nincomplete = \"{incomplete}\"\nsql = '''\n{sql}'''\n",
            query.name
        );
    }
    let pipeline = checked(&text);
    let plan = tidemill_plan::plan(&pipeline)
        .unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)));
    Flow::new((pipeline, plan))
}
