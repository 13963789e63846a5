use proptest::prelude::*;
use serde::de::IgnoredAny;
use tidemill_model::ColumnType;

use super::*;

/// A column at this path, in which `#0` is an element of a list.
fn column(path: &[&str]) -> Column {
    let step = |step: &&str| match step.strip_prefix('#') {
        Some(index) => PathStep::Element(index.parse().unwrap()),
        None => PathStep::Member(step.to_string()),
    };
    let column = Column::new(path.join("_"), ColumnType::String);
    Column { path: path.iter().map(step).collect(), ..column }
}

fn reader(paths: &[&[&str]]) -> (JsonReader, Vec<usize>) {
    JsonReader::new(&paths.iter().map(|path| column(path)).collect::<Vec<_>>())
}

/// The wanted values of one record as texts of their kind.
fn values(paths: &[&[&str]], record: &str) -> Vec<String> {
    let (mut reader, slots) = reader(paths);
    read_values(&mut reader, &slots, record)
}

fn read_values(reader: &mut JsonReader, slots: &[usize], record: &str) -> Vec<String> {
    reader.read(record).unwrap();
    slots.iter().map(|slot| format!("{:?}", reader.value(*slot, record).unwrap())).collect()
}

fn fault(record: &str) -> (usize, &'static str) {
    let fault = reader(&[&["a"]]).0.read(record).unwrap_err();
    (fault.at, fault.what)
}

#[test]
fn values_have_their_own_text() {
    let record = r#" { "n" : -1.50e+2 , "t":true,"f":false, "z":null, "o": {"x": [1, {}]} ,
        "a":[ ] ,"s":"é\"" , "p":"plain" } "#;
    let paths: &[&[&str]] =
        &[&["n"], &["t"], &["f"], &["z"], &["o"], &["a"], &["s"], &["p"], &["absent"]];
    assert_eq!(
        values(paths, record),
        [
            r#"Number("-1.50e+2")"#,
            "Bool(true)",
            "Bool(false)",
            "Null",
            r#"Composite("{\"x\": [1, {}]}")"#,
            r#"Composite("[ ]")"#,
            r#"Text("é\"")"#,
            r#"Text("plain")"#,
            "Null",
        ]
    );
}

