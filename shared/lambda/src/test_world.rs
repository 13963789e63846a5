//! What the tests of this crate share: a pipeline, a store in memory, shards that are listed by
//! hand, a clock that is set by hand, and events as Lambda sends them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidemill_aws::source::SourceError;
use tidemill_codec::{decode_log_entry, decode_segment};
use tidemill_flow::append::{AppendSettings, Appender, Clock, Registry};
use tidemill_flow::combine::Combiner;
use tidemill_flow::decode::Decoder;
use tidemill_flow::keys::Keys;
use tidemill_model::store::{Limits, Store};
use tidemill_model::{LogEntry, LogId, Position, Segment, WallMs};
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;
use tidemill_testkit::MemoryStore;

use crate::handler::Handler;
use crate::ingest::{Ingest, Parts};
use crate::logs::{Logs, Shards};
use crate::telemetry::Metrics;

pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const STREAM_ARN: &str =
    "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks-stream";
/// A sequence number as Kinesis gives them, without its last digits.
const SEQUENCE: &str = "4959033827149025660855969253836157109592157598913658";

const FILE: &str = r#"
name = "ads"

[streams.clicks]
format = "json"
columns = { user = "string", ts = "timestamp_ms" }
event_time = "ts"
idle_after = "1m"

[streams.clicks.source]
type = "kinesis"
stream = "clicks-stream"

[streams.orders]
format = "json"
columns = { user = "string", ts = "timestamp_ms" }
event_time = "ts"

[streams.orders.source]
type = "kafka"
topic = "orders-topic"

[queries.clicks_per_user]
sql = """
  SELECT user, window_start, COUNT(*) AS clicks
  FROM TUMBLE(clicks, ts, INTERVAL '10' SECOND)
  GROUP BY user, window_start, window_end
"""

[queries.orders_per_user]
sql = """
  SELECT user, window_start, COUNT(*) AS orders
  FROM TUMBLE(orders, ts, INTERVAL '10' SECOND)
  GROUP BY user, window_start, window_end
"""
"#;

pub(crate) fn pipeline() -> Pipeline {
    tidemill_pipeline::parse("pipeline.toml", FILE, Path::new(""), &|_| None).unwrap()
}

pub(crate) fn plan() -> PipelinePlan {
    tidemill_plan::plan(&pipeline()).unwrap()
}

/// The plan of the same queries, which compute `aggregate` in place of their counts.
pub(crate) fn plan_of(aggregate: &str) -> PipelinePlan {
    let text = FILE.replace("COUNT(*)", aggregate);
    let parsed = tidemill_pipeline::parse("pipeline.toml", &text, Path::new(""), &|_| None);
    tidemill_plan::plan(&parsed.unwrap()).unwrap()
}

/// Shards as a test lists them.
#[derive(Default)]
pub(crate) struct Listed {
    /// With their parents.
    pub(crate) shards: Mutex<BTreeMap<LogId, Vec<LogId>>>,
    /// The source does not answer.
    pub(crate) is_down: Mutex<bool>,
    /// How often the source was asked for all shards.
    pub(crate) listings: Mutex<u32>,
}

impl Listed {
    pub(crate) fn of(shards: &[(&str, &[&str])]) -> Arc<Listed> {
        let log = |name: &str| LogId::parse(name).unwrap();
        let listed = Listed::default();
        for (shard, parents) in shards {
            let parents = parents.iter().map(|parent| log(parent)).collect();
            listed.shards.lock().unwrap().insert(log(shard), parents);
        }
        Arc::new(listed)
    }

    fn up(&self, stream: &str) -> Result<(), SourceError> {
        match *self.is_down.lock().unwrap() {
            false => Ok(()),
            true => {
                let (stream, reason) = (stream.to_string(), "throttled".to_string());
                Err(SourceError::Unreachable { stream, reason })
            }
        }
    }
}

