//! The property: each record in exactly one segment, however it was delivered.

use proptest::prelude::*;

use super::world::{Fault, Source, World, run};
use crate::append::{AppendFailure, Appender, RetryCause};
use tidemill_model::Position;

/// One delivery. Numbers are scaled to what is there when it happens.
#[derive(Debug, Clone)]
enum Step {
    /// Records from somewhere at or before the first uncovered one, to one appender.
    Deliver { to: bool, back: usize, count: usize },
    /// Two at once, interleaved.
    Race { back: [usize; 2], count: [usize; 2], turns: Vec<bool> },
    /// A process ends: its memory is gone.
    Restart { which: bool },
    /// Time passes.
    Wait { ms: i64 },
    /// Advance merges everything.
    Merge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = || prop_oneof![3 => Just(0usize), 1 => 1..40usize];
    let count = || 1..60usize;
    let step = prop_oneof![
        6 => (any::<bool>(), back(), count())
            .prop_map(|(to, back, count)| Step::Deliver { to, back, count }),
        4 => ([back(), back()], [count(), count()], prop::collection::vec(any::<bool>(), 0..60))
            .prop_map(|(back, count, turns)| Step::Race { back, count, turns }),
        1 => any::<bool>().prop_map(|which| Step::Restart { which }),
        1 => (0..400_000i64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Merge),
    ];
    prop::collection::vec(step, 1..30)
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::Refused),
        1 => Just(Fault::LostRequest),
        2 => Just(Fault::LostAnswer),
        2 => Just(Fault::Repeated),
        1 => (0..600_000i64).prop_map(Fault::Slow),
    ];
    prop::collection::vec(fault, 0..60)
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    let record = (1..5u64, prop_oneof![20 => 0..60usize, 1 => 1_500..3_000usize], 0..12u8);
    prop::collection::vec(record, 60..300).prop_map(|records| {
        let mut offset = 0;
        let next = |(gap, bytes, dead): (u64, usize, u8)| {
            offset += gap;
            Source { bytes, is_dead: dead == 0 && bytes < 60, ..Source::at(offset) }
        };
        records.into_iter().map(next).collect()
    })
}

/// The world with two processes that append to the same log.
struct History {
    world: World,
    sources: Vec<Source>,
    appenders: [Appender; 2],
    /// Records that some append has acknowledged, from the first on.
    covered: usize,
    epochs: u64,
}

impl History {
    fn new(sources: Vec<Source>) -> History {
        let mut world = World::new();
        world.settings.segment_bytes_max = 1_400;
        let appenders = [world.appender(), world.appender()];
        History { world, sources, appenders, covered: 0, epochs: 0 }
    }

    /// The records of a delivery, as indices.
    fn batch(&self, back: usize, count: usize) -> std::ops::Range<usize> {
        let start = self.covered.saturating_sub(back);
        start..(start + count).min(self.sources.len())
    }

