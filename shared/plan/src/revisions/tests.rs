//! Which queries can have results that change, and what their rows look like then.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};

use super::*;
use crate::{PlanErrors, QueryPlan, explain, plan};

const STREAM: &str = r#"
name = "t"
[streams.s]
format = "json"
columns = { k = "string", v = "bigint", x = "double", ts = "timestamp_ms" }
event_time = "ts"
"#;
const BY_KEY: &str = "SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end";
const UPDATES: &str = "emit = \"updates\"";
const LATE: &str = "late = \"update\"\nallowed_lateness = \"1h\"";

fn try_plan(sql: &str, settings: &str) -> Result<Arc<QueryPlan>, PlanErrors> {
    let text = format!("{STREAM}\n[queries.q]\nsql = '''\n{sql}\n'''\n{settings}\n");
    let pipeline = tidemill_pipeline::parse("p.toml", &text, Path::new("."), &|_| None);
    let planned = plan(&pipeline.unwrap_or_else(|errors| panic!("{errors:?}")))?;
    Ok(Arc::clone(&planned.queries[0]))
}

fn planned(sql: &str, settings: &str) -> Arc<QueryPlan> {
    try_plan(sql, settings).unwrap_or_else(|errors| panic!("{sql}: {:?}", errors.errors))
}

fn refused(sql: &str, settings: &str) -> (&'static str, String) {
    match try_plan(sql, settings) {
        Ok(_) => panic!("planned: {sql}"),
        Err(errors) => {
            let code = errors.errors[0].code();
            (code, format!("{:?}", miette::Report::new(errors)))
        }
    }
}

#[test]
fn results_that_can_change_say_how() {
    let plain = planned(BY_KEY, "");
    assert!(plain.revisions.is_none());
    assert_eq!(plain.output.fields().len(), 4);
    for (settings, withdraws) in [(UPDATES, false), (LATE, false), ("emit_when = \"n > 1\"", false)]
    {
        let query = planned(BY_KEY, settings);
        let names: Vec<_> = query.output.fields().iter().map(|it| it.name().as_str()).collect();
        assert_eq!(names, ["k", "window_start", "window_end", "n", OP, REVISION, TIMING]);
        assert_eq!(query.revisions.as_ref().unwrap().withdraws, withdraws);
        assert_ne!(query.fingerprint, plain.fingerprint);
        // The columns that rows have anyway stand where they stood: so do their keys.
        assert_eq!(query.result_key(), plain.result_key());
    }
    assert!(
        planned(&format!("{BY_KEY} HAVING COUNT(*) > 1"), LATE)
            .revisions
            .as_ref()
            .unwrap()
            .withdraws
    );
    let text = explain(&planned(BY_KEY, &format!("{UPDATES}\n{LATE}")));
    assert!(text.contains("every tick emits") && text.contains("up to 1 h later"), "{text}");
}

#[test]
fn queries_that_do_not_change_keep_their_fingerprints() {
    let named = |settings: &str| planned(BY_KEY, settings).fingerprint;
    assert_eq!(named(""), named("emit = \"final\"\nlate = \"dead_letter\""));
    assert_ne!(named(LATE), named("late = \"update\"\nallowed_lateness = \"2h\""));
    assert_ne!(named("emit_when = \"n > 1\""), named("emit_when = \"n > 2\""));
}

#[test]
fn what_cannot_change_is_refused_with_a_way_out() {
    let having = "SELECT k, window_start, window_end, COUNT(*) AS op FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end";
    let no_key = "SELECT window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end";
    let rollup = "SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end, ROLLUP(k)";
    let sessions = "SELECT k, window_start, window_end, n, RANK() OVER (PARTITION BY window_start, window_end ORDER BY n) AS place FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM SESSION(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end)";
    for (sql, settings, code, words) in [
        (having, UPDATES, "plan::output::reserved", "op AS op_value"),
        (no_key, UPDATES, "plan::revision::no_key", "emit = \"updates\""),
        (no_key, LATE, "plan::revision::no_key", "late = \"update\""),
        (rollup, "emit_when = \"n > 1\"", "plan::revision::no_key", "`emit_when`"),
        (sessions, LATE, "plan::revision::sessions", "another query"),
        ("SELECT k, ts, v FROM s WHERE v > 1", LATE, "plan::revision::rows", "grace"),
        ("SELECT k, ts, v FROM s", UPDATES, "plan::revision::rows", "single events"),
    ] {
        let (found, text) = refused(sql, settings);
        assert_eq!(found, code, "{text}");
        assert!(text.contains(words) && text.contains("help"), "{text}");
    }
}

