//! Queries that must see rows in the order of event time, and queries whose results change, deployed:
//! two streams, whose records straggle and come in batches of any cut. What the tables hold is what a
//! batch over all records gives, and what one machine holds that read the same records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use end_to_end::api::ApiError;
use end_to_end::clock::wall_ms;
use end_to_end::mapping::{KinesisMapping, KinesisSettings};
use end_to_end::payments::batch::expected;
use end_to_end::payments::{
    ACCOUNTS, CHANGING, FINAL, Generator, PAYMENTS, PIPELINE, Payment, QUIET, Records, SESSIONS,
    STATUS, Status, account,
};
use end_to_end::schedule::Schedule;
use end_to_end::tables::{Row, contents, current, differences, is_deleted};
use end_to_end::world::{RESULTS_TABLE, World};

use crate::deployment::{Deployment, WITHIN};

/// Shards of each of the two streams.
pub(crate) const SHARDS: usize = 2;
/// More than the pipeline's `idle_after`, and what its queries wait for after that.
const PAST_IDLE: Duration = Duration::from_secs(780);
/// What a deleted row keeps.
const OF_DELETED: [&str; 10] = [
    "pk",
    "sk",
    "result_id",
    "result_epoch",
    "account",
    "window_start",
    "window_end",
    "op",
    "revision",
    "timing",
];

#[test]
fn row_queries_and_changing_results_equal_a_batch_and_one_machine() {
    let world = World::new(PIPELINE, &[], 51);
    let deployment = Deployment::over_streams(world, &[(PAYMENTS, SHARDS), (STATUS, SHARDS)]);
    let mappings = map(&deployment, KinesisSettings { batch_size: 60, ..KinesisSettings::new(51) });
    let schedule = deployment.schedule(1);
    let watch = Watch::default();
    let mut generator = Generator::new(wall_ms() - 120_000, 51);
    for part in 0..5 {
        put(&deployment, &generator.more(120, 20_000));
        put_stragglers(&deployment, &mappings, &schedule, &mut generator, WITHIN);
        watch.look(&deployment).unwrap();
        if part == 2 {
            // A process that starts anew has its state from the store alone.
            deployment.advance.cool_down();
        }
    }
    mappings.iter().for_each(|mapping| mapping.drain(WITHIN));
    assert_right(&deployment, generator.all(), &watch, WITHIN);
    assert_eq!(schedule.failures(), Vec::<String>::new());
}

/// Maps both streams.
pub(crate) fn map(deployment: &Deployment, settings: KinesisSettings) -> [KinesisMapping; 2] {
    [PAYMENTS, STATUS].map(|stream| deployment.map_stream(stream, settings))
}

/// Puts records, each into the next shard of its stream.
pub(crate) fn put(deployment: &Deployment, records: &Records) {
    for shard in 0..SHARDS {
        let payments = records.payments.iter().skip(shard).step_by(SHARDS);
        deployment.kinesis.put(PAYMENTS, shard, payments.map(Payment::to_json));
        let statuses = records.statuses.iter().skip(shard).step_by(SHARDS);
        deployment.kinesis.put(STATUS, shard, statuses.map(Status::to_json));
    }
}

/// Waits until all records are merged, and puts some that are late for windows of results that change.
#[track_caller]
pub(crate) fn put_stragglers(
    deployment: &Deployment,
    mappings: &[KinesisMapping],
    schedule: &Schedule,
    generator: &mut Generator,
    within: Duration,
) {
    mappings.iter().for_each(|mapping| mapping.drain(within));
    schedule.wait_for_more(1, within);
    put(deployment, &generator.straggle());
}

/// Moves virtual time on until every window is closed, and waits for exactly the rows that `records`
/// make, on this deployment, in a batch and on one machine; with nothing left of what was withdrawn.
#[track_caller]
pub(crate) fn assert_right(
    deployment: &Deployment,
    records: &Records,
    watch: &Watch,
    within: Duration,
) {
    deployment.world.clock.move_on(PAST_IDLE);
    let expected = expected(records);
    let until = Instant::now() + within;
    let rows = loop {
        let rows = rows_by_query(deployment);
        let differing = differing(&expected, &rows);
        if differing.is_empty() {
            break rows;
        }
        assert!(Instant::now() < until, "the results are not those of a batch: {differing:#?}");
        thread::sleep(Duration::from_millis(500));
    };
    watch.look(deployment).unwrap();
    deployment.assert_nothing_dead();
    for query in CHANGING {
        assert_changes(query, &rows[query]);
    }

    let payments = records.payments.iter().map(Payment::to_json).collect();
    let statuses = records.statuses.iter().map(Status::to_json).collect();
    let machine = deployment.world.on_one_machine(&[(PAYMENTS, payments), (STATUS, statuses)]);
    assert_eq!(machine.dead_letters, Vec::<Row>::new());
    let mut held = machine.results;
    for query in CHANGING {
        held.entry(query.to_string()).and_modify(|rows| *rows = newest(rows));
    }
    let differing = differing(&expected, &held);
    assert!(differing.is_empty(), "one machine computes otherwise: {differing:#?}");
}

