//! Closed windows → result rows: final values, the upper plan, one order.
//!
//! The upper plan fails on what it computes together: on a row when it is row-wise, else on a window.
//! Only that is left out.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, internal_err};
use tidemill_model::{EventMs, Window};
use tidemill_plan::{Feed, OutputColumn, QueryPlan, Runner, Stage, of_type};

use super::failed::{Failures, Told};
use super::late::partial;
use super::window_columns::{columns_of, edges, windows_of};
use crate::aggregate::States;

/// Final rows of a stage from its groups' keys (with the grouping id last when it has one), window
/// bounds and values.
pub(super) fn finish(
    stage: &Stage,
    keys: Vec<ArrayRef>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    values: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    let starts: ArrayRef = Arc::new(TimestampMillisecondArray::from(starts));
    let ends: ArrayRef = Arc::new(TimestampMillisecondArray::from(ends));
    let columns = stage
        .output
        .iter()
        .zip(stage.closed.fields())
        .map(|(column, field)| {
            let array = match column {
                OutputColumn::Key(key) => keys.get(*key),
                OutputColumn::GroupingId => keys.get(stage.keys),
                OutputColumn::WindowStart => Some(&starts),
                OutputColumn::WindowEnd => Some(&ends),
                OutputColumn::Aggregate(aggregate) => values.get(*aggregate),
                OutputColumn::Value(_) => None,
            };
            match array {
                // A number of ours, which the engine has in as few bits as it needs.
                Some(array) if *column == OutputColumn::GroupingId => {
                    Ok(cast(array, field.data_type())?)
                }
                Some(array) => of_type(array, field.data_type()),
                None => internal_err!("a closed window lacks its column {}", field.name()),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&stage.closed), columns)?)
}

/// Final rows of groups that have one row each in `partial`, a window each in `bounds`, without those
/// whose values cannot be computed.
pub(super) fn finish_groups(
    stage: &Stage,
    partial: &RecordBatch,
    bounds: (&[i64], &[i64]),
    failures: &mut Failures<'_>,
) -> Result<RecordBatch> {
    let (starts, ends) = bounds;
    let run = |groups: Range<u32>| {
        let (from, count) = (groups.start as usize, groups.len());
        let rows = partial.slice(from, count);
        let mut states = States::new(stage)?;
        states.merge(stage, &rows, &(0..count).collect::<Vec<_>>(), count)?;
        let keys = rows.columns()[..stage.slice_index()].to_vec();
        let (starts, ends) = (&starts[from..from + count], &ends[from..from + count]);
        finish(stage, keys, starts.to_vec(), ends.to_vec(), states.take_values()?)
    };
    let tell = |group: u32| {
        let row = group as usize;
        let window = Window { start: EventMs(starts[row]), end: EventMs(ends[row]) };
        Ok(Told::group(window, &self::partial(stage, partial, row)?))
    };
    let given = failures.each(partial.num_rows(), run, tell)?;
    Ok(concat_batches(&stage.closed, &given.into_values().collect::<Vec<_>>())?)
}

/// The upper plan of one query, and the closed windows that wait for it.
pub(super) struct Upper {
    runner: Runner,
    waiting: Vec<RecordBatch>,
    done: Vec<RecordBatch>,
}

impl Upper {
    pub(super) fn new(plan: &QueryPlan) -> Result<Upper> {
        Ok(Upper { runner: plan.upper()?, waiting: Vec::new(), done: Vec::new() })
    }

    /// Adds one closed window: one batch per stage. Without a window, all sessions that close together.
    pub(super) fn add(
        &mut self,
        plan: &QueryPlan,
        window: Option<Window>,
        stages: Vec<RecordBatch>,
        failures: &mut Failures<'_>,
    ) -> Result<()> {
        if plan.row_wise {
            self.waiting.extend(stages);
            return Ok(());
        }
        // Sorted, so that whatever the plan does with ties is the same whatever came first.
        match (window, stages.as_slice()) {
            (None, [sessions]) => self.run_sessions(plan, 0, sessions, failures),
            _ => {
                let stages =
                    stages.iter().map(|rows| sorted(rows, &[])).collect::<Result<Vec<_>>>();
                let stages: Vec<_> = stages?.into_iter().map(Some).collect();
                self.run_window(window, &stages, failures)
            }
        }
    }

    /// Runs the plan over one window's rows: one batch per stage.
    pub(super) fn run_window(
        &mut self,
        window: Option<Window>,
        stages: &[Option<RecordBatch>],
        failures: &mut Failures<'_>,
    ) -> Result<()> {
        let run = || run(&mut self.runner, stages);
        let rows = failures.one(run, || Told::rows(window, stages.iter().flatten()))?;
        self.done.extend(rows.into_iter().flatten());
        Ok(())
    }

