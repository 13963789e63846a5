//! What went wrong, as a person needs to read it: what, where, and what to do.

use miette::Diagnostic;
use tidemill_model::store::StoreError;

/// One problem that ends the command.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{what}")]
pub(crate) struct Problem {
    what: String,
    #[help]
    help: Option<String>,
}

impl Problem {
    /// A problem and the way out.
    pub(crate) fn new(what: impl ToString, help: impl ToString) -> Problem {
        Problem { what: what.to_string(), help: Some(help.to_string()) }
    }

    /// A store that does not serve, and the way out.
    pub(crate) fn of_store(error: &StoreError) -> Problem {
        match error {
            StoreError::Refused { .. } | StoreError::Unknown { .. } => Problem::new(
                error,
                "see that the store's disk has room and can be written, then run the same command \
                 again: nothing is lost",
            ),
            StoreError::Damaged { .. } => Problem::plain(error),
        }
    }

    /// An output that does not take results, and the way out.
    pub(crate) fn of_output(error: impl ToString) -> Problem {
        Problem::new(
            error,
            "mend the output (a full disk needs room), then run the same command again: no result \
             is lost",
        )
    }

    /// A problem whose text says what to do.
    pub(crate) fn plain(what: impl ToString) -> Problem {
        Problem { what: what.to_string(), help: None }
    }
}
