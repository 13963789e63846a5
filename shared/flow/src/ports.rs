//! The ports of the six verbs: what the verbs need of the world and of the queries.
//!
//! The verbs' decisions are pure; whatever reads a clock, a disk or a network is behind one of
//! these traits or behind [`tidemill_model::store::Store`].

mod failure;

pub(crate) use failure::is_of_value;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidemill_model::{
    Block, DeadLetter, Epoch, EventMs, Fingerprint, LogId, Position, RawBytes, Segment, WallMs,
    Window,
};

use crate::decode::Decoded;

/// What combine makes of the records of one batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Combined {
    /// One block per query stage that has rows.
    pub blocks: Vec<Block>,
    /// Records that a query fails on and does not count.
    pub failed: Vec<DeadLetter>,
}

/// Ingest's share of all queries of one pipeline: filter, projection, lookup join, partial
/// aggregation. Pure: the same records and `seen` give the same blocks.
pub trait Combine: Send {
    /// Combines the decoded records. A record that a query fails on is left out of that query; an
    /// error is a failure that no record alone causes.
    ///
    /// `seen` is the newest pipeline watermark that this process knows of: rows that are already
    /// behind it are shipped one by one with their raw bytes, because they may be late. It decides
    /// the shape of what is shipped and never what counts: advance is the only judge.
    fn combine(
        &mut self,
        log: &LogId,
        decoded: &Decoded,
        seen: Option<EventMs>,
    ) -> Result<Combined, QueryError>;
}

/// Advance's share of all queries of one pipeline: the open windows.
///
/// A deterministic fold: the same calls in the same order give the same bytes, on any machine.
/// One tick calls `merge` for each new segment in (log id, position) order, then `settle` once,
/// then `close` once (perhaps at a watermark lowered by `clip`).
pub trait OpenState: Send {
    /// Merges one segment's blocks. `closed` is the previous checkpoint's watermark, the judge of
    /// lateness: a row is late for each of its windows that had closed there.
    fn merge(
        &mut self,
        log: &LogId,
        segment: &Segment,
        closed: Option<EventMs>,
    ) -> Result<(), QueryError>;

    /// Ends the tick's merging, also when there was nothing to merge: sessions join all fragments of the tick with each other and with
    /// the open sessions, and only then are judged against `closed`.
    fn settle(&mut self, closed: Option<EventMs>) -> Result<(), QueryError>;

    /// The greatest watermark at or below `watermark` at which closing gives at most `rows_max`
    /// result rows, but always at least one window's end.
    fn clip(&self, watermark: EventMs, rows_max: usize) -> EventMs;

    /// Closes every window with end + grace at or below `watermark` and computes its results.
    /// `at` is what `now()` means. Also hands over what `merge` and `settle` found late. What a query
    /// fails on is handed over in place of its results; an error is a failure that no value causes.
    ///
    /// A call that closes nothing and has nothing late to hand over leaves the state as it was: no
    /// checkpoint tells of it, so a replay does not repeat it.
    fn close(&mut self, watermark: Option<EventMs>, at: WallMs) -> Result<Closed, QueryError>;

    /// The least watermark that closes every window that is open now; `None` when none is open.
    fn last_close(&self) -> Option<EventMs>;

    /// The open state, and passes it through its own encoding: afterwards this state is what
    /// `restore` makes of the answer, so that a warm process and a cold one stay equal bit for
    /// bit. Call it exactly at the checkpoints that name a snapshot.
    fn snapshot(&mut self) -> Result<Vec<StatePart>, QueryError>;

    /// Replaces the state by a snapshot's.
    fn restore(&mut self, parts: Vec<StatePart>) -> Result<(), QueryError>;

    /// Makes the state empty, as it was before the first epoch.
    fn clear(&mut self);

    /// Schema of a state part's batch (see [`StatePart`]); `None` for a query this pipeline does
    /// not have.
    fn part_schema(&self, query: Fingerprint, stage: u16) -> Option<SchemaRef>;

