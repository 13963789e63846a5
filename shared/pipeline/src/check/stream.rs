//! `[streams.NAME]`.

use super::duration::Bounds;
use super::{choose, column, duration, nearest, required, source};
use crate::error::{PipelineError, code};
use crate::raw::section::Kind;
use crate::raw::{Given, Named, RawStream};
use crate::{Column, EventTime, Format, Stream};

/// What `event_time` says when the arrival time is meant.
const ARRIVAL: &str = "arrival_time";

const OUT_OF_ORDERNESS: Bounds = Bounds { least_ms: 0, default_ms: 0 };
const IDLE_AFTER: Bounds = Bounds { least_ms: 1, default_ms: 60_000 };
const MAX_FUTURE: Bounds = Bounds { least_ms: 0, default_ms: 600_000 };

pub(super) fn check(raw: &Named<RawStream>, errors: &mut Vec<PipelineError>) -> Stream {
    let name = &raw.name;
    let stream = &raw.value;
    let owner = format!("stream `{name}`");
    let of = |key: &str| format!("`{key}` of {owner}");

    let help = "write `format = \"json\"` or `format = \"csv\"`";
    let format = required(&stream.format, "format", &owner, raw.at.clone(), help, errors)
        .and_then(|given| {
            let formats = [("json", Format::Json), ("csv", Format::Csv)];
            choose(given, &of("format"), &formats, errors)
        })
        .unwrap_or(Format::Json);

    let help = "write `columns = { NAME = \"TYPE\", … }`";
    let columns =
        required(&stream.columns, "columns", &owner, raw.at.clone(), help, errors).map(|given| {
            let nests = format == Format::Json;
            column::check(given, &column::Owner { kind: Kind::Stream, name, nests }, errors)
        });

    let known = columns.as_deref().unwrap_or_default();
    let help = event_time_help(known);
    let event_time =
        required(&stream.event_time, "event_time", &owner, raw.at.clone(), &help, errors)
            .filter(|_| columns.is_some())
            .map(|given| event_time(given, known, raw, errors))
            .unwrap_or(EventTime::Arrival);

    let assume_idle = stream.idle.given().and_then(|given| {
        choose(given, &of("idle"), &[("probe", false), ("assume", true)], errors)
    });
    let checked_source = source::check(raw, errors);
    let mut duration = |field, key, bounds| duration::check(field, &of(key), bounds, errors);
    let idle_after_ms = duration(&stream.idle_after, "idle_after", IDLE_AFTER);
    let checked = Stream {
        name: name.clone(),
        format,
        event_time,
        out_of_orderness_ms: duration(
            &stream.out_of_orderness,
            "out_of_orderness",
            OUT_OF_ORDERNESS,
        ),
        idle_after_ms,
        max_future_ms: duration(&stream.max_future, "max_future", MAX_FUTURE),
        assume_idle: assume_idle.unwrap_or(false),
        source: checked_source,
        columns: columns.unwrap_or_default(),
    };
    source::outlast_batching_window(raw, idle_after_ms, errors);
    checked
}

fn event_time(
    given: &Given<String>,
    columns: &[Column],
    raw: &Named<RawStream>,
    errors: &mut Vec<PipelineError>,
) -> EventTime {
    if given.value == ARRIVAL {
        return EventTime::Arrival;
    }
    let stream = &raw.name;
    let wanted = &given.value;
    let Some(index) = columns.iter().position(|column| column.name == *wanted) else {
        let names = columns.iter().map(|column| column.name.as_str());
        let help = match nearest::nearest(wanted, names.chain([ARRIVAL])) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => event_time_help(columns),
        };
        errors.push(
            PipelineError::new(
                code::UNKNOWN_COLUMN,
                format!("stream `{stream}` has no column `{wanted}`"),
            )
            .at(given.at.clone(), "no such column")
            .help(help),
        );
        return EventTime::Arrival;
    };
    let declared = raw.value.columns.items().get(index);
    let data_type = declared.and_then(|column| column.value.data_type.given());
    // A type that cannot be read has been reported already.
    let readable = data_type.filter(|given| column::read_type(&given.value).is_ok());
    if let Some(declared) = readable.filter(|_| !columns[index].data_type.is_timestamp()) {
        let message = format!("column `{wanted}` of stream `{stream}` is no timestamp");
        let help = format!(
            "declare `{wanted}` as `timestamp` (text), `timestamp_s`, `timestamp_ms`, \
             `timestamp_us` or `timestamp_ns` (numbers), or write `event_time = \"{ARRIVAL}\"`"
        );
        errors.push(
            PipelineError::new(code::NOT_A_TIMESTAMP, message)
                .at(given.at.clone(), "must be a timestamp")
                .at(declared.at.clone(), "declared here")
                .help(help),
        );
    }
    EventTime::Column(index)
}

fn event_time_help(columns: &[Column]) -> String {
    let example = columns
        .iter()
        .find(|column| column.data_type.is_timestamp())
        .map_or("a_timestamp_column", |column| column.name.as_str());
    format!(
        "name the column that says when an event happened, as `event_time = \"{example}\"`, or \
         write `event_time = \"{ARRIVAL}\"`"
    )
}
