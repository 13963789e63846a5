//! Which records the log has already, and which of these it cannot have.
//!
//! Pure.

use tidemill_model::{Position, WallMs};

use crate::append::error::StuckCause;
use crate::append::seen::is_sampled;
use crate::decode::RawRecord;

/// How much newer than the log's newest arrival a record must be before it proves that its source
/// was created anew, milliseconds. Brokers' time stamps do not rise strictly.
const REWIND_SLACK_MS: i64 = 10 * 60 * 1000;

/// Fails unless positions rise.
pub(super) fn rising(records: &[RawRecord]) -> Result<(), StuckCause> {
    let falls = |pair: &&[RawRecord]| pair[0].position >= pair[1].position;
    match records.windows(2).find(falls) {
        Some(pair) => Err(StuckCause::Disordered { position: pair[1].position }),
        None => Ok(()),
    }
}

/// The records, the first ones, at or below the tail.
pub(super) fn at_or_below(records: &[RawRecord], tail: Position) -> &[RawRecord] {
    &records[..records.partition_point(|record| record.position <= tail)]
}

/// Fails when one of the records, all at or below the tail, arrived clearly after everything in
/// the log. A log that remembers no arrival proves nothing.
pub(super) fn not_rewound(
    skipped: &[RawRecord],
    newest_arrival: Option<WallMs>,
) -> Result<(), StuckCause> {
    let Some(newest_arrival) = newest_arrival else { return Ok(()) };
    let clearly_after =
        |record: &&RawRecord| record.arrival.since(newest_arrival) > REWIND_SLACK_MS;
    match skipped.iter().find(clearly_after) {
        Some(RawRecord { position, arrival, .. }) => Err(StuckCause::SourceRewound {
            position: *position,
            arrival: *arrival,
            newest_arrival,
        }),
        None => Ok(()),
    }
}

/// Those positions that filters know, the newest first: so that segments are read from the newest
/// back, and only as far as needed.
pub(super) fn sampled(skipped: &[RawRecord]) -> impl Iterator<Item = Position> {
    skipped.iter().rev().map(|record| record.position).filter(|position| is_sampled(*position))
}
