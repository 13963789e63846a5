//! Kinesis as a script: what no emulator does (throttling, lag, expired iterators), and what is on
//! the wire.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tidemill_flow::keys::Keys;
use tidemill_testkit::{Call, FaultyStore, MemoryStore, Verb};

use super::*;
use crate::fake_aws::{Answer, FakeAws, Request, error};

mod emulator;
mod listed;
mod looks;

const NOW: WallMs = WallMs(1_700_000_000_000);
const NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";
const LATER: &str = "49590338271490256608559692538361571095921575989136588899";

/// What the service says.
#[derive(Default)]
struct Script {
    shards: Vec<Value>,
    /// Shards of one page.
    page: usize,
    made: i64,
    status: &'static str,
    /// Answers to the next GetRecords; afterwards nothing is there.
    reads: VecDeque<Answer>,
    /// Answers to the next GetShardIterator; afterwards there is one.
    iterators: VecDeque<Answer>,
    /// Answers to the next DescribeStreamSummary.
    summaries: VecDeque<Answer>,
}

struct World {
    script: Arc<Mutex<Script>>,
    server: FakeAws,
    kinesis: Kinesis,
    store: Arc<FaultyStore<MemoryStore>>,
    registry: Registry,
}

fn id(number: u64) -> String {
    format!("shardId-{number:012}")
}

fn shard(number: u64, parents: &[u64], closed: bool) -> Value {
    let mut range = json!({ "StartingSequenceNumber": "1" });
    if closed {
        range["EndingSequenceNumber"] = json!("9");
    }
    let mut shard = json!({
        "ShardId": id(number),
        "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "1" },
        "SequenceNumberRange": range,
    });
    for (key, parent) in ["ParentShardId", "AdjacentParentShardId"].iter().zip(parents) {
        shard[key] = json!(id(*parent));
    }
    shard
}

fn record(number: &str, data: &[u8]) -> Value {
    let data = BASE64_STANDARD.encode(data);
    json!({ "SequenceNumber": number, "Data": data, "PartitionKey": "k" })
}

fn read(records: &[Value], behind_ms: i64, next: Option<&str>) -> Answer {
    let answer =
        json!({ "Records": records, "MillisBehindLatest": behind_ms, "NextShardIterator": next });
    (200, answer)
}

fn answer(script: &mut Script, request: &Request) -> Answer {
    match request.operation() {
        "DescribeStreamSummary" => script.summaries.pop_front().unwrap_or_else(|| {
            let summary = json!({
                "StreamName": "clicks", "StreamARN": "arn:aws:kinesis:us-east-1:1:stream/clicks",
                "StreamStatus": script.status, "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": script.made, "EnhancedMonitoring": [],
                "OpenShardCount": 1,
            });
            (200, json!({ "StreamDescriptionSummary": summary }))
        }),
        "ListShards" => {
            let body = request.json();
            assert!(body["NextToken"].is_null() || body["StreamName"].is_null(), "never both");
            let from = body["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let to = script.shards.len().min(from + script.page);
            let token = (to < script.shards.len()).then(|| to.to_string());
            (200, json!({ "Shards": script.shards[from..to], "NextToken": token }))
        }
        "GetShardIterator" => {
            let given = || (200, json!({ "ShardIterator": "opened" }));
            script.iterators.pop_front().unwrap_or_else(given)
        }
        "GetRecords" => script.reads.pop_front().unwrap_or_else(|| read(&[], 0, Some("next"))),
        other => panic!("unexpected request {other}"),
    }
}

impl World {
    fn new(starting: StartingPosition, certain: bool) -> World {
        let script = Script {
            shards: vec![shard(0, &[], false)],
            page: 100,
            made: 1_600_000_000,
            status: "ACTIVE",
            ..Script::default()
        };
        let script = Arc::new(Mutex::new(script));
        let answers = Arc::clone(&script);
        let server = FakeAws::start(move |request| answer(&mut answers.lock().unwrap(), request));
        let kinesis = Kinesis::new(&server.aws(), "ads", "clicks", certain, starting);
        let no_faults = |_: &Call| tidemill_testkit::Fault::None;
        let store = Arc::new(FaultyStore::new(MemoryStore::new(), no_faults));
        let registry = Registry::new(store.clone(), Keys::new("p"));
        World { script, server, kinesis, store, registry }
    }

    /// A world whose only shard, 0, is registered.
    async fn registered() -> World {
        let world = World::new(StartingPosition::TrimHorizon, true);
        assert_eq!(world.register(NOW).await, Vec::<String>::new());
        world
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    async fn register(&self, now: WallMs) -> Vec<String> {
        let result = self.kinesis.register(&self.registry, now).await;
        result.err().unwrap_or_default().iter().map(SourceError::to_string).collect()
    }

    async fn drained(&self, number: u64, position: Position) -> Drained {
        self.kinesis.drained(&id(number), position).await
    }

    async fn in_registry(&self) -> Vec<String> {
        let entries = self.registry.all().await.unwrap();
        entries.into_iter().map(|entry| entry.log.to_string()).collect()
    }

    fn count(&self, operation: &str) -> usize {
        self.server.requests(operation).len()
    }

    fn refuse_writes(&self, refused: bool) {
        self.store.set_plan(move |call: &Call| match call.verb {
            Verb::PutNew if refused => tidemill_testkit::Fault::Refused,
            _ => tidemill_testkit::Fault::None,
        });
    }
}

fn position(sub: u64) -> Position {
    Position::from_sequence(NUMBER, sub).unwrap()
}
