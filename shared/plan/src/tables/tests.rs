//! What is found of tables without declared columns, and how declared ones are read.

use std::path::Path;

use arrow::array::{ArrayRef, Int64Array};
use arrow::util::display::array_value_to_string;
use tidemill_pipeline::Pipeline;

use super::*;
use crate::{explain, plan};

#[test]
fn a_table_that_grows_too_large_is_refused_while_it_is_read() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![7; 1000]));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let endless = || std::iter::repeat_with(|| Ok::<_, ArrowError>(batch.clone()));
    assert_eq!(bounded(endless().take(10), 100_000).unwrap().len(), 10);
    assert!(bounded(endless(), 100_000).unwrap_err().to_string().contains("100000 bytes"));
}

/// A pipeline of one stream, the table `t` in a file of this name, and these queries.
fn pipeline(
    folder: &Path,
    file: &str,
    contents: &[u8],
    columns: &str,
    queries: &[&str],
) -> Pipeline {
    std::fs::write(folder.join(file), contents).unwrap();
    let mut text = format!(
        r#"
name = "p"
[streams.s]
format = "json"
columns = {{ ts = "timestamp_ms", code = "string", n = "bigint" }}
event_time = "ts"
[tables.t]
file = "{file}"
{columns}
"#
    );
    for (number, sql) in queries.iter().enumerate() {
        text += &format!("[queries.q{number}]\nsql = '''{sql}'''\n");
    }
    tidemill_pipeline::parse("p.toml", &text, folder, &|_| None)
        .unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// What `explain` says of the table's columns, for each query.
fn found(file: &str, contents: &str, queries: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(folder.path(), file, contents.as_bytes(), "", queries);
    let plan = plan(&pipeline).unwrap_or_else(|errors| panic!("{:?}", errors.errors));
    let columns = |text: String| {
        let lines = text.lines().skip_while(|line| !line.contains("types found"));
        let lines = lines.skip(1).take_while(|line| line.starts_with("    "));
        lines.map(str::trim).collect::<Vec<_>>().join("; ")
    };
    plan.queries.iter().map(|query| columns(explain(query))).collect()
}

const BY_NUMBER: &str = "SELECT s.n, t.* FROM s JOIN t ON t.k = s.n";

/// The rows of the table: each value's text, `∅` for null.
fn rows(
    file: &str,
    contents: &[u8],
    columns: &str,
    as_text: &[&str],
) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(folder.path(), file, contents, columns, &["SELECT n FROM s"]);
    let as_text = as_text.iter().map(|name| name.to_string()).collect();
    let table = read_file(&pipeline.tables["t"], &as_text)?;
    let rows = table.batches.iter().flat_map(|batch| {
        (0..batch.num_rows()).map(|row| {
            let text = |column: &ArrayRef| match column.is_null(row) {
                true => "∅".to_string(),
                false => array_value_to_string(column, row).unwrap(),
            };
            batch.columns().iter().map(text).collect::<Vec<_>>().join("|")
        })
    });
    Ok(rows.collect())
}

/// Codes with leading zeros were numbers: 01234 and 1234 were the same. Numbers past 64 bits stopped
/// the table, and as doubles two of them would be the same.
#[test]
fn a_csv_column_is_numbers_only_if_every_text_is_one() {
    let table = "k,zip,big,mixed,x,dot,plus,none,quoted\n\
                 1,01234,1,1,1.5,.5,+1,,\"7\"\n\
                 -2,99999,9223372036854775808,SW1A,2,5.,2,,\"8\"\n\
                 0,10000,3,2,1e3,0.25,3,,\"-9\"\n";
    assert_eq!(
        found("t.csv", table, &[BY_NUMBER]),
        ["k bigint; zip string; big string; mixed string; x double; dot double; plus string; \
          none string; quoted bigint"]
    );
    assert_eq!(rows("t.csv", table.as_bytes(), "", &[]).unwrap()[0], "1|01234|1|1|1.5|0.5|+1|∅|7");
}

