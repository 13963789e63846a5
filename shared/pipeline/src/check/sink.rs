//! `[sinks.NAME]`, and references to it.

use super::{choose, nearest, required};
use crate::error::{PipelineError, code};
use crate::raw::{Field, Given, Named, RawSink};
use crate::{FileFormat, Sink, SinkKind};

/// The name of a kind of sink in `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    File,
    Stdout,
    DynamoDb,
    Kinesis,
    Sqs,
    S3,
    Kafka,
}

const TYPES: [(&str, Type); 7] = [
    ("file", Type::File),
    ("stdout", Type::Stdout),
    ("dynamodb", Type::DynamoDb),
    ("kinesis", Type::Kinesis),
    ("sqs", Type::Sqs),
    ("s3", Type::S3),
    ("kafka", Type::Kafka),
];

const FILE_FORMATS: [(&str, FileFormat); 2] =
    [("json", FileFormat::JsonLines), ("parquet", FileFormat::Parquet)];

impl Type {
    /// Its keys beside `type`, each with what to write for it.
    fn keys(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Type::File => &[("format", "json")],
            Type::Stdout => &[],
            Type::DynamoDb => &[("table", "my-table")],
            Type::Kinesis => &[("stream", "my-stream")],
            Type::Sqs => {
                &[("queue_url", "https://sqs.eu-central-1.amazonaws.com/123456789012/my-queue")]
            }
            Type::S3 => &[("bucket", "my-bucket"), ("prefix", "results/"), ("format", "json")],
            Type::Kafka => {
                &[("bootstrap_servers", "broker-1:9092,broker-2:9092"), ("topic", "my-topic")]
            }
        }
    }
}

/// The sink that `field` names, if it exists. `owner` is what refers to it.
pub(super) fn reference(
    field: &Field<String>,
    sinks: &[&str],
    owner: &str,
    errors: &mut Vec<PipelineError>,
) -> Option<String> {
    let given = field.given()?;
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
    Some(given.value.clone())
}

pub(super) fn check(raw: &Named<RawSink>, errors: &mut Vec<PipelineError>) -> Sink {
    let owner = format!("sink `{}`", raw.name);
    let help = format!(
        "write `type = \"file\"`; the types are {}",
        nearest::one_of(TYPES.iter().map(|(name, _)| *name))
    );
    let kind = required(&raw.value.kind, "type", &owner, raw.at.clone(), &help, errors)
        .and_then(|given| choose(given, &format!("`type` of {owner}"), &TYPES, errors))
        .map_or(SinkKind::Stdout, |of_type| {
            refuse_other_keys(raw, of_type, errors);
            sink_kind(&mut Keys { raw, of_type, owner, errors })
        });
    Sink { name: raw.name.clone(), kind }
}

fn sink_kind(keys: &mut Keys<'_>) -> SinkKind {
    match keys.of_type {
        Type::File => SinkKind::File { format: keys.format() },
        Type::Stdout => SinkKind::Stdout,
        Type::DynamoDb => SinkKind::DynamoDb { table: keys.required("table") },
        Type::Kinesis => SinkKind::Kinesis { stream: keys.required("stream") },
        Type::Sqs => SinkKind::Sqs { queue_url: keys.queue_url() },
        Type::S3 => SinkKind::S3 {
            bucket: keys.required("bucket"),
            prefix: keys.optional("prefix"),
            format: keys.format(),
        },
        Type::Kafka => SinkKind::Kafka {
            bootstrap_servers: keys.bootstrap_servers(),
            topic: keys.required("topic"),
        },
    }
}

fn type_name(of_type: Type) -> &'static str {
    TYPES.iter().find(|(_, other)| *other == of_type).map_or("", |(name, _)| name)
}

fn refuse_other_keys(raw: &Named<RawSink>, of_type: Type, errors: &mut Vec<PipelineError>) {
    let type_name = type_name(of_type);
    for (key, field) in &raw.value.keys {
        let Some(given) = field.given() else { continue };
        if of_type.keys().iter().any(|(own, _)| own == key) {
            continue;
        }
        let own = of_type.keys().iter().map(|(key, _)| *key);
        let help = match of_type.keys() {
            [] => format!("remove it; a `{type_name}` sink has no keys but `type`"),
            _ => format!(
                "remove it; a `{type_name}` sink has {}",
                nearest::one_of(own).replace(" or ", " and ")
            ),
        };
        let message = format!("sink `{}` of type `{type_name}` has no key `{key}`", raw.name);
        errors.push(
            PipelineError::new(code::UNKNOWN_KEY, message)
                .at(given.key.clone(), "a key of another type")
                .help(help),
        );
    }
}

/// The keys of one sink, read by name.
struct Keys<'a> {
    raw: &'a Named<RawSink>,
    of_type: Type,
    owner: String,
    errors: &'a mut Vec<PipelineError>,
}

impl<'a> Keys<'a> {
    fn given(&self, key: &str) -> Option<&'a Given<String>> {
        self.raw.value.keys.get(key).and_then(Field::given)
    }

    fn optional(&self, key: &str) -> String {
        self.given(key).map(|given| given.value.clone()).unwrap_or_default()
    }

    /// A key that must be there and not be empty.
    fn required(&mut self, key: &str) -> String {
        let example = self.of_type.keys().iter().find(|(own, _)| *own == key);
        let help = format!("write `{key} = \"{}\"`", example.map_or("…", |(_, example)| example));
        let Some(field) = self.raw.value.keys.get(key) else { return String::new() };
        let at = self.raw.at.clone();
        let Some(given) = super::required(field, key, &self.owner, at, &help, self.errors) else {
            return String::new();
        };
        if given.value.is_empty() {
            self.malformed(key, given, "is empty", help);
        }
        given.value.clone()
    }

    fn format(&mut self) -> FileFormat {
        let what = format!("`format` of {}", self.owner);
        self.given("format")
            .and_then(|given| choose(given, &what, &FILE_FORMATS, self.errors))
            .unwrap_or(FileFormat::JsonLines)
    }

    fn queue_url(&mut self) -> String {
        let url = self.required("queue_url");
        let is_url = ["https://", "http://"]
            .iter()
            .any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if let Some(given) = self.given("queue_url").filter(|_| !is_url && !url.is_empty()) {
            let help = "write the queue's URL, not its name or ARN: \"https://sqs.…\"";
            self.malformed("queue_url", given, "is no URL", help.to_owned());
        }
        url
    }

    fn bootstrap_servers(&mut self) -> String {
        let servers = self.required("bootstrap_servers");
        let is_server = |server: &str| {
            server.trim().rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        let wrong = servers.split(',').find(|server| !is_server(server));
        let given = self.given("bootstrap_servers").filter(|_| !servers.is_empty());
        if let (Some(wrong), Some(given)) = (wrong, given) {
            let problem = format!("has `{}`, which is no `host:port`", wrong.trim());
            let help =
                "write hosts and ports, separated by commas: \"broker-1:9092,broker-2:9092\"";
            self.malformed("bootstrap_servers", given, &problem, help.to_owned());
        }
        servers
    }

    fn malformed(&mut self, key: &str, given: &Given<String>, problem: &str, help: String) {
        let message = format!("`{key}` of {} {problem}", self.owner);
        let error = PipelineError::new(code::BAD_VALUE, message);
        self.errors.push(error.at(given.at.clone(), "malformed").help(help));
    }
}
