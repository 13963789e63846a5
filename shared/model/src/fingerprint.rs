//! What a query is: its name is for people, its fingerprint is for stored state.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Hash of everything that gives a query's stored state its meaning: plan, state schema, engine
/// version, tables that advance reads. Equal fingerprints may read each other's state.
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
