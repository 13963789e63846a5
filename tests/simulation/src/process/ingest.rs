//! An ingest process: decode, combine and append what the source delivers.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_flow::append::{AppendFailure, AppendSettings, Appended, Appender, Registry};
use tidemill_flow::decode::Decoder;
use tidemill_flow::keys::Keys;
use tidemill_model::EventMs;
use tidemill_model::store::Store;

use super::{Port, Task};
use crate::clock::VirtualClock;
use crate::history::Violation;
use crate::pipelines::{Planned, PooledCombiner, TTL_MS};
use crate::source::Delivery;

/// What an ingest process keeps from delivery to delivery.
pub(crate) struct Ingest {
    registry: Registry,
    appender: Appender,
    combiner: PooledCombiner,
    decoders: BTreeMap<String, Decoder>,
    port: Port,
    clock: Box<dyn Fn() -> tidemill_model::WallMs + Send + Sync>,
}

/// What became of a delivery.
pub(crate) struct Delivered {
    pub(crate) shard: usize,
    /// Index of the first record that the source must deliver again.
    pub(crate) done_to: usize,
    pub(crate) result: Result<Appended, Stopped>,
}

/// Why a delivery was not covered.
pub(crate) enum Stopped {
    /// Try again.
    Retry(String),
    /// Advance has to merge first.
    NearExpiry,
    /// What must never happen here.
    Stuck(String),
}

impl Ingest {
    /// A process that just started.
    pub(crate) fn new(
        planned: &Arc<Planned>,
        store: Arc<dyn Store>,
        port: Port,
        segment_bytes_max: usize,
        clock: &VirtualClock,
        skew_ms: i64,
    ) -> Result<Ingest, Violation> {
        let keys = Keys::new(&planned.pipeline.name);
        let settings = AppendSettings { segment_bytes_max, ..AppendSettings::new(TTL_MS, true) };
        let mut decoders = BTreeMap::new();
        for (name, stream) in &planned.pipeline.streams {
            let decoder =
                Decoder::new(stream, None).map_err(|error| Violation::Broken(error.to_string()))?;
            decoders.insert(name.clone(), decoder);
        }
        Ok(Ingest {
            registry: Registry::new(Arc::clone(&store), keys.clone()),
            appender: Appender::new(store, keys, settings),
            combiner: planned.combiner().map_err(|error| Violation::Broken(error.to_string()))?,
            decoders,
            port,
            clock: Box::new(clock.skewed(skew_ms)),
        })
    }

    async fn append(
        &mut self,
        delivery: &Delivery,
        seen: Option<EventMs>,
    ) -> (usize, Result<Appended, Stopped>) {
        let now = (self.clock)();
        if let Err(error) = self.port.ensure(&self.registry, &delivery.log, now).await {
            return (delivery.from, Err(Stopped::Retry(error)));
        }
        let Some(decoder) = self.decoders.get_mut(&delivery.log.stream) else {
            return (delivery.from, Err(Stopped::Stuck("there is no such stream".to_string())));
        };
        let decoded = decoder.decode(&delivery.log, delivery.batch.clone());
        let appended = self
            .appender
            .append(&delivery.log, &decoded, &mut self.combiner, seen, &*self.clock)
            .await;
        match appended {
            Ok(appended) => (delivery.to, Ok(appended)),
            Err(error) => {
                let records = &delivery.batch.records;
                let covered = records.partition_point(|it| it.position < error.first_uncovered);
                let stopped = match error.failure {
                    AppendFailure::Retry(cause) => Stopped::Retry(cause.to_string()),
                    AppendFailure::LogNearExpiry { .. } => Stopped::NearExpiry,
                    AppendFailure::Stuck(cause) => Stopped::Stuck(cause.to_string()),
                };
                (delivery.from + covered, Err(stopped))
            }
        }
    }
}

/// The task of one delivery. `seen` is a watermark that the process knows of.
pub(crate) fn deliver(
    mut ingest: Ingest,
    delivery: Delivery,
    seen: Option<EventMs>,
) -> Task<Ingest, Delivered> {
    Box::pin(async move {
        let (done_to, result) = ingest.append(&delivery, seen).await;
        (ingest, Delivered { shard: delivery.shard, done_to, result })
    })
}
