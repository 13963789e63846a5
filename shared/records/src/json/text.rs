//! Escapes in JSON strings.

/// Writes the text of a string, given as it is written between its quotes and known to be JSON,
/// over `out`. Fails at the byte of a surrogate that has no partner: no UTF-8 stands for it.
pub(super) fn unescape(written: &str, out: &mut String) -> Result<(), usize> {
    out.clear();
    let mut rest = written;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let offset = written.len() - rest.len();
        let (character, length) = escaped(rest).ok_or(offset)?;
        out.push(character);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Ok(())
}

/// The character of the escape that `text` begins with, and the escape's length.
fn escaped(text: &str) -> Option<(char, usize)> {
    let character = match text.as_bytes().get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = unit(text)?;
            if let Some(character) = char::from_u32(first) {
                return Some((character, 6));
            }
            let second = unit(text.get(6..)?)?;
            if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
                return None;
            }
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Some((char::from_u32(code)?, 12));
        }
        other => char::from(*other),
    };
    Some((character, 2))
}

/// The number of the escape that `text` begins with: `\u` and four hexadecimal digits.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}