#[async_trait]
impl Shards for Listed {
    async fn register(&self, registry: &Registry, now: WallMs) -> Vec<SourceError> {
        *self.listings.lock().unwrap() += 1;
        if let Err(error) = self.up("clicks") {
            return vec![error];
        }
        let logs: Vec<LogId> = self.shards.lock().unwrap().keys().cloned().collect();
        let mut errors = Vec::new();
        for log in logs {
            let entry = self.entry(&log, now).await.unwrap();
            errors.extend(registry.ensure(&entry).await.err().map(SourceError::from));
        }
        errors
    }

    async fn entry(&self, log: &LogId, now: WallMs) -> Result<LogEntry, SourceError> {
        self.up(&log.stream)?;
        let shards = self.shards.lock().unwrap();
        let no_such_log = || SourceError::NoSuchLog { log: log.clone() };
        Ok(LogEntry {
            log: log.clone(),
            parents: shards.get(log).ok_or_else(no_such_log)?.clone(),
            registered_at: now,
            start: Position::START,
            identity: String::new(),
        })
    }
}

/// A place that metrics are written to and read back from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Sum of a metric over all documents so far; `None`: no document has it.
    pub(crate) fn sum(&self, metric: &str) -> Option<f64> {
        let text = self.text();
        let values: Vec<f64> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()[metric].as_f64())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

/// A store and what surrounds it.
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) shards: Arc<Listed>,
    pub(crate) now: Arc<AtomicI64>,
    pub(crate) metrics: Written,
}

impl World {
    /// Two shards of `clicks`, two partitions of `orders`.
    pub(crate) fn new() -> World {
        let shards = [
            ("clicks/shardId-000000000000", &[][..]),
            ("clicks/shardId-000000000001", &[]),
            ("orders/0", &[]),
            ("orders/1", &[]),
        ];
        World {
            store: MemoryStore::new(),
            shards: Listed::of(&shards),
            now: Arc::new(AtomicI64::new(NOW)),
            metrics: Written::default(),
        }
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::new("ads")
    }

    pub(crate) fn clock(&self) -> Arc<Clock> {
        let now = Arc::clone(&self.now);
        Arc::new(move || WallMs(now.load(Ordering::SeqCst)))
    }

    pub(crate) fn logs(&self, store: Arc<dyn Store>) -> Logs {
        let registry = Registry::new(store, self.keys());
        Logs::new(registry, Arc::clone(&self.shards) as _)
    }

    /// A process with an ingest function.
    pub(crate) fn handler(&self) -> Handler {
        self.handler_on(Arc::new(self.store.clone()), usize::MAX)
    }

    /// One that reaches the store through `store` and writes segments of at most so many bytes.
    pub(crate) fn handler_on(&self, store: Arc<dyn Store>, segment_bytes_max: usize) -> Handler {
        self.handler_of(&plan(), store, segment_bytes_max)
    }

    /// The same, of another plan.
    pub(crate) fn handler_of(
        &self,
        plan: &PipelinePlan,
        store: Arc<dyn Store>,
        segment_bytes_max: usize,
    ) -> Handler {
        let pipeline = pipeline();
        let streams = pipeline.streams.iter();
        let decoders = streams
            .map(|(name, stream)| (name.clone(), Decoder::new(stream, None).unwrap()))
            .collect();
        let appender = |broker_times| {
            let settings = AppendSettings::new(pipeline.segment_ttl_ms, broker_times);
            let settings = AppendSettings { segment_bytes_max, ..settings };
            Appender::new(Arc::clone(&store), self.keys(), settings)
        };
        let ingest = Ingest::new(Parts {
            decoders,
            combine: Box::new(Combiner::new(plan).unwrap()),
            logs: self.logs(Arc::clone(&store)),
            by_broker: appender(true),
            by_producer: appender(false),
            store: Arc::clone(&store),
            keys: self.keys(),
            clock: self.clock(),
        });
        let metrics = Metrics::new("ads", Box::new(self.metrics.clone()));
        Handler::new(Arc::new(pipeline), ingest, metrics)
    }

