//! Queries of single events and of stages that feed each other, each with what a batch says for it.

mod sequence;
mod within;

use crate::flow::Flow;
use crate::oracle::{self, Answer, Question};
use crate::pipeline::{QueryText, checked, text};
use crate::rows::Tolerance;
use crate::script::Script;
use crate::windows::Windows;

/// One query.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// Its name.
    pub name: &'static str,
    sql: &'static str,
    oracle: &'static str,
    windows: Windows,
    grace: i64,
    /// Lines of its section in the pipeline file.
    settings: &'static str,
    /// Whether the oracle knows which rows were late.
    pub judges_late: bool,
}

const TEN: Windows = Windows::Tumble { size: 10, offset: 0 };
const HOPS: Windows = Windows::Hop { slide: 4, size: 10, offset: 0 };
const STEPS: Windows = Windows::Cumulate { step: 5, size: 20, offset: 0 };

/// Rows window by window: the oracle has a table of them.
const fn windowed(
    name: &'static str,
    windows: Windows,
    sql: &'static str,
    oracle: &'static str,
) -> Stages {
    Stages { name, sql, oracle, windows, grace: 3, settings: "", judges_late: true }
}

const fn on_time(name: &'static str, sql: &'static str, oracle: &'static str) -> Stages {
    Stages { name, sql, oracle, windows: TEN, grace: 0, settings: "", judges_late: false }
}

