//! The guards: what must not happen to a log, and what notices it. Each test fails without its
//! guard.

use std::collections::VecDeque;

use super::world::{Fault, HOUR_MS, Positions, Source, TTL_MS, World, decoded, run};
use crate::append::seen::is_sampled;
use crate::append::tail::RECENT_SEGMENTS_MAX;
use crate::append::{AppendFailure, Appender, RegistryError, RetryCause, StuckCause};
use tidemill_model::limits::TAIL_CACHE_MS;
use tidemill_model::{LogEntry, Position};

fn sources(offsets: std::ops::Range<u64>) -> Vec<Source> {
    offsets.map(Source::at).collect()
}

fn at(offset: u64) -> Position {
    Position::from_offset(offset)
}

/// One writer's log, merged and expired while another writer slept on the tail it remembered.
fn sleep_through_an_expiry(world: &World, sleeper: &mut Appender) {
    world.append(sleeper, &sources(0..5)).unwrap();
    let mut other = world.appender();
    world.append(&mut other, &sources(5..10)).unwrap();
    world.append(&mut other, &sources(10..15)).unwrap();
    world.merge_through(0, at(14));
    world.expire_through(at(14));
    world.set_time(TTL_MS + HOUR_MS);
}

#[test]
fn stalled_writer_does_not_write_an_expired_key_again() {
    let world = World::new();
    let mut sleeper = world.appender();
    sleep_through_an_expiry(&world, &mut sleeper);
    let done = world.append(&mut sleeper, &sources(5..10)).unwrap();
    assert_eq!((done.segments, done.duplicates_skipped), (0, 5));
    assert!(world.segments().is_empty());
}

/// The tail was fresh when the append began. Everything else happened while it combined.
#[test]
fn stalled_writer_is_stopped_right_before_its_put() {
    let world = World::new();
    let mut sleeper = world.appender();
    world.append(&mut sleeper, &sources(0..5)).unwrap();

    struct Meanwhile<'a>(&'a World, bool);
    impl crate::ports::Combine for Meanwhile<'_> {
        fn combine(
            &mut self,
            log: &tidemill_model::LogId,
            decoded: &crate::decode::Decoded,
            seen: Option<tidemill_model::EventMs>,
        ) -> Result<crate::ports::Combined, crate::ports::QueryError> {
            if !std::mem::replace(&mut self.1, true) {
                let mut other = self.0.appender();
                self.0.append(&mut other, &sources(5..15)).unwrap();
                self.0.merge_through(0, at(14));
                self.0.expire_through(at(14));
                self.0.set_time(TAIL_CACHE_MS + 1);
            }
            Positions::default().combine(log, decoded, seen)
        }
    }
    let batch = decoded(&world.log, &sources(5..10));
    let mut combine = Meanwhile(&world, false);
    let clock = world.clock();
    let done = run(sleeper.append(&world.log, &batch, &mut combine, None, &clock)).unwrap();
    assert_eq!((done.segments, done.duplicates_skipped), (0, 5));
    assert!(world.segments().is_empty());
}

/// A put that lingered as long as segments live may have found its key free because it expired.
#[test]
fn stalled_put_is_not_acknowledged() {
    let world = World::new();
    world.fail_next([Fault::Slow(TTL_MS)]);
    let error = world.append(&mut world.appender(), &sources(0..5)).unwrap_err();
    assert!(matches!(error.failure, AppendFailure::Retry(RetryCause::Stalled { .. })), "{error}");
    assert_eq!(error.first_uncovered, at(0));
}

/// What a stalled writer would leave behind if every other guard failed.
#[test]
fn segment_written_again_after_its_expiry_is_found_out() {
    let world = World::new();
    let mut appender = world.appender();
    world.append(&mut appender, &sources(0..5)).unwrap();
    let expired = world.rows_of_log();
    world.append(&mut appender, &sources(5..10)).unwrap();
    world.merge_through(0, at(2));
    world.expire_through(at(9));
    world.restore(expired);
    let error = world.append(&mut world.appender(), &sources(5..12)).unwrap_err();
    assert!(matches!(error.failure, AppendFailure::Stuck(StuckCause::Damaged { .. })), "{error}");
}

