//! What to write here for what other engines have, and the engine's messages in words that help.
//!
//! Not here: types and calls (`plainly`), the table of whole constructs for people (`docs/migrating.md`).

use super::plainly::{call, plainly};

/// Functions of Flink SQL, Kinesis Data Analytics and others, lower case, and what is written here.
const FUNCTIONS: &[(&str, &str)] = &[
    ("approx_count_distinct", "APPROX_DISTINCT(x)"),
    ("approx_distinct_count", "APPROX_DISTINCT(x)"),
    ("arg_max", "FIRST_VALUE(x ORDER BY y DESC)"),
    ("arg_min", "FIRST_VALUE(x ORDER BY y)"),
    ("argmax", "FIRST_VALUE(x ORDER BY y DESC)"),
    ("argmin", "FIRST_VALUE(x ORDER BY y)"),
    ("char_to_timestamp", "to_timestamp(text, '%Y-%m-%d %H:%M:%S')"),
    ("collect", "ARRAY_AGG(x)"),
    ("collect_list", "ARRAY_AGG(x)"),
    ("collect_set", "ARRAY_AGG(DISTINCT x)"),
    ("convert_timezone", "ts AT TIME ZONE 'Europe/Berlin'"),
    ("convert_tz", "ts AT TIME ZONE 'Europe/Berlin'"),
    ("count_distinct", "COUNT(DISTINCT x)"),
    ("count_if", "COUNT(*) FILTER (WHERE x > 1)"),
    ("countif", "COUNT(*) FILTER (WHERE x > 1)"),
    ("current_time", "CAST(now() AS TIME), above the aggregate"),
    ("current_watermark", "window_end, or the event time: what comes is final"),
    ("date_add", "ts + INTERVAL '1' DAY"),
    ("date_diff", "date_part('epoch', b - a), in seconds"),
    ("date_from_parts", "make_date(2024, 2, 29)"),
    ("date_sub", "ts - INTERVAL '1' DAY"),
    ("dateadd", "ts + INTERVAL '1' DAY"),
    ("datediff", "date_part('epoch', b - a), in seconds"),
    ("dayofmonth", "date_part('day', ts)"),
    ("dayofweek", "date_part('dow', ts), 0 for Sunday"),
    ("dayofyear", "date_part('doy', ts)"),
    ("earliest_by_offset", "FIRST_VALUE(x)"),
    ("every", "BOOL_AND(x)"),
    ("exp_avg", "AVG(x) OVER (ORDER BY ts RANGE INTERVAL '1' HOUR PRECEDING)"),
    ("explode", "unnest(list)"),
    ("extractjsonfield", "a column with path = \"a.b\" in the pipeline file"),
    ("format_timestamp", "to_char(ts, '%Y-%m-%d %H:%M:%S')"),
    ("from_iso8601_timestamp", "CAST(x AS TIMESTAMP)"),
    ("from_utc_timestamp", "ts AT TIME ZONE 'Europe/Berlin'"),
    ("get_json_object", "a column with path = \"a.b\" in the pipeline file"),
    ("getdate", "now(), the time of the checkpoint"),
    ("group_concat", "STRING_AGG(x, ',')"),
    ("hop_end", "FROM HOP(stream, ts, slide, size), and window_end"),
    ("hop_proctime", "FROM HOP(stream, ts, …), and window_end"),
    ("hop_rowtime", "FROM HOP(stream, ts, …), and window_end"),
    ("hop_start", "FROM HOP(stream, ts, slide, size), and window_start"),
    ("hour", "date_part('hour', ts)"),
    ("if", "CASE WHEN a THEN b ELSE c END"),
    ("iff", "CASE WHEN a THEN b ELSE c END"),
    ("isnull", "x IS NULL"),
    ("json_extract", "a column with path = \"a.b\" in the pipeline file"),
    ("json_extract_path_text", "a column with path = \"a.b\" in the pipeline file"),
    ("json_extract_scalar", "a column with path = \"a.b\" in the pipeline file"),
    ("json_extract_string", "a column with path = \"a.b\" in the pipeline file"),
    ("json_object", "a column for each member: results are JSON objects"),
    ("json_query", "a column with path = \"a.b\" in the pipeline file"),
    ("json_value", "a column with path = \"a.b\" in the pipeline file"),
    ("jsonb_extract_path_text", "a column with path = \"a.b\" in the pipeline file"),
    ("latest_by_offset", "LAST_VALUE(x)"),
    ("lcase", "lower(x)"),
    ("len", "length(x)"),
    ("listagg", "STRING_AGG(x, ',')"),
    ("locate", "strpos(text, part)"),
    ("max_by", "FIRST_VALUE(x ORDER BY y DESC)"),
    ("min_by", "FIRST_VALUE(x ORDER BY y)"),
    ("minute", "date_part('minute', ts)"),
    ("mod", "a % b"),
    ("mode", "COUNT(*) of each value in a subquery, and the first by ROW_NUMBER()"),
    ("month", "date_part('month', ts)"),
    ("parse_json", "columns with path = \"a.b\" in the pipeline file"),
    ("parse_timestamp", "to_timestamp(text, '%Y-%m-%d %H:%M:%S')"),
    ("percentile_disc", "PERCENTILE_CONT(x, 0.9)"),
    (
        "proctime",
        "event_time = \"arrival_time\" in the stream's section, and the column arrival_time",
    ),
    ("quarter", "date_part('quarter', ts)"),
    ("regexp_extract", "regexp_match(x, 'a(.*)')[1]"),
    ("regexp_matches", "regexp_match(x, 'pattern')"),
    ("regexp_substr", "regexp_match(x, '(pattern)')[1]"),
    ("safe_divide", "a / NULLIF(b, 0)"),
    ("second", "date_part('second', ts)"),
    ("session_end", "FROM SESSION(stream, ts, gap), and window_end"),
    ("session_proctime", "FROM SESSION(stream, ts, …), and window_end"),
    ("session_rowtime", "FROM SESSION(stream, ts, …), and window_end"),
    ("session_start", "FROM SESSION(stream, ts, gap), and window_start"),
    ("sign", "signum(x)"),
    ("size", "cardinality(list)"),
    ("split_index", "split_part(x, ',', 1), which counts from 1"),
    ("step", "FROM TUMBLE(stream, ts, INTERVAL '1' MINUTE), and window_start"),
    ("str_split", "string_to_array(x, ',')"),
    ("str_to_date", "to_timestamp(text, '%Y-%m-%d')"),
    ("strftime", "to_char(ts, '%Y-%m-%d')"),
    ("stringtotimestamp", "to_timestamp(text, '%Y-%m-%d %H:%M:%S')"),
    ("strptime", "to_timestamp(text, '%Y-%m-%d')"),
    ("timestampadd", "ts + INTERVAL '1' SECOND"),
    ("timestampdiff", "date_part('epoch', b - a), in seconds"),
    ("timestamptostring", "to_char(ts, '%Y-%m-%d %H:%M:%S')"),
    ("to_json", "the columns themselves: results are JSON objects"),
    ("to_timestamp_ltz", "to_timestamp_millis(x) or to_timestamp_seconds(x)"),
    ("top_k_items_tumbling", "FROM TUMBLE(…) with GROUP BY, ORDER BY COUNT(*) DESC and LIMIT"),
    (
        "topk",
        "a subquery with ROW_NUMBER() OVER (PARTITION BY k, window_end ORDER BY x DESC) AS r, and WHERE r <= 3",
    ),
    (
        "topkdistinct",
        "a subquery with DISTINCT and ROW_NUMBER() OVER (PARTITION BY k, window_end ORDER BY x DESC) AS r, and WHERE r <= 3",
    ),
    ("tostring", "CAST(x AS VARCHAR)"),
    ("tsdiff", "date_part('epoch', a - b), in seconds"),
    ("tumble", "FROM TUMBLE(stream, ts, size), and GROUP BY window_start, window_end"),
    ("tumble_end", "FROM TUMBLE(stream, ts, size), and window_end"),
    ("tumble_proctime", "FROM TUMBLE(stream, ts, …), and window_end"),
    ("tumble_rowtime", "FROM TUMBLE(stream, ts, …), and window_end"),
    ("tumble_start", "FROM TUMBLE(stream, ts, size), and window_start"),
    ("ucase", "upper(x)"),
    ("uniq", "APPROX_DISTINCT(x)"),
    ("unix_timestamp", "date_part('epoch', t), in seconds"),
    ("variance", "VAR_SAMP(x)"),
    ("week", "date_part('week', ts)"),
    ("windowend", "window_end"),
    ("windowstart", "window_start"),
    ("wm_concat", "STRING_AGG(x, ',')"),
    ("year", "date_part('year', ts)"),
    ("zeroifnull", "COALESCE(x, 0)"),
];

