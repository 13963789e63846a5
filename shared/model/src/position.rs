//! Where a record stands in its source.
//!
//! Layout, most significant bit first: 186 bits of source number, 22 bits of sub-number.
//! A Kinesis sequence number needs 186 bits (56 decimal digits); a KPL aggregate splits one
//! sequence number into sub-sequence numbers. Kafka offsets and file offsets use the low 64 bits
//! of the source number, plus one, so that [`Position::START`] stands before every record.
//!
//! # Invariants
//! Byte order is source order. Positions have gaps; only their order means anything.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Position of one record in its source shard. Ordered, with gaps; opaque but for its order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position([u8; Position::BYTES]);

/// Why a text is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// Not a decimal number.
    #[error("sequence number is not a decimal number. text=`{0}`")]
    NotDecimal(String),
    /// Larger than 186 bits.
    #[error("sequence number needs more than 186 bits. text=`{0}`")]
    TooLarge(String),
    /// A sub-sequence number above 22 bits.
    #[error("sub-sequence number needs more than 22 bits. number=`{0}`")]
    SubTooLarge(u64),
    /// Not the 52 hexadecimal digits of a stored position.
    #[error("position is not 52 hexadecimal digits. text=`{0}`")]
    NotHex(String),
}

const SUB_BITS: u32 = 22;

impl Position {
    /// Bytes of a position.
    pub const BYTES: usize = 26;
    /// Before every record of a source.
    pub const START: Position = Position([0; Position::BYTES]);
    /// After every record of a source.
    pub const END: Position = Position([0xff; Position::BYTES]);

    /// The position of a Kafka or file offset. Offset 0 lies after [`Position::START`].
    pub fn from_offset(offset: u64) -> Position {
        let number = (u128::from(offset) + 1) << SUB_BITS;
        let mut bytes = [0; Self::BYTES];
        bytes[Self::BYTES - 16..].copy_from_slice(&number.to_be_bytes());
        Position(bytes)
    }

    /// The offset that [`Position::from_offset`] made this of; `None` for [`Position::START`] and
    /// for positions that no offset has.
    pub fn to_offset(self) -> Option<u64> {
        if self.0[..Self::BYTES - 16].iter().any(|byte| *byte != 0) {
            return None;
        }
        let mut low = [0; 16];
        low.copy_from_slice(&self.0[Self::BYTES - 16..]);
        let number = u128::from_be_bytes(low) >> SUB_BITS;
        u64::try_from(number.checked_sub(1)?).ok()
    }

    /// The position of a Kinesis sequence number (decimal digits) and a KPL sub-sequence number
    /// (0 for a record that is not aggregated).
    pub fn from_sequence(number: &str, sub: u64) -> Result<Position, PositionError> {
        if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(PositionError::NotDecimal(number.to_string()));
        }
        if sub >> SUB_BITS != 0 {
            return Err(PositionError::SubTooLarge(sub));
        }
        let mut bytes = [0u8; Self::BYTES];
        // Nine digits at a time: a batch has thousands of these numbers.
        for digits in number.as_bytes().chunks(9) {
            let shift = |(factor, add): (u32, u32), digit: &u8| {
                (factor * 10, add * 10 + u32::from(digit - b'0'))
            };
            let (factor, add) = digits.iter().fold((1, 0), shift);
            shift_in(&mut bytes, factor, add)
                .ok_or_else(|| PositionError::TooLarge(number.to_string()))?;
        }
        shift_in(&mut bytes, 1 << SUB_BITS, sub as u32)
            .ok_or_else(|| PositionError::TooLarge(number.to_string()))?;
        Ok(Position(bytes))
    }

    /// The sequence number and the sub-sequence number that [`Position::from_sequence`] made this
    /// of. The number has no leading zeros; that of [`Position::START`] is "0".
    pub fn to_sequence(self) -> (String, u64) {
        let mut rest = self.0;
        let sub = shift_out(&mut rest, 1 << SUB_BITS);
        let mut digits = Vec::new();
        while digits.is_empty() || rest.iter().any(|byte| *byte != 0) {
            digits.push(b'0' + shift_out(&mut rest, 10) as u8);
        }
        (digits.iter().rev().copied().map(char::from).collect(), u64::from(sub))
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// A position from its stored bytes.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Position {
        Position(bytes)
    }

    /// The 52 hexadecimal digits that sort like the position: a segment's sort key.
    pub fn to_key(self) -> String {
        self.to_string()
    }

    /// The position of [`Position::to_key`]'s text.
    pub fn from_key(key: &str) -> Result<Position, PositionError> {
        let wrong = || PositionError::NotHex(key.to_string());
        if key.len() != Self::BYTES * 2 || !key.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; Self::BYTES];
        for (byte, digits) in bytes.iter_mut().zip(key.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Position(bytes))
    }
}

