//! `[sinks.NAME]`, and references to it.

use super::nearest;
use super::typed::{self, Keys, Type};
use crate::error::{PipelineError, code};
use crate::raw::{Field, Given, Named, RawTyped};
use crate::{Sink, SinkKind};

const TYPES: [Type<SinkKind>; 7] = [
    Type {
        name: "file",
        read: |keys| SinkKind::File { format: keys.format() },
        texts: &[("format", "json")],
        others: &[],
    },
    Type { name: "stdout", read: |_| SinkKind::Stdout, texts: &[], others: &[] },
    Type {
        name: "dynamodb",
        read: |keys| SinkKind::DynamoDb { table: keys.required("table") },
        texts: &[("table", "my-table")],
        others: &[],
    },
    Type {
        name: "kinesis",
        read: |keys| SinkKind::Kinesis { stream: keys.required("stream") },
        texts: &[("stream", "my-stream")],
        others: &[],
    },
    Type {
        name: "sqs",
        read: |keys| SinkKind::Sqs { queue_url: queue_url(keys) },
        texts: &[("queue_url", "https://sqs.eu-central-1.amazonaws.com/123456789012/my-queue")],
        others: &[],
    },
    Type {
        name: "s3",
        read: |keys| SinkKind::S3 {
            bucket: keys.required("bucket"),
            prefix: keys.optional("prefix"),
            format: keys.format(),
        },
        texts: &[("bucket", "my-bucket"), ("prefix", "results/"), ("format", "json")],
        others: &[],
    },
    Type {
        name: "kafka",
        read: |keys| SinkKind::Kafka {
            bootstrap_servers: keys.bootstrap_servers(),
            topic: keys.required("topic"),
            properties: keys.properties(),
        },
        texts: &[("bootstrap_servers", "broker-1:9092,broker-2:9092"), ("topic", "my-topic")],
        others: &["properties"],
    },
];

/// The sink that `field` names, if it exists. `owner` is what refers to it.
pub(super) fn reference(
    field: &Field<String>,
    sinks: &[&str],
    owner: &str,
    errors: &mut Vec<PipelineError>,
) -> Option<String> {
    let given = field.given()?;
    check_defined(given, sinks, owner, errors);
    Some(given.value.clone())
}

/// The sinks that `field` names, in its order.
pub(super) fn references(
    field: &Field<Vec<Given<String>>>,
    sinks: &[&str],
    owner: &str,
    errors: &mut Vec<PipelineError>,
) -> Vec<String> {
    let Some(given) = field.given() else { return Vec::new() };
    if given.value.is_empty() {
        errors.push(
            PipelineError::new(code::BAD_VALUE, format!("`sink` of {owner} names no sink"))
                .at(given.at.clone(), "empty")
                .help("name one at least, `sink = \"NAME\"`, or leave the key out"),
        );
    }
    for (index, sink) in given.value.iter().enumerate() {
        check_defined(sink, sinks, owner, errors);
        let earlier = given.value[..index].iter().find(|earlier| earlier.value == sink.value);
        if let Some(earlier) = earlier {
            let message = format!("{owner} names the sink `{}` twice", sink.value);
            errors.push(
                PipelineError::new(code::DUPLICATE_NAME, message)
                    .at(sink.at.clone(), "again")
                    .at(earlier.at.clone(), "named here")
                    .help("name each sink once; it gets every row once"),
            );
        }
    }
    given.value.iter().map(|sink| sink.value.clone()).collect()
}

fn check_defined(
    given: &Given<String>,
    sinks: &[&str],
    owner: &str,
    errors: &mut Vec<PipelineError>,
) {
    if !sinks.contains(&given.value.as_str()) {
        let help = match sinks {
            [] => format!("define it: `[sinks.{}]` with a `type`", given.value),
            _ => nearest::suggest(&given.value, sinks.iter().copied()),
        };
        let message = format!("the sink of {owner}, `{}`, is not defined", given.value);
        errors.push(
            PipelineError::new(code::UNKNOWN_SINK, message)
                .at(given.at.clone(), "no such sink")
                .help(help),
        );
    }
}

pub(super) fn check(raw: &Named<RawTyped>, errors: &mut Vec<PipelineError>) -> Sink {
    let owner = (format!("sink `{}`", raw.name), "sink");
    let kind =
        typed::read(&raw.value, raw.at.clone(), owner, &TYPES, errors).unwrap_or(SinkKind::Stdout);
    Sink { name: raw.name.clone(), kind }
}

fn queue_url(keys: &mut Keys<'_>) -> String {
    let url = keys.required("queue_url");
    let is_url = ["https://", "http://"]
        .iter()
        .any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if let Some(given) = keys.given("queue_url").filter(|_| !is_url && !url.is_empty()) {
        let help = "write the queue's URL, not its name or ARN: \"https://sqs.…\"";
        keys.malformed("queue_url", given, "is no URL", help.to_owned());
    }
    url
}
