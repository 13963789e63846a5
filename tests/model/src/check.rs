//! Running the checker over a scope.

use std::fmt;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::{Protocol, Scope, property};

/// What a run found.
#[derive(Debug)]
pub struct Checked {
    /// The scope's name.
    pub scope: &'static str,
    /// Different states visited.
    pub states: usize,
    /// Transitions.
    pub transitions: usize,
    /// Longest history.
    pub depth: usize,
    /// Seconds.
    pub seconds: u64,
    /// Properties that do not hold, each with the history that shows it.
    pub violations: Vec<(&'static str, String)>,
    /// Interesting places that were not reached.
    pub missed: Vec<&'static str>,
}

impl Checked {
    /// Whether every property holds and everything interesting happened.
    pub fn is_right(&self) -> bool {
        self.violations.is_empty() && self.missed.is_empty()
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { scope, states, transitions, depth, seconds, .. } = self;
        write!(
            f,
            "{scope}: {states} states, {transitions} transitions, depth {depth}, {seconds} s"
        )?;
        self.violations
            .iter()
            .try_for_each(|(name, path)| write!(f, "\nNOT TRUE: {name}\n{path}"))?;
        self.missed.iter().try_for_each(|name| write!(f, "\nNEVER HAPPENED: {name}"))
    }
}

/// Visits every state of a scope.
pub fn check(scope: &Scope, threads: usize) -> Checked {
    let mut checked = run(scope, threads, HasDiscoveries::AllFailures);
    for (name, path) in &mut checked.violations {
        if let Some((_, shortest)) = find(scope, name).violations.pop() {
            *path = shortest;
        }
    }
    checked
}

/// Looks for a shortest history that breaks a property.
pub fn find(scope: &Scope, name: property::Name) -> Checked {
    run(scope, 1, HasDiscoveries::AnyOf([name].into()))
}

#[expect(clippy::disallowed_methods, reason = "tells a person how long it took")]
fn run(scope: &Scope, threads: usize, until: HasDiscoveries) -> Checked {
    let begun = Instant::now();
    let exhausts = matches!(until, HasDiscoveries::AllFailures);
    let model = Protocol::new(scope.clone());
    let checker = model.clone().checker().threads(threads).finish_when(until);
    // Depth first needs less memory, breadth first finds the shortest history.
    let mut checked = match exhausts {
        true => summary(&model, checker.spawn_dfs().join()),
        false => summary(&model, checker.spawn_bfs().join()),
    };
    checked.seconds = begun.elapsed().as_secs();
    checked
}

fn summary(model: &Protocol, checker: impl Checker<Protocol>) -> Checked {
    let mut checked = Checked {
        scope: model.scope.name,
        states: checker.unique_state_count(),
        transitions: checker.state_count(),
        depth: checker.max_depth(),
        seconds: 0,
        violations: Vec::new(),
        missed: Vec::new(),
    };
    let found = checker.discoveries();
    for property in model.properties() {
        match found.get(property.name) {
            Some(path) if property.expectation.discovery_is_failure() => {
                let actions = path.clone().into_actions();
                let lines = actions.iter().map(|action| format!("  {action:?}\n"));
                checked.violations.push((property.name, lines.collect()));
            }
            None if !property.expectation.discovery_is_failure() => {
                checked.missed.push(property.name);
            }
            _ => {}
        }
    }
    checked
}
