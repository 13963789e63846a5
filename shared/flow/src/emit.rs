//! emit: results of one committed epoch → sinks, replayable with the same ids.
//!
//! # Invariants
//! 1. An epoch is marked as emitted only after every sink took its share.
//! 2. The marker holds every sink's state, also of the sinks that the epoch had nothing for.
//! 3. What may not be what the marker tells of (an emission failed, or was cancelled, or another
//!    process emitted) is taken back before anything else is emitted: sinks are restored first.
//! 4. A sink that is down stops emission, is named, and loses nothing: the epoch stays unmarked.
//!
//! Not here: when an epoch is emitted, and its marker ([`crate::advance`]); sinks themselves.

pub mod json;

use std::collections::BTreeMap;

use tidemill_model::{DeadLetter, Emitted, Epoch};

use crate::ports::{Closed, Emission, Sink, SinkError};

/// Id of a query's result row `n` of an epoch. A replay gives the same row the same id.
pub fn result_id(query: &str, epoch: Epoch, n: usize) -> String {
    format!("{query}/{epoch}/{n}")
}

/// Id of dead letter `n` of an epoch.
pub fn dead_letter_id(epoch: Epoch, n: usize) -> String {
    format!("dead/{epoch}/{n}")
}

/// What an epoch emits: the dead letters of its segments in merge order and then those that it
/// found late; results only of queries that have rows.
pub(crate) fn emission(epoch: Epoch, mut dead: Vec<DeadLetter>, closed: Closed) -> Emission {
    dead.extend(closed.late);
    let mut results = closed.results;
    results.retain(|results| results.batch.num_rows() > 0);
    Emission { epoch, results, dead_letters: dead }
}

/// Whether there is nothing to emit.
pub(crate) fn is_empty(emission: &Emission) -> bool {
    emission.results.is_empty() && emission.dead_letters.is_empty()
}

/// Which sink takes what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// Sink by query.
    pub results: BTreeMap<String, String>,
    /// The sink of dead letters.
    pub dead_letters: String,
}

/// Sinks that cannot be wired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no sink of this name. sink=`{sink}` needed_by=`{needed_by}`")]
pub struct NoSuchSink {
    /// The sink's name.
    pub sink: String,
    /// The query, or `dead letters`.
    pub needed_by: String,
}

/// The sinks of one pipeline.
pub struct Emit {
    sinks: BTreeMap<String, Box<dyn Sink>>,
    routes: Routes,
    /// What each sink answered last, or the marker said.
    states: BTreeMap<String, Vec<u8>>,
    /// Whether the sinks stand where the newest marker says.
    restored: bool,
}

impl Emit {
    /// The sinks by name, and what each takes. Every sink that `routes` names must be there.
    pub fn new(sinks: BTreeMap<String, Box<dyn Sink>>, routes: Routes) -> Result<Emit, NoSuchSink> {
        let dead_letters = [("dead letters".to_string(), routes.dead_letters.clone())];
        for (needed_by, sink) in routes.results.clone().into_iter().chain(dead_letters) {
            if !sinks.contains_key(&sink) {
                return Err(NoSuchSink { sink, needed_by });
            }
        }
        Ok(Emit { sinks, routes, states: BTreeMap::new(), restored: false })
    }

    /// Whether the sinks stand where the newest marker says.
    pub(crate) fn is_restored(&self) -> bool {
        self.restored
    }

    /// The sinks may stand elsewhere than the newest marker says.
    pub(crate) fn forget(&mut self) {
        self.restored = false;
    }

    /// Takes every sink back to the newest marker; `None`: nothing was ever emitted.
    pub(crate) async fn restore(&mut self, marker: Option<&Emitted>) -> Result<(), SinkError> {
        self.restored = false;
        self.states = marker.map_or_else(BTreeMap::new, |marker| marker.sinks.clone());
        for (name, sink) in &mut self.sinks {
            sink.restore(self.states.get(name).map(Vec::as_slice)).await?;
        }
        self.restored = true;
        Ok(())
    }

    /// Gives every sink its share of an epoch, in the order of their names, and answers the states
    /// for the marker. The sinks count as restored again once [`Emit::confirm`] tells that the
    /// marker is written.
    pub(crate) async fn emit(
        &mut self,
        emission: &Emission,
    ) -> Result<BTreeMap<String, Vec<u8>>, SinkError> {
        self.restored = false;
        for (name, share) in self.shares(emission)? {
            let Some(sink) = self.sinks.get_mut(&name) else {
                let reason = "it is not among this pipeline's sinks".to_string();
                return Err(SinkError { sink: name, reason });
            };
            let state = sink.emit(&share).await?;
            self.states.insert(name, state);
        }
        Ok(self.states.clone())
    }

    /// The marker with the states of the last [`Emit::emit`] is written.
    pub(crate) fn confirm(&mut self) {
        self.restored = true;
    }

    /// The emission by sink; sinks without a share are left out.
    fn shares(&self, emission: &Emission) -> Result<BTreeMap<String, Emission>, SinkError> {
        let mut shares: BTreeMap<String, Emission> = BTreeMap::new();
        let empty =
            || Emission { epoch: emission.epoch, results: Vec::new(), dead_letters: Vec::new() };
        for results in &emission.results {
            let Some(sink) = self.routes.results.get(&results.query) else {
                let reason = format!("query `{}` has results and no sink", results.query);
                return Err(SinkError { sink: "none".to_string(), reason });
            };
            shares.entry(sink.clone()).or_insert_with(empty).results.push(results.clone());
        }
        if !emission.dead_letters.is_empty() {
            let share = shares.entry(self.routes.dead_letters.clone()).or_insert_with(empty);
            share.dead_letters = emission.dead_letters.clone();
        }
        Ok(shares)
    }
}

#[cfg(test)]
mod tests;
