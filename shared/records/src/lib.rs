//! Records as texts → Arrow columns: what of a text is the value of which declared column.
//!
//! ```text
//! record ─ json | csv ─▶ spans of the wanted values ─ columns ─▶ one value of every column
//!                                                     │
//!                                   number, timestamp ┘
//! ```
//!
//! Streams and the files of static tables are read by this same code, so that a text is the same
//! value in both.
//!
//! # Invariants
//! 1. Pure: no clock, no file, no database of the machine's. Time zones are the ones that the program
//!    was built with.
//! 2. Numbers and times are read from their digits, exactly, never by way of a double.
//! 3. What is remembered between records makes reading faster and never changes an answer.
//!
//! Not here: what becomes of a record that cannot be read (`flow::decode`), files (`embedded`, and
//! `plan::tables` for static tables), what a column's declaration may say (`pipeline`).

mod columns;
mod csv;
mod json;
mod number;
mod rows;
mod time_text;
mod timestamp;

pub use columns::{ColumnBuilder, Value, arrow_type};
pub use csv::{HeaderError, file_records, header_names};
pub use rows::RowReader;
