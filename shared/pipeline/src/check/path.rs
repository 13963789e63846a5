//! `path`: where in a JSON record a column's value is.
//!
//! ```text
//! path    = ["$" step-with-its-dot-or-bracket …]
//! step    = member | "." member | "[" index "]" | "['" member "']"
//! ```
//!
//! A member between dots is any text without `.` and `[`. In brackets and quotes, `'` or `"`, it is
//! any text at all, with `\` before a quote or another `\`. Without a `path` a column is the member of
//! its own name, whatever is in it.

use crate::PathStep;

/// Why a text is no path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPath {
    /// What is wrong, as the end of "`path` of column …".
    pub(super) what: &'static str,
    /// What stands at its place.
    pub(super) label: &'static str,
    /// What to write instead.
    pub(super) help: String,
}

/// The path to the member of this name, as it is written.
pub(super) fn to_member(name: &str) -> String {
    let means_itself = read(name).is_ok_and(|steps| match steps.as_slice() {
        [PathStep::Member(member)] => member == name,
        _ => false,
    });
    match means_itself {
        true => name.to_owned(),
        false => format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")),
    }
}

/// The steps of a path, from the outside in.
pub(super) fn read(text: &str) -> Result<Vec<PathStep>, BadPath> {
    if text == "$" {
        return Err(BadPath {
            what: "is the whole record",
            label: "no member",
            help: "name a member of it, as \"$.id\" or \"id\"; one that is called `$` is \"['$']\""
                .to_owned(),
        });
    }
    let mut steps = Vec::new();
    let mut rest = match text.strip_prefix('$') {
        Some(after) if after.starts_with('.') => &after[1..],
        Some(after) if after.starts_with('[') => after,
        _ => text,
    };
    loop {
        rest = match rest.strip_prefix('[') {
            Some(bracket) => {
                let (step, after) = in_brackets(bracket)?;
                steps.push(step);
                after
            }
            None => {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (member, after) = rest.split_at(end);
                match member {
                    "" => return Err(empty()),
                    "*" => return Err(many("*", "['*']")),
                    member => steps.push(PathStep::Member(member.to_owned())),
                }
                after
            }
        };
        match rest.strip_prefix('.') {
            Some(after) if after.starts_with('[') => {
                return Err(BadPath {
                    what: "has a dot before a bracket",
                    label: "a dot too many",
                    help: format!("write \"{}\"", text.replacen(".[", "[", 1)),
                });
            }
            Some(after) => rest = after,
            None if rest.is_empty() => break,
            None if rest.starts_with('[') => {}
            None => {
                return Err(BadPath {
                    what: "goes on after a bracket without a dot",
                    label: "no dot",
                    help: "write a dot before the next member: \"items[0].sku\"".to_owned(),
                });
            }
        }
    }
    if let Some(PathStep::Element(_)) = steps.first() {
        return Err(BadPath {
            what: "begins with an index",
            label: "a record is an object, no list",
            help: "begin with the member that holds the list: \"items[0]\"".to_owned(),
        });
    }
    Ok(steps)
}

/// The step that begins after `[`, and what follows its `]`.
fn in_brackets(text: &str) -> Result<(PathStep, &str), BadPath> {
    let open = || BadPath {
        what: "has a bracket that is not closed",
        label: "no `]`",
        help: "write an index or a quoted member in brackets: \"items[0]\", \"['a b']\"".to_owned(),
    };
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let mut member = String::new();
        let mut chars = text[1..].chars();
        loop {
            match chars.next() {
                None => return Err(open()),
                Some('\\') => match chars.next() {
                    Some(escaped @ ('\\' | '\'' | '"')) => member.push(escaped),
                    _ => {
                        return Err(BadPath {
                            what: "has a `\\` before neither a quote nor another `\\`",
                            label: "unknown escape",
                            help: "write a backslash in a member's name twice".to_owned(),
                        });
                    }
                },
                Some(c) if c == quote => break,
                Some(c) => member.push(c),
            }
        }
        let after = chars.as_str().strip_prefix(']').ok_or_else(open)?;
        return Ok((PathStep::Member(member), after));
    }
    let (inside, after) = text.split_once(']').ok_or_else(open)?;
    if !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_digit()) {
        let index = inside.parse().map_err(|_| BadPath {
            what: "has an index that is too large",
            label: "too large",
            help: format!("write one up to {}", u32::MAX),
        })?;
        return Ok((PathStep::Element(index), after));
    }
    Err(if inside.starts_with('-') {
        BadPath {
            what: "has a negative index",
            label: "counts from the end",
            help: "elements are counted from the beginning, the first being 0: \"items[0]\"; take \
                   the list as a `string` column and what you need of it in SQL"
                .to_owned(),
        }
    } else if inside.is_empty() || inside.starts_with(['*', '?']) || inside.contains([':', ',']) {
        many(inside, "['*']")
    } else {
        BadPath {
            what: "has a member in brackets without quotes",
            label: "no index",
            help: format!("write \"['{inside}']\", or an index such as \"[0]\""),
        }
    })
}

