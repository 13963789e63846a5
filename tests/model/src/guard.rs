//! The guards of the protocol, each a switch.

/// A rule that the protocol rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Guard {
    /// A segment is created only where none is.
    SegmentIfAbsent,
    /// Records at or below the tail are not appended again.
    SkipCovered,
    /// After *already exists* the tail is read again; the batch is not taken for covered.
    ReadAfterExists,
    /// A batch that failed half-way is acknowledged only as far as it is covered.
    AckOnlyCovered,
    /// The tail is the greatest of newest segment and checkpoint, not the newest segment's end.
    TailIsMaximum,
    /// A segment that overlaps the merged position stops its log.
    OverlapIsDamage,
    /// The tail's age is checked right before the put.
    CheckBeforePut,
    /// The tail's age is checked again once the put is answered.
    CheckAfterPut,
    /// Segments live much longer than a tail is believed and a request lingers.
    TtlMargin,
    /// Segments are deleted by time to live, never because they are merged.
    DeleteOnlyByTtl,
    /// Nothing is appended while unmerged segments have lived half their time.
    LogNearExpiry,
    /// A log's registry entry is written before its first segment.
    RegistryFirst,
    /// A skipped record that the segment which covers it does not hold is a loud error.
    UnseenIsStuck,
    /// A skipped record that arrived clearly after everything in the log is a loud error.
    RewindIsStuck,
    /// The log's newest arrival is remembered by checkpoints, too.
    ArrivalInCheckpoint,
    /// A checkpoint is created only where none is.
    CheckpointIfAbsent,
    /// A checkpoint that exists is ours only if it is equal.
    CompareCheckpoint,
    /// A process that created a checkpoint believes so only if it is the newest.
    VerifyNewest,
    /// Epoch e + 1 is not begun before e is emitted and marked.
    MarkBeforeNext,
    /// Results are emitted after their checkpoint is created.
    EmitAfterCommit,
    /// Open state that a failed or lost tick has changed is thrown away.
    DropWarm,
    /// A segment that does not begin where the one before ends stops advance.
    GapIsDamage,
    /// A row of a window that the previous checkpoint had closed is late.
    LateByPrevious,
    /// A watermark is never below the previous one.
    WatermarkRises,
    /// A silent log is idle only if its source is drained.
    IdleIsDrained,
    /// A replay merges up to the checkpoint's positions, whatever else there is.
    ReplayToMerged,
    /// A replay takes the watermark from the checkpoint.
    ReplayWatermark,
    /// The snapshot that checkpoint e names is the state before e.
    SnapshotBefore,
    /// A snapshot is written before the checkpoint that names it.
    SnapshotFirst,
    /// A snapshot is due when the log since the last one is old.
    SnapshotByAge,
    /// What an older snapshot needs goes only once a checkpoint names the newer one.
    ExpireAfterCommit,
    /// ... and that checkpoint's results are emitted.
    ExpireAfterEmission,
    /// The checkpoint before a snapshot stays as long as the snapshot.
    KeepJudge,
    /// The tail is read again when it is taken out of the cache and old.
    FreshFromCache,
    /// A failed append forgets its tail.
    ForgetTail,
}

/// The guards that are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards(u64);

impl Guards {
    /// The protocol as it is.
    pub const ALL: Guards = Guards(u64::MAX);

    /// All but one.
    #[must_use]
    pub fn without(self, guard: Guard) -> Guards {
        Guards(self.0 & !(1 << guard as u64))
    }

    /// Whether the guard is on.
    pub fn has(self, guard: Guard) -> bool {
        self.0 & (1 << guard as u64) != 0
    }
}
