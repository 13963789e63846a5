//! `[streams.NAME.source]`: which Kinesis stream or Kafka topic a stream's events come from.

use std::ops::Range;

use super::duration::{self, Bounds};
use super::typed::{self, Keys, Type};
use crate::StreamSource;
use crate::error::{PipelineError, code};
use crate::raw::{Field, Given, Named, RawSource, RawStream};

/// Longest name of a Kinesis stream and of a Kafka topic, characters.
const KINESIS_NAME_MAX: usize = 128;
const TOPIC_NAME_MAX: usize = 249;

const BATCHING_WINDOW: Bounds = Bounds { least_ms: 0, default_ms: 0 };

const TYPES: [Type<StreamSource>; 2] = [
    Type {
        name: "kinesis",
        read: |keys| StreamSource::Kinesis { stream: name(keys, "stream", KINESIS_NAME_MAX) },
        texts: &[("stream", "my-stream")],
        others: &["batching_window"],
    },
    Type {
        name: "kafka",
        read: |keys| StreamSource::Kafka {
            topic: name(keys, "topic", TOPIC_NAME_MAX),
            bootstrap_servers: keys.optional_bootstrap_servers(),
            properties: keys.properties(),
        },
        texts: &[("topic", "my-topic"), ("bootstrap_servers", "broker-1:9092,broker-2:9092")],
        others: &["properties", "batching_window"],
    },
];

pub(super) fn check(
    stream: &Named<RawStream>,
    errors: &mut Vec<PipelineError>,
) -> Option<StreamSource> {
    let source = &stream.value.source.given()?.value.typed;
    let owner = (format!("the source of stream `{}`", stream.name), "source");
    typed::read(source, place(stream), owner, &TYPES, errors)
}

/// Where a stream says what its source is: there, else its own name.
fn place(stream: &Named<RawStream>) -> Range<usize> {
    stream.value.source.given().map_or(stream.at.clone(), |source| source.key.clone())
}

/// Requires silence to be longer than a batch may wait to be full: else each pause between two
/// batches looks like silence.
pub(super) fn outlast_batching_window(
    stream: &Named<RawStream>,
    idle_after_ms: i64,
    errors: &mut Vec<PipelineError>,
) {
    let Some(source) = stream.value.source.given() else { return };
    let field = &source.value.batching_window;
    let what = format!("`batching_window` of the source of stream `{}`", stream.name);
    let window_ms = duration::check(field, &what, BATCHING_WINDOW, errors);
    let Some(window) = field.given().filter(|_| idle_after_ms <= window_ms) else { return };
    let idle_after = stream.value.idle_after.given();
    let message = format!(
        "`idle_after` of stream `{}` is not longer than its source's `batching_window`",
        stream.name
    );
    let error = PipelineError::new(code::DURATION_BOUNDS, message);
    let error = match idle_after {
        Some(idle_after) => error
            .at(idle_after.at.clone(), "a shard is idle after this")
            .at(window.at.clone(), "a batch may wait for so long"),
        None => error.at(window.at.clone(), "a batch may wait for so long"),
    };
    let seconds = window_ms / 1000 * 2 + 1;
    errors.push(error.help(format!("write a longer one, such as `idle_after = \"{seconds}s\"`")));
}

/// The name of a Kinesis stream or a topic.
fn name(keys: &mut Keys<'_>, key: &str, longest: usize) -> String {
    let name = keys.required(key);
    let Some(given) = keys.given(key).filter(|_| !name.is_empty()) else { return name };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.starts_with("arn:") {
        let last = name.rsplit('/').next().unwrap_or_default();
        let help = format!("write its name: `{key} = \"{last}\"`");
        keys.malformed(key, given, "is an ARN, not a name", help);
    } else if !name.chars().all(is_allowed) || name.len() > longest {
        let help = format!("a name has letters, digits, `_`, `-` and `.`, at most {longest}");
        keys.malformed(key, given, &format!("is no name of a {key}"), help);
    }
    name
}

/// What a stream reads, as far as the file can be understood.
struct Reads<'r> {
    stream: &'r str,
    at: Range<usize>,
    kinesis: Option<&'r str>,
    topic: Option<&'r str>,
}

/// Requires that no two streams read one source: a record would belong to either.
pub(super) fn check_unique(streams: &[Named<RawStream>], errors: &mut Vec<PipelineError>) {
    let mut seen: Vec<Reads<'_>> = Vec::new();
    for stream in streams {
        let Some(reads) = reads(stream) else { continue };
        let same = |one: Option<&str>, other: Option<&str>| one.is_some() && one == other;
        let other = seen.iter().find_map(|seen| {
            let kinesis = same(seen.kinesis, reads.kinesis).then_some("Kinesis stream");
            let topic = same(seen.topic, reads.topic).then_some("topic");
            Some((seen, kinesis.or(topic)?))
        });
        if let Some((other, what)) = other {
            let name = reads.kinesis.or(reads.topic).unwrap_or_default();
            let message = format!(
                "streams `{}` and `{}` read the same {what}, `{name}`",
                other.stream, reads.stream
            );
            errors.push(
                PipelineError::new(code::SHARED_SOURCE, message)
                    .at(reads.at.clone(), "the same source")
                    .at(other.at.clone(), "read here")
                    .help(
                        "several queries may read one stream: keep one of the two. A stream \
                         without `[streams.NAME.source]` reads the source of its own name",
                    ),
            );
        }
        seen.push(reads);
    }
}

fn reads(stream: &Named<RawStream>) -> Option<Reads<'_>> {
    let at = place(stream);
    let own = Some(stream.name.as_str());
    match &stream.value.source {
        Field::Absent => Some(Reads { stream: &stream.name, at, kinesis: own, topic: own }),
        Field::Wrong => None,
        Field::Given(Given { value: RawSource { typed, .. }, .. }) => {
            let text = |key: &str| {
                let given = typed.keys.get(key).and_then(Field::given)?;
                Some(given.value.as_str()).filter(|text| !text.is_empty())
            };
            let kind = typed.kind.given()?.value.as_str();
            Some(Reads {
                stream: &stream.name,
                at,
                kinesis: text("stream").filter(|_| kind == "kinesis"),
                topic: text("topic").filter(|_| kind == "kafka"),
            })
        }
    }
}
