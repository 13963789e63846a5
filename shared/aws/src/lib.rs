//! AWS ports: the only crate that names an SDK type.
