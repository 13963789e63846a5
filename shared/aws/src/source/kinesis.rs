//! One Kinesis stream: its shards, and whether they are drained.
//!
//! ```text
//! DescribeStreamSummary, ListShards ─▶ listing ─▶ registry        at most once a minute
//!                                         │
//! ended ◀─────────────────────────────────┤ closed or expired, children registered
//! drained ◀─ GetShardIterator, GetRecords ┘ open: nothing there, now
//! ```
//!
//! # Invariants
//! 1. A shard counts as registered when this process has seen the registry hold its entry for this
//!    very stream. No other shard is ever drained.
//! 2. A refresh replaces the listing as a whole, or not at all.
//!
//! Not here: what a listing tells ([`listing`]), one look after a position ([`probe`]).

mod listing;
mod probe;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::StreamStatus;
use aws_smithy_types::date_time::Format;
use tidemill_flow::append::{Registry, RegistryError};
use tidemill_flow::ports::Drained;
use tidemill_model::{LogEntry, LogId, Position, WallMs};
use tracing::{debug, warn};

use self::listing::{Listing, Shard, Standing};
use self::probe::{Probes, Start};
use super::{Found, LIST_AGE_MAX_MS, SourceError, StartingPosition};
use crate::{Aws, Fault};

/// Attempts of one request: the next tick is the better retry.
const ATTEMPTS_MAX: u32 = 2;
/// Longest wait for the answer to one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
/// Shards of one page of a listing, as many as Kinesis gives.
const PAGE_SHARDS: i32 = 1_000;

/// A Kinesis stream.
pub(super) struct Kinesis {
    client: Client,
    /// As the pipeline file names it.
    stream: String,
    /// As Kinesis names it.
    name: String,
    /// Whether the file says that this is a Kinesis stream.
    certain: bool,
    starting: StartingPosition,
    state: Mutex<State>,
    /// Held by whoever refreshes the listing.
    refreshing: tokio::sync::Mutex<()>,
    probes: Probes,
}

#[derive(Default)]
struct State {
    listing: Option<Listing>,
    /// When the listing was asked for.
    listed_at: Option<WallMs>,
    /// Whether there is reason to believe that the listing is out of date.
    stale: bool,
    /// Why the newest listing was refused; `None`: it was not.
    refused: Option<Fault>,
    /// Shards whose entry the registry holds.
    registered: BTreeSet<String>,
    /// When the first shard was registered.
    oldest: Option<WallMs>,
    /// What was warned of last, so that it is said once.
    warned: Option<String>,
}

