//! Entries to a service that takes them in batches and may refuse some of a batch.
//!
//! ```text
//! entries    a1 b1 a2 c1 b2 a3         the letter is the entry's key
//! rounds     a1 b1 c1 │ a2 b2 │ a3     no key twice in a round
//! batches    [a1 b1] [c1] │ [a2 b2] │ [a3]
//! ```
//!
//! # Invariants
//! 1. An entry is sent only after every earlier entry of its key was taken: a refused one is never
//!    overtaken by a later one of its key. Services do not promise an order within a batch.
//! 2. Exception: an epoch whose rounds would be more than [`ROUNDS_MAX`] puts several entries of
//!    one key into a batch, in order. When one of them is refused, it and all later ones of its key
//!    in that batch are sent again: readers see some of them twice, in order the second time.
//! 3. [`send_once`] keeps neither of the two, and sends nothing twice: for records whose order is
//!    not promised.
//! 4. Patience counts only attempts of which nothing was taken: a throttled service is slow, not
//!    down, as long as it takes something.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

/// Rounds of one epoch, about: each costs a request at least.
const ROUNDS_MAX: usize = 1000;
/// Attempts in a row, after one that took something or the first, of which nothing was taken.
const FRUITLESS_MAX: usize = 5;
/// Shortest wait between attempts.
const WAIT_MIN: Duration = Duration::from_millis(50);
/// Longest wait between attempts.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    /// Entries of one key stay in order.
    pub(crate) key: String,
    /// Its size as the service counts it, or more.
    pub(crate) bytes: usize,
    /// What is sent.
    pub(crate) item: T,
}

/// What one request may hold, and how many are under way at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) at_once: usize,
}

/// An entry of a batch that was not taken.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// What the service said.
    pub(crate) said: String,
}

/// Sends one batch.
#[async_trait]
pub(crate) trait Transport: Sync {
    /// What is sent.
    type Item: Send + Sync;
    /// Why nothing can be sent.
    type Error: Send;

    /// Sends one batch and answers what was not taken and is worth another attempt.
    async fn send(&self, batch: &[&Entry<Self::Item>]) -> Result<Vec<Refused>, Self::Error>;

    /// The error when patience has ended.
    fn stuck(&self, said: &str) -> Self::Error;
}

/// Sends all entries.
pub(crate) async fn send_all<T: Transport>(
    transport: &T,
    bounds: Bounds,
    entries: &[Entry<T::Item>],
) -> Result<(), T::Error> {
    let (rounds, per_key) = rounds(entries);
    // Batches of one round share a key only when a round has several entries of it.
    let at_once = if per_key == 1 { bounds.at_once } else { 1 };
    for round in rounds {
        let batches = batches(round, bounds).into_iter();
        let deliveries: Vec<_> =
            batches.map(|batch| deliver(transport, batch, Again::KeysInOrder).boxed()).collect();
        let deliveries = stream::iter(deliveries).buffer_unordered(at_once);
        deliveries.try_collect::<()>().await?;
    }
    Ok(())
}

/// Sends all entries, batch after batch, in their order, none on purpose twice. A refused one may
/// be overtaken by later ones of its batch, whatever their keys.
pub(crate) async fn send_once<T: Transport>(
    transport: &T,
    bounds: Bounds,
    entries: &[Entry<T::Item>],
) -> Result<(), T::Error> {
    for batch in batches(entries.iter().collect(), bounds) {
        deliver(transport, batch, Again::RefusedOnly).await?;
    }
    Ok(())
}

/// What of a batch is sent again when some of it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// The refused entries and all later ones of their keys.
    KeysInOrder,
    /// The refused entries.
    RefusedOnly,
}

/// The entries by round, each round in order, and how many of one key a round may have.
fn rounds<T>(entries: &[Entry<T>]) -> (Vec<Vec<&Entry<T>>>, usize) {
    let mut of_key: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        *of_key.entry(&entry.key).or_default() += 1;
    }
    let most = of_key.values().max().copied().unwrap_or(0);
    let per_key = most.div_ceil(ROUNDS_MAX).max(1);
    let mut rounds: Vec<Vec<&Entry<T>>> = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        let before = seen.entry(&entry.key).or_default();
        let round = *before / per_key;
        *before += 1;
        if rounds.len() <= round {
            rounds.push(Vec::new());
        }
        rounds[round].push(entry);
    }
    (rounds, per_key)
}

/// Cuts a round into batches. An entry larger than a batch's bytes is a batch of its own.
fn batches<T>(round: Vec<&Entry<T>>, bounds: Bounds) -> Vec<Vec<&Entry<T>>> {
    let mut batches: Vec<Vec<&Entry<T>>> = Vec::new();
    let mut bytes = 0;
    for entry in round {
        match batches.last_mut() {
            Some(batch) if batch.len() < bounds.entries && bytes + entry.bytes <= bounds.bytes => {
                bytes += entry.bytes;
                batch.push(entry);
            }
            _ => {
                bytes = entry.bytes;
                batches.push(vec![entry]);
            }
        }
    }
    batches
}

/// Sends one batch until all of it is taken.
async fn deliver<T: Transport>(
    transport: &T,
    mut batch: Vec<&Entry<T::Item>>,
    what: Again,
) -> Result<(), T::Error> {
    let mut patience = patience();
    loop {
        let refused = transport.send(&batch).await?;
        let Some(first) = refused.first() else { return Ok(()) };
        if refused.len() < batch.len() {
            patience = self::patience();
        }
        let Some(wait) = patience.next() else { return Err(transport.stuck(&first.said)) };
        let indexes: BTreeSet<usize> = refused.iter().map(|refused| refused.index).collect();
        let mut keys = BTreeSet::new();
        let mut again = Vec::with_capacity(indexes.len());
        for (index, entry) in batch.into_iter().enumerate() {
            let is_refused = indexes.contains(&index);
            if is_refused {
                keys.insert(entry.key.as_str());
            }
            if is_refused || (what == Again::KeysInOrder && keys.contains(entry.key.as_str())) {
                again.push(entry);
            }
        }
        batch = again;
        tokio::time::sleep(wait).await;
    }
}

fn patience() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(WAIT_MIN)
        .with_max_delay(WAIT_MAX)
        .with_max_times(FRUITLESS_MAX)
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests;
