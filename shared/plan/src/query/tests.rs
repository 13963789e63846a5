//! What is planned, and how it is cut.

use std::path::Path;

use super::*;
use crate::explain;

const STREAMS: &str = r#"
name = "t"
[streams.s]
format = "json"
columns = { k = "string", v = "bigint", x = "double", ts = "timestamp_ms" }
event_time = "ts"
[streams.r]
format = "json"
columns = { k = "string", v = "bigint", x = "double", at = "timestamp_ms" }
event_time = "at"
[tables.names]
file = "names.csv"
"#;

fn pipeline(sql: &str) -> Pipeline {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("names.csv"), "k,name,rank\na,Anna,1\nb,Ben,2\n").unwrap();
    let text = format!("{STREAMS}\n[queries.q]\nsql = '''\n{sql}\n'''\n");
    let parsed = tidemill_pipeline::parse("p.toml", &text, folder.path(), &|_| None);
    let pipeline = parsed.unwrap_or_else(|errors| panic!("{errors:?}"));
    // The tables are read by `plan`, while the folder still exists.
    assert!(Path::new(&pipeline.tables["names"].path).exists());
    std::mem::forget(folder);
    pipeline
}

fn planned(sql: &str) -> Arc<QueryPlan> {
    let planned =
        plan(&pipeline(sql)).unwrap_or_else(|errors| panic!("{sql}: {:?}", errors.errors));
    Arc::clone(&planned.queries[0])
}

fn refused(sql: &str) -> String {
    match plan(&pipeline(sql)) {
        Ok(_) => panic!("planned: {sql}"),
        Err(errors) => format!("{:?}", miette::Report::new(errors)),
    }
}

#[test]
fn both_spellings_mean_the_same() {
    let plain = planned(
        "SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end",
    );
    let flink = planned(
        "SELECT k, window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end",
    );
    let named = planned(
        "SELECT k, window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end",
    );
    assert_eq!(plain.shape, Some(WindowShape::Tumble { size_ms: 10_000, offset_ms: 0 }));
    let shown =
        |query: &QueryPlan| explain(query).lines().skip(1).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&plain), shown(&flink));
    assert_eq!(shown(&plain), shown(&named));
}

/// A replay with another table between two stages would have given other results.
#[test]
fn a_table_between_stages_is_part_of_the_fingerprint() {
    let fingerprint = |sql: &str, table: &str| {
        let pipeline = pipeline(sql);
        std::fs::write(&pipeline.tables["names"].path, table).unwrap();
        plan(&pipeline).unwrap().queries[0].fingerprint
    };
    let [one, other] = ["k,name,rank\na,Anna,1\n", "k,name,rank\na,Anne,1\n"];
    let between = "SELECT k, ts, COUNT(*) OVER (PARTITION BY name ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) AS n FROM (SELECT o.k, o.ts, m.name FROM (SELECT k, ts, LAG(v) OVER (ORDER BY ts) AS l FROM s) o JOIN names m ON m.k = o.k AND o.l > 1)";
    assert_ne!(fingerprint(between, one), fingerprint(between, other));
    let above = "SELECT n.name, w.window_end, w.c FROM (SELECT k, window_end, COUNT(*) AS c FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_end) w JOIN names n ON n.k = w.k";
    assert_ne!(fingerprint(above, one), fingerprint(above, other));
    let below = "SELECT n.name, window_end, COUNT(*) AS c FROM TUMBLE(s, ts, INTERVAL '1' DAY) e JOIN names n ON n.k = e.k GROUP BY n.name, window_end";
    assert_eq!(fingerprint(below, one), fingerprint(below, other));
}

#[test]
fn a_join_with_a_table_keeps_its_hash_table() {
    let query = planned(
        "SELECT n.name, window_start, window_end, COUNT(*) AS c FROM TUMBLE(s, ts, INTERVAL '10' SECOND) e JOIN names n ON n.k = e.k WHERE e.v > 3 GROUP BY n.name, window_start, window_end",
    );
    let text = query.lower(0).unwrap().display();
    assert!(text.contains("HashJoinExec"), "{text}");
    assert!(text.find("DataSourceExec") < text.find("Records"), "the table is built: {text}");
}