#[test]
fn expired_log_is_not_an_empty_one() {
    let world = World::new();
    world.append(&mut world.appender(), &sources(0..10)).unwrap();
    world.merge_through(0, at(9));
    world.expire_through(at(9));
    let done = world.append(&mut world.appender(), &sources(5..15)).unwrap();
    assert_eq!((done.duplicates_skipped, done.records), (5, 5));
    assert_eq!(world.segments()[0].after, at(9));
}

/// Expiry deletes in no promised order: an old segment may outlive newer ones.
#[test]
fn old_segment_that_outlived_newer_ones_is_not_the_tail() {
    let world = World::new();
    let mut appender = world.appender();
    world.append(&mut appender, &sources(0..5)).unwrap();
    let first = world.rows_of_log();
    world.append(&mut appender, &sources(5..10)).unwrap();
    world.merge_through(0, at(9));
    world.expire_through(at(9));
    world.restore(first);
    let done = world.append(&mut world.appender(), &sources(5..12)).unwrap();
    assert_eq!((done.duplicates_skipped, done.records), (5, 2));
    assert_eq!(done.through, Some(at(11)));
}

#[test]
fn start_in_the_registry_is_below_every_record_of_ours() {
    let world = World::unregistered();
    run(world.registry().ensure(&LogEntry { start: at(6), ..world.entry() })).unwrap();
    let done = world.append(&mut world.appender(), &sources(0..10)).unwrap();
    assert_eq!((done.duplicates_skipped, done.records), (7, 3));
    assert_eq!(world.segments()[0].after, at(6));
}

#[test]
fn unmerged_segments_near_their_expiry_stop_the_append() {
    let world = World::new();
    let mut appender = world.appender();
    world.append(&mut appender, &sources(0..5)).unwrap();
    world.set_time(HOUR_MS);
    world.append(&mut appender, &sources(5..10)).unwrap();
    world.set_time(TTL_MS / 2 + 1);
    let error = world.append(&mut appender, &sources(0..15)).unwrap_err();
    let AppendFailure::LogNearExpiry { age_ms, age_max_ms } = error.failure else {
        panic!("{error}")
    };
    assert_eq!((age_ms, age_max_ms), (TTL_MS / 2 + 1, TTL_MS / 2));
    assert_eq!(error.first_uncovered, at(10));
    assert_eq!(world.segments().len(), 2);

    world.merge_through(0, at(4));
    world.append(&mut appender, &sources(10..15)).unwrap();
}

/// A process that has been busy all day learns that advance has merged.
#[test]
fn merged_segments_do_not_stop_a_process_that_remembers_them() {
    let world = World::new();
    let mut appender = world.appender();
    for hour in 0..48 {
        world.set_time(hour * HOUR_MS);
        world.append(&mut appender, &sources(hour as u64..hour as u64 + 1)).unwrap();
        world.merge_through(hour as u64, at(hour as u64));
    }
}

#[test]
fn missing_unmerged_segment_is_found_out() {
    let world = World::new();
    let mut appender = world.appender();
    world.append(&mut appender, &sources(0..5)).unwrap();
    world.append(&mut appender, &sources(5..10)).unwrap();
    world.append(&mut appender, &sources(10..15)).unwrap();
    world.merge_through(0, at(4));
    world.expire_through(at(9));
    let error = world.append(&mut world.appender(), &sources(10..20)).unwrap_err();
    assert!(matches!(error.failure, AppendFailure::Stuck(StuckCause::Damaged { .. })), "{error}");
}

#[test]
fn log_without_registry_entry_gets_no_segment() {
    let world = World::unregistered();
    let error = world.append(&mut world.appender(), &sources(0..5)).unwrap_err();
    assert!(matches!(error.failure, AppendFailure::Stuck(StuckCause::Unregistered)), "{error}");
    assert!(world.segments().is_empty());
}

