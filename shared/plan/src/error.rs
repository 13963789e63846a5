//! Why a query cannot run, where it says so, and what to write instead.
//!
//! Every error points into the pipeline file. Inside the planner a [`Refusal`] points into the
//! SQL; [`PlanErrors`] turns byte ranges of SQL into byte ranges of the file.

mod elsewhere;
mod plainly;
pub(crate) mod shown;

use std::ops::Range;

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::common::{DataFusionError, Span};
use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan};
use miette::Diagnostic;
use tidemill_pipeline::{PipelineError, Query, SourceFile};

/// Code of what `emit_when` may not say: its refusals point at it, not into the SQL.
pub(crate) const CONDITION: &str = "plan::emit_when";

/// What a query may not do, before it is known where the query stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// Stable name of the kind, such as `plan::window::uneven_step`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Bytes of the SQL that are meant.
    pub(crate) at: Option<Range<usize>>,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), help: None, at: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Refusal {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn at(mut self, at: Option<Range<usize>>) -> Refusal {
        self.at = at.or(self.at);
        self
    }

    /// The refusal as the engine's error, to be found again by [`Refusal::from_engine`].
    pub(crate) fn into_engine(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// What the engine refused, in our terms. `sql` is the query's text.
    pub(crate) fn from_engine(error: DataFusionError, sql: &str) -> Refusal {
        if let Some(refusal) = find_refusal(&error) {
            return refusal;
        }
        let at = error.diagnostic().and_then(|diagnostic| diagnostic.span).and_then(|span| {
            let Span { start, end } = span;
            byte_range(sql, (start.line, start.column), (end.line, end.column))
        });
        let help = error.diagnostic().and_then(|diagnostic| {
            let help: Vec<&str> =
                diagnostic.helps.iter().map(|help| help.message.as_str()).collect();
            (!help.is_empty()).then(|| help.join("; "))
        });
        let message = engine_message(&error);
        let at = at.or_else(|| location_in(&message, sql));
        let (message, way_out) = elsewhere::told(message);
        Refusal { code: "plan::sql", message, help: way_out.or(help), at }.quoted(sql)
    }

    /// A name in double quotes that is no column may be meant as a text.
    fn quoted(mut self, sql: &str) -> Refusal {
        let place = self.at.clone().and_then(|at| sql.get(at));
        if self.help.is_none()
            && self.message.starts_with("No field named")
            && !self.message.contains("Did you mean")
            && place.is_some_and(|place| place.starts_with('"'))
        {
            self.help =
                Some("double quotes are for names; a text stands in single ones: 'a'".to_string());
        }
        self
    }

    /// The refusal of an unknown function, with the closest of `functions` as its help. The engine
    /// suggests one too, but of several that are equally close another one each time, and however
    /// far it is.
    pub(crate) fn suggest<'a>(mut self, functions: impl Iterator<Item = &'a String>) -> Refusal {
        let message = self.message.split_once("\nDid you mean '").map_or(&*self.message, |it| it.0);
        let name =
            message.strip_prefix("Invalid function '").and_then(|rest| rest.split_once('\''));
        let Some((name, _)) = name else { return self };
        self.help = self.help.or_else(|| elsewhere::function(name));
        let name = name.to_lowercase();
        let most = 1 + name.chars().count() / 4;
        let closest = functions
            .map(|function| (levenshtein(&function.to_lowercase(), &name), function))
            .filter(|(edits, _)| *edits <= most)
            .min();
        // Known, and refused all the same: what needs OVER stands without it.
        if let Some((0, function)) = closest {
            let function = function.to_uppercase();
            let help = format!("write {function}(…) OVER (PARTITION BY k ORDER BY ts)");
            self.help = self.help.or(Some(help));
        }
        self.help =
            self.help.or(closest.map(|(_, function)| format!("did you mean `{function}`?")));
        self.message = message.trim_end_matches('.').to_string();
        self
    }
}

/// The innermost message of an engine error, without its chain of prefixes and its back trace.
pub(crate) fn engine_message(error: &DataFusionError) -> String {
    let message = match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => {
            return engine_message(inner);
        }
        DataFusionError::Shared(inner) => return engine_message(inner),
        other => other.strip_backtrace(),
    };
    let prefixes = [
        "Error during planning: ",
        "SQL error: ",
        "Schema error: ",
        "This feature is not implemented: ",
        "Execution error: ",
    ];
    let mut rest = message.as_str();
    while let Some(stripped) = prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = stripped;
    }
    let parser = rest.strip_prefix("ParserError(\"").and_then(|rest| rest.strip_suffix("\")"));
    parser.unwrap_or(rest).to_string()
}

