use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tidemill_testkit::servers::KinesisLocal;

use super::*;
use crate::fake_aws::{Answer, FakeAws, Request, error};

fn record(key: &str, data: &str) -> Record {
    Record { key: key.to_string(), data: data.as_bytes().to_vec() }
}

fn active() -> Answer {
    let summary = json!({
        "StreamName": "clicks", "StreamARN": "arn:aws:kinesis:us-east-1:1:stream/clicks",
        "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24, "OpenShardCount": 1,
        "StreamCreationTimestamp": 1_600_000_000, "EnhancedMonitoring": [],
    });
    (200, json!({ "StreamDescriptionSummary": summary }))
}

/// The data of a request's records.
fn sent(request: &Request) -> Vec<String> {
    let records = request.json()["Records"].as_array().unwrap().clone();
    let text = |record: &Value| {
        let data = BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
        String::from_utf8(data).unwrap()
    };
    records.iter().map(text).collect()
}

/// Takes all records but those whose data is in `refused`.
fn answer(request: &Request, refused: &[&str]) -> Answer {
    let records: Vec<Value> = sent(request)
        .iter()
        .map(|data| match refused.contains(&data.as_str()) {
            true => json!({
                "ErrorCode": "ProvisionedThroughputExceededException",
                "ErrorMessage": "Rate exceeded",
            }),
            false => json!({ "SequenceNumber": "1", "ShardId": "shardId-000000000000" }),
        })
        .collect();
    (200, json!({ "FailedRecordCount": 0, "Records": records }))
}

#[tokio::test]
async fn what_is_refused_is_sent_again_and_nothing_else_is() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let fake = FakeAws::start(move |request| match request.operation() {
        "PutRecords" => match counted.fetch_add(1, Ordering::Relaxed) {
            0 => answer(request, &["2", "3"]),
            1 => error(400, "ProvisionedThroughputExceededException", "slow down"),
            _ => answer(request, &[]),
        },
        _ => active(),
    });
    let put = Put::open(&fake.aws(), "clicks").await.unwrap();
    let records = ["1", "2", "3", "4"].map(|data| record("k", data));
    put.put(records.to_vec()).await.unwrap();
    let requests: Vec<_> = fake.requests("PutRecords").iter().map(sent).collect();
    let again = vec!["2", "3"];
    // The SDK repeats a request that was throttled as a whole, and so do we.
    assert_eq!(requests.first().unwrap(), &["1", "2", "3", "4"]);
    assert!(requests.len() >= 3 && requests[1..].iter().all(|sent| *sent == again), "{requests:?}");
    assert!(put.repeated() >= 2);
}

#[tokio::test]
async fn requests_hold_at_most_500_records() {
    let fake = FakeAws::start(|request| match request.operation() {
        "PutRecords" => answer(request, &[]),
        _ => active(),
    });
    let put = Put::open(&fake.aws(), "clicks").await.unwrap();
    put.put((0..1201).map(|n| record("k", &n.to_string())).collect()).await.unwrap();
    let requests: Vec<_> = fake.requests("PutRecords").iter().map(sent).collect();
    assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 201]);
    let all: Vec<_> = requests.into_iter().flatten().collect();
    assert_eq!(all, (0..1201).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_that_cannot_be_written_says_what_to_do() {
    for (code, part) in [
        ("ResourceNotFoundException", "there is no Kinesis stream `clicks`"),
        ("InternalFailure", "AWS_ENDPOINT_URL"),
    ] {
        let fake = FakeAws::start(move |_| error(400, code, "no"));
        let fault = Put::open(&fake.aws(), "clicks").await.unwrap_err();
        assert!(fault.to_string().contains(part), "{fault}");
    }
    let fake = FakeAws::start(|_| error(400, "AccessDeniedException", "not you"));
    let put = Put::open(&fake.aws(), "clicks").await.unwrap();
    let fault = put.put(vec![record("k", "1")]).await.unwrap_err();
    assert!(fault.help.contains("kinesis:PutRecords"), "{fault}");
    let large = put.put(vec![record("k", &"x".repeat(RECORD_BYTES_MAX))]).await.unwrap_err();
    assert!(large.what.contains("1048577 bytes"), "{large}");

    let fake = FakeAws::start(|request| match request.operation() {
        "PutRecords" => answer(request, &["1"]),
        _ => active(),
    });
    let put = Put::open(&fake.aws(), "clicks").await.unwrap();
    let stuck = put.put(vec![record("k", "1")]).await.unwrap_err();
    assert!(stuck.help.contains("--rate") && stuck.what.contains("Rate exceeded"), "{stuck}");

    let fake = FakeAws::start(|request| match request.operation() {
        "PutRecords" => (200, json!({ "FailedRecordCount": 0, "Records": [] })),
        _ => active(),
    });
    let put = Put::open(&fake.aws(), "clicks").await.unwrap();
    let garbled = put.put(vec![record("k", "1")]).await.unwrap_err();
    assert!(garbled.what.contains("not about the records"), "{garbled}");
}

#[tokio::test]
async fn records_arrive_in_their_order() {
    let kinesis = KinesisLocal::start();
    let aws = Aws::emulator(&kinesis.url());
    let client = Client::new(aws.sdk());
    client.create_stream().stream_name("clicks").shard_count(1).send().await.unwrap();
    let put = loop {
        match Put::open(&aws, "clicks").await {
            Ok(put) => break put,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let key = "ä".repeat(300);
    let records: Vec<_> = (0..600).map(|n| record(&key, &n.to_string())).collect();
    put.put(records).await.unwrap();
    let iterator = client.get_shard_iterator().stream_name("clicks");
    let iterator = iterator
        .shard_id("shardId-000000000000")
        .shard_iterator_type(aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon);
    let iterator = iterator.send().await.unwrap().shard_iterator.unwrap();
    let answer = client.get_records().shard_iterator(iterator).send().await.unwrap();
    let arrived: Vec<_> = answer
        .records
        .iter()
        .map(|r| String::from_utf8(r.data.as_ref().to_vec()).unwrap())
        .collect();
    assert_eq!(arrived, (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
    let mut keys = answer.records.iter().filter_map(|record| record.partition_key.as_ref());
    assert!(keys.all(|key| key.chars().count() == KEY_CHARS_MAX));
}
