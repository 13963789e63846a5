//! Stages of single events: what is late, what waits, and what a window's rows are.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, internal_err};
use tidemill_model::{EventMs, Window, WindowShape};
use tidemill_plan::{OutputColumn, QueryPlan, RowStage};

use crate::merge::late::RowLedger;
use crate::merge::ordered::Ordered;

/// Shipped rows as they are kept, without those that are late, which are entered.
pub(super) fn on_time(
    plan: &QueryPlan,
    stage: &RowStage,
    rows: RecordBatch,
    closed: Option<EventMs>,
    log: &str,
    mut ledger: RowLedger<'_>,
) -> Result<RecordBatch> {
    let time = stage.time_index();
    let Some(times) = rows.column(time).as_primitive_opt::<Int64Type>() else {
        return internal_err!("the event time of a row has another type");
    };
    let mut chosen: Vec<u32> = Vec::with_capacity(times.len());
    for (row, time) in times.values().iter().enumerate() {
        let (missed, is_lost) = missed(plan, stage, EventMs(*time), closed);
        if is_lost || !missed.is_empty() {
            ledger.single(&rows, row, &missed, !is_lost)?;
        }
        if !is_lost {
            chosen.push(row as u32);
        }
    }
    let rows = match chosen.len() == rows.num_rows() {
        true => rows,
        false => take_record_batch(&rows, &UInt32Array::from(chosen))?,
    };
    let mut columns = rows.columns()[..=time].to_vec();
    columns
        .push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(log, rows.num_rows()))));
    Ok(RecordBatch::try_new(Arc::clone(&stage.kept), columns)?)
}

/// The windows of a row that had closed, and whether nothing is left for it.
fn missed(
    plan: &QueryPlan,
    stage: &RowStage,
    time: EventMs,
    closed: Option<EventMs>,
) -> (Vec<Window>, bool) {
    let Some(closed) = closed else { return (Vec::new(), false) };
    let Some(shape) = stage.shape else {
        return (Vec::new(), time.plus(plan.grace_ms) < closed);
    };
    let Some(slice) = shape.slice_of(time) else { return (Vec::new(), true) };
    if shape.first_end(slice).plus(plan.grace_ms) > closed {
        return (Vec::new(), false);
    }
    let gone = |window: &Window| window.end.plus(plan.grace_ms) <= closed;
    let missed = shape.each_window_of(slice).filter(gone).collect();
    (missed, shape.last_end(slice).plus(plan.grace_ms) <= closed)
}

/// The rows of each window that closes, and drops those that no open window needs.
pub(super) fn window_rows(
    plan: &QueryPlan,
    stage: &RowStage,
    shape: WindowShape,
    kept: &mut Ordered,
    before: Option<EventMs>,
    watermark: EventMs,
) -> Result<Vec<(Window, RecordBatch)>> {
    let (rows, times) = kept.rows()?;
    let mut closing: BTreeSet<Window> = BTreeSet::new();
    let mut last = None;
    for time in times.values() {
        let slice = shape.slice_of(EventMs(*time));
        if slice.is_none() || slice == last {
            continue;
        }
        last = slice;
        let windows = slice.into_iter().flat_map(|slice| shape.each_window_of(slice));
        closing.extend(windows.filter(|window| {
            let at = window.end.plus(plan.grace_ms);
            at <= watermark && before.is_none_or(|before| at > before)
        }));
    }
    let mut handed = Vec::new();
    for window in closing {
        let from = times.values().partition_point(|time| *time < window.start.0);
        let to = times.values().partition_point(|time| *time < window.end.0);
        let rows = rows.slice(from, to - from);
        handed.push((window, row_columns(stage, &rows, Some(window))?));
    }
    let open = |time: &i64| {
        let slice = shape.slice_of(EventMs(*time));
        slice.is_some_and(|slice| shape.last_end(slice).plus(plan.grace_ms) > watermark)
    };
    if let Some(first) = times.values().iter().position(open) {
        kept.release(EventMs(times.value(first)))?;
    } else {
        kept.release(EventMs::MAX)?;
    }
    Ok(handed)
}

/// Kept rows as they are handed over.
pub(super) fn row_columns(
    stage: &RowStage,
    kept: &RecordBatch,
    window: Option<Window>,
) -> Result<RecordBatch> {
    let count = kept.num_rows();
    let edge = |time: Option<EventMs>| {
        let time = time.map_or(0, |time| time.0);
        Arc::new(TimestampMillisecondArray::from_value(time, count)) as _
    };
    let columns = stage.output.iter().map(|column| match column {
        OutputColumn::Value(index) => Arc::clone(kept.column(*index)),
        OutputColumn::WindowStart => edge(window.map(|window| window.start)),
        _ => edge(window.map(|window| window.end)),
    });
    Ok(RecordBatch::try_new(Arc::clone(&stage.closed), columns.collect())?)
}