#[test]
fn registry_keeps_its_first_entry_and_refuses_another_source() {
    let world = World::new();
    let registry = world.registry();
    let moved = LogEntry { start: at(100), ..world.entry() };
    assert_eq!(run(registry.ensure(&moved)).unwrap(), world.entry());
    let nameless = LogEntry { identity: String::new(), ..world.entry() };
    assert_eq!(run(registry.ensure(&nameless)).unwrap(), world.entry());
    let other = LogEntry { identity: "replaced".to_string(), ..world.entry() };
    let error = run(registry.ensure(&other)).unwrap_err();
    assert!(matches!(error, RegistryError::SourceChanged { .. }), "{error}");
    assert!(error.to_string().contains("another pipeline name"), "names the remedy: {error}");
    assert_eq!(run(registry.all()).unwrap(), [world.entry()]);
}

#[test]
fn two_processes_that_register_one_log_agree() {
    let world = World::unregistered();
    let (first, second) = (world.registry(), world.registry());
    let mine = LogEntry { start: at(1), ..world.entry() };
    let yours = LogEntry { start: at(2), ..world.entry() };
    let (a, b) = super::world::interleave(first.ensure(&mine), second.ensure(&yours), []);
    assert_eq!(a.unwrap(), b.unwrap());
}

/// Found by the simulation: segments that were merged and expired between two reads were taken for
/// damage, and the shard waited for a person.
#[test]
fn what_expired_between_two_reads_is_not_missing() {
    let reads = {
        let world = World::new();
        world.append(&mut world.appender(), &sources(0..5)).unwrap();
        world.store.reads()
    };
    let mut stalled = 0;
    for stall_at in 0..reads + 2 {
        let world = World::new();
        for from in [0, 10, 20] {
            world.append(&mut world.appender(), &sources(from..from + 10)).unwrap();
        }
        world.merge_through(0, at(9));
        let before = world.store.reads();
        let (mut appender, batch) = (world.appender(), decoded(&world.log, &sources(30..35)));
        let (mut combine, clock) = (Positions::default(), world.clock());
        let mut append = Box::pin(appender.append(&world.log, &batch, &mut combine, None, &clock));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut is_done = false;
        while !is_done && world.store.reads() < before + stall_at {
            is_done = append.as_mut().poll(&mut context).is_ready();
        }
        if !is_done {
            stalled += 1;
            world.merge_through(1, at(19));
            world.expire_through(at(19));
            let done = run(append).unwrap();
            assert_eq!((done.segments, done.records), (1, 5), "stalled at read {stall_at}");
        }
    }
    assert!(stalled > 2, "stalled {stalled} times");
}

#[test]
fn recreated_stream_is_not_skipped_in_silence() {
    let world = World::new();
    let mut appender = world.appender();
    world.append(&mut appender, &sources(0..100)).unwrap();
    let again = |ms: i64| -> Vec<Source> {
        sources(50..60).into_iter().map(|source| Source { arrival: 99 + ms, ..source }).collect()
    };
    world.append(&mut appender, &again(600_000)).unwrap();
    let error = world.append(&mut appender, &again(600_001)).unwrap_err();
    let AppendFailure::Stuck(StuckCause::SourceRewound { position, .. }) = error.failure else {
        panic!("{error}")
    };
    assert_eq!((position, error.first_uncovered), (at(50), at(50)));
    assert!(error.to_string().contains("another name"), "names the remedy: {error}");
}

/// The running maximum outlives the segments it came from.
#[test]
fn recreated_stream_is_found_out_after_the_log_expired() {
    let world = World::new();
    world.append(&mut world.appender(), &sources(0..100)).unwrap();
    world.merge_through(0, at(99));
    world.expire_through(at(99));
    let again = vec![Source { arrival: 10_000_000, ..Source::at(5) }];
    let error = world.append(&mut world.appender(), &again).unwrap_err();
    let rewound = matches!(error.failure, AppendFailure::Stuck(StuckCause::SourceRewound { .. }));
    assert!(rewound, "{error}");
}

/// A late straggler in the newest segment must not hide what arrived before it.
#[test]
fn older_arrivals_in_newer_segments_do_not_lower_the_newest_arrival() {
    let world = World::new();
    let mut appender = world.appender();
    let newest = Source { arrival: 2_000_000, ..Source::at(1) };
    world.append(&mut appender, std::slice::from_ref(&newest)).unwrap();
    world.append(&mut appender, &[Source::at(2)]).unwrap();
    let again = world.append(&mut world.appender(), &[newest]).unwrap();
    assert_eq!(again.duplicates_skipped, 1);
}

