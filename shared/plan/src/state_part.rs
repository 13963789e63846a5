//! Numbers of the parts of stored state: a stage can have several, each with a schema of its own.
//!
//! `stage | part << 12`: the first part has the stage's own number, as it had before there were
//! others.

const STAGE_BITS: u32 = 12;

/// The number under which part `part` (below 16) of stage `stage` (below 4096) is stored.
pub fn part_number(stage: usize, part: usize) -> u16 {
    debug_assert!(stage < 1 << STAGE_BITS && part < 1 << (u16::BITS - STAGE_BITS));
    (stage | part << STAGE_BITS) as u16
}

/// The stage and the part of a number.
pub fn stage_and_part(number: u16) -> (usize, usize) {
    (usize::from(number & ((1 << STAGE_BITS) - 1)), usize::from(number >> STAGE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_stage_and_part() {
        assert_eq!(stage_and_part(3), (3, 0));
        for (stage, part) in [(0, 0), (0, 1), (7, 15), (4095, 2)] {
            assert_eq!(stage_and_part(part_number(stage, part)), (stage, part));
        }
    }
}