    /// The queries with their fingerprints, in name order.
    fn queries(&self) -> Vec<(String, Fingerprint)>;

    /// What is open, for people and metrics.
    fn open_windows(&self) -> Vec<OpenWindows>;
}

/// Part of a snapshot: rows of one stage of one query.
#[derive(Debug, Clone, PartialEq)]
pub struct StatePart {
    /// The query.
    pub query: Fingerprint,
    /// The stage.
    pub stage: u16,
    /// Rows of open state.
    pub batch: RecordBatch,
}

/// What one tick's closing gave.
#[derive(Debug, Clone, Default)]
pub struct Closed {
    /// Result rows, by query name order, already sorted: row n of a query's batch has the id
    /// `{query}/{epoch}/{n}`.
    pub results: Vec<QueryResults>,
    /// Rows that were late, for the queries that want them as dead letters.
    pub late: Vec<DeadLetter>,
    /// (row, window) pairs that were late, over all queries.
    pub late_rows: u64,
    /// Rows that queries fail on, which no result counts.
    pub failed: Vec<FailedRows>,
    /// Whether the state changed although no result and nothing late tells of it: rows went from
    /// one stage to the next, or are not needed any more.
    pub moved: bool,
}

/// One query's results of one epoch.
#[derive(Debug, Clone)]
pub struct QueryResults {
    /// The query's name.
    pub query: String,
    /// Windows closed.
    pub windows: u64,
    /// The rows, sorted; may be empty (HAVING).
    pub batch: RecordBatch,
}

/// What a query keeps open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWindows {
    /// The query's name.
    pub query: String,
    /// Open windows (for sessions: open sessions).
    pub windows: u64,
    /// Groups over all open slices.
    pub groups: u64,
    /// Start of the oldest open window.
    pub oldest: Option<EventMs>,
    /// Bytes held, about.
    pub bytes: u64,
}

/// Why a query could not do its part. No retry helps: the pipeline stops, nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The engine failed for a reason that no value is (out of memory, an error of its own), or on
    /// values inside a state.
    #[error("query `{query}` failed. reason=`{reason}`")]
    Failed {
        /// The query.
        query: String,
        /// What the engine said.
        reason: String,
    },
    /// The open windows hold more than they may.
    #[error(
        "query `{query}` keeps too much open: nothing is lost, but advance stops before memory runs \
         out. Make windows shorter, group by fewer keys, filter more, or give the process more \
         memory and raise `max_state` under [advance]. groups=`{groups}` windows=`{windows}` \
         bytes=`{bytes}` bytes_of_all_queries=`{bytes_of_all}` bytes_max=`{bytes_max}`"
    )]
    TooMuchOpen {
        /// The query that holds most.
        query: String,
        /// Its open windows; for sessions, open sessions.
        windows: u64,
        /// Its groups over all open slices.
        groups: u64,
        /// Bytes that it holds, about.
        bytes: u64,
        /// Bytes that all queries hold, about.
        bytes_of_all: u64,
        /// Bytes that they may hold.
        bytes_max: u64,
    },
    /// Stored state is not what this query's fingerprint promises.
    #[error("stored state of query `{query}` cannot be read. reason=`{reason}`")]
    State {
        /// The query.
        query: String,
        /// What was found.
        reason: String,
    },
}

/// Whether a source has more records than its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing lies after the position.
    Yes,
    /// Something does.
    No,
    /// Nobody can tell.
    Unknown,
}

/// Tells how far a source has been read.
#[async_trait]
pub trait Source: Send + Sync {
    /// Whether `log`'s source has nothing after `position`. Asked only for logs that look idle or
    /// have ended.
    async fn drained(&self, log: &LogId, position: Position) -> Drained;

    /// Whether `log`'s source will never get another record: the end of a file that is read until
    /// its end, a closed shard. Once true, always true. Asked for every log at every tick, so
    /// answer from memory. When all logs have ended and are drained, every window closes.
    async fn ended(&self, _log: &LogId) -> bool {
        false
    }
}

