//! OVER windows, deduplication and count windows: what is refused, with which code and which way out.

use std::path::Path;

use tidemill_plan::{NodeKind, OperatorPlan, OverStage, plan};

const STREAM: &str = r#"
name = "t"
[streams.s]
format = "json"
columns = { k = "string", v = "bigint", x = "double", ts = "timestamp_ms", at = "timestamp_ms" }
event_time = "ts"
"#;

fn planned(options: &str, sql: &str) -> Result<OperatorPlan, (String, String)> {
    let text = format!("{STREAM}\n[queries.q]\n{options}\nsql = '''\n{sql}\n'''\n");
    let pipeline = tidemill_pipeline::parse("p.toml", &text, Path::new("."), &|_| None).unwrap();
    let plan = plan(&pipeline).map_err(|errors| {
        let error = &errors.errors[0];
        let help = miette::Diagnostic::help(error).map(|help| help.to_string());
        (error.code().to_string(), help.unwrap_or_default())
    })?;
    let graph = plan.queries[0].graph.as_ref().unwrap();
    let derived = graph.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Derived(derived) => Some(derived.operator.clone()),
        _ => None,
    });
    Ok(derived.unwrap())
}

fn over(options: &str, sql: &str) -> OverStage {
    match planned(options, sql) {
        Ok(OperatorPlan::Over(stage)) => *stage,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn what_cannot_run_is_refused_with_a_way_out() {
    let cases = [
        ("SELECT SUM(v) OVER (PARTITION BY k) AS x FROM s", "plan::over::order", "ORDER BY ts"),
        ("SELECT SUM(v) OVER (ORDER BY v) AS x FROM s", "plan::over::order", "ORDER BY ts"),
        ("SELECT SUM(v) OVER (ORDER BY at) AS x FROM s", "plan::over::order", "ORDER BY ts"),
        ("SELECT SUM(v) OVER (ORDER BY ts, k) AS x FROM s", "plan::over::order", "alone"),
        ("SELECT LAG(v) OVER (ORDER BY ts DESC) AS x FROM s", "plan::over::order", "DESC"),
        (
            "SELECT k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS x FROM s",
            "plan::over::order",
            "DESC",
        ),
        (
            "SELECT k FROM s QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) <= 2",
            "plan::over::order",
            "DESC",
        ),
        (
            "SELECT k FROM s QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) = 1",
            "plan::over::unbounded",
            "keep",
        ),
        (
            "SELECT k FROM s QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) = 1",
            "plan::over::unbounded",
            "keep",
        ),
        (
            "SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts) AS x FROM s",
            "plan::over::unbounded",
            "keep = \"30d\"",
        ),
        (
            "SELECT COUNT(DISTINCT v) OVER (ORDER BY ts) AS x FROM s",
            "plan::over::unbounded",
            "keep",
        ),
        ("SELECT ARRAY_AGG(v) OVER (ORDER BY ts) AS x FROM s", "plan::over::unbounded", "keep"),
        (
            "SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS 3 PRECEDING) AS x FROM s",
            "plan::over::unbounded",
            "keep",
        ),
        (
            "SELECT LEAD(v) OVER (PARTITION BY k ORDER BY ts) AS x FROM s",
            "plan::over::unbounded",
            "keep",
        ),
        (
            "SELECT LEAD(v) IGNORE NULLS OVER (ORDER BY ts) AS x FROM s",
            "plan::over::ignore_nulls",
            "LAG",
        ),
        (
            "SELECT SUM(v) OVER (ORDER BY ts ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS x FROM s",
            "plan::over::frame",
            "CURRENT ROW",
        ),
        (
            "SELECT SUM(v) OVER (ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) AS x FROM s",
            "plan::over::frame",
            "CURRENT ROW",
        ),
        (
            "SELECT SUM(v) OVER (ORDER BY ts GROUPS 2 PRECEDING) AS x FROM s",
            "plan::over::frame",
            "ROWS",
        ),
        (
            "SELECT SUM(v) OVER (ORDER BY ts RANGE INTERVAL '1' MONTH PRECEDING) AS x FROM s",
            "plan::over::frame",
            "days",
        ),
        (
            "SELECT SUM(v) OVER (ORDER BY ts RANGE INTERVAL '1 microsecond' PRECEDING) AS x FROM s",
            "plan::over::frame",
            "milliseconds",
        ),
        ("SELECT NTILE(3) OVER (ORDER BY ts) AS x FROM s", "plan::over::needs_all_rows", "window"),
        ("SELECT PERCENT_RANK() OVER (ORDER BY ts) AS x FROM s", "plan::over::needs_all_rows", ""),
        ("SELECT CUME_DIST() OVER (ORDER BY ts) AS x FROM s", "plan::over::needs_all_rows", ""),
        ("SELECT LAG(v, v) OVER (ORDER BY ts) AS x FROM s", "plan::over::argument", "LAG"),
        (
            "SELECT SUM(v + random()) OVER (ORDER BY ts) AS x FROM s",
            "plan::volatile",
            "column of the event",
        ),
        (
            "SELECT k, window_end, SUM(v) AS x FROM TUMBLE_ROWS(s, ts, 3) GROUP BY k, window_end",
            "plan::count::unbounded",
            "keep",
        ),
        (
            "SELECT k, SUM(v) AS x FROM TUMBLE_ROWS(s, ts, 3) GROUP BY k",
            "plan::aggregate::no_window",
            "window_start",
        ),
        (
            "SELECT k, window_end FROM TUMBLE_ROWS(s, ts, 3)",
            "plan::count::no_aggregate",
            "GROUP BY",
        ),
        (
            "SELECT window_end, SUM(v) AS x FROM TUMBLE_ROWS(s, ts, 0) GROUP BY window_end",
            "plan::count::rows",
            "at least 1",
        ),
        (
            "SELECT window_end, SUM(v) AS x FROM TUMBLE_ROWS(s, ts, INTERVAL '1' HOUR) GROUP BY window_end",
            "plan::count::rows",
            "whole number",
        ),
        (
            "SELECT window_end, SUM(v) AS x FROM TUMBLE_ROWS(s, at, 3) GROUP BY window_end",
            "plan::window::not_event_time",
            "ts",
        ),
        (
            "SELECT window_end, SUM(v) AS x FROM HOP_ROWS(s, ts, 1, 100000) GROUP BY window_end",
            "plan::window::too_many",
            "100 rows",
        ),
        (
            "SELECT window_end, SUM(v) AS x FROM TUMBLE_ROWS(s, ts, 3) WHERE window_end > ts GROUP BY window_end",
            "plan::window::early",
            "GROUP BY",
        ),
    ];
    for (sql, code, way_out) in cases {
        match planned("", sql) {
            Ok(stage) => panic!("planned: {sql}\n{stage:?}"),
            Err((given, help)) => {
                assert_eq!(given, code, "{sql}");
                assert!(help.contains(way_out), "{sql}: {help}");
            }
        }
    }
}

#[test]
fn how_long_a_row_waits_follows_from_what_it_looks_at() {
    let of = |options, function: &str| {
        let stage = over(options, &format!("SELECT ts, {function} AS x FROM s"));
        (stage.delay_ms, stage.is_ordered)
    };
    let keep = "keep = \"1s\"";
    assert_eq!(of("", "SUM(v) OVER (ORDER BY ts)"), (Some(0), true));
    let around = "SUM(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN CURRENT ROW AND INTERVAL '7 seconds' FOLLOWING)";
    assert_eq!(of("", around), (Some(7_000), true));
    assert_eq!(of(keep, "LEAD(v, 3) OVER (PARTITION BY k ORDER BY ts)"), (Some(3_000), false));
    assert_eq!(of("", "LEAD(v) OVER (ORDER BY ts)"), (None, false));
    assert_eq!(of(keep, "LAG(v) OVER (PARTITION BY k ORDER BY ts)"), (Some(0), true));
}

#[test]
fn a_filter_on_the_first_row_backwards_keeps_the_last() {
    let number = "ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC)";
    for sql in [
        format!("SELECT k, v FROM s QUALIFY {number} = 1"),
        format!("SELECT k, v FROM s QUALIFY {number} < 2"),
        format!(
            "SELECT k FROM (SELECT *, {number} AS n FROM s WHERE v > 1) x WHERE 1 >= n AND v < 9"
        ),
    ] {
        assert!(matches!(planned("keep = \"1h\"", &sql), Ok(OperatorPlan::Last(_))), "{sql}");
    }
    let (code, _) = planned(
        "keep = \"1h\"",
        &format!("SELECT a.k, a.n FROM (SELECT k, {number} AS n FROM s) a"),
    )
    .unwrap_err();
    assert_eq!(code, "plan::over::order");
}
