//! Kinesis as a test uses it: one stream behind the API, be it an emulator or
//! [`crate::kinesis_server`].

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::api::{Api, ApiError};

/// How long a stream may take to become active.
const ACTIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Records of one PutRecords.
const PUT_RECORDS_MAX: usize = 500;

/// A sequence number: decimal digits, ordered as numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sequence(pub String);

impl Ord for Sequence {
    fn cmp(&self, other: &Sequence) -> Ordering {
        let digits = |sequence: &Sequence| sequence.0.trim_start_matches('0').to_string();
        let (left, right) = (digits(self), digits(other));
        left.len().cmp(&right.len()).then_with(|| left.cmp(&right))
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Sequence) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A record of a shard.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its sequence number.
    pub sequence: Sequence,
    /// Its partition key.
    pub partition_key: String,
    /// Its data, base64.
    pub data: String,
    /// When it arrived, seconds since 1970, to the millisecond.
    pub arrival: f64,
}

/// A shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The shards that it was split or merged from.
    pub parents: Vec<String>,
    /// First and last hash key.
    pub hash_keys: (u128, u128),
    /// Whether it takes no more records.
    pub is_closed: bool,
}

/// ReadFrom where to read a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFrom {
    /// ReadFrom its oldest record.
    TrimHorizon,
    /// ReadFrom what comes next.
    Latest,
    /// After a record.
    After(Sequence),
}

/// What one reading of a shard gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// Where to go on; `None`: the shard is closed and was read to its end.
    pub next: Option<String>,
    /// How far behind the shard's tip the page ends, milliseconds.
    pub behind_ms: i64,
}

/// A stream.
pub struct Stream {
    api: Api,
    name: String,
}

impl Stream {
    /// The stream `name` of the Kinesis at `address`, which exists.
    pub fn at(address: SocketAddr, name: &str) -> Stream {
        Stream { api: Api::kinesis(address), name: name.to_string() }
    }

    /// Creates the stream and waits until it can be used.
    pub fn create(address: SocketAddr, name: &str, shards: usize) -> Stream {
        let stream = Stream::at(address, name);
        stream.api.must("CreateStream", &json!({ "StreamName": name, "ShardCount": shards }));
        stream.wait_active();
        stream
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:kinesis:us-east-1:000000000000:stream/{}", self.name)
    }

    /// Puts records, (partition key, data), in order. Records of one key go to one shard.
    pub fn put(&self, records: &[(String, Vec<u8>)]) {
        for part in records.chunks(PUT_RECORDS_MAX) {
            let entries: Vec<Value> = part
                .iter()
                .map(|(key, data)| json!({ "PartitionKey": key, "Data": BASE64.encode(data) }))
                .collect();
            let input = json!({ "StreamName": self.name, "Records": entries });
            let output = self.api.must("PutRecords", &input);
            assert_eq!(output["FailedRecordCount"].as_u64().unwrap_or(0), 0, "{output}");
        }
    }

    /// Its shards, closed ones included.
    pub fn shards(&self) -> Result<Vec<Shard>, ApiError> {
        let mut shards = Vec::new();
        let mut input = json!({ "StreamName": self.name });
        loop {
            let output = self.api.call("ListShards", &input)?;
            shards.extend(output["Shards"].as_array().into_iter().flatten().map(shard_of));
            match output["NextToken"].as_str() {
                Some(token) => input = json!({ "NextToken": token }),
                None => return Ok(shards),
            }
        }
    }

    /// An iterator of a shard.
    pub fn iterator(&self, shard: &str, from: &ReadFrom) -> Result<String, ApiError> {
        let mut input = json!({ "StreamName": self.name, "ShardId": shard });
        match from {
            ReadFrom::TrimHorizon => input["ShardIteratorType"] = "TRIM_HORIZON".into(),
            ReadFrom::Latest => input["ShardIteratorType"] = "LATEST".into(),
            ReadFrom::After(sequence) => {
                input["ShardIteratorType"] = "AFTER_SEQUENCE_NUMBER".into();
                input["StartingSequenceNumber"] = sequence.0.as_str().into();
            }
        }
        let output = self.api.call("GetShardIterator", &input)?;
        Ok(output["ShardIterator"].as_str().unwrap_or_default().to_string())
    }

    /// At most `limit` records.
    pub fn read(&self, iterator: &str, limit: usize) -> Result<Page, ApiError> {
        let input = json!({ "ShardIterator": iterator, "Limit": limit });
        let output = self.api.call("GetRecords", &input)?;
        Ok(Page {
            records: output["Records"].as_array().into_iter().flatten().map(record_of).collect(),
            next: output["NextShardIterator"].as_str().map(str::to_string),
            behind_ms: output["MillisBehindLatest"].as_i64().unwrap_or(0),
        })
    }

    /// Splits a shard in two halves.
    pub fn split(&self, shard: &Shard) {
        let middle = shard.hash_keys.0 + (shard.hash_keys.1 - shard.hash_keys.0) / 2 + 1;
        self.api.must(
            "SplitShard",
            &json!({
                "StreamName": self.name,
                "ShardToSplit": shard.id,
                "NewStartingHashKey": middle.to_string(),
            }),
        );
        self.wait_active();
    }

    /// Merges two neighbours.
    pub fn merge(&self, shard: &Shard, neighbour: &Shard) {
        self.api.must(
            "MergeShards",
            &json!({
                "StreamName": self.name,
                "ShardToMerge": shard.id,
                "AdjacentShardToMerge": neighbour.id,
            }),
        );
        self.wait_active();
    }

    fn wait_active(&self) {
        let until = Instant::now() + ACTIVE_TIMEOUT;
        loop {
            let output =
                self.api.must("DescribeStreamSummary", &json!({ "StreamName": self.name }));
            if output["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE" {
                return;
            }
            assert!(Instant::now() < until, "stream {} is not active: {output}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn shard_of(value: &Value) -> Shard {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let hash_key = |name: &str| text(&value["HashKeyRange"][name]).parse().unwrap_or(0);
    let parents = [&value["ParentShardId"], &value["AdjacentParentShardId"]];
    Shard {
        id: text(&value["ShardId"]),
        parents: parents.into_iter().map(text).filter(|parent| !parent.is_empty()).collect(),
        hash_keys: (hash_key("StartingHashKey"), hash_key("EndingHashKey")),
        is_closed: value["SequenceNumberRange"]["EndingSequenceNumber"].is_string(),
    }
}

fn record_of(value: &Value) -> Record {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_string();
    Record {
        sequence: Sequence(text("SequenceNumber")),
        partition_key: text("PartitionKey"),
        data: text("Data"),
        arrival: value["ApproximateArrivalTimestamp"].as_f64().unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_ordered_as_numbers() {
        let number = |text: &str| Sequence(text.to_string());
        assert!(number("9") < number("10"));
        assert!(number("49590338271490256608559692538361571095921575989136588898") > number("9"));
        assert!(number("12") < number("21"));
    }
}
