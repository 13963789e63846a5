//! Decimal texts as exact numbers: no detour through floating point.
//!
//! The grammar is JSON's, but leading zeros are allowed, because CSV files have them; the JSON
//! reader has refused them before it comes here.

/// Why a text is not the wanted number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberError {
    /// No decimal number at all.
    Malformed,
    /// It has a fraction, where a whole number is wanted.
    Fraction,
    /// It does not fit.
    TooLarge,
}

/// A number's text, taken apart.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// Stops at the ends of `i64`: there is no text that long.
    exponent: i64,
}

/// The whole number that `text` stands for: `12`, and `12.0` and `1.2e1` as well.
pub(crate) fn whole_number(text: &str) -> Result<i64, NumberError> {
    if let Some(value) = short_number(text.as_bytes()) {
        return Ok(value);
    }
    let value = scaled(text, 0, Rest::MustBeZero)?;
    i64::try_from(value).map_err(|_| NumberError::TooLarge)
}

/// `text` as a number of `scale` digits after the point, times 10^scale, without the digits past
/// them: the largest number that is not above it, so a negative one with such digits is cut away from
/// zero. A negative scale cuts digits before the point.
pub(crate) fn cut(text: &str, scale: i8) -> Result<i128, NumberError> {
    scaled(text, scale, Rest::Cut)
}

/// `text` as a number of `scale` digits after the point, times 10^scale: exact, but that digits
/// past the scale are rounded, half away from zero.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, NumberError> {
    let value = scaled(text, scale, Rest::Rounded)?;
    let bound = 10u128.checked_pow(u32::from(precision)).ok_or(NumberError::TooLarge)?;
    if value.unsigned_abs() < bound { Ok(value) } else { Err(NumberError::TooLarge) }
}

/// Whether `text` is a decimal number.
pub(crate) fn is_number(text: &str) -> bool {
    parts(text.as_bytes()).is_some()
}

/// The common case: at most 18 digits and perhaps a minus.
pub(crate) fn short_number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// What becomes of digits past the scale.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    MustBeZero,
    Rounded,
    Cut,
}

/// `text` × 10^scale.
fn scaled(text: &str, scale: i8, rest: Rest) -> Result<i128, NumberError> {
    let parts = parts(text.as_bytes()).ok_or(NumberError::Malformed)?;
    let mut digits = parts.whole.iter().chain(parts.fraction).map(|digit| digit - b'0').peekable();
    let mut count = (parts.whole.len() + parts.fraction.len()) as i64;
    while digits.next_if_eq(&0).is_some() {
        count -= 1;
    }
    if count == 0 {
        return Ok(0);
    }
    // The value is 0.DIGITS × 10^point, so `point` of the digits are kept (or zeros added).
    let shift = parts.exponent.saturating_add(i64::from(scale));
    let point = count.saturating_sub(parts.fraction.len() as i64).saturating_add(shift);
    if point > 39 {
        return Err(NumberError::TooLarge);
    }
    let mut value = 0i128;
    for _ in 0..point.max(0) {
        let digit = digits.next().unwrap_or(0);
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit)))
            .ok_or(NumberError::TooLarge)?;
    }
    // With point < 0 a zero stands between the point and the first digit: nothing rounds up.
    let first_dropped = if point < 0 { Some(0) } else { digits.next() };
    match rest {
        Rest::MustBeZero => {
            if first_dropped.is_some_and(|digit| digit != 0) || digits.any(|digit| digit != 0) {
                return Err(NumberError::Fraction);
            }
        }
        Rest::Rounded => {
            if first_dropped.is_some_and(|digit| digit >= 5) {
                value = value.checked_add(1).ok_or(NumberError::TooLarge)?;
            }
        }
        Rest::Cut => {
            let below =
                first_dropped.is_some_and(|digit| digit != 0) || digits.any(|digit| digit != 0);
            if parts.negative && below {
                value = value.checked_add(1).ok_or(NumberError::TooLarge)?;
            }
        }
    }
    Ok(if parts.negative { -value } else { value })
}

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let (negative, text) = match text {
        [b'-', text @ ..] => (true, text),
        text => (false, text),
    };
    let (whole, text) = digits(text)?;
    let (fraction, text) = match text {
        [b'.', text @ ..] => digits(text)?,
        text => (&[][..], text),
    };
    let exponent = match text {
        [] => 0,
        [b'e' | b'E', text @ ..] => {
            let (sign, text) = match text {
                [b'-', text @ ..] => (-1, text),
                [b'+', text @ ..] => (1, text),
                text => (1, text),
            };
            let (exponent, []) = digits(text)? else { return None };
            exponent.iter().fold(0i64, |value, digit| {
                value.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0'))
            })
        }
        _ => return None,
    };
    Some(Parts { negative, whole, fraction, exponent })
}

