//! emit: results of one committed epoch → sinks, replayable with the same ids.
//!
//! # Invariants
//! 1. An epoch is marked as emitted only after every sink took its share.
//! 2. The marker holds every sink's state, also of the sinks that the epoch had nothing for.
//! 3. What may not be what the marker tells of (an emission failed, or was cancelled, or another
//!    process emitted) is taken back before anything else is emitted: sinks are restored first.
//! 4. A sink that is down stops emission, is named, and loses nothing: the epoch stays unmarked.
//! 5. A row that its sink can never take becomes a dead letter of the same epoch. Dead letters are
//!    emitted after all results, because only then is it known which rows are among them.
//!
//! Not here: when an epoch is emitted, and its marker ([`crate::advance`]); sinks themselves.

pub mod json;
mod letter;
pub mod parquet;

use std::collections::BTreeMap;

use tidemill_model::{DeadLetter, Emitted, Epoch, RawBytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::ports::{Closed, Emission, Rejected, Rejection, Sink, SinkError};

pub use letter::Letter;

/// Id of a query's result row `n` of an epoch. A replay gives the same row the same id.
pub fn result_id(query: &str, epoch: Epoch, n: usize) -> String {
    format!("{query}/{epoch}/{n}")
}

/// Id of the dead letter of a result row that `sink` can never take: two sinks that cannot take one
/// row give two dead letters.
pub fn rejected_id(sink: &str, result_id: &str) -> String {
    format!("rejected/{sink}/{result_id}")
}

/// Id of dead letter `n` of an epoch.
pub fn dead_letter_id(epoch: Epoch, n: usize) -> String {
    format!("dead/{epoch}/{n}")
}

/// What an epoch emits: the dead letters of its segments in merge order, then those that it found
/// late, then those that its queries fail on; results only of queries that have rows.
pub(crate) fn emission(epoch: Epoch, mut dead: Vec<DeadLetter>, closed: Closed) -> Emission {
    dead.extend(closed.late);
    let mut results = closed.results;
    results.retain(|results| results.batch.num_rows() > 0);
    let failed = closed.failed;
    Emission { results, dead_letters: dead, failed, ..Emission::empty(epoch) }
}

/// Whether there is nothing to emit.
pub(crate) fn is_empty(emission: &Emission) -> bool {
    emission.results.is_empty() && emission.letters().next().is_none()
}

/// Which sink takes what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// The sinks that each get all results of a query.
    pub results: BTreeMap<String, Vec<String>>,
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
        let of_results = routes.results.iter();
        let of_results =
            of_results.flat_map(|(query, sinks)| sinks.iter().map(move |it| (query, it)));
        let dead_letters = "dead letters".to_string();
        for (needed_by, sink) in of_results.chain([(&dead_letters, &routes.dead_letters)]) {
            if !sinks.contains_key(sink) {
                return Err(NoSuchSink { sink: sink.clone(), needed_by: needed_by.clone() });
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

    /// Gives every sink its share of an epoch, in the order of their names, then the dead letters
    /// to theirs. The sinks count as restored again once [`Emit::confirm`] tells that the marker
    /// is written.
    pub(crate) async fn emit(&mut self, emission: &Emission) -> Result<Shared, SinkError> {
        self.restored = false;
        let mut letters = Emission {
            dead_letters: emission.dead_letters.clone(),
            failed: emission.failed.clone(),
            ..Emission::empty(emission.epoch)
        };
        for (name, share) in self.shares(emission)? {
            for rejection in self.give(&name, &share).await? {
                letters.rejected.push(rejected(&name, &share, rejection)?);
            }
        }
        if letters.letters().next().is_some() {
            let name = self.routes.dead_letters.clone();
            if let Some(rejection) = self.give(&name, &letters).await?.first() {
                let reason = format!("it refused a dead letter: {}", rejection.detail);
                return Err(SinkError { sink: name, reason });
            }
        }
        Ok(Shared { states: self.states.clone(), rejected: letters.rejected.len() as u64 })
    }

    /// Gives one sink its share. Answers what it can never take.
    async fn give(&mut self, name: &str, share: &Emission) -> Result<Vec<Rejection>, SinkError> {
        let Some(sink) = self.sinks.get_mut(name) else {
            let reason = "it is not among this pipeline's sinks".to_string();
            return Err(SinkError { sink: name.to_string(), reason });
        };
        let taken = sink.emit(share).await?;
        self.states.insert(name.to_string(), taken.state);
        Ok(taken.rejected)
    }

    /// The marker with the states of the last [`Emit::emit`] is written.
    pub(crate) fn confirm(&mut self) {
        self.restored = true;
    }

    /// The results by sink; sinks without a share are left out.
    fn shares(&self, emission: &Emission) -> Result<BTreeMap<String, Emission>, SinkError> {
        let mut shares: BTreeMap<String, Emission> = BTreeMap::new();
        for results in &emission.results {
            let sinks = self.routes.results.get(&results.query).filter(|sinks| !sinks.is_empty());
            let Some(sinks) = sinks else {
                let reason = format!("query `{}` has results and no sink", results.query);
                return Err(SinkError { sink: "none".to_string(), reason });
            };
            for sink in sinks {
                let share = shares.entry(sink.clone());
                let share = share.or_insert_with(|| Emission::empty(emission.epoch));
                share.results.push(results.clone());
            }
        }
        Ok(shares)
    }
}

/// What became of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shared {
    /// The sinks' states, for the marker.
    pub(crate) states: BTreeMap<String, Vec<u8>>,
    /// Rows that became dead letters because their sinks cannot take them.
    pub(crate) rejected: u64,
}

/// The dead letter of a row that `sink` can never take.
fn rejected(sink: &str, share: &Emission, rejection: Rejection) -> Result<Rejected, SinkError> {
    let error = |reason: String| SinkError { sink: sink.to_string(), reason };
    let Rejection { query, row, detail } = rejection;
    let results = share.results.iter().find(|results| results.query == query);
    let Some(results) = results.filter(|results| row < results.batch.num_rows()) else {
        return Err(error(format!("it refused row {row} of `{query}`, which it was not given")));
    };
    let mut json = Vec::new();
    let rows = json::RowWriter::new(&results.batch).map_err(|cause| error(cause.to_string()))?;
    rows.write(row, &mut json);
    json.pop();
    Ok(Rejected {
        id: result_id(&query, share.epoch, row),
        query,
        sink: sink.to_string(),
        detail,
        row: RawBytes::of(&json, xxh3_64(&json)),
    })
}

#[cfg(test)]
mod tests;
