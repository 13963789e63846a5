//! Registering logs: every shard of every source is known before its first segment.
//!
//! # Invariants
//! 1. A log has its registry entry, with its parents, before anything is appended to it.
//! 2. An entry comes from the source's own list. A list that cannot be read registers nothing: an
//!    entry without its parents could not be mended, because entries never change.
//!
//! A warm process asks nothing for logs that it knows; a cold one reads the log's entry, and lists
//! the sources only when there is none: then all shards are registered, not this one only. So a
//! thousand shards that start at once do not ask their source a thousand times. New shards without
//! records are registered by advance, about once a minute.
//!
//! Not here: listing shards and partitions (`aws::source`).

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_aws::source::{SourceError, Sources};
use tidemill_flow::append::Registry;
use tidemill_model::{LogEntry, LogId, WallMs};

/// Lists the shards of every stream.
#[async_trait]
pub trait Shards: Send + Sync {
    /// Registers what the sources list. Answers what went wrong; the rest is registered.
    async fn register(&self, registry: &Registry, now: WallMs) -> Vec<SourceError>;

    /// The entry of one log, of which there are records.
    async fn entry(&self, log: &LogId, now: WallMs) -> Result<LogEntry, SourceError>;
}

#[async_trait]
impl Shards for Sources {
    async fn register(&self, registry: &Registry, now: WallMs) -> Vec<SourceError> {
        Sources::register(self, registry, now).await
    }

    async fn entry(&self, log: &LogId, now: WallMs) -> Result<LogEntry, SourceError> {
        Sources::entry(self, log, now).await
    }
}

/// The logs of a pipeline, as far as this process knows them to be registered.
pub struct Logs {
    registry: Registry,
    shards: Arc<dyn Shards>,
    known: BTreeSet<LogId>,
}

impl Logs {
    /// Those of `registry`, whose sources `shards` lists.
    pub fn new(registry: Registry, shards: Arc<dyn Shards>) -> Logs {
        Logs { registry, shards, known: BTreeSet::new() }
    }

    /// Makes sure that `log`, of which there are records, is registered.
    pub async fn ensure(&mut self, log: &LogId, now: WallMs) -> Result<(), SourceError> {
        if self.known.contains(log) {
            return Ok(());
        }
        if self.registry.get(log).await?.is_none() {
            for error in self.register(now).await {
                tracing::warn!(error_type = code(&error), "{error}");
            }
            if self.registry.get(log).await?.is_none() {
                let entry = self.shards.entry(log, now).await?;
                self.registry.ensure(&entry).await?;
            }
            tracing::info!(%log, "registered");
        }
        self.known.insert(log.clone());
        Ok(())
    }

    /// Registers every shard that the sources list. Answers what went wrong; what was right is
    /// registered all the same.
    pub async fn register(&self, now: WallMs) -> Vec<SourceError> {
        self.shards.register(&self.registry, now).await
    }
}

/// The stable code of a failure to register, which alarms count.
pub fn code(error: &SourceError) -> &'static str {
    if error.is_transient() { "Register.Retry" } else { "Register.Stuck" }
}

#[cfg(test)]
mod tests;
