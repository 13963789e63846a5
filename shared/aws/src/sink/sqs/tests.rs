use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::super::samples::{emission, letter, queries};
use super::*;
use crate::fake_aws::{Answer, FakeAws, Request as Seen, error};

const FIFO: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/results.fifo";
const STANDARD: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/results";

fn sink(aws: &Aws, queue_url: &str) -> SqsSink {
    SqsSink::new(aws, "shop", "out", queue_url, queries(Some(vec![0])))
}

fn entries(request: &Seen) -> Vec<Value> {
    request.json()["Entries"].as_array().unwrap().clone()
}

/// Takes all but the messages of these indexes.
fn answer(request: &Seen, failed: &[usize], sender_fault: bool) -> Answer {
    let id = |index: &usize| entries(request)[*index]["Id"].clone();
    let (bad, good): (Vec<usize>, Vec<usize>) =
        (0..entries(request).len()).partition(|index| failed.contains(index));
    let good: Vec<Value> = good
        .iter()
        .map(|index| json!({ "Id": id(index), "MessageId": "m", "MD5OfMessageBody": "x" }))
        .collect();
    let bad: Vec<Value> = bad
        .iter()
        .map(|index| {
            json!({ "Id": id(index), "Code": "Odd", "Message": "hm", "SenderFault": sender_fault })
        })
        .collect();
    (200, json!({ "Successful": good, "Failed": bad }))
}

#[tokio::test]
async fn a_fifo_message_has_its_key_as_group_and_an_id_that_a_replay_repeats() {
    let fake = FakeAws::start(|request| answer(request, &[], false));
    let mut epoch = emission(4, &["a", "ä b"]);
    epoch.dead_letters = vec![letter("no number")];
    sink(&fake.aws(), FIFO).emit(&epoch).await.unwrap();
    sink(&fake.aws(), FIFO).emit(&epoch).await.unwrap();
    let requests = fake.requests("SendMessageBatch");
    assert_eq!(requests[0].json()["QueueUrl"], FIFO);
    let first = entries(&requests[0]);
    assert_eq!(first, entries(&requests[1]), "a replay sends the same");

    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_string();
    let attribute = |entry: &Value, name: &str| {
        assert_eq!(entry["MessageAttributes"][name]["DataType"], "String");
        entry["MessageAttributes"][name]["StringValue"].as_str().unwrap().to_string()
    };
    assert_eq!(
        text(&first[0], "MessageBody"),
        r#"{"k":"a","window_start":"1970-01-01T00:00:00.000Z","window_end":"1970-01-01T00:01:00.000Z","n":0}"#
    );
    assert_eq!(text(&first[0], "MessageGroupId"), "q/a");
    assert!(text(&first[0], "MessageDeduplicationId").starts_with("q/4/0/"));
    assert_eq!(attribute(&first[0], "result_id"), "q/4/0");
    assert_eq!(attribute(&first[0], "query"), "q");
    // Characters that a group cannot have.
    let group = text(&first[1], "MessageGroupId");
    assert!(group.starts_with("q/#") && group.is_ascii(), "{group}");
    assert_eq!(attribute(&first[2], "reason"), "undecodable");
    assert_eq!(text(&first[2], "MessageGroupId"), "dead_letters/s/0");

    // Another pipeline, or the same with new state, may give other rows the same ids.
    let other = SqsSink::new(&fake.aws(), "other", "out", FIFO, queries(Some(vec![0])));
    let ids = |sink: &SqsSink, body: &str| {
        let message = Message {
            key: "q".to_string(),
            is_ordered: true,
            id: "q/4/0".to_string(),
            about: ("query", "q".to_string()),
            body: body.as_bytes().to_vec(),
        };
        sink.entry(0, message).unwrap().item.message_deduplication_id.unwrap()
    };
    let own = sink(&fake.aws(), FIFO);
    assert_eq!(ids(&own, "{}"), ids(&own, "{}"));
    assert_ne!(ids(&own, "{}"), ids(&other, "{}"));
    assert_ne!(ids(&own, "{}"), ids(&own, "{\"n\":1}"));
}

