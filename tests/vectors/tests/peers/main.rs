//! Runs every peer vector of `data/` that our semantics can say, and lists the others with the
//! reason. How each engine's semantics are said in ours: `dialect`, and the README of this crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking; clippy knows only functions marked #[test] as tests"
)]

mod assign;
mod compare;
mod dialect;
mod engine;
mod lists;
mod rows;
mod sql;
mod watermark;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lists::{NOT_RUN, RUN};

#[test]
fn every_vector_is_run_or_listed_with_a_reason() {
    let mut listed: Vec<&str> =
        RUN.iter().chain(NOT_RUN.iter().map(|(name, _)| name)).copied().collect();
    listed.sort_unstable();
    assert_eq!(listed, vectors::names().unwrap(), "lists.rs is left, the files of data/ are right");
    for (name, reason) in NOT_RUN {
        assert!(reason.len() > 20, "{name} needs a reason");
    }
}

#[test]
fn peers_agree() {
    let mut report = String::new();
    let mut failed = Vec::new();
    for name in RUN {
        let vector = vectors::load(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let checked = catch_unwind(AssertUnwindSafe(|| check(&vector)));
        let verdict = if checked.is_ok() { "agrees" } else { "DIFFERS" };
        writeln!(report, "{verdict:8} {:10} {name}", vector.kind).unwrap();
        if checked.is_err() {
            failed.push(*name);
        }
    }
    for (name, reason) in NOT_RUN {
        writeln!(report, "not run  {name}: {reason}").unwrap();
    }
    println!("{report}");
    println!("{} vectors run, {} not run", RUN.len(), NOT_RUN.len());
    assert!(failed.is_empty(), "these vectors differ (each is told above): {failed:?}");
}

fn check(vector: &vectors::Vector) {
    println!("-- {} ({}): {}", vector.id, vector.engine, vector.boundary);
    // An artifact depends on arrival order, as no result of ours may.
    assert!(!vector.notes.starts_with("ARTIFACT"), "{}", vector.notes);
    match vector.kind.as_str() {
        "assign" => assign::check(vector),
        "watermark" => watermark::check(vector),
        _ if rows::is(vector) => rows::check(vector, &dialect::of(vector)),
        _ => compare::check(vector, &dialect::of(vector)),
    }
}
