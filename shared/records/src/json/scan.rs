//! The grammar of JSON, over bytes that are known to be UTF-8.

use tidemill_model::limits::JSON_DEPTH_MAX;

/// What was expected where the scanner stands. One word pair, so that it costs nothing to return.
pub(super) type Expected = &'static str;

pub(super) const TOO_DEEP: Expected = "nested too deep";

// The kinds of the open objects and arrays are the bits of one number.
const _: () = assert!(JSON_DEPTH_MAX <= u128::BITS as usize);

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    /// A string without a backslash: its bytes are its text.
    Text,
    EscapedText,
    /// Object or array.
    Composite,
}

/// A member's name between its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether there is a backslash in it.
    pub(super) escaped: bool,
}

/// A place in a record.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    record: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(record: &'a [u8]) -> Scanner<'a> {
        Scanner { record, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.record.get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.record.get(self.at..).unwrap_or_default()
    }

    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.record[start..self.at]
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// From the end of a value (or of the opening brace, for the `first` member) to the start of
    /// the next value. `None`: the object ended here.
    pub(super) fn member_name(&mut self, first: bool) -> Result<Option<Name<'a>>, Expected> {
        self.skip_space();
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_space();
            }
            Some(_) if first => {}
            _ => return Err("expected `,` or `}`"),
        }
        if self.peek() != Some(b'"') {
            return Err("expected a member name in quotes");
        }
        let start = self.at + 1;
        let escaped = self.string()? == Kind::EscapedText;
        let bytes = &self.record[start..self.at - 1];
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err("expected `:`");
        }
        self.at += 1;
        self.skip_space();
        Ok(Some(Name { bytes, escaped }))
    }

    /// Passes over one value inside `depth` objects and arrays.
    pub(super) fn value(&mut self, depth: usize) -> Result<Kind, Expected> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{' | b'[') => self.composite(depth),
            Some(b't') => self.word(b"true", Kind::True),
            Some(b'f') => self.word(b"false", Kind::False),
            Some(b'n') => self.word(b"null", Kind::Null),
            _ => Err("expected a value"),
        }
    }

    /// Passes over an object or array without recursion.
    fn composite(&mut self, depth: usize) -> Result<Kind, Expected> {
        let mut objects = 0u128; // one bit for each that is open; the lowest is the innermost
        let mut open = 0;
        loop {
            // At a value.
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if depth + open >= JSON_DEPTH_MAX {
                        return Err(TOO_DEEP);
                    }
                    let object = bracket == b'{';
                    objects = (objects << 1) | u128::from(object);
                    open += 1;
                    self.at += 1;
                    if object {
                        if self.member_name(true)?.is_some() {
                            continue;
                        }
                    } else {
                        self.skip_space();
                        if self.peek() != Some(b']') {
                            continue;
                        }
                        self.at += 1;
                    }
                    objects >>= 1;
                    open -= 1;
                }
                _ => {
                    self.value(depth + open)?;
                }
            }
            // After a value: to the next one.
            loop {
                if open == 0 {
                    return Ok(Kind::Composite);
                }
                let next = if objects & 1 == 1 {
                    self.member_name(false)?.is_some()
                } else {
                    self.element()?
                };
                if next {
                    break;
                }
                objects >>= 1;
                open -= 1;
            }
        }
    }

    /// From the end of an element to the next one. `false`: the array ended here.
    pub(super) fn element(&mut self) -> Result<bool, Expected> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(b']') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err("expected `,` or `]`"),
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind, Expected> {
        if !self.rest().starts_with(word) {
            return Err("expected a value");
        }
        self.at += word.len();
        Ok(kind)
    }

    fn number(&mut self) -> Result<Kind, Expected> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.peek() {
                return Err("a number begins with 0");
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<(), Expected> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err("expected a digit") } else { Ok(()) }
    }

    /// Passes over a string that begins here.
    fn string(&mut self) -> Result<Kind, Expected> {
        self.at += 1;
        let mut kind = Kind::Text;
        loop {
            self.at += plain_bytes(self.rest());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(kind);
                }
                Some(b'\\') => {
                    kind = Kind::EscapedText;
                    self.escape()?;
                }
                Some(_) => return Err("control character in a string"),
                None => return Err("the string does not end"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Expected> {
        let length = match self.rest() {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|h| h.is_ascii_hexdigit()) => 6,
            _ => return Err("unknown escape"),
        };
        self.at += length;
        Ok(())
    }
}

/// How many bytes pass before a quote, a backslash or a control character.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // The lowest byte marked is exact; marks above it may be carries of it.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut passed = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let marked = control | quote | backslash;
        if marked != 0 {
            return passed + (marked.trailing_zeros() / 8) as usize;
        }
        passed += 8;
    }
    let special = |byte: &u8| *byte < 0x20 || matches!(*byte, b'"' | b'\\');
    passed + rest.iter().position(special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::plain_bytes;

    proptest! {
        #[test]
        fn plain_bytes_end_at_the_first_special_one(
            bytes in prop::collection::vec(
                prop_oneof![8 => Just(b'a'), 8 => 0x80u8.., 1 => any::<u8>()],
                0..64,
            )
        ) {
            let expected = bytes
                .iter()
                .position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\')
                .unwrap_or(bytes.len());
            prop_assert_eq!(plain_bytes(&bytes), expected);
        }
    }
}