/// Quoted empty text was null in tables, and is text in streams.
#[test]
fn quoted_empty_text_is_text_and_an_empty_field_is_null() {
    let table = "k,name\r\n,null\r\n\"\",empty\r\n\"x\ny\",\"q\"\"\"\r\n";
    assert_eq!(rows("t.csv", table.as_bytes(), "", &[]).unwrap(), ["∅|null", "|empty", "x\ny|q\""]);
    let columns = "columns = { name = \"string\", k = \"string\" }";
    assert_eq!(
        rows("t.csv", table.as_bytes(), columns, &[]).unwrap(),
        ["null|∅", "empty|", "q\"|x\ny"]
    );
    // It is no number, so the others of its column are none.
    assert_eq!(found("t.csv", "k,v\n1,5\n2,\"\"\n", &[BY_NUMBER]), ["k bigint; v string"]);
}

/// A column of codes that look like numbers was compared as numbers with a text column, and what was
/// no number in the stream became a dead letter.
#[test]
fn a_column_that_is_compared_with_a_text_column_is_text() {
    let table = "zip,k,v\n1234,1,2.50\n5678,2,3\n";
    let text = "zip string, as it is compared with a text; k bigint; v double";
    let number = "zip bigint; k bigint; v double";
    for (sql, expected) in [
        ("SELECT s.n FROM s JOIN t ON t.zip = s.code", text),
        ("SELECT s.n, t.v FROM s LEFT JOIN t ON s.code = t.zip AND t.k = s.n", text),
        ("SELECT s.n FROM s JOIN t ON upper(s.code) = t.zip", text),
        ("SELECT s.n FROM s, t WHERE t.zip = s.code", text),
        ("SELECT s.n FROM s JOIN (SELECT zip AS z FROM t WHERE k = 1) u ON u.z = s.code", text),
        ("WITH u AS (SELECT DISTINCT zip FROM t) SELECT s.n FROM s JOIN u ON u.zip = s.code", text),
        ("SELECT n FROM s WHERE code IN (SELECT zip FROM t)", text),
        ("SELECT n FROM s WHERE EXISTS (SELECT 1 FROM t WHERE t.zip = s.code)", text),
        (
            "SELECT a.code, t.v FROM (SELECT code, window_end, COUNT(*) AS c FROM TUMBLE(s, ts, \
             INTERVAL '1' DAY) GROUP BY code, window_end) a JOIN t ON t.zip = a.code",
            text,
        ),
        ("SELECT s.n FROM s JOIN t ON t.zip = s.n", number),
        ("SELECT s.n FROM s JOIN t ON t.k = s.n AND t.zip = '1234'", number),
        ("SELECT s.n FROM s JOIN t ON CAST(t.zip AS VARCHAR) = s.code", number),
    ] {
        assert_eq!(found("t.csv", table, &[sql]), [expected], "{sql}");
    }
    assert_eq!(
        rows("t.csv", table.as_bytes(), "", &["zip", "v"]).unwrap(),
        ["1234|1|2.50", "5678|2|3"]
    );
}

#[test]
fn what_is_text_for_one_query_is_text_for_all() {
    let table = "code,k\n1234,1\n";
    let queries =
        ["SELECT s.n, t.code FROM s JOIN t ON t.k = s.n", "SELECT s.n FROM s JOIN t USING (code)"];
    let text = "code string, as it is compared with a text; k bigint";
    assert_eq!(found("t.csv", table, &queries), [text, text]);
    assert_eq!(found("t.csv", table, &queries[..1]), ["code bigint; k bigint"]);
}

