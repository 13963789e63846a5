//! The logs of a run: each stream's input is split into as many as there are shards.
//!
//! A shard's name tells how many there are (`0-of-4`), because a record's shard depends on it: a
//! store is only ever continued with the number it began with.

use std::sync::Arc;

use miette::Report;
use tidemill_flow::append::{Registry, RegistryError};
use tidemill_flow::keys::Keys;
use tidemill_model::store::Store;
use tidemill_model::{LogEntry, LogId, Position};

use super::reader::Reader;
use crate::clock;
use crate::problem::Problem;

/// Most shards when nobody says how many.
const DEFAULT_MAX: u16 = 4;

/// The logs of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logs {
    shards: u16,
}

impl Logs {
    /// Registers the logs of all inputs before anything is appended, or refuses: another number of
    /// shards, or another input of the same name.
    pub(crate) async fn register(
        store: &Arc<dyn Store>,
        keys: &Keys,
        readers: &[Reader],
        wanted: Option<u16>,
    ) -> Result<Logs, Report> {
        let registry = Registry::new(Arc::clone(store), keys.clone());
        let known = registry.all().await.map_err(Problem::plain)?;
        let stored = known.iter().find_map(|entry| shards_of(&entry.log));
        let shards = match (stored, wanted) {
            (Some(stored), Some(wanted)) if stored != wanted => {
                return Err(Problem::new(
                    format!("this store was begun with --shards {stored}, not {wanted}"),
                    format!("run with --shards {stored} or without it, or name a new store"),
                )
                .into());
            }
            (Some(stored), _) => stored,
            (None, Some(wanted)) => wanted,
            (None, None) => default_shards(),
        };
        let logs = Logs { shards };
        for reader in readers {
            for shard in 0..shards {
                let entry = LogEntry {
                    log: logs.log(reader.stream(), shard),
                    parents: Vec::new(),
                    registered_at: clock::now(),
                    start: Position::START,
                    identity: reader.identity().to_string(),
                };
                registry.ensure(&entry).await.map_err(|error| refused(error, reader))?;
            }
        }
        Ok(logs)
    }

    /// How many logs each input has.
    pub(crate) fn shards(self) -> u16 {
        self.shards
    }

    /// The log of one shard of a stream.
    pub(crate) fn log(self, stream: &str, shard: u16) -> LogId {
        LogId::new(stream, format!("{shard}-of-{}", self.shards))
    }
}

fn shards_of(log: &LogId) -> Option<u16> {
    log.shard.split_once("-of-")?.1.parse().ok()
}

fn default_shards() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(DEFAULT_MAX).min(DEFAULT_MAX)
}

fn refused(error: RegistryError, reader: &Reader) -> Problem {
    match error {
        RegistryError::SourceChanged { .. } => Problem::new(
            format!(
                "{} is not what this store has read as stream `{}` before: it begins differently",
                reader.name(),
                reader.stream()
            ),
            "give the input that the store was begun with (it may have grown), or name a new store",
        ),
        error => Problem::plain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_tells_how_many_there_are() {
        let log = Logs { shards: 12 }.log("flights", 3);
        assert_eq!(log.to_string(), "flights/3-of-12");
        assert_eq!(shards_of(&log), Some(12));
        assert_eq!(shards_of(&LogId::new("flights", "shardId-0")), None);
    }
}
