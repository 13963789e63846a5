//! Worlds that are broken on purpose, to show that the checker can fail.

/// One promise that the world breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The source gives redelivered records new positions.
    NewPositions,
    /// The source takes a batch for done before it is appended.
    EarlyAck,
    /// The store says that it created a segment, and did not.
    LostSegment,
    /// The store deletes segments that nobody has merged.
    ExpiredUnmerged,
    /// The store deletes segments as soon as they are merged, though writers may stall.
    ExpiredAtOnce,
    /// The store's puts are not conditional: they write over what is there.
    Unconditional,
    /// The source says that it is drained when it is not.
    FalselyDrained,
    /// A sink loses a line that it took.
    LostLine,
    /// A sink changes a row that it gets for the second time.
    ChangedRow,
    /// A sink changes every row, each time in the same way.
    WrongRow,
    /// The source says that a shard has ended though nobody registered those that continue it.
    ForgottenChildren,
    /// A shard is registered with its first records, not when its source lists it.
    UnlistedShards,
    /// Clocks differ by more than events may be out of order.
    WildClocks,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 13] = [
        Mutant::NewPositions,
        Mutant::EarlyAck,
        Mutant::LostSegment,
        Mutant::ExpiredUnmerged,
        Mutant::ExpiredAtOnce,
        Mutant::Unconditional,
        Mutant::FalselyDrained,
        Mutant::LostLine,
        Mutant::ChangedRow,
        Mutant::WrongRow,
        Mutant::ForgottenChildren,
        Mutant::UnlistedShards,
        Mutant::WildClocks,
    ];
}
