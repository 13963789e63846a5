//! A Kinesis of the tests' own: open shards in memory behind the API that the functions and the
//! mapping's driver use. Where a test needs volume, or arrival times in virtual time, which
//! emulators do not have.
//!
//! # Invariants
//! 1. Sequence numbers have 56 digits, rise within a shard, and have gaps.
//! 2. A record's arrival is the virtual clock's time when it was put.
//!
//! Not here: resharding, limits, trimming; for resharding there is the emulator.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::clock::VirtualClock;
use crate::http::{Answer, Request, Response, Server};
use crate::kinesis::{Record, Sequence};

/// Records of one answer at most.
const GET_RECORDS_MAX: usize = 10_000;
/// First digits of every sequence number.
const SEQUENCE_BASE: &str = "4959033827149025660855969253836157109592";

/// The server.
pub struct KinesisServer {
    server: Server,
    state: Arc<State>,
}

struct State {
    clock: Arc<VirtualClock>,
    /// Records by stream and shard.
    streams: Mutex<BTreeMap<String, Vec<Vec<Record>>>>,
}

/// An error of the API.
struct Refused(&'static str, String);

impl KinesisServer {
    /// A Kinesis without streams.
    pub fn start(clock: Arc<VirtualClock>) -> KinesisServer {
        let state = Arc::new(State { clock, streams: Mutex::default() });
        let server = {
            let state = Arc::clone(&state);
            Server::start(move |request| state.serve(&request))
        };
        KinesisServer { server, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Puts records into one shard, in order.
    pub fn put(&self, stream: &str, shard: usize, records: impl IntoIterator<Item = Vec<u8>>) {
        let mut streams = self.state.streams.lock().expect("no panic while held");
        let shards = streams.get_mut(stream).expect("the stream was created");
        for data in records {
            self.state.append(shards, shard, "key", BASE64.encode(data));
        }
    }
}

impl State {
    fn append(
        &self,
        shards: &mut [Vec<Record>],
        shard: usize,
        key: &str,
        data: String,
    ) -> Sequence {
        let arrival = self.clock.now_ms() as f64 / 1000.0;
        // Other shards' records lie between; so do this one's gaps.
        let number = shards[shard].len() * 7 + 1;
        let sequence = Sequence(format!("{SEQUENCE_BASE}{shard:03}{number:013}"));
        let partition_key = key.to_string();
        let record = Record { sequence: sequence.clone(), partition_key, data, arrival };
        shards[shard].push(record);
        sequence
    }

    fn serve(&self, request: &Request) -> Answer {
        let target = request.header("X-Amz-Target").unwrap_or_default();
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let output = match target.rsplit('.').next().unwrap_or_default() {
            "CreateStream" => self.create(&input),
            "DescribeStreamSummary" => self.describe(&input),
            "ListShards" => self.list_shards(&input),
            "GetShardIterator" => self.iterator(&input),
            "GetRecords" => self.records(&input),
            "PutRecords" => self.put_records(&input),
            other => Err(Refused("UnknownOperationException", other.to_string())),
        };
        let (status, body) = match output {
            Ok(output) => (200, output),
            Err(Refused(code, message)) => (400, json!({ "__type": code, "message": message })),
        };
        let mut response = Response::new(status, body.to_string());
        response.headers[0].1 = "application/x-amz-json-1.1".to_string();
        Answer::Send(response)
    }

    /// Runs `act` with the shards of the stream that `input` names.
    fn with_stream<T>(
        &self,
        input: &Value,
        act: impl FnOnce(&str, &mut Vec<Vec<Record>>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let arn = input["StreamARN"].as_str().and_then(|arn| arn.rsplit('/').next());
        let name = input["StreamName"].as_str().or(arn).unwrap_or_default();
        let mut streams = self.streams.lock().expect("no panic while held");
        match streams.get_mut(name) {
            Some(shards) => act(name, shards),
            None => Err(Refused(
                "ResourceNotFoundException",
                format!("Stream {name} under account 000000000000 not found."),
            )),
        }
    }

    fn create(&self, input: &Value) -> Result<Value, Refused> {
        let name = input["StreamName"].as_str().unwrap_or_default().to_string();
        let shards = input["ShardCount"].as_u64().unwrap_or(1) as usize;
        self.streams.lock().expect("no panic while held").insert(name, vec![Vec::new(); shards]);
        Ok(json!({}))
    }

    fn describe(&self, input: &Value) -> Result<Value, Refused> {
        self.with_stream(input, |name, shards| {
            Ok(json!({ "StreamDescriptionSummary": {
                "StreamName": name,
                "StreamARN": format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}"),
                "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 1_700_000_000.0,
                "EnhancedMonitoring": [],
                "OpenShardCount": shards.len(),
            }}))
        })
    }

    fn list_shards(&self, input: &Value) -> Result<Value, Refused> {
        self.with_stream(input, |_, shards| {
            let share = u128::MAX / shards.len() as u128;
            let described = (0..shards.len()).map(|shard| {
                let start = share * shard as u128;
                json!({
                    "ShardId": shard_id(shard),
                    "HashKeyRange": {
                        "StartingHashKey": start.to_string(),
                        "EndingHashKey": (start + share - 1).to_string(),
                    },
                    "SequenceNumberRange": {
                        "StartingSequenceNumber": format!("{SEQUENCE_BASE}{shard:03}{:013}", 0),
                    },
                })
            });
            Ok(json!({ "Shards": described.collect::<Vec<_>>() }))
        })
    }

    /// An iterator's text: stream, shard and index of the next record.
    fn iterator(&self, input: &Value) -> Result<Value, Refused> {
        self.with_stream(input, |name, shards| {
            let shard = shard_number(&input["ShardId"], shards.len())?;
            let records = &shards[shard];
            let start = || Sequence(input["StartingSequenceNumber"].as_str().unwrap_or("").into());
            let index = match input["ShardIteratorType"].as_str().unwrap_or_default() {
                "TRIM_HORIZON" => 0,
                "LATEST" => records.len(),
                "AT_SEQUENCE_NUMBER" => records.partition_point(|it| it.sequence < start()),
                "AFTER_SEQUENCE_NUMBER" => records.partition_point(|it| it.sequence <= start()),
                "AT_TIMESTAMP" => {
                    let time = input["Timestamp"].as_f64().unwrap_or(0.0);
                    records.partition_point(|it| it.arrival < time)
                }
                other => {
                    return Err(Refused("InvalidArgumentException", format!("iterator {other}")));
                }
            };
            Ok(json!({ "ShardIterator": format!("{name}/{shard}/{index}") }))
        })
    }

    fn records(&self, input: &Value) -> Result<Value, Refused> {
        let iterator = input["ShardIterator"].as_str().unwrap_or_default();
        let wrong = || Refused("InvalidArgumentException", format!("iterator {iterator}"));
        let mut parts = iterator.rsplit('/');
        let index: usize = parts.next().and_then(|it| it.parse().ok()).ok_or_else(wrong)?;
        let shard: usize = parts.next().and_then(|it| it.parse().ok()).ok_or_else(wrong)?;
        let name = parts.next().ok_or_else(wrong)?;
        let limit = input["Limit"].as_u64().map_or(GET_RECORDS_MAX, |limit| limit as usize);
        self.with_stream(&json!({ "StreamName": name }), |name, shards| {
            let all = &shards[shard];
            let end = index.saturating_add(limit.min(GET_RECORDS_MAX)).min(all.len());
            let behind = all
                .get(end)
                .map_or(0, |next| (self.clock.now_ms() - (next.arrival * 1000.0) as i64).max(1));
            let records = all[index.min(end)..end].iter().map(|record| {
                json!({
                    "SequenceNumber": record.sequence.0,
                    "ApproximateArrivalTimestamp": record.arrival,
                    "Data": record.data,
                    "PartitionKey": record.partition_key,
                })
            });
            Ok(json!({
                "Records": records.collect::<Vec<_>>(),
                "NextShardIterator": format!("{name}/{shard}/{end}"),
                "MillisBehindLatest": behind,
            }))
        })
    }

    fn put_records(&self, input: &Value) -> Result<Value, Refused> {
        self.with_stream(input, |_, shards| {
            let mut written = Vec::new();
            for entry in input["Records"].as_array().into_iter().flatten() {
                let key = entry["PartitionKey"].as_str().unwrap_or_default();
                let sum = key.bytes().fold(0usize, |sum, byte| sum * 31 + usize::from(byte));
                let shard = sum % shards.len();
                let data = entry["Data"].as_str().unwrap_or_default().to_string();
                let sequence = self.append(shards, shard, key, data);
                written.push(json!({ "SequenceNumber": sequence.0, "ShardId": shard_id(shard) }));
            }
            Ok(json!({ "FailedRecordCount": 0, "Records": written }))
        })
    }
}

fn shard_id(shard: usize) -> String {
    format!("shardId-{shard:012}")
}

fn shard_number(id: &Value, shards: usize) -> Result<usize, Refused> {
    let id = id.as_str().unwrap_or_default();
    let number = id.strip_prefix("shardId-").and_then(|number| number.parse().ok());
    let unknown = || Refused("ResourceNotFoundException", format!("Shard {id} does not exist"));
    number.filter(|number| *number < shards).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::{ReadFrom, Stream};

    #[test]
    fn records_are_read_back_in_order_from_where_one_asks() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(VirtualClock::new(folder.path().join("clock")));
        let server = KinesisServer::start(clock);
        let stream = Stream::create(server.address(), "events", 2);
        assert_eq!(stream.shards().unwrap().len(), 2);
        server.put("events", 1, (0..5).map(|n| vec![n]));
        let start = stream.iterator("shardId-000000000001", &ReadFrom::TrimHorizon).unwrap();
        let first = stream.read(&start, 3).unwrap();
        assert_eq!(first.records.len(), 3);
        assert!(first.behind_ms > 0);
        assert!(first.records.is_sorted_by(|a, b| a.sequence < b.sequence));
        let after = ReadFrom::After(first.records[2].sequence.clone());
        let rest = stream.iterator("shardId-000000000001", &after).unwrap();
        let rest = stream.read(&rest, 100).unwrap();
        assert_eq!((rest.records.len(), rest.behind_ms), (2, 0));
        assert_eq!(rest.records[1].data, BASE64.encode([4]));
        let latest = stream.iterator("shardId-000000000001", &ReadFrom::Latest).unwrap();
        assert!(stream.read(&latest, 100).unwrap().records.is_empty());
        assert!(stream.iterator("shardId-000000000007", &ReadFrom::Latest).is_err());
    }
}
