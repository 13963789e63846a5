//! Which rules run, and what the kept ones do.

use std::collections::BTreeSet;

use datafusion::optimizer::{Analyzer, Optimizer};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use super::*;
use crate::optimizer::{optimizer_rules, physical_rules};

fn names(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().collect()
}

/// A rule that comes with another version of the engine would run without anybody having judged it, or
/// be missing from the list of those that run.
#[test]
fn every_rule_of_the_engine_is_judged() {
    let engine = names(Optimizer::new().rules.iter().map(|rule| rule.name().to_string()));
    let ours = names(optimizer_rules().iter().map(|rule| rule.name().to_string()));
    let off: Vec<&String> = engine.difference(&ours).collect();
    assert_eq!(
        off,
        [
            "eliminate_cross_join",
            "extract_equijoin_predicate",
            "extract_leaf_expressions",
            "filter_null_join_keys",
            "push_down_filter",
            "push_down_leaf_projections",
            "simplify_expressions",
            "unions_to_filter",
        ]
    );
    let own: Vec<&String> = ours.difference(&engine).collect();
    assert_eq!(own, ["cross_joins", "filters", "join_keys", "written_out"]);
    let analyzer = Analyzer::new().rules;
    let analyzer: Vec<&str> = analyzer.iter().map(|rule| rule.name()).collect();
    assert_eq!(analyzer, ["resolve_grouping_function", "type_coercion"]);
}

#[test]
fn every_physical_rule_of_the_engine_is_judged() {
    let engine = names(PhysicalOptimizer::new().rules.iter().map(|rule| rule.name().to_string()));
    let judged = [
        "aggregate_statistics",
        "CombinePartialFinalAggregate",
        "EnsureCooperative",
        "EnsureRequirements",
        "FilterPushdown",
        "FilterPushdown(Post)",
        "HashJoinBuffering",
        "LimitPushPastWindows",
        "LimitPushdown",
        "LimitedDistinctAggregation",
        "OptimizeAggregateOrder",
        "OutputRequirements",
        "ProjectionPushdown",
        "PushdownSort",
        "SanityCheckPlan",
        "LimitAggregation",
        "TopKRepartition",
        "WindowTopN",
        "join_selection",
    ];
    assert_eq!(engine, names(judged.map(str::to_string)));
    let ours = names(physical_rules().iter().map(|rule| rule.name().to_string()));
    for off in
        ["FilterPushdown", "FilterPushdown(Post)", "LimitPushPastWindows", "ProjectionPushdown"]
    {
        assert!(!ours.contains(off), "{off}");
    }
    assert!(ours.contains("projections"));
}

fn row(id: i64, v: Option<&'static str>) -> Row {
    Row { id, v, ..Row::default() }
}

/// `eliminate_outer_join` makes an inner join where WHERE rejects what was padded, and only there.
#[test]
fn an_outer_join_keeps_its_rows_where_null_is_asked_for() {
    let rows = [row(1, Some("a")), row(2, Some("zz")), row(3, None)];
    let from = "SELECT id FROM s LEFT JOIN names ON names.k = s.v WHERE";
    for (condition, expected) in [
        ("n IS NULL", vec!["2", "3"]),
        ("n = 1 OR n IS NULL", vec!["1", "2", "3"]),
        ("COALESCE(n, 0) < 1", vec!["2", "3"]),
        ("n IS DISTINCT FROM 1", vec!["2", "3"]),
        ("NOT (n = 1 AND n IS NOT NULL)", vec!["2", "3"]),
        ("CASE WHEN n IS NULL THEN true ELSE n = 1 END", vec!["1", "2", "3"]),
        ("n = 1", vec!["1"]),
    ] {
        let mut found = texts(&format!("{from} {condition}"), 0, &rows);
        found.sort();
        let found: Vec<String> = found.into_iter().flatten().collect();
        assert_eq!(found, expected, "{condition}");
    }
}

/// `common_sub_expression_eliminate` computed once what stands twice: also where one of the places is
/// behind a guard, it must not be computed for rows that no place asks for.
#[test]
fn what_stands_twice_behind_guards_is_computed_behind_them() {
    let rows = [row(1, Some("7")), row(2, Some("n/a")), row(3, None), row(4, Some("3"))];
    let sql = "SELECT id, CASE WHEN v ~ '^[0-9]+$' THEN CAST(v AS BIGINT) * 2 END AS a, CASE WHEN v ~ '^[0-9]$' THEN CAST(v AS BIGINT) * 2 + 1 END AS b FROM s";
    let of = |column: usize| texts(sql, column, &rows).into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(of(1), ["14", "6"]);
    assert_eq!(of(2), ["15", "7"]);
}

/// `optimize_projections` merges projections: what a subquery computes is computed for the same rows.
#[test]
fn a_projection_stays_above_the_filter_below_it() {
    let rows = [row(1, Some("7")), row(2, Some("n/a"))];
    for sql in [
        "SELECT id, CAST(v AS BIGINT) AS n FROM s WHERE v ~ '^[0-9]+$'",
        "SELECT id, n FROM (SELECT id, CAST(v AS BIGINT) AS n, v FROM s WHERE v ~ '^[0-9]+$') x",
        "SELECT id, n FROM (SELECT id, v, CAST(v AS BIGINT) AS n FROM (SELECT * FROM s WHERE v ~ '^[0-9]+$') x) y WHERE n > 5",
    ] {
        assert_eq!(texts(sql, 1, &rows), [Some("7".to_string())], "{sql}");
    }
}

/// A subquery's constant became the digits of ROUND when projections were merged, and with them its type.
#[test]
fn a_constant_of_a_subquery_does_not_change_a_type() {
    let rows = [Row { id: 1, p: Some("1.26"), ..Row::default() }];
    let sql = "SELECT id, ROUND(p, n) AS r FROM (SELECT id, p, 1 AS n FROM s) x";
    let given = run(sql, &rows).unwrap();
    assert_eq!(texts(sql, 1, &rows), [Some("1.30".to_string())], "{:?}", given.schema());
    let sql = "SELECT id, ROUND(p, 1) AS r FROM s";
    assert_eq!(texts(sql, 1, &rows), [Some("1.3".to_string())]);
    let sql = "SELECT id, ROUND(p, 2 - 1) AS r FROM s UNION ALL SELECT id, p AS r FROM s";
    let mut both = texts(sql, 1, &rows);
    both.sort();
    assert_eq!(both, [Some("1.26".to_string()), Some("1.30".to_string())]);
}
