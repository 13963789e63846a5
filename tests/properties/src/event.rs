//! Events of the test streams: as JSON for the verbs, as columns for the oracle.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::ScalarValue;

/// One event. Every column but the event time and the id may be null.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// A number that no other event of the script has.
    pub id: i64,
    /// Event time, milliseconds.
    pub ts: i64,
    /// A key.
    pub k: Option<String>,
    /// A second key.
    pub g: Option<i32>,
    /// A small integer.
    pub i: Option<i64>,
    /// A float.
    pub f: Option<f64>,
    /// A text.
    pub s: Option<String>,
    /// A boolean.
    pub b: Option<bool>,
    /// A date, days since the epoch.
    pub d: Option<i32>,
    /// A decimal(12, 2), in hundredths.
    pub dec: Option<i64>,
    /// Another time, milliseconds.
    pub t: Option<i64>,
}

/// The columns of both test streams, as a pipeline file spells them.
pub const COLUMNS: &str = r#"{ id = "bigint", ts = "timestamp_ms", k = "string", g = "int", i = "bigint", f = "double", s = "string", b = "boolean", d = "date", dec = "decimal(12, 2)", t = "timestamp_ms" }"#;

impl Event {
    /// The event as one line of JSON. Columns that are null are left out, or written as null.
    pub fn to_json(&self) -> String {
        let mut json = format!("{{\"id\":{},\"ts\":{}", self.id, self.ts);
        let mut member = |name: &str, value: Option<String>| {
            let value = value.or_else(|| (self.id % 2 == 0).then(|| "null".to_string()));
            if let Some(value) = value {
                let _ = write!(json, ",\"{name}\":{value}");
            }
        };
        let text = |text: &str| serde_json::Value::from(text).to_string();
        member("k", self.k.as_deref().map(text));
        member("g", self.g.map(|g| g.to_string()));
        member("i", self.i.map(|i| i.to_string()));
        member(
            "f",
            self.f.map(|f| match f.is_finite() {
                true => format!("{f:?}"),
                false => text(if f.is_nan() {
                    "NaN"
                } else if f > 0.0 {
                    "Infinity"
                } else {
                    "-Infinity"
                }),
            }),
        );
        member("s", self.s.as_deref().map(text));
        member("b", self.b.map(|b| b.to_string()));
        let date = |days: i32| {
            ScalarValue::Date32(Some(days)).cast_to(&DataType::Utf8).unwrap().to_string()
        };
        member("d", self.d.map(|d| text(&date(d))));
        member(
            "dec",
            self.dec.map(|cents| {
                let sign = if cents < 0 { "-" } else { "" };
                format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
            }),
        );
        member("t", self.t.map(|t| t.to_string()));
        json.push('}');
        json
    }
}

/// The columns of these events as the oracle's tables have them.
pub fn columns(events: &[&Event]) -> Vec<(Field, ArrayRef)> {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, None);
    let field = |name: &str, data_type: DataType, nullable| Field::new(name, data_type, nullable);
    let of = |events: &[&Event], time: fn(&Event) -> Option<i64>| -> ArrayRef {
        Arc::new(events.iter().map(|e| time(e)).collect::<TimestampMillisecondArray>())
    };
    let cents = events.iter().map(|e| e.dec.map(i128::from)).collect::<Decimal128Array>();
    vec![
        (
            field("id", DataType::Int64, true),
            Arc::new(events.iter().map(|e| Some(e.id)).collect::<Int64Array>()),
        ),
        (field("ts", time(), false), of(events, |e| Some(e.ts))),
        (
            field("k", DataType::Utf8, true),
            Arc::new(events.iter().map(|e| e.k.as_deref()).collect::<StringArray>()),
        ),
        (
            field("g", DataType::Int32, true),
            Arc::new(events.iter().map(|e| e.g).collect::<Int32Array>()),
        ),
        (
            field("i", DataType::Int64, true),
            Arc::new(events.iter().map(|e| e.i).collect::<Int64Array>()),
        ),
        (
            field("f", DataType::Float64, true),
            Arc::new(events.iter().map(|e| e.f).collect::<Float64Array>()),
        ),
        (
            field("s", DataType::Utf8, true),
            Arc::new(events.iter().map(|e| e.s.as_deref()).collect::<StringArray>()),
        ),
        (
            field("b", DataType::Boolean, true),
            Arc::new(events.iter().map(|e| e.b).collect::<BooleanArray>()),
        ),
        (
            field("d", DataType::Date32, true),
            Arc::new(events.iter().map(|e| e.d).collect::<Date32Array>()),
        ),
        (
            field("dec", DataType::Decimal128(12, 2), true),
            Arc::new(cents.with_precision_and_scale(12, 2).unwrap()),
        ),
        (field("t", time(), true), of(events, |e| e.t)),
    ]
}
