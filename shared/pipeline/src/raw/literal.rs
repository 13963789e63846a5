//! A TOML string as it stands in the file, and where each byte of its value comes from.
//!
//! The toml crate gives a value and the place of the whole literal; errors in SQL need the place
//! of a word inside, behind escapes and trimmed newlines.

use std::ops::Range;

/// The value of the string literal at `literal`, quotes included, and for each byte of the value
/// the byte of the file that it came from, with one more entry for the end.
///
/// `literal` is a literal that the toml crate accepted.
pub(crate) fn decode(file: &str, literal: Range<usize>) -> (String, Vec<usize>) {
    let text = file.get(literal.clone()).unwrap_or_default();
    let (quotes, has_escapes) = match text {
        _ if text.starts_with("\"\"\"") => (3, true),
        _ if text.starts_with("'''") => (3, false),
        _ => (1, text.starts_with('"')),
    };
    let body = text.get(quotes..text.len().saturating_sub(quotes)).unwrap_or_default();
    let trimmed = match quotes {
        3 => body.strip_prefix('\n').or_else(|| body.strip_prefix("\r\n")).unwrap_or(body),
        _ => body,
    };
    let start = literal.start + quotes + (body.len() - trimmed.len());

    let mut value = String::with_capacity(trimmed.len());
    let mut bytes = Vec::with_capacity(trimmed.len() + 1);
    let mut rest = trimmed;
    while let Some(c) = rest.chars().next() {
        let at = start + (trimmed.len() - rest.len());
        if c == '\\' && has_escapes {
            let (meant, len) = escape(&rest[1..]);
            if let Some(c) = meant {
                value.push(c);
                bytes.resize(value.len(), at);
            }
            rest = &rest[1 + len..];
        } else {
            value.push(c);
            bytes.extend((0..c.len_utf8()).map(|i| at + i));
            rest = &rest[c.len_utf8()..];
        }
    }
    bytes.push(start + trimmed.len());
    (value, bytes)
}

/// What the text behind a backslash means, and how many bytes of it say so. `None`: nothing, the
/// line goes on in the next one.
fn escape(text: &str) -> (Option<char>, usize) {
    let hex = |digits: usize| {
        let code = text.get(1..1 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let c = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
        (Some(c), text.len().min(1 + digits))
    };
    match text.chars().next() {
        Some('b') => (Some('\u{8}'), 1),
        Some('e') => (Some('\u{1b}'), 1),
        Some('f') => (Some('\u{c}'), 1),
        Some('n') => (Some('\n'), 1),
        Some('r') => (Some('\r'), 1),
        Some('t') => (Some('\t'), 1),
        Some('x') => hex(2),
        Some('u') => hex(4),
        Some('U') => hex(8),
        Some(' ' | '\t' | '\r' | '\n') => {
            let rest = text.trim_start_matches([' ', '\t', '\r', '\n']);
            (None, text.len() - rest.len())
        }
        Some(c) => (Some(c), c.len_utf8()),
        None => (None, 0),
    }
}

/// The bytes of the file that `range` of a value came from. `bytes` is what [`decode`] answered;
/// a range beyond the value means its end.
pub(crate) fn place(bytes: &[usize], range: Range<usize>) -> Range<usize> {
    let Some(last) = bytes.len().checked_sub(1) else { return 0..0 };
    let start = bytes[range.start.min(last)];
    let end = bytes[range.end.min(last)];
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::de::DeTable;

    use super::*;

    /// Decodes the value of `k` in `file` both ways, and answers ours.
    fn decoded(file: &str) -> (String, Vec<usize>) {
        let table = DeTable::parse(file).unwrap().into_inner();
        let value = table.get("k").unwrap();
        let ours = decode(file, value.span());
        assert_eq!(value.get_ref().as_str(), Some(ours.0.as_str()), "{file}");
        assert_eq!(ours.1.len(), ours.0.len() + 1, "{file}");
        assert!(ours.1.is_sorted(), "{file}");
        ours
    }

    /// The text of the file that `word` of the value came from.
    fn source_of<'a>(file: &'a str, word: &str) -> &'a str {
        let (value, bytes) = decoded(file);
        let at = value.find(word).unwrap();
        &file[place(&bytes, at..at + word.len())]
    }

    #[test]
    fn words_are_found_again_in_every_kind_of_literal() {
        for file in [
            "k = \"SELECT wrong\"",
            "k = 'SELECT wrong'",
            "k = \"\"\"SELECT wrong\"\"\"",
            "k = \"\"\"\nSELECT wrong\n\"\"\"",
            "k = \"\"\"\r\nSELECT\r\n wrong\r\n\"\"\"",
            "k = '''\nSELECT \\n wrong'''",
            "k = '''\r\nSELECT wrong'''",
            "k = \"\\tSELECT \\\"é\\\" \\u00e9 wrong \\x41\"",
            "k = \"\"\"\\\n   SELECT \\\n\n  wrong\"\"\"",
            "k = \"\"\"é \"\" wrong\"\"\"\"\"",
            "# é\nk = '''é '' wrong'''''",
            "\u{feff}k = \"wrong\"",
        ] {
            assert_eq!(source_of(file, "wrong"), "wrong", "{file}");
        }
    }

    #[test]
    fn an_escape_is_one_place() {
        let file = r#"k = "a\u00e9b""#;
        assert_eq!(source_of(file, "é"), r"\u00e9");
        assert_eq!(source_of(file, "aé"), r"a\u00e9");
        assert_eq!(source_of(file, "b"), "b");
    }

    #[test]
    fn the_end_of_a_value_is_before_its_quotes() {
        for file in ["k = \"a\"", "k = '''\na'''", "k = \"\"\"a\"\"\""] {
            let (value, bytes) = decoded(file);
            let end = place(&bytes, value.len()..value.len());
            assert!(file[end.start..].starts_with(['"', '\'']), "{file}");
            assert_eq!(place(&bytes, 100..200), end);
        }
        assert_eq!(decoded("k = ''"), (String::new(), vec![5]));
        assert_eq!(decoded("k = \"\"\"\"\"\""), (String::new(), vec![7]));
    }

    proptest! {
        /// Whatever the toml crate accepts, we decode to the same value.
        #[test]
        fn decodes_like_the_toml_crate(
            quotes in prop::sample::select(vec!["\"", "'", "\"\"\"", "'''"]),
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "é", "\\n", "\\t", "\\\\", "\\\"", "\\u00e9", "\\U0001F600", "\\x7f", "\\e",
                "\n", "\r\n", " ", "\\\n", "\\ \r\n ", "'", "\"", "''", "$", "\\b", "\\f", "\\r",
            ]), 0..12),
        ) {
            let file = format!("k = {quotes}{}{quotes}", parts.concat());
            if DeTable::parse(&file).is_ok() {
                decoded(&file);
            }
        }
    }
}
