//! The state in a DynamoDB table.
//!
//! # Layout
//! ```text
//! pk  S          sk  S          value  B       expires_at  N (seconds since 1970; may be absent)
//! partition key  sort key       the value      the table's TTL attribute
//! ```
//!
//! # Invariants
//! 1. Create-if-absent is one conditional put, `attribute_not_exists(pk)`; reads are strongly
//!    consistent.
//! 2. *Refused* is said only when no attempt can have written: see `failure` and `attempts`.
//! 3. A call ends within [`TOTAL`] and one attempt, however often DynamoDB throttles: a writer that
//!    stalls is bounded far below `REQUEST_LINGER_MS`.
//! 4. An item that has expired and is not yet deleted is an item like any other: DynamoDB deletes
//!    within days, and the tail of a log must not depend on when.
//!
//! The SDK's own retries are off: they would report the last attempt only, and "throttled" after a
//! timeout is not "certainly not written".
//!
//! Not here: what the items mean (`flow`), the contract (`tidemill_model::store`).

mod attempts;
mod consumed;
mod failure;
mod layout;
pub(crate) mod table;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Config;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tidemill_model::WallMs;
use tidemill_model::limits::REQUEST_LINGER_MS;
use tidemill_model::store::{Item, Limits, Put, Row, Store, StoreError};

use crate::{Aws, Fault};
use attempts::Patience;
pub use consumed::Consumed;
use consumed::Counter;
use failure::{Call, Failure, Kind, Operation};
use layout::Attributes;

/// Longest wait for the answer to one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);
/// After this long no further attempt begins.
const TOTAL: Duration = Duration::from_secs(20);

const _: () = assert!((TOTAL.as_millis() + ATTEMPT.as_millis()) * 10 < REQUEST_LINGER_MS as u128);

/// A store in a DynamoDB table. A clone is another handle of the same store.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    table: Arc<str>,
    patience: Patience,
    counter: Option<Arc<Counter>>,
}

impl DynamoStore {
    /// The store in `table`. Sends no request: [`DynamoStore::check`] does.
    pub fn new(aws: &Aws, table: &str) -> DynamoStore {
        DynamoStore::with_patience(aws, table, ATTEMPT, Patience::new(TOTAL))
    }

    fn with_patience(aws: &Aws, table: &str, attempt: Duration, patience: Patience) -> DynamoStore {
        let timeouts =
            aws.sdk().timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let timeouts = timeouts.operation_attempt_timeout(attempt).build();
        let config = Config::from(aws.sdk())
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        let client = Client::from_conf(config);
        DynamoStore { client, table: table.into(), patience, counter: None }
    }

    /// The same store, which counts requests and asks DynamoDB what each of them costs.
    pub fn counting(mut self) -> DynamoStore {
        self.counter = Some(Arc::new(Counter::default()));
        self
    }

    /// What this store and its clones have asked for since [`DynamoStore::counting`]; `None`
    /// without it.
    pub fn consumed(&self) -> Option<Consumed> {
        self.counter.as_ref().map(|counter| counter.read())
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Whether the table is there and has the keys that a state table has.
    pub async fn check(&self) -> Result<(), Fault> {
        table::check(&self.client, &self.table, &self.patience).await
    }

    /// Creates the table on an emulator, if it is absent: on demand, with TTL. Elsewhere a template
    /// makes it, with recovery and encryption.
    pub async fn create_table(&self) -> Result<(), Fault> {
        table::create(&self.client, &self.table).await
    }

    fn call<'a>(&'a self, operation: Operation, pk: &'a str, sk: &'a str) -> Call<'a> {
        Call { operation, table: &self.table, pk, sk, bytes: 0 }
    }

    fn wanted_capacity(&self) -> Option<ReturnConsumedCapacity> {
        self.counter.as_ref().map(|_| ReturnConsumedCapacity::Total)
    }

    /// One page of a query: rows, and where the next page begins if there may be more.
    async fn page(&self, page: Page<'_>) -> Result<(Vec<Row>, Option<Attributes>), StoreError> {
        let call = self.call(Operation::Query, page.pk, page.from_sk.unwrap_or_default());
        let key = |key: &str| AttributeValue::S(layout::key(key));
        let mut query = self
            .client
            .query()
            .table_name(&*self.table)
            .consistent_read(true)
            .scan_index_forward(page.forward)
            .limit(page.items)
            .set_exclusive_start_key(page.begin)
            .set_return_consumed_capacity(self.wanted_capacity())
            .expression_attribute_values(":pk", key(page.pk));
        query = match page.from_sk {
            Some(from_sk) => query
                .key_condition_expression("pk = :pk AND sk >= :sk")
                .expression_attribute_values(":sk", key(from_sk)),
            None => query.key_condition_expression("pk = :pk"),
        };
        let answer = self
            .send(&call, || query.clone().send())
            .await
            .map_err(|failure| failure.of_a_read(&call))?;
        self.count_units(answer.consumed_capacity(), Operation::Query);
        let rows = answer.items.unwrap_or_default();
        let rows: Result<Vec<Row>, _> =
            rows.into_iter().map(|item| layout::row_of(&call, item)).collect();
        Ok((rows?, answer.last_evaluated_key))
    }

    async fn send<T, E, F>(&self, call: &Call<'_>, send: impl Fn() -> F) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let attempt = || {
            let sent = send();
            async move {
                if let Some(counter) = &self.counter {
                    counter.request();
                }
                sent.await.map_err(|error| Failure::of(&error, call))
            }
        };
        self.patience.attempts(attempt).await
    }

    fn count_units(&self, capacity: Option<&ConsumedCapacity>, operation: Operation) {
        let units = capacity.and_then(|capacity| capacity.capacity_units());
        if let (Some(counter), Some(units)) = (&self.counter, units) {
            counter.units(operation, units);
        }
    }
}

