//! What is wrong with a pipeline file, as diagnostics that point into it.
//!
//! One type for every mistake: nobody acts on one, a person reads them all. The code of each is
//! stable, so that it can be looked up.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use crate::{Pipeline, Query, SourceFile};

/// Codes of the mistakes that this crate finds.
pub mod code {
    /// The file cannot be read.
    pub const UNREADABLE: &str = "pipeline::unreadable";
    /// The file is longer than a pipeline file may be.
    pub const TOO_LARGE: &str = "pipeline::too_large";
    /// The file is no TOML.
    pub const SYNTAX: &str = "pipeline::syntax";
    /// A key that its section does not have.
    pub const UNKNOWN_KEY: &str = "pipeline::unknown_key";
    /// A key that something must have is missing.
    pub const MISSING_KEY: &str = "pipeline::missing_key";
    /// No stream or no query.
    pub const MISSING_SECTION: &str = "pipeline::missing_section";
    /// A number where text is wanted, and the like.
    pub const WRONG_TYPE: &str = "pipeline::wrong_type";
    /// `${VAR}` is not set.
    pub const UNSET_VARIABLE: &str = "pipeline::unset_variable";
    /// `${` that is not followed by a name and `}`.
    pub const BAD_VARIABLE: &str = "pipeline::bad_variable";
    /// A name that SQL or a sink could not use.
    pub const BAD_NAME: &str = "pipeline::bad_name";
    /// A name that Tidemill uses itself.
    pub const RESERVED_NAME: &str = "pipeline::reserved_name";
    /// Two things of one name.
    pub const DUPLICATE_NAME: &str = "pipeline::duplicate_name";
    /// A value that is none of those allowed.
    pub const UNKNOWN_VALUE: &str = "pipeline::unknown_value";
    /// Keys of one section that do not go together.
    pub const CONFLICT: &str = "pipeline::conflict";
    /// A value that is malformed: empty, no URL, no `host:port`.
    pub const BAD_VALUE: &str = "pipeline::bad_value";
    /// Text that is no duration.
    pub const BAD_DURATION: &str = "pipeline::bad_duration";
    /// Text that is no size, or a size that cannot be.
    pub const BAD_SIZE: &str = "pipeline::bad_size";
    /// More streams, queries, columns or the like than there may be.
    pub const TOO_MANY: &str = "pipeline::too_many";
    /// A duration that is too short or too long.
    pub const DURATION_BOUNDS: &str = "pipeline::duration_bounds";
    /// A column type that does not exist.
    pub const UNKNOWN_TYPE: &str = "pipeline::unknown_type";
    /// Two streams read one source.
    pub const SHARED_SOURCE: &str = "pipeline::shared_source";
    /// A property of a Kafka client that Tidemill sets itself.
    pub const RESERVED_PROPERTY: &str = "pipeline::reserved_property";
    /// `event_time` names no column.
    pub const UNKNOWN_COLUMN: &str = "pipeline::unknown_column";
    /// `event_time` names a column that is no timestamp.
    pub const NOT_A_TIMESTAMP: &str = "pipeline::not_a_timestamp";
    /// A sink that is not defined.
    pub const UNKNOWN_SINK: &str = "pipeline::unknown_sink";
    /// A static table's file is not there.
    pub const TABLE_FILE: &str = "pipeline::table_file";
    /// A static table's format cannot be told from its file's name.
    pub const TABLE_FORMAT: &str = "pipeline::table_format";

    /// All of them.
    pub const ALL: &[&str] = &[
        UNREADABLE,
        TOO_LARGE,
        SYNTAX,
        UNKNOWN_KEY,
        MISSING_KEY,
        MISSING_SECTION,
        WRONG_TYPE,
        UNSET_VARIABLE,
        BAD_VARIABLE,
        BAD_NAME,
        RESERVED_NAME,
        DUPLICATE_NAME,
        UNKNOWN_VALUE,
        CONFLICT,
        BAD_VALUE,
        BAD_DURATION,
        DURATION_BOUNDS,
        BAD_SIZE,
        TOO_MANY,
        UNKNOWN_TYPE,
        SHARED_SOURCE,
        RESERVED_PROPERTY,
        UNKNOWN_COLUMN,
        NOT_A_TIMESTAMP,
        UNKNOWN_SINK,
        TABLE_FILE,
        TABLE_FORMAT,
    ];
}

/// One mistake in a pipeline file: in its keys, or, found by the planner, in the SQL it holds.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct PipelineError {
    code: &'static str,
    message: String,
    help: Option<String>,
    labels: Vec<(Range<usize>, String)>,
    file: Option<SourceFile>,
}

