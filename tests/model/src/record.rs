//! Records, and sets and counts of them, small enough to be copied and hashed by the million.

/// Shards, and so logs, at most.
pub(crate) const LOGS: usize = 2;
/// Positions of a shard at most; the first is 1, and 0 stands before every record.
pub(crate) const POSITIONS: usize = 4;
/// Records at most, over all shards.
pub(crate) const RECORDS: usize = 4;
/// Length of a window, in units of event time. Windows begin at 0.
const WINDOW: u8 = 2;

/// Where a record stands in its shard.
pub(crate) type Position = u8;

/// A record of a source. Its number is its place in [`Scope::records`](crate::Scope::records).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The shard.
    pub log: usize,
    /// 0, or 1 for a record of the source that was created anew under the old name. Also says
    /// when it arrived: everything of generation 1 arrived clearly later.
    pub generation: u8,
    /// Where it stands.
    pub position: Position,
    /// Event time.
    pub time: u8,
}

impl Record {
    /// End of the record's window: it closes when the watermark is there.
    pub fn window_end(&self) -> u8 {
        (self.time / WINDOW + 1) * WINDOW
    }
}

/// A set of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Set(u8);

impl Set {
    /// No records.
    pub const EMPTY: Set = Set(0);

    /// Adds a record.
    pub fn insert(&mut self, record: usize) {
        self.0 |= 1 << record;
    }

    /// Whether the record is in it.
    pub fn has(self, record: usize) -> bool {
        self.0 & (1 << record) != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and those.
    #[must_use]
    pub fn with(self, others: Set) -> Set {
        Set(self.0 | others.0)
    }

    /// These without those.
    #[must_use]
    pub fn without(self, others: Set) -> Set {
        Set(self.0 & !others.0)
    }

    /// The records' numbers, rising.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..RECORDS).filter(move |record| self.has(*record))
    }

    /// The set with the two shards' records exchanged (records 0 and 1 against 2 and 3).
    #[must_use]
    pub fn swapped(self) -> Set {
        Set((self.0 & 3) << 2 | self.0 >> 2)
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(records: I) -> Set {
        let mut set = Set::EMPTY;
        records.into_iter().for_each(|record| set.insert(record));
        set
    }
}

/// How often each record was counted: 0 to 3, where 3 means three times or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Counts(u8);

impl Counts {
    /// Nothing counted.
    pub const NONE: Counts = Counts(0);

    /// How often the record was counted.
    pub fn of(self, record: usize) -> u8 {
        self.0 >> (2 * record) & 3
    }

    /// Counts a record so many times more.
    pub fn add(&mut self, record: usize, times: u8) {
        let sum = (self.of(record) + times).min(3);
        self.0 = self.0 & !(3 << (2 * record)) | sum << (2 * record);
    }

    /// Forgets a record, and tells how often it was counted.
    pub fn take(&mut self, record: usize) -> u8 {
        let times = self.of(record);
        self.0 &= !(3 << (2 * record));
        times
    }

    /// Whether nothing is counted.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The counted records.
    pub fn set(self) -> Set {
        (0..RECORDS).filter(|record| self.of(*record) > 0).collect()
    }

    /// Both counts together.
    #[must_use]
    pub fn plus(mut self, others: Counts) -> Counts {
        (0..RECORDS).for_each(|record| self.add(record, others.of(record)));
        self
    }

    /// See [`Set::swapped`].
    #[must_use]
    pub fn swapped(self) -> Counts {
        Counts((self.0 & 15) << 4 | self.0 >> 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_apart_and_saturate() {
        let mut counts = Counts::NONE;
        counts.add(0, 1);
        counts.add(3, 2);
        counts.add(3, 2);
        assert_eq!([0, 1, 2, 3].map(|record| counts.of(record)), [1, 0, 0, 3]);
        assert_eq!([0, 1, 2, 3].map(|record| counts.swapped().of(record)), [0, 3, 1, 0]);
        assert_eq!(counts.take(3), 3);
        assert_eq!(counts.set(), Set::from_iter([0]));
    }
}
