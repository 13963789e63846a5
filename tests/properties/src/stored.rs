//! A script through the whole of ingest and advance, over a store: append and tick, with processes
//! that come and go. Ticks take their watermarks from the logs' clocks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use tidemill_flow::advance::{Advance, Settings};
use tidemill_flow::append::{AppendSettings, Appender, Registry};
use tidemill_flow::combine::Combiner;
use tidemill_flow::decode::Decoder;
use tidemill_flow::emit::{Emit, Routes};
use tidemill_flow::keys::Keys;
use tidemill_flow::merge::State;
use tidemill_flow::ports::{Drained, Emission, Sink, SinkError, Source, Taken};
use tidemill_model::{Epoch, LogEntry, LogId, Position, WallMs};
use tidemill_testkit::{MemoryStore, Rng};

use crate::flow::{Flow, NOW, Outcome, raw_batch};
use crate::random::LOGS;
use crate::script::{Script, Step};

/// Every source is drained: whatever it has is in its log.
struct AllDrained;

#[async_trait::async_trait]
impl Source for AllDrained {
    async fn drained(&self, _: &LogId, _: Position) -> Drained {
        Drained::Yes
    }
}

/// What was emitted, by epoch. An epoch that comes again must be the same.
#[derive(Debug, Clone, Default)]
struct Emitted(Arc<Mutex<BTreeMap<Epoch, Emission>>>);

#[async_trait::async_trait]
impl Sink for Emitted {
    async fn restore(&mut self, _: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let mut epochs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epochs.entry(emission.epoch).or_insert_with(|| Emission::empty(emission.epoch));
        if !emission.results.is_empty() {
            let rows = |emission: &Emission| -> Vec<RecordBatch> {
                emission.results.iter().map(|results| results.batch.clone()).collect()
            };
            if !epoch.results.is_empty() {
                assert_eq!(rows(epoch), rows(emission), "an epoch is emitted again as it was");
            }
            epoch.results = emission.results.clone();
        }
        if !emission.dead_letters.is_empty() {
            epoch.dead_letters = emission.dead_letters.clone();
        }
        Ok(Taken::default())
    }
}

struct World<'a> {
    flow: &'a Flow,
    store: MemoryStore,
    keys: Keys,
    emitted: Emitted,
    rng: Rng,
    ticks: u64,
}

impl World<'_> {
    fn appender(&mut self) -> Appender {
        let settings = AppendSettings {
            segment_bytes_max: [20_000, 100_000][self.rng.index(2)],
            ..AppendSettings::new(7 * 24 * 3_600_000, true)
        };
        Appender::new(Arc::new(self.store.clone()), self.keys.clone(), settings)
    }

    fn advance(&mut self) -> Advance {
        let settings = Settings {
            results_max: [1, 5, 1000][self.rng.index(3)],
            tick_bytes_max: [1, 1 << 20][self.rng.index(2)],
            snapshot_after_bytes: [1, 5000, 1 << 20][self.rng.index(3)],
            ..Settings::of(self.flow.pipeline())
        };
        let results =
            self.flow.plan().queries.iter().map(|it| (it.name.clone(), vec!["all".to_string()]));
        let routes = Routes { results: results.collect(), dead_letters: "all".to_string() };
        let sink: Box<dyn Sink> = Box::new(self.emitted.clone());
        Advance::new(
            Arc::new(self.store.clone()),
            self.keys.clone(),
            Box::new(State::new(self.flow.plan()).unwrap()),
            settings,
            Arc::new(AllDrained),
            Emit::new(BTreeMap::from([("all".to_string(), sink)]), routes).unwrap(),
        )
    }

    /// Ticks once, or until nothing is left to do.
    async fn tick(&mut self, advance: &mut Advance, now: WallMs, to_the_end: bool) {
        loop {
            self.ticks += 1;
            let ticked = advance.tick(now, &self.ticks.to_string()).await.unwrap();
            if !to_the_end || !ticked.behind {
                return;
            }
        }
    }
}

/// Runs the batches of `script`, in their order, with ticks and restarts that `seed` chooses. The
/// script's own ticks are not looked at.
pub fn run(flow: &Flow, script: &Script, seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run_all(flow, script, seed))
}

async fn run_all(flow: &Flow, script: &Script, seed: u64) -> Outcome {
    let mut world = World {
        flow,
        store: MemoryStore::new(),
        keys: Keys::new("properties"),
        emitted: Emitted::default(),
        rng: Rng::new(seed),
        ticks: 0,
    };
    let registry = Registry::new(Arc::new(world.store.clone()), world.keys.clone());
    for (stream, shard) in LOGS {
        let entry = LogEntry {
            log: LogId::new(stream, shard),
            parents: Vec::new(),
            registered_at: NOW,
            start: Position::START,
            identity: String::new(),
        };
        registry.ensure(&entry).await.unwrap();
    }
    let mut combiner = Combiner::new(flow.plan()).unwrap();
    let mut appender = world.appender();
    let mut advance = world.advance();
    let mut delivered: Vec<(LogId, Vec<(u64, crate::event::Event)>)> = Vec::new();
    for step in &script.steps {
        let Step::Batch { log, records, seen } = step else { continue };
        if world.rng.chance(10) {
            appender = world.appender();
        }
        // A batch may come again, cut in another way.
        let again = delivered.last().filter(|(last, _)| last == log && world.rng.chance(30));
        let records: Vec<_> =
            again.map_or(&[][..], |(_, records)| records).iter().chain(records).cloned().collect();
        let stream = &flow.pipeline().streams[&log.stream];
        let decoded = Decoder::new(stream, None).unwrap().decode(log, raw_batch(&records));
        let seen = seen.map(tidemill_model::EventMs);
        appender.append(log, &decoded, &mut combiner, seen, &|| NOW).await.unwrap();
        delivered.push((log.clone(), records));
        if world.rng.chance(30) {
            let to_the_end = world.rng.chance(50);
            world.tick(&mut advance, NOW, to_the_end).await;
        }
        if world.rng.chance(15) {
            advance = world.advance();
        }
    }
    // Silence: all logs are idle, and time goes on by the wall clock until the last window closes.
    for later in [1_000, 120_000, 400_000] {
        world.tick(&mut advance, NOW.plus(later), true).await;
    }
    assert!(advance.open_windows().await.unwrap().iter().all(|open| open.windows == 0));
    let mut outcome = Outcome::default();
    let epochs = world.emitted.0.lock().unwrap_or_else(PoisonError::into_inner);
    for emission in epochs.values() {
        for results in &emission.results {
            outcome.results.entry(results.query.clone()).or_default().push(results.batch.clone());
        }
        outcome.late.extend(emission.dead_letters.iter().cloned());
    }
    outcome
}
