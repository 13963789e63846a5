//! What a process makes of a plan at its start, kept for the next process: making it costs more
//! than a short history. Nothing that a process learned is kept: combining remembers nothing, and
//! open state is emptied.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;

use tidemill_flow::combine::Combiner;
use tidemill_flow::decode::Decoded;
use tidemill_flow::merge::State;
use tidemill_flow::ports::{
    Closed, Combine, Combined, OpenState, OpenWindows, QueryError, StatePart,
};
use tidemill_model::{EventMs, Fingerprint, LogId, Segment, WallMs};

use super::Planned;

/// What is not used now.
#[derive(Default)]
pub(super) struct Pool {
    combiners: Mutex<Vec<Combiner>>,
    states: Mutex<Vec<State>>,
}

fn take<T>(pool: &Mutex<Vec<T>>) -> Option<T> {
    pool.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn give<T>(pool: &Mutex<Vec<T>>, thing: Option<T>) {
    pool.lock().unwrap_or_else(PoisonError::into_inner).extend(thing);
}

/// A combiner that goes back when it is dropped.
pub(crate) struct PooledCombiner {
    planned: Arc<Planned>,
    inner: Option<Combiner>,
}

/// Open state that goes back, empty, when it is dropped.
pub(crate) struct PooledState {
    planned: Arc<Planned>,
    inner: Option<State>,
}

impl Planned {
    /// Ingest's part of the queries.
    pub(crate) fn combiner(self: &Arc<Self>) -> Result<PooledCombiner, QueryError> {
        let inner = take(&self.pool.combiners).map_or_else(|| Combiner::new(&self.plan), Ok)?;
        Ok(PooledCombiner { planned: Arc::clone(self), inner: Some(inner) })
    }

    /// Advance's part of the queries, with nothing open.
    pub(crate) fn state(self: &Arc<Self>) -> Result<PooledState, QueryError> {
        let inner = take(&self.pool.states).map_or_else(|| State::new(&self.plan), Ok)?;
        Ok(PooledState { planned: Arc::clone(self), inner: Some(inner) })
    }
}

impl Drop for PooledCombiner {
    fn drop(&mut self) {
        give(&self.planned.pool.combiners, self.inner.take());
    }
}

impl Drop for PooledState {
    fn drop(&mut self) {
        if let Some(state) = &mut self.inner {
            state.clear();
        }
        give(&self.planned.pool.states, self.inner.take());
    }
}

impl Combine for PooledCombiner {
    fn combine(
        &mut self,
        log: &LogId,
        decoded: &Decoded,
        seen: Option<EventMs>,
    ) -> Result<Combined, QueryError> {
        self.get().combine(log, decoded, seen)
    }
}

impl PooledCombiner {
    #[expect(clippy::expect_used, reason = "it is taken only when this is dropped")]
    fn get(&mut self) -> &mut Combiner {
        self.inner.as_mut().expect("not dropped")
    }
}

impl PooledState {
    #[expect(clippy::expect_used, reason = "it is taken only when this is dropped")]
    fn get(&self) -> &State {
        self.inner.as_ref().expect("not dropped")
    }

    #[expect(clippy::expect_used, reason = "it is taken only when this is dropped")]
    fn get_mut(&mut self) -> &mut State {
        self.inner.as_mut().expect("not dropped")
    }
}

impl OpenState for PooledState {
    fn merge(
        &mut self,
        log: &LogId,
        segment: &Segment,
        closed: Option<EventMs>,
    ) -> Result<(), QueryError> {
        self.get_mut().merge(log, segment, closed)
    }

    fn settle(&mut self, closed: Option<EventMs>) -> Result<(), QueryError> {
        self.get_mut().settle(closed)
    }

    fn clip(&self, watermark: EventMs, rows_max: usize) -> EventMs {
        self.get().clip(watermark, rows_max)
    }

    fn close(&mut self, watermark: Option<EventMs>, at: WallMs) -> Result<Closed, QueryError> {
        self.get_mut().close(watermark, at)
    }

    fn last_close(&self) -> Option<EventMs> {
        self.get().last_close()
    }

    fn snapshot(&mut self) -> Result<Vec<StatePart>, QueryError> {
        self.get_mut().snapshot()
    }

    fn restore(&mut self, parts: Vec<StatePart>) -> Result<(), QueryError> {
        self.get_mut().restore(parts)
    }

    fn clear(&mut self) {
        self.get_mut().clear();
    }

    fn part_schema(&self, query: Fingerprint, stage: u16) -> Option<SchemaRef> {
        self.get().part_schema(query, stage)
    }

    fn queries(&self) -> Vec<(String, Fingerprint)> {
        self.get().queries()
    }

    fn open_windows(&self) -> Vec<OpenWindows> {
        self.get().open_windows()
    }
}
