//! What a segment tells later appends about its records: a Bloom filter over a fixed sample of
//! their positions, and the way back to the segment before it.
//!
//! A record at or below the tail is skipped because some segment holds it. Where the source's
//! order is broken (several invocations of one shard at a time) that is not true, and the record
//! would be lost in silence. So one position in [`SAMPLE`] can be looked up again.
//!
//! # Invariants
//! 1. Whether a position is sampled depends on the position alone: who writes a filter and who
//!    asks it agree.
//! 2. A filter never denies a position that was put in. It may confirm one that was not:
//!    detection, not proof.
//! 3. The bytes are stored, so hash, probes and layout must not change.
//!
//! The filter is written out here, a dozen lines, rather than taken from a crate: a crate that
//! changes its algorithm between versions would make stored filters deny what they hold.
//!
//! Stored: 26 bytes `after` of the previous segment (this segment's own `after`: there is none),
//! then the filter's bits, a power of two of them, or nothing when no record was sampled.

use tidemill_model::Position;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// One position of so many is sampled.
const SAMPLE: u64 = 16;
/// Bits per sampled position: with 4 probes 1 or 2 in 100 strangers pass.
const BITS_PER_POSITION: usize = 8;
/// Probes per position.
const PROBES: u64 = 4;
/// Largest filter, bits. A segment of more than 8,000 records has a weaker filter rather than a
/// larger one, because a segment's bytes are its price.
const BITS_MAX: usize = 4096;
/// Smallest filter, bits.
const BITS_MIN: usize = 64;
/// Seed of the probes, so that they do not follow from the sampling's hash.
const PROBE_SEED: u64 = 0x7469_6465_6d69_6c6c;

/// Whether filters know this position.
pub(super) fn is_sampled(position: Position) -> bool {
    xxh3_64(position.as_bytes()).is_multiple_of(SAMPLE)
}

/// A segment's `seen`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// `after` of the segment before; `None`: nobody knew one.
    pub previous: Option<Position>,
    filter: Option<Vec<u8>>,
}

impl Seen {
    /// What the segment after `after` tells of `positions`.
    pub(super) fn of(
        after: Position,
        previous: Option<Position>,
        positions: impl Iterator<Item = Position>,
    ) -> Vec<u8> {
        let sampled: Vec<Position> = positions.filter(|position| is_sampled(*position)).collect();
        let mut bytes = previous.unwrap_or(after).as_bytes().to_vec();
        if !sampled.is_empty() {
            let bits = (sampled.len() * BITS_PER_POSITION).next_power_of_two();
            let mut filter = vec![0u8; bits.clamp(BITS_MIN, BITS_MAX) / 8];
            for position in sampled {
                for bit in probes(position, filter.len()) {
                    filter[bit / 8] |= 1 << (bit % 8);
                }
            }
            bytes.extend(filter);
        }
        bytes
    }

    /// Reads the `seen` of the segment after `after`. Bytes that are too short to be one know
    /// nothing, so every position may be theirs.
    pub(super) fn read(after: Position, bytes: &[u8]) -> Seen {
        let Some((previous, filter)) = bytes.split_first_chunk::<{ Position::BYTES }>() else {
            return Seen { previous: None, filter: None };
        };
        let previous = Position::from_bytes(*previous);
        Seen { previous: (previous < after).then_some(previous), filter: Some(filter.to_vec()) }
    }

    /// Whether the segment may hold this position. Asked of sampled positions only.
    pub(super) fn may_hold(&self, position: Position) -> bool {
        let Some(filter) = &self.filter else { return true };
        !filter.is_empty()
            && probes(position, filter.len()).all(|bit| filter[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

/// The bits of a position in a filter of `bytes` bytes (at least 1).
fn probes(position: Position, bytes: usize) -> impl Iterator<Item = usize> {
    let hash = xxh3_64_with_seed(position.as_bytes(), PROBE_SEED);
    let (first, step) = (hash & 0xffff_ffff, (hash >> 32) | 1);
    (0..PROBES).map(move |probe| ((first + probe * step) % (bytes as u64 * 8)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampled(count: usize) -> Vec<Position> {
        (0..).map(Position::from_offset).filter(|p| is_sampled(*p)).take(count).collect()
    }

    #[test]
    fn one_position_in_sixteen_is_sampled() {
        let count = (0..16_000).filter(|n| is_sampled(Position::from_offset(*n))).count();
        assert!((900..1_100).contains(&count), "{count}");
    }

    #[test]
    fn stored_bytes_stay_as_they_are() {
        let after = Position::from_offset(99);
        let bytes = Seen::of(after, Some(Position::START), sampled(3).into_iter());
        assert_eq!(bytes[..26], [0; 26]);
        assert_eq!(bytes[26..], [0, 129, 128, 98, 64, 0, 56, 64]);
        assert_eq!(Seen::of(after, None, std::iter::empty()), after.as_bytes());
    }

    #[test]
    fn a_filter_that_holds_nothing_denies_and_an_absent_one_does_not() {
        let after = Position::from_offset(0);
        let position = sampled(1)[0];
        let none = Seen::read(after, &Seen::of(after, None, std::iter::empty()));
        assert!(!none.may_hold(position));
        assert!(Seen::read(after, &[]).may_hold(position));
    }

    #[test]
    fn few_strangers_pass_a_filter_of_a_usual_batch() {
        let all = sampled(2_000);
        let (ours, strangers) = all.split_at(500);
        let after = Position::START;
        let seen = Seen::read(after, &Seen::of(after, None, ours.iter().copied()));
        let passed = strangers.iter().filter(|stranger| seen.may_hold(**stranger)).count();
        assert!(passed < strangers.len() / 20, "{passed} of {}", strangers.len());
    }

    proptest! {
        #[test]
        fn a_filter_never_denies_what_it_holds(first in 0..1u64 << 60, count in 0..20_000u64) {
            let positions = || (first..first + count).map(Position::from_offset);
            let after = Position::START;
            let seen = Seen::read(after, &Seen::of(after, None, positions()));
            prop_assert!(positions().filter(|p| is_sampled(*p)).all(|p| seen.may_hold(p)));
        }

        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
            let seen = Seen::read(Position::END, &bytes);
            let _ = seen.may_hold(Position::from_offset(7));
        }
    }
}
