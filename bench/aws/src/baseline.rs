//! Two simple ways to keep windows in a DynamoDB table, exactly once, for comparison.
//!
//! Both keep one item per key and window, and in it the position of the newest record that counts
//! there: an update is conditional on that position being older, so a batch that Lambda delivers
//! again changes nothing. (With one writer per shard, as a Kinesis mapping has, and one shard.)
//!
//! - **per event**: one update for each event that counts.
//! - **per key and window**: a batch is aggregated first; one update for each key and window in it.
//!
//! Least and greatest cannot be kept by an update expression alone. The baselines write them as if
//! the process knew them, which costs nothing extra: they are cheaper than they could be.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Result;
use crate::case::{Case, Contribution, Reader};
use crate::dynamodb::Connection;

/// What was asked of DynamoDB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Events that it was for.
    pub(crate) events: usize,
    pub(crate) requests: f64,
    pub(crate) write_units: f64,
}

/// How a batch becomes updates.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    PerEvent,
    PerKeyAndWindow,
}

/// A table of windows.
pub(crate) struct Windows {
    connection: Connection,
    table: String,
    reader: Reader,
    position: u64,
}

impl Windows {
    /// An empty table of this name.
    pub(crate) fn create(url: &str, table: &str, case: &Case) -> Result<Windows> {
        let mut connection = Connection::open(url)?;
        connection.ask(
            "CreateTable",
            &json!({
                "TableName": table,
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
                "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
            }),
        )?;
        let reader = Reader::new(case)?;
        Ok(Windows { connection, table: table.to_string(), reader, position: 0 })
    }

    /// Takes a batch, and adds what it cost.
    pub(crate) fn batch(&mut self, lines: &[String], way: Way, cost: &mut Cost) -> Result<()> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for line in lines {
            self.position += 1;
            cost.events += 1;
            let Some(contribution) = self.reader.read(line) else { continue };
            match way {
                Way::PerEvent => {
                    let mut group = Group::default();
                    group.add(&contribution, self.position);
                    self.update(&contribution.key, &group, cost)?;
                }
                Way::PerKeyAndWindow => {
                    let group = groups.entry(contribution.key.clone()).or_default();
                    group.add(&contribution, self.position);
                }
            }
        }
        groups.iter().try_for_each(|(key, group)| self.update(key, group, cost))
    }

    fn update(&mut self, key: &str, group: &Group, cost: &mut Cost) -> Result<()> {
        let number = |number: String| json!({ "N": number });
        let mut expression = "ADD events :events SET upto = :upto".to_string();
        let mut values = BTreeMap::from([
            (":events", number(group.events.to_string())),
            (":upto", number(group.upto.to_string())),
        ]);
        if group.has_values {
            expression = "ADD events :events, added :added \
                          SET upto = :upto, least = :least, greatest = :greatest"
                .to_string();
            values.insert(":added", number(group.total.to_string()));
            values.insert(":least", number(group.least.to_string()));
            values.insert(":greatest", number(group.greatest.to_string()));
        }
        let answer = self.connection.ask(
            "UpdateItem",
            &json!({
                "TableName": self.table,
                "Key": { "pk": { "S": key } },
                "ConditionExpression": "attribute_not_exists(upto) OR upto < :upto",
                "UpdateExpression": expression,
                "ExpressionAttributeValues": values,
                "ReturnConsumedCapacity": "TOTAL",
            }),
        )?;
        cost.requests += 1.0;
        cost.write_units += units(&answer)?;
        Ok(())
    }
}

fn units(answer: &Value) -> Result<f64> {
    let units = answer["ConsumedCapacity"]["CapacityUnits"].as_f64();
    units.ok_or_else(|| format!("no consumed capacity in {answer}"))
}

/// What a batch adds to one window.
#[derive(Debug, Default)]
struct Group {
    events: u64,
    upto: u64,
    has_values: bool,
    total: f64,
    least: f64,
    greatest: f64,
}

impl Group {
    fn add(&mut self, contribution: &Contribution, position: u64) {
        self.events += 1;
        self.upto = position;
        if let Some(value) = contribution.value {
            let (least, greatest) = match self.has_values {
                true => (self.least, self.greatest),
                false => (value, value),
            };
            (self.least, self.greatest) = (least.min(value), greatest.max(value));
            self.total += value;
            self.has_values = true;
        }
    }
}
