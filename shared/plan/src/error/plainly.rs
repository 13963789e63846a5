//! The engine's messages about types and calls, in words that name neither its types nor its insides.
//!
//! Not here: what is written here for what other engines have (`elsewhere`).

/// The engine's names of types, and SQL's. None is the beginning of one after it.
const TYPES: &[(&str, &str)] = &[
    ("Interval(MonthDayNano)", "INTERVAL"),
    ("Interval(DayTime)", "INTERVAL"),
    ("Interval(YearMonth)", "INTERVAL"),
    ("Timestamp(ns)", "TIMESTAMP"),
    ("Timestamp(µs)", "TIMESTAMP"),
    ("Timestamp(ms)", "TIMESTAMP"),
    ("Timestamp(s)", "TIMESTAMP"),
    ("Duration(ns)", "a duration"),
    ("Duration(µs)", "a duration"),
    ("Duration(ms)", "a duration"),
    ("Duration(s)", "a duration"),
    ("Time64(ns)", "TIME"),
    ("Time64(µs)", "TIME"),
    ("Time32(ms)", "TIME"),
    ("Time32(s)", "TIME"),
    ("LargeUtf8", "VARCHAR"),
    ("Utf8View", "VARCHAR"),
    ("Utf8", "VARCHAR"),
    ("LargeBinary", "BYTEA"),
    ("BinaryView", "BYTEA"),
    ("Binary", "BYTEA"),
    ("Boolean", "BOOLEAN"),
    ("Date32", "DATE"),
    ("Date64", "DATE"),
    ("Decimal128", "DECIMAL"),
    ("Decimal256", "DECIMAL"),
    ("Decimal64", "DECIMAL"),
    ("Decimal32", "DECIMAL"),
    ("UInt64", "BIGINT UNSIGNED"),
    ("UInt32", "INT UNSIGNED"),
    ("UInt16", "SMALLINT UNSIGNED"),
    ("UInt8", "TINYINT UNSIGNED"),
    ("Int64", "BIGINT"),
    ("Int32", "INT"),
    ("Int16", "SMALLINT"),
    ("Int8", "TINYINT"),
    ("Float64", "DOUBLE"),
    ("Float32", "REAL"),
    ("Float16", "REAL"),
];

/// What stands before the engine's own reasons, and says nothing.
const NOISE: &[&str] = &[
    "[return_type] ",
    "Internal error: ",
    "Arrow error: ",
    "Parser error: ",
    "Cast error: ",
    "Compute error: ",
    "Invalid argument error: ",
    "External error: ",
    "Execution error: ",
    "Optimizer rule ",
    "Error during planning: ",
    "Schema error: ",
    "This feature is not implemented: ",
];

/// A message with SQL's names of types, without noise.
pub(super) fn plainly(message: &str) -> String {
    let mut message = message.to_string();
    for noise in NOISE {
        message = message.replace(noise, "");
    }
    types(&message)
}