/// What is written here instead of a function of another engine.
pub(super) fn function(name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let (_, here) = FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    Some(format!("write {here}"))
}

/// An engine's message without what nobody here can do, and a way out where the engine has none.
pub(super) fn told(message: String) -> (String, Option<String>) {
    let message = message.trim_start_matches("sql parser error: ").to_string();
    let starts = |start: &str| message.starts_with(start);
    if let Some(rest) = message.strip_prefix("table 'datafusion.")
        && let Some((name, _)) = rest.split_once('\'')
    {
        let name = name.strip_prefix("public.").unwrap_or(name);
        let help = "FROM reads streams, tables and WITH clauses; write another query's SELECT as a WITH clause";
        return (format!("nothing is called {name} here"), Some(help.to_string()));
    }
    if let Some(column) = message.strip_prefix("No field named ")
        && let Some(help) = column_elsewhere(column)
    {
        let (message, _) = message.split_once(" Did you mean").unwrap_or((&message, ""));
        return (without_internals(message.to_string()), Some(help.to_string()));
    }
    if let Some((_, help)) = MESSAGES.iter().find(|(start, _)| starts(start)) {
        return (without_internals(message), Some(help.to_string()));
    }
    if starts("recursion limit exceeded") {
        let help = "write subqueries as WITH clauses side by side, and long expressions in steps";
        return ("too much stands inside each other".to_string(), Some(help.to_string()));
    }
    if message.starts_with("Physical plan does not support logical expression WindowFunction") {
        let help = "write QUALIFY ROW_NUMBER() OVER (…) = 1, or WHERE around a subquery";
        return ("a function with OVER cannot stand in WHERE".to_string(), Some(help.to_string()));
    }
    if starts("Projections require unique expression names") {
        let help = "give one of them another name with AS";
        return ("two columns of a SELECT have the same name".to_string(), Some(help.to_string()));
    }
    if let Some(types) =
        message.strip_prefix("Cannot infer common argument type for comparison operation ")
    {
        let help = "CAST one side to the type of the other";
        return (format!("{} cannot be compared", plainly(types)), Some(help.to_string()));
    }
    if message.contains("OuterReferenceColumn") {
        let help = "write a JOIN with the condition, or aggregate first and join the result";
        let message = "a subquery that depends on the row before it cannot run here";
        return (message.to_string(), Some(help.to_string()));
    }
    if let Some((types, _)) = message
        .strip_prefix("Cannot coerce arithmetic expression ")
        .and_then(|it| it.split_once(" to valid"))
    {
        let message = format!("{} cannot be computed", plainly(types));
        return (message, Some("CAST one side: CAST(x AS BIGINT); a time and a length are ts + INTERVAL '1' SECOND".to_string()));
    }
    if let Some(rest) = message.strip_prefix("Cannot create filter with non-boolean predicate '")
        && let Some((expr, found)) = rest.split_once("' returning ")
    {
        let message = format!("{expr} is {}, not a condition", plainly(found));
        return (message, Some("write a comparison, such as x > 0".to_string()));
    }
    if let Some((message, help)) = call(&message) {
        return (message, Some(help));
    }
    (without_internals(message), None)
}

