//! The store contract, on every store of one machine.

use std::sync::atomic::{AtomicU32, Ordering};

use tidemill_embedded::store::RedbStore;
use tidemill_model::store::Limits;
use tidemill_testkit::{Call, Fault, FaultyStore, MemoryStore, store_contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_contract() {
    store_contract(async || MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_faulty_store_without_faults_keeps_the_contract() {
    store_contract(async || FaultyStore::new(MemoryStore::new(), |_: &Call| Fault::None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redb_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let stores = AtomicU32::new(0);
    store_contract(async || {
        let number = stores.fetch_add(1, Ordering::Relaxed);
        RedbStore::open(&folder.path().join(format!("{number}.store")), "contract").unwrap()
    })
    .await;
}

/// What one process put, the next one reads, in the same order and with the same expiry.
#[tokio::test]
async fn redb_keeps_everything_when_it_is_opened_again() {
    use tidemill_model::{
        WallMs,
        store::{Item, Put, Row, Store},
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.store");
    let mut expected: Vec<Row> = Vec::new();
    for round in 0..4i64 {
        let store = RedbStore::open(&path, "again").unwrap();
        assert_eq!(store.range("p", "", Limits::NONE).await.unwrap(), expected);
        for n in 0..5 {
            let sk = format!("{round}-{n}");
            let item = Item {
                bytes: sk.repeat(3000).into_bytes(),
                expires_at: (n % 2 == 0).then_some(WallMs(round * 10 + n)),
            };
            assert_eq!(store.put_new("p", &sk, item.clone()).await, Ok(Put::Created));
            expected.push(Row { sk, item });
        }
    }
    let store = RedbStore::open_read_only(&path).unwrap();
    assert_eq!(store.range("p", "", Limits::NONE).await.unwrap(), expected);
    assert_eq!(store.last("p").await.unwrap(), expected.pop());
}
