//! Do all stores keep one contract, does the one on disk survive being killed, and do stored
//! bytes keep their format? The answers are in `tests/main/`.
//!
//! `src/bin/store_child.rs` is the process that is killed.

use tidemill_model::store::Item;

/// The value that the child puts under number `n`: long enough to fill pages, and different for
/// each number.
pub fn value_of(n: u32) -> Item {
    Item { bytes: n.to_string().into_bytes().repeat(200), expires_at: None }
}

/// The sort key of number `n`.
pub fn key_of(n: u32) -> String {
    format!("{n:010}")
}