/// A file's arrivals are the time of reading, so they prove nothing.
#[test]
fn file_read_again_later_is_skipped() {
    let mut world = World::new();
    world.settings.arrivals_are_broker_times = false;
    let mut appender = world.appender();
    world.append(&mut appender, &sources(0..100)).unwrap();
    let later = |source| Source { arrival: 9_000_000, ..source };
    let again: Vec<Source> = sources(0..100).into_iter().map(later).collect();
    assert_eq!(world.append(&mut appender, &again).unwrap().duplicates_skipped, 100);
}

/// The first sampled offset at or after `from`.
fn sampled_from(from: u64) -> u64 {
    (from..).find(|offset| is_sampled(at(*offset))).unwrap()
}

/// Fills segments of 100 records each, all but `missing`.
fn fill_without(world: &World, segments: u64, missing: u64) -> Appender {
    let mut appender = world.appender();
    for segment in 0..segments {
        let mut batch = sources(segment * 100..(segment + 1) * 100);
        batch.retain(|source| source.offset != missing);
        world.append(&mut appender, &batch).unwrap();
    }
    appender
}

fn assert_unseen(world: &World, appender: &mut Appender, offset: u64) {
    let error = world.append(appender, &[Source::at(offset)]).unwrap_err();
    let AppendFailure::Stuck(StuckCause::UnseenRecord { position }) = error.failure else {
        panic!("{error}")
    };
    assert_eq!((position, error.first_uncovered), (at(offset), at(offset)));
    assert!(error.to_string().contains("ParallelizationFactor"), "names the remedy: {error}");
}

#[test]
fn skipped_record_that_no_segment_has_seen_is_a_loud_error() {
    let world = World::new();
    let missing = sampled_from(210);
    let mut warm = fill_without(&world, 5, missing);
    assert_unseen(&world, &mut warm, missing);
    assert_unseen(&world, &mut world.appender(), missing);
}

/// A parallelization factor above one: the second half of a shard's batch overtakes the first.
#[test]
fn shard_read_by_two_invocations_out_of_order_is_found_out() {
    let world = World::new();
    world.append(&mut world.appender(), &sources(0..100)).unwrap();
    let (odd, even): (Vec<_>, Vec<_>) =
        sources(100..200).into_iter().partition(|source| source.offset % 2 == 1);
    world.append(&mut world.appender(), &odd).unwrap();
    let error = world.append(&mut world.appender(), &even).unwrap_err();
    let unseen = matches!(error.failure, AppendFailure::Stuck(StuckCause::UnseenRecord { .. }));
    assert!(unseen, "{error}");
}

#[test]
fn expired_segment_counts_as_having_seen_its_records() {
    let world = World::new();
    let missing = sampled_from(110);
    fill_without(&world, 5, missing);
    world.merge_through(0, at(399));
    world.expire_through(at(299));
    let done = world.append(&mut world.appender(), &[Source::at(missing)]).unwrap();
    assert_eq!(done.duplicates_skipped, 1);
}

#[test]
fn looking_skipped_records_up_costs_a_bounded_number_of_reads() {
    let world = World::new();
    let mut warm = fill_without(&world, 40, u64::MAX);
    let before = world.store.reads();
    world.append(&mut warm, &sources(3_900..4_000)).unwrap();
    world.append(&mut warm, &sources(0..4_000)).unwrap();
    assert_eq!(world.store.reads(), before, "a warm process has its newest segments' filters");

    let mut cold = world.appender();
    for _ in 0..3 {
        world.append(&mut cold, &sources(0..4_000)).unwrap();
    }
    let reads = world.store.reads() - before;
    assert!(reads < RECENT_SEGMENTS_MAX + 5, "{reads}");
}

#[test]
fn slow_combine_alone_does_not_stop_a_writer() {
    let world = World::new();
    let batch = decoded(&world.log, &sources(0..5));
    let mut combine = Positions {
        takes_ms: VecDeque::from([TAIL_CACHE_MS + 1]),
        clock: Some(world.store.clone()),
    };
    let mut appender = world.appender();
    let clock = world.clock();
    run(appender.append(&world.log, &batch, &mut combine, None, &clock)).unwrap();
    world.assert_holds_each_once(&sources(0..5));
}