/// Results and dead letters of one epoch, on their way to one sink.
#[derive(Debug, Clone)]
pub struct Emission {
    /// The epoch.
    pub epoch: Epoch,
    /// Result rows; row n of a query's batch has the id `{query}/{epoch}/{n}`.
    pub results: Vec<QueryResults>,
    /// Dead letters; letter n, those of `failed` counted on, has the id `dead/{epoch}/{n}`.
    pub dead_letters: Vec<DeadLetter>,
    /// Rows that queries fail on. They are dead letters too; their ids go on after those of
    /// `dead_letters`.
    pub failed: Vec<FailedRows>,
    /// Result rows that their sinks can never take. They are dead letters too, with ids of their
    /// own ([`rejected_id`](crate::emit::rejected_id)). [`Emission::letters`](crate::emit::Letter) is all of them.
    pub rejected: Vec<Rejected>,
}

impl Emission {
    /// An emission of nothing.
    pub fn empty(epoch: Epoch) -> Emission {
        Emission {
            epoch,
            results: Vec::new(),
            dead_letters: Vec::new(),
            failed: Vec::new(),
            rejected: Vec::new(),
        }
    }
}

/// Rows inside a query that it fails on when advance computes its results, on their way to the
/// dead-letter sink. They are what fails together: mostly one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRows {
    /// The query.
    pub query: String,
    /// Their window, where they have one.
    pub window: Option<Window>,
    /// How many they are.
    pub rows: u64,
    /// What the engine says.
    pub detail: String,
    /// The rows as lines of JSON, cut like a dead letter's record.
    pub raw: RawBytes,
}

/// A result row that its sink can never take, on its way to the dead-letter sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The row's own id.
    pub id: String,
    /// Its query.
    pub query: String,
    /// The sink that cannot take it.
    pub sink: String,
    /// Why, with the bound.
    pub detail: String,
    /// The row as JSON, cut like a dead letter's record.
    pub row: RawBytes,
}

impl Rejected {
    /// Its reason's short stable name, beside those of
    /// [`DeadReason::tag`](tidemill_model::DeadReason::tag).
    pub const TAG: &str = "rejected";
}

/// What a sink answers when it has taken an epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// What [`Sink::restore`] needs to go on after it.
    pub state: Vec<u8>,
    /// The rows that it did not take and never can, in the order of the emission.
    pub rejected: Vec<Rejection>,
}

impl Taken {
    /// Everything was taken.
    pub fn all(state: Vec<u8>) -> Taken {
        Taken { state, rejected: Vec::new() }
    }
}

/// A sink's refusal of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The row's query.
    pub query: String,
    /// The row's number in the query's batch.
    pub row: usize,
    /// Why, with the bound: `too large: 500000 bytes of at most 409600`.
    pub detail: String,
}

/// Where results go. An epoch may be emitted twice, always with the same rows and ids.
#[async_trait]
pub trait Sink: Send {
    /// Goes back to what [`Sink::emit`] answered for the last epoch that was marked as emitted;
    /// `None`: nothing was ever emitted. Called before the first `emit`, and again whenever what
    /// was emitted since may not be what the marker tells of: after an emission that failed, and
    /// after another process advanced the pipeline.
    async fn restore(&mut self, state: Option<&[u8]>) -> Result<(), SinkError>;

    /// Emits one epoch durably. Results and dead letters of an epoch come in two calls, results
    /// first; what the second call answers is the sink's state.
    ///
    /// A row that this sink can never take (too large, say) is left out and named in the answer.
    /// Whether it is may depend on nothing but the row and constants, so that a replay rejects the
    /// same rows. A dead letter is never rejected: it is shortened until it fits
    /// ([`Letter::write_within`](crate::emit::Letter::write_within)).
    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError>;
}

/// Why a sink did not take an epoch.
#[derive(Debug, thiserror::Error)]
#[error("sink `{sink}` is down. reason=`{reason}`")]
pub struct SinkError {
    /// The sink's name.
    pub sink: String,
    /// What it said, and what to do.
    pub reason: String,
}
