//! What queries mean, against an interpreter that knows no rule.

mod conditions;
mod guarded;
mod kept;
mod rules;
mod subqueries;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use tidemill_pipeline::Pipeline;

use crate::leaf::{Feed, ROW};
use crate::query::{PipelinePlan, plan};

const STREAMS: &str = r#"
name = "t"
[streams.s]
format = "json"
columns = { ts = "timestamp_ms", id = "bigint", v = "string", d = "bigint", p = "decimal(10, 2)", j = "int", x = "double" }
event_time = "ts"
[tables.names]
file = "names.csv"
columns = { k = "string", n = "bigint" }
"#;

/// A row of the stream.
#[derive(Debug, Clone, Default)]
struct Row {
    id: i64,
    v: Option<&'static str>,
    d: Option<i64>,
    p: Option<&'static str>,
    j: Option<i64>,
    x: Option<f64>,
}

fn pipeline(sql: &str) -> Pipeline {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("names.csv"), "k,n\na,1\nb,2\n,3\n").unwrap();
    let text = format!("{STREAMS}\n[queries.q]\nsql = '''\n{sql}\n'''\n");
    let parsed = tidemill_pipeline::parse("p.toml", &text, folder.path(), &|_| None);
    let pipeline = parsed.unwrap_or_else(|errors| panic!("{errors:?}"));
    assert!(Path::new(&pipeline.tables["names"].path).exists());
    std::mem::forget(folder);
    pipeline
}

fn planned(sql: &str) -> PipelinePlan {
    plan(&pipeline(sql)).unwrap_or_else(|errors| panic!("{sql}: {:?}", errors.errors))
}

fn refused(sql: &str) -> String {
    match plan(&pipeline(sql)) {
        Ok(_) => panic!("planned: {sql}"),
        Err(errors) => format!("{:?}", miette::Report::new(errors)),
    }
}

/// The physical plan of a query's first stage.
fn lower(sql: &str) -> String {
    let plan = planned(sql);
    let number = plan.queries[0].ingested()[0].0;
    plan.queries[0].lower(number).unwrap().display()
}

/// What a query's first stage gives for rows, without the hidden column.
fn run(sql: &str, rows: &[Row]) -> Result<RecordBatch> {
    let plan = planned(sql);
    let number = plan.queries[0].ingested()[0].0;
    let mut runner = plan.queries[0].lower(number)?;
    let mut output = None;
    let batches = runner.run(|slot| {
        output = Some(slot.wanted());
        Ok(matches!(slot.feed, Feed::Stream(_)).then(|| batch(rows, &slot.wanted())))
    })?;
    match batches.first() {
        Some(first) => Ok(concat_batches(&first.schema(), &batches)?),
        None => Ok(RecordBatch::new_empty(output.unwrap())),
    }
}

/// A column of what a query's first stage gives, as texts.
fn texts(sql: &str, column: usize, rows: &[Row]) -> Vec<Option<String>> {
    let given = run(sql, rows).unwrap_or_else(|error| panic!("{sql}: {error}"));
    if given.num_rows() == 0 {
        return Vec::new();
    }
    let column = cast(given.column(column), &DataType::Utf8).unwrap();
    column.as_string::<i32>().iter().map(|value| value.map(str::to_string)).collect()
}

/// The ids of the rows that a condition lets through.
fn ids(condition: &str, rows: &[Row]) -> Vec<i64> {
    let texts = texts(&format!("SELECT id FROM s WHERE {condition}"), 0, rows);
    texts.into_iter().map(|id| id.unwrap().parse().unwrap()).collect()
}

fn batch(rows: &[Row], wanted: &arrow::datatypes::SchemaRef) -> RecordBatch {
    let columns = wanted.fields().iter().map(|field| -> ArrayRef {
        let array: ArrayRef = match field.name().as_str() {
            "ts" => {
                Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|it| it.id)))
            }
            "id" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|it| it.id))),
            "v" => Arc::new(StringArray::from_iter(rows.iter().map(|it| it.v))),
            "d" => Arc::new(Int64Array::from_iter(rows.iter().map(|it| it.d))),
            "p" => Arc::new(StringArray::from_iter(rows.iter().map(|it| it.p))),
            "j" => Arc::new(Int64Array::from_iter(rows.iter().map(|it| it.j))),
            "x" => Arc::new(Float64Array::from_iter(rows.iter().map(|it| it.x))),
            ROW => Arc::new(UInt32Array::from_iter_values(0..rows.len() as u32)),
            other => panic!("a column {other}"),
        };
        cast(&array, field.data_type()).unwrap()
    });
    RecordBatch::try_new(Arc::clone(wanted), columns.collect()).unwrap()
}
