//! Open slices of one stage with windows of fixed length.
//!
//! A slice is live (a hash table that grows) or sealed (partial rows that windows read). A window
//! that shares slices with others reads them sealed; a tumbling window is one slice and takes its
//! table whole. When a cumulating window closes, its slices become one, since every later window of
//! the same start contains them all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, internal_err};
use tidemill_model::limits::OPEN_SLICE_BYTES;
use tidemill_model::{EventMs, Slice, Window, WindowShape};
use tidemill_plan::{QueryPlan, Stage};

use super::failed::Failures;
use super::late::StageLedger;
use super::results;
use crate::aggregate::{AggregateTable, rows_bytes};
use crate::combine::assemble;

#[derive(Default)]
pub(super) struct OpenSlices {
    slices: BTreeMap<Slice, Contents>,
    /// The slices that this tick merged rows into, for queries whose results can change.
    touched: BTreeSet<Slice>,
}

enum Contents {
    Live(Box<AggregateTable>),
    Sealed(RecordBatch),
}

impl Contents {
    fn groups(&self) -> usize {
        match self {
            Contents::Live(table) => table.len(),
            Contents::Sealed(rows) => rows.num_rows(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Contents::Live(table) => table.bytes() as u64,
            Contents::Sealed(rows) => rows_bytes(rows),
        }
    }
}

impl OpenSlices {
    pub(super) fn merge(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        partial: RecordBatch,
        closed: Option<EventMs>,
        late: &mut StageLedger<'_>,
    ) -> Result<()> {
        for (slice, rows) in by_slice(stage, &partial)? {
            let missed: Vec<Window> = match closed {
                Some(closed) if stage.shape.first_end(slice).plus(plan.takes_ms()) <= closed => {
                    let windows = stage.shape.windows_of(slice);
                    let gone = |window: &Window| window.end.plus(plan.takes_ms()) <= closed;
                    windows.into_iter().filter(gone).collect()
                }
                _ => Vec::new(),
            };
            let lost = stage.shape.last_end(slice).plus(plan.takes_ms());
            let lost = closed.is_some_and(|closed| lost <= closed);
            if !missed.is_empty() {
                late.rows(&rows, &missed, !lost)?;
            }
            if !lost {
                self.live(stage, slice)?.merge(stage, &rows)?;
                if plan.revisions.is_some() {
                    self.touched.insert(slice);
                }
            }
        }
        Ok(())
    }

    /// Takes partial rows that cannot be late.
    pub(super) fn merge_on_time(&mut self, stage: &Stage, partial: &RecordBatch) -> Result<()> {
        for (slice, rows) in by_slice(stage, partial)? {
            self.live(stage, slice)?.merge(stage, &rows)?;
        }
        Ok(())
    }

    /// The slice's table, made of its sealed rows if it was sealed.
    fn live(&mut self, stage: &Stage, slice: Slice) -> Result<&mut AggregateTable> {
        let contents = match self.slices.remove(&slice) {
            Some(Contents::Live(table)) => Contents::Live(table),
            Some(Contents::Sealed(rows)) => {
                let mut table = AggregateTable::new(stage, stage.slice_index())?;
                table.merge(stage, &rows)?;
                Contents::Live(Box::new(table))
            }
            None => Contents::Live(Box::new(AggregateTable::new(stage, stage.slice_index())?)),
        };
        match self.slices.entry(slice).or_insert(contents) {
            Contents::Live(table) => Ok(table),
            Contents::Sealed(_) => internal_err!("a slice that was made live is sealed"),
        }
    }

    fn sealed(&mut self, stage: &Stage, slice: Slice) -> Result<Option<RecordBatch>> {
        let rows = match self.slices.remove(&slice) {
            None => return Ok(None),
            Some(Contents::Sealed(rows)) => rows,
            Some(Contents::Live(table)) => seal(stage, slice, *table)?,
        };
        self.slices.insert(slice, Contents::Sealed(rows.clone()));
        Ok(Some(rows))
    }

    /// The windows that close at `watermark` and had not at `before`, in closing order.
    pub(super) fn windows_closing(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        before: Option<EventMs>,
        watermark: EventMs,
    ) -> Vec<Window> {
        let closes = |window: &Window| {
            let at = window.end.plus(plan.grace_ms);
            at <= watermark && before.is_none_or(|before| at > before)
        };
        let mut windows: Vec<Window> = self.windows(stage).filter(closes).collect();
        windows.sort_unstable();
        windows
    }

