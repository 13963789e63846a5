//! Results and dead letters that the tests of all sinks emit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use tidemill_flow::ports::{Emission, QueryResults};
use tidemill_model::{DeadLetter, DeadReason, Epoch, LogId, Position, RawBytes, WallMs};
use tidemill_plan::{Edge, ResultKey};

use super::rows::{Queries, Query};

/// Rows of query `q` in the first minute: their keys, the window, and their numbers.
fn batch(keys: &[&str]) -> RecordBatch {
    let time = |ms| Arc::new(TimestampMillisecondArray::from(vec![ms; keys.len()])) as ArrayRef;
    let numbers = Int64Array::from_iter_values(0..keys.len() as i64);
    RecordBatch::try_from_iter([
        ("k", Arc::new(StringArray::from(keys.to_vec())) as ArrayRef),
        ("window_start", time(0)),
        ("window_end", time(60_000)),
        ("n", Arc::new(numbers)),
    ])
    .unwrap()
}

/// An epoch of one query's rows.
pub(super) fn emission(epoch: u64, keys: &[&str]) -> Emission {
    let results = vec![QueryResults { query: "q".to_string(), windows: 1, batch: batch(keys) }];
    Emission { results, ..Emission::empty(Epoch(epoch)) }
}

/// The query whose rows they are; `columns` are its key.
pub(super) fn queries(columns: Option<Vec<usize>>) -> Queries {
    let edge = |column| Some(Edge { column, plus_ms: 0 });
    let key = ResultKey { columns, start: edge(1), end: edge(2) };
    let schema = batch(&[]).schema();
    let query = Query { name: "q".to_string(), key, schema, can_change: false };
    BTreeMap::from([("q".to_string(), query)])
}

/// A dead letter of stream `s`.
pub(super) fn letter(detail: &str) -> DeadLetter {
    DeadLetter {
        log: LogId::new("s", "0"),
        position: Position::from_offset(7),
        arrival: WallMs(0),
        reason: DeadReason::Undecodable { detail: detail.to_string() },
        raw: Some(RawBytes::of(b"{\"k\":", 0)),
    }
}
