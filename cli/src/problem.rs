//! What went wrong, as a person needs to read it: what, where, and what to do.

use miette::Diagnostic;

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

    /// A problem whose text says what to do.
    pub(crate) fn plain(what: impl ToString) -> Problem {
        Problem { what: what.to_string(), help: None }
    }
}
