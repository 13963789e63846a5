//! The one writer of a file: puts that wait at the same time share a transaction.
//!
//! Bringing a transaction to the disk costs the same for one put as for many, so whoever finds
//! the writer free commits everything that waits, and the others wait for that commit.
//!
//! # Invariants
//! 1. A change is answered after its transaction is on the disk, and `AlreadyExists` after the
//!    transaction of the put that it lost to.
//! 2. A failed commit may have happened, so all its changes are answered with "unknown"; before
//!    the commit nothing has happened, so they are answered with "refused".

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use redb::{CommitError, Database, Durability, ReadableTable, Table, WriteTransaction};
use tidemill_model::{
    WallMs,
    store::{Item, Put, StoreError},
};

use super::{
    file::Failures,
    layout::{self, EXPIRY, ITEMS},
};

/// Items that one transaction of a sweep deletes, so that puts need not wait long.
const SWEEP_ITEMS_MAX: usize = 512;

/// A change that waits for the writer.
pub(super) enum Change {
    /// Write the item if its key is free.
    Put { key: Vec<u8>, item: Item },
    /// Let the item go from a time on.
    Expire { key: Vec<u8>, at: WallMs },
}

impl Change {
    fn key(&self) -> &[u8] {
        match self {
            Change::Put { key, .. } | Change::Expire { key, .. } => key,
        }
    }
}

type Answer = Result<Put, StoreError>;

/// The writer of a database.
pub(super) struct Writer {
    database: Database,
    failures: Failures,
    queue: Mutex<Queue>,
    /// Told whenever a transaction has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Queue {
    next_ticket: u64,
    waiting: Vec<(u64, Change)>,
    answers: BTreeMap<u64, Answer>,
    committing: bool,
}

impl Writer {
    /// The writer of an open database, whose failures are noted in `failures`.
    pub(super) fn new(database: Database, failures: Failures) -> Writer {
        Writer { database, failures, queue: Mutex::default(), ended: Condvar::new() }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Makes one change, durably. An expiry answers like a put that created something.
    pub(super) fn submit(&self, change: Change) -> Answer {
        let mut queue = self.queue();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push((ticket, change));
        loop {
            if let Some(answer) = queue.answers.remove(&ticket) {
                return answer;
            }
            if queue.committing {
                queue = self.ended.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.committing = true;
            let (tickets, changes): (Vec<u64>, Vec<Change>) =
                std::mem::take(&mut queue.waiting).into_iter().unzip();
            drop(queue);
            let mut turn = Turn { writer: self, tickets, answers: panicked(&changes) };
            turn.answers = self.commit(&changes);
            drop(turn);
            queue = self.queue();
        }
    }

    /// Deletes what may go at `now`.
    pub(super) fn sweep(&self, now: WallMs) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            let transaction = self.begin().map_err(|error| self.failures.not_done(error))?;
            let deleted = sweep_some(&transaction, now);
            let deleted = deleted.map_err(|error| self.failures.not_done(error))?;
            if deleted == 0 {
                transaction.abort().map_err(|error| self.failures.not_done(error))?;
                return Ok(swept);
            }
            let commit = transaction.commit().map_err(redb::Error::from);
            commit.map_err(|error| self.failures.uncertain(&error, "expired items"))?;
            swept += deleted as u64;
        }
    }