/// The digits that `text` begins with, at least one, and the rest.
fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then(|| text.split_at(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_may_be_written_with_point_and_exponent() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("12", 12),
            ("-12", -12),
            ("007", 7),
            ("3.0", 3),
            ("1e3", 1_000),
            ("1.5e1", 15),
            ("1500e-2", 15),
            ("0e999999999999999999999", 0),
            ("0.000e5", 0),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("9007199254740993.0", 9_007_199_254_740_993),
        ] {
            assert_eq!(whole_number(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_says_why() {
        for (text, error) in [
            ("9223372036854775808", NumberError::TooLarge),
            ("-9223372036854775809", NumberError::TooLarge),
            ("1e400", NumberError::TooLarge),
            ("1e99999999999999999999999", NumberError::TooLarge),
            ("1.5", NumberError::Fraction),
            ("1e-1", NumberError::Fraction),
            ("1e-99999999999999999999999", NumberError::Fraction),
            ("0.05", NumberError::Fraction),
            ("", NumberError::Malformed),
            ("-", NumberError::Malformed),
            ("+1", NumberError::Malformed),
            (".5", NumberError::Malformed),
            ("5.", NumberError::Malformed),
            ("1e", NumberError::Malformed),
            ("1e+", NumberError::Malformed),
            ("0x1", NumberError::Malformed),
            ("1 ", NumberError::Malformed),
            ("NaN", NumberError::Malformed),
        ] {
            assert_eq!(whole_number(text), Err(error), "{text}");
        }
    }

    #[test]
    fn decimals_are_exact_and_round_half_away_from_zero() {
        for (text, precision, scale, value) in [
            ("0.1", 10, 2, Ok(10)),
            ("12.34", 10, 2, Ok(1_234)),
            ("1.005", 10, 2, Ok(101)),
            ("-1.005", 10, 2, Ok(-101)),
            ("1.0049999999999999999999999", 10, 2, Ok(100)),
            ("0.005", 10, 2, Ok(1)),
            ("0.0005", 10, 2, Ok(0)),
            ("0.004999", 10, 2, Ok(0)),
            ("1.5e-3", 10, 2, Ok(0)),
            ("99.99", 4, 2, Ok(9_999)),
            ("99.995", 4, 2, Err(NumberError::TooLarge)),
            ("100", 4, 2, Err(NumberError::TooLarge)),
            ("99999999999999999999999999999999999999", 38, 0, Ok(10i128.pow(38) - 1)),
            ("999999999999999999999999999999999999999", 38, 0, Err(NumberError::TooLarge)),
            ("1e38", 38, 0, Err(NumberError::TooLarge)),
            ("1e37", 38, 0, Ok(10i128.pow(37))),
            ("17.2e-1", 38, 37, Ok(172 * 10i128.pow(35))),
        ] {
            assert_eq!(decimal(text, precision, scale), value, "{text}");
        }
    }

    /// Python: `math.floor(Fraction(text) * 10**scale)`.
    #[test]
    fn what_is_cut_is_cut_downwards() {
        for (text, scale, value) in [
            ("1710037800.987", 3, 1_710_037_800_987),
            ("1710037800.9879999999999999999999999999999999999999", 3, 1_710_037_800_987),
            ("1.7100378e9", 3, 1_710_037_800_000),
            ("0.0009", 3, 0),
            ("0.000000001", 3, 0),
            ("-0.0009", 3, -1),
            ("-0.000000001", 3, -1),
            ("-1.5", 3, -1_500),
            ("-1.0000", 3, -1_000),
            ("-1.5001", 3, -1_501),
            ("1710037800987999999", -6, 1_710_037_800_987),
            ("-1", -6, -1),
            ("-1000000", -6, -1),
            ("-1000001", -6, -2),
            ("999999", -6, 0),
            ("-0", -6, 0),
            ("0e999999999999999999999", 3, 0),
        ] {
            assert_eq!(cut(text, scale), Ok(value), "{text}");
        }
        assert_eq!(cut("1e400", 3), Err(NumberError::TooLarge));
        assert_eq!(cut("1.", 3), Err(NumberError::Malformed));
    }

    proptest! {
        #[test]
        fn whole_numbers_round_trip(value: i64) {
            prop_assert_eq!(whole_number(&value.to_string()), Ok(value));
            prop_assert_eq!(whole_number(&format!("{value}.000")), Ok(value));
            prop_assert_eq!(whole_number(&format!("{value}00e-2")), Ok(value));
        }

        #[test]
        fn decimals_round_trip(value in -(10i128.pow(37))..10i128.pow(37), scale in 0i8..=37) {
            let digits = format!("{:0>38}", value.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
            let sign = if value < 0 { "-" } else { "" };
            let text = if fraction.is_empty() {
                format!("{sign}{whole}")
            } else {
                format!("{sign}{whole}.{fraction}")
            };
            prop_assert_eq!(decimal(&text, 38, scale), Ok(value));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}", scale in 0i8..=38) {
            let _ = whole_number(&text);
            let _ = decimal(&text, 38, scale);
            prop_assert_eq!(is_number(&text), decimal(&text, 38, 0) != Err(NumberError::Malformed));
        }
    }
}