/// `bytes = bytes * factor + add`, or `None` when that does not fit.
fn shift_in(bytes: &mut [u8], factor: u32, add: u32) -> Option<()> {
    let mut carry = u64::from(add);
    for byte in bytes.iter_mut().rev() {
        let value = u64::from(*byte) * u64::from(factor) + carry;
        *byte = value as u8;
        carry = value >> 8;
    }
    (carry == 0).then_some(())
}

/// `bytes = bytes / divisor`; answers the remainder. `divisor` is below 2^24.
fn shift_out(bytes: &mut [u8], divisor: u32) -> u32 {
    let mut remainder = 0;
    for byte in bytes.iter_mut() {
        let value = (remainder << 8) | u32::from(*byte);
        *byte = (value / divisor) as u8;
        remainder = value % divisor;
    }
    remainder
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self == Self::START, self.to_offset()) {
            (true, _) => write!(f, "Position(start)"),
            (_, Some(offset)) => write!(f, "Position(offset {offset})"),
            _ => write!(f, "Position({self})"),
        }
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::Serialize::serialize(&self.0[..], serializer)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <Vec<u8>>::deserialize(deserializer)?;
        let length = bytes.len();
        let bytes = bytes
            .try_into()
            .map_err(|_| serde::de::Error::invalid_length(length, &"26 bytes of a position"))?;
        Ok(Position(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_kinesis_sequence_number_of_56_digits_fits() {
        let number = "49590338271490256608559692538361571095921575989136588898";
        let first = Position::from_sequence(number, 0).unwrap();
        let second = Position::from_sequence(number, 1).unwrap();
        assert!(Position::START < first && first < second && second < Position::END);
    }

    #[test]
    fn what_is_no_sequence_number_is_refused() {
        assert!(matches!(Position::from_sequence("", 0), Err(PositionError::NotDecimal(_))));
        assert!(matches!(Position::from_sequence("12a", 0), Err(PositionError::NotDecimal(_))));
        assert!(matches!(
            Position::from_sequence(&"9".repeat(57), 0),
            Err(PositionError::TooLarge(_))
        ));
        assert!(matches!(
            Position::from_sequence("1", 1 << 22),
            Err(PositionError::SubTooLarge(_))
        ));
    }

    #[test]
    fn a_sequence_number_is_read_back() {
        for (number, sub) in [
            ("49590338271490256608559692538361571095921575989136588898", 7),
            ("98079714615416886934934209737619787751599303819750539263", (1 << 22) - 1),
            ("0", 0),
            ("10", 0),
        ] {
            let position = Position::from_sequence(number, sub).unwrap();
            assert_eq!(position.to_sequence(), (number.to_owned(), sub));
        }
        assert_eq!(Position::from_sequence("007", 1).unwrap().to_sequence(), ("7".to_owned(), 1));
        assert_eq!(Position::START.to_sequence(), ("0".to_owned(), 0));
        assert_eq!(
            Position::END.to_sequence(),
            ("98079714615416886934934209737619787751599303819750539263".to_owned(), (1 << 22) - 1)
        );
    }

    #[test]
    fn the_first_offset_lies_after_the_start() {
        assert!(Position::from_offset(0) > Position::START);
        assert_eq!(Position::START.to_offset(), None);
        assert_eq!(Position::from_offset(u64::MAX).to_offset(), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn byte_order_is_offset_order(a: u64, b: u64) {
            prop_assert_eq!(a.cmp(&b), Position::from_offset(a).cmp(&Position::from_offset(b)));
        }

        #[test]
        fn sequences_and_offsets_agree_on_small_numbers(a in 0..u64::MAX) {
            let sequence = Position::from_sequence(&(u128::from(a) + 1).to_string(), 0).unwrap();
            prop_assert_eq!(sequence, Position::from_offset(a));
            prop_assert_eq!(sequence.to_offset(), Some(a));
        }

        /// Every position has one sequence number and sub-number, also those of offsets.
        #[test]
        fn sequence_numbers_round_trip(bytes: [u8; 26]) {
            let position = Position::from_bytes(bytes);
            let (number, sub) = position.to_sequence();
            prop_assert_eq!(Position::from_sequence(&number, sub), Ok(position));
        }

        #[test]
        fn keys_round_trip_and_sort_like_positions(a: [u8; 26], b: [u8; 26]) {
            let (a, b) = (Position::from_bytes(a), Position::from_bytes(b));
            prop_assert_eq!(Position::from_key(&a.to_key()), Ok(a));
            prop_assert_eq!(a.to_key().cmp(&b.to_key()), a.cmp(&b));
        }

        #[test]
        fn any_text_is_a_key_or_an_error(text in ".{0,60}") {
            let _ = Position::from_key(&text);
            let _ = Position::from_sequence(&text, 0);
        }
    }
}