/// Beginnings of the engine's messages, and ways out.
const MESSAGES: &[(&str, &str)] = &[
    (
        "table function '",
        "window functions are TUMBLE, HOP, CUMULATE, SESSION, TUMBLE_ROWS and HOP_ROWS",
    ),
    (
        "Schema contains duplicate unqualified field name",
        "to the engine an aggregate of a column and one of its CAST have one name: CAST in a subquery, FROM (SELECT …, CAST(x AS DOUBLE) AS y FROM TUMBLE(…))",
    ),
    (
        "RANGE requires exactly one ORDER BY column",
        "write OVER (PARTITION BY … ORDER BY ts RANGE …), ts being the event time",
    ),
    (
        "Operator ->",
        "give the member a column of its own, with path = \"a.b\", in the pipeline file",
    ),
    (
        "Expected: ), found: BY",
        "STEP(… BY …) is written FROM TUMBLE(stream, ts, INTERVAL '1' MINUTE)",
    ),
    ("Expected: ), found: EXCLUDE", "leave EXCLUDE out: end the frame at 1 PRECEDING instead"),
    (
        "Expected: AS, found: (",
        "WINDOW TUMBLING (SIZE …) is written FROM TUMBLE(stream, ts, INTERVAL '1' MINUTE), and GROUP BY window_start, window_end",
    ),
    (
        "Expected: end of statement, found: CHANGES",
        "leave EMIT CHANGES out: `emit = \"updates\"` of [queries.NAME] is what it asks for",
    ),
    ("Expected: end of statement, found: FINAL", "leave EMIT FINAL out: rows are final"),
    ("Expected: end of statement, found: PERCENT", "write LIMIT with a number of rows"),
    (
        "Expected: an object type after CREATE",
        "write SELECT …; streams, tables and sinks stand in the pipeline file",
    ),
    ("Unterminated string literal", "a quote inside a text is written twice: 'it''s'"),
    ("Ambiguous reference to unqualified field", "write the table's name before the column: s.k"),
    ("Aggregate functions are not allowed in the WHERE clause", "write HAVING behind GROUP BY"),
    (
        "Placeholder '",
        "write the value itself; `${NAME}` in the pipeline file is an environment variable",
    ),
    (
        "unnest() can only be applied",
        "make a list of the text first: unnest(string_to_array(x, ','))",
    ),
    ("Substring without for/from", "write substr(x, 1, 3)"),
    (
        "Invalid input syntax for type interval",
        "write INTERVAL '10' SECOND, INTERVAL '1 hour 30 minutes' or the like",
    ),
    (
        "Arrow error: Parser error: Invalid input syntax for type interval",
        "write INTERVAL '10' SECOND, INTERVAL '1 hour 30 minutes' or the like",
    ),
    (
        "Expected: end of statement, found: BY",
        "WINDOWED BY STAGGER is written FROM TUMBLE(…), with `out_of_orderness` of the stream",
    ),
    ("LATERAL syntax is not supported", "write LEFT JOIN or CROSS JOIN"),
    ("Unsupported CAST", "there is no such conversion: write CASE WHEN … THEN … END"),
    ("[return_type]", "write a column as the argument"),
    ("Unary operator '-'", "CAST it to a number: -CAST(x AS DOUBLE)"),
    ("Unary operator 'NOT'", "write a comparison: NOT (x > 0)"),
    (
        "Cannot get result type for temporal operation",
        "write ts + INTERVAL '1' SECOND, or ts - other_ts for the time between",
    ),
];

