//! CloudWatch's embedded metric format: one JSON line that is a log event and metrics at once.
//!
//! Written out by hand, forty lines on `serde_json`: the crates for it collect into a recorder of
//! the whole process, with state between invocations, where a function has the numbers of one
//! invocation in its hand.
//!
//! Format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::{Map, Value, json};
use tidemill_model::WallMs;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Tidemill";
/// The dimension that names the pipeline.
pub const PIPELINE: &str = "Pipeline";
/// The dimension that names the stream, beside [`PIPELINE`].
pub const STREAM: &str = "Stream";
/// Metrics that one document may have.
pub const METRICS_MAX: usize = 100;

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
}

/// Units, as CloudWatch spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `Count`
    Count,
    /// `Bytes`
    Bytes,
    /// `Milliseconds`
    Milliseconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Count => "Count",
            Unit::Bytes => "Bytes",
            Unit::Milliseconds => "Milliseconds",
        }
    }
}

/// A metric and its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The metric.
    pub metric: Metric,
    /// The value.
    pub value: f64,
}

impl Metric {
    /// One of this unit.
    pub const fn new(name: &'static str, unit: Unit) -> Metric {
        Metric { name, unit }
    }

    /// This metric with a value.
    pub fn is(self, value: u64) -> Measured {
        Measured { metric: self, value: value as f64 }
    }

    /// This metric with a value that may have a fraction.
    pub fn is_about(self, value: f64) -> Measured {
        Measured { metric: self, value }
    }
}

/// The document of what was measured at `at`, by pipeline and, with a `stream`, by stream too. What
/// is no number is left out, as is what exceeds [`METRICS_MAX`].
pub fn document(at: WallMs, pipeline: &str, stream: Option<&str>, measured: &[Measured]) -> Value {
    let finite = measured.iter().filter(|one| one.value.is_finite()).take(METRICS_MAX);
    let mut members = Map::new();
    let mut definitions = Vec::new();
    for Measured { metric, value } in finite {
        definitions.push(json!({ "Name": metric.name, "Unit": metric.unit.name() }));
        members.insert(metric.name.to_string(), number(*value));
    }
    let mut dimensions = vec![vec![PIPELINE]];
    members.insert(PIPELINE.to_string(), pipeline.into());
    if let Some(stream) = stream {
        dimensions.push(vec![PIPELINE, STREAM]);
        members.insert(STREAM.to_string(), stream.into());
    }
    let directive = json!({
        "Namespace": NAMESPACE,
        "Dimensions": dimensions,
        "Metrics": definitions,
    });
    members
        .insert("_aws".to_string(), json!({ "Timestamp": at.0, "CloudWatchMetrics": [directive] }));
    Value::Object(members)
}

/// Whole numbers without a fraction.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { json!(value as i64) } else { json!(value) }
}

#[cfg(test)]
mod tests;
