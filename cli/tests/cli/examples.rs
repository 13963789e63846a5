//! The examples give what their `expected/` holds, which was not computed by Tidemill
//! (`examples/compute-expected`), with one shard an input and with four.
//!
//! `make examples` runs these tests alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::workspace::Workspace;

/// Numbers that differ by less, relative to the larger one, are the same: last bits of sums depend on
/// their order.
const TOLERANCE: f64 = 1e-9;
/// Differing rows of one query that a failure shows.
const SHOWN: usize = 20;

macro_rules! examples {
    ($($test:ident $folder:literal)*) => {
        const EXAMPLES: &[&str] = &[$($folder),*];
        $(
            #[test]
            fn $test() {
                gives_what_is_expected($folder);
            }
        )*
    };
}

examples! {
    card_fraud "card-fraud"
    clickstream "clickstream"
    machine_status "machine-status"
    predictive_maintenance "predictive-maintenance"
    running_balance "running-balance"
    service_monitoring "service-monitoring"
    stock_averages "stock-averages"
    time_series_features "time-series-features"
}

#[test]
fn every_example_with_expected_results_is_run() {
    let folder = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let found: BTreeSet<String> = folder
        .filter(|path| path.join("expected").exists())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_string())
        .collect();
    let run: BTreeSet<String> = EXAMPLES.iter().copied().map(String::from).collect();
    assert_eq!(found, run, "the folders of examples/ are left, the tests above are right");
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn gives_what_is_expected(name: &str) {
    let folder = examples().join(name);
    let workspace = Workspace::new();
    for shards in ["1", "4"] {
        let mut args = vec!["run".to_string(), text(&folder.join("pipeline.toml"))];
        for stream in files(&folder, "jsonl") {
            let file = text(&folder.join(format!("{stream}.jsonl")));
            args.extend(["--input".to_string(), format!("{stream}={file}")]);
        }
        args.extend(["--shards", shards, "--output", shards, "--until-end"].map(String::from));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = workspace.tidemill(&args).succeeded();
        assert_eq!((ran.summary("late"), ran.summary("dead letters")), (0, 0), "{name}");

        let mut differences = String::new();
        let queries = files(&folder.join("expected"), "jsonl");
        for query in &queries {
            let expected = rows(&folder.join("expected").join(format!("{query}.jsonl")));
            let ours = rows(&workspace.path(shards).join(format!("{query}.jsonl")));
            if shards == "1" {
                println!("{name}: {query}: {} rows", ours.len());
            }
            write!(differences, "{}", difference(query, &expected, &ours)).unwrap();
        }
        assert!(differences.is_empty(), "{name} with {shards} shards:\n{differences}");
        let results = workspace.path(shards);
        let written = files(&results, "jsonl").into_iter().filter(|file| file != "dead_letters");
        assert_eq!(
            written.collect::<Vec<_>>(),
            queries,
            "{name}: queries are left, expected right"
        );
    }
}

/// Names of the files that end so, sorted, without their ends.
fn files(folder: &Path, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .map(|path| text(path.file_stem().unwrap().as_ref()))
        .collect();
    names.sort();
    names
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_string()
}

fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows that only one side has, one a line: `-` is missing, `+` should not be there. Empty: none.
fn difference(query: &str, expected: &[Value], ours: &[Value]) -> String {
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
    let mut told = format!("{query}: {} rows missing, {} too many\n", missing.len(), surplus.len());
    for (row, sign) in lines.iter().take(SHOWN) {
        writeln!(told, "  {sign} {row}").unwrap();
    }
    if lines.len() > SHOWN {
        writeln!(told, "  … and {} more", lines.len() - SHOWN).unwrap();
    }
    told
}

/// Whether two values are the same: members in any order, numbers within [`TOLERANCE`].
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
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
fn a_differing_row_is_told() {
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
