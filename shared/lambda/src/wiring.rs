//! From a checked environment to the parts of a function: the state table, the sources, the sinks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill_aws::sink;
use tidemill_aws::source::Sources;
use tidemill_aws::store::DynamoStore;
use tidemill_aws::{Aws, Fault};
use tidemill_flow::advance::{Advance, Settings};
use tidemill_flow::append::{AppendSettings, Appender, Clock, Registry};
use tidemill_flow::combine::Combiner;
use tidemill_flow::decode::Decoder;
use tidemill_flow::emit::Emit;
use tidemill_flow::keys::Keys;
use tidemill_flow::merge::State;
use tidemill_model::store::Store;
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;

use crate::advance::Ticker;
use crate::clock::pipeline_clock;
use crate::environment::Environment;
use crate::handler::Handler;
use crate::ingest::{Ingest, Parts};
use crate::logs::Logs;
use crate::setup::{self, Read};
use crate::telemetry::Metrics;

/// Longest wait for DynamoDB to describe the state table: well below the ten seconds that Lambda
/// gives a start.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What every function of a pipeline is made of.
struct Wired {
    pipeline: Pipeline,
    plan: PipelinePlan,
    store: Arc<dyn Store>,
    sources: Arc<Sources>,
    clock: Arc<Clock>,
    schedule: Duration,
}

/// The ingest function, or everything that is wrong with its deployment.
pub async fn ingest(environment: &Environment) -> Result<Handler, Vec<Fault>> {
    let (wired, ()) = find(environment).await.wired(Some(()))?;
    let decoder = |stream| Decoder::new(stream, None).map_err(|error| unplanned(&error));
    let streams = wired.pipeline.streams.iter();
    let decoders = streams.map(|(name, stream)| Ok((name.clone(), decoder(stream)?)));
    let decoders =
        decoders.collect::<Result<BTreeMap<_, _>, Fault>>().map_err(|fault| vec![fault])?;
    let combine = Combiner::new(&wired.plan).map_err(|error| vec![unplanned(&error)])?;
    let appender = |broker_times| {
        let settings = AppendSettings::new(wired.pipeline.segment_ttl_ms, broker_times);
        Appender::new(Arc::clone(&wired.store), wired.keys(), settings)
    };
    let ingest = Ingest::new(Parts {
        decoders,
        combine: Box::new(combine),
        logs: wired.logs(),
        by_broker: appender(true),
        by_producer: appender(false),
        store: Arc::clone(&wired.store),
        keys: wired.keys(),
        clock: Arc::clone(&wired.clock),
    });
    let metrics = wired.metrics();
    Ok(Handler::new(Arc::new(wired.pipeline), ingest, metrics))
}

/// The advance function, with the period of its schedule, or everything that is wrong with its
/// deployment.
pub async fn advance(environment: &Environment) -> Result<(Ticker, Duration), Vec<Fault>> {
    let mut found = find(environment).await;
    let emit = found.emit().await;
    let (wired, emit) = found.wired(emit)?;
    let state = State::new(&wired.plan).map_err(|error| vec![unplanned(&error)])?;
    let source = Arc::clone(&wired.sources) as _;
    let tick_bytes_max = setup::tick_bytes_max(environment);
    let settings = Settings { tick_bytes_max, ..Settings::of(&wired.pipeline) };
    let store = Arc::clone(&wired.store);
    let advance = Advance::new(store, wired.keys(), Box::new(state), settings, source, emit);
    let tick = Duration::from_millis(u64::try_from(wired.pipeline.tick_ms).unwrap_or(0));
    let clock = Arc::clone(&wired.clock);
    Ok((Ticker::new(advance, wired.logs(), tick, clock, wired.metrics()), wired.schedule))
}

/// Everything that both need, as far as it could be made, and what is wrong with the rest.
struct Found {
    aws: Option<Aws>,
    planned: Option<(Pipeline, PipelinePlan)>,
    store: Option<DynamoStore>,
    sources: Option<Sources>,
    clock: Option<Arc<Clock>>,
    schedule: Option<Duration>,
    faults: Vec<Fault>,
}

/// Finds as many faults as can be found.
async fn find(environment: &Environment) -> Found {
    let Read { planned, state_table, starting, schedule, mut faults } = setup::read(environment);
    let clock = pipeline_clock(environment).map_err(|fault| faults.push(fault)).ok();
    let aws = Aws::from_env().await.map_err(|fault| faults.push(fault)).ok();
    let store = aws.as_ref().zip(state_table).map(|(aws, table)| DynamoStore::new(aws, &table));
    if let Some(store) = &store {
        faults.extend(check(store).await);
    }
    let sources = match (&aws, &planned, starting) {
        (Some(aws), Some((pipeline, _)), Some(starting)) => {
            Sources::open(aws, pipeline, starting).map_err(|more| faults.extend(more)).ok()
        }
        _ => None,
    };
    Found { aws, planned, store, sources, clock, schedule, faults }
}

/// The fault of the state table. When DynamoDB does not say in time, as it may when a thousand
/// functions start and ask at once, the function starts without having looked.
async fn check(store: &DynamoStore) -> Option<Fault> {
    match tokio::time::timeout(CHECK_TIMEOUT, store.check()).await {
        Ok(checked) => checked.err(),
        Err(_) => {
            let table = store.table();
            tracing::error!(
                error_type = "Setup.Unchecked",
                "the state table `{table}` was not described in time; going on"
            );
            None
        }
    }
}

impl Found {
    /// The sinks.
    async fn emit(&mut self) -> Option<Emit> {
        let (aws, (pipeline, plan)) = self.aws.as_ref().zip(self.planned.as_ref())?;
        let opened = sink::open(aws, pipeline, plan).await;
        opened.map_err(|more| self.faults.extend(more)).ok()
    }

    /// All of it, with `other`, when nothing is wrong.
    fn wired<T>(self, other: Option<T>) -> Result<(Wired, T), Vec<Fault>> {
        let Found { aws: _, planned, store, sources, clock, schedule, faults } = self;
        match (planned, store, sources, clock, schedule, other) {
            (
                Some(planned),
                Some(store),
                Some(sources),
                Some(clock),
                Some(schedule),
                Some(other),
            ) if faults.is_empty() => {
                let (pipeline, plan) = planned;
                let (store, sources) = (Arc::new(store), Arc::new(sources));
                Ok((Wired { pipeline, plan, store, sources, clock, schedule }, other))
            }
            _ => Err(faults),
        }
    }
}

impl Wired {
    fn keys(&self) -> Keys {
        Keys::new(&self.pipeline.name)
    }

    fn logs(&self) -> Logs {
        let registry = Registry::new(Arc::clone(&self.store), self.keys());
        Logs::new(registry, Arc::clone(&self.sources) as _)
    }

    fn metrics(&self) -> Metrics {
        Metrics::new(&self.pipeline.name, Box::new(std::io::stdout()))
    }
}

/// A fault in what `check` has passed.
fn unplanned(error: &impl ToString) -> Fault {
    Fault::new(error.to_string(), "try `tidemill check` with this file, and report what it misses")
}
