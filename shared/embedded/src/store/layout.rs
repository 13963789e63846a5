//! Keys and values inside the file.
//!
//! ```text
//! items   key    length of pk (4 bytes, big-endian), pk, sk
//!         value  0, bytes                        an item that stays
//!                1, expires_at (8), bytes        an item that may go
//! expiry  key    expires_at (8), item key        one entry per item that may go
//!         value  nothing
//! identity       "format", "version", "pipeline" (`open`)
//! ```
//!
//! # Invariants
//! 1. Byte order of item keys within a pk is byte order of sort keys; no two (pk, sk) share a key.
//! 2. `expires_at` is stored so that byte order is time order (big-endian, sign bit flipped).
//! 3. An item has an entry in `expiry` exactly when it may go, at the same time.

use redb::TableDefinition;
use tidemill_model::{WallMs, store::Item};

pub(super) const ITEMS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("items");
pub(super) const EXPIRY: TableDefinition<'_, &[u8], ()> = TableDefinition::new("expiry");
pub(super) const IDENTITY: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("identity");

const STAYS: u8 = 0;
const MAY_GO: u8 = 1;
const TIME_BYTES: usize = 8;

/// The key of an item.
pub(super) fn key(pk: &str, sk: &str) -> Vec<u8> {
    // A partition key of 4 GiB fits no machine that this runs on.
    let mut key = (pk.len() as u32).to_be_bytes().to_vec();
    key.extend_from_slice(pk.as_bytes());
    key.extend_from_slice(sk.as_bytes());
    key
}

/// After every key of `pk`: UTF-8 has no byte 0xff.
pub(super) fn end_of(pk: &str) -> Vec<u8> {
    let mut end = key(pk, "");
    end.push(0xff);
    end
}

/// The sort key in a key of `pk`.
pub(super) fn sk_of(pk: &str, key: &[u8]) -> Option<String> {
    let sk = key.get(4 + pk.len()..)?;
    String::from_utf8(sk.to_vec()).ok()
}

/// What people call a key.
pub(super) fn shown(key: &[u8]) -> String {
    let length: Option<[u8; 4]> = key.get(..4).and_then(|length| length.try_into().ok());
    let at = 4usize.saturating_add(length.map_or(0, u32::from_be_bytes) as usize).min(key.len());
    let (pk, sk) = key.split_at(at);
    let pk = pk.get(4..).unwrap_or_default();
    format!("{} {}", String::from_utf8_lossy(pk), String::from_utf8_lossy(sk))
}

/// Length of an item's value.
pub(super) fn value_bytes(item: &Item) -> usize {
    1 + item.expires_at.map_or(0, |_| TIME_BYTES) + item.bytes.len()
}

/// Writes an item's value into as many bytes as [`value_bytes`] says.
pub(super) fn write_value(item: &Item, value: &mut [u8]) {
    let at = match item.expires_at {
        None => {
            value[0] = STAYS;
            1
        }
        Some(at) => {
            value[0] = MAY_GO;
            value[1..=TIME_BYTES].copy_from_slice(&time(at));
            1 + TIME_BYTES
        }
    };
    value[at..].copy_from_slice(&item.bytes);
}

/// The item of a value.
pub(super) fn item_of(value: &[u8]) -> Option<Item> {
    match value.split_first()? {
        (&STAYS, bytes) => Some(Item { bytes: bytes.to_vec(), expires_at: None }),
        (&MAY_GO, rest) => {
            let (at, bytes) = rest.split_first_chunk::<TIME_BYTES>()?;
            Some(Item { bytes: bytes.to_vec(), expires_at: Some(wall(*at)) })
        }
        _ => None,
    }
}

/// The expiry entry of an item.
pub(super) fn expiry_key(at: WallMs, key: &[u8]) -> Vec<u8> {
    [&time(at)[..], key].concat()
}

/// The item key in an expiry entry.
pub(super) fn expiring_key(expiry: &[u8]) -> Option<&[u8]> {
    expiry.get(TIME_BYTES..)
}

/// After every expiry entry at or before `now`; `None` when there is no time after `now`.
pub(super) fn expiry_end(now: WallMs) -> Option<[u8; TIME_BYTES]> {
    now.0.checked_add(1).map(|next| time(WallMs(next)))
}

fn time(at: WallMs) -> [u8; TIME_BYTES] {
    (at.0 as u64 ^ 1 << 63).to_be_bytes()
}

fn wall(bytes: [u8; TIME_BYTES]) -> WallMs {
    WallMs((u64::from_be_bytes(bytes) ^ 1 << 63) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_sort_key_and_never_coincide() {
        let keys = [("a", ""), ("a", "\0"), ("a", "b"), ("a", "\u{10ffff}"), ("ab", ""), ("b", "")];
        for (pk, sk) in keys {
            assert_eq!(sk_of(pk, &key(pk, sk)), Some(sk.to_string()));
            assert!(key(pk, sk) < end_of(pk));
            assert_eq!(shown(&key(pk, sk)), format!("{pk} {sk}"));
        }
        let stored = keys[..4].iter().map(|(pk, sk)| key(pk, sk));
        assert!(stored.is_sorted_by(|a, b| a < b));
        assert_ne!(key("a", "bc"), key("ab", "c"));
    }

    #[test]
    fn values_and_times_come_back() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX].map(WallMs);
        assert!(times.map(time).is_sorted());
        for expires_at in times.into_iter().map(Some).chain([None]) {
            let item = Item { bytes: b"value".to_vec(), expires_at };
            let mut value = vec![0; value_bytes(&item)];
            write_value(&item, &mut value);
            assert_eq!(item_of(&value), Some(item));
        }
        assert_eq!((item_of(b""), item_of(b"\x07x"), item_of(b"\x01short")), (None, None, None));
        assert_eq!(expiry_end(WallMs(i64::MAX)), None);
    }

    #[test]
    fn damaged_keys_can_be_shown() {
        for key in [&b""[..], b"ab", b"\xff\xff\xff\xffab", b"\0\0\0\x01\xff\xfe"] {
            assert!(!shown(key).is_empty());
        }
    }
}