    fn acknowledge(
        &mut self,
        batch: std::ops::Range<usize>,
        answer: Result<crate::append::Appended, Box<crate::append::AppendError>>,
    ) {
        let acknowledged = match answer {
            Ok(_) => batch.end,
            Err(error) => {
                let retries = matches!(
                    error.failure,
                    AppendFailure::Retry(RetryCause::Store(_) | RetryCause::Stalled { .. })
                );
                assert!(retries, "{error}");
                let is_before = |source: &&Source| source.position() < error.first_uncovered;
                self.sources.iter().take_while(is_before).count()
            }
        };
        self.covered = self.covered.max(acknowledged);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver { to, back, count } => {
                let batch = self.batch(back, count);
                let sources = &self.sources[batch.clone()];
                let answer = self.world.append(&mut self.appenders[usize::from(to)], sources);
                self.acknowledge(batch, answer);
            }
            Step::Race { back, count, turns } => {
                let batches = [self.batch(back[0], count[0]), self.batch(back[1], count[1])];
                let [first, second] = &mut self.appenders;
                let (a, b) = super::world::interleave(
                    self.world.appending(first, &self.sources[batches[0].clone()]),
                    self.world.appending(second, &self.sources[batches[1].clone()]),
                    turns,
                );
                let [first, second] = batches;
                self.acknowledge(first, a);
                self.acknowledge(second, b);
            }
            Step::Restart { which } => {
                self.appenders[usize::from(which)] = self.world.appender();
            }
            Step::Wait { ms } => {
                self.world.store.now.fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
            }
            Step::Merge => {
                let merged = self.world.segments().last().map(|segment| segment.through);
                self.world.merge_through(self.epochs, merged.unwrap_or(Position::START));
                self.epochs += 1;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn each_record_is_in_exactly_one_segment_whatever_happens(
        sources in sources(), steps in steps(), faults in faults()
    ) {
        let mut history = History::new(sources);
        history.world.fail_next(faults);
        for step in steps {
            history.step(step);
            let held: u64 = history.world.segments().iter().map(|segment| segment.records).sum();
            prop_assert!(history.covered <= held as usize, "acknowledged means stored");
        }
        history.world.store.faults.lock().unwrap().clear();
        let sources = history.sources.clone();
        for batch in sources[history.covered..].chunks(70) {
            let mut appender = history.world.appender();
            history.world.append(&mut appender, batch).unwrap();
        }
        history.world.assert_holds_each_once(&sources);
        for row in history.world.rows_of_log() {
            let bytes = row.item.bytes;
            prop_assert!(bytes.len() <= 1_400 || is_one_dead_letter(&bytes));
        }
    }

    /// However the source is cut, the log holds the same records, and every second delivery is
    /// skipped whole.
    #[test]
    fn a_second_delivery_adds_nothing(sources in sources(), cuts in 1..90usize) {
        let world = World::new();
        let mut appender = world.appender();
        for batch in sources.chunks(cuts) {
            world.append(&mut appender, batch).unwrap();
        }
        world.assert_holds_each_once(&sources);
        let puts = world.store.puts.load(std::sync::atomic::Ordering::SeqCst);
        for batch in sources.chunks(cuts / 2 + 1) {
            let again = world.append(&mut world.appender(), batch).unwrap();
            prop_assert_eq!(again.duplicates_skipped, batch.len() as u64);
        }
        prop_assert_eq!(world.store.puts.load(std::sync::atomic::Ordering::SeqCst), puts);
    }
}

/// A large record keeps its first bytes even where this test has made segments smaller.
fn is_one_dead_letter(bytes: &[u8]) -> bool {
    let segment = tidemill_codec::decode_segment(bytes).unwrap();
    segment.records == 1 && segment.dead_letters.len() == 1 && segment.blocks.is_empty()
}

/// The lost answer of a put is the oldest trap of a conditional write: the record must be neither
/// lost nor doubled.
#[test]
fn a_put_whose_answer_was_lost_is_found_again_and_skipped() {
    let world = World::new();
    let sources: Vec<Source> = (0..10).map(Source::at).collect();
    let mut appender = world.appender();
    world.fail_next([Fault::LostAnswer]);
    let error = world.append(&mut appender, &sources).unwrap_err();
    assert_eq!(error.first_uncovered, Position::from_offset(0));
    assert!(matches!(error.failure, AppendFailure::Retry(RetryCause::Store(_))));
    let again = world.append(&mut appender, &sources).unwrap();
    assert_eq!((again.segments, again.duplicates_skipped), (0, 10));
    world.assert_holds_each_once(&sources);
}

#[test]
fn a_repeated_request_that_finds_its_own_write_is_no_rival() {
    let world = World::new();
    let sources: Vec<Source> = (0..10).map(Source::at).collect();
    world.fail_next([Fault::Repeated]);
    let done = world.append(&mut world.appender(), &sources).unwrap();
    assert_eq!((done.segments, done.keys_taken, done.duplicates_skipped), (0, 1, 10));
    assert_eq!(done.through, Some(Position::from_offset(9)));
    world.assert_holds_each_once(&sources);
}

#[test]
fn two_invocations_of_one_shard_share_its_records() {
    let world = World::new();
    let sources: Vec<Source> = (0..30).map(Source::at).collect();
    let (mut first, mut second) = (world.appender(), world.appender());
    let (a, b) = super::world::interleave(
        world.appending(&mut first, &sources[..20]),
        world.appending(&mut second, &sources),
        [],
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.records + b.records, 30);
    assert_eq!(a.keys_taken + b.keys_taken, 1);
    world.assert_holds_each_once(&sources);
}

#[test]
fn the_same_history_leaves_the_same_bytes() {
    let history = || {
        let world = World::new();
        let sources: Vec<Source> =
            (0..400).map(|n| Source { bytes: 9_000, ..Source::at(n) }).collect();
        run(async {
            world.appending(&mut world.appender(), &sources).await.unwrap();
        });
        world.rows_of_log()
    };
    assert!(history().len() > 8);
    assert_eq!(history(), history());
}
