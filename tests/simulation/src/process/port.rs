//! What one process knows of the sources' shards: the port that answers whether a log's source is
//! drained or has ended, and that registers logs. It goes by a listing that may be a minute old, as
//! on AWS.
//!
//! Written once more, from what Kinesis and Lambda do, so that the rules are played and not assumed:
//! a shard that ended is neither drained nor ended before its children are registered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tidemill_flow::append::Registry;
use tidemill_flow::ports::{Drained, Source};
use tidemill_model::{LogEntry, LogId, Position, WallMs};

use crate::mutant::Mutant;
use crate::source::{Listed, Listing, Sources};
use crate::store::pause;

/// How old a listing may be, milliseconds.
const LIST_AGE_MAX_MS: i64 = 60_000;
/// Percent of listings and looks that get no answer.
const SILENT: u64 = 10;

/// What a process knows of all streams.
pub(crate) struct Port {
    sources: Sources,
    streams: Vec<String>,
    mutant: Option<Mutant>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    listings: BTreeMap<String, Aged>,
    /// Logs whose entry the registry holds.
    registered: BTreeSet<LogId>,
}

struct Aged {
    listing: Listing,
    at: WallMs,
    /// Whether there is reason to believe that it is out of date.
    stale: bool,
}

/// What a listing says of a shard.
#[derive(PartialEq, Eq)]
enum Standing {
    Open,
    Closed,
    /// It was dropped with all its records.
    Gone,
    /// It is newer than the listing.
    Unlisted,
}

