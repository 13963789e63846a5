use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidemill_testkit::servers::KinesisLocal;

use super::super::samples::{emission, letter, queries};
use super::*;
use crate::fake_aws::{FakeAws, error};

fn sink(aws: &Aws) -> KinesisSink {
    KinesisSink::new(aws, "out", "results", queries(Some(vec![0])))
}

/// The rows' numbers in a request, or the dead letters' ids.
fn rows(request: &crate::fake_aws::Request) -> Vec<String> {
    let body = request.json();
    let records = body["Records"].as_array().unwrap().iter();
    records
        .map(|record| {
            let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            let data: Value = serde_json::from_slice(&data).unwrap();
            let id = data.get("result_id").or_else(|| data.get("id")).unwrap();
            id.as_str().unwrap().to_string()
        })
        .collect()
}

fn answer(records: &[bool]) -> (u16, Value) {
    let record = |taken: &bool| match taken {
        true => json!({ "SequenceNumber": "1", "ShardId": "shardId-000000000000" }),
        false => json!({
            "ErrorCode": "ProvisionedThroughputExceededException",
            "ErrorMessage": "Rate exceeded",
        }),
    };
    let failed = records.iter().filter(|taken| !**taken).count();
    let records: Vec<Value> = records.iter().map(record).collect();
    (200, json!({ "FailedRecordCount": failed, "Records": records }))
}

#[tokio::test]
async fn a_record_that_was_refused_is_not_overtaken_by_a_later_one_of_its_key() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let fake = FakeAws::start(move |request| {
        let count = request.json()["Records"].as_array().unwrap().len();
        // The first request's first record is refused.
        let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        answer(&(0..count).map(|index| !(is_first && index == 0)).collect::<Vec<_>>())
    });
    let taken = sink(&fake.aws()).emit(&emission(4, &["a", "b", "a", "c"])).await.unwrap();
    assert_eq!(taken, Taken::default());
    let requests: Vec<_> = fake.requests("PutRecords").iter().map(rows).collect();
    assert_eq!(requests, [vec!["q/4/0", "q/4/1", "q/4/3"], vec!["q/4/0"], vec!["q/4/2"]]);
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_down() {
    let fake = FakeAws::start(|request| {
        let count = request.json()["Records"].as_array().unwrap().len();
        answer(&vec![false; count])
    });
    let failed = sink(&fake.aws()).emit(&emission(4, &["a"])).await.unwrap_err();
    assert_eq!(failed.sink, "out");
    assert!(failed.reason.contains("stream `results` still refuses"), "{failed}");
    assert!(failed.reason.contains("Rate exceeded"), "{failed}");
}

#[tokio::test]
async fn denied_access_names_the_action_to_allow() {
    let fake = FakeAws::start(|_| error(400, "AccessDeniedException", "not you"));
    let failed = sink(&fake.aws()).emit(&emission(4, &["a"])).await.unwrap_err();
    for part in ["stream `results`", "not you", "kinesis:PutRecords", "role"] {
        assert!(failed.reason.contains(part), "{failed}");
    }
    // A role that may write but not look is enough.
    assert_eq!(sink(&fake.aws()).check().await, None);
}

#[tokio::test]
async fn results_and_dead_letters_arrive_at_a_stream() {
    let kinesis = KinesisLocal::start();
    let aws = Aws::emulator(&kinesis.url());
    let client = Client::new(aws.sdk());
    let mut sink = sink(&aws);
    let missing = sink.check().await.unwrap();
    assert!(missing.what.contains("stream `results` of sink `out` does not exist"), "{missing}");
    client.create_stream().stream_name("results").shard_count(1).send().await.unwrap();
    let is_active = async || {
        let answer = client.describe_stream_summary().stream_name("results").send().await.unwrap();
        answer.stream_description_summary.unwrap().stream_status == StreamStatus::Active
    };
    while !is_active().await {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(sink.check().await, None);

    let huge = "x".repeat(RECORD_BYTES_MAX);
    let mut emission = emission(4, &["a", &huge, "b"]);
    emission.dead_letters = vec![letter("no number")];
    let taken = sink.emit(&emission).await.unwrap();
    let rejected: Vec<usize> = taken.rejected.iter().map(|rejection| rejection.row).collect();
    assert_eq!(rejected, [1]);

    let shards = client.list_shards().stream_name("results").send().await.unwrap();
    let shard = shards.shards.unwrap().remove(0).shard_id;
    let iterator = client.get_shard_iterator().stream_name("results").shard_id(shard);
    let iterator = iterator.shard_iterator_type("TRIM_HORIZON".into()).send().await.unwrap();
    let read = client.get_records().shard_iterator(iterator.shard_iterator.unwrap());
    let records: BTreeMap<String, String> = read
        .send()
        .await
        .unwrap()
        .records
        .into_iter()
        .map(|record| {
            let data = String::from_utf8(record.data.into_inner()).unwrap();
            (record.partition_key.unwrap(), data)
        })
        .collect();
    let keys: Vec<&str> = records.keys().map(String::as_str).collect();
    assert_eq!(keys, ["dead_letters/s/0", "q/a", "q/b"]);
    assert_eq!(
        records["q/b"],
        r#"{"query":"q","result_id":"q/4/2","k":"b","window_start":"1970-01-01T00:00:00.000Z","window_end":"1970-01-01T00:01:00.000Z","n":2}"#
    );
    assert!(records["dead_letters/s/0"].starts_with(r#"{"id":"dead/4/0","reason":"undecodable""#));
}

#[tokio::test]
async fn an_answer_about_other_records_stops_emission() {
    let fake = FakeAws::start(|_| answer(&[true]));
    let failed = sink(&fake.aws()).emit(&emission(4, &["a", "b"])).await.unwrap_err();
    assert!(failed.reason.contains("not about the records"), "{failed}");
}

#[tokio::test]
async fn a_stream_that_is_being_deleted_is_a_fault() {
    for (status, is_fault) in [("ACTIVE", false), ("UPDATING", false), ("DELETING", true)] {
        let fake = FakeAws::start(move |_| {
            let summary = json!({
                "StreamName": "results", "StreamARN": "arn:aws:kinesis:x:1:stream/results",
                "StreamStatus": status, "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 0, "EnhancedMonitoring": [], "OpenShardCount": 1,
            });
            (200, json!({ "StreamDescriptionSummary": summary }))
        });
        let fault = sink(&fake.aws()).check().await;
        assert_eq!(fault.is_some(), is_fault, "{status}: {fault:?}");
    }
}
