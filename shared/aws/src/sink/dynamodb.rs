//! Results in a DynamoDB table, under their query's key and window: effectively once.
//!
//! | | `pk` | `sk` |
//! |---|---|---|
//! | rows that their columns tell apart ([`ResultKey`](tidemill_plan::ResultKey)) | `{query}/{key values}` | `{window_start}/{window_end}` |
//! | other rows | `{query}/{window_start}`, or `{query}/{epoch}` where the output has no window | the result's id |
//! | dead letters | `dead_letters/{stream}/{shard}`, `dead_letters/{query}` | `{epoch}/{n}`, fixed width |
//!
//! Times are as in JSON lines, so that text order is time order. Attributes: `result_id` and one per
//! column that is not null ([`attribute`]); for results that can change `result_epoch`; for dead letters
//! `reason` and `letter`, its JSON.
//!
//! # Invariants
//! 1. A replay writes the same items under the same keys.
//! 2. Results that cannot change need no condition: a window's are computed once, so whoever writes
//!    a key, however late, writes the value that it has. Those that can are [`guarded`].
//! 3. No two items of one request have one key, which DynamoDB refuses: the last one is kept.

mod attribute;
mod guarded;

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use tidemill_flow::emit::{Letter, json, result_id};
use tidemill_flow::ports::{Emission, QueryResults, Rejection, Sink, SinkError, Taken};
use tidemill_model::Epoch;
use tidemill_model::limits::ITEM_BYTES_MAX;

use self::attribute::{attribute, bytes_of};
use self::guarded::Guarded;
use super::failure::{Place, checked};
use super::rows::{KeyReader, Queries, Query};
use crate::batches::{Bounds, Entry, Refused, Transport, send_all};
use crate::store::table;
use crate::{Aws, Fault};

/// Names that an item has beside the query's columns.
pub(super) const RESERVED: [&str; 4] = [PK, SK, RESULT_ID, RESULT_EPOCH];
const PK: &str = "pk";
const SK: &str = "sk";
const RESULT_ID: &str = "result_id";
/// The epoch of a row that later ones may replace.
const RESULT_EPOCH: &str = "result_epoch";
/// Longest partition key, bytes. (Sort keys, 1024 bytes, are times or ids, far shorter.)
const PK_BYTES_MAX: usize = 2048;
/// A request takes 25 items and 16 MiB; less is answered sooner.
const BOUNDS: Bounds = Bounds { entries: 25, bytes: 4 * 1024 * 1024, at_once: 8 };
/// Longest dead letter: leaves room for keys and other attributes in an item.
const LETTER_BYTES_MAX: usize = ITEM_BYTES_MAX - 16 * 1024;

/// The sink.
pub(super) struct DynamoSink {
    client: Client,
    table: String,
    place: Place,
    queries: Queries,
}

/// One item with its keys.
pub(super) struct Item {
    pk: String,
    sk: String,
    request: WriteRequest,
    /// For rows that later epochs may replace: theirs, the newest that may be there.
    newest: Option<Epoch>,
}

impl DynamoSink {
    pub(super) fn new(aws: &Aws, sink: &str, table: &str, queries: Queries) -> DynamoSink {
        let place = Place {
            sink: sink.to_string(),
            what: format!("table `{table}`"),
            action: "dynamodb:BatchWriteItem",
        };
        DynamoSink { client: Client::new(aws.sdk()), table: table.to_string(), place, queries }
    }

    /// Whether the table is there and has the keys.
    pub(super) async fn check(&self) -> Option<Fault> {
        let answer = self.client.describe_table().table_name(&self.table).send().await;
        checked(&self.place, answer, |answer| {
            let description = answer.table?;
            (!table::has_keys(&description)).then(|| {
                let Place { sink, what, .. } = &self.place;
                Fault::new(
                    format!("{what} of sink `{sink}` has other keys than results are kept under"),
                    "create a table whose partition key is `pk` and whose sort key is `sk`, both \
                     strings, and name it in the pipeline file",
                )
            })
        })
    }

    fn results(
        &self,
        results: &QueryResults,
        epoch: Epoch,
        items: &mut Vec<Entry<Item>>,
        rejected: &mut Vec<Rejection>,
    ) -> Result<(), String> {
        let Some(query) = self.queries.get(&results.query) else {
            return Err(format!("it does not know query `{}`", results.query));
        };
        let keys = KeyReader::new(query, &results.batch);
        let schema = results.batch.schema_ref();
        for row in 0..results.batch.num_rows() {
            let id = result_id(&query.name, epoch, row);
            let (pk, sk) = table_key(query, &keys, row, epoch, &id);
            let mut item = Draft::new(pk, sk, id);
            if query.can_change {
                item.guard(epoch);
            }
            for (field, column) in schema.fields().iter().zip(results.batch.columns()) {
                if column.is_valid(row) {
                    item.add(field.name(), attribute(column.as_ref(), row));
                }
            }
            match item.unfit() {
                Some(detail) => {
                    rejected.push(Rejection { query: query.name.clone(), row, detail });
                }
                None => items.push(item.finish().map_err(|error| error.to_string())?),
            }
        }
        Ok(())
    }
}