    /// The segments of a log, which tile it.
    pub(crate) async fn segments(&self, log: &str) -> Vec<Segment> {
        let pk = self.keys().log(&LogId::parse(log).unwrap());
        let rows = self.store.range(&pk, "", Limits::NONE).await.unwrap();
        let segments: Vec<Segment> =
            rows.iter().map(|row| decode_segment(&row.item.bytes).unwrap()).collect();
        let mut after = Position::START;
        for segment in &segments {
            assert_eq!(segment.after, after, "segments tile their shard");
            after = segment.through;
        }
        segments
    }

    /// Everything up to here is in the log.
    pub(crate) async fn tail(&self, log: &str) -> Position {
        self.segments(log).await.last().map_or(Position::START, |segment| segment.through)
    }

    /// Records in a log's segments.
    pub(crate) async fn records(&self, log: &str) -> u64 {
        self.segments(log).await.iter().map(|segment| segment.records).sum()
    }

    /// The registered logs with their parents.
    pub(crate) async fn registered(&self) -> BTreeMap<String, usize> {
        let rows = self.store.range(&self.keys().logs(), "", Limits::NONE).await.unwrap();
        rows.iter()
            .map(|row| decode_log_entry(&row.item.bytes).unwrap())
            .map(|entry| (entry.log.to_string(), entry.parents.len()))
            .collect()
    }
}

/// The sequence number of this rank.
pub(crate) fn sequence(n: u32) -> String {
    format!("{SEQUENCE}{n:04}")
}

pub(crate) fn position(n: u32, sub: u64) -> Position {
    Position::from_sequence(&sequence(n), sub).unwrap()
}

/// A click as JSON.
pub(crate) fn click(user: &str, ts: i64) -> Vec<u8> {
    format!(r#"{{"user":"{user}","ts":{ts}}}"#).into_bytes()
}

/// A record as a Kinesis mapping sends it: shard number, rank, payload.
pub(crate) fn kinesis_record(shard: u32, n: u32, payload: &[u8]) -> Value {
    let (shard, sequence) = (format!("shardId-{shard:012}"), sequence(n));
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "p",
            "sequenceNumber": sequence,
            "data": STANDARD.encode(payload),
            "approximateArrivalTimestamp": (NOW + i64::from(n)) as f64 / 1000.0,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("{shard}:{sequence}"),
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/r",
        "awsRegion": "eu-central-1",
        "eventSourceARN": STREAM_ARN,
    })
}

pub(crate) fn kinesis_event(records: &[Value]) -> Vec<u8> {
    json!({ "Records": records }).to_string().into_bytes()
}

/// A record as a Kafka mapping sends it; without a `payload` it is a tombstone.
pub(crate) fn kafka_record(
    partition: u32,
    offset: u64,
    payload: Option<&[u8]>,
    timestamp: (&str, i64),
) -> Value {
    json!({
        "topic": "orders-topic",
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp.1,
        "timestampType": timestamp.0,
        "key": STANDARD.encode("k"),
        "value": payload.map(|payload| STANDARD.encode(payload)),
        "headers": [{ "trace": [97, -1, 200] }],
    })
}

pub(crate) fn kafka_event(source: &str, records: &[Value]) -> Vec<u8> {
    let mut partitions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in records {
        let name = format!("{}-{}", record["topic"].as_str().unwrap(), record["partition"]);
        partitions.entry(name).or_default().push(record.clone());
    }
    json!({
        "eventSource": source,
        "eventSourceArn": "arn:aws:kafka:eu-central-1:123456789012:cluster/c/e9f7",
        "bootstrapServers": "b-1:9092,b-2:9092",
        "records": partitions,
    })
    .to_string()
    .into_bytes()
}
