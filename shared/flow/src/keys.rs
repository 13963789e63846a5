//! Keys of the state table: the one place that spells them.
//!
//! | item | pk | sk |
//! |---|---|---|
//! | segment | `{pipeline}/log/{stream}/{shard}` | [`Keys::segment`] of its `after` |
//! | registry entry | `{pipeline}/logs` | `{stream}/{shard}` |
//! | checkpoint | `{pipeline}/checkpoint` | epoch |
//! | emitted marker | `{pipeline}/emitted` | epoch |
//! | snapshot chunk | `{pipeline}/snapshot/{epoch}/{nonce}/{chunk mod 16}` | chunk |
//!
//! # Invariants
//! 1. Numbers in a sort key have a fixed width, so that byte order is their order.
//! 2. Neither pipeline nor stream names hold a slash (`pipeline::check` refuses them), so two
//!    pipelines, or two logs, never share a key.
//!
//! These texts are stored: changing one orphans everybody's state.

use tidemill_model::{Epoch, LogId, Position};

/// Partitions over which the chunks of one snapshot are spread, so that none is hot.
const SNAPSHOT_PARTITIONS: u32 = 16;

/// The keys of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pipeline: String,
}

impl Keys {
    /// The keys of the pipeline of this name.
    pub fn new(pipeline: impl Into<String>) -> Keys {
        Keys { pipeline: pipeline.into() }
    }

    /// Partition key of a log's segments.
    pub fn log(&self, log: &LogId) -> String {
        format!("{}/log/{log}", self.pipeline)
    }

    /// Sort key of the segment that begins after `after`.
    pub fn segment(after: Position) -> String {
        after.to_key()
    }

    /// Partition key of the log registry.
    pub fn logs(&self) -> String {
        format!("{}/logs", self.pipeline)
    }

    /// Sort key of a log's registry entry.
    pub fn entry(log: &LogId) -> String {
        log.to_string()
    }

    /// Partition key of the checkpoints.
    pub fn checkpoint(&self) -> String {
        format!("{}/checkpoint", self.pipeline)
    }

    /// Partition key of the emitted markers.
    pub fn emitted(&self) -> String {
        format!("{}/emitted", self.pipeline)
    }

    /// Sort key of a checkpoint or an emitted marker.
    pub fn epoch(epoch: Epoch) -> String {
        epoch.to_key()
    }

    /// Partition key and sort key of a snapshot's chunk.
    pub fn snapshot(&self, epoch: Epoch, nonce: &str, chunk: u32) -> (String, String) {
        let partition = chunk % SNAPSHOT_PARTITIONS;
        let pk = format!("{}/snapshot/{epoch}/{nonce}/{partition}", self.pipeline);
        (pk, format!("{chunk:010}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_keys_are_spelled_like_this() {
        let keys = Keys::new("ads");
        let log = LogId::new("clicks", "shardId-000000000001");
        assert_eq!(keys.log(&log), "ads/log/clicks/shardId-000000000001");
        assert_eq!(
            Keys::segment(Position::from_offset(0)),
            "0000000000000000000000000000000000000000000000400000"
        );
        assert_eq!(keys.logs(), "ads/logs");
        assert_eq!(Keys::entry(&log), "clicks/shardId-000000000001");
        assert_eq!(keys.checkpoint(), "ads/checkpoint");
        assert_eq!(keys.emitted(), "ads/emitted");
        assert_eq!(Keys::epoch(Epoch(7)), "00000000000000000007");
        assert_eq!(
            keys.snapshot(Epoch(7), "n0", 18),
            ("ads/snapshot/7/n0/2".to_string(), "0000000018".to_string())
        );
    }

    #[test]
    fn sort_keys_order_like_their_numbers() {
        let keys = Keys::new("ads");
        assert!(Keys::epoch(Epoch(9)) < Keys::epoch(Epoch(10)));
        assert!(keys.snapshot(Epoch(0), "n", 9).1 < keys.snapshot(Epoch(0), "n", 25).1);
    }
}
