//! Results and dead letters as messages: for streams, queues and topics.
//!
//! | | result row | dead letter |
//! |---|---|---|
//! | body | the row as a JSON object | its JSON object ([`Letter`](tidemill_flow::emit::Letter)) |
//! | key | `{query}/{key values}`; the result's id when rows have no key of their own | `dead_letters/{stream}/{shard}`, `dead_letters/{query}` |
//! | attributes | `result_id`, `query` | `result_id`, `reason` |
//!
//! # Invariants
//! 1. A message's size, and so whether a row is rejected, depends on the row alone.
//! 2. A dead letter always fits.

use tidemill_flow::emit::{json, result_id};
use tidemill_flow::ports::{Emission, Rejection};
use xxhash_rust::xxh3::xxh3_64;

use super::rows::{KeyReader, Queries};

/// Bytes of a message for names and types of attributes, and for what a service adds.
const OVERHEAD_BYTES: usize = 256;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is about: rows of one key stay in order. At most [`Form::key_chars_max`] characters.
    pub(super) key: String,
    /// Whether it must stay in order with others of its key.
    pub(super) is_ordered: bool,
    /// Its id, the same at every replay.
    pub(super) id: String,
    /// What the reader may filter by: (`query`, its name) or (`reason`, the dead letter's).
    pub(super) about: (&'static str, String),
    /// JSON, one line without its end.
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Its size as services count it, or more.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.key.len() + self.id.len() + self.about.1.len();
        self.body.len() + texts + OVERHEAD_BYTES
    }

    /// What its order is kept by.
    pub(super) fn order_key(&self) -> String {
        if self.is_ordered { self.key.clone() } else { format!("id:{}", self.id) }
    }
}

/// How a service wants its messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Whether a row's id and query stand in its body, because the service has no attributes.
    pub(super) is_tagged: bool,
    /// Largest message, attributes included.
    pub(super) bytes_max: usize,
    /// Longest key.
    pub(super) key_chars_max: usize,
}

/// Names that a tagged body has beside the query's columns.
pub(super) const TAGS: [&str; 2] = ["query", "result_id"];

/// The messages of one emission, in order, and the rows that are too large for one.
pub(super) fn messages(
    queries: &Queries,
    emission: &Emission,
    form: Form,
) -> Result<(Vec<Message>, Vec<Rejection>), String> {
    let mut messages = Vec::new();
    let mut rejected = Vec::new();
    for results in &emission.results {
        let Some(query) = queries.get(&results.query) else {
            return Err(format!("it does not know query `{}`", results.query));
        };
        let rows = json::RowWriter::new(&results.batch).map_err(|error| error.to_string())?;
        let keys = KeyReader::new(query, &results.batch);
        for row in 0..results.batch.num_rows() {
            let id = result_id(&query.name, emission.epoch, row);
            let tags = [(TAGS[0], query.name.as_str()), (TAGS[1], id.as_str())];
            let mut body = Vec::new();
            rows.write_tagged(if form.is_tagged { &tags } else { &[] }, row, &mut body);
            body.pop();
            let key = keys.key(row);
            let is_ordered = key.is_some();
            let key = shortened(key.unwrap_or_else(|| id.clone()), form.key_chars_max);
            let about = ("query", query.name.clone());
            let message = Message { key, is_ordered, id, about, body };
            let bytes = message.bytes();
            if bytes > form.bytes_max {
                let detail = format!("too large: {bytes} bytes of at most {}", form.bytes_max);
                rejected.push(Rejection { query: query.name.clone(), row, detail });
            } else {
                messages.push(message);
            }
        }
    }
    for letter in emission.letters() {
        let key = shortened(format!("dead_letters/{}", letter.origin()), form.key_chars_max);
        let about = ("reason", letter.reason().to_string());
        let body = Vec::new();
        let mut message = Message { key, is_ordered: false, id: letter.id(), about, body };
        letter.write_within(form.bytes_max - message.bytes(), &mut message.body);
        message.body.pop();
        messages.push(message);
    }
    Ok((messages, rejected))
}