fn empty() -> BadPath {
    BadPath {
        what: "names an empty member",
        label: "empty member",
        help: "write the members from the outside in, with single dots: \"user.id\"; a member \
               without a name is \"['']\""
            .to_owned(),
    }
}

fn many(found: &str, quoted: &str) -> BadPath {
    BadPath {
        what: "leads to many values",
        label: "not one value",
        help: format!(
            "a column is one value: write an index such as \"[0]\" in place of `{found}`, or take \
             the list as a `string` column; a member that is called `*` is \"{quoted}\""
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> String {
        let steps = read(text).unwrap();
        let steps = steps.iter().map(|step| match step {
            PathStep::Member(member) => format!("{member:?}"),
            PathStep::Element(index) => index.to_string(),
        });
        steps.collect::<Vec<_>>().join(" ")
    }

    /// Paths with an index, and those that begin with `$`, as other engines' schema mappings have
    /// them, were names of members that no record has: null for ever.
    #[test]
    fn paths_lead_into_objects_and_lists() {
        for (text, expected) in [
            ("id", r#""id""#),
            ("user.id", r#""user" "id""#),
            ("items[0].sku", r#""items" 0 "sku""#),
            ("m[1][22]", r#""m" 1 22"#),
            ("$.a", r#""a""#),
            ("$.items[0]", r#""items" 0"#),
            ("$['a b']", r#""a b""#),
            ("$[\"a.b\"].c", r#""a.b" "c""#),
            ("['a[0]']", r#""a[0]""#),
            (r"['it\'s']['\\']", r#""it's" "\\""#),
            ("a['']", r#""a" """#),
            ("['$'].x", r#""$" "x""#),
            ("_id.$oid", r#""_id" "$oid""#),
            ("$oid", r#""$oid""#),
            ("$.$oid", r#""$oid""#),
            ("a.*b", r#""a" "*b""#),
            ("a]", r#""a]""#),
            ("é.x y", r#""é" "x y""#),
        ] {
            assert_eq!(steps(text), expected, "{text}");
        }
    }

    #[test]
    fn a_member_of_any_name_has_a_path() {
        for name in ["id", "a.b", "a[0]", "$", "$.a", "*", "", "it's", r"a\.b", "é x", "]"] {
            let path = to_member(name);
            assert_eq!(read(&path), Ok(vec![PathStep::Member(name.to_owned())]), "{path}");
        }
        assert_eq!([to_member("id"), to_member("a.b")], ["id", "['a.b']"]);
    }

    #[test]
    fn what_is_no_path_to_one_value_has_a_way_out() {
        for (text, what, help) in [
            ("", "names an empty member", "user.id"),
            ("a..b", "names an empty member", "single dots"),
            ("a.", "names an empty member", "single dots"),
            ("$.", "names an empty member", "single dots"),
            ("$..a", "names an empty member", "single dots"),
            ("$", "is the whole record", "$.id"),
            ("items[-1]", "has a negative index", "items[0]"),
            ("items[*].sku", "leads to many values", "[0]"),
            ("items.*", "leads to many values", "['*']"),
            ("items[]", "leads to many values", "[0]"),
            ("items[0:2]", "leads to many values", "[0]"),
            ("items[0,1]", "leads to many values", "[0]"),
            ("items[?(@.a)]", "leads to many values", "[0]"),
            ("items[sku]", "has a member in brackets without quotes", "['sku']"),
            ("items[0", "has a bracket that is not closed", "items[0]"),
            ("['a]", "has a bracket that is not closed", "['a b']"),
            ("['a'", "has a bracket that is not closed", "['a b']"),
            (r"['\n']", "has a `\\` before neither a quote nor another `\\`", "twice"),
            ("items.[0]", "has a dot before a bracket", "\"items[0]\""),
            ("items[0]sku", "goes on after a bracket without a dot", "items[0].sku"),
            ("[0].a", "begins with an index", "items[0]"),
            ("$[0]", "begins with an index", "items[0]"),
            ("a[4294967296]", "has an index that is too large", "4294967295"),
        ] {
            let bad = read(text).unwrap_err();
            assert_eq!(bad.what, what, "{text}");
            assert!(bad.help.contains(help), "{text}: {}", bad.help);
        }
    }
}
