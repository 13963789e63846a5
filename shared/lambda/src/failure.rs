//! How a function fails an invocation: a stable code, and a text that says what to do.

use std::fmt;

use lambda_runtime::Diagnostic;

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable code, such as `Event.OtherSource`: what Lambda calls the error's type.
    pub code: &'static str,
    /// What happened, and what to do.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Diagnostic {
        Diagnostic { error_type: failure.code.to_string(), error_message: failure.message }
    }
}
