//! Exact arithmetic that AVG and `/` of decimals share: the type of a quotient, and its rounding.
//!
//! A quotient has four digits after the point more than what is divided, fewer where the whole part of
//! what is divided leaves less room of the 38 digits. It is rounded half away from zero.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, i256};

/// Digits after the point that a quotient has more than its dividend.
const MORE_DIGITS: u8 = 4;

/// Digits after the point of a quotient of a `DECIMAL(precision, scale)`.
pub(super) fn quotient_scale(precision: u8, scale: i8) -> i8 {
    let whole = i16::from(precision) - i16::from(scale);
    let room = i16::from(DECIMAL128_MAX_PRECISION) - whole;
    let wanted = i16::from(scale) + i16::from(MORE_DIGITS);
    wanted.min(room).clamp(0, i16::from(DECIMAL128_MAX_PRECISION)) as i8
}

/// `dividend` / `divisor`, rounded half away from zero; `None`: by zero.
pub(super) fn rounded(dividend: i256, divisor: i256) -> Option<i256> {
    if let (Some(dividend), Some(divisor)) = (dividend.to_i128(), divisor.to_i128())
        && dividend != i128::MIN
    {
        return rounded_short(dividend, divisor).map(i256::from_i128);
    }
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?;
    // |rest| ≥ |divisor| − |rest|: at least half.
    let (rest, size) = (rest.wrapping_abs(), divisor.wrapping_abs());
    if rest < size.wrapping_sub(rest) {
        return Some(quotient);
    }
    let is_negative = dividend.is_negative() != divisor.is_negative();
    Some(quotient.wrapping_add(if is_negative { i256::MINUS_ONE } else { i256::ONE }))
}

fn rounded_short(dividend: i128, divisor: i128) -> Option<i128> {
    let quotient = dividend.checked_div(divisor)?;
    let (rest, size) = ((dividend % divisor).unsigned_abs(), divisor.unsigned_abs());
    if rest < size - rest {
        return Some(quotient);
    }
    Some(if (dividend < 0) != (divisor < 0) { quotient - 1 } else { quotient + 1 })
}

/// 10 to the power of `digits`; `None`: beyond 256 bits.
pub(super) fn power_of_ten(digits: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(digits)
}

/// Whether a whole number has at most so many digits.
pub(super) fn fits(value: i256, precision: u8) -> Option<i128> {
    let value = value.to_i128()?;
    let limit = 10u128.checked_pow(u32::from(precision))?;
    (value.unsigned_abs() < limit).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (dividend, divisor, wanted) in [
            (7, 2, 4),
            (-7, 2, -4),
            (7, -2, -4),
            (-7, -2, 4),
            (1, 3, 0),
            (2, 3, 1),
            (-2, 3, -1),
            (6, 3, 2),
        ] {
            let of = |number: i64| i256::from_i128(i128::from(number));
            assert_eq!(
                rounded(of(dividend), of(divisor)),
                Some(of(wanted)),
                "{dividend}/{divisor}"
            );
            // The same beyond 128 bits.
            let far = power_of_ten(45).unwrap();
            let (a, b) = (of(dividend).wrapping_mul(far), of(divisor).wrapping_mul(far));
            assert_eq!(rounded(a, b), Some(of(wanted)), "{dividend}/{divisor}");
        }
        assert_eq!(rounded(i256::ONE, i256::ZERO), None);
    }

    #[test]
    fn the_whole_part_takes_digits_from_those_after_the_point() {
        for (precision, scale, wanted) in
            [(10, 2, 6), (20, 2, 6), (38, 10, 10), (38, 0, 0), (36, 0, 2), (38, 38, 38), (20, 0, 4)]
        {
            assert_eq!(quotient_scale(precision, scale), wanted, "DECIMAL({precision}, {scale})");
        }
    }
}
