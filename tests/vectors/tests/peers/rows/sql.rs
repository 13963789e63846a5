//! The SQL of vectors whose results are rows.
//!
//! A join's sides are two readings of one stream, told apart by `side`: so they have one watermark, as the
//! peers' tests have.

use vectors::{Vector, WindowDef};

use super::records;
use crate::sql::{aggregate, call};

/// The query. Its columns have the names of `expected`'s members.
pub(crate) fn query(vector: &Vector) -> String {
    let window = &vector.window;
    match window.kind.as_str() {
        "sliding" => sliding(vector),
        "count_tumbling" | "count_hopping" | "count_sliding" => count(vector),
        "interval" | "stream-stream" => interval(window),
        "asof" => as_of(window, "t"),
        "stream-table" => as_of(window, "arrival_time"),
        "window-join" => window_join(window),
        other => panic!("no query for {other}"),
    }
}

/// Options of the query.
pub(crate) fn options(vector: &Vector) -> &'static str {
    match vector.window.kind.as_str() {
        "count_tumbling" | "count_hopping" | "count_sliding" | "asof" | "stream-table" => {
            "keep = \"forever\""
        }
        _ => "",
    }
}

/// How far the watermark stays behind the newest event.
///
/// Where the engine judges lateness by a join's windows, a record may come later than the grace: then just
/// so much that none is late.
pub(crate) fn wait_ms(vector: &Vector) -> i64 {
    let grace_ms = vector.window.grace_ms.unwrap_or(0);
    match (vector.kind.as_str(), vector.engine.as_str()) {
        ("sliding", "quix-streams") | ("join-asof", _) => grace_ms,
        ("join-left" | "join-outer", "kafka-streams") => grace_ms.max(disorder_ms(vector)),
        // Nothing is final before the end: what is late is not tried.
        _ => 1_000_000_000,
    }
}

/// How far a record is behind a newer one, at most.
fn disorder_ms(vector: &Vector) -> i64 {
    let mut newest = i64::MIN;
    let behind = records(vector).map(|record| {
        newest = newest.max(record.t);
        newest - record.t
    });
    behind.max().unwrap_or(0)
}

fn ms(ms: i64) -> String {
    format!("INTERVAL '{ms} milliseconds'")
}

