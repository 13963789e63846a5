//! The store contract (`tidemill_model::store`) as a test that every store passes.

#![allow(clippy::unwrap_used, reason = "a test by another name: what fails here fails the test")]

use std::sync::Arc;

use tidemill_model::{
    WallMs,
    limits::SEGMENT_BYTES_MAX,
    store::{Item, Limits, Put, Row, Store},
};
use tokio::task::JoinSet;

/// Checks every clause of the contract; panics at the first that does not hold.
///
/// `new_store` gives an empty store each time. Call it on a runtime of several threads: the races
/// are real only there.
pub async fn store_contract<S: Store + 'static>(new_store: impl AsyncFn() -> S) {
    a_key_is_won_once(&new_store().await).await;
    keys_are_exact(&new_store().await).await;
    empty_keys_and_values_are_kept(&new_store().await).await;
    order_is_the_byte_order_of_sort_keys(&new_store().await).await;
    limits_cut_a_range(&new_store().await).await;
    pages_cover_a_range(&new_store().await).await;
    big_items_come_back_whole(&new_store().await).await;
    expiring_is_housekeeping(&new_store().await).await;
    one_of_many_writers_wins(Arc::new(new_store().await)).await;
    writers_of_other_keys_do_not_disturb(Arc::new(new_store().await)).await;
    an_answered_put_is_seen(Arc::new(new_store().await)).await;
}

fn item(bytes: impl AsRef<[u8]>) -> Item {
    Item { bytes: bytes.as_ref().to_vec(), expires_at: None }
}

fn row(sk: &str, bytes: impl AsRef<[u8]>) -> Row {
    Row { sk: sk.to_string(), item: item(bytes) }
}

async fn create<S: Store>(store: &S, pk: &str, sk: &str, bytes: impl AsRef<[u8]>) {
    assert_eq!(store.put_new(pk, sk, item(bytes)).await, Ok(Put::Created), "{pk:?} {sk:?}");
}

async fn keys<S: Store>(store: &S, pk: &str, from_sk: &str, limits: Limits) -> Vec<String> {
    let rows = store.range(pk, from_sk, limits).await.unwrap();
    rows.into_iter().map(|row| row.sk).collect()
}

/// A key is won once, and the loser changes nothing, neither value nor expiry.
async fn a_key_is_won_once<S: Store>(store: &S) {
    let first = Item { bytes: b"first".to_vec(), expires_at: Some(WallMs(77_000)) };
    assert_eq!(store.put_new("log", "0", first.clone()).await, Ok(Put::Created));
    for loser in [item("second"), first.clone(), item("")] {
        assert_eq!(store.put_new("log", "0", loser).await, Ok(Put::AlreadyExists));
    }
    let stored = Row { sk: "0".to_string(), item: first };
    assert_eq!(store.last("log").await, Ok(Some(stored.clone())));
    assert_eq!(store.range("log", "", Limits::NONE).await, Ok(vec![stored]));
}

/// A key that begins like another is another key, and no separator joins two keys into one.
async fn keys_are_exact<S: Store>(store: &S) {
    let pairs = [
        ("log", "0"),
        ("lo", "g0"),
        ("log/", "0"),
        ("log/a", "0"),
        ("log0", ""),
        ("log\u{0}", "0"),
        ("l", "og0"),
        ("Log", "0"),
        ("é", "0"),
        ("e\u{301}", "0"),
        ("日本語/κλειδί/🌊", "0"),
    ];
    for (number, (pk, sk)) in pairs.iter().enumerate() {
        create(store, pk, sk, number.to_string()).await;
    }
    for (number, (pk, sk)) in pairs.iter().enumerate() {
        let only = row(sk, number.to_string());
        assert_eq!(store.last(pk).await, Ok(Some(only.clone())), "{pk:?}");
        assert_eq!(store.range(pk, "", Limits::NONE).await, Ok(vec![only]), "{pk:?}");
    }
    for absent in ["", "lo/", "log/a/", "log00", "日本"] {
        assert_eq!(store.last(absent).await, Ok(None), "{absent:?}");
        assert_eq!(store.range(absent, "", Limits::NONE).await, Ok(vec![]), "{absent:?}");
    }
}

async fn empty_keys_and_values_are_kept<S: Store>(store: &S) {
    create(store, "p", "", "").await;
    create(store, "p", "x", "").await;
    assert_eq!(store.put_new("p", "", item("other")).await, Ok(Put::AlreadyExists));
    assert_eq!(store.range("p", "", Limits::NONE).await, Ok(vec![row("", ""), row("x", "")]));
    assert_eq!(store.last("p").await, Ok(Some(row("x", ""))));
}

