//! Random queries of single events and of stages that feed each other.
//!
//! A single event is late as if it had a window of its own, of one millisecond: so the batch has
//! the rows that were not.

use properties::windows::{Spelling, Windows};
use tidemill_testkit::Rng;

use super::STREAMS;
use super::random::{RandomQuery, condition};

/// The window of an event that is alone.
const ALONE: Windows = Windows::Tumble { size: 1, offset: 0 };
const KEEP: &str = "keep = 'forever'\n";

/// What a kind of query says: `{from}` is what it reads, `{filter}` a condition, `{by}` the order
/// that a batch must be told to the last tie.
struct Said {
    windows: Windows,
    from: String,
    sql: String,
    /// The batch's query, where it is another.
    batch: Option<String>,
    settings: &'static str,
    /// How often it reads its stream.
    scans: u64,
    /// Milliseconds after a row's window at which it is final, beside the grace.
    delay: i64,
}

/// For some pipelines a query of rows, from a generator of their own.
pub(super) fn query(number: u64) -> Option<RandomQuery> {
    let mut rng = Rng::new(number ^ 0x726f_7773_2172_6f77);
    if !rng.chance(45) {
        return None;
    }
    let rng = &mut rng;
    let stream = if rng.chance(75) { STREAMS[0] } else { STREAMS[1] };
    let filter = match rng.chance(45) {
        true => format!(" WHERE {}", condition(rng)),
        false => String::new(),
    };
    let Said { windows, from, sql, batch, settings, scans, delay } = said(stream, rng);
    let batch = batch.unwrap_or_else(|| sql.clone());
    let batch = batch
        .replace("{from}", &format!("w_{stream}"))
        .replace("{filter}", &filter)
        .replace("{by}", "ts, __log, __offset");
    Some(RandomQuery {
        name: "rows_0".to_string(),
        stream,
        windows,
        grace: *rng.pick(&[0, 0, 1, 2000, 7500]).unwrap_or(&0),
        letters: false,
        changes: None,
        key_columns: 0,
        spelling: Spelling::Plain,
        template: sql.replace("{from}", &from).replace("{filter}", &filter).replace("{by}", "ts"),
        keys: format!("SELECT id FROM {stream}{filter}"),
        batch,
        failing: None,
        settings,
        scans,
        delay,
    })
}

const COLUMNS: &str = "id, ts AS window_start, ts + INTERVAL '1 millisecond' AS window_end";

