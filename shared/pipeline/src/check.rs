//! What the user typed → a [`Pipeline`] without contradictions.
//!
//! Every check reports and goes on with a stand-in value, so that one mistake never hides
//! another. [`crate::parse`] lets a pipeline out only when nothing was reported, so that no
//! stand-in is ever seen.
//!
//! Not here: variables and unknown keys (`raw`), SQL (`plan`).

mod column;
mod duration;
mod name;
pub(crate) mod nearest;
mod path;
mod query;
mod sink;
mod size;
mod source;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod time_text;
mod typed;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use tidemill_model::limits::{
    COLUMNS_MAX, QUERIES_MAX, SECTIONS_MAX, SEGMENT_TTL_MIN_MS, SEGMENT_TTL_MS,
};

use crate::error::{PipelineError, code};
use crate::raw::{Field, Given, Named, RawPipeline};
use crate::{Pipeline, SourceFile};
use duration::Bounds;

/// Least time from one tick of advance to the next, milliseconds: each reads every log.
const TICK_MIN_MS: i64 = 1_000;

/// From one tick of advance to the next, unless the file says so.
const TICK_MS: i64 = 5_000;

/// Builds the pipeline. It means something only when `errors` is empty afterwards.
pub(crate) fn check(
    raw: RawPipeline,
    file: &SourceFile,
    base_dir: &Path,
    errors: &mut Vec<PipelineError>,
) -> Pipeline {
    let tick = Bounds { least_ms: TICK_MIN_MS, default_ms: TICK_MS };
    let ttl = Bounds { least_ms: SEGMENT_TTL_MIN_MS, default_ms: SEGMENT_TTL_MS };
    name::check_names(&raw, errors);
    source::check_unique(raw.streams.items(), errors);
    require_sections(&raw, errors);
    bound_sections(&raw, errors);
    let sink_names: Vec<&str> = raw.sinks.items().iter().map(|sink| sink.name.as_str()).collect();
    Pipeline {
        file: file.clone(),
        name: name::pipeline_name(&raw.name, errors),
        segment_ttl_ms: duration::check(&raw.segment_ttl, "`segment_ttl`", ttl, errors),
        tick_ms: duration::check(&raw.tick, "`tick`", tick, errors),
        state_bytes_max: size::check(&raw.max_state, "`max_state`", errors),
        dead_letter_sink: sink::reference(&raw.dead_letters, &sink_names, "dead letters", errors),
        streams: each(raw.streams.items(), |stream| stream::check(stream, errors)),
        tables: each(raw.tables.items(), |table| table::check(table, base_dir, errors)),
        queries: each(raw.queries.items(), |query| query::check(query, &sink_names, errors)),
        sinks: each(raw.sinks.items(), |sink| sink::check(sink, errors)),
    }
}

fn each<R, C>(raw: &[Named<R>], mut check: impl FnMut(&Named<R>) -> C) -> BTreeMap<String, C> {
    raw.iter().map(|named| (named.name.clone(), check(named))).collect()
}

fn require_sections(raw: &RawPipeline, errors: &mut Vec<PipelineError>) {
    let mut missing = |what: &str, help: &str| {
        let message = format!("the pipeline has no {what}");
        let error = PipelineError::new(code::MISSING_SECTION, message);
        errors.push(error.at(0..0, format!("no {what} in this file")).help(help));
    };
    if is_none_given(&raw.streams) {
        missing("stream", "describe where events come from in a section `[streams.NAME]`");
    }
    if is_none_given(&raw.queries) {
        missing("query", "say what to compute in a section `[queries.NAME]`");
    }
}

fn bound_sections(raw: &RawPipeline, errors: &mut Vec<PipelineError>) {
    bound(raw.streams.items(), "the pipeline", "streams", SECTIONS_MAX, errors);
    bound(raw.tables.items(), "the pipeline", "tables", SECTIONS_MAX, errors);
    bound(raw.sinks.items(), "the pipeline", "sinks", SECTIONS_MAX, errors);
    bound(raw.queries.items(), "the pipeline", "queries", QUERIES_MAX, errors);
    let of = |what: &str, name: &str| format!("{what} `{name}`");
    for stream in raw.streams.items() {
        let owner = of("stream", &stream.name);
        bound(stream.value.columns.items(), &owner, "columns", COLUMNS_MAX, errors);
    }
    for table in raw.tables.items() {
        let owner = of("table", &table.name);
        bound(table.value.columns.items(), &owner, "columns", COLUMNS_MAX, errors);
    }
}

/// Refuses more than `most` of something.
fn bound<T>(
    items: &[Named<T>],
    owner: &str,
    what: &str,
    most: usize,
    errors: &mut Vec<PipelineError>,
) {
    if let Some(first) = items.get(most) {
        let message = format!("{owner} has {} {what}, more than {most}", items.len());
        errors.push(
            PipelineError::new(code::TOO_MANY, message)
                .at(first.at.clone(), format!("the first of {what} that is too many"))
                .help("make several pipelines of it, or leave out what no query needs"),
        );
    }
}

fn is_none_given<T>(field: &Field<Vec<T>>) -> bool {
    !matches!(field, Field::Wrong) && field.items().is_empty()
}

/// The value of a field that must be there; `None` when it is not, which is then reported.
/// `owner` is what misses it, such as "stream `events`", and `at` its place.
fn required<'f, T>(
    field: &'f Field<T>,
    key: &str,
    owner: &str,
    at: Range<usize>,
    help: &str,
    errors: &mut Vec<PipelineError>,
) -> Option<&'f Given<T>> {
    if let Field::Absent = field {
        errors.push(
            PipelineError::new(code::MISSING_KEY, format!("{owner} has no `{key}`"))
                .at(at, format!("no `{key}`"))
                .help(help),
        );
    }
    field.given()
}

/// Which of `choices` a text is; `None` when none, which is then reported. `what` is what has the
/// value, such as "`late` of query `views`".
fn choose<T: Copy>(
    given: &Given<String>,
    what: &str,
    choices: &[(&str, T)],
    errors: &mut Vec<PipelineError>,
) -> Option<T> {
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == given.value) {
        return Some(*choice);
    }
    let names = choices.iter().map(|(name, _)| *name);
    errors.push(
        PipelineError::new(code::UNKNOWN_VALUE, format!("{what} cannot be `{}`", given.value))
            .at(given.at.clone(), "unknown value")
            .help(nearest::suggest(&given.value, names)),
    );
    None
}
