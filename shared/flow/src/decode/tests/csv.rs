use super::*;

fn flights() -> Stream {
    stream(
        Format::Csv,
        &[
            ("ts", ColumnType::TimestampMs),
            ("origin", ColumnType::String),
            ("delay", ColumnType::Float64),
            ("flight", ColumnType::Int64),
            ("cancelled", ColumnType::Boolean),
        ],
    )
}

#[test]
fn fields_are_the_columns_in_order() {
    let decoded = decode(
        &flights(),
        &[
            r#"1,EWR,-2.5,1545,true"#,
            r#"2,"E ""W"", R",NaN,0007,false"#,
            r#"3,,,,"#,
            r#""4","","","","""#,
            r#"5, E"W ,-Infinity,1e3,true"#,
        ],
    );
    assert_eq!(decoded.dead, []);
    let rows = rows(&decoded);
    assert_eq!(rows[0][1..], ["EWR", "-2.5", "1545", "true"]);
    assert_eq!(rows[1][1..], [r#"E "W", R"#, "NaN", "7", "false"]);
    assert_eq!(rows[2][1..], ["null", "null", "null", "null"]);
    assert_eq!(rows[3][1..], ["", "null", "null", "null"]);
    assert_eq!(rows[4][1..], [r#" E"W "#, "-inf", "1000", "true"]);
}

#[test]
fn bad_records_say_what_and_where() {
    for (record, expected) in [
        (&b"   "[..], "empty record at byte 0"),
        (b"1,EWR,2,3", "expected 5 fields, found 4 at byte 9"),
        (b"1,EWR,2,3,true,", "expected 5 fields, found 6 at byte 15"),
        (b"1,\"EWR,2,3,true", "the quoted field does not end at byte 2"),
        (b"1,\"EWR\"x,2,3,true", "expected `,` after the closing quote at byte 7"),
        (b"1,\xff,2,3,true", "not UTF-8 at byte 2"),
        (b"1,EWR, 2,3,true", "column `delay`: expected a number, found ` 2` at byte 6"),
        (b"1,EWR,inf,3,true", "column `delay`: expected a number, found `inf` at byte 6"),
        (b"1,EWR,2,+3,true", "column `flight`: expected a whole number, found `+3` at byte 8"),
        (b"1,EWR,2,3,yes", "column `cancelled`: expected true or false, found `yes` at byte 10"),
    ] {
        assert_eq!(detail(&flights(), record), expected);
    }
    assert_eq!(reason(&flights(), ",EWR,2,3,true"), DeadReason::NoEventTime);
}

#[test]
fn the_header_gives_the_order() {
    let header = br#"flight,more,cancelled,"ts",origin,delay"#;
    let mut decoder = Decoder::new(&flights(), Some(header)).unwrap();
    let decoded = decoder.decode(&log(), batch(&["1545,x,false,7,EWR,2"]));
    assert_eq!(rows(&decoded), [["1970-01-01T00:00:00.007", "EWR", "2.0", "1545", "false"]]);
    let decoded = decoder.decode(&log(), batch(&["1545,false,7,EWR,2"]));
    assert_eq!(decoded.dead.len(), 1);
}

#[test]
fn a_header_that_does_not_fit_is_refused() {
    let error = |header: &[u8]| Decoder::new(&flights(), Some(header)).unwrap_err().to_string();
    assert_eq!(
        error(b"ts,Origin,delay,flight,cancelled"),
        "the CSV header has no column `origin`; did you mean `Origin`?. It must be \
         the input's first line. stream=`s` columns_in_header=`5`"
    );
    assert_eq!(
        error(b"ts,origin,delay,flight"),
        "the CSV header has no column `cancelled`. It must be the input's first line. stream=`s` \
         columns_in_header=`4`"
    );
    assert!(error(b"ts,origin,dealy,flight,cancelled").contains("did you mean `dealy`?"));
    assert_eq!(
        error(b"ts,origin,delay,flight,cancelled,delay"),
        "the CSV header has two columns `delay`. stream=`s`"
    );
    assert_eq!(error(b"ts,\xff"), "the CSV header cannot be read: not UTF-8 at byte 3. stream=`s`");
    assert_eq!(
        error(b"ts,\"origin"),
        "the CSV header cannot be read: the quoted field does not end. stream=`s`"
    );
}

proptest! {
    /// Whatever the csv crate writes is read back.
    #[test]
    fn written_records_are_read(texts in prop::collection::vec("[a-z\", é]{0,6}", 4)) {
        let names: Vec<String> = (0..4).map(|index| format!("c{index}")).collect();
        let columns: Vec<(&str, ColumnType)> =
            names.iter().map(|name| (name.as_str(), ColumnType::String)).collect();
        let mut writer = ::csv::WriterBuilder::new()
            .quote_style(::csv::QuoteStyle::NonNumeric)
            .from_writer(Vec::new());
        writer.write_record(&texts).unwrap();
        let line = writer.into_inner().unwrap();
        let decoded = decode(&stream(Format::Csv, &columns), &[line.trim_ascii_end()]);
        prop_assert_eq!(rows(&decoded), [texts]);
    }
}
