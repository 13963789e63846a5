//! Decoded records of one shard → one segment.
//!
//! Pure. Not here: how many records go into one (`fit.rs`).

use std::ops::Range;

use tidemill_codec::encode_segment;
use tidemill_model::limits::SEGMENT_BYTES_MAX;
use tidemill_model::{DeadLetter, DeadReason, EventMs, LogId, Position, Segment, WallMs};

use crate::append::error::StuckCause;
use crate::append::fit::{Fit, longest_fit};
use crate::append::seen::Seen;
use crate::decode::Decoded;
use crate::ports::{Combine, Combined};

/// What a segment takes from its log rather than from its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The tail.
    pub after: Position,
    /// `after` of the segment before.
    pub previous: Option<Position>,
    /// The log's newest arrival so far.
    pub newest_arrival: Option<WallMs>,
    /// Now.
    pub appended_at: WallMs,
}

/// A segment with its bytes.
#[derive(Debug)]
pub(super) struct Built {
    pub segment: Segment,
    pub bytes: Vec<u8>,
    /// Raw records in it.
    pub records: usize,
}

/// The segment of the longest prefix of `records` (raw record indices, at least one) that fits. A
/// record that alone does not fit becomes a dead letter with a segment of its own.
pub(super) fn build(
    log: &LogId,
    decoded: &Decoded,
    records: Range<usize>,
    place: Place,
    combine: &mut dyn Combine,
    seen: Option<EventMs>,
    bytes_max: usize,
) -> Result<Built, StuckCause> {
    let mut make = |length: usize| {
        let part = decoded.part(records.start..records.start + length);
        let Combined { blocks, failed } = match part.rows.num_rows() {
            0 => Combined::default(),
            _ => combine.combine(log, &part, seen)?,
        };
        let letters = part.dead.iter().map(|(_, letter)| letter.clone()).chain(failed).collect();
        let segment = Segment { blocks, ..segment(&part, letters, place) };
        let bytes = encode_segment(&segment);
        let size = bytes.len();
        Ok::<_, StuckCause>((Built { segment, bytes, records: length }, size))
    };
    match longest_fit(records.len(), bytes_max, &mut make)? {
        Fit::Prefix { made, .. } => Ok(made),
        Fit::FirstTooLarge { bytes } => {
            let part = decoded.part(records.start..records.start + 1);
            let letter = too_large(log, &part, bytes, bytes_max);
            let position = letter.position;
            let segment = segment(&part, vec![letter], place);
            let bytes = encode_segment(&segment);
            if bytes.len() > bytes_max.max(SEGMENT_BYTES_MAX) {
                let bytes = bytes.len();
                return Err(StuckCause::DeadLetterTooLarge { position, bytes });
            }
            Ok(Built { segment, bytes, records: 1 })
        }
    }
}

/// A segment of `part`'s records (at least one), still without blocks.
fn segment(part: &Decoded, dead_letters: Vec<DeadLetter>, place: Place) -> Segment {
    let records = &part.raw.records[part.range.clone()];
    let positions = records.iter().map(|record| record.position);
    let arrivals = [part.newest_arrival(), place.newest_arrival].into_iter().flatten();
    Segment {
        after: place.after,
        through: positions.clone().max().unwrap_or(place.after),
        records: records.len() as u64,
        appended_at: place.appended_at,
        newest_arrival: arrivals.max().unwrap_or(place.appended_at),
        clock: part.clock(),
        seen: Seen::of(place.after, place.previous, positions),
        dead_letters,
        blocks: Vec::new(),
    }
}

/// What is left of a record whose segment would have `bytes` bytes.
fn too_large(log: &LogId, part: &Decoded, bytes: usize, bytes_max: usize) -> DeadLetter {
    let detail = format!(
        "the record alone makes a segment larger than a segment may be. bytes=`{bytes}` \
         bytes_max=`{bytes_max}`"
    );
    part.raw.dead_letter(log, part.range.start, DeadReason::TooLarge { detail })
}