#[test]
fn kinds_of_query_are_planned() {
    for sql in [
        "SELECT window_end, k, AVG(x), STDDEV(x), MEDIAN(v), APPROX_PERCENTILE_CONT(x, 0.9) AS p FROM HOP(s, ts, INTERVAL '5' SECOND, INTERVAL '12' SECOND) GROUP BY k, window_end",
        "SELECT k, window_start, window_end, FIRST_VALUE(v) AS f, LAST_VALUE(v ORDER BY x) AS l, ARRAY_AGG(v) AS a, STRING_AGG(k, ',') AS t FROM SESSION(s, ts, INTERVAL '1' HOUR) GROUP BY k, window_start, window_end",
        "SELECT window_start, window_end, k, COUNT(*) FILTER (WHERE v > 1) AS n, COUNT(DISTINCT x) AS d FROM CUMULATE(s, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) GROUP BY GROUPING SETS ((window_start, window_end, k), (window_start, window_end))",
        "SELECT window_start, window_end, k, v, COUNT(*) AS n, GROUPING(k) AS g FROM TUMBLE(s, ts, INTERVAL '1' HOUR) GROUP BY window_start, window_end, ROLLUP(k, v)",
        "SELECT window_start, window_end, k, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_start, window_end, k QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY COUNT(*) DESC, k) <= 3",
        "SELECT window_start, window_end, MAX(n) AS m FROM (SELECT window_start, window_end, k, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_start, window_end, k) GROUP BY window_start, window_end",
        "WITH c AS (SELECT k, window_start, window_end, COUNT(*) AS n FROM HOP(s, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end) SELECT c.k, c.n, c.window_start FROM c JOIN (SELECT MAX(n) AS m, window_start, window_end FROM c GROUP BY window_start, window_end) b ON c.window_start = b.window_start AND c.window_end = b.window_end AND c.n >= b.m",
        "SELECT DISTINCT k, window_start, window_end FROM TUMBLE(s, ts, INTERVAL '1' DAY)",
        "SELECT k, window_start, window_end, SUM(v) AS t FROM TUMBLE(s, ts, INTERVAL '1' DAY) WHERE k IN (SELECT k FROM names WHERE rank = 1) GROUP BY k, window_start, window_end ORDER BY t DESC LIMIT 2",
        "SELECT k, window_start, window_end, COUNT(*) AS n, now() AS at FROM (SELECT k, window_start, window_end FROM TUMBLE(s, ts, INTERVAL '1' DAY) UNION ALL SELECT k, window_start, window_end FROM TUMBLE(r, at, INTERVAL '1' DAY)) GROUP BY k, window_start, window_end",
        "SELECT upper(k) AS k, date_trunc('hour', window_start) AS h, window_end, SUM(v * 2) + 1 AS t FROM TUMBLE(s, ts, INTERVAL '1' MINUTE, INTERVAL '10' SECOND) GROUP BY 1, 2, 3 HAVING SUM(v) > 10",
    ] {
        let query = planned(sql);
        let text = explain(&query);
        assert!(text.contains("in ingest") && text.contains("in advance"), "{text}");
    }
}

#[test]
fn a_repeated_aggregate_is_one_stage() {
    let query = planned(
        "WITH c AS (SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '2' SECOND) GROUP BY k, window_start, window_end) SELECT a.k, a.n FROM c a JOIN c b ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.k = b.k",
    );
    assert_eq!(query.stages.len(), 1);
}