/// The text with SQL's names of types in place of the engine's.
fn types(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let starts = !out.chars().next_back().is_some_and(is_word);
        let known = TYPES.iter().find(|(engine, _)| {
            let after = rest.strip_prefix(engine).map(|after| after.chars().next());
            starts && after.is_some_and(|after| !after.is_some_and(is_word))
        });
        let taken = match known {
            Some((engine, sql)) => {
                out.push_str(sql);
                engine.len()
            }
            None => {
                out.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Why a call's arguments are refused, with what to write; `None`: the message is about something else.
pub(super) fn call(message: &str) -> Option<(String, String)> {
    let about_call = ["Candidate functions", "failed to match any signature", "Failed to coerce"]
        .iter()
        .any(|sign| message.contains(sign))
        || (message.contains("' requires ") && message.starts_with("Function '"))
        || message.contains(" arguments but received ");
    if !about_call {
        return None;
    }
    let name = between(message, "Function '", "'")
        .or_else(|| between(message, "call to '", "'"))
        .or_else(|| between(message, "argument types '", "("))
        .or_else(|| between(message, "'", "'"))?;
    let upper = name.to_uppercase();
    if let Some(received) = last_between(message, "(DataType: ", ").") {
        let mut wanted: Vec<&str> = Vec::new();
        for part in message.split("requires ").skip(1) {
            let class = part.split([',', ' ']).next().unwrap_or_default();
            let class = match class {
                "String" => "VARCHAR",
                "Integer" | "Int64" | "UInt64" => "BIGINT",
                "Float64" | "Float32" => "DOUBLE",
                "Decimal" => "DECIMAL",
                "Interval" => "INTERVAL",
                "Timestamp" => "TIMESTAMP",
                "Date" | "Date32" => "DATE",
                "Boolean" => "BOOLEAN",
                "Numeric" => "a number",
                _ => continue,
            };
            if !wanted.contains(&class) {
                wanted.push(class);
            }
        }
        let message = format!("{upper} cannot take an argument of type {}", types(received));
        let help = match (usage(name), wanted.as_slice()) {
            (Some(usage), _) => format!("write {usage}"),
            (None, []) => "CAST the argument to another type".to_string(),
            (None, wanted) => format!("CAST the argument to {}", wanted.join(" or ")),
        };
        return Some((message, help));
    }
    let usage = usage(name).map(|usage| format!("write {usage}"));
    let help = |other: &str| usage.clone().unwrap_or_else(|| other.to_string());
    if let Some(expected) = between(message, " expects ", " argument") {
        let received = message.split_once(" received ").map_or("", |(_, rest)| rest);
        let received: String = received.chars().take_while(char::is_ascii_digit).collect();
        let arguments = if expected == "1" { "argument" } else { "arguments" };
        let message = format!("{upper} takes {expected} {arguments}, not {received}");
        return Some((message, help("give it as many arguments as it takes")));
    }
    let given = last_between(message, "argument types '", "'").map(types);
    let given = given.and_then(|call| Some(call.split_once('(')?.1.strip_suffix(')')?.to_string()));
    if given.as_deref().is_none_or(str::is_empty) {
        return Some((format!("{upper} has no argument here"), help("write its arguments")));
    }
    let message = format!("{upper} cannot take these arguments: {}", given.unwrap_or_default());
    Some((message, help("CAST them to other types, or give it other arguments")))
}

/// How functions are called that are called wrongly most often.
fn usage(name: &str) -> Option<&'static str> {
    Some(match name {
        "date_bin" => "date_bin(INTERVAL '15' MINUTE, ts)",
        "date_part" => "date_part('hour', ts)",
        "date_trunc" => "date_trunc('hour', ts)",
        "round" => "round(x, 2)",
        "split_part" => "split_part(x, ',', 1)",
        "string_agg" => "STRING_AGG(x, ',')",
        "to_char" | "date_format" => "to_char(ts, '%Y-%m-%d')",
        _ => return None,
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}

fn last_between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.rsplit_once(before)?;
    rest.split_once(after).map_or(Some(rest), |(inside, _)| Some(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_sql() {
        assert_eq!(
            plainly("Arrow error: Cast error: Cannot cast string 'Int64x' to value of Int64 type"),
            "Cannot cast string 'Int64x' to value of BIGINT type"
        );
        assert_eq!(plainly("a Timestamp(ms) + Utf8View"), "a TIMESTAMP + VARCHAR");
    }

    #[test]
    fn a_call_s_refusal_says_what_was_given_and_what_is_taken() {
        let message = "Function 'sum' failed to match any signature, errors: Error during planning: Function 'sum' requires Decimal, but received String (DataType: Utf8).,Error during planning: Function 'sum' requires Int64, but received String (DataType: Utf8)..";
        let (message, help) = call(message).unwrap();
        assert_eq!(message, "SUM cannot take an argument of type VARCHAR");
        assert_eq!(help, "CAST the argument to DECIMAL or BIGINT");
        let message = "Function 'upper' expects 1 arguments but received 2. No function matches";
        assert_eq!(call(message).unwrap().0, "UPPER takes 1 argument, not 2");
        let message = "Failed to coerce arguments to satisfy a call to 'to_char' function: coercion failed. No function matches the given name and argument types 'to_char(Timestamp(ms))'. You\n\tCandidate functions:\n";
        let (message, help) = call(message).unwrap();
        assert_eq!(message, "TO_CHAR cannot take these arguments: TIMESTAMP");
        assert_eq!(help, "write to_char(ts, '%Y-%m-%d')");
        assert_eq!(call("No field named a."), None);
    }
}
