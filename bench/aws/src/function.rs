//! The Kinesis function of a case, over any store: the real handler, wired without AWS.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_aws::source::SourceError;
use tidemill_flow::append::{AppendSettings, Appender, Registry};
use tidemill_flow::combine::Combiner;
use tidemill_flow::decode::Decoder;
use tidemill_flow::keys::Keys;
use tidemill_lambda::clock::machine_now;
use tidemill_lambda::event::Event;
use tidemill_lambda::handler::Handler;
use tidemill_lambda::ingest::{Ingest, Parts};
use tidemill_lambda::logs::{Logs, Shards};
use tidemill_lambda::telemetry::Metrics;
use tidemill_model::store::Store;
use tidemill_model::{LogEntry, LogId, Position, WallMs};

use crate::Result;
use crate::case::Case;

/// Any shard that is asked for is there.
struct AnyShard;

#[async_trait]
impl Shards for AnyShard {
    async fn register(&self, _registry: &Registry, _now: WallMs) -> Vec<SourceError> {
        Vec::new()
    }

    async fn entry(&self, log: &LogId, now: WallMs) -> std::result::Result<LogEntry, SourceError> {
        Ok(LogEntry {
            log: log.clone(),
            parents: Vec::new(),
            registered_at: now,
            start: Position::START,
            identity: String::new(),
        })
    }
}

/// The function, as one warm process has it.
pub(crate) struct Function {
    handler: Handler,
}

impl Function {
    pub(crate) fn new(case: &Case, store: Arc<dyn Store>) -> Result<Function> {
        let (pipeline, plan) = case.load()?;
        let keys = Keys::new(&pipeline.name);
        let decoders: BTreeMap<String, Decoder> = pipeline
            .streams
            .iter()
            .map(|(name, stream)| Ok((name.clone(), Decoder::new(stream, None).map_err(text)?)))
            .collect::<Result<_>>()?;
        let appender = |broker_times| {
            let settings = AppendSettings::new(pipeline.segment_ttl_ms, broker_times);
            Appender::new(Arc::clone(&store), keys.clone(), settings)
        };
        let ingest = Ingest::new(Parts {
            decoders,
            combine: Box::new(Combiner::new(&plan).map_err(text)?),
            logs: Logs::new(Registry::new(Arc::clone(&store), keys.clone()), Arc::new(AnyShard)),
            by_broker: appender(true),
            by_producer: appender(false),
            store: Arc::clone(&store),
            keys: keys.clone(),
            clock: Arc::new(machine_now),
        });
        let metrics = Metrics::new(&pipeline.name, Box::new(io::sink()));
        Ok(Function { handler: Handler::new(Arc::new(pipeline), ingest, metrics) })
    }

    /// Handles an event as it comes from Lambda; everything in it must be acknowledged.
    pub(crate) async fn handle(&mut self, json: &str) -> Result<()> {
        let answer = self.handler.kinesis(Event::read(json.as_bytes()), "bench", None).await;
        let answer = answer.map_err(|failure| failure.message)?;
        match answer.batch_item_failures.first() {
            None => Ok(()),
            Some(item) => Err(format!("not ingested from {:?} on", item.item_identifier)),
        }
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
