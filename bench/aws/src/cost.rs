//! Write units and requests per million events, as DynamoDB Local accounts for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_aws::Aws;
use tidemill_aws::store::{Consumed, DynamoStore};
use tidemill_flow::advance::{Advance, Settings};
use tidemill_flow::emit::{Emit, Routes};
use tidemill_flow::keys::Keys;
use tidemill_flow::merge::State;
use tidemill_flow::ports::{Drained, Emission, Sink, SinkError, Source, Taken};
use tidemill_lambda::clock::machine_now;
use tidemill_model::{LogId, Position};
use tidemill_testkit::servers::DynamoDbLocal;

use crate::Result;
use crate::baseline::{Cost, Way, Windows};
use crate::case::{CASES, Case};
use crate::event::Shard;
use crate::function::Function;

/// Events that a baseline is measured by, at most, if that is one batch or more.
const BASELINE_EVENTS: usize = 20_000;

pub(crate) async fn table(
    dynamodb: &DynamoDbLocal,
    events: usize,
    batches: &[usize],
) -> Result<()> {
    println!("Cost per million events: write units (WU) and requests, on DynamoDB Local\n");
    println!(
        "{:<10} {:>7} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8}",
        "", "batch", "WU", "requests", "(a) WU", "(b) WU", "(a)/WU", "(b)/WU"
    );
    let mut ticks = Vec::new();
    for case in CASES {
        for records in batches {
            let name = format!("{}-{records}", case.stream);
            let (ours, tick) = ingest(dynamodb, &case, &name, events, *records).await?;
            let per_event = baseline(dynamodb, &case, &name, *records, Way::PerEvent)?;
            let per_window = baseline(dynamodb, &case, &name, *records, Way::PerKeyAndWindow)?;
            let million = |cost: &Cost, of: f64| of / cost.events as f64 * 1e6;
            let units = million(&ours, ours.write_units);
            let (a, b) = (
                million(&per_event, per_event.write_units),
                million(&per_window, per_window.write_units),
            );
            println!(
                "{:<10} {records:>7} {units:>10.0} {:>10.0} {a:>10.0} {b:>10.0} {:>7.0}x {:>7.0}x",
                case.name,
                million(&ours, ours.requests),
                a / units,
                b / units,
            );
            ticks.push(format!(
                "{:<10} {records:>7} {:>6} {:>10.1} {:>10.1} {:>10.1}",
                case.name,
                tick.requests,
                tick.write_units,
                tick.read_units,
                ours.events as f64 / 1e3
            ));
        }
    }
    println!(
        "\n(a) one conditional update per event; (b) one per key and window per batch: a request \
         each.\n"
    );
    println!("One tick of advance that merges all of it, in a process that begins\n");
    println!(
        "{:<10} {:>7} {:>6} {:>10} {:>10} {:>10}",
        "", "batch", "reqs", "WU", "read units", "k events"
    );
    println!("{}", ticks.join("\n"));
    Ok(())
}

/// Ingests a stream with the real handler, then ticks once.
async fn ingest(
    dynamodb: &DynamoDbLocal,
    case: &Case,
    table: &str,
    events: usize,
    records: usize,
) -> Result<(Cost, Consumed)> {
    let store = DynamoStore::new(&Aws::emulator(&dynamodb.url()), table);
    store.create_table().await.map_err(|fault| fault.to_string())?;
    let counting = store.clone().counting();
    let mut function = Function::new(case, Arc::new(counting.clone()))?;
    let mut shard = Shard::new(*case);
    let mut cost = Cost::default();
    while cost.events < events {
        function.handle(&shard.records(records)).await?;
        cost.events += records;
    }
    let consumed = counting.consumed().ok_or("the store does not count")?;
    cost.requests = consumed.requests as f64;
    cost.write_units = consumed.write_units;
    Ok((cost, tick(case, store.counting()).await?))
}

/// What one tick of advance asks for, emission to sinks left out.
async fn tick(case: &Case, store: DynamoStore) -> Result<Consumed> {
    let text = |error: &dyn ToString| error.to_string();
    let (pipeline, plan) = case.load()?;
    let open = Box::new(State::new(&plan).map_err(|error| text(&error))?);
    let sink = "nowhere".to_string();
    let names = pipeline.queries.keys();
    let results = names.map(|query| (query.clone(), vec![sink.clone()])).collect();
    let routes = Routes { results, dead_letters: sink.clone() };
    let sinks = BTreeMap::from([(sink, Box::new(Nowhere) as Box<dyn Sink>)]);
    let emit = Emit::new(sinks, routes).map_err(|error| text(&error))?;
    let settings = Settings::of(&pipeline);
    let keys = Keys::new(&pipeline.name);
    let as_store = Arc::new(store.clone());
    let mut advance = Advance::new(as_store, keys, open, settings, Arc::new(NeverDrained), emit);
    advance.tick(machine_now(), "bench").await.map_err(|error| text(&error))?;
    store.consumed().ok_or_else(|| "the store does not count".to_string())
}

struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    async fn restore(&mut self, _state: Option<&[u8]>) -> std::result::Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, _emission: &Emission) -> std::result::Result<Taken, SinkError> {
        Ok(Taken::all(Vec::new()))
    }
}

struct NeverDrained;

#[async_trait]
impl Source for NeverDrained {
    async fn drained(&self, _log: &LogId, _position: Position) -> Drained {
        Drained::No
    }
}

/// What a baseline asks for.
fn baseline(
    dynamodb: &DynamoDbLocal,
    case: &Case,
    name: &str,
    records: usize,
    way: Way,
) -> Result<Cost> {
    let table = format!("{name}-{way:?}");
    let mut windows = Windows::create(&dynamodb.url(), &table, case)?;
    let mut lines = bench::generate::lines(case.kind);
    let mut cost = Cost::default();
    // Whole batches, one at least.
    while cost.events == 0 || cost.events + records <= BASELINE_EVENTS {
        let batch: Vec<String> = lines.by_ref().take(records).collect();
        windows.batch(&batch, way, &mut cost)?;
    }
    Ok(cost)
}
