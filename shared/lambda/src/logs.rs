//! Registering logs: every shard of every source is known before its first segment.
//!
//! # Invariants
//! 1. A log has its registry entry, with its parents, before anything is appended to it.
//! 2. An entry is made from the source's own list. Only for a log that the list does not have,
//!    though the list could be read, an entry is made from the event that brought its records.
//! 3. A list that cannot be read registers nothing: an entry without its parents could not be
//!    mended, because entries never change.
//!
//! A warm process asks nothing for logs it knows; a cold one reads the registry first and the
//! source's list only when the registry lacks the log. So a thousand shards that start at once do
//! not ask their source a thousand times. New shards without records are registered by advance,
//! about once a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_flow::append::{Registry, RegistryError};
use tidemill_model::store::StoreError;
use tidemill_model::{LogEntry, LogId, Position, WallMs};

/// Lists the shards of every stream.
#[async_trait]
pub trait Discover: Send + Sync {
    /// An entry for every shard that the sources have now, with its parents; an error for each
    /// source that could not be listed.
    async fn discover(&self, now: WallMs) -> Vec<Result<LogEntry, String>>;
}

/// Why a log is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The registry did not take or give an entry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A source's shards could not be listed.
    #[error("the shards of a source cannot be listed, so a new one is not registered. reason=`{reason}`")]
    NotListed {
        /// What the source said.
        reason: String,
    },
}

impl RegisterError {
    /// Whether trying again may help without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            RegisterError::Registry(RegistryError::Store(error)) => {
                !matches!(error, StoreError::Damaged { .. })
            }
            RegisterError::Registry(
                RegistryError::SourceChanged { .. } | RegistryError::Unreadable { .. },
            ) => false,
            RegisterError::NotListed { .. } => true,
        }
    }

    /// The stable code that alarms count.
    pub fn code(&self) -> &'static str {
        if self.is_transient() { "Register.Retry" } else { "Register.Stuck" }
    }
}

/// The logs of a pipeline, as far as this process knows them to be registered.
pub struct Logs {
    registry: Registry,
    discover: Arc<dyn Discover>,
    known: BTreeSet<LogId>,
}

impl Logs {
    /// Those of `registry`, whose sources `discover` lists.
    pub fn new(registry: Registry, discover: Arc<dyn Discover>) -> Logs {
        Logs { registry, discover, known: BTreeSet::new() }
    }

    /// Makes sure that `log`, of which there are records, is registered.
    pub async fn ensure(&mut self, log: &LogId, now: WallMs) -> Result<(), RegisterError> {
        if self.known.contains(log) {
            return Ok(());
        }
        self.known.extend(self.registry.all().await?.into_iter().map(|entry| entry.log));
        if self.known.contains(log) {
            return Ok(());
        }
        let failures = self.register_all(now).await?;
        if self.known.contains(log) {
            return Ok(());
        }
        if let Some((_, failure)) = failures.into_iter().max_by_key(|(of, _)| of.as_ref() == Some(log)) {
            return Err(failure);
        }
        tracing::warn!(%log, "the source does not list this shard; registering it by its records");
        let entry = LogEntry {
            log: log.clone(),
            parents: Vec::new(),
            registered_at: now,
            start: Position::START,
            identity: String::new(),
        };
        self.register(&entry).await
    }

    /// Registers every shard that the sources list, parents before their children. Answers what
    /// went wrong, with the log where one is meant; what was right is registered all the same.
    pub async fn register_all(
        &mut self,
        now: WallMs,
    ) -> Result<Vec<(Option<LogId>, RegisterError)>, RegisterError> {
        let stored: BTreeMap<LogId, String> =
            self.registry.all().await?.into_iter().map(|entry| (entry.log, entry.identity)).collect();
        let mut failures = Vec::new();
        let mut entries = BTreeMap::new();
        for found in self.discover.discover(now).await {
            match found {
                Ok(entry) => drop(entries.insert(entry.log.clone(), entry)),
                Err(reason) => failures.push((None, RegisterError::NotListed { reason })),
            }
        }
        self.known.extend(stored.keys().cloned());
        for entry in parents_first(entries) {
            // What is stored and of the same source needs no write.
            if stored.get(&entry.log).is_some_and(|identity| *identity == entry.identity) {
                continue;
            }
            if let Err(failure) = self.register(&entry).await {
                self.known.remove(&entry.log);
                failures.push((Some(entry.log), failure));
            }
        }
        Ok(failures)
    }

    async fn register(&mut self, entry: &LogEntry) -> Result<(), RegisterError> {
        self.registry.ensure(entry).await?;
        if self.known.insert(entry.log.clone()) {
            tracing::info!(log = %entry.log, parents = entry.parents.len(), "registered");
        }
        Ok(())
    }
}

/// The entries in an order in which no child comes before a parent that is among them.
fn parents_first(mut entries: BTreeMap<LogId, LogEntry>) -> Vec<LogEntry> {
    let mut ordered = Vec::with_capacity(entries.len());
    while !entries.is_empty() {
        let waits = |entry: &LogEntry| entry.parents.iter().any(|log| entries.contains_key(log));
        let mut ready: Vec<LogId> =
            entries.values().filter(|entry| !waits(entry)).map(|entry| entry.log.clone()).collect();
        if ready.is_empty() {
            // Parents in a ring: no source has that, and every order is as good.
            ready = entries.keys().cloned().collect();
        }
        ordered.extend(ready.into_iter().filter_map(|log| entries.remove(&log)));
    }
    ordered
}

#[cfg(test)]
mod tests;
