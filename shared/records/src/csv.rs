//! CSV records: where in a record the wanted fields are (RFC 4180).
//!
//! A field may be quoted; a quote inside a quoted field is doubled. An empty field without quotes
//! is null; `""` is the empty text, and null in columns that are no text. Spaces belong to their
//! field. A quote inside a field that does not begin with one is a character like others. Not the
//! csv crate: it does not tell an empty field from a quoted empty one, and takes a quote that
//! never closes for the end of the field.

use std::borrow::Cow;

use memchr::{memchr, memchr3};
use tidemill_model::ColumnType;
use tidemill_model::limits::CSV_FIELDS_MAX;
use tidemill_pipeline::Column;

use crate::columns::Value;

/// Why the fields of a CSV file are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The header line is no line of CSV.
    #[error("the CSV header cannot be read: {0}")]
    Unreadable(String),
    /// The header lacks a declared column.
    #[error(
        "the CSV header has no column `{column}`{}",
        .suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
    )]
    Missing {
        /// Name that the header should have.
        column: String,
        /// A name of the header that it may be a misspelling of.
        suggestion: Option<String>,
        /// How many names the header has.
        columns: usize,
    },
    /// The header names a declared column twice.
    #[error("the CSV header has two columns `{0}`")]
    Ambiguous(String),
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte of the record.
    pub(crate) at: usize,
    /// What was expected there.
    pub(crate) what: String,
}

/// Reads records; holds the spans of the last one's fields.
#[derive(Debug)]
pub(crate) struct CsvReader {
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

/// The names that a header line gives the fields.
pub fn header_names(header: &[u8]) -> Result<Vec<String>, HeaderError> {
    let unreadable = HeaderError::Unreadable;
    let mut reader = CsvReader { field_count: 0, fields: Vec::new(), scratch: String::new() };
    let header = std::str::from_utf8(header)
        .map_err(|error| unreadable(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let found = reader.split(header, CSV_FIELDS_MAX).map_err(|fault| unreadable(fault.what))?;
    if found > CSV_FIELDS_MAX {
        return Err(unreadable(format!("{found} fields, more than {CSV_FIELDS_MAX}")));
    }
    Ok(reader.fields.iter().map(|field| field.text(header).into_owned()).collect())
}

/// The records of a whole CSV file, each with the number of its first line, from 1. A line's end
/// within quotes is part of its field; empty lines are no records.
pub fn file_records(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    let mut line = 1;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let record = &rest[..record_length(rest)];
            let after = &rest[record.len()..];
            let end = if after.starts_with("\r\n") { 2 } else { after.len().min(1) };
            let first = line;
            let ends = |text: &str| text.replace("\r\n", "\n").matches(['\n', '\r']).count();
            line += ends(record) + usize::from(end > 0);
            rest = &after[end..];
            if !record.is_empty() {
                return Some((first, record));
            }
        }
    })
}

/// How many bytes the record has that `text` begins with, without the end of its line.
fn record_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        // At the beginning of a field.
        if bytes.get(at) == Some(&b'"') {
            at += 1;
            while let Some(quote) = memchr(b'"', &bytes[at..]) {
                at += quote + 1;
                if bytes.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
        }
        match memchr3(b',', b'\n', b'\r', &bytes[at..]) {
            None => return bytes.len(),
            Some(found) => {
                at += found;
                if bytes[at] != b',' {
                    return at;
                }
                at += 1;
            }
        }
    }
}

impl CsvReader {
    /// A reader of records whose fields `header` names (without one: the columns in order), and
    /// the field of each column.
    pub(crate) fn new(
        columns: &[Column],
        header: Option<&[u8]>,
    ) -> Result<(CsvReader, Vec<usize>), HeaderError> {
        let mut reader = CsvReader { field_count: 0, fields: Vec::new(), scratch: String::new() };
        let Some(header) = header else {
            reader.field_count = columns.len();
            return Ok((reader, (0..columns.len()).collect()));
        };
        let names = header_names(header)?;
        reader.field_count = names.len();
        let field_of = |column: &Column| {
            let wanted = column.name_in_file();
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == wanted);
            match (found.next(), found.next()) {
                (Some((index, _)), None) => Ok(index),
                (Some(_), Some(_)) => Err(HeaderError::Ambiguous(wanted.to_string())),
                (None, _) => Err(HeaderError::Missing {
                    column: wanted.to_string(),
                    suggestion: nearest(wanted, &names),
                    columns: names.len(),
                }),
            }
        };
        let fields = columns.iter().map(field_of).collect::<Result<_, _>>()?;
        Ok((reader, fields))
    }

    /// Finds the fields of `record`.
    pub(crate) fn read(&mut self, record: &str) -> Result<(), Fault> {
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
    pub(crate) fn value<'a>(
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
    pub(crate) fn offset(&self, field: usize) -> usize {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_of_a_file_end_outside_quotes() {
        let text = "a,b\r\n\n1,\"x\ny\"\r2,\"q\"\"\r\n\"\"\",z\n\n3,\"open\n4,5";
        let records: Vec<_> = file_records(text).collect();
        let expected = [
            (1, "a,b"),
            (3, "1,\"x\ny\""),
            (5, "2,\"q\"\"\r\n\"\"\",z"),
            (8, "3,\"open"),
            (9, "4,5"),
        ];
        // A quote that never closes is the fault of its line.
        assert_eq!(records, expected);
        assert_eq!(file_records("").count(), 0);
        assert_eq!(file_records("\n\r\n").count(), 0);
    }

    proptest! {
        /// Whatever the csv crate writes is cut where it was put together.
        #[test]
        fn files_of_the_csv_crate_are_cut_into_their_records(
            rows in prop::collection::vec(prop::collection::vec("[a\", \r\né]{0,5}", 2), 0..6)
        ) {
            let mut writer = ::csv::Writer::from_writer(Vec::new());
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let (mut reader, _) = CsvReader::new(&[], Some(b"a,b")).unwrap();
            let read: Vec<Vec<String>> = file_records(&text)
                .map(|(_, record)| {
                    reader.read(record).unwrap();
                    reader.fields.iter().map(|field| field.text(record).into_owned()).collect()
                })
                .collect();
            prop_assert_eq!(read, rows);
        }
    }
}
