//! What every sink needs of a result row: the key that it belongs to, and its window.
//!
//! A key is text, `{query}/{value}/{value}`: the values of the query's group-by columns as the JSON
//! output has them, without quotes. `%` and `/` in a value are written `%25` and `%2F`, and NULL is
//! `%NULL`, so that no two keys have one text.

use std::collections::BTreeMap;

use arrow::array::types::TimestampMillisecondType;
use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use tidemill_flow::emit::json;
use tidemill_model::EventMs;
use tidemill_plan::{Edge, QueryPlan, ResultKey};

/// A query as its sink knows it.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// Its name.
    pub(super) name: String,
    /// What tells its rows apart.
    pub(super) key: ResultKey,
    /// Schema of its rows.
    pub(super) schema: SchemaRef,
    /// Whether a row can replace or withdraw one of an earlier epoch.
    pub(super) can_change: bool,
}

impl From<&QueryPlan> for Query {
    fn from(plan: &QueryPlan) -> Query {
        let (name, key) = (plan.name.clone(), plan.result_key().clone());
        Query { name, key, schema: plan.output.clone(), can_change: plan.revisions.is_some() }
    }
}

/// A sink's queries, by name.
pub(super) type Queries = BTreeMap<String, Query>;

/// Reads keys and windows of the rows of one batch.
pub(super) struct KeyReader<'a> {
    query: &'a str,
    columns: Option<Vec<&'a dyn Array>>,
    start: Option<Times<'a>>,
    end: Option<Times<'a>>,
}

impl<'a> KeyReader<'a> {
    /// A reader of `batch`, which has the query's schema.
    pub(super) fn new(query: &'a Query, batch: &'a RecordBatch) -> KeyReader<'a> {
        let of = |edge: Option<Edge>| edge.and_then(|edge| Times::new(edge, batch));
        let column = |index: &usize| batch.column(*index).as_ref();
        KeyReader {
            query: &query.name,
            columns: query.key.columns.as_ref().map(|it| it.iter().map(column).collect()),
            start: of(query.key.start),
            end: of(query.key.end),
        }
    }

    /// The row's key, when no other row of its window has it.
    pub(super) fn key(&self, row: usize) -> Option<String> {
        let columns = self.columns.as_ref()?;
        let mut key = self.query.to_string();
        for column in columns {
            key.push('/');
            push_value(&mut key, *column, row);
        }
        Some(key)
    }

    /// The start of the row's window.
    pub(super) fn start(&self, row: usize) -> Option<EventMs> {
        self.start.as_ref()?.at(row)
    }

    /// The end of the row's window.
    pub(super) fn end(&self, row: usize) -> Option<EventMs> {
        self.end.as_ref()?.at(row)
    }
}

/// One end of every row's window.
struct Times<'a> {
    column: &'a PrimitiveArray<TimestampMillisecondType>,
    plus_ms: i64,
}

impl<'a> Times<'a> {
    fn new(edge: Edge, batch: &'a RecordBatch) -> Option<Times<'a>> {
        let column = batch.column(edge.column).as_primitive_opt::<TimestampMillisecondType>()?;
        Some(Times { column, plus_ms: edge.plus_ms })
    }

    fn at(&self, row: usize) -> Option<EventMs> {
        let is_there = self.column.is_valid(row);
        is_there.then(|| EventMs(self.column.value(row).saturating_add(self.plus_ms)))
    }
}

/// Appends a value of a key.
fn push_value(key: &mut String, column: &dyn Array, row: usize) {
    if column.is_null(row) {
        return key.push_str("%NULL");
    }
    for character in text(column, row).chars() {
        match character {
            '%' => key.push_str("%25"),
            '/' => key.push_str("%2F"),
            other => key.push(other),
        }
    }
}

/// A value as the JSON output has it; texts, times and what else is quoted there without quotes.
pub(super) fn text(column: &dyn Array, row: usize) -> String {
    let mut value = Vec::new();
    json::write_value(column, row, &mut value);
    match value.first() {
        Some(b'"') => serde_json::from_slice(&value).unwrap_or_default(),
        _ => String::from_utf8_lossy(&value).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray,
    };

    use super::*;

    #[test]
    fn keys_tell_all_values_apart() {
        let texts = vec![Some("a"), Some("a/b"), Some("%NULL"), None, Some(""), Some("\"\n")];
        let numbers = vec![Some(-7), None, Some(0), Some(1), Some(2), Some(3)];
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("k", Arc::new(StringArray::from(texts)) as ArrayRef, true),
            ("n", Arc::new(Int64Array::from(numbers)), true),
            ("x", Arc::new(Float64Array::from(vec![f64::NAN; 6])), true),
        ])
        .unwrap();
        let key = ResultKey { columns: Some(vec![1, 0]), start: None, end: None };
        let query = Query { name: "q".to_string(), key, schema: batch.schema(), can_change: false };
        let reader = KeyReader::new(&query, &batch);
        let keys: Vec<String> = (0..6).filter_map(|row| reader.key(row)).collect();
        let expected = ["q/-7/a", "q/%NULL/a%2Fb", "q/0/%25NULL", "q/1/%NULL", "q/2/", "q/3/\"\n"];
        assert_eq!(keys, expected);
        assert_eq!(text(batch.column(2).as_ref(), 0), "NaN");
        assert_eq!(reader.start(0), None);
    }

    #[test]
    fn a_query_without_keys_has_one_key() {
        let at = Arc::new(TimestampMillisecondArray::from(vec![Some(60_000), None])) as ArrayRef;
        let batch = RecordBatch::try_from_iter_with_nullable([("at", at, true)]).unwrap();
        let edge = |plus_ms| Some(Edge { column: 0, plus_ms });
        let key = ResultKey { columns: Some(vec![]), start: edge(-60_000), end: edge(0) };
        let query = Query { name: "q".to_string(), key, schema: batch.schema(), can_change: false };
        let reader = KeyReader::new(&query, &batch);
        assert_eq!(reader.key(0).unwrap(), "q");
        assert_eq!((reader.start(0), reader.end(0)), (Some(EventMs(0)), Some(EventMs(60_000))));
        assert_eq!((reader.start(1), reader.end(1)), (None, None));
    }
}
