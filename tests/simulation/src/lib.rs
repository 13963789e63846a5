//! A seeded simulation: the real six verbs and the real planner over a store, sources, sinks and
//! processes that fail, and a checker that knows what should have come out.
//!
//! ```text
//! seed ─ scenario ─▶ world: sources ─ ingest ─▶ store ─ advance ─▶ sinks      one thread
//!                      │        faults, stalls, crashes, expiry, skew
//!                      ▼
//!                    history ─▶ checker: tiling, chain, fold, ledger, emission, batch
//! ```
//!
//! # Invariants
//! 1. One thread, and the seed decides everything: who runs next, what fails, what time it is.
//! 2. The checker shares no code with append, merge and advance: it folds the source's own records
//!    by the definition of each query, or asks the engine's batch SQL over the rows that were not
//!    late.
//! 3. A world that is broken on purpose ([`Mutant`]) is found out: what no mutant breaks is not
//!    checked.
//!
//! Not here: exhaustive search of a model, chaos on processes, properties of one verb.

mod checker;
mod clock;
mod history;
mod mutant;
mod pipelines;
mod process;
mod scenario;
mod sink;
mod source;
mod store;
mod trace;
mod world;

pub use history::{Stats, Violation};
pub use mutant::Mutant;

/// What one seed did.
#[derive(Debug)]
pub struct Run {
    /// Every step, one line each.
    pub trace: Vec<String>,
    /// What happened, counted.
    pub stats: Stats,
    /// What was wrong; `None`: nothing.
    pub violation: Option<Violation>,
}

/// Plays the history of `seed` and checks it. With a mutant the world is broken in that way.
pub fn run(seed: u64, mutant: Option<Mutant>) -> Run {
    let scenario = match scenario::Scenario::new(seed, mutant) {
        Ok(scenario) => scenario,
        Err(violation) => {
            let (trace, stats) = (Vec::new(), Stats::default());
            return Run { trace, stats, violation: Some(violation) };
        }
    };
    let mut world = world::World::new(scenario);
    let played = world.play();
    let history = world.into_history();
    let violation = played.and_then(|()| checker::check(&history)).err();
    Run { trace: history.trace.lines(), stats: history.stats, violation }
}
