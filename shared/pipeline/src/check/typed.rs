//! The keys of a section whose `type` decides which it has: a sink, a stream's source.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{choose, nearest};
use crate::FileFormat;
use crate::error::{PipelineError, code};
use crate::raw::{Field, Given, RawTyped};

/// Settings of librdkafka that the promises of Tidemill rest on, or that have a key of their own.
const PROPERTIES_RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "write `bootstrap_servers` instead, beside `topic`"),
    ("metadata.broker.list", "write `bootstrap_servers` instead, beside `topic`"),
    ("acks", "remove it; results are acknowledged by all replicas in sync"),
    ("request.required.acks", "remove it; results are acknowledged by all replicas in sync"),
    ("enable.idempotence", "remove it; the producer is idempotent"),
    ("transactional.id", "remove it; results carry ids instead of transactions"),
    ("group.id", "remove it; offsets are kept with the state, not in a consumer group"),
    ("isolation.level", "remove it; the end of a partition counts every record"),
    ("enable.auto.commit", "remove it; offsets are kept with the state, not in a consumer group"),
    ("enable.partition.eof", "remove it; the end of a partition is how a drained one is told"),
    ("auto.offset.reset", "remove it; `TIDEMILL_STARTING_POSITION` says where reading starts"),
];

/// A type that `type` may name, and its keys.
pub(super) struct Type<T> {
    pub(super) name: &'static str,
    pub(super) read: fn(&mut Keys<'_>) -> T,
    /// The keys beside `type` that hold text, each with what to write for it.
    pub(super) texts: &'static [(&'static str, &'static str)],
    /// The keys that hold something else.
    pub(super) others: &'static [&'static str],
}

/// The keys of one section, read by name.
pub(super) struct Keys<'a> {
    raw: &'a RawTyped,
    at: Range<usize>,
    texts: &'static [(&'static str, &'static str)],
    owner: String,
    errors: &'a mut Vec<PipelineError>,
}

/// Reads a section by its type, and refuses the keys of other types. `None` when there is no type
/// to tell its keys by, which is then reported. `owner` is the section in words, such as
/// "sink `views`", `at` its place, and `what` a thing of this kind: "sink".
pub(super) fn read<T>(
    raw: &RawTyped,
    at: Range<usize>,
    (owner, what): (String, &str),
    types: &[Type<T>],
    errors: &mut Vec<PipelineError>,
) -> Option<T> {
    let names = types.iter().map(|of_type| of_type.name);
    let first = types.first().map_or("…", |of_type| of_type.name);
    let help = format!("write `type = \"{first}\"`; the types are {}", nearest::one_of(names));
    let given = super::required(&raw.kind, "type", &owner, at.clone(), &help, errors)?;
    let choices: Vec<_> = types.iter().enumerate().map(|(i, of_type)| (of_type.name, i)).collect();
    let of_type = &types[choose(given, &format!("`type` of {owner}"), &choices, errors)?];
    let mut keys = Keys { raw, at, texts: of_type.texts, owner, errors };
    keys.refuse_others(of_type, what);
    Some((of_type.read)(&mut keys))
}

impl<'a> Keys<'a> {
    fn refuse_others<T>(&mut self, of_type: &Type<T>, what: &str) {
        let texts =
            self.raw.keys.iter().filter_map(|(key, field)| Some((*key, &field.given()?.key)));
        let properties = self.raw.properties.given().map(|given| ("properties", &given.key));
        let own: Vec<&str> = of_type
            .texts
            .iter()
            .map(|(key, _)| *key)
            .chain(of_type.others.iter().copied())
            .collect();
        for (key, place) in texts.chain(properties) {
            if own.contains(&key) {
                continue;
            }
            let name = of_type.name;
            let help = match own.as_slice() {
                [] => format!("remove it; a `{name}` {what} has no keys but `type`"),
                own => format!(
                    "remove it; a `{name}` {what} has {}",
                    nearest::one_of(own.iter().copied()).replace(" or ", " and ")
                ),
            };
            let message = format!("{} of type `{name}` has no key `{key}`", self.owner);
            self.errors.push(
                PipelineError::new(code::UNKNOWN_KEY, message)
                    .at(place.clone(), "a key of another type")
                    .help(help),
            );
        }
    }

    pub(super) fn given(&self, key: &str) -> Option<&'a Given<String>> {
        self.raw.keys.get(key).and_then(Field::given)
    }

    pub(super) fn optional(&self, key: &str) -> String {
        self.given(key).map(|given| given.value.clone()).unwrap_or_default()
    }

    /// A key that must be there and not be empty.
    pub(super) fn required(&mut self, key: &str) -> String {
        let example = self.texts.iter().find(|(own, _)| *own == key);
        let help = format!("write `{key} = \"{}\"`", example.map_or("…", |(_, example)| example));
        let Some(field) = self.raw.keys.get(key) else { return String::new() };
        let at = self.at.clone();
        let Some(given) = super::required(field, key, &self.owner, at, &help, self.errors) else {
            return String::new();
        };
        if given.value.is_empty() {
            self.malformed(key, given, "is empty", help);
        }
        given.value.clone()
    }

    pub(super) fn format(&mut self) -> FileFormat {
        let what = format!("`format` of {}", self.owner);
        let formats = [("json", FileFormat::JsonLines), ("parquet", FileFormat::Parquet)];
        self.given("format")
            .and_then(|given| choose(given, &what, &formats, self.errors))
            .unwrap_or(FileFormat::JsonLines)
    }

    /// Hosts and ports that may be left out, but not be empty.
    pub(super) fn optional_bootstrap_servers(&mut self) -> Option<String> {
        self.given("bootstrap_servers")?;
        Some(self.bootstrap_servers())
    }

    pub(super) fn bootstrap_servers(&mut self) -> String {
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

    /// The settings of librdkafka that the user may make.
    pub(super) fn properties(&mut self) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        for property in self.raw.properties.items() {
            let name = &property.name;
            if let Some((_, help)) = PROPERTIES_RESERVED.iter().find(|(own, _)| own == name) {
                let message = format!("property `{name}` of {} cannot be set", self.owner);
                self.errors.push(
                    PipelineError::new(code::RESERVED_PROPERTY, message)
                        .at(property.at.clone(), "set by Tidemill")
                        .help(*help),
                );
            }
            properties.insert(name.clone(), property.value.value.clone());
        }
        properties
    }

    pub(super) fn malformed(
        &mut self,
        key: &str,
        given: &Given<String>,
        problem: &str,
        help: String,
    ) {
        let message = format!("`{key}` of {} {problem}", self.owner);
        let error = PipelineError::new(code::BAD_VALUE, message);
        self.errors.push(error.at(given.at.clone(), "malformed").help(help));
    }
}
