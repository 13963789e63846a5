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
            ("true", "dead: expected a number of seconds since 1970, found true"),
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

/// A number of seconds with a fraction, as AWS writes creation times, was refused, and so was a number
/// that is written as text. Python: `floor(Fraction(text) * 1000)` as a time.
#[test]
fn times_as_numbers_have_fractions_and_may_be_texts() {
    check(
        ColumnType::TimestampS,
        &[
            ("1710037800.987", "2024-03-10T02:30:00.987"),
            ("1.710037800987E9", "2024-03-10T02:30:00.987"),
            // As a double it would be the next millisecond.
            ("1710037800.98799999999999999", "2024-03-10T02:30:00.987"),
            ("-1.5", "1969-12-31T23:59:58.500"),
            ("-0.0001", "1969-12-31T23:59:59.999"),
            ("\"1700000000.123\"", "2023-11-14T22:13:20.123"),
            ("\"1700000000\"", "2023-11-14T22:13:20"),
            ("\"-1\"", "1969-12-31T23:59:59"),
            ("\"soon\"", "dead: expected a number of seconds since 1970, found the text \"soon\""),
            (
                "\"2024-03-10\"",
                "dead: expected a number of seconds since 1970, found the text \"2024-03-10\"",
            ),
            ("\"\"", "dead: expected a number of seconds since 1970, found the text \"\""),
            (
                "253402300800.0",
                "dead: the number 253402300800.0 lies outside the years 0001 to 9999",
            ),
        ],
    );
    check(
        ColumnType::TimestampMs,
        &[
            ("1700000000123.9", "2023-11-14T22:13:20.123"),
            ("-0.5", "1969-12-31T23:59:59.999"),
            ("\"1700000000123\"", "2023-11-14T22:13:20.123"),
        ],
    );
    check(
        ColumnType::TimestampUs,
        &[
            ("1700000000123999", "2023-11-14T22:13:20.123"),
            ("\"1700000000123999.5\"", "2023-11-14T22:13:20.123"),
        ],
    );
    check(
        ColumnType::TimestampNs,
        &[
            ("1700000000123999999", "2023-11-14T22:13:20.123"),
            ("\"1700000000123999999\"", "2023-11-14T22:13:20.123"),
            ("-1", "1969-12-31T23:59:59.999"),
            ("253402300799999999999", "9999-12-31T23:59:59.999"),
            (
                "253402300800000000000",
                "dead: the number 253402300800000000000 lies outside the years 0001 to 9999",
            ),
        ],
    );
}

/// Texts without an offset were read as UTC whatever clock had written them, and no format but one was
/// read. Python's zoneinfo: New York skipped 02:00 to 03:00 on 2024-03-10 and had 01:00 to 02:00 twice
/// on 2024-11-03.
#[test]
fn a_timestamp_has_a_format_and_a_time_zone() {
    let column = Column {
        format: Some("%d/%m/%Y %H:%M".to_string()),
        time_zone: Some("America/New_York".to_string()),
        ..Column::new("v", ColumnType::TimestampText)
    };
    let mut stream = stream(Format::Json, &[("w", ColumnType::Int64)]);
    stream.columns.push(column);
    stream.event_time = EventTime::Column(1);
    stream.max_future_ms = i64::MAX;
    let decoded = decode(
        &stream,
        &[
            r#"{"w":1,"v":"10/03/2024 01:59"}"#,
            r#"{"w":2,"v":"10/03/2024 02:30"}"#,
            r#"{"w":3,"v":"10/03/2024 03:00"}"#,
            r#"{"w":4,"v":"03/11/2024 01:30"}"#,
            r#"{"w":5,"v":"2024-03-10T03:00:00"}"#,
            r#"{"w":6,"v":20240310}"#,
        ],
    );
    assert_eq!(
        rows(&decoded),
        [["1", "2024-03-10T06:59:00"], ["3", "2024-03-10T07:00:00"], ["4", "2024-11-03T05:30:00"]]
    );
    let details: Vec<&str> = decoded
        .dead
        .iter()
        .map(|(_, letter)| match &letter.reason {
            DeadReason::Undecodable { detail } => detail.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        details,
        [
            "column `v`: the text \"10/03/2024 02:30\" never was in America/New_York: its clocks \
             were put forward past it at byte 11",
            "column `v`: expected a time of the format \"%d/%m/%Y %H:%M\", found the text \
             \"2024-03-10T03:00:00\" at byte 11",
            "column `v`: expected a time of the format \"%d/%m/%Y %H:%M\", found the number \
             20240310 at byte 11",
        ]
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
