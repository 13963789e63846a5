//! One fault of a deployment: what is wrong, and what to do about it.
//!
//! Wiring collects every fault that it can find and shows them all at once, so that a deployment is
//! mended in one go.
//!
//! Not here: errors while records flow (`tidemill_model::store::StoreError`, the ports' errors).

/// Something about a deployment that a person has to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}. help: {help}")]
pub struct Fault {
    /// What is wrong, and where. No full stop at the end.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl Fault {
    /// A fault and its remedy.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { what: what.into(), help: help.into() }
    }
}
