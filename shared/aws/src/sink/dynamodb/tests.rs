use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tidemill_testkit::servers::DynamoDbLocal;

use super::super::samples::{emission, letter, queries};
use super::*;
use crate::fake_aws::{FakeAws, Request, error};

fn sink(aws: &Aws, columns: Option<Vec<usize>>) -> DynamoSink {
    DynamoSink::new(aws, "out", "results", queries(columns))
}

async fn create_table(client: &Client, table: &str, sort_key: &str) {
    let key = |name: &str, of_type| {
        KeySchemaElement::builder().attribute_name(name).key_type(of_type).build().unwrap()
    };
    let attribute = |name: &str| {
        let attribute = AttributeDefinition::builder().attribute_name(name);
        attribute.attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    let request = request.key_schema(key("pk", KeyType::Hash));
    let request = request.key_schema(key(sort_key, KeyType::Range));
    let request = request.attribute_definitions(attribute("pk"));
    request.attribute_definitions(attribute(sort_key)).send().await.unwrap();
}

/// What the table holds, item by item: `name=value`, by key.
async fn items(client: &Client) -> Vec<String> {
    let answer = client.scan().table_name("results").send().await.unwrap();
    let mut items: Vec<String> = answer
        .items()
        .iter()
        .map(|item| {
            let mut attributes: Vec<String> = item
                .iter()
                .map(|(name, value)| match value {
                    AttributeValue::S(text) => format!("{name}={text}"),
                    AttributeValue::N(number) => format!("{name}=#{number}"),
                    other => format!("{name}={other:?}"),
                })
                .collect();
            // pk and sk come first, as they would by name but for k and n.
            attributes.sort_by_key(|text| {
                (!text.starts_with("pk="), !text.starts_with("sk="), text.clone())
            });
            attributes.join(" ")
        })
        .collect();
    items.sort();
    items
}

const WINDOW: &str = "1970-01-01T00:00:00.000Z/1970-01-01T00:01:00.000Z";
const COLUMNS: &str = "window_end=1970-01-01T00:01:00.000Z window_start=1970-01-01T00:00:00.000Z";

#[tokio::test]
async fn rows_are_kept_under_their_keys_and_a_replay_changes_nothing() {
    let dynamodb = DynamoDbLocal::start();
    let aws = Aws::emulator(&dynamodb.url());
    let client = Client::new(aws.sdk());
    let mut keyed = sink(&aws, Some(vec![0]));

    let missing = keyed.check().await.unwrap();
    assert!(missing.what.contains("table `results` of sink `out` does not exist"), "{missing}");
    create_table(&client, "results", "range").await;
    let wrong = keyed.check().await.unwrap();
    assert!(wrong.help.contains("`pk`") && wrong.help.contains("`sk`"), "{wrong}");
    client.delete_table().table_name("results").send().await.unwrap();
    create_table(&client, "results", "sk").await;
    assert_eq!(keyed.check().await, None);

    let mut epoch = emission(4, &["a", "b/c"]);
    epoch.dead_letters = vec![letter("no number")];
    for _ in 0..2 {
        assert_eq!(keyed.emit(&epoch).await.unwrap(), Taken::default());
        let items = items(&client).await;
        assert_eq!(items.len(), 3, "{items:?}");
        assert!(
            items[0].starts_with(
                "pk=dead_letters/s/0 sk=00000000000000000004/0000000000 \
             letter={\"id\":\"dead/4/0\",\"reason\":\"undecodable\",\"detail\":\"no number\","
            ),
            "{}",
            items[0]
        );
        assert!(items[0].ends_with("reason=undecodable result_id=dead/4/0"), "{}", items[0]);
        let row = |pk: &str, k: &str, n: i64| {
            format!("pk={pk} sk={WINDOW} k={k} n=#{n} result_id=q/4/{n} {COLUMNS}")
        };
        assert_eq!(items[1..], [row("q/a", "a", 0), row("q/b%2Fc", "b/c", 1)]);
    }
}

#[tokio::test]
async fn rows_without_a_key_are_kept_under_their_ids_and_huge_ones_are_rejected() {
    let dynamodb = DynamoDbLocal::start();
    let aws = Aws::emulator(&dynamodb.url());
    let client = Client::new(aws.sdk());
    create_table(&client, "results", "sk").await;
    // Just below the bound: what counts as fitting must fit.
    let fixed = 2 * (2 + SK.len()) + RESULT_ID.len();
    let spare = ITEM_BYTES_MAX - fixed;
    let (mut most, mut huge) = (String::new(), "x".repeat(spare));
    let mut by_id = sink(&aws, None);
    for length in (0..spare).rev().take(400) {
        most = "x".repeat(length);
        let mut items = Vec::new();
        let mut rejected = Vec::new();
        let epoch = emission(7, &[&most]);
        by_id.results(&epoch.results[0], epoch.epoch, &mut items, &mut rejected).unwrap();
        if rejected.is_empty() {
            break;
        }
        huge.clone_from(&most);
    }
    let taken = by_id.emit(&emission(7, &["a", &huge, &most, "a"])).await.unwrap();
    let detail =
        format!("item too large: {} bytes of at most {ITEM_BYTES_MAX}", ITEM_BYTES_MAX + 1);
    assert_eq!(taken.rejected, [Rejection { query: "q".to_string(), row: 1, detail }]);
    let items = items(&client).await;
    let keys: Vec<Vec<&str>> = items.iter().map(|it| it.split(' ').take(2).collect()).collect();
    let pk = "pk=q/1970-01-01T00:00:00.000Z";
    assert_eq!(keys, [[pk, "sk=q/7/0"], [pk, "sk=q/7/2"], [pk, "sk=q/7/3"]]);
    // A key that is too long for DynamoDB.
    let long = "k".repeat(PK_BYTES_MAX);
    let taken = sink(&aws, Some(vec![0])).emit(&emission(8, &[&long])).await.unwrap();
    assert!(taken.rejected[0].detail.starts_with("partition key too large: 2050 bytes"));
}

fn keys_of(request: &Request) -> Vec<String> {
    let body = request.json();
    let puts = body["RequestItems"]["results"].as_array().unwrap().iter();
    puts.map(|put| put["PutRequest"]["Item"]["pk"]["S"].as_str().unwrap().to_string()).collect()
}

#[tokio::test]
async fn unprocessed_items_are_sent_again() {
    let fake = FakeAws::start(|request| {
        let body = request.json();
        let all = body["RequestItems"]["results"].as_array().unwrap();
        if all.len() < 25 {
            return (200, json!({ "UnprocessedItems": {} }));
        }
        let some: Vec<Value> = vec![all[2].clone(), all[0].clone()];
        (200, json!({ "UnprocessedItems": { "results": some } }))
    });
    let keys: Vec<String> = (0..26).map(|n| format!("{n:02}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    sink(&fake.aws(), Some(vec![0])).emit(&emission(4, &keys)).await.unwrap();
    let mut requests: Vec<_> = fake.requests("BatchWriteItem").iter().map(keys_of).collect();
    requests.sort_by_key(|keys| std::cmp::Reverse(keys.len()));
    let sizes: Vec<usize> = requests.iter().map(Vec::len).collect();
    assert_eq!(sizes, [25, 2, 1]);
    let first = &requests[0];
    assert_eq!(requests[1], [first[0].clone(), first[2].clone()]);
}

#[tokio::test]
async fn two_rows_of_one_key_are_one_item_the_last() {
    let fake = FakeAws::start(|_| (200, json!({ "UnprocessedItems": {} })));
    sink(&fake.aws(), Some(vec![0])).emit(&emission(4, &["a", "b", "a"])).await.unwrap();
    let requests = fake.requests("BatchWriteItem");
    assert_eq!(requests.len(), 1);
    assert_eq!(keys_of(&requests[0]), ["q/a", "q/b"]);
    let puts = &requests[0].json()["RequestItems"]["results"];
    assert_eq!(puts[0]["PutRequest"]["Item"]["result_id"]["S"], "q/4/2");
}

#[tokio::test]
async fn a_table_that_fails_is_named_with_what_to_do() {
    let cases = [
        ("AccessDeniedException", ["denies access", "dynamodb:BatchWriteItem", "role"]),
        ("ResourceNotFoundException", ["does not exist", "create it again", "pipeline file"]),
        ("ValidationException", ["did not take the results", "ValidationException", "next tick"]),
    ];
    for (code, parts) in cases {
        let fake = FakeAws::start(move |_| error(400, code, "it says"));
        let mut sink = sink(&fake.aws(), None);
        let failed = sink.emit(&emission(4, &["a"])).await.unwrap_err();
        assert_eq!(failed.sink, "out");
        for part in parts.iter().chain(&["table `results`", "it says"]) {
            assert!(failed.reason.contains(part), "{failed}");
        }
    }
    let mut nowhere = sink(&Aws::emulator("http://127.0.0.1:1"), None);
    let failed = nowhere.emit(&emission(4, &["a"])).await.unwrap_err();
    assert!(failed.reason.contains("did not take the results"), "{failed}");
    let fault = nowhere.check().await.unwrap();
    assert!(fault.what.contains("cannot be looked at"), "{fault}");
}

#[tokio::test]
async fn a_request_that_is_throttled_as_a_whole_is_tried_again() {
    let calls = AtomicUsize::new(0);
    let fake = FakeAws::start(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => error(400, "ProvisionedThroughputExceededException", "slow down"),
        _ => (200, json!({ "UnprocessedItems": {} })),
    });
    sink(&fake.aws(), None).emit(&emission(4, &["a"])).await.unwrap();
    assert_eq!(fake.requests("BatchWriteItem").len(), 2);
}

#[tokio::test]
async fn an_answer_about_other_items_stops_emission() {
    let other = json!({ "PutRequest": { "Item": { "pk": { "S": "x" }, "sk": { "S": "y" } } } });
    let fake =
        FakeAws::start(move |_| (200, json!({ "UnprocessedItems": { "results": [other] } })));
    let failed = sink(&fake.aws(), None).emit(&emission(4, &["a"])).await.unwrap_err();
    assert!(failed.reason.contains("not about the items"), "{failed}");
}

#[tokio::test]
async fn rows_without_key_and_window_are_kept_by_epoch() {
    let fake = FakeAws::start(|_| (200, json!({ "UnprocessedItems": {} })));
    let mut queries = queries(None);
    let key = &mut queries.get_mut("q").unwrap().key;
    (key.start, key.end) = (None, None);
    let mut sink = DynamoSink::new(&fake.aws(), "out", "results", queries);
    sink.emit(&emission(12, &["a"])).await.unwrap();
    assert_eq!(keys_of(&fake.requests("BatchWriteItem")[0]), ["q/12"]);
}

#[tokio::test]
async fn a_dead_letter_always_fits_an_item() {
    let dynamodb = DynamoDbLocal::start();
    let aws = Aws::emulator(&dynamodb.url());
    let client = Client::new(aws.sdk());
    create_table(&client, "results", "sk").await;
    let mut epoch = Emission::empty(Epoch(4));
    epoch.dead_letters = vec![letter(&"\"".repeat(ITEM_BYTES_MAX))];
    assert_eq!(sink(&aws, None).emit(&epoch).await.unwrap(), Taken::default());
    let items = items(&client).await;
    assert!(items[0].contains("\"shortened_length\":"), "{}", items[0]);
}

/// Rows of an epoch as results that can change have them: upserted, or withdrawn.
fn changing(epoch: u64, key: &str, op: &str, revision: i64) -> Emission {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;

    let mut emission = emission(epoch, &[key]);
    let rows = &emission.results[0].batch;
    let number = (op == "upsert").then_some(revision * 10);
    let columns: [(&str, ArrayRef); 6] = [
        ("k", Arc::clone(rows.column(0))),
        ("window_start", Arc::clone(rows.column(1))),
        ("window_end", Arc::clone(rows.column(2))),
        ("n", Arc::new(Int64Array::from(vec![number]))),
        ("op", Arc::new(StringArray::from(vec![op]))),
        ("revision", Arc::new(Int64Array::from(vec![revision]))),
    ];
    emission.results[0].batch = RecordBatch::try_from_iter(columns).unwrap();
    emission
}

fn changing_sink(aws: &Aws) -> DynamoSink {
    let mut queries = queries(Some(vec![0]));
    queries.get_mut("q").unwrap().can_change = true;
    DynamoSink::new(aws, "out", "results", queries)
}

#[tokio::test]
async fn an_older_epoch_neither_overwrites_a_newer_row_nor_brings_a_withdrawn_one_back() {
    let dynamodb = DynamoDbLocal::start();
    let aws = Aws::emulator(&dynamodb.url());
    let client = Client::new(aws.sdk());
    create_table(&client, "results", "sk").await;
    let mut sink = changing_sink(&aws);
    let row = |epoch: u64, revision: i64, rest: &str| {
        format!(
            "pk=q/a sk={WINDOW} k=a {rest} result_epoch=#{epoch} result_id=q/{epoch}/0 \
             revision=#{revision} {COLUMNS}"
        )
    };
    let first = row(3, 0, "n=#0 op=upsert");
    let second = row(5, 1, "n=#10 op=upsert");
    let gone = row(8, 2, "op=delete");
    let back = row(10, 3, "n=#30 op=upsert");
    for (epoch, op, revision, expected) in [
        (3, "upsert", 0, &first),
        (3, "upsert", 0, &first),
        (5, "upsert", 1, &second),
        (3, "upsert", 0, &second),
        (5, "upsert", 1, &second),
        (8, "delete", 2, &gone),
        (5, "upsert", 1, &gone),
        (3, "upsert", 0, &gone),
        (8, "delete", 2, &gone),
        (10, "upsert", 3, &back),
        (8, "delete", 2, &back),
    ] {
        let taken = sink.emit(&changing(epoch, "a", op, revision)).await.unwrap();
        assert_eq!(taken, Taken::default());
        assert_eq!(items(&client).await, std::slice::from_ref(expected), "after epoch {epoch}");
    }
}

#[tokio::test]
async fn a_table_too_busy_for_a_row_is_asked_again_and_a_failing_one_is_named() {
    let calls = AtomicUsize::new(0);
    let busy = FakeAws::start(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0..4 => error(400, "ProvisionedThroughputExceededException", "slow down"),
        _ => (200, json!({})),
    });
    changing_sink(&busy.aws()).emit(&changing(4, "a", "upsert", 0)).await.unwrap();
    assert_eq!(busy.requests("PutItem").len(), 5);

    let denied = FakeAws::start(|_| error(400, "AccessDeniedException", "it says"));
    let mut sink = changing_sink(&denied.aws());
    let failed = sink.emit(&changing(4, "a", "upsert", 0)).await.unwrap_err();
    assert!(failed.reason.contains("dynamodb:PutItem"), "{failed}");
}
