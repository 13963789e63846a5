//! Result rows as JSON, and how two sets of them differ.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Numbers with fractions that differ by less, relative to the larger one, are the same: last bits of
/// sums depend on their order.
const TOLERANCE: f64 = 1e-9;
/// Differing rows of one query that a failure shows.
const SHOWN: usize = 20;

/// Names of the files that end so, sorted, without their ends.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .map(|path| text(path.file_stem().unwrap().as_ref()))
        .collect();
    names.sort();
    names
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_string()
}

pub(crate) fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows that only one side has, one a line: `-` is missing, `+` should not be there. Empty: none.
pub(crate) fn difference(query: &str, expected: &[Value], ours: &[Value]) -> String {
    let mut surplus: Vec<&Value> = ours.iter().collect();
    let mut missing: Vec<&Value> = Vec::new();
    for row in expected {
        match surplus.iter().position(|it| same(it, row)) {
            Some(index) => drop(surplus.swap_remove(index)),
            None => missing.push(row),
        }
    }
    if missing.is_empty() && surplus.is_empty() {
        return String::new();
    }
    let mut lines: Vec<(String, char)> = missing.iter().map(|row| (row.to_string(), '-')).collect();
    lines.extend(surplus.iter().map(|row| (row.to_string(), '+')));
    lines.sort();
    let mut shown =
        format!("{query}: {} rows missing, {} too many\n", missing.len(), surplus.len());
    for (row, sign) in lines.iter().take(SHOWN) {
        writeln!(shown, "  {sign} {row}").unwrap();
    }
    if lines.len() > SHOWN {
        writeln!(shown, "  … and {} more", lines.len() - SHOWN).unwrap();
    }
    shown
}

/// Whether two values are the same: members in any order, numbers within [`TOLERANCE`].
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        // Whole numbers are exact, also beyond those that a double holds.
        (Value::Number(a), Value::Number(b)) if !a.is_f64() && !b.is_f64() => a == b,
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[test]
fn a_differing_row_is_shown() {
    let row = |kwh: f64| serde_json::json!({ "meter": "short", "kwh": kwh });
    assert_eq!(difference("q", &[row(1.0), row(2.0)], &[row(2.0), row(1.0 + 1e-12)]), "");
    assert_eq!(
        difference("q", &[row(1.0), row(2.0)], &[row(2.0), row(1.01), row(2.0)]),
        "q: 1 rows missing, 2 too many\n  \
         - {\"kwh\":1.0,\"meter\":\"short\"}\n  \
         + {\"kwh\":1.01,\"meter\":\"short\"}\n  \
         + {\"kwh\":2.0,\"meter\":\"short\"}\n"
    );
}
