//! The logs of a run: each stream's input is split into as many as there are shards.
//!
//! A shard's name tells how many there are (`0-of-4`), because a record's shard depends on it: a
//! store is only ever continued with the number it began with.

use std::num::NonZeroUsize;

use miette::Report;
use tidemill_flow::append::{Registry, RegistryError};
use tidemill_model::{LogEntry, LogId, Position};

use crate::clock;
use crate::problem::Problem;

/// Most shards when nobody says how many.
const DEFAULT_MAX: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// The logs of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logs {
    shards: NonZeroUsize,
}

impl Logs {
    /// As many logs per stream as the store has, else as are `wanted`.
    pub(crate) async fn of(registry: &Registry, wanted: Option<u16>) -> Result<Logs, Report> {
        let known = registry.all().await.map_err(of_registry)?;
        let stored = known.iter().find_map(|entry| shards_of(&entry.log));
        let wanted = wanted.map(usize::from).and_then(NonZeroUsize::new);
        if let (Some(stored), Some(wanted)) = (stored, wanted)
            && stored != wanted
        {
            return Err(Problem::new(
                format!("this store was begun with --shards {stored}, not {wanted}"),
                format!("run with --shards {stored} or without it, or name a new store"),
            )
            .into());
        }
        Ok(Logs { shards: stored.or(wanted).unwrap_or_else(default_shards) })
    }

    /// Registers the logs of a stream, before anything is appended to them.
    ///
    /// The registry's identity stays empty: an entry never changes, and an input's identity is
    /// only known once its first line was read (`stored::input_identity`).
    pub(crate) async fn register(self, registry: &Registry, stream: &str) -> Result<(), Report> {
        for shard in 0..self.shards.get() {
            let entry = LogEntry {
                log: self.log(stream, shard),
                parents: Vec::new(),
                registered_at: clock::now(),
                start: Position::START,
                identity: String::new(),
            };
            registry.ensure(&entry).await.map_err(of_registry)?;
        }
        Ok(())
    }

    /// How many logs each input has.
    pub(crate) fn shards(self) -> NonZeroUsize {
        self.shards
    }

    /// The log of one shard of a stream.
    pub(crate) fn log(self, stream: &str, shard: usize) -> LogId {
        LogId::new(stream, format!("{shard}-of-{}", self.shards))
    }
}

fn of_registry(error: RegistryError) -> Problem {
    match error {
        RegistryError::Store(error) => Problem::of_store(&error),
        error => Problem::plain(error),
    }
}

fn shards_of(log: &LogId) -> Option<NonZeroUsize> {
    log.shard.split_once("-of-")?.1.parse().ok()
}

fn default_shards() -> NonZeroUsize {
    std::thread::available_parallelism().map_or(NonZeroUsize::MIN, |cores| cores.min(DEFAULT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_tells_how_many_there_are() {
        let twelve = NonZeroUsize::new(12);
        let log = Logs { shards: twelve.unwrap() }.log("flights", 3);
        assert_eq!(log.to_string(), "flights/3-of-12");
        assert_eq!(shards_of(&log), twelve);
        assert_eq!(shards_of(&LogId::new("flights", "shardId-0")), None);
    }
}