    /// The windows that this tick merged rows into and that take rows at `closed`.
    pub(super) fn windows_touched<'a>(
        &'a self,
        plan: &'a QueryPlan,
        stage: &'a Stage,
        closed: Option<EventMs>,
    ) -> impl Iterator<Item = Window> + 'a {
        let takes = move |window: &Window| {
            closed.is_none_or(|closed| window.end.plus(plan.takes_ms()) > closed)
        };
        self.touched.iter().flat_map(|slice| stage.shape.each_window_of(*slice)).filter(takes)
    }

    /// Ends the tick: what comes next is another one's.
    pub(super) fn untouch(&mut self) {
        self.touched.clear();
    }

    /// Each window that has a slice, once.
    ///
    /// Slices come by their start, and a window that holds a slice and not the one before begins
    /// behind that one, so it ends behind all that held it.
    fn windows<'a>(&'a self, stage: &'a Stage) -> impl Iterator<Item = Window> + 'a {
        self.slices
            .keys()
            .scan(None, |newest: &mut Option<EventMs>, slice| {
                let known = *newest;
                *newest = (*newest).max(Some(stage.shape.last_end(*slice)));
                let windows = stage.shape.each_window_of(*slice).rev();
                Some(windows.take_while(move |window| Some(window.end) > known))
            })
            .flatten()
    }

    /// For each window that would close the watermark at which it does, and about how many rows it
    /// has.
    pub(super) fn closing(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        before: Option<EventMs>,
        watermark: EventMs,
    ) -> Vec<(EventMs, usize)> {
        self.windows_closing(plan, stage, before, watermark)
            .into_iter()
            .map(|window| (window.end.plus(plan.grace_ms), self.rows_in(window)))
            .collect()
    }

    /// About how many rows a window has.
    pub(super) fn rows_in(&self, window: Window) -> usize {
        self.slices_in(window).map(|slice| self.slices[&slice].groups()).sum()
    }

    fn slices_in(&self, window: Window) -> impl Iterator<Item = Slice> + '_ {
        let from = Slice { start: window.start, end: EventMs::MIN };
        self.slices
            .range(from..)
            .map(|(slice, _)| *slice)
            .take_while(move |slice| slice.start < window.end)
            .filter(move |slice| slice.end <= window.end)
    }

    /// Final rows of one window. A tumbling window's state is gone then.
    pub(super) fn close(
        &mut self,
        stage: &Stage,
        window: Window,
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let slices: Vec<Slice> = self.slices_in(window).collect();
        if let (WindowShape::Tumble { .. }, [slice]) = (stage.shape, slices.as_slice()) {
            let slice = *slice;
            self.live(stage, slice)?;
            return match self.slices.remove(&slice) {
                Some(Contents::Live(table)) => rows_of(stage, window, *table, failures),
                _ => internal_err!("a slice that was made live is not there"),
            };
        }
        let rows = self.current(stage, window, failures)?;
        if matches!(stage.shape, WindowShape::Cumulate { .. }) && slices.len() > 1 {
            self.collapse(stage, &slices, window)?;
        }
        Ok(rows)
    }

    /// The rows of one window as they are now. Its state stays.
    pub(super) fn current(
        &mut self,
        stage: &Stage,
        window: Window,
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let slices: Vec<Slice> = self.slices_in(window).collect();
        if slices.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&stage.closed)));
        }
        let mut table = AggregateTable::new(stage, stage.slice_index())?;
        for slice in slices {
            if let Some(rows) = self.sealed(stage, slice)? {
                table.merge(stage, &rows)?;
            }
        }
        rows_of(stage, window, table, failures)
    }

    /// Makes the slices of a closed cumulating window one, for the later windows of its start.
    fn collapse(&mut self, stage: &Stage, slices: &[Slice], window: Window) -> Result<()> {
        let mut table = AggregateTable::new(stage, stage.slice_index())?;
        for slice in slices {
            if let Some(rows) = self.sealed(stage, *slice)? {
                table.merge(stage, &rows)?;
            }
            self.slices.remove(slice);
        }
        let WindowShape::Cumulate { step_ms, .. } = stage.shape else {
            return internal_err!("only cumulating windows collapse");
        };
        let slice = Slice { start: window.end.minus(step_ms), end: window.end };
        let whole = seal(stage, slice, table)?;
        self.slices.insert(slice, Contents::Sealed(whole));
        Ok(())
    }

    /// Drops the slices of which no window takes rows any more.
    pub(super) fn forget(&mut self, plan: &QueryPlan, stage: &Stage, watermark: EventMs) {
        let gone = |slice: &Slice| stage.shape.last_end(*slice).plus(plan.takes_ms()) <= watermark;
        self.slices.retain(|slice, _| !gone(slice));
    }

    /// Makes the slices of cumulating windows one whose results cannot change any more.
    pub(super) fn collapse_settled(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        watermark: EventMs,
    ) -> Result<()> {
        if !matches!(stage.shape, WindowShape::Cumulate { .. }) {
            return Ok(());
        }
        let mut settled: BTreeMap<EventMs, Window> = BTreeMap::new();
        for window in self.windows(stage) {
            if window.end.plus(plan.takes_ms()) <= watermark {
                let longest = settled.entry(window.start).or_insert(window);
                *longest = (*longest).max(window);
            }
        }
        for window in settled.into_values() {
            let slices: Vec<Slice> = self.slices_in(window).collect();
            if slices.len() > 1 {
                self.collapse(stage, &slices, window)?;
            }
        }
        Ok(())
    }

    /// The last end of the windows of all slices, if it is later than `past`.
    pub(super) fn last_end(&self, stage: &Stage, past: Option<EventMs>) -> Option<EventMs> {
        let last = self.slices.keys().map(|slice| stage.shape.last_end(*slice)).max();
        last.filter(|last| past.is_none_or(|past| *last > past))
    }

    /// All slices as partial rows, in slice order; afterwards every slice is sealed.
    pub(super) fn seal_all(&mut self, stage: &Stage) -> Result<RecordBatch> {
        let slices: Vec<Slice> = self.slices.keys().copied().collect();
        let mut parts = Vec::new();
        for slice in slices {
            parts.extend(self.sealed(stage, slice)?);
        }
        Ok(concat_batches(&stage.partial, &parts)?)
    }

    pub(super) fn restore(&mut self, stage: &Stage, rows: &RecordBatch) -> Result<()> {
        for (slice, rows) in by_slice(stage, rows)? {
            self.slices.insert(slice, Contents::Sealed(rows));
        }
        Ok(())
    }

    /// Open windows, start of the oldest, groups, bytes.
    pub(super) fn measure(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        closed: Option<EventMs>,
    ) -> (u64, Option<EventMs>, u64, u64) {
        let open =
            |window: &Window| closed.is_none_or(|closed| window.end.plus(plan.grace_ms) > closed);
        let (mut windows, mut oldest) = (0, None);
        for window in self.windows(stage).filter(open) {
            windows += 1;
            oldest = Some(oldest.map_or(window.start, |oldest: EventMs| oldest.min(window.start)));
        }
        let groups = self.slices.values().map(|contents| contents.groups() as u64).sum();
        (windows, oldest, groups, self.bytes())
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> u64 {
        let contents: u64 = self.slices.values().map(|contents| contents.bytes()).sum();
        contents + self.slices.len() as u64 * OPEN_SLICE_BYTES
    }
}

