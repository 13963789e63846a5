//! Finds one member of a JSON object in its text, so that it can be read or replaced and all else
//! stays as it was, byte for byte.

use std::ops::Range;

/// Where the value of the object's member `name` stands. `None`: the text is no object, or has no
/// such member, or is broken before it. The text behind the member is not looked at.
pub(super) fn member(text: &str, name: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = blank(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = blank(bytes, at + 1);
    loop {
        let key = string(bytes, at)?;
        let is_it = text.get(key.start + 1..key.end - 1) == Some(name);
        at = blank(bytes, key.end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let value = value(bytes, blank(bytes, at + 1))?;
        if is_it {
            return Some(value);
        }
        at = blank(bytes, value.end);
        if bytes.get(at) != Some(&b',') {
            return None;
        }
        at = blank(bytes, at + 1);
    }
}

fn blank(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The string that begins at `from`, quotes included.
fn string(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    if bytes.get(from) != Some(&b'"') {
        return None;
    }
    let mut at = from + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(from..at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn value(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    match bytes.get(from)? {
        b'"' => string(bytes, from),
        b'{' | b'[' => nested(bytes, from),
        _ => {
            let rest = &bytes[from..];
            let is_end =
                |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            let length = rest.iter().position(is_end)?;
            (length > 0).then(|| from..from + length)
        }
    }
}

/// The object or list that begins at `from`.
fn nested(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let mut depth = 0_usize;
    let mut at = from;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string(bytes, at)?.end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(from..at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, name: &str) -> Option<String> {
        member(text, name).map(|at| text[at].to_owned())
    }

    #[test]
    fn a_member_is_found_wherever_it_stands() {
        let text = r#" { "a" : 1, "b":{"a":2,"x":"}"},"c\"":[{"a":3}],"é":"ö\"","z":-1.5e3 } tail"#;
        for (name, value) in [
            ("a", Some("1")),
            ("b", Some(r#"{"a":2,"x":"}"}"#)),
            ("é", Some(r#""ö\"""#)),
            ("z", Some("-1.5e3")),
            ("x", None),
            ("tail", None),
        ] {
            assert_eq!(of(text, name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn what_is_no_object_has_no_member() {
        for text in [
            "",
            "[]",
            "1",
            "{",
            "{}",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"b\":1 \"a\":2}",
            "{\"a\":\"\\",
        ] {
            assert_eq!(of(text, "a"), None, "{text}");
        }
    }
}
