//! The program as a user sees it: every test runs the built binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod cases;
mod commands;
mod disk_full;
mod examples;
mod flights;
mod formats;
mod hostile;
#[cfg(feature = "aws")]
mod put;
#[cfg(not(feature = "aws"))]
mod put_without_aws;
mod resume;
mod revisions;
mod rows;
#[cfg(feature = "aws")]
mod table;
mod workspace;