    /// Runs a plan that is not row-wise over sessions of `stage`: those of the same bounds see each
    /// other.
    pub(super) fn run_sessions(
        &mut self,
        plan: &QueryPlan,
        stage: usize,
        sessions: &RecordBatch,
        failures: &mut Failures<'_>,
    ) -> Result<()> {
        let sessions = sorted(sessions, &edges(columns_of(plan, stage).0))?;
        let count = sessions.num_rows();
        let windows = windows_of(plan, stage, &sessions)?;
        let begins = |row: &usize| *row == 0 || windows[*row] != windows[*row - 1];
        let firsts: Vec<usize> = (0..count).filter(begins).chain([count]).collect();
        let rows = |parts: Range<u32>| {
            let (from, to) = (firsts[parts.start as usize], firsts[parts.end as usize]);
            sessions.slice(from, to - from)
        };
        let given = failures.each(
            firsts.len() - 1,
            |parts| {
                let mut stages = vec![None; stage];
                stages.push(Some(rows(parts)));
                run(&mut self.runner, &stages)
            },
            |part| Told::rows(windows[firsts[part as usize]], [&rows(part..part + 1)]),
        )?;
        self.done.extend(given.into_values().flatten());
        Ok(())
    }

    /// Runs a row-wise plan over one batch per stage.
    pub(super) fn run_rows(
        &mut self,
        plan: &QueryPlan,
        stages: &[Option<RecordBatch>],
        failures: &mut Failures<'_>,
    ) -> Result<()> {
        let rows = |batch: &Option<RecordBatch>| batch.as_ref().map_or(0, RecordBatch::num_rows);
        let count: usize = stages.iter().map(rows).sum();
        if count == 0 {
            return Ok(());
        }
        let given = failures.each(
            count,
            |chosen| run(&mut self.runner, &cut(stages, chosen)),
            |row| {
                let alone = cut(stages, row..row + 1);
                let mut window = None;
                for (stage, rows) in alone.iter().enumerate() {
                    if let Some(rows) = rows {
                        window = windows_of(plan, stage, rows)?[0];
                    }
                }
                Told::rows(window, alone.iter().flatten())
            },
        )?;
        self.done.extend(given.into_values().flatten());
        Ok(())
    }

    /// The plan's rows over one batch per stage, under `schema`, of `window` or of sessions. Nothing
    /// else may be waiting.
    pub(super) fn compute(
        &mut self,
        plan: &QueryPlan,
        schema: &SchemaRef,
        window: Option<Window>,
        stages: &[RecordBatch],
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let stages = stages.iter().map(|rows| Ok(Some(sorted(rows, &[])?)));
        let stages = stages.collect::<Result<Vec<_>>>()?;
        match plan.row_wise {
            true => self.run_rows(plan, &stages, failures)?,
            false => self.run_window(window, &stages, failures)?,
        }
        self.taken(schema)
    }

    /// The results of everything added: of windows sorted, of rows in their order.
    pub(super) fn take(
        &mut self,
        plan: &QueryPlan,
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let waiting = std::mem::take(&mut self.waiting);
        if let Some(first) = waiting.first() {
            let together = concat_batches(&first.schema(), &waiting)?;
            self.run_rows(plan, &[Some(together)], failures)?;
        }
        let all = self.taken(&plan.output)?;
        if plan.shape.is_none() {
            return Ok(all);
        }
        sorted(&all, &plan.sort_first)
    }

    /// What the plan gave since the last call, in one batch.
    fn taken(&mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let done = std::mem::take(&mut self.done);
        let columns = done
            .iter()
            .map(|batch| {
                RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec())
                    .or_else(|_| retyped(schema, batch))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(concat_batches(schema, &columns)?)
    }
}

/// The rows of a plan over one batch per stage.
pub(super) fn run(runner: &mut Runner, stages: &[Option<RecordBatch>]) -> Result<Vec<RecordBatch>> {
    runner.run(|slot| match slot.feed {
        Feed::Stage(stage) => Ok(stages.get(stage).cloned().flatten()),
        Feed::Stream(_) => Ok(None),
    })
}

/// Of rows that are numbered from batch to batch those of these numbers.
fn cut(stages: &[Option<RecordBatch>], chosen: Range<u32>) -> Vec<Option<RecordBatch>> {
    let mut first = 0;
    let mut of_stage = |rows: &RecordBatch| {
        let from = (chosen.start as usize).clamp(first, first + rows.num_rows());
        let to = (chosen.end as usize).clamp(first, first + rows.num_rows());
        let taken = (from < to).then(|| rows.slice(from - first, to - from));
        first += rows.num_rows();
        taken
    };
    stages.iter().map(|rows| rows.as_ref().and_then(&mut of_stage)).collect()
}

/// A batch under another schema, columns cast where the engine chose another encoding.
pub(super) fn retyped(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| of_type(column, field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let nullable = Schema::new(fields.collect::<Vec<_>>());
    Ok(RecordBatch::try_new(Arc::new(nullable), columns)?)
}

/// Rows by the columns `first`, then by all columns, in the order of the arrow row encoding.
pub(super) fn sorted(rows: &RecordBatch, first: &[usize]) -> Result<RecordBatch> {
    if rows.num_rows() < 2 || rows.num_columns() == 0 {
        return Ok(rows.clone());
    }
    let rest = (0..rows.num_columns()).filter(|column| !first.contains(column));
    let columns: Vec<ArrayRef> =
        first.iter().copied().chain(rest).map(|index| Arc::clone(rows.column(index))).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let keys = converter.convert_columns(&columns)?;
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_unstable_by_key(|row| (keys.row(*row as usize), *row));
    Ok(take_record_batch(rows, &UInt32Array::from(order))?)
}