/// What one request for rows asks.
struct Page<'a> {
    pk: &'a str,
    from_sk: Option<&'a str>,
    /// What the page before ended with.
    begin: Option<Attributes>,
    items: i32,
    forward: bool,
}

#[async_trait]
impl Store for DynamoStore {
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
        let call = Call { bytes: item.bytes.len(), ..self.call(Operation::Put, pk, sk) };
        let put = self
            .client
            .put_item()
            .table_name(&*self.table)
            .set_item(Some(layout::item(pk, sk, item)))
            .condition_expression("attribute_not_exists(pk)")
            .set_return_consumed_capacity(self.wanted_capacity());
        let answer = self.send(&call, || put.clone().send()).await;
        match answer {
            Ok(answer) => {
                self.count_units(answer.consumed_capacity(), Operation::Put);
                Ok(Put::Created)
            }
            // Perhaps our own put, from an attempt whose answer was lost: callers read back.
            Err(Failure { kind: Kind::ConditionFailed, .. }) => Ok(Put::AlreadyExists),
            Err(failure) => Err(failure.of_a_write(&call)),
        }
    }

    /// DynamoDB reads pages of 1 MB, and so up to that much past a limit of bytes.
    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut bytes = 0usize;
        let mut begin = None;
        loop {
            let items = limits.items.saturating_sub(rows.len());
            let page = Page {
                pk,
                from_sk: Some(from_sk),
                begin,
                items: i32::try_from(items).unwrap_or(i32::MAX),
                forward: true,
            };
            let (found, next) = self.page(page).await?;
            for row in found {
                bytes = bytes.saturating_add(row.item.bytes.len());
                rows.push(row);
                if rows.len() >= limits.items || bytes >= limits.bytes {
                    return Ok(rows);
                }
            }
            // A page may be empty without being the last.
            if next.is_none() {
                return Ok(rows);
            }
            begin = next;
        }
    }

    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
        let page = Page { pk, from_sk: None, begin: None, items: 1, forward: false };
        let (rows, _) = self.page(page).await?;
        Ok(rows.into_iter().next())
    }

    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
        let call = self.call(Operation::Update, pk, sk);
        let update = self
            .client
            .update_item()
            .table_name(&*self.table)
            .key(layout::PK, AttributeValue::S(layout::key(pk)))
            .key(layout::SK, AttributeValue::S(layout::key(sk)))
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET expires_at = :at")
            .expression_attribute_values(":at", layout::expiry(at))
            .set_return_consumed_capacity(self.wanted_capacity());
        let answer = self.send(&call, || update.clone().send()).await;
        match answer {
            Ok(answer) => {
                self.count_units(answer.consumed_capacity(), Operation::Update);
                Ok(())
            }
            Err(Failure { kind: Kind::ConditionFailed, .. }) => Ok(()),
            Err(failure) => Err(failure.of_a_write(&call)),
        }
    }
}

#[cfg(test)]
mod tests;