impl Kinesis {
    pub(super) fn new(
        aws: &Aws,
        stream: &str,
        name: &str,
        certain: bool,
        starting: StartingPosition,
    ) -> Kinesis {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let config = Builder::from(aws.sdk())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts)
            .build();
        Kinesis {
            client: Client::from_conf(config),
            stream: stream.to_owned(),
            name: name.to_owned(),
            certain,
            starting,
            state: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            probes: Probes::default(),
        }
    }

    /// See [`super::Sources::register`].
    pub(super) async fn register(
        &self,
        registry: &Registry,
        now: WallMs,
    ) -> Result<(), Vec<SourceError>> {
        if let Err(error) = self.refresh_if_due(now).await {
            return if self.is_perhaps_kafka(&error) { Ok(()) } else { Err(vec![error]) };
        }
        let new = self.unregistered(now);
        if new.is_empty() {
            return Ok(());
        }
        let stored = registry.all().await.map_err(|error| vec![error.into()])?;
        let mut errors = Vec::new();
        for entry in new {
            let found = stored.iter().find(|stored| stored.log == entry.log);
            let ensured = match found.filter(|stored| stored.identity == entry.identity) {
                Some(stored) => Ok(stored.clone()),
                None => registry.ensure(&entry).await,
            };
            match ensured {
                Ok(entry) => self.note_registered(&entry),
                Err(error @ RegistryError::SourceChanged { .. }) => {
                    // Every shard of the stream says the same.
                    errors.push(error.into());
                    break;
                }
                Err(error) => errors.push(error.into()),
            }
        }
        let oldest = stored.iter().filter(|entry| entry.log.stream == self.stream);
        let oldest = oldest.map(|entry| entry.registered_at).min();
        let mut state = self.state();
        state.oldest = [state.oldest, oldest].into_iter().flatten().min();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// See [`super::Sources::entry`].
    pub(super) async fn entry(&self, shard: &str, now: WallMs) -> Result<LogEntry, SourceError> {
        let known =
            || self.state().listing.as_ref().and_then(|listing| listing.get(shard).cloned());
        if known().is_none() {
            self.refresh(now).await?;
        }
        match known() {
            Some(shard) => Ok(self.entry_of(&shard, now)),
            None => Err(SourceError::NoSuchLog { log: LogId::new(&self.stream, shard) }),
        }
    }

    /// See [`tidemill_flow::ports::Source::ended`]: from memory.
    pub(super) fn ended(&self, shard: &str) -> bool {
        let state = self.state();
        let Some(listing) = &state.listing else { return false };
        match listing.standing(shard) {
            Standing::Closed => state.has_children(shard),
            Standing::Gone => state.knows_children(shard),
            Standing::Open | Standing::Unlisted => false,
        }
    }

    /// See [`tidemill_flow::ports::Source::drained`].
    pub(super) async fn drained(&self, shard: &str, position: Position) -> Drained {
        let (standing, oldest) = {
            let mut state = self.state();
            let Some(listing) = &state.listing else {
                let refused = state.refused.is_some();
                return if refused { Drained::Unknown } else { Drained::No };
            };
            let standing = listing.standing(shard);
            match standing {
                // All its records have expired: nothing lies after any position.
                Standing::Gone if state.knows_children(shard) => return Drained::Yes,
                Standing::Open | Standing::Closed if state.registered.contains(shard) => {}
                Standing::Gone | Standing::Open | Standing::Closed => return Drained::No,
                Standing::Unlisted => {
                    state.stale = true;
                    return Drained::No;
                }
            }
            (standing, state.oldest)
        };
        let start = match (position == Position::START, self.starting, oldest) {
            (false, _, _) => Start::After(position),
            (true, StartingPosition::TrimHorizon, _) => Start::TrimHorizon,
            (true, StartingPosition::Latest, Some(oldest)) => Start::At(oldest),
            // Registered shards have been registered some time.
            (true, StartingPosition::Latest, None) => return Drained::No,
        };
        let found = self.probes.look(&self.client, &self.name, shard, start).await;
        self.judge(shard, standing, found)
    }

    fn judge(&self, shard: &str, standing: Standing, found: Found) -> Drained {
        match found {
            Found::Something => Drained::No,
            // The end of a closed shard says that it is one; this may be an answer from before.
            Found::Nothing if standing == Standing::Closed => Drained::No,
            Found::Nothing => Drained::Yes,
            Found::End => {
                let mut state = self.state();
                let has_children = state.has_children(shard);
                state.stale |= !has_children;
                if has_children { Drained::Yes } else { Drained::No }
            }
            Found::NotNow(reason) => {
                debug!(stream = self.stream, shard, reason, "not known whether drained");
                Drained::No
            }
            Found::Moved(reason) => {
                debug!(stream = self.stream, shard, reason, "the shard may be gone");
                self.state().stale = true;
                Drained::No
            }
            Found::Never(reason) => {
                self.warn_once(&reason, shard);
                Drained::Unknown
            }
        }
    }

    async fn refresh_if_due(&self, now: WallMs) -> Result<(), SourceError> {
        let is_due = {
            let state = self.state();
            let listed_at = state.listed_at.filter(|_| state.listing.is_some() && !state.stale);
            listed_at.is_none_or(|at| !(0..LIST_AGE_MAX_MS).contains(&now.since(at)))
        };
        if is_due { self.refresh(now).await } else { Ok(()) }
    }

    async fn refresh(&self, now: WallMs) -> Result<(), SourceError> {
        let _one = self.refreshing.lock().await;
        let listed = self.list().await;
        let mut state = self.state();
        match listed {
            Ok(listing) => {
                if state.listing.as_ref().is_some_and(|old| old.identity != listing.identity) {
                    state.registered.clear();
                }
                state.listing = Some(listing);
                state.listed_at = Some(now);
                state.stale = false;
                state.refused = None;
                Ok(())
            }
            Err(error) => {
                if let SourceError::Refused { fault, .. } = &error {
                    // What was listed before may be another stream's.
                    state.listing = None;
                    state.refused = Some(fault.clone());
                }
                Err(error)
            }
        }
    }

    /// The stream's identity first: shards of another stream would be told by the next listing.
    async fn list(&self) -> Result<Listing, SourceError> {
        let summary = self.client.describe_stream_summary().stream_name(&self.name).send().await;
        let summary =
            summary.map_err(|error| self.error(error, "kinesis:DescribeStreamSummary"))?;
        let unreadable = |what: &str| SourceError::Unreachable {
            stream: self.stream.clone(),
            reason: format!("Kinesis described the stream without {what}"),
        };
        let summary = summary.stream_description_summary().ok_or_else(|| unreadable("anything"))?;
        let made =
            aws_smithy_types::DateTime::from_secs(summary.stream_creation_timestamp().secs());
        let made = made.fmt(Format::DateTime).map_err(|_| unreadable("its creation time"))?;
        let mut shards = Vec::new();
        let mut next_token = None;
        loop {
            let request = self.client.list_shards().max_results(PAGE_SHARDS);
            let request = match next_token {
                // The token names the stream; both are refused.
                Some(token) => request.next_token(token),
                None => request.stream_name(&self.name),
            };
            let page = request.send().await;
            let page = page.map_err(|error| self.error(error, "kinesis:ListShards"))?;
            shards.extend(page.shards().iter().map(|shard| {
                Shard {
                    id: shard.shard_id().to_owned(),
                    parents: [shard.parent_shard_id(), shard.adjacent_parent_shard_id()]
                        .into_iter()
                        .flatten()
                        .map(str::to_owned)
                        .collect(),
                    closed: shard
                        .sequence_number_range()
                        .is_some_and(|range| range.ending_sequence_number().is_some()),
                }
            }));
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        let settled = *summary.stream_status() == StreamStatus::Active;
        Ok(Listing::new(format!("made {made}"), settled, shards))
    }

    fn error<E>(&self, error: SdkError<E>, action: &str) -> SourceError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        SdkError<E>: ProvideErrorMetadata,
    {
        let stream = self.stream.clone();
        let name = &self.name;
        let said = error.code().unwrap_or_default();
        let fault = match said {
            "ResourceNotFoundException" => Fault::new(
                format!("there is no Kinesis stream `{name}`"),
                format!(
                    "create it, or name another one under [streams.{stream}.source] in the \
                     pipeline file"
                ),
            ),
            "AccessDeniedException" | "UnrecognizedClientException" => Fault::new(
                format!("Kinesis does not let us list the shards of `{name}`"),
                format!("allow {action} on the stream to the function's role"),
            ),
            _ => {
                let reason = DisplayErrorContext(&error).to_string();
                return SourceError::Unreachable { stream, reason };
            }
        };
        SourceError::Refused { stream, fault }
    }

    /// Whether a stream that the file gives no source is no Kinesis stream, but perhaps a topic.
    fn is_perhaps_kafka(&self, error: &SourceError) -> bool {
        let not_there = matches!(error, SourceError::Refused { fault, .. }
            if fault.what.starts_with("there is no"));
        if self.certain || !not_there {
            return false;
        }
        let reason = format!(
            "there is no Kinesis stream `{}`: if the stream's records come from Kafka, say so in a \
             section [streams.{}.source]",
            self.name, self.stream
        );
        self.warn_once(&reason, "");
        true
    }

    /// Entries of the listed shards that this process has not seen in the registry.
    fn unregistered(&self, now: WallMs) -> Vec<LogEntry> {
        let state = self.state();
        let Some(listing) = &state.listing else { return Vec::new() };
        listing
            .shards()
            .filter(|shard| !state.registered.contains(&shard.id))
            .map(|shard| self.entry_with(listing, shard, now))
            .collect()
    }

    fn entry_of(&self, shard: &Shard, now: WallMs) -> LogEntry {
        let state = self.state();
        let empty = Listing::new(String::new(), false, Vec::new());
        self.entry_with(state.listing.as_ref().unwrap_or(&empty), shard, now)
    }

    fn entry_with(&self, listing: &Listing, shard: &Shard, now: WallMs) -> LogEntry {
        LogEntry {
            log: LogId::new(&self.stream, &shard.id),
            parents: shard.parents.iter().map(|id| LogId::new(&self.stream, id)).collect(),
            registered_at: now,
            start: Position::START,
            identity: listing.identity.clone(),
        }
    }

    fn note_registered(&self, entry: &LogEntry) {
        let mut state = self.state();
        state.registered.insert(entry.log.shard.clone());
        state.oldest = [state.oldest, Some(entry.registered_at)].into_iter().flatten().min();
    }

    fn warn_once(&self, reason: &str, shard: &str) {
        let mut state = self.state();
        if state.warned.as_deref() != Some(reason) {
            warn!(stream = self.stream, shard, "{reason}");
            state.warned = Some(reason.to_owned());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment: a panic between two leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether all listed children of a shard are registered.
    fn knows_children(&self, shard: &str) -> bool {
        self.listing.as_ref().is_some_and(|listing| {
            listing.children(shard).all(|child| self.registered.contains(&child.id))
        })
    }

    /// Whether a shard's children are all listed, and all are registered. A closed shard always has
    /// some; a listing that does not show them all is not complete.
    fn has_children(&self, shard: &str) -> bool {
        self.knows_children(shard)
            && self.listing.as_ref().is_some_and(|listing| listing.lists_all_children(shard))
    }
}

#[cfg(test)]
mod tests;
