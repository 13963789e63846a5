use super::*;
use crate::append::seen::is_sampled;
use proptest::prelude::*;
use tidemill_model::LogId;

fn at(offset: u64) -> Position {
    Position::from_offset(offset)
}

fn head(after: u64, through: u64, previous: Option<u64>) -> Head {
    let seen = Seen::of(at(after), previous.map(at), (after + 1..=through).map(at));
    Head {
        after: at(after),
        through: at(through),
        appended_at: WallMs(through as i64),
        newest_arrival: WallMs(through as i64),
        seen: Seen::read(at(after), &seen),
    }
}

fn facts(merged: Option<u64>, newest: Option<Head>, oldest_unmerged: Option<Head>) -> Facts {
    let log = LogId::new("clicks", "0");
    let entry = LogEntry {
        log,
        parents: Vec::new(),
        registered_at: WallMs(0),
        start: at(3),
        identity: String::new(),
    };
    let progress = merged.map(|merged| LogProgress {
        merged: at(merged),
        clock: None,
        newest_append: WallMs(0),
        newest_arrival: Some(WallMs(50)),
        idle: false,
    });
    Facts { entry, progress, newest, oldest_unmerged }
}

fn tail(facts: Facts) -> Tail {
    Tail::of(facts, WallMs(0), None).unwrap()
}

#[test]
fn the_tail_is_the_greatest_of_start_merged_and_newest() {
    assert_eq!(tail(facts(None, None, None)).position, at(3));
    assert_eq!(tail(facts(Some(7), None, None)).position, at(7));
    assert_eq!(tail(facts(Some(7), Some(head(3, 6, None)), None)).position, at(7));
    let newest = head(7, 9, Some(3));
    assert_eq!(tail(facts(Some(7), Some(newest.clone()), Some(newest))).position, at(9));
}

#[test]
fn a_segment_links_back_only_to_the_one_right_before_it() {
    assert_eq!(tail(facts(None, None, None)).previous(), None);
    assert_eq!(tail(facts(Some(7), Some(head(3, 6, None)), None)).previous(), None);
    assert_eq!(tail(facts(Some(7), Some(head(3, 7, None)), None)).previous(), Some(at(3)));
}

#[test]
fn the_newest_arrival_is_the_checkpoints_or_the_segments() {
    assert_eq!(tail(facts(None, None, None)).newest_arrival, None);
    assert_eq!(tail(facts(Some(7), None, None)).newest_arrival, Some(WallMs(50)));
    let newest = head(7, 90, None);
    let newer = tail(facts(Some(7), Some(newest.clone()), Some(newest)));
    assert_eq!(newer.newest_arrival, Some(WallMs(90)));
}

#[test]
fn an_unmerged_log_ages_with_its_oldest_segment() {
    let mut log = tail(facts(None, None, None));
    assert_eq!(log.overdue_ms(WallMs(i64::MAX), 10), None);
    log.extend(head(3, 5, None));
    log.extend(head(5, 8, Some(3)));
    assert_eq!(log.overdue_ms(WallMs(15), 10), None);
    assert_eq!(log.overdue_ms(WallMs(16), 10), Some(11));
}

#[test]
fn what_was_remembered_is_kept_only_while_it_is_the_newest() {
    let mut log = tail(facts(None, None, None));
    log.extend(head(3, 5, None));
    log.extend(head(5, 8, Some(3)));
    let same = facts(Some(3), Some(head(5, 8, Some(3))), Some(head(3, 5, None)));
    let again = Tail::of(same, WallMs(0), Some(log.clone())).unwrap();
    assert_eq!(again.recent.len(), 2);
    let grown = facts(Some(8), Some(head(8, 9, Some(5))), Some(head(8, 9, Some(5))));
    let again = Tail::of(grown, WallMs(0), Some(log)).unwrap();
    assert_eq!(again.recent.len(), 1);
}

/// A position in the segment after `after` that filters know.
fn sampled_after(after: u64) -> Position {
    (after + 1..).map(at).find(|position| is_sampled(*position)).unwrap()
}

/// The tail of segments up to 4,000, of which only the newest is known.
fn tail_of_three() -> Tail {
    tail(facts(Some(3), Some(head(3_000, 4_000, Some(2_000))), Some(head(3, 2_000, None))))
}

#[test]
fn a_lookup_walks_back_until_the_segment_or_the_end() {
    let mut log = tail_of_three();
    let (newest, middle, oldest) = (sampled_after(3_000), sampled_after(2_000), sampled_after(3));
    assert_eq!(log.look_up(newest), Lookup::Seen);
    assert_eq!(log.look_up(middle), Lookup::Read(at(2_000)));
    log.remember(Some(Head { seen: head(2_000, 2_000, Some(3)).seen, ..head(2_000, 3_000, None) }));
    assert_eq!(log.look_up(middle), Lookup::Unseen, "its filter holds nothing");
    assert_eq!(log.look_up(oldest), Lookup::Read(at(3)));
    log.remember(None);
    assert_eq!(log.look_up(oldest), Lookup::Seen);
}

#[test]
fn a_segment_that_does_not_join_is_not_remembered() {
    let mut log = tail_of_three();
    log.remember(Some(head(2_000, 2_999, Some(3))));
    assert_eq!(log.recent.len(), 1);
    assert_eq!(log.look_up(sampled_after(2_000)), Lookup::Seen);
}

proptest! {
    #[test]
    fn memory_is_bounded(segments in 1..60u64, walked in 0..30u64) {
        let mut log = tail(facts(Some(3), None, None));
        for n in 0..segments {
            log.extend(head(1000 + n, 1001 + n, Some(999 + n)));
        }
        for n in 0..walked {
            log.remember(Some(head(999 - n, 1000 - n, Some(998 - n))));
        }
        prop_assert!(log.recent.len() <= RECENT_SEGMENTS_MAX);
    }

    #[test]
    fn a_tail_is_fresh_for_five_minutes(now: i64) {
        let log = tail(facts(None, None, None));
        prop_assert_eq!(log.is_fresh(WallMs(now)), (0..=TAIL_CACHE_MS).contains(&now));
    }
}
