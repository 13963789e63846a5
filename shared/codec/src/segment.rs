//! Segments: kind 1. Body: [`Segment`].
//!
//! A segment's encoded length is what append measures against `limits::SEGMENT_BYTES_MAX`.

use tidemill_model::Segment;

use crate::{
    CodecError,
    item::{self, Kind},
};

/// The bytes of a segment. Their number is the segment's size.
pub fn encode_segment(segment: &Segment) -> Vec<u8> {
    debug_assert!(segment.after < segment.through, "a segment covers something");
    item::encode(Kind::Segment, segment)
}

/// The segment of [`encode_segment`]'s bytes; one that covers nothing is malformed.
pub fn decode_segment(bytes: &[u8]) -> Result<Segment, CodecError> {
    let segment: Segment = item::decode(Kind::Segment, bytes)?;
    if segment.after >= segment.through {
        let (after, through) = (segment.after, segment.through);
        let reason = format!("it covers nothing: after {after} through {through}");
        return Err(CodecError::malformed(Kind::Segment.name(), reason));
    }
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};
    use tidemill_model::{
        Block, DeadLetter, DeadReason, EventMs, Fingerprint, LogId, Position, RawBytes, WallMs,
    };

    use super::*;

    fn reasons() -> impl Strategy<Value = DeadReason> {
        let windows = vec((any::<i64>(), any::<i64>()), 0..4).prop_map(|windows| {
            windows.into_iter().map(|(start, end)| (EventMs(start), EventMs(end))).collect()
        });
        prop_oneof![
            any::<String>().prop_map(|detail| DeadReason::Undecodable { detail }),
            Just(DeadReason::NoEventTime),
            any::<i64>().prop_map(|ms| DeadReason::Future { event_time: EventMs(ms) }),
            any::<String>().prop_map(|detail| DeadReason::TooLarge { detail }),
            any::<(String, String)>()
                .prop_map(|(query, detail)| DeadReason::Failed { query, detail }),
            (any::<(String, i64, u64, u64, Option<String>, bool)>(), windows).prop_map(
                |((query, ms, windows_missed, records, partial, counted_elsewhere), windows)| {
                    DeadReason::Late {
                        query,
                        event_time: EventMs(ms),
                        windows,
                        windows_missed,
                        records,
                        partial,
                        counted_elsewhere,
                    }
                }
            ),
        ]
    }

    fn dead_letters() -> impl Strategy<Value = DeadLetter> {
        let raw = any::<(Vec<u8>, u64, u64)>().prop_map(|(first, length, hash)| RawBytes {
            first,
            length,
            hash,
        });
        (any::<(String, String, u64, i64)>(), reasons(), option::of(raw)).prop_map(
            |((stream, shard, offset, arrival), reason, raw)| DeadLetter {
                log: LogId { stream, shard },
                position: Position::from_offset(offset),
                arrival: WallMs(arrival),
                reason,
                raw,
            },
        )
    }

    fn segments() -> impl Strategy<Value = Segment> {
        let blocks = any::<(u128, u16, u16, u64, Vec<u8>)>().prop_map(
            |(query, stage, partition, rows, batch)| Block {
                query: Fingerprint(query),
                stage,
                partition,
                rows,
                batch,
            },
        );
        (
            any::<(u64, u32, u64, i64, i64, Option<i64>, Vec<u8>)>(),
            vec(dead_letters(), 0..3),
            vec(blocks, 0..4),
        )
            .prop_map(
                |((after, more, records, appended, arrival, clock, seen), dead_letters, blocks)| {
                    let after = after / 2;
                    Segment {
                        after: Position::from_offset(after),
                        through: Position::from_offset(after + 1 + u64::from(more)),
                        records,
                        appended_at: WallMs(appended),
                        newest_arrival: WallMs(arrival),
                        clock: clock.map(EventMs),
                        seen,
                        dead_letters,
                        blocks,
                    }
                },
            )
    }

    #[test]
    fn a_segment_that_covers_nothing_is_refused() {
        let position = Position::from_offset(7);
        let empty = Segment {
            after: position,
            through: position,
            records: 0,
            appended_at: WallMs(0),
            newest_arrival: WallMs(0),
            clock: None,
            seen: Vec::new(),
            dead_letters: Vec::new(),
            blocks: Vec::new(),
        };
        let bytes = item::encode(Kind::Segment, &empty);
        assert!(matches!(decode_segment(&bytes), Err(CodecError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn segments_round_trip(segment in segments()) {
            prop_assert_eq!(decode_segment(&encode_segment(&segment)), Ok(segment));
        }

        #[test]
        fn random_bodies_never_panic(body: Vec<u8>) {
            let _ = decode_segment(&item::seal(Kind::Segment, &body));
            let _ = decode_segment(&body);
        }

        /// A body that begins like a segment's reaches deeper than random bytes do.
        #[test]
        fn damaged_bodies_never_panic(
            segment in segments(), at: prop::sample::Index, with: u8
        ) {
            let mut body = item::to_body(&segment);
            let at = at.index(body.len());
            body[at] = with;
            let _ = decode_segment(&item::seal(Kind::Segment, &body));
        }
    }
}
