//! The program as a user sees it: every test runs the built binary.

mod bad_input;
mod commands;
mod formats;
mod resume;
mod workspace;
