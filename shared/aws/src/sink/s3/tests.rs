use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::super::samples::{emission, letter, queries};
use super::*;
use crate::fake_aws::{Answer, FakeAws, Request};

fn sink(aws: &Aws, prefix: &str, format: FileFormat) -> S3Sink {
    S3Sink::new(aws, "out", "bucket", prefix, format, queries(None))
}

fn yes(_: &Request) -> Answer {
    (200, Value::Null)
}

#[tokio::test]
async fn an_epoch_is_one_object_a_query_and_a_replay_is_the_same() {
    let fake = FakeAws::start(yes);
    let mut epoch = emission(4, &["a", "b"]);
    for _ in 0..2 {
        sink(&fake.aws(), "day/", FileFormat::JsonLines).emit(&epoch).await.unwrap();
    }
    let requests = fake.requests("PUT");
    let object = |request: &Request| {
        let path = request.path.split('?').next().unwrap_or_default().to_string();
        (path, request.headers["content-type"].clone(), request.body.clone())
    };
    let (path, content_type, body) = object(&requests[0]);
    assert_eq!(path, "/bucket/day/q/00000000000000000004.jsonl");
    assert_eq!(content_type, "application/x-ndjson");
    let window =
        r#""window_start":"1970-01-01T00:00:00.000Z","window_end":"1970-01-01T00:01:00.000Z""#;
    assert_eq!(
        String::from_utf8(body).unwrap(),
        format!(
            "{{\"result_id\":\"q/4/0\",\"k\":\"a\",{window},\"n\":0}}\n\
             {{\"result_id\":\"q/4/1\",\"k\":\"b\",{window},\"n\":1}}\n"
        )
    );
    assert_eq!(object(&requests[0]), object(&requests[1]));
    assert_eq!(requests.len(), 2, "no object for dead letters that are not there");

    epoch.results.clear();
    epoch.dead_letters = vec![letter("no number")];
    sink(&fake.aws(), "", FileFormat::Parquet).emit(&epoch).await.unwrap();
    let (path, _, body) = object(&fake.requests("PUT")[2]);
    assert_eq!(path, "/bucket/dead_letters/00000000000000000004.jsonl");
    assert!(body.starts_with(br#"{"id":"dead/4/0","reason":"undecodable""#));
}

#[tokio::test]
async fn parquet_objects_are_readable_and_repeatable() {
    let fake = FakeAws::start(yes);
    for _ in 0..2 {
        sink(&fake.aws(), "", FileFormat::Parquet).emit(&emission(4, &["a", "b"])).await.unwrap();
    }
    let requests = fake.requests("PUT");
    assert!(requests[0].path.starts_with("/bucket/q/00000000000000000004.parquet"));
    assert_eq!(requests[0].body, requests[1].body);
    let bytes = Bytes::from(requests[0].body.clone());
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let names: Vec<String> =
        batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["result_id", "k", "window_start", "window_end", "n"]);
    let ids: Vec<String> =
        (0..2).map(|row| super::super::rows::text(batch.column(0).as_ref(), row)).collect();
    assert_eq!(ids, ["q/4/0", "q/4/1"]);
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_a_fault_and_one_that_may_not_be_asked_is_none() {
    for (status, faults) in [(404, 1), (403, 0), (200, 0)] {
        let fake = FakeAws::start(move |_| (status, Value::Null));
        let sink = sink(&fake.aws(), "", FileFormat::JsonLines);
        let found = sink.check().await;
        assert_eq!(found.len(), faults, "{status}: {found:?}");
        if let Some(fault) = found.first() {
            assert!(fault.what.contains("bucket `bucket` of sink `out` does not exist"), "{fault}");
        }
        let mut sink = sink;
        let emitted = sink.emit(&emission(4, &["a"])).await;
        assert_eq!(emitted.is_ok(), status == 200);
    }
}

#[tokio::test]
async fn a_column_that_parquet_cannot_hold_is_a_fault() {
    let mut queries = queries(None);
    let query = queries.get_mut("q").unwrap();
    let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    query.schema = Arc::new(Schema::new(vec![Field::new("i", interval, true)]));
    let fake = FakeAws::start(yes);
    let sink = S3Sink::new(&fake.aws(), "out", "bucket", "", FileFormat::Parquet, queries);
    let faults = sink.check().await;
    assert_eq!(faults.len(), 1);
    assert!(faults[0].what.contains("cannot hold query `q` as Parquet"), "{}", faults[0]);
}