/// What a column was taken for from the first 10,000 lines stopped the table at a later one; whole
/// numbers of more than 64 bits became doubles, the last digits lost.
#[test]
fn json_columns_are_found_from_all_lines() {
    let mut table =
        "{\"k\": 1, \"a\": 1, \"id\": 1, \"o\": {\"x\": [1]}, \"b\": true, \"x\": 1.50}\n"
            .repeat(10_001);
    table += "\n{\"k\": 2, \"a\": \"x\", \"id\": 11111111111111111111, \"b\": null, \"x\": 2}\n";
    let columns =
        "a string; b boolean; id string; k bigint; o Struct(\"x\": List(Int64)); x double";
    assert_eq!(found("t.jsonl", &table, &[BY_NUMBER]), [columns]);
    let read = rows("t.jsonl", table.as_bytes(), "", &["x"]).unwrap();
    assert_eq!(read.len(), 10_002);
    assert_eq!(read[0], "1|true|1|1|{x: [1]}|1.50");
    assert_eq!(read[10_001], "x|∅|11111111111111111111|2|∅|2");
    let joined = ["SELECT s.n FROM s JOIN t ON t.k = s.code"];
    assert!(found("t.jsonl", &table, &joined)[0].contains("; k string, as it is compared"));
}

#[test]
fn a_parquet_column_that_is_compared_with_a_text_is_text() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("t.parquet")).unwrap();
    let k: ArrayRef = Arc::new(Int64Array::from(vec![Some(1234), None]));
    let at: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1.5, -0.0005]));
    let batch = RecordBatch::try_from_iter([("k", k), ("at", at)]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let bytes = std::fs::read(folder.path().join("t.parquet")).unwrap();
    assert_eq!(rows("t.parquet", &bytes, "", &["k"]).unwrap(), ["1234|1.5", "∅|-0.0005"]);
    let pipeline = pipeline(
        folder.path(),
        "t.parquet",
        &bytes,
        "",
        &["SELECT s.n FROM s JOIN t ON t.k = s.code"],
    );
    let text = explain(&plan(&pipeline).unwrap().queries[0]);
    assert!(text.contains("k string, as it is compared with a text"), "{text}");
    assert!(text.contains("at double"), "{text}");
    let columns = "columns = { k = \"string\", at = \"timestamp_s\" }";
    assert_eq!(
        rows("t.parquet", &bytes, columns, &[]).unwrap(),
        ["1234|1970-01-01T00:00:01.500", "∅|1969-12-31T23:59:59.999"]
    );
}

/// Declared columns of tables were read by other rules than a stream's: no path into objects, no
/// fraction of a second, other spellings of times.
#[test]
fn declared_columns_are_read_as_a_streams_are() {
    let columns = r#"columns = { at = { type = "timestamp", format = "%d/%m/%Y", time_zone = "Europe/Paris" }, s = "timestamp_s", d = "decimal(10, 2)" }"#;
    let csv = "s,d,at\n1.5,1.005,10/07/2024\n\"\",,\n";
    assert_eq!(
        rows("t.csv", csv.as_bytes(), columns, &[]).unwrap(),
        ["2024-07-09T22:00:00|1970-01-01T00:00:01.500|1.01", "∅|∅|∅"]
    );
    let columns = r#"columns = { sku = { type = "string", path = "items[1].sku" }, n = "bigint" }"#;
    let json = "\u{feff}{\"n\":1,\"items\":[{},{\"sku\":\"A\"}]}\n\n{\"n\":2}";
    assert_eq!(rows("t.jsonl", json.as_bytes(), columns, &[]).unwrap(), ["A|1", "∅|2"]);
    for (file, contents, expected) in [
        ("t.csv", "n,sku\n1,a\nx,b\n", "the CSV header has no column `items[1].sku`"),
        (
            "t.jsonl",
            "{\"n\":1}\n{\"n\":1.5}\n",
            "line 2: column `n`: expected a whole number, found the number 1.5 at byte 5",
        ),
        ("t.jsonl", "{\"n\":1}\n[1]\n", "line 2: expected an object at byte 0"),
    ] {
        assert_eq!(rows(file, contents.as_bytes(), columns, &[]).unwrap_err(), expected);
    }
    let columns = "columns = { n = \"bigint\" }";
    let error = |contents: &str| rows("t.csv", contents.as_bytes(), columns, &[]).unwrap_err();
    assert_eq!(error("n,m\n1,2\n\n1\n"), "line 4: expected 2 fields, found 1 at byte 1");
    assert_eq!(error("n,m\n\"1\n,2\n"), "line 2: the quoted field does not end at byte 0");
    assert_eq!(error(""), "the file is empty: it has no header");
}
