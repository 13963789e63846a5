//! Numbers of snapshot parts: a stage's state can have several, each with a schema of its own.
//!
//! `stage | part << 12`. Part 0 is the stage's rows, so that snapshots from before there were
//! others keep their meaning.

/// Bits of the stage in a part's number.
const STAGE_BITS: u32 = 12;

/// The number of part `part` (below 16) of stage `stage` (below 4096).
pub(super) fn number(stage: usize, part: usize) -> u16 {
    debug_assert!(stage < 1 << STAGE_BITS && part < 1 << (u16::BITS - STAGE_BITS));
    stage as u16 | (part as u16) << STAGE_BITS
}

/// Stage and part of a number.
pub(super) fn of(number: u16) -> (usize, usize) {
    (usize::from(number & ((1 << STAGE_BITS) - 1)), usize::from(number >> STAGE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_stages_alone_mean_their_rows() {
        assert_eq!(of(3), (3, 0));
        for (stage, part) in [(0, 0), (0, 1), (7, 15), (4095, 2)] {
            assert_eq!(of(number(stage, part)), (stage, part));
        }
    }
}