/// Where a row is kept.
fn table_key(
    query: &Query,
    keys: &KeyReader<'_>,
    row: usize,
    epoch: Epoch,
    id: &str,
) -> (String, String) {
    match (keys.key(row), keys.start(row), keys.end(row)) {
        (Some(key), Some(start), Some(end)) => {
            (key, format!("{}/{}", json::time_text(start), json::time_text(end)))
        }
        (_, Some(start), _) => {
            (format!("{}/{}", query.name, json::time_text(start)), id.to_string())
        }
        _ => (format!("{}/{epoch}", query.name), id.to_string()),
    }
}

/// An item as it grows.
struct Draft {
    pk: String,
    sk: String,
    put: aws_sdk_dynamodb::types::builders::PutRequestBuilder,
    bytes: usize,
    newest: Option<Epoch>,
}

impl Draft {
    fn new(pk: String, sk: String, id: String) -> Draft {
        let mut draft = Draft { pk, sk, put: PutRequest::builder(), bytes: 0, newest: None };
        draft.add(PK, AttributeValue::S(draft.pk.clone()));
        draft.add(SK, AttributeValue::S(draft.sk.clone()));
        draft.add(RESULT_ID, AttributeValue::S(id));
        draft
    }

    /// Lets nothing newer than `epoch` be overwritten.
    fn guard(&mut self, epoch: Epoch) {
        self.newest = Some(epoch);
        self.add(RESULT_EPOCH, AttributeValue::N(epoch.0.to_string()));
    }

    fn add(&mut self, name: &str, value: AttributeValue) {
        self.bytes += name.len() + bytes_of(&value);
        self.put = std::mem::take(&mut self.put).item(name, value);
    }

    /// Why no table can take it.
    fn unfit(&self) -> Option<String> {
        let too_large = |what: &str, bytes: usize, most: usize| {
            (bytes > most).then(|| format!("{what} too large: {bytes} bytes of at most {most}"))
        };
        too_large("partition key", self.pk.len(), PK_BYTES_MAX)
            .or_else(|| too_large("item", self.bytes, ITEM_BYTES_MAX))
    }

    fn finish(self) -> Result<Entry<Item>, BuildError> {
        let Draft { pk, sk, put, bytes, newest } = self;
        let request = WriteRequest::builder().put_request(put.build()?).build();
        // The length says where one ends and the other begins.
        let key = format!("{}:{pk}{sk}", pk.len());
        Ok(Entry { key, bytes, item: Item { pk, sk, request, newest } })
    }
}

fn letter(letter: &Letter<'_>) -> Result<Entry<Item>, BuildError> {
    let mut line = Vec::new();
    letter.write_within(LETTER_BYTES_MAX, &mut line);
    line.pop();
    let pk = format!("dead_letters/{}", letter.origin());
    let sk = format!("{}/{:010}", letter.epoch.to_key(), letter.n);
    let mut item = Draft::new(pk, sk, letter.id());
    item.add("reason", AttributeValue::S(letter.reason().to_string()));
    item.add("letter", AttributeValue::S(String::from_utf8_lossy(&line).into_owned()));
    item.finish()
}

/// The last item of each key.
fn deduplicated(items: Vec<Entry<Item>>) -> Vec<Entry<Item>> {
    let last: BTreeMap<String, Entry<Item>> =
        items.into_iter().map(|item| (item.key.clone(), item)).collect();
    last.into_values().collect()
}

#[async_trait]
impl Sink for DynamoSink {
    async fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let (mut items, mut rejected) = (Vec::new(), Vec::new());
        for results in &emission.results {
            self.results(results, emission.epoch, &mut items, &mut rejected)
                .map_err(|reason| self.place.down(reason))?;
        }
        for dead in emission.letters() {
            items.push(letter(&dead).map_err(|error| self.place.down(error))?);
        }
        let (guarded, plain): (Vec<_>, Vec<_>) =
            deduplicated(items).into_iter().partition(|entry| entry.item.newest.is_some());
        send_all(&Guarded::new(self), guarded::BOUNDS, &guarded).await?;
        send_all(self, BOUNDS, &plain).await?;
        Ok(Taken { state: Vec::new(), rejected })
    }
}

#[async_trait]
impl Transport for DynamoSink {
    type Item = Item;
    type Error = SinkError;

    async fn send(&self, batch: &[&Entry<Item>]) -> Result<Vec<Refused>, SinkError> {
        let requests = batch.iter().map(|entry| entry.item.request.clone()).collect();
        let request = self.client.batch_write_item().request_items(&self.table, requests);
        let answer = request.send().await.map_err(|error| self.place.failed(&error))?;
        let unprocessed = answer.unprocessed_items.unwrap_or_default();
        let refused = unprocessed.into_values().flatten().map(|request| {
            let put = request.put_request.as_ref();
            let text = |name| put.and_then(|put| put.item.get(name)?.as_s().ok());
            let (pk, sk) = (text(PK), text(SK));
            let same =
                |entry: &&Entry<Item>| Some(&entry.item.pk) == pk && Some(&entry.item.sk) == sk;
            let index = batch.iter().position(same).ok_or_else(|| {
                self.place.down("the answer is not about the items that were sent")
            })?;
            Ok(Refused { index, said: "unprocessed".to_string() })
        });
        refused.collect()
    }

    fn stuck(&self, said: &str) -> SinkError {
        self.place.stuck(said)
    }
}

#[cfg(test)]
mod tests;