/// Whatever order they were put in, items come in the byte order of their sort keys.
async fn order_is_the_byte_order_of_sort_keys<S: Store>(store: &S) {
    let mut sorted = [
        "",
        "\u{0}",
        "\u{0}\u{0}",
        "0",
        "00",
        "01",
        "1",
        "10",
        "2",
        "A",
        "Z",
        "a",
        "a/b",
        "aa",
        "z",
        "~",
        "\u{7f}",
        "\u{80}",
        "é",
        "\u{7ff}",
        "ﬀ",
        "\u{ffff}",
        "🌊",
        "\u{10ffff}",
    ];
    for sk in sorted.iter().rev() {
        create(store, "p", sk, sk).await;
    }
    create(store, "o", "zzz", "").await;
    create(store, "q", "0", "").await;
    sorted.sort_unstable_by_key(|sk| sk.as_bytes());
    assert_eq!(keys(store, "p", "", Limits::NONE).await, sorted);
    assert_eq!(store.last("p").await, Ok(Some(row("\u{10ffff}", "\u{10ffff}"))));
    for (index, from) in sorted.iter().enumerate() {
        assert_eq!(keys(store, "p", from, Limits::NONE).await, sorted[index..], "from {from:?}");
    }
    assert_eq!(keys(store, "p", "a/", Limits::NONE).await, sorted[12..], "between two keys");
    assert_eq!(keys(store, "p", "\u{10ffff}\u{0}", Limits::NONE).await, [""; 0]);
}

/// Fewer items than there are only when a limit was reached; the first comes whatever its size.
async fn limits_cut_a_range<S: Store>(store: &S) {
    for sk in ["a", "b", "c", "d"] {
        create(store, "p", sk, "0123456789").await;
    }
    let with = |items, bytes| keys(store, "p", "", Limits { items, bytes });
    let unlimited = usize::MAX;
    assert_eq!(with(1, unlimited).await, ["a"]);
    assert_eq!(with(3, unlimited).await, ["a", "b", "c"]);
    assert_eq!(with(4, unlimited).await, ["a", "b", "c", "d"]);
    assert_eq!(with(9, unlimited).await, ["a", "b", "c", "d"]);
    assert_eq!(with(unlimited, 0).await, ["a"]);
    assert_eq!(with(unlimited, 9).await, ["a"]);
    assert_eq!(with(unlimited, 10).await, ["a"]);
    assert_eq!(with(unlimited, 11).await, ["a", "b"]);
    assert_eq!(with(unlimited, 30).await, ["a", "b", "c"]);
    assert_eq!(with(2, 11).await, ["a", "b"]);
    assert_eq!(with(1, 35).await, ["a"]);
    let limits = Limits { items: 2, bytes: unlimited };
    assert_eq!(keys(store, "p", "bb", limits).await, ["c", "d"]);
}

/// Reading on from behind the last key gives every item once, and an empty page only at the end.
async fn pages_cover_a_range<S: Store>(store: &S) {
    let all: Vec<String> = (0..57).map(|n| format!("{n:03}")).collect();
    for sk in &all {
        create(store, "p", sk, "x".repeat(sk.len() * 7)).await;
    }
    for limits in [Limits { items: 10, bytes: usize::MAX }, Limits { items: 99, bytes: 50 }] {
        let mut read: Vec<String> = Vec::new();
        loop {
            let from = read.last().map_or(String::new(), |last| format!("{last}\u{0}"));
            let page = keys(store, "p", &from, limits).await;
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read, all);
    }
}

/// The largest segment, beside others, byte for byte. (Answers of a store may come in pages.)
async fn big_items_come_back_whole<S: Store>(store: &S) {
    let big =
        |seed: u8| -> Vec<u8> { (0..SEGMENT_BYTES_MAX).map(|n| (n % 251) as u8 ^ seed).collect() };
    for n in 0..6u8 {
        create(store, "p", &n.to_string(), big(n)).await;
    }
    let rows = store.range("p", "", Limits::NONE).await.unwrap();
    assert_eq!(rows.len(), 6);
    for (n, found) in (0..6u8).zip(rows) {
        assert!(found == row(&n.to_string(), big(n)), "item {n} differs");
    }
    assert!(store.last("p").await == Ok(Some(row("5", big(5)))));
}

/// Expiring an item that is there or not is no error, and says nothing about other items.
async fn expiring_is_housekeeping<S: Store>(store: &S) {
    let far = WallMs(32_503_680_000_000);
    create(store, "p", "a", "1").await;
    create(store, "p", "b", "2").await;
    assert_eq!(store.expire("p", "a", far).await, Ok(()));
    assert_eq!(store.expire("p", "a", far).await, Ok(()));
    assert_eq!(store.expire("p", "absent", far).await, Ok(()));
    assert_eq!(store.expire("absent", "a", far).await, Ok(()));
    let rows = store.range("p", "", Limits::NONE).await.unwrap();
    let found: Vec<_> = rows.iter().map(|row| (&row.sk[..], &row.item.bytes[..])).collect();
    assert_eq!(found, [("a", &b"1"[..]), ("b", &b"2"[..])]);
    assert!(rows[0].item.expires_at.is_none_or(|at| at == far));
    assert_eq!(rows[1].item.expires_at, None);
    assert_eq!(store.put_new("p", "a", item("3")).await, Ok(Put::AlreadyExists));
    assert_eq!(store.last("absent").await, Ok(None));
}

