//! Steps 1 to 4, one by one: what is read, cut, written and answered.

use std::collections::VecDeque;

use super::world::{Fault, Positions, Source, World, decoded, run};
use crate::append::{AppendFailure, RetryCause, StuckCause};
use tidemill_model::limits::{SEGMENT_BYTES_MAX, TAIL_CACHE_MS};
use tidemill_model::{DeadReason, Position, RawBytes};
use xxhash_rust::xxh3::xxh3_64;

fn sources(offsets: std::ops::Range<u64>) -> Vec<Source> {
    offsets.map(Source::at).collect()
}

#[test]
fn a_warm_process_reads_nothing_for_five_minutes() {
    let world = World::new();
    let mut appender = world.appender();
    world.append(&mut appender, &sources(0..5)).unwrap();
    let reads = world.store.reads();
    world.set_time(TAIL_CACHE_MS);
    world.append(&mut appender, &sources(5..10)).unwrap();
    assert_eq!(world.store.reads(), reads);
    world.set_time(TAIL_CACHE_MS + 1);
    world.append(&mut appender, &sources(10..15)).unwrap();
    assert!(world.store.reads() > reads);
    world.assert_holds_each_once(&sources(0..15));
}

#[test]
fn a_clock_that_went_back_makes_the_tail_be_read_again() {
    let world = World::new();
    let mut appender = world.appender();
    world.set_time(1_000_000);
    world.append(&mut appender, &sources(0..5)).unwrap();
    let reads = world.store.reads();
    world.set_time(999_000);
    world.append(&mut appender, &sources(5..10)).unwrap();
    assert!(world.store.reads() > reads);
}

#[test]
fn a_segment_says_what_its_records_say() {
    let world = World::new();
    world.set_time(5_000);
    let mut batch = sources(10..14);
    batch[1].event_time = 9_999;
    batch[2].arrival = 700;
    batch[2].event_time = 600;
    batch[3].is_dead = true;
    let mut appender = world.appender();
    let done = world.append(&mut appender, &batch).unwrap();
    world.append(&mut appender, &sources(14..15)).unwrap();

    let [first, second] = &world.segments()[..] else { panic!("two segments") };
    assert_eq!((first.after, first.through), (Position::START, Position::from_offset(13)));
    assert_eq!((first.records, first.dead_letters.len()), (4, 1));
    assert_eq!(first.appended_at.0, 5_000);
    assert_eq!(first.clock.map(|clock| clock.0), Some(600));
    assert_eq!(first.newest_arrival.0, 700);
    assert_eq!(second.newest_arrival.0, 700, "the running maximum");
    assert_eq!((done.segments, done.records, done.dead_letters), (1, 4, 1));
    assert_eq!(done.through, Some(first.through));
}

#[test]
fn a_batch_of_dead_letters_alone_is_a_segment_without_clock() {
    let world = World::new();
    let batch: Vec<Source> =
        sources(0..3).into_iter().map(|source| Source { is_dead: true, ..source }).collect();
    world.append(&mut world.appender(), &batch).unwrap();
    let segments = world.segments();
    assert_eq!((segments[0].clock, segments[0].blocks.len()), (None, 0));
    world.assert_holds_each_once(&batch);
}

#[test]
fn nothing_delivered_is_nothing_done() {
    let world = World::unregistered();
    let done = world.append(&mut world.appender(), &[]).unwrap();
    assert_eq!(done, crate::append::Appended::default());
}

#[test]
fn a_batch_too_large_for_one_segment_becomes_few_and_full_ones() {
    let world = World::new();
    let batch: Vec<Source> =
        sources(0..300).into_iter().map(|source| Source { bytes: 10_000, ..source }).collect();
    let done = world.append(&mut world.appender(), &batch).unwrap();
    assert_eq!(done.segments, world.segments().len() as u64);
    assert!((8..=9).contains(&done.segments), "{done:?}");
    assert!(done.segment_bytes <= done.segments * SEGMENT_BYTES_MAX as u64);
    world.assert_holds_each_once(&batch);
}

#[test]
fn dead_letters_count_to_the_size_of_a_segment() {
    let world = World::new();
    let dead = |source| Source { bytes: 50_000, is_dead: true, ..source };
    let batch: Vec<Source> = sources(0..300).into_iter().map(dead).collect();
    let done = world.append(&mut world.appender(), &batch).unwrap();
    assert_eq!((done.dead_letters, done.segments), (300, 4));
    world.assert_holds_each_once(&batch);
}

#[test]
fn one_record_too_large_for_a_segment_becomes_a_dead_letter() {
    let world = World::new();
    let mut batch = sources(0..5);
    batch[2].bytes = 500_000;
    let done = world.append(&mut world.appender(), &batch).unwrap();
    assert_eq!((done.records, done.dead_letters), (5, 1));
    let segments = world.segments();
    let letter = segments.iter().find_map(|segment| segment.dead_letters.first()).unwrap();
    assert_eq!(letter.position, Position::from_offset(2));
    assert!(matches!(letter.reason, DeadReason::TooLarge { .. }));
    let content = batch[2].content();
    assert_eq!(letter.raw, Some(RawBytes::of(&content, xxh3_64(&content))));
    world.assert_holds_each_once(&batch);
}

#[test]
fn a_refused_put_fails_the_rest_of_the_batch() {
    let mut world = World::new();
    world.settings.segment_bytes_max = 1_000;
    let batch = sources(0..60);
    world.fail_next([Fault::None, Fault::Refused]);
    let mut appender = world.appender();
    let error = world.append(&mut appender, &batch).unwrap_err();
    assert!(matches!(error.failure, AppendFailure::Retry(RetryCause::Store(_))));
    let stored = world.segments().last().unwrap().through;
    assert_eq!(error.done.segments, 1);
    assert_eq!(error.first_uncovered, Position::from_offset(stored.to_offset().unwrap() + 1));
    let again = world.append(&mut appender, &batch).unwrap();
    assert_eq!(again.duplicates_skipped, error.done.records);
    world.assert_holds_each_once(&batch);
}

#[test]
fn records_out_of_order_are_refused_before_anything_is_written() {
    let world = World::new();
    let mut batch = sources(0..4);
    batch.swap(1, 2);
    let error = world.append(&mut world.appender(), &batch).unwrap_err();
    let AppendFailure::Stuck(StuckCause::Disordered { position }) = error.failure else {
        panic!("{error}")
    };
    assert_eq!(position, Position::from_offset(1));
    assert!(world.segments().is_empty());
}

#[test]
fn a_process_that_is_always_too_slow_gives_up() {
    let world = World::new();
    let batch = decoded(&world.log, &sources(0..4));
    let mut combine = Positions {
        takes_ms: VecDeque::from([TAIL_CACHE_MS + 1; 20]),
        clock: Some(world.store.clone()),
    };
    let mut appender = world.appender();
    let clock = world.clock();
    let error = run(appender.append(&world.log, &batch, &mut combine, None, &clock)).unwrap_err();
    assert!(matches!(error.failure, AppendFailure::Retry(RetryCause::Stalled { .. })), "{error}");
    assert!(world.segments().is_empty());
}

#[test]
fn the_tail_tells_a_source_where_to_go_on() {
    let world = World::new();
    let mut appender = world.appender();
    assert_eq!(run(appender.tail(&world.log, &world.clock())).unwrap(), Position::START);
    world.append(&mut appender, &sources(0..5)).unwrap();
    assert_eq!(
        run(world.appender().tail(&world.log, &world.clock())).unwrap(),
        Position::from_offset(4)
    );
}
