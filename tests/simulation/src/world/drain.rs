//! The end: everything heals, what is left is delivered, the input ends, every window closes.

use super::World;
use crate::history::{Violation, violated};
use crate::process::{Process, Ticker};

/// Polls after which a healthy pipeline is done, by far.
const POLLS_MAX: usize = 200_000;

impl World {
    pub(super) fn drain(&mut self) -> Result<(), Violation> {
        self.trace.say("world", "heals");
        self.outbox.heal();
        for process in &mut self.ingests {
            process.store.heal();
            process.resume();
        }
        for process in &mut self.advances {
            process.store.heal();
            process.resume();
        }
        let mut polls = 0;
        // Everybody goes on, in any order, until every record is in the log.
        while (0..self.sources.count()).any(|shard| self.sources.has_backlog(shard))
            || self.ingests.iter().any(|process| !process.is_idle())
        {
            polls += 1;
            if polls > POLLS_MAX {
                violated!("a healthy pipeline does not take all records");
            }
            self.clock.pass(self.rng.between(0, 40));
            if self.rng.chance(85) {
                let index = self.rng.index(self.ingests.len());
                let has_backlog = self.sources.has_backlog(self.serves[index]);
                if has_backlog || !self.ingests[index].is_idle() {
                    self.run_ingest(index)?;
                }
            } else {
                let index = self.rng.index(self.advances.len());
                self.run_advance(index)?;
            }
        }
        self.trace.say("world", "the input ends");
        self.sources.end();
        for index in 0..self.advances.len() {
            // A tick that began before the end need not see it.
            self.finish_tick(index)?;
        }
        let mut ticks = 0;
        while !self.finished {
            ticks += 1;
            if ticks > POLLS_MAX {
                violated!("a healthy pipeline does not close all windows");
            }
            let index = self.rng.index(self.advances.len());
            self.run_advance(index)?;
        }
        for index in 0..self.advances.len() {
            self.finish_tick(index)?;
        }
        self.start_cold()
    }

    fn finish_tick(&mut self, index: usize) -> Result<(), Violation> {
        self.finished = false;
        while !self.advances[index].is_idle() {
            self.clock.pass(self.rng.between(0, 40));
            self.run_advance(index)?;
        }
        Ok(())
    }

    /// A process that knows nothing reads the chain, agrees that all is done, and emits nothing.
    fn start_cold(&mut self) -> Result<(), Violation> {
        let delivered = self.outbox.delivered();
        let cold: Process<Ticker, _> = self.process("cold".to_string());
        cold.store.heal();
        self.advances.push(cold);
        let index = self.advances.len() - 1;
        self.run_advance(index)?;
        self.finish_tick(index)?;
        if !self.finished || self.outbox.delivered() != delivered {
            violated!("a cold start does not agree that all is done");
        }
        Ok(())
    }
}
