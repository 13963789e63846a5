use std::sync::Arc;

use tempfile::TempDir;

use super::*;

fn new_store() -> (TempDir, RedbStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&folder.path().join("a.store"), "flights").unwrap();
    (folder, store)
}

fn item(bytes: &str, expires_at: Option<i64>) -> Item {
    Item { bytes: bytes.as_bytes().to_vec(), expires_at: expires_at.map(WallMs) }
}

async fn left(store: &RedbStore) -> Vec<String> {
    let rows = store.range("p", "", Limits::NONE).await.unwrap();
    rows.into_iter().map(|row| row.sk).collect()
}

#[tokio::test]
async fn a_sweep_deletes_what_may_go_and_nothing_else() {
    let (_folder, store) = new_store();
    for (sk, at) in [("a", Some(-5)), ("b", Some(10)), ("c", Some(11)), ("d", None)] {
        assert_eq!(store.put_new("p", sk, item(sk, at)).await, Ok(Put::Created));
    }
    assert_eq!(left(&store).await, ["a", "b", "c", "d"], "nothing goes by itself");
    assert_eq!(store.sweep(WallMs(-6)), Ok(0));
    assert_eq!(store.sweep(WallMs(10)), Ok(2));
    assert_eq!(left(&store).await, ["c", "d"]);
    assert_eq!(store.put_new("p", "a", item("again", None)).await, Ok(Put::Created));
    assert_eq!(store.sweep(WallMs(i64::MAX)), Ok(1));
    assert_eq!(left(&store).await, ["a", "d"]);
}

#[tokio::test]
async fn an_expiry_replaces_the_one_before() {
    let (_folder, store) = new_store();
    assert_eq!(store.put_new("p", "a", item("1", Some(10))).await, Ok(Put::Created));
    assert_eq!(store.put_new("p", "b", item("2", None)).await, Ok(Put::Created));
    store.expire("p", "a", WallMs(100)).await.unwrap();
    store.expire("p", "b", WallMs(50)).await.unwrap();
    let expiries: Vec<_> = store
        .range("p", "", Limits::NONE)
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.item.bytes, row.item.expires_at))
        .collect();
    assert_eq!(expiries, [(b"1".to_vec(), Some(WallMs(100))), (b"2".to_vec(), Some(WallMs(50)))]);
    assert_eq!(store.sweep(WallMs(20)), Ok(0));
    assert_eq!(store.sweep(WallMs(50)), Ok(1));
    assert_eq!(left(&store).await, ["a"]);
    assert_eq!(store.sweep(WallMs(100)), Ok(1));
}

#[tokio::test]
async fn a_long_sweep_takes_several_transactions() {
    let (_folder, store) = new_store();
    let writer = store.writer().unwrap();
    let puts: Vec<Change> = (0..1200)
        .map(|n| Change::Put { key: layout::key("p", &n.to_string()), item: item("", Some(n)) })
        .collect();
    assert!(writer.commit(&puts).iter().all(|answer| *answer == Ok(Put::Created)));
    assert_eq!(store.sweep(WallMs(1099)), Ok(1100));
    assert_eq!(left(&store).await.len(), 100);
}

/// Puts of one key that share a transaction: the first wins.
#[test]
fn one_transaction_keeps_the_contract() {
    let (_folder, store) = new_store();
    let writer = store.writer().unwrap();
    let put = |bytes| Change::Put { key: layout::key("p", "a"), item: item(bytes, None) };
    let answers = writer.commit(&[put("first"), put("second"), put("third")]);
    assert_eq!(answers, [Ok(Put::Created), Ok(Put::AlreadyExists), Ok(Put::AlreadyExists)]);
    assert_eq!(writer.commit(&[put("fourth")]), [Ok(Put::AlreadyExists)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_do_not_wait_for_the_writer() {
    let (_folder, store) = new_store();
    assert_eq!(store.put_new("p", "a", item("1", None)).await, Ok(Put::Created));
    let store = Arc::new(store);
    let open = store.writer().unwrap().database().begin_write().unwrap();
    let waiting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.put_new("p", "b", item("2", None)).await })
    };
    // Both reads end although a transaction is open and a put waits for it.
    assert_eq!(left(&store).await, ["a"]);
    assert_eq!(store.last("p").await.unwrap().unwrap().sk, "a");
    assert!(!waiting.is_finished());
    open.abort().unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(Put::Created));
    assert_eq!(left(&store).await, ["a", "b"]);
}

#[tokio::test]
async fn an_item_of_another_layout_is_damage() {
    let (_folder, store) = new_store();
    let database = store.writer().unwrap().database();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(layout::ITEMS)
        .unwrap()
        .insert(&layout::key("p", "a")[..], &b"\x09"[..])
        .unwrap();
    transaction.commit().unwrap();
    assert!(matches!(store.last("p").await, Err(StoreError::Damaged { .. })));
    let range = store.range("p", "", Limits::NONE).await;
    assert!(matches!(range, Err(StoreError::Damaged { .. })));
    let expire = store.expire("p", "a", WallMs(1)).await;
    assert!(matches!(expire, Err(StoreError::Damaged { .. })));
}
