//! `make model`: visits every state of every scope, prints how many there are, and fails if a
//! property does not hold, or if something interesting never happened.
//!
//! With the name of a scope, or the beginning of one: only that.

use std::process::ExitCode;

use model::{Scope, check};

/// Threads of the checker.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let (mut states, mut transitions, mut is_right) = (0, 0, true);
    for scope in Scope::all().into_iter().filter(|scope| scope.name.starts_with(&wanted)) {
        let checked = check(&scope, THREADS);
        println!("{checked}");
        states += checked.states;
        transitions += checked.transitions;
        is_right &= checked.is_right();
    }
    println!("all: {states} states, {transitions} transitions");
    if is_right && states > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
