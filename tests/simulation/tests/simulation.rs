//! Random histories, each decided by its seed.
//!
//! `make sim SEEDS=2000` plays more of them, from the first on or from `FROM=5000`; `make sim-one
//! SEED=7` plays one and prints every step.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use simulation::{Mutant, Run, Stats, Violation, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Histories that a usual test run plays.
const SEEDS: u64 = 500;

fn number(names: [&str; 2]) -> Option<u64> {
    names.iter().find_map(|name| env::var(name).ok()).map(|text| {
        text.parse().unwrap_or_else(|_| panic!("SEED and SEEDS are numbers, not `{text}`"))
    })
}

/// Whether a person asked for certain histories, and wants no others.
fn is_asked() -> bool {
    asked_seed().is_some() || number(["SIM_SEEDS", "SEEDS"]).is_some()
}

fn asked_seed() -> Option<u64> {
    number(["SIM_SEED", "SEED"])
}

/// Plays seeds on all cores, one thread each, and answers the runs' sum; `each` may stop it.
fn play(
    seeds: Range<u64>,
    mutant: Option<Mutant>,
    each: impl Fn(u64, &Run) -> bool + Sync,
) -> Stats {
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Stats::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let run = run(seed, mutant);
                    sum.lock().unwrap_or_else(PoisonError::into_inner).add(&run.stats);
                    if !each(seed, &run) {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_same_seed_gives_the_same_history() {
    if is_asked() {
        return;
    }
    let mut stats = Stats::default();
    for seed in 0..20 {
        let (first, second) = (run(seed, None), run(seed, None));
        let differs = first.trace.iter().zip(&second.trace).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
        assert_eq!(first.violation, second.violation, "seed {seed}");
        assert_eq!(first.stats, second.stats, "seed {seed}");
        assert!(first.trace.len() > 100, "seed {seed} did nothing");
        stats.add(&first.stats);
    }
    let kinds = [stats.random, stats.seeds - stats.random, stats.splits, stats.merges];
    assert!(!kinds.contains(&0), "a kind of history was not tried: {stats}");
}

#[test]
fn every_record_counts_once_whatever_fails() {
    if let Some(seed) = asked_seed() {
        let run = run(seed, None);
        run.trace.iter().for_each(|line| println!("{line}"));
        println!("{}", run.stats);
        assert_eq!(run.violation, None, "seed {seed}");
        return;
    }
    let seeds = number(["SIM_SEEDS", "SEEDS"]).unwrap_or(SEEDS);
    let from = number(["SIM_FROM", "FROM"]).unwrap_or(0);
    let failed = Mutex::new(Vec::new());
    let played = AtomicU64::new(0);
    let stats = play(from..from + seeds, None, |seed, run| {
        if let Some(violation) = &run.violation {
            println!("seed {seed}: {violation}\n  every step: make sim-one SEED={seed}");
            failed.lock().unwrap().push(seed);
        }
        let played = played.fetch_add(1, Ordering::Relaxed) + 1;
        if played.is_multiple_of(1000) {
            println!("{played} of {seeds} seeds, {} failed", failed.lock().unwrap().len());
        }
        true
    });
    println!("{stats}");
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {seeds} seeds failed: {failed:?}", failed.len());
    // A simulation in which something never happens does not test it.
    assert!(seeds < SEEDS || stats.never().is_empty(), "never happened: {:?}", stats.never());
}

/// The pipeline itself notices some broken promises, by its guards, and stops. Here the checker must
/// notice each of them, in a history in which the pipeline went on to the end.
#[test]
fn a_world_that_breaks_a_promise_is_found_out() {
    if is_asked() {
        return;
    }
    for mutant in Mutant::ALL {
        let (found, stopped) = (Mutex::new(None), AtomicU64::new(0));
        play(0..SEEDS, Some(mutant), |seed, run| match &run.violation {
            Some(Violation::Broken(what)) => {
                found.lock().unwrap().get_or_insert((seed, what.clone()));
                false
            }
            Some(Violation::Stopped(_)) => stopped.fetch_add(1, Ordering::Relaxed) < SEEDS,
            None => true,
        });
        let stopped = stopped.into_inner();
        match found.into_inner().unwrap() {
            Some((seed, what)) => {
                println!("{mutant:?}: the pipeline stopped {stopped} times; seed {seed}: {what}");
            }
            None => panic!("{mutant:?} was not found out in {SEEDS} seeds"),
        }
    }
}

/// Of a random query only the batch knows what it should have given.
#[test]
fn a_wrong_row_of_a_random_query_is_found_out_by_the_batch() {
    if is_asked() {
        return;
    }
    let random = (0..SEEDS).map(|seed| run(seed, Some(Mutant::WrongRow)));
    let mut random = random.filter(|run| run.stats.random > 0 && run.stats.results > 0).take(5);
    let told = random.by_ref().all(|run| match run.violation {
        // The batch's check begins with the query's name: of rows that change, the column that was
        // falsified says when they came.
        Some(Violation::Broken(what)) => what.starts_with("random_"),
        _ => false,
    });
    assert!(told && random.next().is_none());
}