/// The rows of the results table, by query.
fn rows_by_query(deployment: &Deployment) -> BTreeMap<String, Vec<Row>> {
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in deployment.world.tables.rows(RESULTS_TABLE) {
        let query = row["pk"].as_str().unwrap().split('/').next().unwrap();
        rows.entry(query.to_string()).or_default().push(row);
    }
    rows
}

/// What differs, by query: how much, and the first of it.
fn differing(
    expected: &BTreeMap<&'static str, Vec<String>>,
    rows: &BTreeMap<String, Vec<Row>>,
) -> BTreeMap<&'static str, (usize, Vec<String>)> {
    let known: BTreeSet<&str> = FINAL.into_iter().chain(CHANGING).collect();
    assert!(rows.keys().all(|query| known.contains(query.as_str())), "{:?}", rows.keys());
    let of_query = |(query, wanted): (&&'static str, &Vec<String>)| {
        assert!(!wanted.is_empty(), "{query}: no rows are expected");
        let found = rows.get(*query).map(Vec::as_slice).unwrap_or_default();
        let found = match CHANGING.contains(query) {
            true => contents(&current(found)),
            false => contents(found),
        };
        let differences = differences(&found, wanted);
        let first = differences.iter().take(5).cloned().collect();
        (*query, (differences.len(), first))
    };
    expected.iter().map(of_query).filter(|(_, (count, _))| *count > 0).collect()
}

/// Rows were deleted, with all that they said, and others changed after they were closed.
#[track_caller]
fn assert_changes(query: &str, rows: &[Row]) {
    let deleted: Vec<&Row> = rows.iter().filter(|row| is_deleted(row)).collect();
    assert!(!deleted.is_empty(), "{query}: nothing was withdrawn");
    for row in deleted {
        let more = row.keys().find(|name| !OF_DELETED.contains(&name.as_str()));
        assert_eq!(more, None, "{query}: a deleted row says something: {row:?}");
    }
    let count = |holds: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count();
    assert!(count(&|row| row["timing"] == "late") > 0, "{query}: nothing came late");
    assert!(count(&|row| row["revision"].as_u64() > Some(0)) > 0, "{query}: nothing changed");
    // Final results are those whose windows closed: no row is left that was early.
    let early = count(&|row| row["timing"] == "early" && !is_deleted(row));
    assert_eq!(early, 0, "{query}: rows of windows that closed are early");
}

/// Of lines of results that change, in the order they were written in, the newest of each key and
/// window. Each line must have a higher revision than those before it.
#[track_caller]
fn newest(lines: &[Row]) -> Vec<Row> {
    let mut newest: BTreeMap<[String; 3], &Row> = BTreeMap::new();
    for line in lines {
        let id = ["account", "window_start", "window_end"].map(|name| line[name].to_string());
        let before = newest.insert(id, line).and_then(|row| row["revision"].as_u64());
        assert!(before < line["revision"].as_u64(), "{line:?} after revision {before:?}");
    }
    newest.into_values().cloned().collect()
}

/// Looks at the rows of results that change again and again: none becomes older, none goes away.
#[derive(Default)]
pub(crate) struct Watch {
    /// Epoch and revision of each row, by its keys.
    seen: Mutex<BTreeMap<(String, String), (u64, u64)>>,
    changes: AtomicU64,
}

impl Watch {
    /// Looks once; does nothing when the table cannot be read.
    #[track_caller]
    pub(crate) fn look(&self, deployment: &Deployment) -> Result<(), ApiError> {
        let keys = [SESSIONS, QUIET]
            .into_iter()
            .flat_map(|query| (0..ACCOUNTS).map(move |of| format!("{query}/{}", account(of))));
        for pk in keys {
            let rows = deployment.world.tables.rows_of(RESULTS_TABLE, &pk)?;
            self.compare(&pk, &rows);
        }
        Ok(())
    }

    fn compare(&self, pk: &str, rows: &[Row]) {
        let mut seen = self.seen.lock().unwrap();
        let known = seen.range((pk.to_string(), String::new())..).take_while(|(it, _)| it.0 == pk);
        let there: BTreeSet<&str> = rows.iter().filter_map(|row| row["sk"].as_str()).collect();
        let gone: Vec<_> = known.filter(|((_, sk), _)| !there.contains(sk.as_str())).collect();
        assert!(gone.is_empty(), "rows are gone: {gone:?}");
        for row in rows {
            let number = |name: &str| row[name].as_u64().unwrap();
            let now = (number("result_epoch"), number("revision"));
            let id = (pk.to_string(), row["sk"].as_str().unwrap().to_string());
            if let Some(before) = seen.insert(id, now)
                && before != now
            {
                assert!(before.0 < now.0 && before.1 < now.1, "{row:?} stands over {before:?}");
                self.changes.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// How many rows were seen to change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}