fn sliding(vector: &Vector) -> String {
    let size_ms = vector.window.size_ms.or(vector.window.diff_ms).expect("a size");
    let value = call(vector.agg.as_deref().expect("an aggregate"));
    let over = |from: &str, to: &str| {
        format!("{value} OVER (PARTITION BY k ORDER BY t RANGE BETWEEN {from} AND {to})")
    };
    let value = over(&format!("{} PRECEDING", ms(size_ms)), "CURRENT ROW");
    // Kafka has a second window for each event, which begins a millisecond behind it.
    let behind = match vector.engine.as_str() {
        "kafka-streams" => {
            let from = format!("{} FOLLOWING", ms(1));
            let to = format!("{} FOLLOWING", ms(size_ms + 1));
            format!(r#", {} AS behind"#, over(&from, &to))
        }
        _ => String::new(),
    };
    format!(r#"SELECT k AS "key", t AS "end", {value} AS "value"{behind} FROM events"#)
}

fn count(vector: &Vector) -> String {
    let window = &vector.window;
    let rows = window.count.expect("a count");
    let from = match (window.kind.as_str(), window.step) {
        ("count_tumbling", None) => format!("TUMBLE_ROWS(events, t, {rows})"),
        ("count_hopping", Some(step)) => format!("HOP_ROWS(events, t, {step}, {rows})"),
        ("count_sliding", None) => format!("HOP_ROWS(events, t, 1, {rows})"),
        (other, step) => panic!("no count windows: {other} {step:?}"),
    };
    let value = aggregate(vector.agg.as_deref().expect("an aggregate"));
    format!(
        r#"SELECT k AS "key", window_start AS "start", window_end AS "end", {value}
FROM {from}
GROUP BY k, window_start, window_end"#
    )
}

fn kind(window: &WindowDef) -> &'static str {
    match window.how.as_deref() {
        Some("inner") => "",
        Some("left") => "LEFT",
        Some("right") => "RIGHT",
        Some("full" | "outer") => "FULL",
        // What only tells state.
        None => "",
        other => panic!("no join: {other:?}"),
    }
}

fn side(name: &str) -> String {
    format!("(SELECT * FROM events WHERE side = '{name}')")
}

fn interval(window: &WindowDef) -> String {
    let before_ms = window.before_ms.or(window.backward_ms).map(|ms| -ms);
    let lower_ms = window.lower_ms.or(before_ms).expect("a lower bound");
    let upper_ms = window.upper_ms.or(window.after_ms).or(window.forward_ms);
    let upper_ms = upper_ms.expect("an upper bound");
    let least = if window.lower_inclusive == Some(false) { ">" } else { ">=" };
    let most = if window.upper_inclusive == Some(false) { "<" } else { "<=" };
    let at = |offset: i64| match offset {
        0 => "l.t".to_string(),
        1.. => format!("l.t + {}", ms(offset)),
        _ => format!("l.t - {}", ms(-offset)),
    };
    format!(
        r#"SELECT COALESCE(l.k, r.k) AS "key", l.v AS "left", r.v AS "right", GREATEST(l.t, r.t) AS t
FROM {} l
{} JOIN {} r
  ON l.k = r.k AND r.t {least} {} AND r.t {most} {}"#,
        side("L"),
        kind(window),
        side("R"),
        at(lower_ms),
        at(upper_ms),
    )
}

fn as_of(window: &WindowDef, time: &str) -> String {
    let (left, right) = if window.kind == "asof" { ("L", "R") } else { ("S", "T") };
    // There, a null is no match: it deletes.
    let deleted =
        if window.how.as_deref() == Some("inner") { "\nWHERE r.v IS NOT NULL" } else { "" };
    format!(
        r#"SELECT l.k AS "key", l.v AS "left", r.v AS "right", l.t AS t
FROM {} l
ASOF {} JOIN {} r MATCH_CONDITION (l.{time} >= r.{time}) ON l.k = r.k{deleted}"#,
        side(left),
        kind(window),
        side(right),
    )
}

fn window_join(window: &WindowDef) -> String {
    let of = window.window.as_ref().expect("windows");
    if of.kind == "session" {
        return session_join(window, of);
    }
    let size_ms = of.size_ms.expect("size_ms");
    let side = |name: &str| {
        format!("(SELECT * FROM TUMBLE(events, t, {}) WHERE side = '{name}')", ms(size_ms))
    };
    format!(
        r#"SELECT COALESCE(l.k, r.k) AS "key", l.v AS "left", r.v AS "right",
  COALESCE(l.window_start, r.window_start) AS "start", COALESCE(l.window_end, r.window_end) AS "end"
FROM {} l
{} JOIN {} r
  ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end"#,
        side("L"),
        kind(window),
        side("R"),
    )
}

/// One session of both sides: an aggregate that keeps them apart.
fn session_join(window: &WindowDef, of: &WindowDef) -> String {
    let gap = ms(of.gap_ms.expect("gap_ms"));
    let from = format!("FROM SESSION(events, t, {gap})\nGROUP BY k, window_start, window_end");
    let each = |function: &str| {
        let one = |side: &str, name: &str| {
            format!(r#"{function}(v) FILTER (WHERE side = '{side}') AS "{name}""#)
        };
        format!("{}, {}", one("L", "left"), one("R", "right"))
    };
    if window.insert_mode.as_deref() == Some("product") {
        let lists = each("ARRAY_AGG");
        return format!(
            r#"SELECT "key", "left", UNNEST("right") AS "right"
FROM (SELECT "key", window_start, window_end, UNNEST("left") AS "left", "right"
      FROM (SELECT k AS "key", window_start, window_end, {lists} {from}) lists) pairs"#
        );
    }
    let complete = match window.emit_mode.as_deref() {
        Some("complete") => "\nHAVING COUNT(DISTINCT side) = 2",
        _ => "",
    };
    format!(r#"SELECT k AS "key", {} {from}{complete}"#, each("LAST_VALUE"))
}
