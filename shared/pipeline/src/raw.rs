//! What the user typed, each value with its place, and nothing else: no defaults, no references
//! followed. Only the variables in values are expanded already.
//!
//! Refuses here: text that is no TOML, keys that nobody reads, values of the wrong TOML type,
//! variables that are not set. Reading goes on behind each of them.
//!
//! Not here: what the values mean (`check`).

mod expand;
pub(crate) mod literal;
mod reader;
pub(crate) mod section;

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::error::{PipelineError, code};
use crate::{PIPELINE_FILE_BYTES_MAX, SqlPlace};
use reader::Reader;
use section::{Kind, Section};

/// A value that may be absent.
#[derive(Debug, Default)]
pub(crate) enum Field<T> {
    /// Not in the file.
    #[default]
    Absent,
    /// In the file, but unusable, which has been reported.
    Wrong,
    /// In the file.
    Given(Given<T>),
}

/// A value, and where it and its key stand in the file.
#[derive(Debug, Clone)]
pub(crate) struct Given<T> {
    pub(crate) key: Range<usize>,
    pub(crate) at: Range<usize>,
    pub(crate) value: T,
}

impl<T> Field<T> {
    pub(crate) fn given(&self) -> Option<&Given<T>> {
        match self {
            Field::Given(given) => Some(given),
            Field::Absent | Field::Wrong => None,
        }
    }
}

/// Something that the user named: `[streams.NAME]`, or a column.
#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) name: String,
    /// Where the name stands.
    pub(crate) at: Range<usize>,
    pub(crate) value: T,
}

#[derive(Debug)]
pub(crate) struct RawPipeline {
    pub(crate) name: Field<String>,
    pub(crate) dead_letters: Field<String>,
    pub(crate) segment_ttl: Field<String>,
    pub(crate) streams: Vec<Named<RawStream>>,
    pub(crate) tables: Vec<Named<RawTable>>,
    pub(crate) queries: Vec<Named<RawQuery>>,
    pub(crate) sinks: Vec<Named<RawSink>>,
}

#[derive(Debug)]
pub(crate) struct RawStream {
    pub(crate) format: Field<String>,
    pub(crate) columns: Field<Vec<Named<RawColumn>>>,
    pub(crate) event_time: Field<String>,
    pub(crate) out_of_orderness: Field<String>,
    pub(crate) idle_after: Field<String>,
    pub(crate) max_future: Field<String>,
    pub(crate) idle: Field<String>,
}

#[derive(Debug)]
pub(crate) struct RawColumn {
    pub(crate) data_type: Field<String>,
    pub(crate) path: Field<String>,
}

#[derive(Debug)]
pub(crate) struct RawTable {
    pub(crate) file: Field<String>,
    pub(crate) format: Field<String>,
    pub(crate) columns: Field<Vec<Named<RawColumn>>>,
}

#[derive(Debug)]
pub(crate) struct RawQuery {
    pub(crate) sql: Field<(String, SqlPlace)>,
    pub(crate) grace: Field<String>,
    pub(crate) late: Field<String>,
    pub(crate) emit: Field<String>,
    pub(crate) sink: Field<String>,
}

#[derive(Debug)]
pub(crate) struct RawSink {
    pub(crate) kind: Field<String>,
    /// The keys of all kinds of sink.
    pub(crate) keys: BTreeMap<&'static str, Field<String>>,
}

/// Reads a file's text. `None` when it is no TOML.
pub(crate) fn read(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    errors: &mut Vec<PipelineError>,
) -> Option<RawPipeline> {
    if text.len() > PIPELINE_FILE_BYTES_MAX {
        let message = format!("the file is larger than {PIPELINE_FILE_BYTES_MAX} bytes");
        let help = "put lookup data into files of its own, as [tables.NAME]";
        errors.push(PipelineError::new(code::TOO_LARGE, message).help(help));
        return None;
    }
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(e) => {
            let message = format!("this is not TOML: {}", e.message());
            let help = "mind the quotes around text, and the `=` between a key and its value";
            errors.push(
                PipelineError::new(code::SYNTAX, message)
                    .at(e.span().unwrap_or_default(), "here")
                    .help(syntax_help(e.message()).unwrap_or(help)),
            );
            return None;
        }
    };
    Some(pipeline(&document, &mut Reader { text, env, errors }))
}

fn syntax_help(message: &str) -> Option<&'static str> {
    message.starts_with("duplicate key").then_some("keep one of the two")
}

fn pipeline(root: &DeTable<'_>, reader: &mut Reader<'_>) -> RawPipeline {
    let top = Section::new(Kind::Top, "");
    reader.refuse_unknown_keys(root, &top);
    let segment_ttl = match root.get("state").map(|value| (value.span(), value.get_ref())) {
        None => Field::Absent,
        Some((_, DeValue::Table(state))) => {
            let section = Section::new(Kind::State, "");
            reader.refuse_unknown_keys(state, &section);
            reader.duration(state, &section, "segment_ttl")
        }
        Some((at, other)) => {
            let help = "write the section `[state]`, with `segment_ttl` under it";
            reader.wrong_type("`state`", at, other, "a section", help);
            Field::Wrong
        }
    };
    RawPipeline {
        name: reader.text(root, &top, "name"),
        dead_letters: reader.text(root, &top, "dead_letters"),
        segment_ttl,
        streams: reader.sections(root, Kind::Stream, |reader, table, section| RawStream {
            format: reader.text(table, section, "format"),
            columns: reader.columns(table, section),
            event_time: reader.text(table, section, "event_time"),
            out_of_orderness: reader.duration(table, section, "out_of_orderness"),
            idle_after: reader.duration(table, section, "idle_after"),
            max_future: reader.duration(table, section, "max_future"),
            idle: reader.text(table, section, "idle"),
        }),
        tables: reader.sections(root, Kind::Table, |reader, table, section| RawTable {
            file: reader.text(table, section, "file"),
            format: reader.text(table, section, "format"),
            columns: reader.columns(table, section),
        }),
        queries: reader.sections(root, Kind::Query, |reader, table, section| RawQuery {
            sql: reader.sql(table, section),
            grace: reader.duration(table, section, "grace"),
            late: reader.text(table, section, "late"),
            emit: reader.text(table, section, "emit"),
            sink: reader.text(table, section, "sink"),
        }),
        sinks: reader.sections(root, Kind::Sink, |reader, table, section| RawSink {
            kind: reader.text(table, section, "type"),
            keys: section::SINK_KEYS
                .iter()
                .filter(|key| **key != "type")
                .map(|key| (*key, reader.text(table, section, key)))
                .collect(),
        }),
    }
}