/// A key of at most `chars_max` characters: a longer one keeps its beginning and gets a hash.
fn shortened(key: String, chars_max: usize) -> String {
    if key.chars().count() <= chars_max {
        return key;
    }
    let first: String = key.chars().take(chars_max - 17).collect();
    format!("{first}#{:016x}", xxh3_64(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use tidemill_flow::ports::QueryResults;
    use tidemill_model::{DeadLetter, DeadReason, Epoch, LogId, Position, RawBytes, WallMs};
    use tidemill_plan::ResultKey;

    use super::super::rows::Query;
    use super::*;

    const FORM: Form = Form { is_tagged: false, bytes_max: 20_000, key_chars_max: 40 };

    fn queries(columns: Option<Vec<usize>>, batch: &RecordBatch) -> Queries {
        let key = ResultKey { columns, start: None, end: None };
        let query = Query { name: "q".to_string(), key, schema: batch.schema(), can_change: false };
        BTreeMap::from([("q".to_string(), query)])
    }

    fn emission(texts: &[&str]) -> Emission {
        let column = Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("k", column)]).unwrap();
        let results = vec![QueryResults { query: "q".to_string(), windows: 1, batch }];
        Emission { results, ..Emission::empty(Epoch(7)) }
    }

    fn of(emission: &Emission, columns: Option<Vec<usize>>, form: Form) -> Vec<Message> {
        let queries = queries(columns, &emission.results[0].batch);
        messages(&queries, emission, form).unwrap().0
    }

    #[test]
    fn rows_of_one_key_are_ordered_and_rows_without_one_are_known_by_id() {
        let emission = emission(&["a", "b"]);
        let keyed = of(&emission, Some(vec![0]), FORM);
        assert_eq!(keyed[1].key, "q/b");
        assert_eq!(keyed[1].order_key(), "q/b");
        assert_eq!(keyed[1].about, ("query", "q".to_string()));
        assert_eq!(keyed[1].body, br#"{"k":"b"}"#);
        let by_id = of(&emission, None, FORM);
        assert_eq!((by_id[1].key.as_str(), by_id[1].is_ordered), ("q/7/1", false));
        let tagged = of(&emission, None, Form { is_tagged: true, ..FORM });
        assert_eq!(tagged[0].body, br#"{"query":"q","result_id":"q/7/0","k":"a"}"#);
    }

    #[test]
    fn long_keys_are_cut_and_stay_apart() {
        let (long, other) = ("ä".repeat(50) + "1", "ä".repeat(50) + "2");
        let keyed = of(&emission(&[&long, &other, "short"]), Some(vec![0]), FORM);
        assert_eq!(keyed[0].key.chars().count(), 40);
        assert_ne!(keyed[0].key, keyed[1].key);
        assert_eq!(keyed[2].key, "q/short");
    }

    #[test]
    fn a_row_that_is_too_large_is_rejected_by_its_number() {
        let fits = "x".repeat(FORM.bytes_max - OVERHEAD_BYTES - 19);
        let emission = emission(&["a", &(fits.clone() + "y"), &fits]);
        let queries = queries(None, &emission.results[0].batch);
        let (messages, rejected) = messages(&queries, &emission, FORM).unwrap();
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(ids, ["q/7/0", "q/7/2"]);
        let detail = "too large: 20001 bytes of at most 20000".to_string();
        assert_eq!(messages[1].bytes(), FORM.bytes_max);
        assert_eq!(rejected, [Rejection { query: "q".to_string(), row: 1, detail }]);
    }

    #[test]
    fn a_dead_letter_always_fits() {
        let letter = |length: usize| DeadLetter {
            log: LogId::new("s", "0"),
            position: Position::from_offset(7),
            arrival: WallMs(0),
            reason: DeadReason::Undecodable { detail: "\n".repeat(length) },
            raw: Some(RawBytes::of(b"{", 0)),
        };
        let dead_letters = vec![letter(1), letter(100_000)];
        let emission = Emission { dead_letters, ..emission(&[]) };
        let messages = of(&emission, None, FORM);
        assert_eq!(messages[0].key, "dead_letters/s/0");
        assert_eq!(messages[0].about, ("reason", "undecodable".to_string()));
        assert!(messages.iter().all(|message| message.bytes() <= FORM.bytes_max));
        let body: serde_json::Value = serde_json::from_slice(&messages[1].body).unwrap();
        assert_eq!(
            (body["id"].as_str(), body["shortened_length"].is_u64()),
            (Some("dead/7/1"), true)
        );
        // Letters of one shard need no order.
        assert_ne!(messages[0].order_key(), messages[1].order_key());
    }
}
