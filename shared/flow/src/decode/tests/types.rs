//! Which JSON values which column types take.

use super::*;

/// What a column of this type makes of each JSON value: its text, or what is wrong.
fn taken(data_type: ColumnType, value: &str) -> String {
    let mut stream = stream(Format::Json, &[("v", data_type)]);
    stream.event_time = EventTime::Arrival;
    let decoded = decode(&stream, &[format!(r#"{{"v":{value}}}"#)]);
    match decoded.dead.first() {
        None => rows(&decoded)[0][0].clone(),
        Some((_, letter)) => match &letter.reason {
            DeadReason::Undecodable { detail } => {
                let detail = detail.strip_prefix("column `v`: ").unwrap();
                format!("dead: {}", detail.strip_suffix(" at byte 5").unwrap())
            }
            other => panic!("{other:?}"),
        },
    }
}

fn check(data_type: ColumnType, cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        assert_eq!(taken(data_type, value), *expected, "{data_type:?} of {value}");
    }
    assert_eq!(taken(data_type, "null"), "null", "{data_type:?}");
}

#[test]
fn whole_numbers() {
    check(
        ColumnType::Int64,
        &[
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("3.0", "3"),
            ("1e3", "1000"),
            (
                "9223372036854775808",
                "dead: the number 9223372036854775808 does not fit into bigint",
            ),
            ("1.5", "dead: expected a whole number, found the number 1.5"),
            ("\"1\"", "dead: expected a whole number, found the text \"1\""),
            ("true", "dead: expected a whole number, found true"),
            ("[]", "dead: expected a whole number, found an array"),
            ("{}", "dead: expected a whole number, found an object"),
        ],
    );
    check(
        ColumnType::Int32,
        &[
            ("2147483647", "2147483647"),
            ("-2147483648", "-2147483648"),
            ("2147483648", "dead: the number 2147483648 does not fit into int"),
        ],
    );
}

#[test]
fn floating_point() {
    check(
        ColumnType::Float64,
        &[
            ("1", "1.0"),
            ("-0.1e1", "-1.0"),
            ("0.1", "0.1"),
            ("\"NaN\"", "NaN"),
            ("\"Infinity\"", "inf"),
            ("\"-Infinity\"", "-inf"),
            ("1e400", "dead: the number 1e400 does not fit into double"),
            ("\"1.5\"", "dead: expected a number, found the text \"1.5\""),
            ("\"inf\"", "dead: expected a number, found the text \"inf\""),
        ],
    );
    check(
        ColumnType::Float32,
        &[
            ("0.1", "0.1"),
            // Just above half way between two floats: as a double first it would be half way.
            ("1.00000005960464477540", "1.0000001"),
            ("\"NaN\"", "NaN"),
            ("\"-Infinity\"", "-inf"),
            ("1e39", "dead: the number 1e39 does not fit into float"),
        ],
    );
}

#[test]
fn texts_take_everything() {
    check(
        ColumnType::String,
        &[
            (r#""a\tb é""#, "a\tb é"),
            ("\"\"", ""),
            ("1.50", "1.50"),
            ("true", "true"),
            ("false", "false"),
            (r#"{"a": [1, "\u00e9"]}"#, r#"{"a": [1, "\u00e9"]}"#),
            ("[ 1 ]", "[ 1 ]"),
        ],
    );
}

#[test]
fn booleans() {
    check(
        ColumnType::Boolean,
        &[
            ("true", "true"),
            ("false", "false"),
            ("1", "dead: expected true or false, found the number 1"),
            ("\"true\"", "dead: expected true or false, found the text \"true\""),
        ],
    );
}

#[test]
fn timestamps_and_dates() {
    let at = "2013-01-01T05:15:00";
    check(
        ColumnType::TimestampS,
        &[
            ("1357017300", at),
            ("1357017300.0", at),
            ("-1", "1969-12-31T23:59:59"),
            (
                "9223372036854775807",
                "dead: the number 9223372036854775807 lies outside the years 0001 to 9999",
            ),
            ("1.5", "dead: expected a whole number, found the number 1.5"),
        ],
    );
    check(
        ColumnType::TimestampMs,
        &[
            ("1357017300000", at),
            ("1.3570173e12", at),
            ("253402300799999", "9999-12-31T23:59:59.999"),
            ("-62135596800000", "0001-01-01T00:00:00"),
            (
                "253402300800000",
                "dead: the number 253402300800000 lies outside the years 0001 to 9999",
            ),
        ],
    );
    check(ColumnType::TimestampUs, &[("1357017300000999", at), ("-1", "1969-12-31T23:59:59.999")]);
    check(
        ColumnType::TimestampText,
        &[
            ("\"2013-01-01T00:15:00-05:00\"", at),
            ("\"2013-01-01 05:15:00\"", at),
            ("\"0001-01-01 00:00:00\"", "0001-01-01T00:00:00"),
            (
                "\"0001-01-01T00:00:00+00:01\"",
                "dead: the text \"0001-01-01T00:00:00+00:01\" lies outside the years 0001 to 9999",
            ),
            (
                "\"soon\"",
                "dead: expected a time like 2013-01-31T23:59:59.999Z, found the text \"soon\"",
            ),
            ("1", "dead: expected a time like 2013-01-31T23:59:59.999Z, found the number 1"),
        ],
    );
    check(
        ColumnType::Date,
        &[
            ("\"2013-02-28\"", "2013-02-28"),
            (
                "\"2013-02-29\"",
                "dead: expected a date like 2013-01-31, found the text \"2013-02-29\"",
            ),
            ("15764", "dead: expected a date like 2013-01-31, found the number 15764"),
        ],
    );
}

#[test]
fn decimals() {
    check(
        ColumnType::Decimal { precision: 10, scale: 2 },
        &[
            ("12.34", "12.34"),
            ("0.1", "0.10"),
            ("-1e2", "-100.00"),
            ("1.005", "1.01"),
            ("99999999.99", "99999999.99"),
            ("100000000", "dead: the number 100000000 does not fit into decimal(10, 2)"),
            ("\"12.34\"", "12.34"),
            ("\"-1e2\"", "-100.00"),
            ("\"100000000\"", "dead: the text \"100000000\" does not fit into decimal(10, 2)"),
            ("\" 1\"", "dead: expected a number, found the text \" 1\""),
            ("\"\"", "dead: expected a number, found the text \"\""),
            ("true", "dead: expected a number, found true"),
        ],
    );
}

#[test]
fn a_long_value_is_shown_in_part() {
    let long = format!("\"{}\"", "é".repeat(1000));
    let expected = format!("dead: expected true or false, found the text \"{}…\"", "é".repeat(40));
    check(ColumnType::Boolean, &[(&long, &expected)]);
}
