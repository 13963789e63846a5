use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value;
use tidemill_flow::advance::Settings;
use tidemill_flow::emit::{Emit, Routes};
use tidemill_flow::merge::State;
use tidemill_flow::ports::{Drained, Emission, Sink, SinkError, Source};
use tidemill_model::store::Store;
use tidemill_model::{LogId, Position};
use tidemill_testkit::{Call, Fault, FaultyStore, Verb};

use super::*;
use crate::event::Event;
use crate::test_world::{NOW, World, click, kinesis_event, kinesis_record, pipeline, plan};

const TICK: Duration = Duration::from_millis(20);

struct Nowhere;

#[async_trait]
impl Source for Nowhere {
    async fn drained(&self, _log: &LogId, _position: Position) -> Drained {
        Drained::Yes
    }
}

/// What a sink took: rows by epoch and query. An epoch that comes again replaces itself.
#[derive(Clone, Default)]
struct Collected {
    rows: Arc<Mutex<std::collections::BTreeMap<(u64, String), usize>>>,
    is_down: Arc<Mutex<bool>>,
}

impl Collected {
    fn rows(&self) -> usize {
        self.rows.lock().unwrap().values().sum()
    }
}

#[async_trait]
impl Sink for Collected {
    async fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(
        &mut self,
        emission: &Emission,
    ) -> Result<tidemill_flow::ports::Taken, SinkError> {
        if *self.is_down.lock().unwrap() {
            return Err(SinkError { sink: "out".to_string(), reason: "throttled".to_string() });
        }
        for results in &emission.results {
            let key = (emission.epoch.0, results.query.clone());
            self.rows.lock().unwrap().insert(key, results.batch.num_rows());
        }
        Ok(tidemill_flow::ports::Taken::default())
    }
}

fn ticker(world: &World, store: Arc<dyn Store>, sink: &Collected) -> Ticker {
    let (pipeline, plan) = (pipeline(), plan());
    let results =
        pipeline.queries.keys().map(|query| (query.clone(), vec!["out".to_string()])).collect();
    let routes = Routes { results, dead_letters: "out".to_string() };
    let sinks = [("out".to_string(), Box::new(sink.clone()) as Box<dyn Sink>)].into();
    let advance = Advance::new(
        Arc::clone(&store),
        world.keys(),
        Box::new(State::new(&plan).unwrap()),
        Settings::of(&pipeline),
        Arc::new(Nowhere),
        Emit::new(sinks, routes).unwrap(),
    );
    let metrics = Metrics::new("ads", Box::new(world.metrics.clone()));
    Ticker::new(advance, world.logs(store), TICK, world.clock(), metrics)
}

/// So long, and no longer.
fn ends(ms: u64) -> Ends {
    Ends { soft: Duration::from_millis(ms), hard: None }
}

/// Clicks of ten users a second, a hundred seconds long.
async fn ingest(world: &World) {
    let records: Vec<Value> = (0..1000)
        .map(|n| kinesis_record(0, n, &click(&format!("u{}", n % 10), NOW + i64::from(n) * 100)))
        .collect();
    let mut handler = world.handler();
    for records in records.chunks(100) {
        // Arrivals are the times of the clicks.
        let records: Vec<Value> = records.to_vec();
        let response = handler.kinesis(Event::read(&kinesis_event(&records)), "i", None).await;
        assert!(response.unwrap().batch_item_failures.is_empty());
    }
}

/// An hour later: everything is idle and every window closes.
fn an_hour_later(world: &World) {
    world.now.store(NOW + 3_600_000, std::sync::atomic::Ordering::SeqCst);
}

/// Windows of ten seconds over a hundred, for ten users; NOW is a window's start.
const ROWS: usize = 100;

#[tokio::test]
async fn an_invocation_ticks_until_its_end_and_says_what_it_did() {
    let world = World::new();
    ingest(&world).await;
    an_hour_later(&world);
    let sink = Collected::default();
    let mut ticker = ticker(&world, Arc::new(world.store.clone()), &sink);
    let summary = ticker.run("r", ends(150)).await.unwrap();
    assert_eq!(summary.ticks, 2, "one that closes everything, one that finds nothing: {summary:?}");
    assert_eq!((summary.records, summary.total_records), (1000, 1000));
    assert_eq!(sink.rows(), ROWS);
    assert_eq!(summary.results, ROWS as u64);
    assert_eq!((summary.behind, summary.open_windows, summary.failed), (false, 0, 0));
    assert_eq!(summary.logs, 4, "silent shards are registered too");
    let json = serde_json::to_value(&summary).unwrap();
    let watermark = json["watermark"].as_str().unwrap();
    assert!(watermark.starts_with("2023-11-14T22:1") && watermark.ends_with('Z'), "{watermark}");

    for (metric, value) in [
        ("Ticks", summary.ticks as f64),
        ("RecordsMerged", 1000.0),
        ("Emitted", ROWS as f64),
        ("DeadLetters", 0.0),
        ("RowsRejected", 0.0),
        ("OpenWindows", 0.0),
        ("Behind", 0.0),
        ("CheckpointAge", 0.0),
    ] {
        assert_eq!(world.metrics.sum(metric), Some(value), "{metric}");
    }
    assert!(world.metrics.sum("UnmergedBytes").unwrap() > 0.0);
    assert!(world.metrics.sum("WatermarkLag").is_some());
}