#[test]
fn what_cannot_run_is_refused_with_a_way_out() {
    for (sql, code) in [
        ("SELECT k, COUNT(*) FROM s GROUP BY k", "plan::aggregate::no_window"),
        ("SELECT k, v FROM SESSION(s, ts, INTERVAL '1' HOUR)", "plan::session::rows"),
        ("SELECT k, v FROM s ORDER BY v LIMIT 3", "plan::sort"),
        ("SELECT k FROM names", "plan::no_stream"),
        (
            "SELECT a.n, b.n AS m FROM (SELECT window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' HOUR) GROUP BY window_start, window_end) a JOIN (SELECT window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_start, window_end) b ON a.window_start = b.window_start AND a.window_end = b.window_end",
            "plan::several_windows",
        ),
        (
            "SELECT k, COUNT(*) FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k",
            "plan::aggregate::no_window",
        ),
        (
            "SELECT k, COUNT(*) FROM TUMBLE(s, ts, INTERVAL '1' MONTH) GROUP BY k, window_end",
            "plan::window::interval",
        ),
        (
            "SELECT k, COUNT(*) FROM CUMULATE(s, ts, INTERVAL '7' MINUTE, INTERVAL '1' DAY) GROUP BY k, window_start, window_end",
            "plan::window::uneven_step",
        ),
        (
            "SELECT k, COUNT(*) FROM TUMBLE(s, v, INTERVAL '1' DAY) GROUP BY k, window_end",
            "plan::window::not_event_time",
        ),
        (
            "SELECT k, COUNT(*) FROM TUMBLE(nowhere, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
            "plan::window::not_a_stream",
        ),
        ("SELECT k, COUNT(*) FROM TUMBLE(s, ts) GROUP BY k, window_end", "plan::window::arguments"),
        ("SELECT k, ROW_NUMBER() OVER (ORDER BY v) FROM s", "plan::over::order"),
        // It was the time of planning, which a replay after a restart does not have again.
        ("SELECT k, ts, CAST(current_time AS STRING) AS t FROM s", "plan::sql"),
        // Showed the engine's own text.
        ("SELECT k, k IN (SELECT k FROM names) AS known FROM s", "plan::subquery::value"),
        ("SELECT s.k FROM s JOIN r ON s.k = r.k", "plan::join::unbounded"),
        ("SELECT s.k FROM s JOIN r ON s.k = r.k AND s.ts > r.at", "plan::join::unbounded"),
        (
            "SELECT s.k, COUNT(*) FROM TUMBLE(s, ts, INTERVAL '1' DAY) s JOIN r ON s.k = r.k GROUP BY s.k, window_end",
            "plan::join::unbounded",
        ),
        (
            "SELECT n.k, COUNT(*) FROM names n LEFT JOIN TUMBLE(s, ts, INTERVAL '1' DAY) e ON n.k = e.k GROUP BY n.k, window_end",
            "plan::join::keeps_table_rows",
        ),
        (
            "SELECT k, COUNT(*) FROM TUMBLE(s, ts, INTERVAL '1' DAY) WHERE ts < now() GROUP BY k, window_end",
            "plan::volatile",
        ),
        (
            "SELECT k, window_end, random() AS r, COUNT(*) FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
            "plan::volatile",
        ),
        (
            "SELECT MAX(n) FROM (SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_end)",
            "plan::mixes_windows",
        ),
        (
            "SELECT k, window_start, window_end, COUNT(*) AS n FROM SESSION(s, ts, INTERVAL '1' DAY) GROUP BY k, window_start, window_end LIMIT 3",
            "plan::mixes_windows",
        ),
        (
            "SELECT k, window_start, window_end, COUNT(*) AS n FROM HOP(s, ts, INTERVAL '1' DAY, INTERVAL '2' DAY) WHERE window_end > ts GROUP BY k, window_start, window_end",
            "plan::window::early",
        ),
        (
            "SELECT k, window_start, window_end, COUNT(*) AS n FROM TABLE(SESSION(TABLE s PARTITION BY v, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY k, window_start, window_end",
            "plan::window::partition",
        ),
        (
            "SELECT k, window_end, STDDEV(DISTINCT x) AS d FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
            "plan::aggregate::no_partial_state",
        ),
        (
            "SELECT nope, window_end FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY nope, window_end",
            "plan::sql",
        ),
    ] {
        let text = refused(sql);
        assert!(text.contains(code), "{sql}\nwanted {code}\n{text}");
        assert!(text.contains("help") || code == "plan::sql", "{text}");
    }
}

/// UNNEST between the stream and its aggregate hid that the query groups by its window.
#[test]
fn a_window_column_is_found_through_unnest() {
    planned(
        "SELECT item, window_start, window_end, COUNT(*) AS n FROM (SELECT UNNEST(make_array(v, 1)) AS item, window_start, window_end FROM TUMBLE(s, ts, INTERVAL '1' DAY)) GROUP BY item, window_start, window_end",
    );
}

/// The engine's accumulator of many groups forgets the DISTINCT of BIT_XOR and gives another state
/// than it declares, which failed in ingest.
#[test]
fn partial_states_are_what_they_declare() {
    let query = planned(
        "SELECT window_end, BIT_XOR(DISTINCT v) AS x FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_end",
    );
    let aggregate = &query.stages[0].aggregates[0];
    let values: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![5, 5, 2]));
    let mut accumulator = aggregate.accumulator().unwrap();
    accumulator.update_batch(&[values], &[0, 0, 0], None, 1).unwrap();
    let states = accumulator.state(datafusion::logical_expr::EmitTo::All).unwrap();
    let declared = aggregate.expr.state_fields().unwrap();
    assert_eq!(states[0].data_type(), declared[0].data_type());
}

