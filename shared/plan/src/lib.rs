//! Queries: SQL in, what ingest runs and what advance runs out.

mod schema;

pub use schema::{ARRIVAL_TIME, arrow_type, stream_schema};
