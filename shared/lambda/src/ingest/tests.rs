use tidemill_codec::encode_checkpoint;
use tidemill_model::store::Item;
use tidemill_model::{Checkpoint, Epoch, Totals};
use tidemill_testkit::{Fault, FaultyStore, MemoryStore};

use super::*;
use crate::test_world::NOW;

fn checkpoint(epoch: u64, watermark: i64) -> (String, Item) {
    let checkpoint = Checkpoint {
        epoch: Epoch(epoch),
        at: WallMs(NOW),
        watermark: Some(EventMs(watermark)),
        logs: BTreeMap::new(),
        queries: BTreeMap::new(),
        snapshot: None,
        log_bytes: 0,
        oldest_since_snapshot: None,
        emits: false,
        totals: Totals::default(),
    };
    let bytes = encode_checkpoint(&checkpoint);
    (Keys::epoch(Epoch(epoch)), Item { bytes, expires_at: None })
}

#[tokio::test]
async fn the_newest_watermark_is_read_every_few_minutes() {
    let memory = MemoryStore::new();
    let store = Arc::new(FaultyStore::new(memory.clone(), |_: &_| Fault::None));
    let keys = Keys::new("ads");
    let mut seen =
        Seen { store: store.clone(), keys: keys.clone(), watermark: None, read_at: None };
    assert_eq!(seen.watermark(WallMs(NOW)).await, None);
    let write = |epoch, watermark| {
        let (sk, item) = checkpoint(epoch, watermark);
        memory.overwrite(&keys.checkpoint(), &sk, item);
    };
    write(0, 70);
    assert_eq!(seen.watermark(WallMs(NOW + TAIL_CACHE_MS)).await, None, "as old as a tail may be");
    assert_eq!(store.history().len(), 1);
    assert_eq!(seen.watermark(WallMs(NOW + TAIL_CACHE_MS + 1)).await, Some(EventMs(70)));

    write(1, 90);
    assert_eq!(seen.watermark(WallMs(NOW)).await, Some(EventMs(90)), "the clock went back");
    store.set_plan(|_: &_| Fault::Refused);
    assert_eq!(seen.watermark(WallMs(NOW * 2)).await, Some(EventMs(90)), "the store is down");
}
