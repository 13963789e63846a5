//! What happens to a pipeline: batches of records, and ticks.

use tidemill_model::LogId;

use crate::event::Event;

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// A batch of one shard is combined and appended.
    Batch {
        /// The shard's log.
        log: LogId,
        /// The records with their offsets.
        records: Vec<(u64, Event)>,
        /// The watermark that ingest knows of.
        seen: Option<i64>,
    },
    /// Everything appended is merged, and windows close.
    Tick {
        /// The watermark.
        watermark: Option<i64>,
        /// Closing stops after about this many rows and goes on in a tick of its own.
        rows_max: usize,
        /// The state goes on as another process that reads its snapshot.
        reload: bool,
    },
}

/// A history. Whatever is still open at its end closes.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// What happens, one after the other.
    pub steps: Vec<Step>,
}

/// A record with the tick that merged it.
#[derive(Debug, Clone)]
pub struct Merged {
    /// The record's log.
    pub log: LogId,
    /// Its offset.
    pub offset: u64,
    /// The event.
    pub event: Event,
    /// Number of the tick.
    pub tick: usize,
}

impl Script {
    /// All records with the ticks that merge them.
    pub fn merged(&self) -> Vec<Merged> {
        let mut merged = Vec::new();
        let mut tick = 0;
        for step in &self.steps {
            match step {
                Step::Batch { log, records, .. } => {
                    merged.extend(records.iter().map(|(offset, event)| Merged {
                        log: log.clone(),
                        offset: *offset,
                        event: event.clone(),
                        tick,
                    }));
                }
                Step::Tick { .. } => tick += 1,
            }
        }
        merged
    }

    /// The watermark after each tick; the last is of the tick that closes everything.
    pub fn watermarks(&self) -> Vec<Option<i64>> {
        let mut watermarks: Vec<Option<i64>> = Vec::new();
        for step in &self.steps {
            if let Step::Tick { watermark, .. } = step {
                watermarks.push(watermarks.last().copied().flatten().max(*watermark));
            }
        }
        watermarks.push(watermarks.last().copied().flatten());
        watermarks
    }
}
