//! Events exactly as AWS sends them.

use serde_json::{Map, Value, json};

use crate::kinesis::Record;

/// The event of a batch of one shard.
pub(super) fn kinesis(stream_arn: &str, shard: &str, records: &[Record]) -> Value {
    let records: Vec<Value> = records
        .iter()
        .map(|record| {
            json!({
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record.partition_key,
                    "sequenceNumber": record.sequence.0,
                    "data": record.data,
                    "approximateArrivalTimestamp": record.arrival,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": format!("{shard}:{}", record.sequence.0),
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/ingest",
                "awsRegion": "us-east-1",
                "eventSourceARN": stream_arn,
            })
        })
        .collect();
    json!({ "Records": records })
}

/// A record of a topic, as an event has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TopicRecord {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    /// Base64; `None`: absent.
    pub(super) key: Option<String>,
    /// Base64; `None`: a tombstone.
    pub(super) value: Option<String>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

/// The event of a batch of several partitions, as MSK's mapping sends it.
pub(super) fn msk(cluster_arn: &str, bootstrap_servers: &str, records: &[TopicRecord]) -> Value {
    let mut partitions: Map<String, Value> = Map::new();
    for record in records {
        let headers: Vec<Value> = record
            .headers
            .iter()
            .map(|(name, value)| {
                // Lambda shows bytes as signed numbers, as Java does.
                let bytes: Vec<i8> = value.iter().map(|byte| byte.cast_signed()).collect();
                json!({ name.as_str(): bytes })
            })
            .collect();
        let mut described = json!({
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "timestampType": "CREATE_TIME",
            "headers": headers,
        });
        if let Some(key) = &record.key {
            described["key"] = key.as_str().into();
        }
        if let Some(value) = &record.value {
            described["value"] = value.as_str().into();
        }
        let name = format!("{}-{}", record.topic, record.partition);
        let entry = partitions.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(entries) = entry {
            entries.push(described);
        }
    }
    json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": cluster_arn,
        "bootstrapServers": bootstrap_servers,
        "records": partitions,
    })
}
