//! What happened while the checker ran: how the model is shown to reach the interesting places.

use std::sync::atomic::{AtomicBool, Ordering};

/// Something that must be possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// A segment was created.
    Created,
    /// An append was told that its key exists, and it was its own write.
    OwnWriteFound,
    /// An append lost a race.
    RaceLost,
    /// Records were skipped that the log had.
    Skipped,
    /// A put was carried out after its sender gave up.
    Orphan,
    /// A segment went.
    Expired,
    /// A writer found right before its put that it had stalled.
    Stalled,
    /// A writer found after its put that it had stalled.
    NotBelieved,
    /// An append refused because unmerged segments were old.
    NearExpiry,
    /// No segment told the tail any more, the checkpoint did.
    TailFromCheckpoint,
    /// A segment that overlaps the merged position was found.
    OverlapFound,
    /// A skipped record that no segment holds was found.
    UnseenFound,
    /// A source that was created anew was found.
    RewindFound,
    /// A missing segment was found.
    GapFound,
    /// A checkpoint was created.
    Committed,
    /// A process lost the race for an epoch.
    CommitLost,
    /// A process found its own checkpoint after the answer was lost.
    OwnCheckpointFound,
    /// A cold process replayed the chain.
    Replayed,
    /// ... from a snapshot.
    ReplayedSnapshot,
    /// An epoch reached the sinks twice.
    EmittedTwice,
    /// A record was late.
    Late,
    /// A log was idle.
    Idle,
    /// An epoch began with a snapshot.
    Snapshot,
    /// A checkpoint went.
    CheckpointDeleted,
    /// The key of a checkpoint that was gone was taken again.
    DeletedKeyTaken,
    /// A process found that its checkpoint was not the newest.
    GaveWay,
}

/// Events.
pub(crate) const EVENTS: usize = Event::GaveWay as usize + 1;

/// Which events happened in some transition.
#[derive(Debug)]
pub struct Reached([AtomicBool; EVENTS]);

impl Default for Reached {
    fn default() -> Reached {
        Reached(std::array::from_fn(|_| AtomicBool::new(false)))
    }
}

impl Reached {
    /// It happened.
    pub fn hit(&self, event: Event) {
        // Reading first keeps the cores from fighting for the line.
        if !self.has(event) {
            self.0[event as usize].store(true, Ordering::Relaxed);
        }
    }

    /// Whether it happened.
    pub fn has(&self, event: Event) -> bool {
        self.0[event as usize].load(Ordering::Relaxed)
    }
}