    /// Makes all changes in one transaction: one answer each.
    pub(super) fn commit(&self, changes: &[Change]) -> Vec<Answer> {
        let refused = |error: redb::Error| vec![Err(self.failures.not_done(error)); changes.len()];
        let transaction = match self.begin() {
            Ok(transaction) => transaction,
            Err(error) => return refused(error),
        };
        // An error before the commit drops the transaction, which undoes all of it.
        let (answers, changed) = match apply(&transaction, changes) {
            Ok(applied) => applied,
            Err(error) => return refused(error),
        };
        if !changed {
            return match transaction.abort() {
                Ok(()) => answers.into_iter().map(Ok).collect(),
                Err(error) => refused(error.into()),
            };
        }
        match transaction.commit() {
            Ok(()) => answers.into_iter().map(Ok).collect(),
            Err(CommitError::TransactionPoisoned) => {
                refused(CommitError::TransactionPoisoned.into())
            }
            Err(error) => {
                let error = redb::Error::from(error);
                let unknown = |change: &Change| {
                    Err(self.failures.uncertain(&error, &layout::shown(change.key())))
                };
                changes.iter().map(unknown).collect()
            }
        }
    }

    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's turn as the one that commits. Its end answers everyone, also when it panics.
struct Turn<'a> {
    writer: &'a Writer,
    tickets: Vec<u64>,
    answers: Vec<Answer>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.writer.queue();
        queue.answers.extend(self.tickets.drain(..).zip(self.answers.drain(..)));
        queue.committing = false;
        drop(queue);
        self.writer.ended.notify_all();
    }
}

/// Answers of a commit that panicked: nobody knows what it did.
fn panicked(changes: &[Change]) -> Vec<Answer> {
    let unknown = |change: &Change| {
        let (key, reason) = (layout::shown(change.key()), "panicked".to_string());
        Err(StoreError::Unknown { key, reason })
    };
    changes.iter().map(unknown).collect()
}

/// Applies the changes in order; also says whether anything changed.
fn apply(
    transaction: &WriteTransaction,
    changes: &[Change],
) -> Result<(Vec<Put>, bool), redb::Error> {
    let mut items = transaction.open_table(ITEMS)?;
    let mut expiry = transaction.open_table(EXPIRY)?;
    let mut changed = false;
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            Change::Put { key, item } => {
                if items.get(&key[..])?.is_some() {
                    answers.push(Put::AlreadyExists);
                    continue;
                }
                write(&mut items, &mut expiry, key, item)?;
            }
            Change::Expire { key, at } => {
                let stored = items.get(&key[..])?;
                let stored = stored.map(|value| layout::item_of(value.value()));
                if let Some(stored) = stored {
                    let mut item = stored.ok_or_else(|| damaged(key))?;
                    if let Some(before) = item.expires_at.replace(*at) {
                        let entry = layout::expiry_key(before, key);
                        expiry.remove(&entry[..])?;
                    }
                    write(&mut items, &mut expiry, key, &item)?;
                }
            }
        }
        changed = true;
        answers.push(Put::Created);
    }
    Ok((answers, changed))
}

fn write(
    items: &mut Table<'_, &[u8], &[u8]>,
    expiry: &mut Table<'_, &[u8], ()>,
    key: &[u8],
    item: &Item,
) -> Result<(), redb::Error> {
    let mut value = items.insert_reserve(key, layout::value_bytes(item))?;
    layout::write_value(item, value.as_mut());
    drop(value);
    if let Some(at) = item.expires_at {
        expiry.insert(&layout::expiry_key(at, key)[..], ())?;
    }
    Ok(())
}

/// Deletes a number of items that may go at `now`, and answers how many.
fn sweep_some(transaction: &WriteTransaction, now: WallMs) -> Result<usize, redb::Error> {
    let mut items = transaction.open_table(ITEMS)?;
    let mut expiry = transaction.open_table(EXPIRY)?;
    let mut due: Vec<Vec<u8>> = Vec::new();
    let end = layout::expiry_end(now);
    let entries = match &end {
        Some(end) => expiry.range::<&[u8]>(..&end[..]),
        None => expiry.range::<&[u8]>(..),
    };
    for entry in entries?.take(SWEEP_ITEMS_MAX) {
        due.push(entry?.0.value().to_vec());
    }
    for entry in &due {
        let key = layout::expiring_key(entry).ok_or_else(|| damaged(entry))?;
        items.remove(key)?;
        expiry.remove(&entry[..])?;
    }
    Ok(due.len())
}

fn damaged(key: &[u8]) -> redb::Error {
    let key = layout::shown(key);
    redb::Error::Corrupted(format!("item `{key}` is not of this store's layout"))
}

#[cfg(test)]
mod tests;