/// What is written here for a column that other engines add. `rest` begins with its name.
fn column_elsewhere(rest: &str) -> Option<&'static str> {
    let name = rest.split([' ', '\n']).next()?.trim_end_matches('.');
    let name = name.rsplit('.').next()?.trim_matches('"').to_lowercase();
    Some(match name.as_str() {
        "stream" => "SELECT STREAM is written SELECT: every query goes on for ever",
        "window_time" => "write window_end: the window ends just before it",
        "rowtime" | "_rowtime" | "event_time" | "__timestamp" => {
            "write the stream's event-time column; of a window window_start and window_end"
        }
        "proctime" | "approximate_arrival_time" | "arrival_timestamp" => {
            "write arrival_time, when the record came into its source"
        }
        "localtimestamp" | "current_row_timestamp" => {
            "write now(), the time of the checkpoint, above the aggregate; below it the event time"
        }
        "windowstart" | "wstart" => "write window_start, with FROM TUMBLE(…)",
        "windowend" | "wend" => "write window_end, with FROM TUMBLE(…)",
        "partition_key" | "sequence_number" | "shard_id" | "rowpartition" | "rowoffset" => {
            "put what you need into the record: where it stands in its source is no column"
        }
        _ => return None,
    })
}

fn without_internals(message: String) -> String {
    let (message, _) =
        message.split_once("\nThis issue was likely caused").unwrap_or((&message, ""));
    let (message, _) = message.split_once("\nThis was likely caused").unwrap_or((message, ""));
    // A tree of the engine's parser, which helps its developers alone.
    let (message, _) = message.split_once(" { ").unwrap_or((message, ""));
    let message = plainly(message);
    let lines = message.lines().map(|line| {
        if let Some((said, _)) = line.split_once(" or disable the datafusion.sql_parser") {
            return format!("{said}.");
        }
        match line.strip_prefix("Valid fields are ").and_then(|it| it.strip_suffix('.')) {
            Some(fields) => {
                let is_hidden =
                    |field: &&str| field.rsplit('.').next().is_some_and(|it| it.starts_with("__"));
                let fields: Vec<&str> = fields.split(", ").filter(|it| !is_hidden(it)).collect();
                format!("Valid fields are {}.", fields.join(", "))
            }
            None => line.to_string(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_nobody_can_name_are_not_told_of() {
        let message = "No field named b.\nValid fields are s.a, s.__row.";
        assert_eq!(told(message.to_string()).0, "No field named b.\nValid fields are s.a.");
        let message = "No field named \"K\".\nUse double quotes or disable the datafusion.sql_parser.x configuration.";
        assert_eq!(told(message.to_string()).0, "No field named \"K\".\nUse double quotes.");
        let message = "Internal error: no sum\nThis issue was likely caused by a bug";
        assert_eq!(told(message.to_string()).0, "no sum");
    }

    #[test]
    fn each_function_is_told_of_once() {
        assert!(FUNCTIONS.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!(function("LISTAGG"), Some("write STRING_AGG(x, ',')".to_string()));
        assert_eq!(function("sum"), None);
    }
}
