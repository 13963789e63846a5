//! What the engine says when a query fails, told without the value that it failed on.

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;

use super::QueryError;

/// How to see the value.
const ASK: &str = "set TIDEMILL_LOG_CONTENT=true to see what the engine says, which may quote the \
                   values of records";

impl QueryError {
    /// The failure of a query. The engine's text may quote values of records, so it is given only
    /// when `show_content`; else the kind of failure.
    pub fn of(query: &str, error: &DataFusionError, show_content: bool) -> QueryError {
        let reason = match show_content {
            true => error.strip_backtrace(),
            false => format!("{}; {ASK}", Kind::of(error).words),
        };
        QueryError::Failed { query: query.to_string(), reason }
    }
}

/// Whether a value can be the cause.
pub(crate) fn is_of_value(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Collection(errors) => errors.iter().all(is_of_value),
        error => Kind::of(error).of_value,
    }
}

/// How arrow begins what it says of a batch whose columns are of other types than its schema's.
const COLUMN_TYPES: &str = "column types must match schema types";

/// What failed.
struct Kind {
    /// In words that hold nothing of a record.
    words: &'static str,
    /// Whether a value can be the cause, so that other values would do.
    of_value: bool,
}

impl Kind {
    /// The kind of an error; of several, of the first.
    fn of(error: &DataFusionError) -> Kind {
        let value = |words| Kind { words, of_value: true };
        let other = |words| Kind { words, of_value: false };
        match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Kind::of(inner)
            }
            DataFusionError::Shared(inner) => Kind::of(inner),
            DataFusionError::Collection(errors) => {
                errors.first().map_or(other("the engine failed"), Kind::of)
            }
            DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
                ArrowError::CastError(_) | ArrowError::ParseError(_) => {
                    value("a value cannot be cast; TRY_CAST gives NULL for such values")
                }
                ArrowError::DivideByZero => {
                    value("a division by zero; NULLIF(divisor, 0) gives NULL")
                }
                ArrowError::ArithmeticOverflow(_) => value(
                    "a number became too large; cast to a wider type, such as DECIMAL or DOUBLE",
                ),
                // A value of another type than planned, whatever the value is.
                ArrowError::InvalidArgumentError(of) if of.starts_with(COLUMN_TYPES) => {
                    other("the engine has an error of its own, please report it")
                }
                ArrowError::InvalidArgumentError(_) => {
                    value("a function was called with a value it cannot take")
                }
                ArrowError::ComputeError(_) | ArrowError::ExternalError(_) => {
                    value("the engine failed on a value")
                }
                ArrowError::MemoryError(_) => other("memory ran out"),
                ArrowError::OffsetOverflowError(_) => {
                    other("a column of results became longer than 2 GiB")
                }
                _ => other("the engine failed on a value"),
            },
            DataFusionError::Execution(_) | DataFusionError::External(_) => {
                value("a function failed on a value")
            }
            DataFusionError::ResourcesExhausted(_) => other("memory ran out"),
            DataFusionError::Internal(_) => {
                other("the engine has an error of its own, please report it")
            }
            DataFusionError::NotImplemented(_) => other("the engine does not do this yet"),
            _ => other("the engine failed on a value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// Records were dead letters for what no record can help: a value of another type than planned.
    #[test]
    fn a_column_of_another_type_is_an_error_of_the_engines_own() {
        let schema = Schema::new(vec![Field::new("n", DataType::Int32, true)]);
        let column = Arc::new(Int64Array::from(vec![1]));
        let error = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap_err();
        assert!(!is_of_value(&error.into()));
    }

    #[test]
    fn a_value_is_quoted_only_when_asked_for() {
        let cast = || ArrowError::CastError("Cannot cast string 'canary' to Int64".to_string());
        let errors = [
            DataFusionError::ArrowError(Box::new(cast()), None),
            DataFusionError::Execution("canary".to_string()),
            DataFusionError::Internal("canary".to_string()),
            DataFusionError::Context(
                "canary".to_string(),
                Box::new(DataFusionError::ArrowError(Box::new(cast()), None)),
            ),
            DataFusionError::Collection(vec![DataFusionError::Plan("canary".to_string())]),
        ];
        for error in errors {
            let hidden = QueryError::of("q", &error, false).to_string();
            assert!(!hidden.contains("canary"), "{hidden}");
            assert!(hidden.contains("query `q`") && hidden.contains("TIDEMILL_LOG_CONTENT"));
            assert!(QueryError::of("q", &error, true).to_string().contains("canary"));
        }
    }
}
