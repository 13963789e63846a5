//! What a query is: its name is for people, its fingerprint is for stored state.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Hash of everything that gives a query's stored state its meaning: its name, settings and SQL, the
/// declarations that it reads, the schemas and versions of the state. Whoever has it may read the state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
