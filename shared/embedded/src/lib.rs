//! The ports of one machine: an embedded store, files and standard input, files and standard
//! output.
//!
//! Not here: what is read, stored and written (`flow`), the command line (`cli`).

pub mod input;
pub mod sink;
pub mod store;
