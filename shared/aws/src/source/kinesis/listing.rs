//! What a listing of a Kinesis stream's shards tells. Pure.
//!
//! # Invariants
//! 1. Kinesis numbers shards in the order in which they are made, and lists a shard as long as it
//!    may hold records. So a shard that is not listed while a newer one is, in a stream that is not
//!    being resharded, has expired with all its records.

use std::collections::BTreeMap;

/// A shard, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) id: String,
    /// The shards that were split or merged into it; they need not be listed any more.
    pub(super) parents: Vec<String>,
    /// Whether it takes no more records.
    pub(super) closed: bool,
}

/// What is known of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It takes records.
    Open,
    /// It takes no more records.
    Closed,
    /// It has expired with all its records.
    Gone,
    /// It is newer than the listing.
    Unlisted,
}

/// The shards of one stream, all of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    /// What tells the stream from another one of the same name.
    pub(super) identity: String,
    /// Whether no shard was being split or merged.
    pub(super) settled: bool,
    shards: BTreeMap<String, Shard>,
}

impl Listing {
    pub(super) fn new(identity: String, settled: bool, shards: Vec<Shard>) -> Listing {
        let shards = shards.into_iter().map(|shard| (shard.id.clone(), shard)).collect();
        Listing { identity, settled, shards }
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Shard> {
        self.shards.get(id)
    }

    pub(super) fn standing(&self, id: &str) -> Standing {
        match self.shards.get(id) {
            Some(Shard { closed: true, .. }) => Standing::Closed,
            Some(_) => Standing::Open,
            None => {
                let newer = self.shards.keys().any(|other| age(other) > age(id));
                if newer && self.settled { Standing::Gone } else { Standing::Unlisted }
            }
        }
    }

    /// Whether all shards that continue a shard are listed: both of a split, or the one of a merge,
    /// which has two parents. Shards that are made at once need not be listed at once.
    pub(super) fn lists_all_children(&self, id: &str) -> bool {
        let mut merged = self.children(id).filter(|child| child.parents.len() > 1);
        merged.next().is_some() || self.children(id).count() > 1
    }

    /// The listed shards that continue a shard.
    pub(super) fn children(&self, id: &str) -> impl Iterator<Item = &Shard> {
        self.shards.values().filter(move |shard| shard.parents.iter().any(|parent| parent == id))
    }
}

/// Orders `shardId-000000000009` before `shardId-000000000010`, however many digits.
fn age(id: &str) -> (usize, &str) {
    (id.len(), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> String {
        format!("shardId-{number:012}")
    }

    fn shard(number: u64, closed: bool, parents: &[u64]) -> Shard {
        Shard { id: id(number), parents: parents.iter().map(|n| id(*n)).collect(), closed }
    }

    /// 0 and 1 expired; 2 was split into 3 and 4, and 4 merged with 1 into 5.
    fn listing(settled: bool) -> Listing {
        let shards = vec![
            shard(2, true, &[0]),
            shard(3, false, &[2]),
            shard(4, true, &[2]),
            shard(5, false, &[4, 1]),
        ];
        Listing::new("made".to_owned(), settled, shards)
    }

    #[test]
    fn a_shard_that_is_listed_no_more_is_gone_and_a_new_one_is_not() {
        let listing = listing(true);
        let standings = [0, 1, 2, 3, 4, 5, 6].map(|n| listing.standing(&id(n)));
        use Standing::*;
        assert_eq!(standings, [Gone, Gone, Closed, Open, Closed, Open, Unlisted]);
    }

    /// Of several shards that are made at once, the later ones may be listed first.
    #[test]
    fn nothing_is_gone_while_shards_are_made() {
        assert_eq!(listing(false).standing(&id(1)), Standing::Unlisted);
    }

    #[test]
    fn children_are_all_listed_when_both_of_a_split_are_or_the_one_of_a_merge() {
        let all = listing(true);
        assert_eq!([1, 2, 3, 4].map(|n| all.lists_all_children(&id(n))), [true, true, false, true]);
        let half =
            Listing::new(String::new(), true, vec![shard(2, true, &[]), shard(4, false, &[2])]);
        assert!(!half.lists_all_children(&id(2)));
    }

    #[test]
    fn children_are_those_that_name_the_parent() {
        let listing = listing(true);
        let children = |n| listing.children(&id(n)).map(|c| c.id.clone()).collect::<Vec<_>>();
        assert_eq!(children(2), [id(3), id(4)]);
        assert_eq!(children(1), [id(5)]);
        assert_eq!(children(3), Vec::<String>::new());
    }

    #[test]
    fn age_is_the_number_however_many_digits() {
        assert!(age(&id(9)) < age(&id(10)));
        assert!(age("shardId-999999999999") < age("shardId-1000000000000"));
    }
}
