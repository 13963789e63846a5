//! Entries of the log registry: kind 3. Body: [`LogEntry`].

use tidemill_model::LogEntry;

use crate::{
    CodecError,
    item::{self, Kind},
};

/// The bytes of a registry entry.
pub fn encode_log_entry(entry: &LogEntry) -> Vec<u8> {
    item::encode(Kind::LogEntry, entry)
}

/// The registry entry of [`encode_log_entry`]'s bytes.
pub fn decode_log_entry(bytes: &[u8]) -> Result<LogEntry, CodecError> {
    item::decode(Kind::LogEntry, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemill_model::{LogId, Position, WallMs};

    use super::*;

    proptest! {
        #[test]
        fn entries_round_trip(
            log: (String, String),
            parents: Vec<(String, String)>,
            registered_at: i64,
            start: [u8; 26],
            identity: String,
        ) {
            let id = |(stream, shard)| LogId { stream, shard };
            let entry = LogEntry {
                log: id(log),
                parents: parents.into_iter().map(id).collect(),
                registered_at: WallMs(registered_at),
                start: Position::from_bytes(start),
                identity,
            };
            prop_assert_eq!(decode_log_entry(&encode_log_entry(&entry)), Ok(entry));
        }

        #[test]
        fn random_bodies_never_panic(body: Vec<u8>) {
            let _ = decode_log_entry(&item::seal(Kind::LogEntry, &body));
            let _ = decode_log_entry(&body);
        }
    }
}
