//! Queries that fail on some of what advance computes, each with what a batch says of the rest, and of
//! how much fails.
//!
//! The queries divide by zero, or compute a mean with too many digits. The batch's SQL never does: it
//! leaves out what fails, or says it apart.

use tidemill_plan::plan_with;

use crate::flow::Flow;
use crate::oracle::{self, Question};
use crate::pipeline::{QueryText, checked, text};
use crate::rows::Rows;
use crate::script::Script;
use crate::strict_average;
use crate::windows::Windows;

/// One query.
#[derive(Debug, Clone, Copy)]
pub struct Failing {
    /// Its name.
    pub name: &'static str,
    sql: &'static str,
    windows: Windows,
    /// What a batch computes of what does not fail, and a row for each part that does; `None`: only
    /// that it does not depend on ticks is known.
    oracle: Option<[&'static str; 2]>,
}

const TEN: Windows = Windows::Tumble { size: 10, offset: 0 };
const HOPS: Windows = Windows::Hop { slide: 4, size: 10, offset: 0 };
const GAPS: Windows = Windows::Session { gap: 5 };

/// All queries.
pub const ALL: [Failing; 11] = [
    Failing {
        name: "rows_of_windows",
        sql: "SELECT k, window_end, 12 / (COUNT(*) - 2) AS share
              FROM HOP(events, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds')
              GROUP BY k, window_start, window_end",
        windows: HOPS,
        oracle: Some([
            "SELECT k, window_end, 12 / NULLIF(COUNT(*) - 2, 0) AS share FROM w_events
             GROUP BY k, window_start, window_end HAVING COUNT(*) <> 2",
            "SELECT k FROM w_events GROUP BY k, window_start, window_end HAVING COUNT(*) = 2",
        ]),
    },
    Failing {
        name: "rows_of_sessions",
        sql: "SELECT k, window_start, window_end, 12 / (COUNT(*) - 2) AS share
              FROM SESSION(events, ts, INTERVAL '5 milliseconds')
              GROUP BY k, window_start, window_end",
        windows: GAPS,
        oracle: Some([
            "SELECT k, window_start, window_end, 12 / NULLIF(COUNT(*) - 2, 0) AS share
             FROM w_events GROUP BY k, window_start, window_end HAVING COUNT(*) <> 2",
            "SELECT k FROM w_events GROUP BY k, window_start, window_end HAVING COUNT(*) = 2",
        ]),
    },
    Failing {
        name: "whole_windows",
        sql: "SELECT n.name, w.window_end, 12 / (w.c - 2) AS share
              FROM (SELECT k, window_start, window_end, COUNT(*) AS c
                    FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
                    GROUP BY k, window_start, window_end) w
              JOIN names n ON n.k = w.k",
        windows: TEN,
        oracle: Some([
            "WITH w AS (SELECT n.name, window_end, COUNT(*) - 2 AS c FROM w_events e
                        JOIN names n ON n.k = e.k GROUP BY n.name, e.k, window_start, window_end)
             SELECT name, window_end, 12 / NULLIF(c, 0) AS share FROM w
             WHERE window_end NOT IN (SELECT window_end FROM w WHERE c = 0)",
            "SELECT DISTINCT window_end FROM (
               SELECT window_end FROM w_events e JOIN names n ON n.k = e.k
               GROUP BY n.name, e.k, window_start, window_end HAVING COUNT(*) = 2)",
        ]),
    },
    Failing {
        name: "sessions_together",
        sql: "SELECT k, window_start, window_end, 12 / (c - 2) AS share,
                     COUNT(*) OVER (PARTITION BY window_start, window_end) AS beside
              FROM (SELECT k, window_start, window_end, COUNT(*) AS c
                    FROM SESSION(events, ts, INTERVAL '5 milliseconds')
                    GROUP BY k, window_start, window_end)",
        windows: GAPS,
        oracle: Some([
            "WITH w AS (SELECT k, window_start, window_end, COUNT(*) - 2 AS c FROM w_events
                        GROUP BY k, window_start, window_end),
                  bad AS (SELECT DISTINCT window_start AS s, window_end AS e FROM w WHERE c = 0)
             SELECT k, window_start, window_end, 12 / NULLIF(c, 0) AS share,
                    COUNT(*) OVER (PARTITION BY window_start, window_end) AS beside
             FROM w LEFT ANTI JOIN bad ON bad.s = w.window_start AND bad.e = w.window_end",
            "SELECT DISTINCT window_start, window_end FROM (
               SELECT window_start, window_end FROM w_events
               GROUP BY k, window_start, window_end HAVING COUNT(*) = 2)",
        ]),
    },
    Failing {
        name: "between_stages",
        sql: "WITH few AS (SELECT k, window_start, window_end, 12 / (COUNT(*) - 2) AS share
                           FROM TUMBLE(events, ts, INTERVAL '5 milliseconds')
                           GROUP BY k, window_start, window_end)
              SELECT window_end, COUNT(*) AS n, SUM(share) AS shares
              FROM TUMBLE(few, window_start, INTERVAL '20 milliseconds')
              GROUP BY window_start, window_end",
        windows: TEN,
        oracle: Some([
            "WITH few AS (SELECT date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01') AS at,
                                 12 / NULLIF(COUNT(*) - 2, 0) AS share
                          FROM events GROUP BY k, at HAVING COUNT(*) <> 2),
                  w AS (SELECT share, CAST(date_bin(INTERVAL '20 milliseconds', at,
                               TIMESTAMP '1970-01-01') AS TIMESTAMP(3)) AS s FROM few)
             SELECT CAST(s + INTERVAL '20 milliseconds' AS TIMESTAMP(3)) AS window_end,
                    COUNT(*) AS n, SUM(share) AS shares
             FROM w GROUP BY s",
            "SELECT k, date_bin(INTERVAL '5 milliseconds', ts, TIMESTAMP '1970-01-01') AS at
             FROM events GROUP BY k, at HAVING COUNT(*) = 2",
        ]),
    },
    Failing {
        name: "windows_below_a_stage",
        sql: "SELECT k, window_end, SUM(c) OVER (PARTITION BY k ORDER BY window_end
                       RANGE BETWEEN INTERVAL '30 milliseconds' PRECEDING AND CURRENT ROW) AS lately
              FROM (SELECT k, window_start, window_end, COUNT(*) AS c
                    FROM TUMBLE(events, ts, INTERVAL '10 milliseconds')
                    GROUP BY k, window_start, window_end
                    QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end
                                               ORDER BY 12 / (COUNT(*) - 2), k) <= 2)",
        windows: TEN,
        oracle: Some([
            "WITH w AS (SELECT k, window_end, COUNT(*) AS c FROM w_events GROUP BY k, window_end),
                  best AS (SELECT * FROM w
                           WHERE window_end NOT IN (SELECT window_end FROM w WHERE c = 2)
                           QUALIFY ROW_NUMBER() OVER (PARTITION BY window_end
                                                      ORDER BY 12 / NULLIF(c - 2, 0), k) <= 2)
             SELECT k, window_end, SUM(c) OVER (PARTITION BY k ORDER BY window_end
                      RANGE BETWEEN INTERVAL '30 milliseconds' PRECEDING AND CURRENT ROW) AS lately
             FROM best",
            "SELECT DISTINCT window_end FROM (
               SELECT window_end FROM w_events GROUP BY k, window_end HAVING COUNT(*) = 2)",
        ]),
    },
    Failing {
        name: "rows_of_over",
        sql: "SELECT id, SUM(12 / i) OVER (PARTITION BY k ORDER BY ts
                       RANGE BETWEEN INTERVAL '9 milliseconds' PRECEDING AND CURRENT ROW) AS s,
                     COUNT(*) OVER (PARTITION BY 12 / i ORDER BY ts) AS c
              FROM events",
        windows: TEN,
        oracle: Some([
            "SELECT id, SUM(12 / NULLIF(i, 0)) OVER (PARTITION BY k ORDER BY ts
                      RANGE BETWEEN INTERVAL '9 milliseconds' PRECEDING AND CURRENT ROW) AS s,
                    COUNT(*) OVER (PARTITION BY 12 / NULLIF(i, 0) ORDER BY ts) AS c
             FROM events WHERE i IS NULL OR i <> 0",
            "SELECT id FROM events WHERE i = 0",
        ]),
    },
    Failing {
        name: "keys_of_joins",
        sql: "SELECT a.id, b.id AS other FROM events a JOIN others b
                ON 12 / a.i = b.i AND b.ts BETWEEN a.ts - INTERVAL '5 milliseconds' AND a.ts",
        windows: TEN,
        oracle: Some([
            "SELECT a.id, b.id AS other FROM events a JOIN others b
               ON 12 / NULLIF(a.i, 0) = b.i
              AND b.ts BETWEEN a.ts - INTERVAL '5 milliseconds' AND a.ts",
            "SELECT id FROM events WHERE i = 0",
        ]),
    },
    Failing {
        name: "pairs",
        sql: "SELECT a.id, b.id AS other FROM events a LEFT JOIN others b
                ON a.k = b.k AND 12 / (a.i - b.i) > 2
               AND b.ts BETWEEN a.ts - INTERVAL '9 milliseconds' AND a.ts + INTERVAL '4 milliseconds'",
        windows: TEN,
        oracle: Some([
            "WITH p AS (SELECT a.id, b.id AS other, a.i - b.i AS d FROM events a JOIN others b
                          ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '9 milliseconds'
                                                    AND a.ts + INTERVAL '4 milliseconds'),
                  m AS (SELECT id, other FROM p WHERE 12 / NULLIF(d, 0) > 2)
             SELECT id, other FROM m
             UNION ALL SELECT id, NULL AS other FROM events
                       WHERE id NOT IN (SELECT id FROM m)
                         AND id NOT IN (SELECT id FROM p WHERE d = 0)",
            "SELECT a.id FROM events a JOIN others b
               ON a.k = b.k AND a.i = b.i AND b.ts BETWEEN a.ts - INTERVAL '9 milliseconds'
                                                       AND a.ts + INTERVAL '4 milliseconds'",
        ]),
    },
    Failing {
        name: "means",
        sql: "SELECT k, window_end, strict_avg(CAST(i AS DECIMAL(38, 34))) AS mean, COUNT(*) AS n
              FROM HOP(events, ts, INTERVAL '4 milliseconds', INTERVAL '10 milliseconds')
              GROUP BY k, window_start, window_end",
        windows: HOPS,
        oracle: None,
    },
    Failing {
        name: "running_means",
        sql: "SELECT id, strict_avg(CAST(i AS DECIMAL(38, 34))) OVER (PARTITION BY k ORDER BY ts
                       ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS near,
                     strict_avg(CAST(i / 3 AS DECIMAL(38, 34))) OVER (PARTITION BY k ORDER BY ts
                       ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far
              FROM events WHERE i < 4",
        windows: TEN,
        oracle: None,
    },
];

impl Failing {
    /// The verbs with this query.
    pub fn flow(&self) -> Flow {
        let (name, sql) = (self.name.to_string(), self.sql.to_string());
        let text = text(&[QueryText { name, sql, grace: 0 }]) + "keep = \"forever\"\n";
        let pipeline = checked(&text);
        let planned = plan_with(&pipeline, &strict_average::functions());
        let planned = planned.unwrap_or_else(|errors| panic!("{:?}", errors));
        Flow::new((pipeline, planned))
    }

    /// What a batch answers for what does not fail, and how many parts fail.
    pub fn answer(&self, script: &Script) -> Option<(Rows, usize)> {
        let [rest, failing] = self.oracle?;
        let ask = |sql| {
            let keys = matches!(self.windows, Windows::Session { .. })
                .then_some("SELECT id, k FROM events");
            let question = Question { sql, windows: self.windows, grace: 0, keys };
            oracle::ask(script, &question).batches
        };
        let failing = ask(failing).iter().map(|batch| batch.num_rows()).sum();
        Some((Rows::of(&ask(rest)), failing))
    }
}
