//! Sums of doubles without rounding: what is added can be taken away again, and the answer does not
//! depend on the order or on what was there before.
//!
//! A sum is an integer multiple of 2^−1074, the least double, in digits of 32 bits that carry late,
//! as in Radford M. Neal, "Fast exact summation using small and large superaccumulators" (2015).
//!
//! # Invariants
//! [`ExactSum::value`] is the true sum, rounded once, half to even.

/// Digits for all doubles (2098 bits), and for carries of 2^60 additions.
const DIGITS: usize = 68;
/// What is used of a sum of nothing: any digit makes it larger on both sides.
const NONE_USED: std::ops::Range<usize> = std::ops::Range { start: DIGITS, end: 0 };
/// Each addition changes a digit by less than 2^32, so that this many fit into 63 bits.
const ADDITIONS_MAX: u32 = 1 << 30;

/// A sum of doubles.
pub(super) struct ExactSum {
    /// Σ digits[i] · 2^(32·i − 1074).
    digits: [i64; DIGITS],
    /// Digits outside of it are zero; empty, its ends crossed, when all are.
    used: std::ops::Range<usize>,
    additions: u32,
    nans: i64,
    /// Infinities, by sign.
    plus: i64,
    minus: i64,
}

impl ExactSum {
    pub(super) fn new() -> ExactSum {
        ExactSum { digits: [0; DIGITS], used: NONE_USED, additions: 0, nans: 0, plus: 0, minus: 0 }
    }

    pub(super) fn clear(&mut self) {
        if self.used.start < self.used.end {
            self.digits[self.used.clone()].fill(0);
        }
        self.used = NONE_USED;
        (self.additions, self.nans, self.plus, self.minus) = (0, 0, 0, 0);
    }

    pub(super) fn add(&mut self, value: f64) {
        self.change(value, 1);
    }

    /// Takes away what was added before.
    pub(super) fn remove(&mut self, value: f64) {
        self.change(value, -1);
    }

    fn change(&mut self, value: f64, times: i64) {
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        let negative = bits >> 63 == 1;
        let (mantissa, place) = match exponent {
            0x7ff if fraction != 0 => return self.nans += times,
            0x7ff if negative => return self.minus += times,
            0x7ff => return self.plus += times,
            0 => (fraction, 0),
            _ => (fraction | 1 << 52, exponent - 1),
        };
        if mantissa == 0 {
            return;
        }
        if self.additions == ADDITIONS_MAX {
            self.carry();
        }
        self.additions += 1;
        let (digit, shift) = (place / 32, place % 32);
        let wide = u128::from(mantissa) << shift;
        let sign = if negative { -times } else { times };
        for (index, part) in self.digits[digit..digit + 3].iter_mut().enumerate() {
            *part += sign * (wide >> (32 * index) & 0xffff_ffff) as i64;
        }
        self.used = self.used.start.min(digit)..self.used.end.max(digit + 3);
    }

    /// Digits below the highest are then in 0..2^32.
    fn carry(&mut self) {
        let mut carry = 0i64;
        let mut index = self.used.start;
        while index < self.used.end || (carry != 0 && carry != -1 && index < DIGITS - 1) {
            let sum = self.digits[index] + carry;
            self.digits[index] = sum & 0xffff_ffff;
            carry = sum >> 32;
            index += 1;
        }
        // A sign stays where the highest digit is.
        if carry != 0 && index > 0 {
            self.digits[index - 1] += carry << 32;
        }
        self.used.end = index.max(self.used.start);
        self.additions = 1;
    }

    /// The sum, rounded to the nearest double.
    pub(super) fn value(&self) -> f64 {
        match (self.nans > 0, self.plus > 0, self.minus > 0) {
            (true, _, _) | (_, true, true) => return f64::NAN,
            (_, true, _) => return f64::INFINITY,
            (_, _, true) => return f64::NEG_INFINITY,
            _ => {}
        }
        if self.used.start >= self.used.end {
            return 0.0;
        }
        let from = self.used.start;
        let top = (self.used.end + 2).min(DIGITS);
        let mut digits = [0i64; DIGITS];
        let negative = settle(&self.digits[from..top], &mut digits[from..top], 1);
        if negative {
            settle(&self.digits[from..top], &mut digits[from..top], -1);
        }
        let Some(high) = (from..top).rev().find(|index| digits[*index] != 0) else { return 0.0 };
        // The highest three digits have at least 65 bits: enough to round by, with a bit for whatever
        // lies below.
        let low = high.saturating_sub(2);
        let mut mantissa =
            digits[low..=high].iter().rev().fold(0u128, |all, digit| all << 32 | *digit as u128);
        let below = from.min(low);
        if digits[below..low].iter().any(|digit| *digit != 0) {
            mantissa |= 1;
        }
        let value = mantissa as f64 * power_of_two(32 * low as i64 - 1074);
        if negative { -value } else { value }
    }
}