/// Of all puts of one key exactly one is Created, and its value is the one that stays.
async fn one_of_many_writers_wins<S: Store + 'static>(store: Arc<S>) {
    for round in 0..10 {
        let sk = format!("{round:02}");
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let (store, sk) = (Arc::clone(&store), sk.clone());
            writers.spawn(async move {
                (writer, store.put_new("race", &sk, item(writer.to_string())).await)
            });
        }
        let answers = writers.join_all().await;
        let winners: Vec<i32> = answers
            .iter()
            .filter(|(_, put)| *put == Ok(Put::Created))
            .map(|(writer, _)| *writer)
            .collect();
        assert_eq!(winners.len(), 1, "winners of round {round}: {winners:?}");
        assert!(answers.iter().all(|(_, put)| put.is_ok()), "{answers:?}");
        let stored = store.last("race").await.unwrap();
        assert_eq!(stored, Some(row(&sk, winners[0].to_string())));
    }
}

/// Writers of different keys all win, and none of their items is lost.
async fn writers_of_other_keys_do_not_disturb<S: Store + 'static>(store: Arc<S>) {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let pk = format!("log/{}", writer % 3);
            for n in 0..10 {
                create(&*store, &pk, &format!("{writer}-{n}"), n.to_string()).await;
            }
        });
    }
    writers.join_all().await;
    for log in 0..3 {
        let mut expected: Vec<String> = (0..8)
            .filter(|writer| writer % 3 == log)
            .flat_map(|writer| (0..10).map(move |n| format!("{writer}-{n}")))
            .collect();
        expected.sort();
        assert_eq!(keys(&*store, &format!("log/{log}"), "", Limits::NONE).await, expected);
    }
}

/// A reader that begins after a put was answered sees the put's item, at once and from any task.
async fn an_answered_put_is_seen<S: Store + 'static>(store: Arc<S>) {
    for n in 0..40 {
        let sk = format!("{n:03}");
        create(&*store, "seen", &sk, &sk).await;
        let (reader, expected) = (Arc::clone(&store), row(&sk, &sk));
        let read = tokio::spawn(async move {
            let last = reader.last("seen").await.unwrap();
            let range = reader.range("seen", &expected.sk, Limits::NONE).await.unwrap();
            (last == Some(expected.clone()), range == [expected])
        });
        assert_eq!(read.await.unwrap(), (true, true), "item {n}");
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tidemill_model::store::StoreError;

    use super::*;
    use crate::MemoryStore;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_store_in_memory_keeps_the_contract() {
        store_contract(async || MemoryStore::new()).await;
    }

    /// A store that keeps all of the contract but one clause.
    struct Broken {
        inner: MemoryStore,
        clause: Clause,
    }

    #[derive(Clone, Copy)]
    enum Clause {
        Overwrites,
        JoinsKeys,
        ForgetsLimits,
        BeginsAfter,
        LosesEmptyValues,
    }

    #[async_trait]
    impl Store for Broken {
        async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
            match self.clause {
                Clause::Overwrites => {
                    let put = self.inner.put_new(pk, sk, item.clone()).await;
                    self.inner.overwrite(pk, sk, item);
                    put
                }
                Clause::JoinsKeys => self.inner.put_new(pk.trim_end_matches('/'), sk, item).await,
                Clause::LosesEmptyValues if item.bytes.is_empty() => Ok(Put::Created),
                _ => self.inner.put_new(pk, sk, item).await,
            }
        }

        async fn range(
            &self,
            pk: &str,
            from_sk: &str,
            limits: Limits,
        ) -> Result<Vec<Row>, StoreError> {
            match self.clause {
                Clause::ForgetsLimits => self.inner.range(pk, from_sk, Limits::NONE).await,
                Clause::BeginsAfter if !from_sk.is_empty() => {
                    self.inner.range(pk, &format!("{from_sk}\0"), limits).await
                }
                _ => self.inner.range(pk, from_sk, limits).await,
            }
        }

        async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
            self.inner.last(pk).await
        }

        async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
            self.inner.expire(pk, sk, at).await
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stores_that_break_a_clause_are_found() {
        for clause in [
            Clause::Overwrites,
            Clause::JoinsKeys,
            Clause::ForgetsLimits,
            Clause::BeginsAfter,
            Clause::LosesEmptyValues,
        ] {
            let contract = tokio::spawn(store_contract(async move || Broken {
                inner: MemoryStore::new(),
                clause,
            }));
            assert!(contract.await.is_err_and(|error| error.is_panic()), "{}", clause as u8);
        }
    }
}
