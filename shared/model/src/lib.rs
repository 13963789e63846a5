//! The nouns of Tidemill: what the six verbs say to each other.
//!
//! Everything here is plain data or a port (a trait that a store implements). Nothing here reads
//! a clock, an environment variable or a random number, and nothing here knows Arrow, SQL or AWS.
//!
//! Not here: bytes on disk (`codec`), the pipeline file (`pipeline`), queries (`plan`),
//! what happens to the nouns (`flow`).

mod bytes;
mod checkpoint;
mod column;
mod dead_letter;
mod fingerprint;
mod keep;
pub mod limits;
mod log;
mod position;
mod segment;
pub mod store;
mod time;
mod window;

pub use checkpoint::{Checkpoint, Emitted, LogProgress, QueryProgress, SnapshotRef, Totals};
pub use column::ColumnType;
pub use dead_letter::{DeadLetter, DeadReason, RawBytes};
pub use fingerprint::Fingerprint;
pub use keep::Keep;
pub use log::{LogEntry, LogId, LogIdError};
pub use position::{Position, PositionError};
pub use segment::{Block, Segment};
pub use time::{Epoch, EventMs, WallMs};
pub use window::{Slice, Window, WindowError, WindowShape};
