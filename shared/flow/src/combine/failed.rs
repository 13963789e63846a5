//! Which records make a query fail.
//!
//! An engine fails on a whole batch and names no row, so halves are run again until each failing row
//! is alone. A batch without failing rows is run once.
//!
//! # Invariants
//! 1. Only failures on values are searched for: when memory is out or the engine is wrong, no record
//!    is to blame.
//! 2. A row that does not fail alone is not to blame: the engine may evaluate for one row what only
//!    its neighbours need, as the right side of `x <> 0 AND 1 / x > 2`.
//!
//! Not here: what becomes of the records (`combine`).

use std::ops::Range;

use datafusion::common::{DataFusionError, Result};
use tidemill_model::{DeadLetter, DeadReason, LogId};

use crate::decode::Decoded;
use crate::ports::is_of_value;

/// Bytes of what the engine says that a dead letter keeps: it may quote a value of any length.
const DETAIL_BYTES_MAX: usize = 512;

/// What the rows of a failed batch do.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that fail alone, rising, each with its failure.
    pub(super) failing: Vec<(u32, DataFusionError)>,
    /// Those between, as ranges that ran without failure, rising.
    pub(super) passing: Vec<Range<u32>>,
}

/// Which of the rows `0..count` fail; `error` is the failure of all of them together. An error when
/// one is not of a value.
pub(super) fn search(
    count: usize,
    error: DataFusionError,
    run: &mut impl FnMut(Range<u32>) -> Result<()>,
) -> Result<Found> {
    let mut found = Found::default();
    let mut failing = vec![(0..count as u32, error)];
    while let Some((rows, error)) = failing.pop() {
        if !is_of_value(&error) {
            return Err(error);
        }
        if rows.len() == 1 {
            found.failing.push((rows.start, error));
            continue;
        }
        let middle = rows.start + (rows.end - rows.start) / 2;
        for half in [middle..rows.end, rows.start..middle] {
            match run(half.clone()) {
                Ok(()) => found.passing.push(half),
                Err(error) => failing.push((half, error)),
            }
        }
    }
    found.failing.sort_by_key(|(row, _)| *row);
    found.passing.sort_by_key(|rows| rows.start);
    Ok(found)
}

/// The dead letter of a row that a query fails on.
pub(super) fn letter(
    log: &LogId,
    decoded: &Decoded,
    row: u32,
    query: &str,
    error: &DataFusionError,
) -> DeadLetter {
    let mut detail = error.strip_backtrace();
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    let reason = DeadReason::Failed { query: query.to_string(), detail };
    decoded.raw.dead_letter(log, decoded.records[row as usize] as usize, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::error::ArrowError;
    use proptest::prelude::*;

    fn cast() -> DataFusionError {
        ArrowError::CastError("no number".to_string()).into()
    }

    proptest! {
        #[test]
        fn each_failing_row_is_found_and_no_other(fails in prop::collection::vec(any::<bool>(), 1..200)) {
            let mut runs = 0;
            let mut run = |rows: Range<u32>| {
                runs += 1;
                match fails[rows.start as usize..rows.end as usize].contains(&true) {
                    true => Err(cast()),
                    false => Ok(()),
                }
            };
            prop_assume!(fails.contains(&true));
            let Found { failing, passing } = search(fails.len(), cast(), &mut run).unwrap();
            let found: Vec<u32> = failing.into_iter().map(|(row, _)| row).collect();
            let mut all: Vec<u32> = passing.into_iter().flatten().chain(found.clone()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..fails.len() as u32).collect::<Vec<_>>());
            let expected: Vec<u32> =
                (0..fails.len() as u32).filter(|row| fails[*row as usize]).collect();
            prop_assert!(runs <= 2 * fails.len());
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_failure_of_rows_together_blames_none() {
        let mut run = |rows: Range<u32>| if rows.len() > 2 { Err(cast()) } else { Ok(()) };
        let found = search(10, cast(), &mut run).unwrap();
        assert!(found.failing.is_empty());
        assert_eq!(found.passing, [0..2, 2..3, 3..5, 5..7, 7..8, 8..10]);
    }

    #[test]
    fn a_failure_that_is_not_of_a_value_blames_none() {
        let memory = || DataFusionError::ResourcesExhausted("memory".to_string());
        let mut run = |_: Range<u32>| Err(memory());
        assert!(search(10, memory(), &mut run).is_err());
        assert!(search(10, cast(), &mut run).is_err());
    }
}