impl Port {
    /// Of a process that just started.
    pub(crate) fn new(sources: &Sources, streams: Vec<String>, mutant: Option<Mutant>) -> Port {
        Port { sources: sources.clone(), streams, mutant, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers all shards that are listed, those of each stream whatever became of the others.
    /// Answers whether all of them are.
    pub(crate) async fn register(&self, registry: &Registry, now: WallMs) -> Result<(), String> {
        let mut failed = Ok(());
        for stream in &self.streams {
            if let Err(error) = self.refresh(stream, now, false).await {
                failed = Err(error);
                continue;
            }
            for shard in self.unregistered(stream) {
                if let Err(error) = self.ensure_listed(registry, shard, now).await {
                    failed = Err(error);
                }
            }
        }
        failed
    }

    /// Makes sure that a log, of which there are records, is registered.
    pub(crate) async fn ensure(
        &self,
        registry: &Registry,
        log: &LogId,
        now: WallMs,
    ) -> Result<(), String> {
        if self.known().registered.contains(log) {
            return Ok(());
        }
        let told = |error: tidemill_flow::append::RegistryError| error.to_string();
        if registry.get(log).await.map_err(told)?.is_none() {
            // What becomes of the others is tried again.
            let _ = self.register(registry, now).await;
            if registry.get(log).await.map_err(told)?.is_none() {
                if self.known().listed(log).is_none() {
                    self.refresh(&log.stream, now, true).await?;
                }
                let listed = self.known().listed(log).cloned();
                let listed = listed.ok_or_else(|| format!("there is no shard {log}"))?;
                self.ensure_listed(registry, listed, now).await?;
            }
        }
        self.known().registered.insert(log.clone());
        Ok(())
    }

    async fn ensure_listed(
        &self,
        registry: &Registry,
        listed: Listed,
        now: WallMs,
    ) -> Result<(), String> {
        let Listed { log, parents, start, .. } = listed;
        let (known, identity) = (log.clone(), "simulated".to_string());
        let entry = LogEntry { log, parents, registered_at: now, start, identity };
        registry.ensure(&entry).await.map_err(|error| error.to_string())?;
        self.known().registered.insert(known);
        Ok(())
    }

    /// Lists a stream's shards again if the listing is old, or in any case.
    async fn refresh(&self, stream: &str, now: WallMs, always: bool) -> Result<(), String> {
        let is_fresh =
            |aged: &Aged| !aged.stale && (0..LIST_AGE_MAX_MS).contains(&now.since(aged.at));
        if !always && self.known().listings.get(stream).is_some_and(is_fresh) {
            return Ok(());
        }
        pause().await;
        if self.sources.is_silent(SILENT) {
            return Err(format!("shards of {stream} cannot be listed"));
        }
        let listing = self.sources.listing(stream, now);
        let aged = Aged { listing, at: now, stale: false };
        self.known().listings.insert(stream.to_string(), aged);
        Ok(())
    }

    fn unregistered(&self, stream: &str) -> Vec<Listed> {
        let known = self.known();
        let shards = known.listings.get(stream).map_or(&[][..], |aged| &aged.listing.shards);
        let is_new = |shard: &&Listed| {
            let forgotten = match self.mutant {
                Some(Mutant::ForgottenChildren) => !shard.parents.is_empty(),
                Some(Mutant::UnlistedShards) => true,
                _ => false,
            };
            !known.registered.contains(&shard.log) && !forgotten
        };
        shards.iter().filter(is_new).cloned().collect()
    }

    /// Whether a Kinesis-like shard has nothing after a position, and whoever continues it is known.
    fn is_read(&self, log: &LogId, position: Position) -> Drained {
        let mut known = self.known();
        let standing = known.standing(log);
        match standing {
            Standing::Gone if known.knows_children(log) => return Drained::Yes,
            Standing::Open | Standing::Closed if known.registered.contains(log) => {}
            Standing::Gone | Standing::Open | Standing::Closed => return Drained::No,
            Standing::Unlisted => {
                known.is_stale(&log.stream);
                return Drained::No;
            }
        }
        if self.sources.has_more(log, position) {
            return Drained::No;
        }
        if !self.sources.is_closed(log) {
            return Drained::Yes;
        }
        if known.has_children(log) {
            return Drained::Yes;
        }
        known.is_stale(&log.stream);
        Drained::No
    }
}

impl Known {
    fn shards(&self, log: &LogId) -> impl Iterator<Item = &Listed> {
        let aged = self.listings.get(&log.stream);
        aged.into_iter().flat_map(|aged| &aged.listing.shards)
    }

    fn listed(&self, log: &LogId) -> Option<&Listed> {
        self.shards(log).find(|shard| shard.log == *log)
    }

    fn is_stale(&mut self, stream: &str) {
        if let Some(aged) = self.listings.get_mut(stream) {
            aged.stale = true;
        }
    }

    fn standing(&self, log: &LogId) -> Standing {
        match self.listed(log) {
            Some(Listed { closed: true, .. }) => Standing::Closed,
            Some(_) => Standing::Open,
            None => {
                let age = |log: &LogId| log.shard.parse::<u64>().unwrap_or(0);
                let is_newer = self.shards(log).any(|other| age(&other.log) > age(log));
                let settled = self.listings.get(&log.stream).is_some_and(|it| it.listing.settled);
                if is_newer && settled { Standing::Gone } else { Standing::Unlisted }
            }
        }
    }

    /// Whether all listed children of a shard are registered.
    fn knows_children(&self, log: &LogId) -> bool {
        let mut children = self.shards(log).filter(|shard| shard.parents.contains(log));
        children.all(|child| self.registered.contains(&child.log))
    }

    /// Whether a shard's children are all listed, both of a split or the one of a merge, and all
    /// are registered.
    fn has_children(&self, log: &LogId) -> bool {
        let children = || self.shards(log).filter(|shard| shard.parents.contains(log));
        let are_all = children().count() > 1 || children().any(|child| child.parents.len() > 1);
        are_all && self.knows_children(log)
    }
}

#[async_trait]
impl Source for Port {
    async fn drained(&self, log: &LogId, position: Position) -> Drained {
        pause().await;
        if self.mutant == Some(Mutant::FalselyDrained) {
            return Drained::Yes;
        }
        if self.sources.is_silent(SILENT) {
            return Drained::Unknown;
        }
        let forgets = self.mutant == Some(Mutant::ForgottenChildren);
        if self.sources.is_kinesis(&log.stream) && !self.sources.has_ended() && !forgets {
            return self.is_read(log, position);
        }
        if self.sources.has_more(log, position) { Drained::No } else { Drained::Yes }
    }

    async fn ended(&self, log: &LogId) -> bool {
        if self.sources.has_ended() {
            return true;
        }
        if self.mutant == Some(Mutant::ForgottenChildren) {
            return self.sources.is_closed(log);
        }
        let known = self.known();
        match known.standing(log) {
            Standing::Closed => known.has_children(log),
            Standing::Gone => self.sources.is_kinesis(&log.stream) && known.knows_children(log),
            Standing::Open | Standing::Unlisted => false,
        }
    }
}