#[test]
fn a_condition_is_about_the_columns_of_the_result() {
    for (when, words) in [
        ("n >", "cannot be read"),
        ("n > 1 n", "end of the condition"),
        ("v > 1", "v"),
        ("n + 1", "not a condition"),
        ("COUNT(*) > 1", "without aggregates"),
        ("n > (SELECT 1)", "emit_when"),
        ("now() > window_end", "clock"),
        ("random() > 0.5", "chance"),
    ] {
        let (code, text) = refused(BY_KEY, &format!("emit_when = \"{when}\""));
        assert_eq!(code, CONDITION, "{when}: {text}");
        assert!(text.contains(words) && text.contains("help"), "{when}: {text}");
        // It points at the condition, not into the SQL.
        assert!(text.contains("emit_when = "), "{when}: {text}");
    }
    let query = planned(BY_KEY, "emit_when = \"n > 1 AND k LIKE 'a%'\"");
    let revisions = query.revisions.as_ref().unwrap();
    let mut columns: Vec<arrow::array::ArrayRef> = revisions
        .rows
        .fields()
        .iter()
        .map(|field| arrow::array::new_null_array(field.data_type(), 3))
        .collect();
    columns[0] = Arc::new(arrow::array::StringArray::from(vec![Some("a"), Some("ab"), None]));
    columns[3] = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let nullable: Vec<Field> =
        revisions.rows.fields().iter().map(|it| it.as_ref().clone().with_nullable(true)).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(nullable)), columns).unwrap();
    let holds = revisions.when.as_ref().unwrap().holds(&rows).unwrap();
    assert_eq!(holds, [false, true, false]);
}

#[test]
fn a_session_gap_is_an_interval_or_a_column_of_whole_numbers() {
    let session = |gap: &str| {
        format!(
            "SELECT k, window_start, window_end, COUNT(*) AS n FROM SESSION(s, ts, {gap}) GROUP BY k, window_start, window_end"
        )
    };
    let own = planned(&session("v"), "");
    assert_eq!(own.stages[0].gaps.get("s").map(String::as_str), Some("v"));
    assert_ne!(own.fingerprint, planned(&session("INTERVAL '1' SECOND"), "").fingerprint);
    for gap in ["x", "k", "nothing"] {
        let (code, text) = refused(&session(gap), "");
        assert_eq!(code, "plan::window::gap", "{text}");
        assert!(text.contains("milliseconds"), "{text}");
    }
    let both = "SELECT k, window_start, window_end, COUNT(*) AS n FROM (SELECT k, window_start, window_end FROM SESSION(s, ts, v) UNION ALL SELECT k, window_start, window_end FROM SESSION(s, ts, INTERVAL '1' SECOND)) GROUP BY k, window_start, window_end";
    assert_eq!(refused(both, "").0, "plan::several_windows");
}

/// `COALESCE` in a condition passed `check`, and stopped the run when the first row came.
#[test]
fn a_condition_is_planned_as_any_sql() {
    let rows = |query: &QueryPlan, n: Vec<Option<i64>>| {
        let condition = query.revisions.as_ref().unwrap().when.clone().unwrap();
        let columns =
            query.revisions.as_ref().unwrap().rows.fields().iter().map(|field| {
                match field.name() == "n" {
                    true => std::sync::Arc::new(Int64Array::from(n.clone())) as _,
                    false => arrow::array::new_null_array(field.data_type(), n.len()),
                }
            });
        let fields = query.revisions.as_ref().unwrap().rows.fields().iter();
        let fields: Vec<Field> = fields.map(|it| it.as_ref().clone().with_nullable(true)).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).unwrap();
        condition.holds(&rows).unwrap()
    };
    let sums = BY_KEY.replace("COUNT(*)", "SUM(v)");
    let query = planned(&sums, "emit_when = \"COALESCE(n, 0) > 100\"");
    assert_eq!(rows(&query, vec![Some(101), None, Some(100)]), [true, false, false]);
    // A number beside a text of digits, NVL and a case of another: all of it needs the analyzer.
    let query = planned(&sums, "emit_when = \"NVL(N, 0) BETWEEN 1 AND '3'\"");
    assert_eq!(rows(&query, vec![Some(2), None, Some(4)]), [true, false, false]);
    for (condition, message) in [
        ("n > 1 / 0", "can never work"),
        ("k ~ '('", "unclosed group"),
        ("k::VARCHAR(3) = 'a'", "the length"),
        ("abs(n) FILTER (WHERE n > 1) > 1", "FILTER"),
    ] {
        let (code, said) = refused(&sums, &format!("emit_when = \"{condition}\""));
        assert_eq!(code, "plan::emit_when", "{condition}");
        assert!(said.contains(message), "{condition}: {said}");
    }
}
