//! Which of several parts a query fails on.
//!
//! An engine fails on a whole batch and names no row, so halves are run again until each failing
//! part is alone. Parts none of which fails are run once.
//!
//! # Invariants
//! 1. Only failures on values are searched for: when memory is out or the engine is wrong, no part is
//!    to blame.
//! 2. A part that does not fail alone is not to blame: the engine may evaluate for one row what only
//!    its neighbours need, as the right side of `x <> 0 AND 1 / x > 2`. So what fails does not depend
//!    on what is run together.
//!
//! Not here: what the parts are, and what becomes of them (`combine`, `merge::failed`).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::PhysicalExpr;

use crate::ports::is_of_value;

/// Bytes of what the engine says that a dead letter keeps: it may quote a value of any length.
const DETAIL_BYTES_MAX: usize = 512;

/// What parts do that failed together.
#[derive(Debug)]
pub(crate) struct Found<T> {
    /// Those that fail alone, rising, each with its failure.
    pub(crate) failing: Vec<(u32, DataFusionError)>,
    /// Those between, as ranges that ran without failure, rising, each with what it gave.
    pub(crate) passing: Vec<(Range<u32>, T)>,
}

/// Which of the parts `0..count` fail; `error` is the failure of all of them together. An error when
/// one is not of a value.
pub(crate) fn search<T>(
    count: usize,
    error: DataFusionError,
    run: &mut impl FnMut(Range<u32>) -> Result<T>,
) -> Result<Found<T>> {
    let mut found = Found { failing: Vec::new(), passing: Vec::new() };
    let mut failing = vec![(0..count as u32, error)];
    while let Some((parts, error)) = failing.pop() {
        if !is_of_value(&error) {
            return Err(error);
        }
        if parts.len() <= 1 {
            found.failing.push((parts.start, error));
            continue;
        }
        let middle = parts.start + (parts.end - parts.start) / 2;
        for half in [middle..parts.end, parts.start..middle] {
            match run(half.clone()) {
                Ok(given) => found.passing.push((half, given)),
                Err(error) => failing.push((half, error)),
            }
        }
    }
    found.failing.sort_by_key(|(part, _)| *part);
    found.passing.sort_by_key(|(parts, _)| parts.start);
    Ok(found)
}

/// An expression's value for each row, when it fails on no row alone.
pub(crate) fn values(expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<ArrayRef> {
    let count = rows.num_rows();
    match expr.evaluate(rows).and_then(|values| values.into_array(count)) {
        Err(error) if count > 1 && is_of_value(&error) => {
            let middle = count / 2;
            let first = values(expr, &rows.slice(0, middle))?;
            let second = values(expr, &rows.slice(middle, count - middle))?;
            Ok(concat(&[first.as_ref(), second.as_ref()])?)
        }
        values => values,
    }
}

/// What the engine says, as a dead letter has it.
pub(crate) fn detail(error: &DataFusionError) -> String {
    let mut detail = error.strip_backtrace();
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    detail
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
            let mut all: Vec<u32> = passing.into_iter().flat_map(|(rows, ())| rows).chain(found.clone()).collect();
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
        let passing: Vec<_> = found.passing.into_iter().map(|(rows, ())| rows).collect();
        assert_eq!(passing, [0..2, 2..3, 3..5, 5..7, 7..8, 8..10]);
    }

    #[test]
    fn a_failure_that_is_not_of_a_value_blames_none() {
        let memory = || DataFusionError::ResourcesExhausted("memory".to_string());
        let mut run = |_: Range<u32>| Err::<(), _>(memory());
        assert!(search(10, memory(), &mut run).is_err());
        assert!(search(10, cast(), &mut run).is_err());
    }
}