#[tokio::test]
async fn an_invocation_goes_on_while_windows_are_open_and_ends_when_nothing_can_happen() {
    let world = World::new();
    ingest(&world).await;
    let sink = Collected::default();
    let mut ticker = ticker(&world, Arc::new(world.store.clone()), &sink);
    let summary = ticker.run("r", ends(150)).await.unwrap();
    assert!((3..=8).contains(&summary.ticks), "one every 20 ms: {summary:?}");
    assert!(summary.open_windows > 0 && !summary.quiet);
    an_hour_later(&world);
    let summary = ticker.run("r2", ends(60_000)).await.unwrap();
    assert!(summary.quiet && summary.ticks == 2, "{summary:?}");
}

#[tokio::test]
async fn one_tick_is_made_however_late_it_is() {
    let world = World::new();
    let mut ticker = ticker(&world, Arc::new(world.store.clone()), &Collected::default());
    let summary = ticker.run("r", ends(0)).await.unwrap();
    assert_eq!((summary.ticks, summary.epochs), (1, 0));
    assert_eq!(summary.watermark, None);
    assert_eq!(world.metrics.sum("CheckpointAge"), None, "there is no checkpoint");
}

#[tokio::test]
async fn two_at_once_lose_nothing_and_emit_the_same() {
    let world = World::new();
    let sink = Collected::default();
    let mut one = ticker(&world, Arc::new(world.store.clone()), &sink);
    let mut two = ticker(&world, Arc::new(world.store.clone()), &sink);
    let feeding = async {
        ingest(&world).await;
        an_hour_later(&world);
    };
    let (_, one, two) = tokio::join!(feeding, one.run("a", ends(300)), two.run("b", ends(300)));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(sink.rows(), ROWS);
    assert_eq!(one.records + two.records, 1000, "each epoch is one process's");
    assert_eq!(one.total_records.max(two.total_records), 1000);
}

#[tokio::test]
async fn a_race_is_lost_and_the_winner_s_chain_is_gone_on_with() {
    let world = World::new();
    ingest(&world).await;
    an_hour_later(&world);
    let sink = Collected::default();
    // Another process commits an epoch at the moment before ours does.
    let rival = Arc::new(Mutex::new(Some(ticker(&world, Arc::new(world.store.clone()), &sink))));
    let plan = {
        let (rival, now) = (Arc::clone(&rival), Arc::clone(&world.now));
        move |call: &Call| {
            let commits = call.verb == Verb::PutNew && call.pk.ends_with("/checkpoint");
            if commits && let Some(mut rival) = rival.lock().unwrap().take() {
                // At another moment; else its checkpoint would be equal to ours, and so ours.
                now.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_time()
                        .build()
                        .unwrap();
                    runtime.block_on(rival.run("rival", ends(0))).unwrap();
                })
                .join()
                .unwrap();
            }
            Fault::None
        }
    };
    let store = FaultyStore::new(world.store.clone(), plan);
    let mut ours = ticker(&world, Arc::new(store), &sink);
    let summary = ours.run("ours", ends(400)).await.unwrap();
    assert_eq!(summary.lost, 1);
    assert!(summary.ticks > 0);
    assert_eq!((sink.rows(), summary.total_records), (ROWS, 1000));
}

#[tokio::test]
async fn what_passes_is_tried_again_in_the_invocation() {
    let faults = [Fault::Refused, Fault::Lost, Fault::Vanished];
    for (number, fault) in (0..24).map(|n| (n, faults[n as usize % 3])) {
        let world = World::new();
        ingest(&world).await;
        an_hour_later(&world);
        let plan = move |call: &Call| if call.number == number { fault } else { Fault::None };
        let sink = Collected::default();
        let mut ticker =
            ticker(&world, Arc::new(FaultyStore::new(world.store.clone(), plan)), &sink);
        let summary = ticker.run("r", ends(250)).await.unwrap();
        assert_eq!((sink.rows(), summary.total_records), (ROWS, 1000), "{fault:?} at {number}");
    }
}

