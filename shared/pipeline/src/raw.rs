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
    pub(crate) tick: Field<String>,
    pub(crate) max_state: Field<String>,
    pub(crate) streams: Field<Vec<Named<RawStream>>>,
    pub(crate) tables: Field<Vec<Named<RawTable>>>,
    pub(crate) queries: Field<Vec<Named<RawQuery>>>,
    pub(crate) sinks: Field<Vec<Named<RawTyped>>>,
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
    pub(crate) source: Field<RawSource>,
}

#[derive(Debug)]
pub(crate) struct RawSource {
    pub(crate) typed: RawTyped,
    pub(crate) batching_window: Field<String>,
}

#[derive(Debug)]
pub(crate) struct RawColumn {
    pub(crate) data_type: Field<String>,
    pub(crate) path: Field<String>,
    pub(crate) format: Field<String>,
    pub(crate) time_zone: Field<String>,
}

impl RawColumn {
    /// A column of which only the type is given.
    fn of_type(data_type: Field<String>) -> RawColumn {
        RawColumn {
            data_type,
            path: Field::Absent,
            format: Field::Absent,
            time_zone: Field::Absent,
        }
    }
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
    pub(crate) allowed_lateness: Field<String>,
    pub(crate) keep: Field<String>,
    pub(crate) incomplete: Field<String>,
    pub(crate) emit: Field<String>,
    pub(crate) emit_when: Field<String>,
    pub(crate) sinks: Field<Vec<Given<String>>>,
}

/// A section whose `type` decides which keys it has: a sink, or a stream's source.
#[derive(Debug)]
pub(crate) struct RawTyped {
    pub(crate) kind: Field<String>,
    /// Those keys of all types that hold text.
    pub(crate) keys: BTreeMap<&'static str, Field<String>>,
    pub(crate) properties: Field<Vec<Named<Given<String>>>>,
}

/// Reads a file's text. `None` when it is no TOML.
pub(crate) fn read(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    errors: &mut Vec<PipelineError>,
) -> Option<RawPipeline> {
    if text.len() > PIPELINE_FILE_BYTES_MAX {
        errors.push(too_large());
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

/// The mistake of a file that is not read because of its size.
pub(crate) fn too_large() -> PipelineError {
    let message = format!("the file is larger than {PIPELINE_FILE_BYTES_MAX} bytes");
    let help = "put lookup data into files of its own, as [tables.NAME]";
    PipelineError::new(code::TOO_LARGE, message).help(help)
}

/// What to write where a text has a backslash.
pub(crate) const BACKSLASH: &str = "in double quotes a \\ begins an escape: write it twice, \\\\, or put \
                                    the text in single quotes, '''…''', where a \\ is a \\";

fn syntax_error(text: &str, message: &str, at: Option<Range<usize>>) -> PipelineError {
    let helps = [
        ("duplicate key", "keep one of the two"),
        ("string values must be quoted", "write a value after the `=`; text goes in double quotes"),
        ("cannot extend value", "give the section another name, or remove the value"),
        ("invalid multi-line", "end the text with three quotes, as it began"),
        ("invalid basic string", "end the text with a double quote, as it began"),
    ];
    let escape = at.as_ref().is_some_and(|at| {
        let before = text.get(..at.start).unwrap_or_default();
        message.contains("escape") || message.contains("unicode") || before.ends_with('\\')
    });
    let help = match escape {
        true => Some(BACKSLASH),
        false => helps.iter().find(|(start, _)| message.starts_with(start)).map(|(_, help)| *help),
    };
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
    let duration: Read = |reader, table, section, key| reader.duration(table, section, key);
    let text: Read = |reader, table, section, key| reader.text(table, section, key);
    let [segment_ttl] = only(root, Kind::State, [("segment_ttl", duration)], reader);
    let advance = [("tick", duration), ("max_state", text)];
    let [tick, max_state] = only(root, Kind::Advance, advance, reader);
    reader.refuse_unknown_keys(root, &top);
    RawPipeline {
        name: reader.text(root, &top, "name"),
        dead_letters: reader.text(root, &top, "dead_letters"),
        segment_ttl,
        tick,
        max_state,
        streams: reader.sections(root, Kind::Stream, |reader, table, section| RawStream {
            format: reader.text(table, section, "format"),
            columns: reader.columns(table, section),
            event_time: reader.text(table, section, "event_time"),
            out_of_orderness: reader.duration(table, section, "out_of_orderness"),
            idle_after: reader.duration(table, section, "idle_after"),
            max_future: reader.duration(table, section, "max_future"),
            idle: reader.text(table, section, "idle"),
            source: source(table, section, reader),
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
            allowed_lateness: reader.duration(table, section, "allowed_lateness"),
            keep: reader.text(table, section, "keep"),
            incomplete: reader.text(table, section, "incomplete"),
            emit: reader.text(table, section, "emit"),
            emit_when: reader.text(table, section, "emit_when"),
            sinks: reader.texts(table, section, "sink"),
        }),
        sinks: reader.sections(root, Kind::Sink, |reader, table, section| {
            typed(table, section, section::SINK_TEXTS, reader)
        }),
    }
}

/// How a text of a section is read.
type Read = fn(&mut Reader<'_>, &DeTable<'_>, &Section, &str) -> Field<String>;

/// The texts that a section without a name holds.
fn only<const N: usize>(
    root: &DeTable<'_>,
    kind: Kind,
    keys: [(&str, Read); N],
    reader: &mut Reader<'_>,
) -> [Field<String>; N] {
    let name = kind.plural();
    let Some((_, value)) = reader::entry(root, Kind::Top, name) else {
        return keys.map(|_| Field::Absent);
    };
    let DeValue::Table(table) = value.get_ref() else {
        let first = keys.first().map_or("…", |(key, _)| key);
        let help = format!("write the section `[{name}]`, with `{first}` under it");
        reader.wrong_type(&format!("`{name}`"), value.span(), value.get_ref(), "a section", &help);
        return keys.map(|_| Field::Wrong);
    };
    let section = Section::new(kind, "");
    reader.refuse_unknown_keys(table, &section);
    keys.map(|(key, read)| read(reader, table, &section, key))
}

fn source(stream: &DeTable<'_>, owner: &Section, reader: &mut Reader<'_>) -> Field<RawSource> {
    let Some((key, value)) = reader::entry(stream, Kind::Stream, "source") else {
        return Field::Absent;
    };
    let section = owner.source();
    let DeValue::Table(table) = value.get_ref() else {
        let help = "write `source = { type = \"kinesis\", stream = \"…\" }`";
        reader.wrong_type(&section.to_string(), value.span(), value.get_ref(), "a table", help);
        return Field::Wrong;
    };
    reader.refuse_unknown_keys(table, &section);
    let source = RawSource {
        typed: typed(table, &section, section::SOURCE_TEXTS, reader),
        batching_window: reader.duration(table, &section, "batching_window"),
    };
    Field::Given(Given { key, at: value.span(), value: source })
}

fn typed(
    table: &DeTable<'_>,
    section: &Section,
    texts: &[&'static str],
    reader: &mut Reader<'_>,
) -> RawTyped {
    RawTyped {
        kind: reader.text(table, section, "type"),
        keys: texts.iter().map(|key| (*key, reader.text(table, section, key))).collect(),
        properties: reader.properties(table, section),
    }
}
