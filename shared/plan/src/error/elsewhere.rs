//! What to write here for what other engines have, and the engine's messages in words that help.
//!
//! Not here: the table of whole constructs for people (`docs/migrating.md`).

/// Functions of Flink SQL, Kinesis Data Analytics and others, lower case, and what is written here.
const FUNCTIONS: &[(&str, &str)] = &[
    ("arg_max", "FIRST_VALUE(x ORDER BY y DESC)"),
    ("arg_min", "FIRST_VALUE(x ORDER BY y)"),
    ("collect", "ARRAY_AGG(x)"),
    ("every", "BOOL_AND(x)"),
    ("group_concat", "STRING_AGG(x, ',')"),
    ("hop_end", "FROM HOP(stream, ts, slide, size), and window_end"),
    ("hop_start", "FROM HOP(stream, ts, slide, size), and window_start"),
    ("if", "CASE WHEN a THEN b ELSE c END"),
    ("isnull", "x IS NULL"),
    ("json_query", "a column with path = \"a.b\" in the pipeline file"),
    ("json_value", "a column with path = \"a.b\" in the pipeline file"),
    ("listagg", "STRING_AGG(x, ',')"),
    ("max_by", "FIRST_VALUE(x ORDER BY y DESC)"),
    ("min_by", "FIRST_VALUE(x ORDER BY y)"),
    ("mod", "a % b"),
    ("percentile_disc", "PERCENTILE_CONT(x, 0.9)"),
    (
        "proctime",
        "event_time = \"arrival_time\" in the stream's section, and the column arrival_time",
    ),
    ("session_end", "FROM SESSION(stream, ts, gap), and window_end"),
    ("session_start", "FROM SESSION(stream, ts, gap), and window_start"),
    ("split_index", "split_part(x, ',', 1), which counts from 1"),
    ("step", "FROM TUMBLE(stream, ts, INTERVAL '1' MINUTE), and window_start"),
    ("timestampdiff", "date_part('epoch', b - a), in seconds"),
    ("tsdiff", "date_part('epoch', a - b), in seconds"),
    ("tumble", "FROM TUMBLE(stream, ts, size), and GROUP BY window_start, window_end"),
    ("tumble_end", "FROM TUMBLE(stream, ts, size), and window_end"),
    ("tumble_start", "FROM TUMBLE(stream, ts, size), and window_start"),
    ("unix_timestamp", "date_part('epoch', t), in seconds"),
    ("variance", "VAR_SAMP(x)"),
];

/// What is written here instead of a function of another engine.
pub(super) fn function(name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let (_, here) = FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    Some(format!("write {here}"))
}

/// An engine's message without what nobody here can do, and a way out where the engine has none.
pub(super) fn told(message: String) -> (String, Option<&'static str>) {
    let message = message.trim_start_matches("sql parser error: ").to_string();
    let starts = |start: &str| message.starts_with(start);
    if let Some(rest) = message.strip_prefix("table 'datafusion.public.")
        && let Some((name, _)) = rest.split_once('\'')
    {
        let help = "FROM reads streams, tables and WITH clauses; write another query's SELECT as a WITH clause";
        return (format!("nothing is called {name} here"), Some(help));
    }
    if starts("table function '") {
        return (
            message,
            Some("window functions are TUMBLE, HOP, CUMULATE, SESSION, TUMBLE_ROWS and HOP_ROWS"),
        );
    }
    if starts("Schema contains duplicate unqualified field name") {
        let help = "to the engine an aggregate of a column and one of its CAST have one name: CAST in a subquery, FROM (SELECT …, CAST(x AS DOUBLE) AS y FROM TUMBLE(…))";
        return (message, Some(help));
    }
    if starts("Unsupported ast node MatchRecognize") {
        let help = "LAG, LEAD and frames find short patterns";
        return ("MATCH_RECOGNIZE cannot run".to_string(), Some(help));
    }
    if starts("FLOOR with datetime") || starts("CEIL with datetime") {
        return (message, Some("write date_trunc('minute', ts); windows are FROM TUMBLE(…)"));
    }
    if starts("recursion limit exceeded") {
        let help = "write subqueries as WITH clauses side by side, and long expressions in steps";
        return ("too much stands inside each other".to_string(), Some(help));
    }
    if starts("RANGE requires exactly one ORDER BY column") {
        return (
            message,
            Some("write OVER (PARTITION BY … ORDER BY ts RANGE …), ts being the event time"),
        );
    }
    if starts("Operator ->") {
        return (
            message,
            Some("give the member a column of its own, with path = \"a.b\", in the pipeline file"),
        );
    }
    let wanted = message.strip_prefix("Expected: ), found: BY").is_some();
    if wanted {
        return (
            message,
            Some("STEP(… BY …) is written FROM TUMBLE(stream, ts, INTERVAL '1' MINUTE)"),
        );
    }
    (without_internals(message), None)
}

fn without_internals(message: String) -> String {
    let message = message.trim_start_matches("Internal error: ");
    let (message, _) =
        message.split_once("\nThis issue was likely caused").unwrap_or((message, ""));
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
