//! Queries: SQL in; out comes what ingest runs per batch and what advance runs per closed window.
//!
//! ```text
//! SQL ─ sql ─▶ statement ─ windowed ─▶ logical plan ─ split ─▶ stages + upper plan
//!                                                     │
//!                       stage: lower plan, aggregates ┘  (ingest │ log │ advance)
//! ```
//!
//! Parsing, planning, optimizing and running are DataFusion's; ours is where a plan is cut.
//!
//! # Invariants
//! 1. A plan is made once, at start, and depends on the pipeline file and its tables alone.
//! 2. What cannot run as a stream is refused here, with its place and a way out; nothing is
//!    refused later.
//!
//! Not here: the pipeline file (`pipeline`), running stages over logs (`flow`).

mod aggregates;
mod assigned;
mod constants;
mod engine;
mod error;
mod explain;
mod fingerprint;
mod functions;
mod graph;
mod lateral;
mod leaf;
mod lineage;
mod meaning;
mod one_key;
mod optimizer;
mod query;
mod result_key;
mod revisions;
mod rows;
mod run;
mod schema;
mod split;
mod sql;
mod stage;
mod state_part;
mod statement;
mod tables;
mod typed;
mod volatile;
mod window_keys;
mod windowed;

pub use aggregates::StageAggregate;
pub use engine::{Functions, Versioned};
pub use error::PlanErrors;
pub use explain::explain;
pub use functions::CheckpointTime;
pub use graph::{AggregateRows, Derived, Glue, Graph, Ingested, Node, NodeKind, OperatorPlan};
pub use leaf::{Feed, ORDER, ROW, Slot, WINDOW_END, WINDOW_START};
pub use query::{
    LOG_CONTENT, PLANNER_THREAD, PipelinePlan, QueryPlan, plan, plan_with, shows_content,
};
pub use result_key::{Edge, ResultKey};
pub use revisions::{Condition, OP, REVISION, Revisions, TIMING, Timing};
pub use run::Runner;
pub use schema::{ARRIVAL_TIME, arrow_type, stream_schema};
pub use stage::as_of::{AsOfStage, TOUCHED};
pub use stage::count::{CountShape, CountStage};
pub use stage::join::{JOIN_STATE, JOINED, JoinStage, MATCHED, Residual};
pub use stage::over::{LastStage, Method, OverCall, OverFunction, OverStage, Sight};
pub use stage::rows::{LOG, RowStage};
pub use stage::within::{WithinInput, WithinStage};
pub use stage::{
    EVENT_TIME, GROUPING_ID, GroupingSetOf, OutputColumn, POSITION, RAW, RECORDS, SLICE_END,
    SLICE_START, Stage,
};
pub use state_part::{part_number, stage_and_part};
pub use tables::{InferredColumn, InferredTable};
pub use typed::{check_batch, of_type};