#[tokio::test]
async fn a_standard_queue_gets_ten_at_a_time_and_no_fifo_ids() {
    let fake = FakeAws::start(|request| answer(request, &[], false));
    let keys: Vec<String> = (0..23).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    sink(&fake.aws(), STANDARD).emit(&emission(4, &keys)).await.unwrap();
    let requests = fake.requests("SendMessageBatch");
    let mut sizes: Vec<usize> = requests.iter().map(|request| entries(request).len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 10, 10]);
    let entry = &entries(&requests[0])[0];
    assert!(entry.get("MessageGroupId").is_none(), "{entry}");
    assert!(entry.get("MessageDeduplicationId").is_none(), "{entry}");
}

#[tokio::test]
async fn messages_that_failed_are_sent_again_before_later_ones_of_their_group() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let fake = FakeAws::start(move |request| {
        let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        answer(request, if is_first { &[0] } else { &[] }, false)
    });
    sink(&fake.aws(), FIFO).emit(&emission(4, &["a", "b", "a"])).await.unwrap();
    let sent: Vec<Vec<String>> = fake
        .requests("SendMessageBatch")
        .iter()
        .map(|request| {
            let ids = entries(request).into_iter().map(|entry| {
                let id = &entry["MessageAttributes"]["result_id"]["StringValue"];
                id.as_str().unwrap().to_string()
            });
            ids.collect()
        })
        .collect();
    assert_eq!(sent, [vec!["q/4/0", "q/4/1"], vec!["q/4/0"], vec!["q/4/2"]]);
}

#[tokio::test]
async fn what_no_attempt_will_mend_is_not_tried_again() {
    let fake = FakeAws::start(|request| answer(request, &[0], true));
    let failed = sink(&fake.aws(), STANDARD).emit(&emission(4, &["a"])).await.unwrap_err();
    assert!(failed.reason.contains("Odd: hm"), "{failed}");
    assert_eq!(fake.requests("SendMessageBatch").len(), 1);
}

#[tokio::test]
async fn characters_that_sqs_refuses_are_escaped_and_large_rows_rejected() {
    let fake = FakeAws::start(|request| answer(request, &[], false));
    let huge = "x".repeat(MESSAGE_BYTES_MAX);
    let taken = sink(&fake.aws(), STANDARD)
        .emit(&emission(4, &["\u{fffe}\u{ffff}\u{1}", &huge]))
        .await
        .unwrap();
    assert_eq!(taken.rejected.len(), 1);
    assert_eq!(taken.rejected[0].row, 1);
    let requests = fake.requests("SendMessageBatch");
    let body = entries(&requests[0])[0]["MessageBody"].as_str().unwrap().to_string();
    let taken_by_sqs = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    assert!(body.chars().all(taken_by_sqs), "{body:?}");
    let row: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(row["k"], "\u{fffe}\u{ffff}\u{1}");
}

#[tokio::test]
async fn a_queue_that_is_missing_or_narrow_is_a_fault() {
    let missing = FakeAws::start(|_| {
        error(400, "com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")
    });
    let fault = sink(&missing.aws(), STANDARD).check().await.unwrap();
    assert!(fault.what.contains("does not exist"), "{fault}");
    let failed = sink(&missing.aws(), STANDARD).emit(&emission(4, &["a"])).await.unwrap_err();
    assert!(failed.reason.contains("create it again"), "{failed}");
    for (most, is_fault) in
        [("1024", true), ("262143", true), ("262144", false), ("1048576", false)]
    {
        let queue =
            FakeAws::start(move |_| (200, json!({ "Attributes": { "MaximumMessageSize": most } })));
        let fault = sink(&queue.aws(), STANDARD).check().await;
        assert_eq!(fault.is_some(), is_fault, "{most}: {fault:?}");
        assert!(fault.is_none_or(|fault| fault.what.contains(most)));
    }
}

#[tokio::test]
async fn an_answer_about_other_messages_stops_emission() {
    let fake = FakeAws::start(|_| (200, json!({ "Successful": [], "Failed": [] })));
    let failed = sink(&fake.aws(), STANDARD).emit(&emission(4, &["a"])).await.unwrap_err();
    assert!(failed.reason.contains("not about the messages"), "{failed}");
}
