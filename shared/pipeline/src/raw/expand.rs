//! `${VAR}` in values; `$${` means the text `${`.

use std::ops::Range;

/// What is wrong with a `${…}`.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// The variable is not set.
    Unset(String),
    /// No name, or no `}`.
    Malformed,
}

/// `text` with each variable's value in its place. Values are not expanded again. Otherwise all
/// faults, each with its bytes of `text`.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<(Range<usize>, Fault)>> {
    let mut out = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let dollar = at + found;
        if text[at..dollar].ends_with('$') {
            out.push_str(&text[at..dollar - 1]);
            out.push_str("${");
            at = dollar + 2;
            continue;
        }
        out.push_str(&text[at..dollar]);
        let rest = &text[dollar + 2..];
        let name_len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let name = &rest[..name_len.unwrap_or(rest.len())];
        let starts_well = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        if starts_well && rest[name.len()..].starts_with('}') {
            let end = dollar + 2 + name.len() + 1;
            match env(name) {
                Some(value) => out.push_str(&value),
                None => faults.push((dollar..end, Fault::Unset(name.to_owned()))),
            }
            at = end;
        } else {
            let end = rest.find('}').map_or(text.len(), |close| dollar + 2 + close + 1);
            faults.push((dollar..end, Fault::Malformed));
            at = end;
        }
    }
    out.push_str(&text[at..]);
    if faults.is_empty() { Ok(out) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expanded) in [
            ("", ""),
            ("a$b", "a$b"),
            ("$", "$"),
            ("${A}", "1"),
            ("x${A}y${A}z", "x1y1z"),
            ("${NESTED}", "${A}"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$${", "${"),
            ("é${A}é", "é1é"),
        ] {
            assert_eq!(expand(text, &env), Ok(expanded.to_owned()), "{text}");
        }
    }

    #[test]
    fn every_fault_is_found_at_its_place() {
        let unset = |name: &str| Fault::Unset(name.to_owned());
        for (text, faults) in [
            ("é${B}", vec![(2..6, unset("B"))]),
            ("${B}${A}${C}", vec![(0..4, unset("B")), (8..12, unset("C"))]),
            ("${", vec![(0..2, Fault::Malformed)]),
            ("${}", vec![(0..3, Fault::Malformed)]),
            ("${A", vec![(0..3, Fault::Malformed)]),
            ("${1A}", vec![(0..5, Fault::Malformed)]),
            ("${A:-x}${B}", vec![(0..7, Fault::Malformed), (7..11, unset("B"))]),
        ] {
            assert_eq!(expand(text, &env), Err(faults), "{text}");
        }
    }
}