/// The engine's MAX kept NaN or a number, whichever came last, and made −∞ the least finite number.
#[test]
fn extremes_of_floats_do_not_depend_on_the_order_of_rows() {
    use arrow::array::{ArrayRef, AsArray, Float64Array};
    use arrow::datatypes::Float64Type;
    let query = planned(
        "SELECT window_end, MAX(x) AS most, MIN(x) AS least FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_end",
    );
    let of = |index: usize, values: [f64; 2]| {
        let mut accumulator = query.stages[0].aggregates[index].accumulator().unwrap();
        let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        accumulator.update_batch(&[values], &[0, 0], None, 1).unwrap();
        let value = accumulator.evaluate(datafusion::logical_expr::EmitTo::All).unwrap();
        value.as_primitive::<Float64Type>().value(0)
    };
    for values in [[1.0, f64::NAN], [f64::NAN, 1.0]] {
        assert!(of(0, values).is_nan());
        assert_eq!(of(1, values), 1.0);
    }
    assert_eq!(of(0, [f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
    assert_eq!(of(1, [f64::INFINITY; 2]), f64::INFINITY);
}

/// Rows for a slot: keys a, b, c with values 4, 5, 6.
fn three_rows(slot: &crate::Slot) -> arrow::array::RecordBatch {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, UInt32Array};
    use datafusion::physical_plan::ExecutionPlan;
    let schema = slot.schema();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "k" => Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef,
        "v" => Arc::new(Int64Array::from(vec![4, 5, 6])),
        "x" => Arc::new(Float64Array::from(vec![0.5, 1.5, 2.5])),
        crate::ROW => Arc::new(UInt32Array::from(vec![0, 1, 2])),
        other => panic!("unexpected column {other}"),
    });
    arrow::array::RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

#[test]
fn a_lower_plan_gives_the_same_rows_each_time_it_runs() {
    for (from, rows) in [
        ("TUMBLE(s, ts, INTERVAL '1' DAY) e JOIN names n ON n.k = e.k", 2),
        ("TUMBLE(s, ts, INTERVAL '1' DAY) e LEFT JOIN names n ON n.k = e.k", 3),
        ("names n RIGHT JOIN TUMBLE(s, ts, INTERVAL '1' DAY) e ON n.k = e.k", 3),
        (
            "TUMBLE(s, ts, INTERVAL '1' DAY) e JOIN (SELECT max(k) AS k FROM names) n ON n.k = e.k",
            1,
        ),
        ("(SELECT * FROM TUMBLE(s, ts, INTERVAL '1' DAY) WHERE k IN (SELECT k FROM names)) e", 2),
        (
            "(SELECT * FROM TUMBLE(s, ts, INTERVAL '1' DAY) WHERE k NOT IN (SELECT k FROM names)) e",
            1,
        ),
        ("TUMBLE(s, ts, INTERVAL '1' DAY) e CROSS JOIN names n", 6),
        ("TUMBLE(s, ts, INTERVAL '1' DAY) e JOIN names n ON n.rank < e.v", 6),
        (
            "(SELECT * FROM TUMBLE(s, ts, INTERVAL '1' DAY) WHERE v > (SELECT max(rank) + 2 FROM names)) e",
            2,
        ),
    ] {
        let sql =
            format!("SELECT e.k, window_end, SUM(e.v) AS t FROM {from} GROUP BY e.k, window_end");
        let query = planned(&sql);
        let mut runner = query.lower(0).unwrap();
        for run in 0..3 {
            let batches = runner.run(|slot| Ok(Some(three_rows(slot)))).unwrap();
            let count: usize = batches.iter().map(|batch| batch.num_rows()).sum();
            assert_eq!(count, rows, "run {run} of {from}\n{}", runner.display());
        }
        let nothing = runner.run(|_| Ok(None)).unwrap();
        assert!(nothing.is_empty(), "rows of an earlier run came again: {from}");
    }
}

/// Each run of a plan left its measurements in every node, for ever.
#[test]
fn a_plan_that_runs_for_long_does_not_grow() {
    let query = planned(
        "SELECT n.name, window_end, SUM(e.v) AS t FROM TUMBLE(s, ts, INTERVAL '1' DAY) e JOIN names n ON n.k = e.k GROUP BY n.name, window_end",
    );
    let mut runner = query.lower(0).unwrap();
    let mut of_one_run = 0;
    for run in 0..1500 {
        if run == 1 {
            of_one_run = runner.measurements();
        }
        let batches = runner.run(|slot| Ok(Some(three_rows(slot)))).unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
    }
    let held = runner.measurements();
    assert!(held <= 1000 * of_one_run, "{held} of {of_one_run} each");
}

/// The column that an end of the window is read from, and what is added to it.
type NamedEdge = Option<(String, i64)>;

/// The names of a query's key columns, `None` when its rows are not provably unique, and where its
/// window is read from.
fn key_of(sql: &str) -> (Option<Vec<String>>, [NamedEdge; 2]) {
    let query = planned(sql);
    let name = |index: usize| query.output.field(index).name().clone();
    let key = query.result_key();
    let columns = key.columns.as_ref();
    let columns = columns.map(|columns| columns.iter().map(|index| name(*index)).collect());
    (columns, [key.start, key.end].map(|edge| edge.map(|edge| (name(edge.column), edge.plus_ms))))
}

fn edges(start: (&str, i64), end: (&str, i64)) -> [NamedEdge; 2] {
    [start, end].map(|(column, plus_ms)| Some((column.to_string(), plus_ms)))
}

#[test]
fn rows_are_unique_where_every_group_is_an_output_column() {
    let both = edges(("window_start", 0), ("window_end", 0));
    let cases: [(&str, &[&str], [NamedEdge; 2]); 12] = [
        (
            "SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end",
            &["k"],
            both.clone(),
        ),
        (
            "SELECT COUNT(*) AS n, window_start, window_end FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end",
            &[],
            both.clone(),
        ),
        (
            "SELECT v + 1 AS w, k AS key, window_end AS until, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY v + 1, k, window_end HAVING COUNT(*) > 3",
            &["w", "key"],
            edges(("until", -10_000), ("until", 0)),
        ),
        (
            "SELECT k, window_start, COUNT(*) AS n FROM HOP(s, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND) GROUP BY k, window_start ORDER BY n DESC LIMIT 3",
            &["k"],
            edges(("window_start", 0), ("window_start", 10_000)),
        ),
        (
            "SELECT k, window_start, window_end FROM SESSION(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end",
            &["k"],
            both.clone(),
        ),
        (
            "SELECT k, window_start, window_end, SUM(v) AS t FROM CUMULATE(s, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) GROUP BY k, window_start, window_end",
            &["k"],
            both.clone(),
        ),
        // Top n keeps rows as they are.
        (
            "SELECT window_start, window_end, k, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_start, window_end, k QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY COUNT(*) DESC, k) <= 3",
            &["k"],
            both.clone(),
        ),
        // An aggregate above has keys of its own.
        (
            "SELECT window_start, window_end, v, MAX(n) AS m FROM (SELECT window_start, window_end, k, v, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_start, window_end, k, v) GROUP BY window_start, window_end, v",
            &["v"],
            both.clone(),
        ),
        (
            "SELECT DISTINCT k, window_start, window_end FROM TUMBLE(s, ts, INTERVAL '1' DAY)",
            &["k"],
            both.clone(),
        ),
        (
            "SELECT DISTINCT n, window_start, window_end FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_start, window_end)",
            &["n"],
            both.clone(),
        ),
        (
            "SELECT k, window_start, window_end, SUM(v) AS t FROM TUMBLE(s, ts, INTERVAL '1' DAY) WHERE k IN (SELECT k FROM names) GROUP BY k, window_start, window_end",
            &["k"],
            both.clone(),
        ),
        // A join below the aggregate: the groups are all that counts.
        (
            "SELECT n.name, window_start, window_end, COUNT(*) AS c FROM TUMBLE(s, ts, INTERVAL '10' SECOND) e JOIN names n ON n.k = e.k GROUP BY n.name, window_start, window_end",
            &["name"],
            both,
        ),
    ];
    for (sql, columns, edges) in cases {
        let columns = columns.iter().map(|column| (*column).to_string()).collect();
        assert_eq!(key_of(sql), (Some(columns), edges), "{sql}");
    }
}

#[test]
fn rows_that_may_share_their_columns_are_not_called_unique() {
    let both = edges(("window_start", 0), ("window_end", 0));
    let cases = [
        // A group is missing from the output, or only something computed from it is there.
        (
            "SELECT window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end",
            both.clone(),
        ),
        (
            "SELECT upper(k) AS k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY s.k, window_start, window_end",
            both.clone(),
        ),
        // The window is missing, or half of one that its start does not tell.
        (
            "SELECT k, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end",
            [None, None],
        ),
        (
            "SELECT k, date_trunc('hour', window_end) AS hour, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10' SECOND) GROUP BY k, window_end",
            [None, None],
        ),
        (
            "SELECT k, window_start, SUM(v) AS t FROM CUMULATE(s, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) GROUP BY k, window_start, window_end",
            [Some(("window_start".to_string(), 0)), None],
        ),
        // A null key of one grouping set is not that of another.
        (
            "SELECT window_start, window_end, k, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY GROUPING SETS ((window_start, window_end, k), (window_start, window_end))",
            both.clone(),
        ),
        // A join above may repeat rows.
        (
            "SELECT c.k, n.name, c.window_start, c.window_end FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_start, window_end) c JOIN names n ON c.n >= n.rank",
            both.clone(),
        ),
        (
            "SELECT k, window_start, window_end, UNNEST(ARRAY_AGG(v)) AS v FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_start, window_end",
            both,
        ),
    ];
    for (sql, edges) in cases {
        assert_eq!(key_of(sql), (None, edges), "{sql}");
    }
}

/// Messages had the engine's types, its tree of the statement, or that a bug of its was to be reported.
#[test]
fn messages_are_in_words_of_sql() {
    let inside = [
        "Utf8",
        "Int64",
        "Float64",
        "Arrow",
        "Internal error",
        "DataFusion",
        "ast node",
        "Ident {",
        "__correlated",
        "Candidate",
        "Error during planning",
        "planner",
    ];
    for (sql, help) in [
        (
            "SELECT SUM(k) AS y, window_end FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_end",
            "CAST the argument",
        ),
        ("SELECT upper(v) AS y FROM s", "CAST the argument to VARCHAR"),
        ("SELECT to_char(ts) AS y FROM s", "to_char(ts, '%Y-%m-%d')"),
        ("SELECT date_trunc(ts, 'hour') AS y FROM s", "date_trunc('hour', ts)"),
        ("SELECT substr(k) AS y FROM s", "substr(x, 1, 3)"),
        ("SELECT v + k AS y FROM s", "CAST one side"),
        ("SELECT ts = 5 AS y FROM s", "CAST one side"),
        ("SELECT NOT v AS y FROM s", "comparison"),
        ("SELECT k FROM s WHERE v", "comparison"),
        ("SELECT k FROM s WHERE ROW_NUMBER() OVER (ORDER BY ts) = 1", "QUALIFY"),
        ("SELECT LAG(v) AS y FROM s", "OVER"),
        ("SELECT k FROM s WHERE EXISTS (SELECT * FROM r)", "b.at BETWEEN"),
        ("SELECT STREAM k FROM s", "SELECT STREAM is written SELECT"),
        ("SELECT window_time FROM TUMBLE(s, ts, INTERVAL '1' DAY)", "window_end"),
        ("SELECT SIGN(v) AS y FROM s", "signum(x)"),
        ("SELECT * FROM s PIVOT (SUM(v) FOR k IN ('a'))", "FILTER"),
        ("SELECT k FROM s EMIT CHANGES", "emit = \"updates\""),
        ("SELECT k FROM s WHERE k = \"a\"", "single ones"),
        ("SELECT DISTINCT ON (k) k, v FROM s", "QUALIFY"),
        ("SELECT k FROM s, LATERAL (SELECT name FROM names n WHERE n.k = s.k LIMIT 1) n", "JOIN"),
        ("SELECT INTERVAL 'abc' AS y FROM s", "INTERVAL '10' SECOND"),
        ("SELECT unnest(k) AS y FROM s", "string_to_array"),
    ] {
        let said =
            refused(sql).split_whitespace().filter(|it| *it != "│").collect::<Vec<_>>().join(" ");
        let named = inside.iter().find(|inside| said.contains(**inside));
        assert_eq!(named, None, "{sql}: {said}");
        let (_, way_out) = said.split_once("help: ").unwrap_or_else(|| panic!("{sql}: {said}"));
        assert!(way_out.contains(help), "{sql}: {said}");
    }
}

/// The engine's COUNT of a COALESCE over literals said that it had a bug.
#[test]
fn an_aggregate_of_a_constant_runs() {
    planned(
        "SELECT COUNT(COALESCE(1, 2)) AS n, SUM(NVL(2, 1) + 1) AS t, window_end FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY window_end",
    );
}
