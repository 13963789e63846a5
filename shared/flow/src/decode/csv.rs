//! CSV records: where in a line the wanted fields are (RFC 4180, within one line).
//!
//! A field may be quoted; a quote inside a quoted field is doubled. An empty field without quotes
//! is null; `""` is the empty text, and null in columns that are no text. Spaces belong to their
//! field. A quote inside a field that does not begin with one is a character like others. Not the
//! csv crate: it does not tell an empty field from a quoted empty one, and takes a quote that
//! never closes for the end of the field.

use std::borrow::Cow;

use memchr::memchr;
use tidemill_model::ColumnType;
use tidemill_model::limits::CSV_FIELDS_MAX;
use tidemill_pipeline::Column;

use super::columns::Value;
use super::decoder::DecodeSetupError;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte of the record.
    pub(super) at: usize,
    /// What was expected there.
    pub(super) what: String,
}

/// Reads records; holds the spans of the last one's fields.
#[derive(Debug)]
pub(super) struct CsvReader {
    /// Fields that a record must have.
    field_count: usize,
    fields: Vec<Field>,
    scratch: String,
}

/// Where a field stands in the record, without its quotes.
#[derive(Debug, Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    quoted: bool,
    /// Whether there are doubled quotes in it.
    escaped: bool,
}

impl CsvReader {
    /// A reader of records whose fields `header` names (without one: the columns in order), and
    /// the field of each column.
    pub(super) fn new(
        stream: &str,
        columns: &[Column],
        header: Option<&[u8]>,
    ) -> Result<(CsvReader, Vec<usize>), DecodeSetupError> {
        let mut reader = CsvReader { field_count: 0, fields: Vec::new(), scratch: String::new() };
        let Some(header) = header else {
            reader.field_count = columns.len();
            return Ok((reader, (0..columns.len()).collect()));
        };
        let unreadable = |reason: String| DecodeSetupError::HeaderUnreadable {
            stream: stream.to_string(),
            reason,
        };
        let header = std::str::from_utf8(header)
            .map_err(|error| unreadable(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
        let found = reader.split(header, CSV_FIELDS_MAX).map_err(|fault| unreadable(fault.what))?;
        if found > CSV_FIELDS_MAX {
            return Err(unreadable(format!("{found} fields, more than {CSV_FIELDS_MAX}")));
        }
        reader.field_count = found;
        let names: Vec<String> =
            reader.fields.iter().map(|field| field.text(header).into_owned()).collect();
        let field_of = |column: &Column| {
            let wanted = column.path.last().unwrap_or(&column.name);
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == wanted);
            match (found.next(), found.next()) {
                (Some((index, _)), None) => Ok(index),
                (Some(_), Some(_)) => Err(DecodeSetupError::AmbiguousColumn {
                    stream: stream.to_string(),
                    column: wanted.clone(),
                }),
                (None, _) => Err(DecodeSetupError::MissingColumn {
                    stream: stream.to_string(),
                    column: wanted.clone(),
                    suggestion: nearest(wanted, &names),
                    columns: names.len(),
                }),
            }
        };
        let fields = columns.iter().map(field_of).collect::<Result<_, _>>()?;
        Ok((reader, fields))
    }

    /// Finds the fields of `record`.
    pub(super) fn read(&mut self, record: &str) -> Result<(), Fault> {
        if record.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Err(Fault { at: 0, what: "empty record".to_string() });
        }
        let found = self.split(record, self.field_count)?;
        if found != self.field_count {
            let what = format!("expected {} fields, found {found}", self.field_count);
            return Err(Fault { at: record.len(), what });
        }
        Ok(())
    }

    /// The value of a field of `record`, which is the record that was read last.
    pub(super) fn value<'a>(
        &'a mut self,
        field: usize,
        data_type: ColumnType,
        record: &'a str,
    ) -> Value<'a> {
        let field = self.fields[field];
        let text = &record[field.start..field.end];
        if text.is_empty() && !(field.quoted && data_type == ColumnType::String) {
            return Value::Null;
        }
        match field.text(record) {
            Cow::Borrowed(text) => Value::Field(text),
            Cow::Owned(text) => {
                self.scratch = text;
                Value::Field(&self.scratch)
            }
        }
    }

    /// Where a field begins.
    pub(super) fn offset(&self, field: usize) -> usize {
        self.fields[field].start
    }

    /// Finds the first `most` fields, and how many there are: a record of commas alone has as many
    /// as it has bytes.
    fn split(&mut self, record: &str, most: usize) -> Result<usize, Fault> {
        let fault = |at, what: &str| Err(Fault { at, what: what.to_string() });
        let bytes = record.as_bytes();
        self.fields.clear();
        let mut count = 0;
        let mut at = 0;
        loop {
            let mut field = Field { start: at, end: at, quoted: false, escaped: false };
            if bytes.get(at) == Some(&b'"') {
                field.start += 1;
                field.quoted = true;
                at = field.start;
                loop {
                    let Some(quote) = memchr(b'"', &bytes[at..]) else {
                        return fault(field.start - 1, "the quoted field does not end");
                    };
                    at += quote + 1;
                    if bytes.get(at) != Some(&b'"') {
                        break;
                    }
                    field.escaped = true;
                    at += 1;
                }
                field.end = at - 1;
                if !matches!(bytes.get(at), None | Some(b',')) {
                    return fault(at, "expected `,` after the closing quote");
                }
            } else {
                at += memchr(b',', &bytes[at..]).unwrap_or(bytes.len() - at);
                field.end = at;
            }
            count += 1;
            if count <= most {
                self.fields.push(field);
            }
            if at == bytes.len() {
                return Ok(count);
            }
            at += 1;
        }
    }
}

impl Field {
    fn text(self, record: &str) -> Cow<'_, str> {
        let text = &record[self.start..self.end];
        if self.escaped { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) }
    }
}

/// The name that `wanted` is most likely a misspelling of.
fn nearest(wanted: &str, names: &[String]) -> Option<String> {
    let wanted = wanted.to_lowercase();
    names
        .iter()
        .map(|name| (edits(&wanted, &name.trim().to_lowercase()), name))
        .filter(|(edits, _)| *edits <= 1 + wanted.chars().count() / 4)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name.clone())
}

/// Levenshtein distance.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
