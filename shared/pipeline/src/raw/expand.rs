//! `${VAR}` and `${VAR:-default}` in values; `$${` means the text `${`.

use std::ops::Range;

/// What is wrong with a `${…}`.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// The variable is not set.
    Unset(String),
    /// No name, or no `}`.
    Malformed,
    /// The default of this variable holds a `${`.
    DefaultVaries(String),
}

/// `text` with each variable's value in its place. As in a shell, a default stands for a variable
/// that is not set or empty. Values are not expanded again. Otherwise all faults, each with its
/// bytes of `text`.
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
        let after = &rest[name.len()..];
        let default = after.strip_prefix(":-").and_then(|after| after.split_once('}'));
        if starts_well && after.starts_with('}') {
            let end = dollar + 2 + name.len() + 1;
            match env(name) {
                Some(value) => out.push_str(&value),
                None => faults.push((dollar..end, Fault::Unset(name.to_owned()))),
            }
            at = end;
        } else if let Some((default, _)) = default.filter(|_| starts_well) {
            let end = dollar + 2 + name.len() + 2 + default.len() + 1;
            if default.contains("${") {
                faults.push((dollar..end, Fault::DefaultVaries(name.to_owned())));
            }
            let value = env(name).filter(|value| !value.is_empty());
            out.push_str(value.as_deref().unwrap_or(default));
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
            "EMPTY" => Some(String::new()),
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
            ("${EMPTY}", ""),
            ("${A:-2}", "1"),
            ("${NESTED:-2}", "${A}"),
            ("x${B:-2}y", "x2y"),
            ("${EMPTY:-2}", "2"),
            ("${B:-}", ""),
            ("${B:-a:-b $é}", "a:-b $é"),
            ("$${B:-2}", "${B:-2}"),
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
            ("${A:x}${B}", vec![(0..6, Fault::Malformed), (6..10, unset("B"))]),
            ("${A:-x", vec![(0..6, Fault::Malformed)]),
            ("${:-x}", vec![(0..6, Fault::Malformed)]),
            ("${1A:-x}", vec![(0..8, Fault::Malformed)]),
            ("${A:-${B}}", vec![(0..9, Fault::DefaultVaries("A".to_owned()))]),
        ] {
            assert_eq!(expand(text, &env), Err(faults), "{text}");
        }
    }
}
