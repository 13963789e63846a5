//! Whole deployments, from the source to the tables: the built functions as processes, fed by a
//! driver that behaves as event source mappings do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "processes and servers run by the real clock")]

mod ad_views;
mod aggregated;
mod bad_events;
mod chaos;
mod configuration;
mod deployment;
mod hanging;
mod kafka;
mod late_writes;
mod latest;
mod outage;
mod poison;
mod recreated_mapping;
mod resharding;
mod row_queries;
mod skew;
mod skipped;
mod state_table;
mod too_large;
mod two_advances;