/// Carries `from · sign` into `to`; whether what is left over the highest digit is negative.
fn settle(from: &[i64], to: &mut [i64], sign: i64) -> bool {
    let mut carry = 0i64;
    for (from, to) in from.iter().zip(to) {
        let sum = from * sign + carry;
        *to = sum & 0xffff_ffff;
        carry = sum >> 32;
    }
    carry < 0
}

/// 2^`exponent`, from −1074 to 1023.
fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        ..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        _ => f64::from_bits(((exponent + 1023) as u64) << 52),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = ExactSum::new();
        values.iter().for_each(|value| sum.add(*value));
        sum.value()
    }

    /// Doubles of all sizes, from a linear congruential generator.
    fn doubles(seed: u64, exponents: std::ops::Range<u64>, count: usize) -> Vec<f64> {
        let mut state = seed;
        let mut next = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        let width = exponents.end - exponents.start;
        (0..count)
            .map(|_| {
                let exponent = exponents.start + next() % width;
                f64::from_bits((next() & 1) << 63 | exponent << 52 | next() & ((1 << 52) - 1))
            })
            .collect()
    }

    #[test]
    fn what_is_small_is_not_lost_beside_what_is_large() {
        assert_eq!(sum(&[1e16, 1.0, -1e16]), 1.0);
        assert_eq!(sum(&[1e308, 1e308, -1e308, -1e308, 5e-324]), 5e-324);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e308, 1e308]), f64::INFINITY);
        assert_eq!(sum(&[-1e308, -1e308]), f64::NEG_INFINITY);
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[-0.0]).to_bits(), 0);
    }

    #[test]
    fn a_sum_of_two_is_the_sum_that_the_machine_rounds() {
        for seed in 0..40 {
            for exponents in [0..2047, 1000..1060, 0..60, 2040..2047] {
                for pair in doubles(seed, exponents, 200).chunks(2) {
                    let [a, b] = pair else { continue };
                    assert_eq!(sum(pair).to_bits(), (a + b + 0.0).to_bits(), "{a:e} + {b:e}");
                }
            }
        }
    }

    #[test]
    fn what_is_taken_away_leaves_no_trace() {
        for seed in 0..20 {
            let values = doubles(seed, 900..1150, 300);
            let mut slid = ExactSum::new();
            for (index, value) in values.iter().enumerate() {
                slid.add(*value);
                if index >= 50 {
                    slid.remove(values[index - 50]);
                }
                let frame = &values[index.saturating_sub(49)..=index];
                assert_eq!(slid.value().to_bits(), sum(frame).to_bits());
                let mut backwards = frame.to_vec();
                backwards.reverse();
                assert_eq!(sum(&backwards).to_bits(), slid.value().to_bits());
            }
        }
    }

    #[test]
    fn carries_change_nothing() {
        let values = doubles(7, 0..2046, 2_000);
        let (mut often, mut never) = (ExactSum::new(), ExactSum::new());
        for (index, value) in values.iter().enumerate() {
            often.add(*value);
            never.add(*value);
            if index % 3 == 0 {
                often.carry();
            }
            assert_eq!(often.value().to_bits(), never.value().to_bits(), "{index}");
        }
    }

    #[test]
    fn what_is_not_finite_goes_as_it_came() {
        let mut sum = ExactSum::new();
        sum.add(1.5);
        sum.add(f64::INFINITY);
        assert_eq!(sum.value(), f64::INFINITY);
        sum.add(f64::NEG_INFINITY);
        assert!(sum.value().is_nan());
        sum.remove(f64::INFINITY);
        assert_eq!(sum.value(), f64::NEG_INFINITY);
        sum.add(f64::NAN);
        sum.remove(f64::NEG_INFINITY);
        assert!(sum.value().is_nan());
        sum.remove(f64::NAN);
        assert_eq!(sum.value(), 1.5);
        sum.clear();
        assert_eq!(sum.value(), 0.0);
    }
}
