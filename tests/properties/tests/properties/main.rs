//! Properties of queries: what a stream answers is what a batch answers.

mod late;
mod queries;
mod refusals;
mod schedules;
mod snapshots;