#[tokio::test]
async fn a_sink_that_stays_down_fails_the_invocation_by_name() {
    let world = World::new();
    ingest(&world).await;
    an_hour_later(&world);
    let sink = Collected::default();
    *sink.is_down.lock().unwrap() = true;
    let mut ticker = ticker(&world, Arc::new(world.store.clone()), &sink);
    let failure = ticker.run("r", ends(150)).await.unwrap_err();
    assert_eq!(failure.code, "Advance.SinkDown");
    assert!(failure.message.contains("`out`"), "{failure}");
    assert!(world.metrics.sum("TicksFailed").unwrap() >= 2.0, "it was tried again");
    *sink.is_down.lock().unwrap() = false;
    let summary = ticker.run("r2", ends(50)).await.unwrap();
    assert_eq!((sink.rows(), summary.recovered), (ROWS, 1), "nothing is lost");
}

#[tokio::test]
async fn what_does_not_pass_fails_the_invocation_at_once() {
    let world = World::new();
    ingest(&world).await;
    let item = tidemill_model::store::Item { bytes: b"damage".to_vec(), expires_at: None };
    world.store.overwrite("ads/checkpoint", "00000000000000000000", item);
    let mut ticker = ticker(&world, Arc::new(world.store.clone()), &Collected::default());
    let began = Instant::now();
    let failure = ticker.run("r", ends(60_000)).await.unwrap_err();
    assert_eq!(failure.code, "Advance.Stuck");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(world.metrics.sum("TicksFailed"), Some(1.0));
}

#[tokio::test]
async fn a_tick_that_hangs_is_cut_off_before_the_deadline() {
    let world = World::new();
    ingest(&world).await;
    an_hour_later(&world);
    let hang = |call: &Call| match call.verb {
        Verb::PutNew if call.pk.ends_with("/checkpoint") => Fault::Stall,
        _ => Fault::None,
    };
    let sink = Collected::default();
    let store = FaultyStore::new(world.store.clone(), hang);
    let mut ours = ticker(&world, Arc::new(store), &sink);
    let hard = Some(Duration::from_millis(200));
    let failure = ours.run("r", Ends { soft: Duration::from_secs(60), hard }).await.unwrap_err();
    assert_eq!(failure.code, "Advance.Deadline");
    // The next process goes on at the chain.
    let mut next = ticker(&world, Arc::new(world.store.clone()), &sink);
    next.run("r2", ends(50)).await.unwrap();
    assert_eq!(sink.rows(), ROWS);
}

/// A registry that hung was waited for until Lambda ended the process, and nothing said why.
#[tokio::test]
async fn a_registry_that_hangs_is_cut_off_before_the_deadline() {
    let world = World::new();
    let hang = |call: &Call| match call.pk.ends_with("/logs") {
        true => Fault::Stall,
        false => Fault::None,
    };
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(world.store.clone(), hang));
    let mut ticker = ticker(&world, store, &Collected::default());
    let hard = Some(Duration::from_millis(200));
    let ran = ticker.run("r", Ends { soft: Duration::from_secs(60), hard });
    let ran = tokio::time::timeout(Duration::from_secs(30), ran).await;
    assert_eq!(ran.expect("it ends by itself").unwrap_err().code, "Advance.Deadline");
}

#[tokio::test]
async fn sources_that_cannot_be_listed_any_more_do_not_stop_ticks() {
    let world = World::new();
    let sink = Collected::default();
    let mut ticker = ticker(&world, Arc::new(world.store.clone()), &sink);
    ticker.run("r", ends(0)).await.unwrap();
    ingest(&world).await;
    an_hour_later(&world);
    *world.shards.is_down.lock().unwrap() = true;
    let summary = ticker.run("r", ends(100)).await.unwrap();
    assert_eq!((summary.total_records, sink.rows()), (1000, ROWS));
}

/// Time went on while a shard of the first listing could not be registered, so that the shard's
/// first records were late.
#[tokio::test]
async fn a_process_that_never_registered_all_shards_does_not_move_time() {
    let world = World::new();
    ingest(&world).await;
    an_hour_later(&world);
    *world.shards.is_down.lock().unwrap() = true;
    let sink = Collected::default();
    let mut ticker = ticker(&world, Arc::new(world.store.clone()), &sink);
    let failure = ticker.run("r", ends(100)).await.unwrap_err();
    assert_eq!((failure.code, sink.rows()), ("Register.Retry", 0));
    *world.shards.is_down.lock().unwrap() = false;
    let summary = ticker.run("r", ends(100)).await.unwrap();
    assert_eq!((summary.total_records, sink.rows()), (1000, ROWS));
}