fn find_refusal(error: &DataFusionError) -> Option<Refusal> {
    match error {
        DataFusionError::External(inner) => inner.downcast_ref::<Refusal>().cloned(),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            find_refusal(inner)
        }
        DataFusionError::Shared(inner) => find_refusal(inner),
        DataFusionError::Collection(inner) => inner.iter().find_map(find_refusal),
        _ => None,
    }
}

/// The place that a parser message ends with, `at Line: 3, Column: 8`.
fn location_in(message: &str, sql: &str) -> Option<Range<usize>> {
    let (_, place) = message.rsplit_once("Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    let column: String = column.chars().take_while(char::is_ascii_digit).collect();
    let start = (line.trim().parse().ok()?, column.parse().ok()?);
    byte_range(sql, start, start)
}

/// Bytes of `sql` that a token span covers.
pub(crate) fn span_range(sql: &str, span: TokenSpan) -> Option<Range<usize>> {
    let pair = |at: Location| (at.line, at.column);
    byte_range(sql, pair(span.start), pair(span.end))
}

/// Bytes from one line and column to another (1-based, columns in characters, end exclusive); at
/// least one character.
fn byte_range(sql: &str, start: (u64, u64), end: (u64, u64)) -> Option<Range<usize>> {
    let from = byte_at(sql, start)?;
    let to = byte_at(sql, end).unwrap_or(sql.len());
    let one = sql[from..].chars().next().map_or(0, char::len_utf8);
    Some(from..to.max(from + one))
}

fn byte_at(sql: &str, (line, column): (u64, u64)) -> Option<usize> {
    let line = usize::try_from(line.checked_sub(1)?).ok()?;
    let column = usize::try_from(column.checked_sub(1)?).ok()?;
    let mut start = 0;
    for _ in 0..line {
        start += sql[start..].find('\n')? + 1;
    }
    let rest = &sql[start..];
    let end = rest.find('\n').unwrap_or(rest.len());
    let within = rest[..end].char_indices().nth(column).map_or(end, |(byte, _)| byte);
    Some(start + within)
}

/// A text without the names that the engine gives the subqueries of EXISTS and IN.
fn without_aliases(text: String) -> String {
    let Some((before, rest)) = text.split_once("__correlated_sq_") else { return text };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}b{}", without_aliases(rest.to_string()))
}

impl Refusal {
    /// The refusal as a mistake of the pipeline file, at its place in the query's SQL, or at all of
    /// it.
    pub(crate) fn into_mistake(self, file: &SourceFile, query: &Query) -> PipelineError {
        let message = format!("query `{}`: {}", query.name, without_aliases(self.message));
        let mistake = PipelineError::new(self.code, message);
        let condition = query.emit_when.as_ref().filter(|_| self.code == CONDITION);
        let mistake = match (condition, self.at) {
            (Some(condition), _) => mistake.at(condition.at.clone(), "here"),
            (None, Some(at)) => mistake.in_sql(query, at, "here"),
            (None, None) => mistake.at(query.sql_at.value.clone(), "here"),
        };
        match self.help {
            Some(help) => mistake.help(without_aliases(help)),
            None => mistake,
        }
        .in_file(file)
    }
}

/// Everything that is wrong with a pipeline's queries and tables.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the pipeline's queries have {} {}", errors.len(), if errors.len() == 1 { "error" } else { "errors" })]
pub struct PlanErrors {
    /// The errors, in the order of the queries' names.
    #[related]
    pub errors: Vec<PipelineError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_in_a_text_of_several_lines() {
        let sql = "SELECT ä,\n  b\nFROM s";
        assert_eq!(byte_range(sql, (2, 3), (2, 4)), Some(13..14));
        assert_eq!(&sql[13..14], "b");
        assert_eq!(byte_range(sql, (1, 8), (1, 9)), Some(7..9));
        assert_eq!(byte_range(sql, (3, 99), (3, 99)), Some(sql.len()..sql.len()));
        assert_eq!(byte_range(sql, (9, 1), (9, 1)), None);
    }

    #[test]
    fn a_parser_message_tells_its_place() {
        let sql = "SELECT\n  FROM s";
        let at = location_in("Expected: x, found: y at Line: 2, Column: 3", sql);
        assert_eq!(at.map(|at| sql[at].to_string()), Some("F".to_string()));
    }
}