impl PipelineError {
    /// A mistake without a place. `code` is stable, like `pipeline::unknown_key`.
    pub fn new(code: &'static str, message: impl Into<String>) -> PipelineError {
        let message = message.into();
        PipelineError { code, message, help: None, labels: Vec::new(), file: None }
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> PipelineError {
        self.help = Some(help.into());
        self
    }

    /// Points at bytes of the pipeline file. The first place is the mistake's own, others explain.
    pub fn at(mut self, bytes: Range<usize>, label: impl Into<String>) -> PipelineError {
        self.labels.push((bytes, label.into()));
        self
    }

    /// Points at bytes of a query's SQL.
    pub fn in_sql(self, query: &Query, sql: Range<usize>, label: impl Into<String>) -> Self {
        self.at(query.place(sql), label)
    }

    /// The file that the places are in. [`PipelineErrors::new`] does this for each of its errors.
    pub fn in_file(mut self, file: &SourceFile) -> PipelineError {
        for (bytes, _) in &mut self.labels {
            // A place behind the last line break would be shown without its line.
            let last = file.text.trim_end_matches(['\r', '\n']).len();
            bytes.start = bytes.start.min(last);
            bytes.end = bytes.end.clamp(bytes.start, last);
        }
        self.file = Some(file.clone());
        self
    }

    /// Puts `${NAME}` in the place of the values of variables. `variables` are names by value; values
    /// of fewer than four bytes are no secrets, and stand in many a text.
    pub(crate) fn hide(&mut self, variables: &BTreeMap<String, String>) {
        let texts = self.labels.iter_mut().map(|(_, label)| label).chain(&mut self.help);
        for text in texts.chain([&mut self.message]) {
            for (value, name) in variables.iter().filter(|(value, _)| value.len() >= 4) {
                if text.contains(value.as_str()) {
                    *text = text.replace(value.as_str(), &format!("${{{name}}}"));
                }
            }
        }
    }

    /// Its stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The bytes of the pipeline file that it points at first.
    pub fn place(&self) -> Option<Range<usize>> {
        self.labels.first().map(|(bytes, _)| bytes.clone())
    }
}

impl Diagnostic for PipelineError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.file.as_ref().map(|file| file as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.labels.iter().enumerate().map(|(index, (bytes, label))| {
            let label = (!label.is_empty()).then(|| label.clone());
            match index {
                0 => LabeledSpan::new_primary_with_span(label, bytes.clone()),
                _ => LabeledSpan::new_with_span(label, bytes.clone()),
            }
        })))
    }
}

/// All that is wrong with one pipeline file, in the file's order. As a diagnostic, it shows each
/// with its own place.
#[derive(Debug, Clone, thiserror::Error)]
pub struct PipelineErrors {
    file_name: String,
    errors: Vec<PipelineError>,
    rest: Option<Box<Pipeline>>,
}

impl PipelineErrors {
    /// `errors` of `file`, which they then point into.
    pub fn new(file: &SourceFile, errors: Vec<PipelineError>) -> PipelineErrors {
        let mut errors: Vec<_> = errors.into_iter().map(|error| error.in_file(file)).collect();
        errors.sort_by_key(|error| error.place().map(|bytes| bytes.start));
        PipelineErrors { file_name: file.name.clone(), errors, rest: None }
    }

    /// With what could be read all the same.
    pub(crate) fn with_rest(mut self, rest: Option<Pipeline>) -> PipelineErrors {
        self.rest = rest.map(Box::new);
        self
    }

    /// The pipeline as far as it could be read, when nothing is wrong with its streams and tables:
    /// good for finding mistakes in its SQL, and for nothing else.
    pub fn rest(&self) -> Option<&Pipeline> {
        self.rest.as_deref()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, PipelineError> {
        self.errors.iter()
    }
}

impl IntoIterator for PipelineErrors {
    type Item = PipelineError;
    type IntoIter = std::vec::IntoIter<PipelineError>;

    fn into_iter(self) -> Self::IntoIter {
        self.errors.into_iter()
    }
}

impl<'a> IntoIterator for &'a PipelineErrors {
    type Item = &'a PipelineError;
    type IntoIter = std::slice::Iter<'a, PipelineError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for PipelineErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => write!(f, "`{}` has a mistake", self.file_name),
            n => write!(f, "`{}` has {n} mistakes", self.file_name),
        }
    }
}

impl Diagnostic for PipelineErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

impl SourceCode for SourceFile {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, context_lines_before, context_lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            read.data(),
            *read.span(),
            read.line(),
            read.column(),
            read.line_count(),
        )))
    }
}
