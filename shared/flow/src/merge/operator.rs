//! What a stage of rows does in advance, and the rows that stages hand each other.

use arrow::array::{Int64Array, RecordBatch};
use datafusion::common::Result;
use tidemill_model::EventMs;

use super::failed::Failures;

/// Rows in order: the columns of a stage's input and each row's time, rising, milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) batch: RecordBatch,
    pub(super) times: Int64Array,
}

/// What a stage does with the rows that other stages hand it.
///
/// # Invariants
/// 1. What it gives, put together over all ticks, does not depend on the ticks.
/// 2. After [`Operator::parts`] and [`Operator::restore`] it is what it was before, bit for bit.
pub(super) trait Operator: Send {
    /// Takes the rows of each input that are final now, in their input's order, and gives the rows
    /// that are final thereby. Every later row of an input has a time of at least the input's
    /// watermark. Watermarks never go back; [`EventMs::MAX`]: there will be no more rows. What it
    /// computes of each row alone does not fail on them.
    fn advance(
        &mut self,
        inputs: Vec<Rows>,
        watermarks: &[EventMs],
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch>;

    /// The state, one batch for each of the stage's state schemas.
    fn parts(&self) -> Result<Vec<RecordBatch>>;

    /// Replaces the state by what [`Operator::parts`] gave.
    fn restore(&mut self, parts: Vec<RecordBatch>) -> Result<()>;

    /// Makes the state empty.
    fn clear(&mut self);

    /// The least watermark of the inputs at which nothing waits any more; `None`: nothing waits.
    fn last_close(&self) -> Option<EventMs>;

    /// Rows that are kept.
    fn rows(&self) -> u64;

    /// Bytes that are kept, about.
    fn bytes(&self) -> u64;
}
