//! A vector's pipeline file: one stream, one query.

use vectors::{Event, Vector};

use crate::dialect::{Clock, Dialect};
use crate::rows;

/// The pipeline file's text: each result once, when it is final.
pub(crate) fn pipeline(vector: &Vector, dialect: &Dialect) -> String {
    let window = &vector.window;
    // Lateness and grace keep a window open alike; no vector has both.
    let grace_ms = match rows::is(vector) {
        true => 0,
        false => window.grace_ms.or(window.lateness_ms).unwrap_or(0),
    };
    pipeline_with(vector, dialect, &format!("grace = \"{grace_ms}ms\"\nlate = \"dead_letter\""))
}

/// The same, whose results change: emitted again for each late record, and with `early` for each one.
pub(crate) fn changing(vector: &Vector, dialect: &Dialect, early: bool) -> String {
    let grace_ms = vector.window.grace_ms.unwrap_or(0);
    let mut settings = format!("grace = \"{grace_ms}ms\"");
    if let Some(lateness_ms) = vector.window.lateness_ms {
        settings += &format!("\nlate = \"update\"\nallowed_lateness = \"{lateness_ms}ms\"");
    }
    if early {
        settings += "\nemit = \"updates\"";
    }
    pipeline_with(vector, dialect, &settings)
}

fn pipeline_with(vector: &Vector, dialect: &Dialect, settings: &str) -> String {
    let window = &vector.window;
    let whole_numbers = vector.events.iter().all(|event| match event {
        Event::Record(record) => record.value.is_i64(),
        _ => true,
    });
    let value = if whole_numbers { "bigint" } else { "string" };
    let wait_ms = match dialect.clock {
        Clock::Records => window.wait_ms.unwrap_or(0),
        Clock::Given | Clock::End => 0,
    };
    let (sql, options, wait_ms) = match rows::is(vector) {
        true => (rows::sql::query(vector), rows::sql::options(vector), rows::sql::wait_ms(vector)),
        false => (query(vector, dialect), "", wait_ms),
    };
    let event_time = if rows::arrival_is_time(vector) { "arrival_time" } else { "t" };
    format!(
        r#"
name = "vector"

[streams.events]
format = "json"
columns = {{ k = {{ type = "string", path = "key" }}, v = {{ type = "{value}", path = "value" }}, g = {{ type = "string", path = "group" }}, side = "string", gap = "bigint", t = "timestamp_ms" }}
event_time = "{event_time}"
out_of_orderness = "{wait_ms}ms"

[queries.q]
sql = '''
{sql}
'''
{settings}
{options}
"#
    )
}

/// The query. Its columns have the names of `expected`'s members.
fn query(vector: &Vector, dialect: &Dialect) -> String {
    let window = &vector.window;
    let from = windows(vector, dialect);
    let bounds = r#"window_start AS "start", window_end AS "end""#;
    let by = "window_start, window_end";
    let aggregate = vector.agg.as_deref().map(aggregate);
    if let Some(top) = window.top {
        let order = match window.order.as_deref() {
            Some("sum desc") => "SUM(v) DESC",
            Some("value desc, arrival asc") => "v DESC, t ASC",
            other => panic!("no ranking: {other:?}"),
        };
        let rank = format!("ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY {order})");
        // Single rows are groups of one record: every column is a key.
        let (columns, keys) = match &aggregate {
            Some(aggregate) => (format!(r#"g AS "group", {aggregate}, COUNT(*) AS "count""#), "g"),
            None => (r#"k AS "key", v AS "value""#.to_string(), "k, v, t"),
        };
        return format!(
            r#"SELECT {columns}, {bounds}, {rank} AS "rank"
FROM {from}
GROUP BY {keys}, {by}
QUALIFY {rank} <= {top}"#
        );
    }
    if let Some(sets) = &window.grouping_sets {
        assert_eq!(*sets, [vec!["group".to_string()], vec![]], "{}", vector.id);
        let aggregate = aggregate.expect("an aggregate");
        return format!(
            r#"SELECT g AS "group", {bounds}, {aggregate}
FROM {from}
GROUP BY {by}, GROUPING SETS ((g), ())"#
        );
    }
    let (key, key_by) = match window.group.as_deref() {
        None => (r#"k AS "key", "#, "k, "),
        Some("none") => ("", ""),
        Some(other) => panic!("no grouping: {other}"),
    };
    if vector.agg.as_deref() == Some("count by type") {
        return format!(
            r#"SELECT {key}{bounds}, v AS "type", COUNT(*) AS "value"
FROM {from}
GROUP BY {key_by}v, {by}"#
        );
    }
    let aggregate = aggregate.map_or_else(String::new, |aggregate| format!(", {aggregate}"));
    format!(
        r#"SELECT {key}{bounds}{aggregate}
FROM {from}
GROUP BY {key_by}{by}"#
    )
}

/// The aggregate with the name `value`.
pub(crate) fn aggregate(name: &str) -> String {
    format!(r#"{} AS "value""#, call(name))
}

/// The aggregate's call.
pub(crate) fn call(name: &str) -> &'static str {
    match name {
        "count" | "count by type" => "COUNT(*)",
        "sum" => "SUM(v)",
        "min" => "MIN(v)",
        "max" => "MAX(v)",
        "mean" => "AVG(v)",
        "collect" | "collect (reduce append, arrival order)" => "ARRAY_AGG(v)",
        "set (sorted)" => "ARRAY_AGG(v ORDER BY v)",
        "multi:count,min,max" => "named_struct('count', COUNT(*), 'min', MIN(v), 'max', MAX(v))",
        "multi:count,sum,mean,max,min,collect" => {
            "named_struct('count', COUNT(*), 'sum', SUM(v), 'mean', AVG(v), 'max', MAX(v), 'min', MIN(v), 'collect', ARRAY_AGG(v))"
        }
        other => panic!("no aggregate: {other}"),
    }
}

fn windows(vector: &Vector, dialect: &Dialect) -> String {
    let window = &vector.window;
    let interval = |ms: i64| format!("INTERVAL '{ms} milliseconds'");
    let time = if rows::arrival_is_time(vector) { "arrival_time" } else { "t" };
    let size = || interval(window.size_ms.expect("size_ms"));
    let offset = match window.offset_ms.or(window.align_to_ms) {
        Some(ms) if ms != 0 => format!(", {}", interval(ms)),
        _ => String::new(),
    };
    match window.kind.as_str() {
        "tumbling" => format!("TUMBLE(events, {time}, {}{offset})", size()),
        "hopping" => {
            let slide = interval(window.advance_ms.expect("advance_ms"));
            format!("HOP(events, {time}, {slide}, {}{offset})", size())
        }
        "cumulate" => {
            let step = interval(window.step_ms.expect("step_ms"));
            format!("CUMULATE(events, {time}, {step}, {}{offset})", size())
        }
        "session" if window.gap.is_some() => "SESSION(events, t, gap)".to_string(),
        "session" => {
            let gap_ms = window.gap_ms.expect("gap_ms") + dialect.gap_shift_ms;
            format!("SESSION(events, t, {})", interval(gap_ms))
        }
        other => panic!("no windows: {other}"),
    }
}
