//! A store in memory. Nothing expires by itself: a test says when.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tidemill_model::{
    WallMs,
    store::{Item, Limits, Put, Row, Store, StoreError},
};

/// A store in memory. A clone is another handle of the same store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    items: Arc<Mutex<BTreeMap<(String, String), Item>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Deletes what may be deleted at `now`, and answers how many items that were.
    pub fn expire_until(&self, now: WallMs) -> usize {
        let mut items = self.items();
        let before = items.len();
        items.retain(|_, item| item.expires_at.is_none_or(|at| at > now));
        before - items.len()
    }

    /// Deletes one item at once, as an expiry that nobody promised an order of would.
    pub fn delete(&self, pk: &str, sk: &str) -> bool {
        self.items().remove(&(pk.to_string(), sk.to_string())).is_some()
    }

    /// Puts an item whether or not one was there: damage, as seen by who reads it.
    pub fn overwrite(&self, pk: &str, sk: &str, item: Item) {
        self.items().insert((pk.to_string(), sk.to_string()), item);
    }

    /// Everything in the store as (pk, row), in key order.
    pub fn rows(&self) -> Vec<(String, Row)> {
        let row = |((pk, sk), item): (&(String, String), &Item)| {
            (pk.clone(), Row { sk: sk.clone(), item: item.clone() })
        };
        self.items().iter().map(row).collect()
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<(String, String), Item>> {
        // A panic between two steps of a change is impossible: each change is one step.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
        use std::collections::btree_map::Entry;
        match self.items().entry((pk.to_string(), sk.to_string())) {
            Entry::Occupied(_) => Ok(Put::AlreadyExists),
            Entry::Vacant(place) => {
                place.insert(item);
                Ok(Put::Created)
            }
        }
    }

    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError> {
        let items = self.items();
        let from = Bound::Included((pk.to_string(), from_sk.to_string()));
        let mut rows = Vec::new();
        let mut bytes = 0usize;
        for ((_, sk), item) in
            items.range((from, Bound::Unbounded)).take_while(|((of, _), _)| of == pk)
        {
            bytes = bytes.saturating_add(item.bytes.len());
            rows.push(Row { sk: sk.clone(), item: item.clone() });
            if rows.len() >= limits.items || bytes >= limits.bytes {
                break;
            }
        }
        Ok(rows)
    }

    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
        // The least partition key after `pk` is `pk` and a zero byte.
        let of_pk = (pk.to_string(), String::new())..(format!("{pk}\0"), String::new());
        let items = self.items();
        let last = items.range(of_pk).next_back();
        let last = last.map(|((_, sk), item)| Row { sk: sk.clone(), item: item.clone() });
        Ok(last)
    }

    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
        if let Some(item) = self.items().get_mut(&(pk.to_string(), sk.to_string())) {
            item.expires_at = Some(at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_go_when_a_test_says_so() {
        let store = MemoryStore::new();
        let item = |expires_at| Item { bytes: vec![1], expires_at };
        for (sk, at) in [("a", None), ("b", Some(WallMs(10))), ("c", Some(WallMs(11)))] {
            assert_eq!(store.put_new("p", sk, item(at)).await, Ok(Put::Created));
        }
        assert_eq!(store.expire_until(WallMs(9)), 0);
        assert_eq!(store.expire_until(WallMs(10)), 1);
        store.expire("p", "a", WallMs(10)).await.unwrap();
        assert_eq!(store.expire_until(WallMs(10)), 1);
        let left: Vec<_> = store.rows().into_iter().map(|(pk, row)| (pk, row.sk)).collect();
        assert_eq!(left, [("p".to_string(), "c".to_string())]);
        assert!(store.delete("p", "c") && !store.delete("p", "c"));
    }
}
