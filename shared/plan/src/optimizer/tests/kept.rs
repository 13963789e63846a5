//! Rules of the engine that are kept, one query each, over the table t: (a, 1), (b, 2), (null, 3).

use arrow::array::UInt32Array;
use datafusion::datasource::MemTable;

use super::*;
use crate::engine::{self, Functions};
use crate::functions::CheckpointTime;
use crate::optimizer::optimized;
use crate::run::Runner;

/// The rows of a query over tables, each as its values with a comma between.
fn rows(sql: &str) -> Vec<String> {
    use arrow::datatypes::{Field, Schema};
    let context = engine::session(&CheckpointTime::default(), &Functions::default());
    let fields = vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("u", DataType::UInt32, true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        Arc::new(UInt32Array::from(vec![1, 2, 3])),
    ];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    let state = context.state();
    let plan = engine::now(state.create_logical_plan(sql)).unwrap();
    let plan = plan.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let analyzed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
    let plan =
        optimized(&state, &analyzed.unwrap()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut runner = Runner::new(&state, &plan).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = runner.run(|_| Ok(None)).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayRef> =
            batch.columns().iter().map(|column| cast(column, &DataType::Utf8).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let value = |column: &ArrayRef| {
                let column = column.as_string::<i32>();
                column.iter().nth(row).flatten().unwrap_or("-").to_string()
            };
            rows.push(columns.iter().map(value).collect::<Vec<_>>().join(","));
        }
    }
    rows.sort();
    rows
}

#[test]
fn kept_rules_keep_what_a_query_means() {
    for (rule, sql, expected) in [
        (
            "single_distinct_to_group_by",
            "SELECT COUNT(DISTINCT k), COUNT(k), COUNT(*) FROM t",
            vec!["2,2,3"],
        ),
        ("single_distinct_to_group_by", "SELECT COUNT(DISTINCT k) FROM t", vec!["2"]),
        ("single_distinct_to_group_by", "SELECT SUM(DISTINCT n % 2), MAX(n) FROM t", vec!["1,3"]),
        ("eliminate_group_by_constant", "SELECT COUNT(*) FROM t WHERE n > 9 GROUP BY 'x'", vec![]),
        (
            "eliminate_group_by_constant",
            "SELECT COUNT(*) FROM t GROUP BY 'x', n % 2",
            vec!["1", "2"],
        ),
        ("propagate_empty_relation", "SELECT COUNT(*), MAX(n) FROM t WHERE false", vec!["0,-"]),
        (
            "propagate_empty_relation",
            "SELECT t.n FROM t LEFT JOIN (SELECT n FROM t WHERE false) b ON t.n = b.n",
            vec!["1", "2", "3"],
        ),
        ("eliminate_filter", "SELECT n FROM t WHERE NULL", vec![]),
        ("eliminate_join", "SELECT a.n FROM t a JOIN t b ON false", vec![]),
        (
            "replace_distinct_aggregate",
            "SELECT DISTINCT CASE WHEN n > 2 THEN 'b' ELSE k END FROM t",
            vec!["a", "b"],
        ),
        ("replace_distinct_aggregate", "SELECT DISTINCT NULLIF(k, 'b') FROM t", vec!["-", "a"]),
        (
            "push_down_limit",
            "SELECT n FROM (SELECT n FROM t ORDER BY n LIMIT 2) x WHERE n > 1",
            vec!["2"],
        ),
        (
            "push_down_limit",
            "SELECT n FROM (SELECT n FROM t WHERE n > 1 ORDER BY n LIMIT 1) x",
            vec!["2"],
        ),
        (
            "push_down_limit",
            "SELECT COUNT(*) FROM (SELECT n FROM t UNION ALL SELECT n FROM t LIMIT 4) x",
            vec!["4"],
        ),
        ("eliminate_limit", "SELECT n FROM t LIMIT 0", vec![]),
        ("scalar_subquery_to_join", "SELECT n FROM t WHERE n = (SELECT MAX(n) FROM t)", vec!["3"]),
        (
            "scalar_subquery_to_join",
            "SELECT n FROM t WHERE n = (SELECT n FROM t WHERE n > 9)",
            vec![],
        ),
        (
            "scalar_subquery_to_join",
            "SELECT n, (SELECT COUNT(*) FROM t b WHERE b.n = a.n + 1) FROM t a",
            vec!["1,1", "2,1", "3,0"],
        ),
        (
            "rewrite_set_comparison",
            "SELECT n FROM t WHERE n = ANY (SELECT n + 1 FROM t)",
            vec!["2", "3"],
        ),
        (
            "decorrelate_predicate_subquery",
            "SELECT n FROM t a WHERE NOT EXISTS (SELECT 1 FROM t b WHERE b.k = a.k)",
            vec!["3"],
        ),
        (
            "optimize_unions",
            "SELECT u FROM t UNION ALL SELECT n + 4294967296 FROM t WHERE n = 1",
            vec!["1", "2", "3", "4294967297"],
        ),
        (
            "eliminate_duplicated_expr",
            "SELECT n, COUNT(*) FROM t GROUP BY n, n ORDER BY n, n DESC",
            vec!["1,1", "2,1", "3,1"],
        ),
        (
            "cross_joins",
            "SELECT a.n FROM t a, t b, t c WHERE a.n = c.n AND b.k = c.k",
            vec!["1", "2"],
        ),
        (
            "eliminate_outer_join",
            "SELECT a.n, b.n FROM t a FULL JOIN t b ON a.n = b.n + 1 WHERE COALESCE(a.n, b.n) = 3",
            vec!["-,3", "3,2"],
        ),
        (
            "common_sub_expression_eliminate",
            "SELECT COALESCE(NULLIF(n, 2), 0) + COALESCE(NULLIF(n, 2), 0) FROM t",
            vec!["0", "2", "6"],
        ),
        (
            "push_down_filter",
            "SELECT a.n FROM t a LEFT JOIN t b ON a.n = b.n AND b.n > 1 WHERE b.n IS NULL",
            vec!["1"],
        ),
        (
            "push_down_filter",
            "SELECT x FROM (SELECT k AS x, COUNT(*) AS c FROM t GROUP BY k) y WHERE x = 'a' AND c = 1",
            vec!["a"],
        ),
        (
            "push_down_filter",
            "SELECT n FROM (SELECT n, ROW_NUMBER() OVER (ORDER BY n) AS r FROM t) x WHERE n > 1 AND r = 2",
            vec!["2"],
        ),
        ("limit_pushdown", "SELECT n, SUM(n) OVER () FROM t ORDER BY n LIMIT 1", vec!["1,6"]),
        ("aggregate_statistics", "SELECT COUNT(*), COUNT(k) FROM t", vec!["3,2"]),
        (
            "topk_aggregation",
            "SELECT k, MAX(n) AS m FROM t GROUP BY k ORDER BY m DESC LIMIT 1",
            vec!["-,3"],
        ),
        (
            "limited_distinct_aggregation",
            "SELECT COUNT(*) FROM (SELECT DISTINCT k FROM t LIMIT 2) x",
            vec!["2"],
        ),
        (
            "resolve_grouping_function",
            "SELECT k, GROUPING(k), COUNT(*) FROM t GROUP BY ROLLUP (k)",
            vec!["-,0,1", "-,1,3", "a,0,1", "b,0,1"],
        ),
    ] {
        assert_eq!(rows(sql), expected, "{rule}: {sql}");
    }
}