#[test]
fn paths_lead_into_objects() {
    let paths: &[&[&str]] = &[&["user", "id"], &["user"], &["user", "at", "lon"], &["user", "id"]];
    let record = r#"{"user":{"id":1,"at":{"lat":2,"lon":3},"x":{}}}"#;
    let user = r#"Composite("{\"id\":1,\"at\":{\"lat\":2,\"lon\":3},\"x\":{}}")"#;
    assert_eq!(values(paths, record), [r#"Number("1")"#, user, r#"Number("3")"#, r#"Number("1")"#]);
    assert_eq!(values(paths, r#"{"user":5}"#), ["Null", r#"Number("5")"#, "Null", "Null"]);
    assert_eq!(values(paths, r#"{"id":1}"#), ["Null"; 4]);
}

/// A path with an index was the name of a member, which no record has: null for ever.
#[test]
fn paths_lead_into_lists() {
    let paths: &[&[&str]] =
        &[&["i", "#0", "sku"], &["i", "#2"], &["i"], &["i", "#0"], &["m", "#1", "#0"], &["i", "n"]];
    let record = r#"{"m":[[],[7,8]],"i":[ {"sku":"A","x":[1]} , 5 ,"t" , {} ]}"#;
    let list = r#"Composite("[ {\"sku\":\"A\",\"x\":[1]} , 5 ,\"t\" , {} ]")"#;
    let first = r#"Composite("{\"sku\":\"A\",\"x\":[1]}")"#;
    let expected = [r#"Text("A")"#, r#"Text("t")"#, list, first, r#"Number("7")"#, "Null"];
    assert_eq!(values(paths, record), expected);
    let nothing = ["Null", "Null", r#"Composite("[ ]")"#, "Null", "Null", "Null"];
    assert_eq!(values(paths, r#"{"i":[ ],"m":[]}"#), nothing);
    // The same member may be an object in another record, or neither.
    let object = values(paths, r#"{"i":{"n":1,"0":2},"m":3}"#);
    assert_eq!(object[5], r#"Number("1")"#);
    assert_eq!([&object[0], &object[1], &object[3], &object[4]], ["Null"; 4]);
    // Of two members of one name the last counts, with all that is in it.
    let twice = values(paths, r#"{"i":[{"sku":"A"},1,2],"i":[9]}"#);
    assert_eq!([&twice[0], &twice[1], &twice[3]], ["Null", "Null", r#"Number("9")"#]);
}

#[test]
fn lists_on_a_path_are_read_whole() {
    for (record, at, what) in [
        (r#"{"a":[1 2]}"#, 8, "expected `,` or `]`"),
        (r#"{"a":[1,]}"#, 8, "expected a value"),
        (r#"{"a":[1,2"#, 9, "expected `,` or `]`"),
        (r#"{"a":[}"#, 6, "expected a value"),
        (r#"{"a":[1,{"b":tru}]}"#, 13, "expected a value"),
    ] {
        let fault = reader(&[&["a", "#0"]]).0.read(record).unwrap_err();
        assert_eq!((fault.at, fault.what), (at, what), "{record}");
    }
    let path = vec!["#0"; 2 * JSON_DEPTH_MAX];
    let path: Vec<&str> = ["x"].into_iter().chain(path).collect();
    let deep = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let (mut reader, _) = reader(&[&path]);
    reader.read(&deep(JSON_DEPTH_MAX - 1)).unwrap();
    assert_eq!(reader.read(&deep(JSON_DEPTH_MAX)).unwrap_err().what, scan::TOO_DEEP);
}

#[test]
fn of_two_members_of_one_name_the_last_counts() {
    assert_eq!(values(&[&["a"]], r#"{"a":1,"b":2,"a":"x"}"#), [r#"Text("x")"#]);
    assert_eq!(values(&[&["a"]], r#"{"a":1,"\u0061":null}"#), ["Null"]);
    let paths: &[&[&str]] = &[&["u", "i"], &["u", "j"]];
    assert_eq!(values(paths, r#"{"u":{"i":1},"u":{"j":2}}"#), ["Null", r#"Number("2")"#]);
    assert_eq!(values(paths, r#"{"u":{"i":1},"u":7}"#), ["Null", "Null"]);
}

#[test]
fn what_was_seen_before_changes_nothing() {
    let paths: &[&[&str]] = &[&["a"], &["b"], &["u", "i"]];
    let records = [
        r#"{"a":1,"b":2,"u":{"i":3}}"#,
        r#"{"b":2,"a":1}"#,
        r#"{"u":{"x":0,"i":3},"a":1,"b":2}"#,
        r#"{"a":1}"#,
        r#"{}"#,
        r#"{ "a" :1,"c":9,"b":2}"#,
        r#"{"a":1,"b":2,"u":{"i":3}}"#,
        r#"{"a":"b","b":"a","u":{}}"#,
        r#"{"a": 1, "b":  2, "u": { "i":	3 }}"#,
    ];
    let (mut warm, slots) = reader(paths);
    for round in 0..3 {
        for record in records.iter().cycle().skip(round).step_by(round + 1).take(16) {
            assert_eq!(read_values(&mut warm, &slots, record), values(paths, record), "{record}");
        }
    }
}

/// What was remembered of a record without space made the space of the next one a mistake, and so a
/// dead letter of every record of a second producer that writes JSON otherwise.
#[test]
fn space_before_values_may_come_and_go_from_record_to_record() {
    let paths: &[&[&str]] = &[&["a"], &["u", "i"]];
    let (mut warm, slots) = reader(paths);
    for record in
        [r#"{"a":1,"u":{"i":2}}"#, r#"{"a": 1, "u": {"i": 2}}"#, "{\"a\":\n1,\"u\":\t{\"i\":  2}}"]
    {
        let found = read_values(&mut warm, &slots, record);
        assert_eq!(found, [r#"Number("1")"#, r#"Number("2")"#], "{record}");
    }
}

#[test]
fn escapes_become_their_characters() {
    let record = r#"{"a":"\"\\\/\b\f\n\r\t\u00e9\u20ac\ud83c\udf0a!"}"#;
    let (mut reader, slots) = reader(&[&["a"]]);
    reader.read(record).unwrap();
    let text = "\"\\/\u{8}\u{c}\n\r\té€🌊!";
    assert_eq!(reader.value(slots[0], record), Ok(Value::Text(text)));
    for lone in [r#"{"a":"x\ud83c"}"#, r#"{"a":"x\ud83c\u0041"}"#, r#"{"a":"x\udf0a\ud83c"}"#] {
        reader.read(lone).unwrap();
        let fault = reader.value(slots[0], lone).unwrap_err();
        assert_eq!((fault.at, fault.what), (7, "unpaired surrogate"), "{lone}");
    }
    // Nobody wants these texts.
    reader.read(r#"{"\ud83c":1,"b":"\ud83c","a":{"c":"\ud83c"}}"#).unwrap();
}

#[test]
fn faults_say_where() {
    for (record, at, what) in [
        ("", 0, "empty record"),
        (" \t\r\n", 4, "empty record"),
        ("[1]", 0, "expected an object"),
        ("17", 0, "expected an object"),
        ("\u{feff}{}", 0, "expected an object"),
        ("{", 1, "expected `,` or `}`"),
        ("{,}", 1, "expected a member name in quotes"),
        (r#"{"a":1,}"#, 7, "expected a member name in quotes"),
        (r#"{"a":1 "b":2}"#, 7, "expected `,` or `}`"),
        (r#"{"a" 1}"#, 5, "expected `:`"),
        (r#"{"a":}"#, 5, "expected a value"),
        (r#"{"a":NaN}"#, 5, "expected a value"),
        (r#"{"a":Infinity}"#, 5, "expected a value"),
        (r#"{"a":-Infinity}"#, 6, "expected a digit"),
        (r#"{"a":+1}"#, 5, "expected a value"),
        (r#"{"a":01}"#, 6, "a number begins with 0"),
        (r#"{"a":1.}"#, 7, "expected a digit"),
        (r#"{"a":1e}"#, 7, "expected a digit"),
        (r#"{"a":tru}"#, 5, "expected a value"),
        (r#"{"a":"x}"#, 8, "the string does not end"),
        ("{\"a\":\"\n\"}", 6, "control character in a string"),
        (r#"{"a":"\x"}"#, 6, "unknown escape"),
        (r#"{"a":"\u12g4"}"#, 6, "unknown escape"),
        (r#"{"b":[1 2]}"#, 8, "expected `,` or `]`"),
        (r#"{"b":[1,]}"#, 8, "expected a value"),
        (r#"{"b":[}"#, 6, "expected a value"),
        (r#"{"b":{"c":1]}"#, 11, "expected `,` or `}`"),
        (r#"{} {}"#, 3, "expected the end of the record"),
        (r#"{},"#, 2, "expected the end of the record"),
    ] {
        assert_eq!(fault(record), (at, what), "{record}");
    }
}

#[test]
fn nesting_is_bounded_wanted_or_not() {
    let nested = |name: &str, open: &str, close: &str, levels: usize| {
        format!("{{\"{name}\":{}1{}}}", open.repeat(levels - 1), close.repeat(levels - 1))
    };
    for name in ["a", "skipped"] {
        for (open, close) in [("[", "]"), ("{\"x\":", "}"), ("[{\"x\":[", "]}]")] {
            let each = open.matches(['[', '{']).count();
            let levels = (JSON_DEPTH_MAX - 1) / each;
            let (mut reader, _) = reader(&[&["a"]]);
            reader.read(&nested(name, open, close, levels + 1)).unwrap();
            let deep = nested(name, open, close, levels + 2);
            assert_eq!(reader.read(&deep).unwrap_err().what, scan::TOO_DEEP);
            let deepest = nested(name, open, close, 1_000_000);
            assert_eq!(reader.read(&deepest).unwrap_err().what, scan::TOO_DEEP);
        }
    }
    // Along a declared path.
    let path = vec!["x"; 2 * JSON_DEPTH_MAX];
    let deep = nested("x", "{\"x\":", "}", JSON_DEPTH_MAX + 1);
    assert_eq!(reader(&[&path]).0.read(&deep).unwrap_err().what, scan::TOO_DEEP);
}

/// Texts that are JSON objects or nearly so.
fn nearly_json() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        "[{}\\[\\],:]",
        Just("\"a\"".to_string()),
        Just("\"b\":".to_string()),
        Just("\"\\u0061\"".to_string()),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?([eE][+-]?[0-9])?",
        "true|false|null|nul| |\"|\\\\|\u{1}|é",
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| format!("{{{}}}", tokens.concat()))
}

/// A JSON value without floats: their texts are not unique.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec(("[ab]|.{0,3}", inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A value on one line with a space before each member's value.
fn spaced(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(members) => {
            let members = members.iter().map(|(name, value)| {
                format!("{}: {}", serde_json::Value::from(name.as_str()), spaced(value))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn accepts_what_serde_accepts(texts in prop::collection::vec(nearly_json(), 1..8)) {
        let (mut reader, _) = reader(&[&["a"], &["b", "a"], &["b", "#0", "#0"]]);
        for text in &texts {
            let serde = serde_json::from_str::<IgnoredAny>(text).is_ok();
            prop_assert_eq!(reader.read(text).is_ok(), serde, "{}", text);
        }
    }

    #[test]
    fn finds_what_serde_finds(
        records in prop::collection::vec((any_json(), 0..3u8), 1..8),
    ) {
        let paths: &[&[&str]] = &[
            &["a"],
            &["b", "a"],
            &["b", "b", "a"],
            &["a", "#0"],
            &["b", "#1", "a"],
            &["a", "#0", "#0"],
        ];
        let (mut reader, slots) = reader(paths);
        for (record, spelling) in &records {
            let text = match spelling {
                0 => record.to_string(),
                1 => format!("{record:#}"),
                // The same line, with a space after each colon.
                _ => spaced(record),
            };
            prop_assert_eq!(reader.read(&text).is_ok(), record.is_object());
            if !record.is_object() {
                continue;
            }
            for (path, slot) in paths.iter().zip(&slots) {
                let expected = path.iter().try_fold(record, |value, step| match step.strip_prefix('#') {
                    Some(index) => value.get(index.parse::<usize>().unwrap()),
                    None => value.get(step),
                });
                match (reader.value(*slot, &text).unwrap(), expected) {
                    (Value::Null, None | Some(serde_json::Value::Null)) => {}
                    (Value::Bool(found), Some(value)) => prop_assert_eq!(Some(found), value.as_bool()),
                    (Value::Text(found), Some(value)) => prop_assert_eq!(Some(found), value.as_str()),
                    (Value::Number(found), Some(value)) => prop_assert_eq!(found, value.to_string()),
                    (Value::Composite(found), Some(value)) => {
                        prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(found).unwrap(), value);
                    }
                    (found, expected) => prop_assert!(false, "{found:?} is not {expected:?}"),
                }
            }
        }
    }

    #[test]
    fn any_text_is_answered(text in ".{0,64}") {
        let _ = reader(&[&["a"]]).0.read(&text);
    }
}
