//! The narrow waist: everything exactly-once rests on a store that can do three things.
//!
//! # Contract (`testkit::store_contract` checks it on every implementation)
//! 1. [`Store::put_new`] is atomic: of all puts of one key exactly one is [`Put::Created`], and
//!    the others change nothing.
//! 2. [`Store::range`] and [`Store::last`] see every put that was answered before they were
//!    called (strong consistency), in the byte order of `sk`.
//! 3. Keys are exact: a `pk` that is a prefix of another is another `pk`.
//! 4. [`Store::expire`] is housekeeping: nothing that must be right rests on it.

use async_trait::async_trait;

use crate::WallMs;

/// What a put did. A lost race is an outcome, not an error.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The item was not there and now is.
    Created,
    /// An item with this key was there, perhaps our own from a put whose answer was lost.
    AlreadyExists,
}

/// Why a store did not answer, by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Certainly not written (or not read): throttled, denied, too large. Try again later.
    #[error("store refused. reason=`{reason}`")]
    Refused {
        /// What the store said.
        reason: String,
    },
    /// Maybe written: timeout, lost connection. Read back to find out.
    #[error("store gave no answer. key=`{key}` reason=`{reason}`")]
    Unknown {
        /// The key that was to be written.
        key: String,
        /// What happened to the request.
        reason: String,
    },
    /// What is stored is not what was written. No retry helps.
    #[error("store is damaged or is not Tidemill's. {reason}")]
    Damaged {
        /// What was found, where, and what to do.
        reason: String,
    },
}

/// A stored item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The value.
    pub bytes: Vec<u8>,
    /// From when on the store may delete it; `None`: never. A store may round it up to a whole
    /// second. Until it is deleted, it is an item like any other.
    pub expires_at: Option<WallMs>,
}

/// An item with its sort key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Sort key.
    pub sk: String,
    /// The item.
    pub item: Item,
}

/// How much one `range` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Items at most; at least 1.
    pub items: usize,
    /// Stop after the item with which this many value bytes are reached. The first item is
    /// returned however large it is.
    pub bytes: usize,
}

impl Limits {
    /// No limit.
    pub const NONE: Limits = Limits { items: usize::MAX, bytes: usize::MAX };
}

/// The store. Keys are UTF-8 texts ordered by their bytes.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes `item` at (`pk`, `sk`) if nothing is there, atomically.
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError>;

    /// Items of `pk` with a sort key at or after `from_sk`, in sort key order, strongly
    /// consistent. Fewer than there are only when a limit was reached; empty only when none is
    /// left.
    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError>;

    /// The item of `pk` with the greatest sort key, strongly consistent.
    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError>;

    /// Lets the store delete the item from `at` on. Best effort; absent items are no error.
    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError>;
}
