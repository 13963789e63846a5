//! What the targets of Lambda events share, and a schedule's event.

use std::sync::LazyLock;

use serde_json::Value;
use tidemill_flow::decode::{Decoder, RawBatch};
use tidemill_lambda::event::{Event, EventError, ShardBatch, schedule::Schedule};
use tidemill_pipeline::{Pipeline, parse};

use crate::Reached;

/// A stream of each source.
pub(crate) static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let text = r#"
        name = "p"
        [streams.clicks]
        format = "json"
        columns = { user = "string", ts = "timestamp_ms" }
        event_time = "ts"
        source = { type = "kinesis", stream = "clicks-stream" }
        [streams.orders]
        format = "csv"
        columns = { id = "bigint", ts = "timestamp_ms" }
        event_time = "ts"
        source = { type = "kafka", topic = "orders-topic" }
        [queries.q]
        sql = "SELECT 1"
    "#;
    parse("pipeline.toml", text, std::path::Path::new(""), &|_| None).unwrap()
});

/// An event of a schedule, or whatever else somebody invokes advance with.
pub fn schedule_event(input: &[u8]) -> Reached {
    match Event::<Schedule>::read(input).0 {
        Ok(schedule) => {
            // A member that nobody reads may hold what no number of serde_json's can.
            if let Ok(json) = serde_json::from_slice::<Value>(input) {
                let says = json.get("time").is_some_and(Value::is_string);
                assert!(says || schedule.due.is_none(), "due at a time that nobody said");
            }
            Reached::accepted_if(schedule.due.is_some())
        }
        Err(error) => {
            refused(&error);
            Reached::Rejected
        }
    }
}

/// What became of an event: its batches are whole, and as `check` has it; or it was refused.
pub(crate) fn judged(
    read: Result<Vec<ShardBatch>, EventError>,
    check: impl FnOnce(&[ShardBatch]),
) -> Reached {
    match read {
        Ok(batches) => {
            batches.iter().for_each(is_whole);
            check(&batches);
            Reached::Accepted
        }
        Err(error) => {
            refused(&error);
            Reached::Rejected
        }
    }
}

/// What every refusal must be.
fn refused(error: &EventError) {
    assert!(error.code().starts_with("Event."));
    assert!(!error.to_string().is_empty());
}

/// What holds of the records of one shard whatever the event was.
pub(crate) fn is_whole(batch: &ShardBatch) {
    let raw = &batch.raw;
    let mut end = 0;
    for record in &raw.records {
        assert!(record.bytes.start >= end && record.bytes.end >= record.bytes.start);
        end = record.bytes.end;
    }
    assert!(end as usize <= raw.buffer.len());
    assert!(raw.cut.is_empty() && raw.nulls.is_sorted());
    assert!(raw.nulls.iter().all(|index| (*index as usize) < raw.records.len()));
    let stream = &PIPELINE.streams[&batch.log.stream];
    let decoded = Decoder::new(stream, None).unwrap().decode(&batch.log, raw.clone());
    assert_eq!(decoded.records.len() + decoded.dead.len(), raw.records.len());
}

/// The bytes of every record.
pub(crate) fn contents(raw: &RawBatch) -> Vec<&[u8]> {
    (0..raw.records.len()).map(|index| raw.bytes_of(index)).collect()
}

/// Text that tells nothing of a record: an error must not hold more of a payload than this.
pub(crate) const SHOWN_BYTES_MAX: usize = 8;

/// Whether `message` holds a stretch of `payload` that is longer than a message may.
pub(crate) fn tells(message: &str, payload: &str) -> bool {
    let windows = payload.as_bytes().windows(SHOWN_BYTES_MAX + 1);
    windows
        .into_iter()
        .any(|part| std::str::from_utf8(part).is_ok_and(|part| message.contains(part)))
}
