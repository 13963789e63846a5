//! Every aggregate function, alone, per key and window.

use super::{Case, case};

/// `expr` per key and window, sessions included.
fn per_key(name: &str, expr: &str) -> Case {
    case(
        name,
        &format!(
            "SELECT k, window_start, window_end, {expr} AS x FROM {{events}} GROUP BY k, window_start, window_end"
        ),
    )
    .sessions("SELECT id, k FROM events")
}

pub(super) fn cases() -> Vec<Case> {
    let exact = [
        ("count_all", "COUNT(*)"),
        ("count_column", "COUNT(i)"),
        ("count_text", "COUNT(s)"),
        ("count_one", "COUNT(1)"),
        ("count_distinct_text", "COUNT(DISTINCT s)"),
        ("count_distinct_int", "COUNT(DISTINCT i)"),
        ("count_distinct_bool", "COUNT(DISTINCT b)"),
        ("count_distinct_float", "COUNT(DISTINCT f)"),
        ("count_distinct_decimal", "COUNT(DISTINCT dec)"),
        ("count_distinct_date", "COUNT(DISTINCT d)"),
        ("sum_int", "SUM(i)"),
        ("sum_small_int", "SUM(g)"),
        ("sum_decimal", "SUM(dec)"),
        ("sum_distinct_int", "SUM(DISTINCT i)"),
        ("avg_int", "AVG(i)"),
        ("min_int", "MIN(i)"),
        ("min_small_int", "MIN(g)"),
        ("min_decimal", "MIN(dec)"),
        ("min_text", "MIN(s)"),
        ("min_time", "MIN(t)"),
        ("min_date", "MIN(d)"),
        ("min_bool", "MIN(b)"),
        ("max_int", "MAX(i)"),
        ("max_decimal", "MAX(dec)"),
        ("max_text", "MAX(s)"),
        ("max_time", "MAX(ts)"),
        ("max_date", "MAX(d)"),
        ("max_bool", "MAX(b)"),
        ("max_distinct", "MAX(DISTINCT i)"),
        ("median_int", "MEDIAN(i)"),
        ("median_float", "MEDIAN(f)"),
        ("median_decimal", "MEDIAN(dec)"),
        ("median_distinct", "MEDIAN(DISTINCT i)"),
        ("percentile", "PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY f)"),
        ("percentile_arguments", "PERCENTILE_CONT(f, 0.75)"),
        ("approx_distinct_text", "APPROX_DISTINCT(s)"),
        ("approx_distinct_int", "APPROX_DISTINCT(id)"),
        ("bool_and", "BOOL_AND(b)"),
        ("bool_or", "BOOL_OR(b)"),
        ("bit_and", "BIT_AND(i)"),
        ("bit_or", "BIT_OR(i)"),
        ("bit_xor", "BIT_XOR(i)"),
        ("bit_xor_distinct", "BIT_XOR(DISTINCT i)"),
        ("regr_count", "REGR_COUNT(f, i)"),
        ("first_text", "FIRST_VALUE(s {order})"),
        ("first_int", "FIRST_VALUE(i {order})"),
        ("first_small_int", "FIRST_VALUE(g {order})"),
        ("first_float", "FIRST_VALUE(f {order})"),
        ("first_decimal", "FIRST_VALUE(dec {order})"),
        ("first_bool", "FIRST_VALUE(b {order})"),
        ("first_date", "FIRST_VALUE(d {order})"),
        ("first_time", "FIRST_VALUE(t {order})"),
        ("first_by_int", "FIRST_VALUE(s ORDER BY i{then})"),
        ("first_by_two", "FIRST_VALUE(id ORDER BY g DESC NULLS LAST, s{then})"),
        ("first_not_null", "FIRST_VALUE(s {order}) IGNORE NULLS"),
        ("last_text", "LAST_VALUE(s {order})"),
        ("last_int", "LAST_VALUE(i {order})"),
        ("last_float", "LAST_VALUE(f {order})"),
        ("last_bool", "LAST_VALUE(b {order})"),
        ("last_by_float", "LAST_VALUE(id ORDER BY f DESC{then})"),
        ("last_not_null", "LAST_VALUE(i {order}) IGNORE NULLS"),
        ("nth_text", "NTH_VALUE(s, 2 {order})"),
        ("nth_by_int", "NTH_VALUE(id, 3 ORDER BY i{then})"),
        ("nth_from_the_end", "NTH_VALUE(id, -2 {order})"),
        ("array_of_text", "ARRAY_AGG(s {order})"),
        ("array_of_ints", "ARRAY_AGG(i {order})"),
        ("array_of_floats", "ARRAY_AGG(f {order})"),
        ("array_of_decimals", "ARRAY_AGG(dec {order})"),
        ("array_by_int", "ARRAY_AGG(id ORDER BY i DESC{then})"),
        ("array_by_two", "ARRAY_AGG(s ORDER BY g, b DESC{then})"),
        ("array_not_null", "ARRAY_AGG(s {order}) FILTER (WHERE s IS NOT NULL)"),
        ("text_joined", "STRING_AGG(s, ',' {order})"),
        ("text_joined_by_int", "STRING_AGG(s, '-' ORDER BY i{then})"),
        ("count_filtered", "COUNT(*) FILTER (WHERE b)"),
        ("sum_filtered", "SUM(i) FILTER (WHERE g > 1)"),
        ("avg_filtered", "AVG(i) FILTER (WHERE s <> 'x')"),
        ("min_filtered", "MIN(s) FILTER (WHERE i IS NOT NULL)"),
        ("distinct_filtered", "COUNT(DISTINCT s) FILTER (WHERE b OR g = 1)"),
        ("first_filtered", "FIRST_VALUE(id {order}) FILTER (WHERE i > 2)"),
        ("last_filtered", "LAST_VALUE(s {order}) FILTER (WHERE b)"),
        ("array_filtered", "ARRAY_AGG(id {order}) FILTER (WHERE NOT b)"),
        ("median_filtered", "MEDIAN(i) FILTER (WHERE b)"),
        ("argument_expression", "SUM(CASE WHEN b THEN i * 2 ELSE 0 END)"),
        ("argument_function", "MAX(UPPER(COALESCE(s, k, '?')))"),
        ("argument_cast", "SUM(CAST(dec AS BIGINT))"),
        ("value_expression", "SUM(i) * 2 + COUNT(*) - COALESCE(MIN(g), 0)"),
        ("value_case", "CASE WHEN COUNT(*) > 2 THEN 'many' ELSE 'few' END"),
        ("literal_argument", "SUM(2)"),
    ];
    let floats = [
        ("sum_float", "SUM(f)"),
        ("sum_distinct_float", "SUM(DISTINCT f)"),
        ("avg_float", "AVG(f)"),
        ("avg_distinct", "AVG(DISTINCT f)"),
        ("avg_small_int", "AVG(g)"),
        ("stddev", "STDDEV(f)"),
        ("stddev_pop", "STDDEV_POP(f)"),
        ("stddev_int", "STDDEV_SAMP(i)"),
        ("var", "VAR(f)"),
        ("var_pop", "VAR_POP(i)"),
        ("var_distinct", "VAR(DISTINCT f)"),
        ("corr", "CORR(f, i)"),
        ("covar", "COVAR_SAMP(f, i)"),
        ("covar_pop", "COVAR_POP(f, i)"),
        ("regr_slope", "REGR_SLOPE(f, i)"),
        ("regr_intercept", "REGR_INTERCEPT(f, i)"),
        ("regr_r2", "REGR_R2(f, i)"),
        ("regr_avgx", "REGR_AVGX(f, i)"),
        ("regr_avgy", "REGR_AVGY(f, i)"),
        ("regr_sxx", "REGR_SXX(f, i)"),
        ("regr_syy", "REGR_SYY(f, i)"),
        ("regr_sxy", "REGR_SXY(f, i)"),
        ("stddev_filtered", "STDDEV(f) FILTER (WHERE b)"),
        ("corr_filtered", "CORR(f, i) FILTER (WHERE g > 0)"),
    ];
    // Values lie in 0 to 64; the sketches see at most a few dozen of them.
    let sketches = [
        ("approx_percentile", "APPROX_PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY f)"),
        ("approx_percentile_arguments", "APPROX_PERCENTILE_CONT(f, 0.9)"),
        ("approx_percentile_size", "APPROX_PERCENTILE_CONT(i, 0.5, 200)"),
        ("approx_percentile_weight", "APPROX_PERCENTILE_CONT_WITH_WEIGHT(f, 2, 0.5)"),
        ("approx_median", "APPROX_MEDIAN(f)"),
        ("approx_median_int", "APPROX_MEDIAN(i)"),
    ];
    let mut cases: Vec<Case> = exact.iter().map(|(name, expr)| per_key(name, expr)).collect();
    cases.extend(floats.iter().map(|(name, expr)| per_key(name, expr).floats()));
    cases.extend(sketches.iter().map(|(name, expr)| per_key(name, expr).within(8.0)));
    // What a batch needs other words for: DISTINCT sorts by its argument.
    cases.push(per_key("array_distinct", "ARRAY_AGG(DISTINCT s)").oracle(
        "SELECT k, window_start, window_end, ARRAY_AGG(DISTINCT s ORDER BY s NULLS LAST) AS x FROM {events} GROUP BY k, window_start, window_end",
    ));
    // A batch keeps NaN or a number, whichever comes last.
    for (name, function, order) in [("min_float", "MIN", "ASC"), ("max_float", "MAX", "DESC")] {
        cases.push(per_key(name, &format!("{function}(f)")).oracle(&format!(
            "SELECT k, window_start, window_end, FIRST_VALUE(f ORDER BY f {order} NULLS LAST) AS x FROM {{events}} GROUP BY k, window_start, window_end"
        )));
    }
    // A batch cuts off what is rounded here: whole millionths, half away from zero.
    cases.push(per_key("avg_decimal", "AVG(dec)").oracle(
        "WITH sums AS (SELECT k, window_start, window_end, CAST(SUM(dec) * 100 AS BIGINT) * 10000 AS millionths, NULLIF(COUNT(dec), 0) AS n FROM {events} GROUP BY k, window_start, window_end)
         SELECT k, window_start, window_end, CAST(CAST(CASE WHEN millionths < 0 THEN -1 ELSE 1 END * ((ABS(millionths) * 2 + n) / (2 * n)) AS DECIMAL(20, 0)) * CAST('0.000001' AS DECIMAL(7, 6)) AS DECIMAL(16, 6)) AS x FROM sums",
    ));
    cases.push(per_key("array_distinct_ints", "ARRAY_AGG(DISTINCT i ORDER BY i DESC)"));
    cases.push(per_key("text_distinct", "STRING_AGG(DISTINCT s, ',')").oracle(
        "SELECT k, window_start, window_end, STRING_AGG(DISTINCT s, ',' ORDER BY s) AS x FROM {events} GROUP BY k, window_start, window_end",
    ));
    cases.push(per_key("any_value", "ANY_VALUE(s)").oracle(
        "SELECT k, window_start, window_end, FIRST_VALUE(s {order}) FILTER (WHERE s IS NOT NULL) AS x FROM {events} GROUP BY k, window_start, window_end",
    ));
    cases.push(
        case(
            "many_at_once",
            "SELECT k, window_start, window_end, COUNT(*) AS n, SUM(i) AS total, AVG(f) AS mean, MIN(s) AS least, FIRST_VALUE(id {order}) AS first, ARRAY_AGG(id {order}) AS ids, COUNT(DISTINCT s) AS kinds, MEDIAN(i) AS middle FROM {events} GROUP BY k, window_start, window_end",
        )
        .sessions("SELECT id, k FROM events")
        .floats(),
    );
    cases.push(
        case(
            "two_orders",
            "SELECT k, window_start, window_end, FIRST_VALUE(id ORDER BY i{then}) AS least, LAST_VALUE(id ORDER BY f{then}) AS last FROM {events} GROUP BY k, window_start, window_end",
        )
        .sessions("SELECT id, k FROM events"),
    );
    cases
}
