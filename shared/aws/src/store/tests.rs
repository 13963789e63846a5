//! The store on DynamoDB Local: the contract of every store, and what only a table can do.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use tidemill_model::limits::ITEM_BYTES_MAX;
use tidemill_testkit::servers::DynamoDbLocal;
use tidemill_testkit::store_contract;
use tokio::task::JoinSet;

use super::*;

mod wire;

async fn new_store(dynamodb: &DynamoDbLocal) -> DynamoStore {
    static TABLES: AtomicUsize = AtomicUsize::new(0);
    let table = format!("state-{}", TABLES.fetch_add(1, Ordering::Relaxed));
    let store = DynamoStore::new(&Aws::emulator(&dynamodb.url()), &table);
    store.create_table().await.unwrap();
    store
}

fn item(bytes: impl AsRef<[u8]>) -> Item {
    Item { bytes: bytes.as_ref().to_vec(), expires_at: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_dynamodb_keeps_the_contract() {
    let dynamodb = DynamoDbLocal::start();
    store_contract(async || new_store(&dynamodb).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_very_many_writers_one_wins() {
    let dynamodb = DynamoDbLocal::start();
    let store = new_store(&dynamodb).await;
    for round in 0..5 {
        let mut writers = JoinSet::new();
        for writer in 0..100u32 {
            let store = store.clone();
            writers.spawn(async move {
                let put = store.put_new("log", &round.to_string(), item(writer.to_string())).await;
                (writer, put)
            });
        }
        let answers = writers.join_all().await;
        assert!(answers.iter().all(|(_, put)| put.is_ok()), "{answers:?}");
        let winners: Vec<u32> = answers
            .into_iter()
            .filter_map(|(writer, put)| (put == Ok(Put::Created)).then_some(writer))
            .collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let stored = store.last("log").await.unwrap().unwrap();
        assert_eq!(stored.item, item(winners[0].to_string()));
    }
}

#[tokio::test]
async fn what_a_table_can_do() {
    let dynamodb = DynamoDbLocal::start();
    items_and_keys_have_limits(&new_store(&dynamodb).await).await;
    time_to_live_is_in_seconds(&new_store(&dynamodb).await).await;
    a_range_reads_little_more_than_it_answers(&new_store(&dynamodb).await.counting()).await;
    requests_and_units_are_counted(&new_store(&dynamodb).await.counting()).await;
    tables_are_checked(&dynamodb).await;
}

async fn items_and_keys_have_limits(store: &DynamoStore) {
    let Err(StoreError::Refused { reason }) =
        store.put_new("p", "big", item(vec![7; ITEM_BYTES_MAX])).await
    else {
        panic!("an item too large is refused");
    };
    assert!(reason.contains("409600") && reason.contains("sk=`big`"), "{reason}");
    let long = "k".repeat(2000);
    let put = store.put_new("p", &long, item("x")).await;
    assert!(matches!(put, Err(StoreError::Refused { .. })), "{put:?}");
    assert_eq!(store.last("p").await, Ok(None));
}

/// As the table has it, not as the store reads it back.
async fn time_to_live_is_in_seconds(store: &DynamoStore) {
    let expires_at = Some(WallMs(1_900_000_000_001));
    let put = store.put_new("p", "a", Item { bytes: vec![1], expires_at }).await;
    assert_eq!(put, Ok(Put::Created));
    let stored = |sk: &'static str| async move {
        let get = store.client.get_item().table_name(store.table()).consistent_read(true);
        let get = get.key("pk", AttributeValue::S("p".into()));
        let found = get.key("sk", AttributeValue::S(sk.into())).send().await.unwrap();
        found.item.map(|item| item["expires_at"].clone())
    };
    assert_eq!(stored("a").await, Some(AttributeValue::N("1900000001".into())));
    assert_eq!(store.expire("p", "a", WallMs(1_950_000_000_000)).await, Ok(()));
    assert_eq!(stored("a").await, Some(AttributeValue::N("1950000000".into())));
    assert_eq!(store.expire("p", "absent", WallMs(1)).await, Ok(()));
    assert_eq!(stored("absent").await, None, "expiring must not create");
    let ttl = store.client.describe_time_to_live().table_name(store.table()).send().await.unwrap();
    let ttl = ttl.time_to_live_description.unwrap();
    assert_eq!(ttl.attribute_name(), Some("expires_at"));
}

async fn a_range_reads_little_more_than_it_answers(store: &DynamoStore) {
    const BYTES: usize = 200_000;
    for n in 0..20 {
        let put = store.put_new("p", &format!("{n:02}"), item(vec![1; BYTES])).await;
        assert_eq!(put, Ok(Put::Created));
    }
    for (limits, rows, requests_max, units_max) in [
        // A page is of 1 MB and perhaps one item more: 256 and 49 units of 4 KiB.
        (Limits { items: 1, bytes: usize::MAX }, 1, 1, 50.0),
        (Limits { items: usize::MAX, bytes: 1 }, 1, 1, 305.0),
        (Limits { items: usize::MAX, bytes: 7 * BYTES }, 7, 2, 610.0),
        (Limits::NONE, 20, 5, 1000.0),
    ] {
        let before = store.consumed().unwrap();
        let found = store.range("p", "", limits).await.unwrap();
        assert_eq!(found.len(), rows, "{limits:?}");
        let after = store.consumed().unwrap();
        let requests = after.requests - before.requests;
        let units = after.read_units - before.read_units;
        assert!(requests <= requests_max, "{limits:?}: {requests} requests");
        assert!(units <= units_max, "{limits:?}: {units} units");
    }
}

async fn requests_and_units_are_counted(store: &DynamoStore) {
    assert_eq!(store.consumed(), Some(Consumed::default()));
    assert_eq!(store.put_new("p", "a", item(vec![1; 3000])).await, Ok(Put::Created));
    let written = store.clone().consumed().unwrap();
    assert_eq!(written, Consumed { requests: 1, write_units: 3.0, read_units: 0.0 });
    store.last("p").await.unwrap();
    let read = store.consumed().unwrap();
    assert_eq!(read, Consumed { requests: 2, write_units: 3.0, read_units: 1.0 });
}

async fn tables_are_checked(dynamodb: &DynamoDbLocal) {
    let store = new_store(dynamodb).await;
    assert_eq!(store.check().await, Ok(()));
    store.create_table().await.unwrap();

    let aws = Aws::emulator(&dynamodb.url());
    let absent = DynamoStore::new(&aws, "absent").check().await.unwrap_err();
    assert!(absent.what.contains("`absent`") && absent.help.contains("create"), "{absent}");

    let (string, number) = (ScalarAttributeType::S, ScalarAttributeType::N);
    for (table, pk, sk, found) in [
        ("number", ("pk", number.clone()), Some(("sk", string.clone())), "pk HASH N, sk RANGE S"),
        ("one-key", ("pk", string.clone()), None, "pk HASH S"),
        ("names", ("id", string.clone()), Some(("at", number)), "id HASH S, at RANGE N"),
        ("turned", ("sk", string.clone()), Some(("pk", string)), "sk HASH S, pk RANGE S"),
    ] {
        let mut create =
            store.client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        for ((name, of), role) in [(Some(pk), KeyType::Hash), (sk, KeyType::Range)]
            .into_iter()
            .filter_map(|(k, r)| Some((k?, r)))
        {
            let key = KeySchemaElement::builder().attribute_name(name).key_type(role);
            let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(of);
            create = create
                .key_schema(key.build().unwrap())
                .attribute_definitions(definition.build().unwrap());
        }
        create.send().await.unwrap();
        let store = DynamoStore::new(&aws, table);
        let fault = store.check().await.unwrap_err();
        assert!(fault.what.contains(found), "{fault}");
        assert!(fault.help.contains("partition key `pk`"), "{fault}");
        // The others take any item that has their key, which is why they are checked.
        if ["number", "names"].contains(&table) {
            let put = store.put_new("p", "s", item("x")).await;
            let Err(StoreError::Refused { reason }) = put else { panic!("{put:?}") };
            assert!(reason.contains("sort key `sk`"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_table_outlives_the_server() {
    let mut dynamodb = DynamoDbLocal::start_on_disk();
    let store = new_store(&dynamodb).await;
    assert_eq!(store.put_new("p", "a", item("kept")).await, Ok(Put::Created));
    dynamodb.restart();
    assert_eq!(store.put_new("p", "a", item("other")).await, Ok(Put::AlreadyExists));
    assert_eq!(store.last("p").await.unwrap().unwrap().item, item("kept"));
}
