//! The examples give what their `expected/` holds, which was not computed by Tidemill
//! (`examples/compute-expected`), with one shard an input and with four.
//!
//! `make examples` runs these tests alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::rows::{difference, files, rows, text};
use crate::workspace::Workspace;

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
