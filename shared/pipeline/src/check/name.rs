//! Names: of the pipeline, and of streams, tables, queries and sinks.
//!
//! # Invariants
//! 1. A name is an identifier of SQL, so that queries need no quotes around it.
//! 2. Streams and tables share one space of names, whatever the case, as SQL reads both in FROM.
//! 3. No query has the name of an output that is not a query's.

use std::ops::Range;

use crate::error::{PipelineError, code};
use crate::raw::section::Kind;
use crate::raw::{Field, Named, RawPipeline};

/// Longest name, bytes.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// Names that a query cannot have: results of query q are the file `q.jsonl` and carry ids
/// `q/{epoch}/{n}`, dead letters are the file `dead_letters.jsonl` and carry ids `dead/…` and
/// `rejected/…`.
const QUERY_NAMES_RESERVED: &[&str] = &["dead_letters", "dead", "rejected"];

/// Checks every name but the pipeline's own.
pub(super) fn check_names(raw: &RawPipeline, errors: &mut Vec<PipelineError>) {
    let streams = places(raw.streams.items(), Kind::Stream);
    let tables = places(raw.tables.items(), Kind::Table);
    let queries = places(raw.queries.items(), Kind::Query);
    let sinks = places(raw.sinks.items(), Kind::Sink);
    for place in [&streams, &tables, &queries, &sinks].into_iter().flatten() {
        let what = place.kind.singular();
        identifier(place.name, what, place.at.clone(), false, errors);
    }
    let mut relations = streams;
    relations.extend(tables);
    unique(relations, errors);
    for query in &queries {
        if QUERY_NAMES_RESERVED.contains(&query.name.to_lowercase().as_str()) {
            let message = format!("a query cannot have the name `{}`", query.name);
            errors.push(
                PipelineError::new(code::RESERVED_NAME, message)
                    .at(query.at.clone(), "reserved")
                    .help("choose another name; this one is that of the dead letters' output"),
            );
        }
    }
    unique(queries, errors);
}

/// The pipeline's name.
pub(super) fn pipeline_name(name: &Field<String>, errors: &mut Vec<PipelineError>) -> String {
    let help =
        "write `name = \"my-pipeline\"` in the first line; the state is kept under this name";
    let Some(given) = super::required(name, "name", "the pipeline", 0..0, help, errors) else {
        return String::new();
    };
    identifier(&given.value, "pipeline", given.at.clone(), true, errors);
    given.value.clone()
}

struct Place<'r> {
    kind: Kind,
    name: &'r str,
    at: &'r Range<usize>,
}

fn places<T>(named: &[Named<T>], kind: Kind) -> Vec<Place<'_>> {
    named.iter().map(|named| Place { kind, name: &named.name, at: &named.at }).collect()
}

fn unique(mut places: Vec<Place<'_>>, errors: &mut Vec<PipelineError>) {
    places.sort_by_key(|place| (place.name.to_lowercase(), place.at.start));
    for pair in places.windows(2) {
        let [first, second] = pair else { continue };
        if first.name.to_lowercase() != second.name.to_lowercase() {
            continue;
        }
        let message = format!(
            "{} `{}` has the name of {} `{}`",
            second.kind.singular(),
            second.name,
            first.kind.singular(),
            first.name
        );
        errors.push(
            PipelineError::new(code::DUPLICATE_NAME, message)
                .at(second.at.clone(), "the same name")
                .at(first.at.clone(), "taken here")
                .help("rename one of the two; upper and lower case do not tell names apart"),
        );
    }
}

fn identifier(
    name: &str,
    what: &str,
    at: Range<usize>,
    hyphens: bool,
    errors: &mut Vec<PipelineError>,
) {
    let error = |message: String, label: &str, help: String| {
        PipelineError::new(code::BAD_NAME, message).at(at.clone(), label).help(help)
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (hyphens && c == '-');
    if !starts_well || !name.chars().all(allowed) {
        let also = if hyphens { ", `_` and `-`" } else { " and `_`" };
        let mut help = format!("use ASCII letters, digits{also}, and begin with a letter or `_`");
        if let Some(fixed) = repaired(name, allowed) {
            help.push_str(&format!(", such as `{fixed}`"));
        }
        errors.push(error(format!("`{name}` is no name for a {what}"), "not a name", help));
    } else if name.len() > NAME_BYTES_MAX {
        let message = format!("the name of a {what} has at most {NAME_BYTES_MAX} characters");
        let label = format!("{} characters", name.len());
        errors.push(error(message, &label, "choose a shorter name".to_owned()));
    } else if name.starts_with("__") {
        errors.push(
            PipelineError::new(code::RESERVED_NAME, format!("`{name}` begins with `__`"))
                .at(at, "reserved")
                .help("choose a name that does not; Tidemill's own names begin so"),
        );
    }
}

/// A name like `name` that is allowed.
fn repaired(name: &str, allowed: impl Fn(char) -> bool) -> Option<String> {
    let replaced: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    let trimmed = replaced.trim_matches('_');
    if !trimmed.starts_with(|c: char| c.is_ascii_alphabetic()) || trimmed.len() > NAME_BYTES_MAX {
        return None;
    }
    Some(trimmed.to_owned())
}
