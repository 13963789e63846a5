//! An advance process: merge, advance and emit, tick by tick.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_flow::advance::{Advance, AdvanceError, Settings, Ticked};
use tidemill_flow::append::Registry;
use tidemill_flow::emit::{Emit, Routes};
use tidemill_flow::keys::Keys;
use tidemill_flow::ports::Sink;
use tidemill_flow::time::StreamTime;
use tidemill_model::WallMs;
use tidemill_model::store::Store;

use super::{Port, Task};
use crate::clock::VirtualClock;
use crate::history::Violation;
use crate::pipelines::Planned;
use crate::scenario::Scenario;
use crate::sink::{Outbox, SimulatedSink};
use crate::source::Sources;

/// What an advance process keeps from tick to tick.
pub(crate) struct Ticker {
    registry: Registry,
    advance: Advance,
    /// It registers what is listed before each tick, so that time waits for all of it.
    port: Arc<Port>,
    /// Whether all of that was registered once.
    registered: bool,
    clock: Box<dyn Fn() -> WallMs + Send + Sync>,
}

impl Ticker {
    /// A process that just started.
    pub(crate) fn new(
        planned: &Arc<Planned>,
        scenario: &Scenario,
        store: Arc<dyn Store>,
        sources: &Sources,
        outbox: &Outbox,
        clock: &VirtualClock,
        skew_ms: i64,
    ) -> Result<Ticker, Violation> {
        let keys = Keys::new(&planned.pipeline.name);
        let stream = StreamTime {
            out_of_orderness_ms: scenario.out_of_orderness_ms,
            idle_after_ms: scenario.idle_after_ms,
            assume_idle: false,
        };
        let streams = planned.pipeline.streams.keys().map(|name| (name.clone(), stream));
        let settings = Settings {
            streams: streams.collect(),
            segment_ttl_ms: planned.pipeline.segment_ttl_ms,
            results_max: scenario.results_max,
            tick_bytes_max: scenario.tick_bytes_max,
            snapshot_after_bytes: scenario.snapshot_after_bytes,
        };
        let wrong = |error: &dyn std::fmt::Display| Violation::Broken(error.to_string());
        let emit = emit(planned, scenario, outbox).map_err(|error| wrong(&error))?;
        let open = planned.state().map_err(|error| wrong(&error))?;
        let names = planned.pipeline.streams.keys().cloned().collect();
        let port = Arc::new(Port::new(sources, names, scenario.mutant));
        let source = Arc::clone(&port);
        let registry = Registry::new(Arc::clone(&store), keys.clone());
        Ok(Ticker {
            registry,
            advance: Advance::new(store, keys, Box::new(open), settings, source, emit),
            port,
            registered: false,
            clock: Box::new(clock.skewed(skew_ms)),
        })
    }
}

/// Every other query has a sink of its own.
fn emit(
    planned: &Planned,
    scenario: &Scenario,
    outbox: &Outbox,
) -> Result<Emit, tidemill_flow::emit::NoSuchSink> {
    let sink = |name: &'static str| {
        let sink = SimulatedSink { name, is_file: scenario.files, outbox: outbox.clone() };
        (name.to_string(), Box::new(sink) as Box<dyn Sink>)
    };
    let sinks = BTreeMap::from([sink("dead"), sink("even"), sink("odd")]);
    let results = planned.queries().zip(["even", "odd"].into_iter().cycle());
    let results = results.map(|((query, _), sink)| (query.to_string(), vec![sink.to_string()]));
    Emit::new(sinks, Routes { results: results.collect(), dead_letters: "dead".to_string() })
}

/// Why there was no tick.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untickable {
    #[error("does not tick: {0}")]
    Unregistered(String),
    #[error(transparent)]
    Advance(AdvanceError),
}

impl Untickable {
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Untickable::Unregistered(_) => true,
            Untickable::Advance(error) => error.is_transient(),
        }
    }
}

/// The task of one tick. `nonce` is one that no other tick has.
pub(crate) fn tick(mut ticker: Ticker, nonce: String) -> Task<Ticker, Result<Ticked, Untickable>> {
    Box::pin(async move {
        // As the function does: once all was registered, that this fails does not stop ticks.
        let registered = ticker.port.register(&ticker.registry, (ticker.clock)()).await;
        match registered {
            Ok(()) => ticker.registered = true,
            Err(_) if ticker.registered => {}
            Err(error) => return (ticker, Err(Untickable::Unregistered(error))),
        }
        let now = (ticker.clock)();
        let ticked = ticker.advance.tick(now, &nonce).await;
        (ticker, ticked.map_err(Untickable::Advance))
    })
}
