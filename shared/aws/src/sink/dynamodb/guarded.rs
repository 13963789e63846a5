//! Writes of rows that later epochs may replace or withdraw: one by one, each under the condition
//! that the table holds nothing newer.
//!
//! # Invariants
//! 1. A row is written over one of its own epoch (a repetition, which is equal) or of an older one,
//!    never over a newer one: an advance that stalled while another took over changes nothing.
//! 2. A row that is withdrawn leaves its item, without the columns that are null then. Were the
//!    item deleted, a stalled writer of an older epoch would find nothing newer and bring it back.

use async_trait::async_trait;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use tidemill_flow::ports::SinkError;

use super::super::failure::Place;
use super::{DynamoSink, Item, RESULT_EPOCH};
use crate::batches::{Bounds, Entry, Refused, Transport};

/// A request holds one item, so many are under way at once.
pub(super) const BOUNDS: Bounds = Bounds { entries: 1, bytes: usize::MAX, at_once: 64 };
const CONDITION: &str = "attribute_not_exists(#epoch) OR #epoch <= :epoch";

/// The table, for writes with the condition.
pub(super) struct Guarded<'a> {
    sink: &'a DynamoSink,
    place: Place,
}

impl<'a> Guarded<'a> {
    pub(super) fn new(sink: &'a DynamoSink) -> Guarded<'a> {
        let place = Place { action: "dynamodb:PutItem", ..sink.place.clone() };
        Guarded { sink, place }
    }

    /// Writes one item; `Some`: the table is too busy, and said this.
    async fn put(&self, item: &Item) -> Result<Option<String>, SinkError> {
        let attributes = item.request.put_request.as_ref().map(|put| put.item.clone());
        let (Some(attributes), Some(epoch)) = (attributes, item.newest) else {
            return Err(self.place.down("an item without an epoch cannot be guarded"));
        };
        let request = self.sink.client.put_item().table_name(&self.sink.table);
        let request = request.set_item(Some(attributes)).condition_expression(CONDITION);
        let request = request.expression_attribute_names("#epoch", RESULT_EPOCH);
        let request =
            request.expression_attribute_values(":epoch", AttributeValue::N(epoch.0.to_string()));
        let Err(error) = request.send().await else { return Ok(None) };
        match error.as_service_error().and_then(ProvideErrorMetadata::code) {
            // What is there is newer.
            Some("ConditionalCheckFailedException") => Ok(None),
            Some(
                code @ ("ProvisionedThroughputExceededException"
                | "ThrottlingException"
                | "RequestLimitExceeded"),
            ) => Ok(Some(code.to_string())),
            _ => Err(self.place.failed(&error)),
        }
    }
}

#[async_trait]
impl Transport for Guarded<'_> {
    type Item = Item;
    type Error = SinkError;

    async fn send(&self, batch: &[&Entry<Item>]) -> Result<Vec<Refused>, SinkError> {
        let mut refused = Vec::new();
        for (index, entry) in batch.iter().enumerate() {
            refused.extend(self.put(&entry.item).await?.map(|said| Refused { index, said }));
        }
        Ok(refused)
    }

    fn stuck(&self, said: &str) -> SinkError {
        self.place.stuck(said)
    }
}
