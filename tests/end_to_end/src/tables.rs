//! DynamoDB tables as a test makes them and looks them up.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::{Api, ApiError};

/// A row: attributes as plain JSON.
pub type Row = Map<String, Value>;

/// The tables of one DynamoDB.
pub struct Tables {
    api: Api,
}

impl Tables {
    /// Those behind `api`.
    pub fn new(api: Api) -> Tables {
        Tables { api }
    }

    /// Makes a table with the keys `pk` and `sk`, texts, as the template does.
    pub fn create(&self, name: &str) {
        self.create_with_keys(name, &[("pk", "HASH", "S"), ("sk", "RANGE", "S")]);
    }

    /// Makes a table with other keys: (name, `HASH` or `RANGE`, type).
    pub fn create_with_keys(&self, name: &str, keys: &[(&str, &str, &str)]) {
        let attributes = keys
            .iter()
            .map(|(name, _, kind)| json!({ "AttributeName": name, "AttributeType": kind }));
        let schema =
            keys.iter().map(|(name, role, _)| json!({ "AttributeName": name, "KeyType": role }));
        self.api.must(
            "CreateTable",
            &json!({
                "TableName": name,
                "AttributeDefinitions": attributes.collect::<Vec<_>>(),
                "KeySchema": schema.collect::<Vec<_>>(),
                "BillingMode": "PAY_PER_REQUEST",
            }),
        );
    }

    /// Takes a table away.
    pub fn delete(&self, name: &str) {
        self.api.must("DeleteTable", &json!({ "TableName": name }));
    }

    /// All rows.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut input = json!({ "TableName": table, "ConsistentRead": true });
        loop {
            let output = self.api.must("Scan", &input);
            rows.extend(output["Items"].as_array().into_iter().flatten().map(row_of));
            match output.get("LastEvaluatedKey") {
                Some(key) if !key.is_null() => input["ExclusiveStartKey"] = key.clone(),
                _ => return rows,
            }
        }
    }

    /// The rows of one partition key, or why they cannot be read now.
    pub fn rows_of(&self, table: &str, pk: &str) -> Result<Vec<Row>, ApiError> {
        let mut rows = Vec::new();
        let mut input = json!({
            "TableName": table,
            "ConsistentRead": true,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": { ":pk": { "S": pk } },
        });
        loop {
            let output = self.api.call("Query", &input)?;
            rows.extend(output["Items"].as_array().into_iter().flatten().map(row_of));
            match output.get("LastEvaluatedKey") {
                Some(key) if !key.is_null() => input["ExclusiveStartKey"] = key.clone(),
                _ => return Ok(rows),
            }
        }
    }

    /// How many rows there are.
    pub fn count(&self, table: &str) -> usize {
        self.rows(table).len()
    }
}

/// An item's attributes as plain JSON. Numbers are numbers, binary is base64 text.
fn row_of(item: &Value) -> Row {
    let attributes = item.as_object().into_iter().flatten();
    attributes.map(|(name, value)| (name.clone(), plain(value))).collect()
}

fn plain(attribute: &Value) -> Value {
    let Some((kind, value)) = attribute.as_object().and_then(|tagged| tagged.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "N" => value
            .as_str()
            .and_then(|digits| serde_json::from_str(digits).ok())
            .unwrap_or_else(|| value.clone()),
        "NULL" => Value::Null,
        "L" => value.as_array().into_iter().flatten().map(plain).collect(),
        "M" => Value::Object(row_of(value)),
        _ => value.clone(),
    }
}

/// Rows by what they say: as sorted texts, without the attributes that are only a table's
/// (`pk`, `sk`, `result_id`) and without nulls, so that rows of a table and of a file compare.
pub fn contents(rows: &[Row]) -> Vec<String> {
    let mut texts: Vec<String> = rows
        .iter()
        .map(|row| {
            let members: BTreeMap<&String, &Value> = row
                .iter()
                .filter(|(name, value)| {
                    !["pk", "sk", "result_id"].contains(&name.as_str()) && !value.is_null()
                })
                .collect();
            json!(members).to_string()
        })
        .collect();
    texts.sort_unstable();
    texts
}

/// Whether a row of results that change tells that there is no such row any more.
pub fn is_deleted(row: &Row) -> bool {
    row.get("op").is_some_and(|op| op == "delete")
}

/// Of rows of results that change, those that are there, without what tells how they changed.
pub fn current<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<Row> {
    let there = rows.into_iter().filter(|row| !is_deleted(row)).cloned();
    let plain = |mut row: Row| {
        row.retain(|name, _| {
            !["op", "revision", "timing", "result_epoch"].contains(&name.as_str())
        });
        row
    };
    there.map(plain).collect()
}

/// What differs between two sorted lists of texts: those only in the one, those only in the other.
/// Empty when they are equal, also in how often a text is there.
pub fn differences(found: &[String], wanted: &[String]) -> Vec<String> {
    let count = |texts: &[String]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for text in texts {
            *counts.entry(text.clone()).or_default() += 1;
        }
        counts
    };
    let (found, wanted) = (count(found), count(wanted));
    let mut differences = Vec::new();
    for text in found.keys().chain(wanted.keys().filter(|text| !found.contains_key(*text))) {
        let (have, want) = (found.get(text).unwrap_or(&0), wanted.get(text).unwrap_or(&0));
        if have != want {
            differences.push(format!("found {have} times, wanted {want} times: {text}"));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_become_plain_json() {
        let item = json!({
            "pk": { "S": "a" }, "n": { "N": "12" }, "nothing": { "NULL": true },
            "list": { "L": [{ "N": "1.5" }, { "BOOL": true }] },
        });
        let row = row_of(&item);
        assert_eq!(
            Value::Object(row.clone()),
            json!({
                "pk": "a", "n": 12, "nothing": null, "list": [1.5, true],
            })
        );
        assert_eq!(contents(&[row]), [r#"{"list":[1.5,true],"n":12}"#]);
    }

    #[test]
    fn deleted_rows_are_not_there() {
        let row = |op: &str, n: u64| {
            let row =
                json!({ "op": op, "revision": 3, "timing": "late", "result_epoch": 7, "n": n });
            row.as_object().unwrap().clone()
        };
        let rows = [row("delete", 1), row("upsert", 2)];
        assert_eq!(contents(&current(&rows)), [r#"{"n":2}"#]);
    }

    #[test]
    fn differences_count() {
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        assert!(differences(&texts(&["a", "b"]), &texts(&["b", "a"])).is_empty());
        assert_eq!(differences(&texts(&["a", "a"]), &texts(&["a", "c"])).len(), 2);
    }
}
