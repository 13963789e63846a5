//! Time passes: long waits, outages, and what expires meanwhile.

use tidemill_flow::keys::Keys;
use tidemill_model::{Checkpoint, Epoch, Position};

use super::{HOUR_MS, IngestProcess, World};
use crate::history::{Violation, violated};
use crate::mutant::Mutant;
use crate::process::Process;

/// A long wait begins only if an advance caught up this recently, milliseconds.
const CAUGHT_UP_MS: i64 = 4 * HOUR_MS;
/// An outage begins only if an advance caught up this recently, milliseconds.
const CAUGHT_UP_BEFORE_OUTAGE_MS: i64 = 600_000;
/// How long no advance runs in an outage, milliseconds: longer than the age at which ingest refuses.
const OUTAGE_MS: i64 = 14 * HOUR_MS;

/// How far advance is with one log.
struct LogStands {
    /// Partition key of its segments.
    pk: String,
    merged: Position,
    /// A cold start reads segments from here on.
    needed: Position,
}

impl World {
    /// Minutes or hours pass, no further than the next stalled call's resumption.
    pub(super) fn wait_long(&mut self) {
        let now = self.clock.now();
        let is_outage = now < self.outage_until;
        if now.since(self.caught_up) > CAUGHT_UP_MS && !is_outage {
            return;
        }
        let ms = match self.rng.chance(30) {
            true => self.rng.between(60_000, HOUR_MS),
            false => self.rng.between(HOUR_MS, 4 * HOUR_MS),
        };
        let stalls = self.ingests.iter().filter_map(|process| process.stalled_until);
        let stalls = stalls.chain(self.advances.iter().filter_map(|it| it.stalled_until));
        let next = stalls.chain(is_outage.then_some(self.outage_until)).min();
        let ms = next.map_or(ms, |next| ms.min(next.since(now).max(0)));
        self.clock.pass(ms);
        self.trace.say("world", format_args!("{} minutes pass", ms / 60_000));
    }

    /// All advances stop for hours.
    pub(super) fn begin_outage(&mut self) {
        let now = self.clock.now();
        if now.since(self.caught_up) > CAUGHT_UP_BEFORE_OUTAGE_MS {
            return;
        }
        self.trace.say("world", "no advance runs any more");
        self.advances.iter_mut().for_each(Process::crash);
        let is_old = |it: &&mut IngestProcess| !it.is_idle() && now.since(it.began) > HOUR_MS;
        self.ingests.iter_mut().filter(is_old).for_each(Process::crash);
        self.stats.outages += 1;
        self.outage_until = now.plus(OUTAGE_MS);
    }

    /// Deletes some of what may be deleted, in no order.
    pub(super) fn expire(&mut self) -> Result<(), Violation> {
        let now = self.clock.now();
        let mutant = self.scenario.mutant;
        let logs = self.progress()?;
        for (pk, row) in self.recorder.memory.rows() {
            let log = logs.iter().find(|log| log.pk == pk);
            let is_unmerged = log.is_some_and(|log| row.sk >= log.merged.to_key());
            let is_useless = log.is_some_and(|log| row.sk < log.needed.to_key());
            let expired = row.item.expires_at.is_some_and(|at| at <= now);
            let goes = match mutant {
                Some(Mutant::ExpiredUnmerged) => is_unmerged,
                Some(Mutant::ExpiredAtOnce) => is_useless,
                _ => expired && self.rng.chance(50),
            };
            if !goes {
                continue;
            }
            self.trace.say("store", format_args!("{pk} {} expires", row.sk));
            self.recorder.memory.delete(&pk, &row.sk);
            self.stats.expired += 1;
            if is_unmerged && mutant.is_none() {
                violated!("a segment expired that nobody had merged. pk=`{pk}` sk=`{}`", row.sk);
            }
        }
        Ok(())
    }

    /// How far each log is merged, by the chain as it was made.
    fn progress(&self) -> Result<Vec<LogStands>, Violation> {
        let keys = Keys::new(&self.planned.pipeline.name);
        let newest = self.newest()?;
        let snapshot = newest.as_ref().and_then(|newest| newest.snapshot.as_ref());
        let before = match snapshot.and_then(|snapshot| snapshot.epoch.0.checked_sub(1)) {
            Some(epoch) => self.checkpoint(Some(Epoch(epoch)))?,
            None => None,
        };
        let logs = self.sources.logs().into_iter().map(|(log, start)| {
            let at = |checkpoint: &Option<Checkpoint>| {
                let progress = checkpoint.as_ref().and_then(|it| it.logs.get(&log));
                progress.map_or(start, |progress| progress.merged)
            };
            LogStands { pk: keys.log(&log), merged: at(&newest), needed: at(&before) }
        });
        Ok(logs.collect())
    }
}
