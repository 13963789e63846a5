//! Which constants are refused, and what is said of them.

use std::path::Path;

use crate::plan;

const STREAM: &str = r#"
name = "t"
[streams.s]
format = "json"
columns = { k = "string", v = "bigint", x = "double", c = "decimal(10, 2)", ts = "timestamp_ms" }
event_time = "ts"
"#;

/// Code, message and help of the refusal of a query; `None`: it is planned.
fn refused(select: &str) -> Option<(String, String)> {
    let sql = match select.starts_with("SELECT") {
        true => select.to_string(),
        false => format!("SELECT {select} AS y FROM s"),
    };
    let text = format!("{STREAM}\n[queries.q]\nsql = '''\n{sql}\n'''\n");
    let pipeline = tidemill_pipeline::parse("p.toml", &text, Path::new("."), &|_| None);
    let errors = plan(&pipeline.unwrap_or_else(|errors| panic!("{errors:?}"))).err()?;
    let error = &errors.errors[0];
    let help = miette::Diagnostic::help(error).map(|help| help.to_string());
    Some((format!("{}: {error}", error.code()), help.unwrap_or_default()))
}

/// Each of these passed `check`, and made a dead letter of every record.
#[test]
fn what_can_never_work_is_refused() {
    for (select, message, help) in [
        ("date_trunc('fortnight', ts)", "no unit 'fortnight'", "quarter, year"),
        ("date_trunc('houre', ts)", "no unit 'houre'", "did you mean 'hour'?"),
        ("date_part('houre', ts)", "no part 'houre'", "did you mean 'hour'?"),
        ("EXTRACT(CENTURIES FROM ts)", "no part 'CENTURIES'", "isoyear"),
        ("ts AT TIME ZONE 'Europe/Berln'", "'Europe/Berln'", "did you mean 'Europe/Berlin'?"),
        ("ts AT TIME ZONE 'Berlin'", "'Berlin'", "did you mean 'Europe/Berlin'?"),
        ("ts AT TIME ZONE 'Mars'", "'Mars'", "'+02:00'"),
        ("regexp_match(k, '(a')", "unclosed group", "'\\('"),
        ("regexp_replace(k, '[a', 'b')", "'[a'", "'\\('"),
        ("regexp_like(k, '(?=a)')", "look-ahead", "no look-ahead"),
        ("regexp_count(k, '*')", "'*'", "'\\('"),
        ("k ~ '(a'", "unclosed group", "'\\('"),
        ("k !~* 'a{2'", "'a{2'", "'\\('"),
        ("to_char(ts, '%Q')", "'%Q' is no format", "strftime"),
        ("date_format(ts, '%Y-%Q')", "'%Y-%Q' is no format", "strftime"),
        ("to_timestamp(k, '%Q')", "'%Q' is no format", "strftime"),
        ("date_bin(INTERVAL '0' MINUTE, ts)", "length", "above zero"),
        ("split_part(k, ',', 0)", "with 0", "another number"),
        ("v / 0", "with 0", "NULLIF"),
        ("v % 0", "with 0", "NULLIF"),
        ("c / 0", "with 0", "NULLIF"),
        ("1 / 0", "1 / 0 can never work", "correct"),
        ("CASE WHEN v > 1 THEN 1 / 0 ELSE 2 END", "1 / 0", "never taken"),
        ("COALESCE(v, CAST('abc' AS BIGINT))", "'abc'", "TRY_CAST"),
        ("CASE WHEN false THEN 1 ELSE CAST('x' AS INT) END", "'x'", "INT"),
        ("date_trunc('hou' || 're', ts)", "'houre'", "'hour'"),
        ("ts > '2024-13-01'", "'2024-13-01'", "TIMESTAMP"),
        ("DATE '2024-02-30'", "'2024-02-30'", "DATE"),
        ("v = 'abc'", "'abc'", "BIGINT"),
        ("SELECT k FROM s WHERE k ~ '('", "unclosed group", "'\\('"),
        (
            "SELECT k, window_end, SUM(v) FILTER (WHERE k ~ '(') AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_end",
            "unclosed group",
            "'\\('",
        ),
        (
            "SELECT k, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '1' DAY) GROUP BY k, window_end HAVING COUNT(*) > 1 / 0",
            "1 / 0",
            "correct",
        ),
        (
            "SELECT k FROM s WHERE EXISTS (SELECT 1 FROM s b WHERE b.k = s.k AND b.k ~ '(' AND b.ts BETWEEN s.ts AND s.ts + INTERVAL '1' DAY)",
            "unclosed group",
            "'\\('",
        ),
    ] {
        let (said, way_out) = refused(select).unwrap_or_else(|| panic!("planned: {select}"));
        assert!(said.starts_with("plan::constant"), "{select}: {said}");
        assert!(said.contains(message), "{select}: {said}");
        assert!(way_out.contains(help), "{select}: {said}: {way_out}");
        assert!(!said.contains("Arrow") && !said.contains("Int64"), "{select}: {said}");
    }
}

#[test]
fn what_can_work_is_planned() {
    for select in [
        "date_trunc('HOUR', ts)",
        "date_part('dow', ts)",
        "ts AT TIME ZONE 'Europe/Berlin'",
        "ts AT TIME ZONE '+02:00'",
        "regexp_match(k, '^(a)+$')",
        "k ~ NULL",
        "to_char(ts, '%Y-%m-%dT%H:%M:%S%.3f')",
        "to_timestamp(k, '%d/%m/%Y %H:%M:%S %z')",
        "x / 0",
        "1.0 / 0",
        "v / NULLIF(v, 0)",
        "TRY_CAST('abc' AS INT)",
        "CAST(k AS INT)",
        "CASE WHEN v <> 0 THEN 1 / v END",
        "COALESCE(1, 2)",
        "split_part(k, ',', v)",
        "ts > '2024-01-01'",
    ] {
        assert_eq!(refused(select), None, "{select}");
    }
}