fn said(stream: &str, rng: &mut Rng) -> Said {
    let alone = |sql: String| Said {
        windows: ALONE,
        from: stream.to_string(),
        sql,
        batch: None,
        settings: "",
        scans: 1,
        delay: 0,
    };
    let ms = |rng: &mut Rng| rng.between(1, 20_000);
    let number = "ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY i DESC, id)";
    match rng.below(11) {
        0 => alone(format!("SELECT {COLUMNS}, k, i * 2 AS twice FROM {{from}}{{filter}}")),
        1 => {
            let before = ms(rng);
            alone(format!(
                "SELECT {COLUMNS}, COUNT(*) OVER w AS n, SUM(i) OVER w AS s, MIN(i) OVER w AS least, \
                 MAX(s) OVER w AS most FROM {{from}}{{filter}} WINDOW w AS (PARTITION BY k ORDER BY ts \
                 RANGE BETWEEN INTERVAL '{before} milliseconds' PRECEDING AND CURRENT ROW)"
            ))
        }
        2 => Said {
            settings: KEEP,
            ..alone(format!(
                "SELECT {COLUMNS}, SUM(i) OVER w AS s, LAG(id) OVER w AS before, \
                 FIRST_VALUE(i) OVER w AS first FROM {{from}}{{filter}} WINDOW w AS \
                 (PARTITION BY k ORDER BY {{by}} ROWS BETWEEN {} PRECEDING AND CURRENT ROW)",
                rng.between(1, 4)
            ))
        },
        3 => Said {
            settings: KEEP,
            ..alone(format!(
                "SELECT {COLUMNS}, SUM(i) OVER w AS s, COUNT(s) OVER w AS n, \
                 ROW_NUMBER() OVER w AS number, MAX(dec) OVER w AS most FROM {{from}}{{filter}} \
                 WINDOW w AS (PARTITION BY k ORDER BY {{by}} ROWS UNBOUNDED PRECEDING)"
            ))
        },
        4 => {
            let (before, kind) = (ms(rng), rng.pick(&["", "LEFT "]).copied().unwrap_or(""));
            Said {
                scans: 2,
                ..alone(format!(
                    "SELECT a.id, a.ts AS window_start, a.ts + INTERVAL '1 millisecond' AS window_end, \
                     b.id AS other, b.i FROM (SELECT id, ts, k FROM {{from}}{{filter}}) a \
                     {kind}JOIN (SELECT id, ts, k, i FROM {{from}}{{filter}}) b ON a.k = b.k \
                     AND b.ts BETWEEN a.ts - INTERVAL '{before} milliseconds' AND a.ts"
                ))
            }
        }
        5 => {
            let slide = rng.between(1000, 15_000);
            let windows = Windows::Hop { slide, size: rng.between(500, 4 * slide), offset: 0 };
            Said {
                windows,
                from: windows.to_sql(stream, Spelling::Plain),
                ..alone(format!(
                    "SELECT window_start, window_end, id, k FROM {{from}}{{filter}} QUALIFY {number} <= 2"
                ))
            }
        }
        6 => {
            let size = rng.between(500, 10_000);
            let outer = size * rng.between(1, 6);
            let windows = Windows::Tumble { size, offset: 0 };
            let counts = "SELECT k, window_start, window_end, COUNT(*) AS n, MAX(i) AS most \
                          FROM {from}{filter} GROUP BY k, window_start, window_end";
            let values = "SUM(n) AS n, MAX(n) AS largest, MAX(most) AS most, COUNT(*) AS windows";
            Said {
                windows,
                from: windows.to_sql(stream, Spelling::Plain),
                batch: Some(format!(
                    "WITH c AS ({counts}), w AS (SELECT k, n, most, CAST(date_bin(\
                     INTERVAL '{outer} milliseconds', window_start, TIMESTAMP '1970-01-01') \
                     AS TIMESTAMP(3)) AS start FROM c) SELECT k, start AS window_start, \
                     CAST(start + INTERVAL '{outer} milliseconds' AS TIMESTAMP(3)) AS window_end, \
                     {values} FROM w GROUP BY k, start"
                )),
                delay: size,
                ..alone(format!(
                    "WITH c AS ({counts}) SELECT k, window_start, window_end, {values} \
                     FROM TUMBLE(c, window_start, INTERVAL '{outer} milliseconds') \
                     GROUP BY k, window_start, window_end"
                ))
            }
        }
        7 => {
            let size = rng.between(500, 10_000);
            let kind = rng.pick(&["", "LEFT "]).copied().unwrap_or("");
            let windows = Windows::Tumble { size, offset: 0 };
            let side = "(SELECT id, k, i, window_start, window_end FROM {from}{filter})";
            Said {
                windows,
                from: windows.to_sql(stream, Spelling::Plain),
                scans: 2,
                // A pair may still come when a window's end has just been reached.
                delay: 1,
                ..alone(format!(
                    "SELECT window_start, window_end, id, other, COUNT(other) OVER w AS n, \
                     SUM(i) OVER w AS s FROM (SELECT a.window_start, a.window_end, a.k, a.id, \
                     b.id AS other, b.i FROM {side} a {kind}JOIN {side} b ON a.k = b.k \
                     AND a.window_start = b.window_start AND a.window_end = b.window_end \
                     AND a.i < b.i) WINDOW w AS (PARTITION BY k ORDER BY window_end \
                     RANGE BETWEEN INTERVAL '{} milliseconds' PRECEDING AND CURRENT ROW)",
                    size * rng.between(1, 4)
                ))
            }
        }
        8 => {
            let windows = Windows::Tumble { size: rng.between(500, 10_000), offset: 0 };
            Said {
                windows,
                from: windows.to_sql(stream, Spelling::Plain),
                // A row of a window's end may still come when the end has just been reached.
                delay: 1,
                ..alone(format!(
                    "SELECT window_start, window_end, k, n, SUM(n) OVER w AS lately FROM (SELECT k, \
                     window_start, window_end, COUNT(*) AS n FROM {{from}}{{filter}} \
                     GROUP BY k, window_start, window_end QUALIFY ROW_NUMBER() OVER \
                     (PARTITION BY window_start, window_end ORDER BY COUNT(*) DESC, k) <= {}) \
                     WINDOW w AS (PARTITION BY k ORDER BY window_end \
                     RANGE BETWEEN INTERVAL '{} milliseconds' PRECEDING AND CURRENT ROW)",
                    rng.between(1, 3),
                    rng.between(1, 30_000)
                ))
            }
        }
        9 => {
            let gap = rng.between(500, 20_000);
            let first = "SELECT id, ts, k, i FROM {from}{filter} \
                         QUALIFY ROW_NUMBER() OVER (PARTITION BY k, i ORDER BY {by}) = 1";
            Said {
                settings: KEEP,
                // An event at a session's end joins it.
                delay: 1,
                batch: Some(format!(
                    "WITH d AS (SELECT * FROM {{from}}{{filter}} \
                     QUALIFY ROW_NUMBER() OVER (PARTITION BY k, i ORDER BY {{by}}) = 1), \
                     m AS (SELECT *, CASE WHEN ts <= LAG(ts) OVER (PARTITION BY k ORDER BY {{by}}) \
                     + INTERVAL '{gap} milliseconds' THEN 0 ELSE 1 END AS first FROM d), \
                     s AS (SELECT *, SUM(first) OVER (PARTITION BY k ORDER BY {{by}} \
                     ROWS UNBOUNDED PRECEDING) AS session FROM m) \
                     SELECT k, MIN(ts) AS window_start, \
                     CAST(MAX(ts) + INTERVAL '{gap} milliseconds' AS TIMESTAMP(3)) AS window_end, \
                     COUNT(*) AS n, SUM(i) AS s, MIN(id) AS least FROM s GROUP BY k, session"
                )),
                ..alone(format!(
                    "WITH d AS ({first}) SELECT k, window_start, window_end, COUNT(*) AS n, \
                     SUM(i) AS s, MIN(id) AS least \
                     FROM SESSION(d, ts, INTERVAL '{gap} milliseconds') \
                     GROUP BY k, window_start, window_end"
                ))
            }
        }
        _ => {
            let rows = rng.between(1, 4);
            let windows = Windows::Tumble { size: rng.between(500, 10_000), offset: 0 };
            let counts = "SELECT k, window_start, window_end, COUNT(*) AS n, MAX(i) AS most \
                          FROM {from}{filter} GROUP BY k, window_start, window_end";
            let values = "SUM(n) AS n, MAX(n) AS largest, MAX(most) AS most";
            Said {
                windows,
                from: windows.to_sql(stream, Spelling::Plain),
                settings: KEEP,
                batch: Some(format!(
                    "WITH c AS ({counts}), w AS (SELECT *, (CAST(ROW_NUMBER() OVER \
                     (PARTITION BY k ORDER BY window_end) AS BIGINT) - 1) / {rows} AS number FROM c) \
                     SELECT k, MIN(window_end) AS window_start, MAX(window_end) AS window_end, \
                     {values} FROM w GROUP BY k, number HAVING COUNT(*) = {rows}"
                )),
                ..alone(format!(
                    "WITH c AS ({counts}) SELECT k, window_start, window_end, {values} \
                     FROM TUMBLE_ROWS(c, window_end, {rows}) GROUP BY k, window_start, window_end"
                ))
            }
        }
    }
}