const SINGLE: [Stages; 23] = [
    on_time(
        "filter",
        "SELECT id, ts, i * 2 AS twice FROM events WHERE b",
        "SELECT id, ts, i * 2 AS twice FROM events WHERE b",
    ),
    on_time(
        "lookup",
        "SELECT e.id, n.name FROM events e LEFT JOIN names n ON n.k = e.k WHERE e.i IS NOT NULL",
        "SELECT e.id, n.name FROM events e LEFT JOIN names n ON n.k = e.k WHERE e.i IS NOT NULL",
    ),
    on_time(
        "united",
        "SELECT id, ts, k FROM events UNION ALL SELECT id, ts, s FROM others WHERE NOT b",
        "SELECT id, ts, k FROM events UNION ALL SELECT id, ts, s FROM others WHERE NOT b",
    ),
    // FILTER did not keep its argument from failing on other rows, which were missing everywhere then.
    windowed(
        "a_filter_guards_its_argument",
        TEN,
        "SELECT window_end, k, SUM(100 / i) FILTER (WHERE i <> 0) AS s, COUNT(*) AS n
         FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end",
        "SELECT window_end, k, SUM(CASE WHEN i <> 0 THEN 100 / i END) AS s, COUNT(*) AS n
         FROM w_events GROUP BY k, window_end",
    ),
    on_time(
        "a_filter_guards_its_argument_over_rows",
        "SELECT id, SUM(100 / i) FILTER (WHERE i <> 0) OVER (ORDER BY ts) AS s FROM events",
        "SELECT id, SUM(CASE WHEN i <> 0 THEN 100 / i END) OVER (ORDER BY ts) AS s FROM events",
    ),
    // The engine writes COALESCE out before it runs; in OVER and in joins nobody did, and advance stopped.
    on_time(
        "functions_that_are_written_out_in_over",
        "SELECT id, SUM(COALESCE(i, 0)) FILTER (WHERE COALESCE(b, false)) OVER w AS s,
                COUNT(*) OVER w AS n
         FROM events WINDOW w AS (PARTITION BY COALESCE(k, 'z') ORDER BY ts
                                  RANGE BETWEEN INTERVAL '9 milliseconds' PRECEDING AND CURRENT ROW)",
        "SELECT id, SUM(COALESCE(i, 0)) FILTER (WHERE COALESCE(b, false)) OVER w AS s,
                COUNT(*) OVER w AS n
         FROM events WINDOW w AS (PARTITION BY COALESCE(k, 'z') ORDER BY ts
                                  RANGE BETWEEN INTERVAL '9 milliseconds' PRECEDING AND CURRENT ROW)",
    ),
    on_time(
        "functions_that_are_written_out_in_a_join",
        "SELECT a.id, b.id AS other FROM events a LEFT JOIN others b
           ON NVL(a.k, 'z') = COALESCE(b.k, 'z') AND COALESCE(a.i, b.i, 3) > 2
          AND b.ts BETWEEN a.ts - INTERVAL '5 milliseconds' AND a.ts",
        "SELECT a.id, b.id AS other FROM events a LEFT JOIN others b
           ON NVL(a.k, 'z') = COALESCE(b.k, 'z') AND COALESCE(a.i, b.i, 3) > 2
          AND b.ts BETWEEN a.ts - INTERVAL '5 milliseconds' AND a.ts",
    ),
    windowed(
        "hops",
        HOPS,
        "SELECT id, window_start, window_end
         FROM HOP(events, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds')",
        "SELECT id, window_start, window_end FROM w_events",
    ),
    windowed(
        "steps",
        STEPS,
        "SELECT window_end, id, k, f
         FROM CUMULATE(events, ts, INTERVAL '5 milliseconds', INTERVAL '20 milliseconds')
         WHERE g > 0",
        "SELECT window_end, id, k, f FROM w_events WHERE g > 0",
    ),
    windowed(
        "top",
        HOPS,
        "SELECT window_end, k, id, i
         FROM HOP(events, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds')
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY i DESC, id) <= 2",
        "SELECT window_end, k, id, i FROM w_events
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY i DESC, id) <= 2",
    ),
    windowed(
        "first_of_each",
        TEN,
        "SELECT window_end, k, id FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY ts, id) = 1",
        "SELECT window_end, k, id FROM w_events
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY ts, id) = 1",
    ),
    windowed(
        "fewest",
        TEN,
        "SELECT window_end, id, i FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
         ORDER BY i, id LIMIT 3",
        "SELECT window_end, id, i FROM w_events
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY i, id) <= 3",
    ),
    windowed(
        "inner",
        TEN,
        "SELECT a.window_end, a.id, b.id AS other
         FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
         JOIN TUMBLE(others, ts, INTERVAL '10 milliseconds') b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
        "SELECT a.window_end, a.id, b.id AS other FROM w_events a JOIN w_others b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
    ),
    windowed(
        "left",
        HOPS,
        "SELECT a.window_end, a.id, b.id AS other
         FROM HOP(events, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds') a
         LEFT JOIN HOP(others, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds') b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
        "SELECT a.window_end, a.id, b.id AS other FROM w_events a LEFT JOIN w_others b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
    ),
    windowed(
        "right",
        TEN,
        "SELECT b.window_end, a.id, b.id AS other
         FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
         RIGHT JOIN TUMBLE(others, ts, INTERVAL '10 milliseconds') b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
        "SELECT b.window_end, a.id, b.id AS other FROM w_events a RIGHT JOIN w_others b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
    ),
    windowed(
        "full",
        TEN,
        "SELECT a.window_end AS l, b.window_end AS r, a.id, b.id AS other
         FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
         FULL JOIN (SELECT * FROM TUMBLE(others, ts, INTERVAL '10 milliseconds') WHERE b) b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
        "SELECT a.window_end AS l, b.window_end AS r, a.id, b.id AS other
         FROM w_events a FULL JOIN (SELECT * FROM w_others WHERE b) b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
    ),
    windowed(
        "semi",
        TEN,
        "SELECT a.window_end, a.id FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
         LEFT SEMI JOIN TUMBLE(others, ts, INTERVAL '10 milliseconds') b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
        "SELECT a.window_end, a.id FROM w_events a LEFT SEMI JOIN w_others b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
    ),
    windowed(
        "anti",
        TEN,
        "SELECT a.window_end, a.id FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
         LEFT ANTI JOIN TUMBLE(others, ts, INTERVAL '10 milliseconds') b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
        "SELECT a.window_end, a.id FROM w_events a LEFT ANTI JOIN w_others b
           ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
    ),
    windowed(
        "the_most",
        TEN,
        "SELECT a.window_end, a.id, m.most FROM TUMBLE(events, ts, INTERVAL '10 milliseconds') a
         JOIN (SELECT window_start, window_end, MAX(i) AS most
               FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
               GROUP BY window_start, window_end) m
           ON a.i = m.most AND a.window_start = m.window_start AND a.window_end = m.window_end",
        "SELECT a.window_end, a.id, m.most FROM w_events a
         JOIN (SELECT window_start, window_end, MAX(i) AS most FROM w_events
               GROUP BY window_start, window_end) m
           ON a.i = m.most AND a.window_start = m.window_start AND a.window_end = m.window_end",
    ),
    on_time(
        "mean_of_counts",
        "WITH m AS (SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS s
                    FROM TUMBLE(events, ts, INTERVAL '5 milliseconds')
                    GROUP BY k, window_start, window_end)
         SELECT k, window_start, window_end, MAX(n) AS most, SUM(s) AS s, COUNT(*) AS c,
                FIRST_VALUE(n ORDER BY n DESC) AS first
         FROM TUMBLE(m, window_start, INTERVAL '20 milliseconds')
         GROUP BY k, window_start, window_end",
        "WITH m AS (SELECT k, date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01') AS at,
                           COUNT(*) AS n, SUM(i) AS s FROM events GROUP BY 1, 2),
              w AS (SELECT *, CAST(date_bin(INTERVAL '20 milliseconds', at, TIMESTAMP '1970-01-01')
                                   AS TIMESTAMP(3)) AS window_start FROM m)
         SELECT k, window_start, CAST(window_start + INTERVAL '20 milliseconds' AS TIMESTAMP(3)) AS window_end,
                MAX(n) AS most, SUM(s) AS s, COUNT(*) AS c, FIRST_VALUE(n ORDER BY n DESC) AS first
         FROM w GROUP BY k, window_start",
    ),
    on_time(
        "lists_of_sums",
        "WITH o AS (SELECT id, k, ts, SUM(i) OVER (PARTITION BY k ORDER BY ts
                      RANGE BETWEEN INTERVAL '10 milliseconds' PRECEDING
                                AND INTERVAL '5 milliseconds' FOLLOWING) AS s FROM events)
         SELECT window_start, window_end, k, MAX(s) AS most, ARRAY_AGG(id) AS ids
         FROM TUMBLE(o, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end
         HAVING COUNT(*) > 1",
        "WITH o AS (SELECT *, SUM(i) OVER (PARTITION BY k ORDER BY ts
                      RANGE BETWEEN INTERVAL '10 milliseconds' PRECEDING
                                AND INTERVAL '5 milliseconds' FOLLOWING) AS sum FROM events),
              w AS (SELECT o.*, w.window_start, w.window_end FROM o JOIN w_events w ON w.id = o.id)
         SELECT window_start, window_end, k, MAX(sum) AS most,
                ARRAY_AGG(id ORDER BY ts, __log, __offset) AS ids
         FROM w GROUP BY k, window_start, window_end HAVING COUNT(*) > 1",
    ),
    on_time(
        "sums_of_counts",
        "SELECT k, window_end, n, SUM(n) OVER (PARTITION BY k ORDER BY window_end
                  RANGE BETWEEN INTERVAL '20 milliseconds' PRECEDING AND CURRENT ROW) AS lately
         FROM (SELECT k, window_start, window_end, COUNT(*) AS n
               FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
               GROUP BY k, window_start, window_end)",
        "SELECT k, window_end, n, SUM(n) OVER (PARTITION BY k ORDER BY window_end
                  RANGE BETWEEN INTERVAL '20 milliseconds' PRECEDING AND CURRENT ROW) AS lately
         FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM w_events
               GROUP BY k, window_start, window_end)",
    ),
    on_time(
        "hops_of_single_events",
        "WITH o AS (SELECT ts AS at, k, i FROM events WHERE b)
         SELECT window_start, window_end, COUNT(*) AS n, SUM(i) AS s
         FROM TUMBLE(o, at, INTERVAL '10 milliseconds') GROUP BY window_start, window_end",
        "SELECT window_start, window_end, COUNT(*) AS n, SUM(i) AS s FROM w_events WHERE b
         GROUP BY window_start, window_end",
    ),
];

/// All queries.
pub fn all() -> Vec<Stages> {
    SINGLE.into_iter().chain(sequence::ALL).chain(within::ALL).collect()
}

impl Stages {
    /// How its floats are compared with a batch's.
    pub const TOLERANCE: Tolerance = Tolerance::Exact;

    /// What a batch answers.
    pub fn answer(&self, script: &Script) -> Answer {
        let Stages { oracle, windows, grace, .. } = *self;
        oracle::ask(script, &Question { sql: oracle, windows, grace, keys: None })
    }

    /// The verbs with this query.
    pub fn flow(&self) -> Flow {
        let (name, sql) = (self.name.to_string(), self.sql.to_string());
        let text = text(&[QueryText { name, sql, grace: self.grace }]);
        let pipeline = checked(&text.replace("\ngrace", &format!("\n{}grace", self.settings)));
        let plan = tidemill_plan::plan(&pipeline);
        let plan = plan.unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)));
        Flow::new((pipeline, plan))
    }
}
