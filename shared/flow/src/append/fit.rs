//! How many records go into one segment: the prefix search.
//!
//! # Invariants
//! 1. What is chosen was measured, and fits. Sizes are never trusted to grow evenly: bytes are
//!    compressed.
//! 2. Deterministic: the same sizes give the same prefix.
//!
//! The prefix is the longest up to an eighth of a segment: a prefix that fills seven eighths is
//! taken, because each measuring combines and encodes all its records again.

/// A prefix, or none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit<T> {
    /// The first `length` records fit, as `made`.
    Prefix {
        /// Records in the prefix; at least 1.
        length: usize,
        /// What measuring made of them.
        made: T,
    },
    /// Not even the first record fits.
    FirstTooLarge {
        /// Its bytes.
        bytes: usize,
    },
}

/// The longest prefix of `count` records (at least 1) that `measure` makes at most `bytes_max`
/// bytes of. `measure` answers what it made of a prefix and its bytes.
pub(super) fn longest_fit<T, E>(
    count: usize,
    bytes_max: usize,
    mut measure: impl FnMut(usize) -> Result<(T, usize), E>,
) -> Result<Fit<T>, E> {
    let (made, bytes) = measure(count)?;
    if bytes <= bytes_max {
        return Ok(Fit::Prefix { length: count, made });
    }
    let mut fits = (0, 0);
    let mut exceeds = (count, bytes);
    let mut best = None;
    let mut by_ratio = true;
    while exceeds.0 - fits.0 > 1 && fits.1 < bytes_max - bytes_max / 8 {
        let length =
            if by_ratio { by_size(fits, exceeds, bytes_max) } else { middle(fits, exceeds) };
        by_ratio = !by_ratio;
        let (made, bytes) = measure(length)?;
        if bytes <= bytes_max {
            fits = (length, bytes);
            best = Some(made);
        } else {
            exceeds = (length, bytes);
        }
    }
    Ok(match best {
        Some(made) => Fit::Prefix { length: fits.0, made },
        None => Fit::FirstTooLarge { bytes: exceeds.1 },
    })
}

/// The length that would fill fifteen sixteenths if bytes grew evenly between the two.
fn by_size(fits: (usize, usize), exceeds: (usize, usize), bytes_max: usize) -> usize {
    let wanted = (bytes_max - bytes_max / 16).saturating_sub(fits.1) as u128;
    let span = (exceeds.1 - fits.1).max(1) as u128;
    let more = (exceeds.0 - fits.0) as u128 * wanted / span;
    (fits.0 + more as usize).clamp(fits.0 + 1, exceeds.0 - 1)
}

/// Halfway: bounds the search whatever the sizes are.
fn middle(fits: (usize, usize), exceeds: (usize, usize)) -> usize {
    fits.0 + (exceeds.0 - fits.0) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    /// Searches over records of these sizes; answers the fit and how often it measured.
    fn search(sizes: &[usize], bytes_max: usize) -> (Fit<usize>, usize) {
        let mut measured = 0;
        let fit = longest_fit(sizes.len(), bytes_max, |length| {
            measured += 1;
            let bytes = sizes[..length].iter().sum();
            Ok::<_, Infallible>((length, bytes))
        });
        (fit.unwrap(), measured)
    }

    #[test]
    fn what_fits_whole_is_measured_once() {
        assert_eq!(search(&[10; 10], 100), (Fit::Prefix { length: 10, made: 10 }, 1));
    }

    #[test]
    fn even_sizes_are_found_at_the_second_try() {
        assert_eq!(search(&[1; 10_000], 1_600), (Fit::Prefix { length: 1_500, made: 1_500 }, 2));
    }

    #[test]
    fn a_first_record_that_never_fits_is_named() {
        assert_eq!(search(&[101], 100).0, Fit::FirstTooLarge { bytes: 101 });
        assert_eq!(search(&[101, 1, 1], 100).0, Fit::FirstTooLarge { bytes: 101 });
    }

    #[test]
    fn a_large_record_ends_the_prefix_before_it() {
        assert_eq!(search(&[1, 1, 1_000, 1], 100).0, Fit::Prefix { length: 2, made: 2 });
    }

    proptest! {
        #[test]
        fn the_prefix_fits_and_is_long(
            sizes in proptest::collection::vec(0..300usize, 1..400),
            bytes_max in 100..5_000usize,
        ) {
            let (fit, measured) = search(&sizes, bytes_max);
            prop_assert!(measured <= 24);
            match fit {
                Fit::Prefix { length, made } => {
                    let bytes: usize = sizes[..length].iter().sum();
                    prop_assert!(length == made && bytes <= bytes_max);
                    let longest = sizes.len() == length || bytes + sizes[length] > bytes_max;
                    prop_assert!(longest || bytes >= bytes_max - bytes_max / 8);
                }
                Fit::FirstTooLarge { bytes } => {
                    prop_assert_eq!(bytes, sizes[0]);
                    prop_assert!(bytes > bytes_max);
                }
            }
        }
    }
}
