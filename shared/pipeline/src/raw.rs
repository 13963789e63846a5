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

impl<T> Field<Vec<T>> {
    /// What is in the list; nothing when there is none.
    pub(crate) fn items(&self) -> &[T] {
        self.given().map_or(&[], |given| &given.value)
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
    pub(crate) streams: Field<Vec<Named<RawStream>>>,
    pub(crate) tables: Field<Vec<Named<RawTable>>>,
    pub(crate) queries: Field<Vec<Named<RawQuery>>>,
    pub(crate) sinks: Field<Vec<Named<RawSink>>>,
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
    match DeTable::parse(text) {
        Ok(document) => Some(pipeline(document.get_ref(), &mut Reader { text, env, errors })),
        Err(e) => {
            errors.push(syntax_error(text, e.message(), e.span()));
            None
        }
    }
}

fn syntax_error(text: &str, message: &str, at: Option<Range<usize>>) -> PipelineError {
    let helps = [
        ("duplicate key", "keep one of the two"),
        ("string values must be quoted", "write a value after the `=`; text goes in double quotes"),
        ("cannot extend value", "give the section another name, or remove the value"),
        ("invalid multi-line", "end the text with three quotes, as it began"),
        ("invalid basic string", "end the text with a double quote, as it began"),
    ];
    let help = helps.iter().find(|(start, _)| message.starts_with(start)).map(|(_, help)| *help);
    let message = message.strip_suffix(", expected literal string").unwrap_or(message);
    let error = PipelineError::new(code::SYNTAX, format!("this is not TOML: {message}"))
        .help(help.unwrap_or("a line is `key = value`, `[section]` or `# comment`"));
    let Some(at) = at else { return error };
    // A text that is never closed ends with the file; its beginning is what helps.
    let opened = ["\"\"\"", "'''"].iter().filter_map(|quotes| text.rfind(quotes)).max();
    match opened.filter(|_| at.start == text.len() && message.starts_with("invalid multi-line")) {
        Some(opened) => error.at(opened..opened + 3, "opened here, never closed"),
        None => error.at(at, "here"),
    }
}

fn pipeline(root: &DeTable<'_>, reader: &mut Reader<'_>) -> RawPipeline {
    let top = Section::new(Kind::Top, "");
    reader.refuse_unknown_keys(root, &top);
    let state = reader::entry(root, Kind::Top, "state");
    let segment_ttl = match state.map(|(_, value)| (value.span(), value.get_ref())) {
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
