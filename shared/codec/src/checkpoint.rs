//! Checkpoints: kind 2. Body: [`Checkpoint`].

use tidemill_model::Checkpoint;

use crate::{
    CodecError,
    item::{self, Kind},
};

/// The bytes of a checkpoint.
pub fn encode_checkpoint(checkpoint: &Checkpoint) -> Vec<u8> {
    item::encode(Kind::Checkpoint, checkpoint)
}

/// The checkpoint of [`encode_checkpoint`]'s bytes.
pub fn decode_checkpoint(bytes: &[u8]) -> Result<Checkpoint, CodecError> {
    item::decode(Kind::Checkpoint, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, option, prelude::*};
    use tidemill_model::{
        Epoch, EventMs, Fingerprint, LogId, LogProgress, Position, QueryProgress, SnapshotRef,
        Totals, WallMs,
    };

    use super::*;

    fn logs() -> impl Strategy<Value = (LogId, LogProgress)> {
        any::<(String, String, [u8; 26], Option<i64>, i64, Option<i64>, bool)>().prop_map(
            |(stream, shard, merged, clock, newest_append, newest_arrival, idle)| {
                let progress = LogProgress {
                    merged: Position::from_bytes(merged),
                    clock: clock.map(EventMs),
                    newest_append: WallMs(newest_append),
                    newest_arrival: newest_arrival.map(WallMs),
                    idle,
                };
                (LogId { stream, shard }, progress)
            },
        )
    }

    fn checkpoints() -> impl Strategy<Value = Checkpoint> {
        let query = any::<(u128, u64, u64)>().prop_map(|(fingerprint, results, windows)| {
            QueryProgress { fingerprint: Fingerprint(fingerprint), results, windows }
        });
        let snapshot =
            any::<(u64, String, u32, u64)>().prop_map(|(epoch, nonce, chunks, bytes)| {
                SnapshotRef { epoch: Epoch(epoch), nonce, chunks, bytes }
            });
        (
            any::<(u64, i64, Option<i64>, u64, Option<i64>, bool, [u64; 5])>(),
            proptest::collection::vec(logs(), 0..4),
            btree_map(any::<String>(), query, 0..4),
            option::of(snapshot),
        )
            .prop_map(
                |(
                    (epoch, at, watermark, log_bytes, oldest, emits, totals),
                    logs,
                    queries,
                    snapshot,
                )| {
                    let [records, dead_letters, late, windows, results] = totals;
                    Checkpoint {
                        epoch: Epoch(epoch),
                        at: WallMs(at),
                        watermark: watermark.map(EventMs),
                        logs: logs.into_iter().collect(),
                        queries,
                        snapshot,
                        log_bytes,
                        oldest_since_snapshot: oldest.map(WallMs),
                        emits,
                        totals: Totals { records, dead_letters, late, windows, results },
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn checkpoints_round_trip(checkpoint in checkpoints()) {
            prop_assert_eq!(decode_checkpoint(&encode_checkpoint(&checkpoint)), Ok(checkpoint));
        }

        #[test]
        fn random_bodies_never_panic(body: Vec<u8>) {
            let _ = decode_checkpoint(&item::seal(Kind::Checkpoint, &body));
            let _ = decode_checkpoint(&body);
        }
    }
}