/// The final rows of a window's groups.
fn rows_of(
    stage: &Stage,
    window: Window,
    table: AggregateTable,
    failures: &mut Failures<'_>,
) -> Result<RecordBatch> {
    let (starts, ends) = (vec![window.start.0; table.len()], vec![window.end.0; table.len()]);
    if stage.aggregates.iter().any(|aggregate| aggregate.can_fail) {
        // Its states are gone once a table was asked for values.
        let groups = seal(stage, Slice { start: window.start, end: window.end }, table)?;
        return results::finish_groups(stage, &groups, (&starts, &ends), failures);
    }
    results::finish(stage, table.groups.take()?, starts, ends, table.states.take_values()?)
}

/// A slice's table as partial rows.
fn seal(stage: &Stage, slice: Slice, table: AggregateTable) -> Result<RecordBatch> {
    let count = table.len();
    let mut columns: Vec<ArrayRef> = table.groups.take()?;
    columns.push(Arc::new(Int64Array::from(vec![slice.start.0; count])));
    columns.push(Arc::new(Int64Array::from(vec![slice.end.0; count])));
    let (records, states) = table.states.take_states()?;
    assemble(stage, columns, records, states)
}

/// Partial rows by slice. Neighbours of one slice stay together; combine wrote them in slice order.
fn by_slice(stage: &Stage, partial: &RecordBatch) -> Result<Vec<(Slice, RecordBatch)>> {
    let column = |index: usize| {
        let column = partial.column(stage.slice_index() + index);
        match column.as_primitive_opt::<Int64Type>() {
            Some(times) => Ok(times.clone()),
            None => internal_err!("a slice column has another type"),
        }
    };
    let (starts, ends) = (column(0)?, column(1)?);
    let slice =
        |row: usize| Slice { start: EventMs(starts.value(row)), end: EventMs(ends.value(row)) };
    let mut parts = Vec::new();
    let mut from = 0;
    for row in 1..=starts.len() {
        if row == starts.len() || slice(row) != slice(from) {
            parts.push((slice(from), partial.slice(from, row - from)));
            from = row;
        }
    }
    Ok(parts)
}
