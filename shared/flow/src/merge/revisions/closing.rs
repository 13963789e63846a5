//! Which windows of a query whose results can change are due in a tick, and their rows.
//!
//! | when | what |
//! |---|---|
//! | the window closes | the whole window, `on_time` |
//! | it had closed, and this tick changed it | the whole window, `late` |
//! | it is open, this tick changed it, and the query emits updates | the whole window, `early` |
//! | the same, and the query has a condition | rows on which it holds for the first time, `early` |
//!
//! Of what fails only what is not `early` is told: an early result comes again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{DataType, TimestampMillisecondType};
use datafusion::common::{Result, internal_err};
use tidemill_model::{EventMs, Window};
use tidemill_plan::{Condition, Edge, QueryPlan, Revisions, Timing, of_type};

use super::super::failed::{Failures, Told};
use super::super::query::{OpenQuery, OpenStage};
use super::super::results::{self, Upper};
use super::super::sessions::OpenSessions;
use super::codec::KeyCodec;
use super::{key_columns, tagged, withdrawn};
use crate::ports::QueryResults;

impl OpenQuery {
    /// Closes windows up to `watermark` (`None`: none), and computes what is due. `before` is the
    /// watermark that they were closed up to.
    pub(in super::super) fn close_revised(
        &mut self,
        revisions: &Revisions,
        before: Option<EventMs>,
        watermark: Option<EventMs>,
        failures: &mut Failures<'_>,
    ) -> Result<QueryResults> {
        let plan = Arc::clone(&self.plan);
        let (windows, done) = match self.stages.as_mut_slice() {
            [OpenStage::Sessions(sessions)] => {
                let marks = (before, watermark);
                of_sessions(&plan, revisions, sessions, &mut self.upper, marks, failures)?
            }
            _ => self.of_windows(revisions, before, watermark, failures)?,
        };
        let all = concat_batches(&plan.output, &done)?;
        let batch = results::sorted(&all, &plan.sort_first)?;
        for stage in &mut self.stages {
            match stage {
                OpenStage::Slices(slices) => slices.untouch(),
                OpenStage::Sessions(sessions) => sessions.untouch(),
            }
        }
        Ok(QueryResults { query: plan.name.clone(), windows, batch })
    }

    /// The windows of fixed length that close, and the rows of all that are due.
    fn of_windows(
        &mut self,
        revisions: &Revisions,
        before: Option<EventMs>,
        watermark: Option<EventMs>,
        failures: &mut Failures<'_>,
    ) -> Result<(u64, Vec<RecordBatch>)> {
        let OpenQuery { plan, stages, upper, standing, .. } = self;
        let mut due: BTreeSet<Window> = BTreeSet::new();
        for (stage, open) in plan.stages.iter().zip(stages.iter()) {
            if let OpenStage::Slices(slices) = open {
                due.extend(slices.windows_touched(plan, stage, before));
                if let Some(watermark) = watermark {
                    due.extend(slices.windows_closing(plan, stage, before, watermark));
                }
            }
        }
        let (mut windows, mut done) = (0, Vec::new());
        for window in due {
            let timing = timing(window.end.plus(plan.grace_ms), before, watermark);
            windows += u64::from(timing == Timing::OnTime);
            let condition = revisions.when.as_ref().filter(|_| timing == Timing::Early);
            if timing == Timing::Early && !revisions.updates && condition.is_none() {
                continue;
            }
            let failures = &mut failures.told(timing != Timing::Early);
            let mut batches = Vec::new();
            for (stage, open) in plan.stages.iter().zip(stages.iter_mut()) {
                if let OpenStage::Slices(slices) = open {
                    batches.push(slices.current(stage, window, failures)?);
                }
            }
            let rows = upper.compute(plan, &revisions.rows, Some(window), &batches, failures)?;
            if let (Some(condition), Timing::OnTime) = (&revisions.when, timing) {
                holds(condition, Some(window), &rows, failures)?;
            }
            done.extend(match condition {
                Some(condition) => {
                    let holds = holds(condition, Some(window), &rows, failures)?;
                    standing.early(plan, &holds, window, &rows)?
                }
                None => standing.whole(plan, revisions, window, &rows, timing)?,
            });
        }
        Ok((windows, done))
    }

    /// About how many rows this tick emits whatever closes.
    pub(in super::super) fn rows_touched(
        &self,
        revisions: &Revisions,
        before: Option<EventMs>,
    ) -> usize {
        let early = revisions.updates || revisions.when.is_some();
        let mut rows = 0;
        for (stage, open) in self.plan.stages.iter().zip(&self.stages) {
            rows += match open {
                OpenStage::Slices(slices) => {
                    let touched: BTreeSet<Window> =
                        slices.windows_touched(&self.plan, stage, before).collect();
                    let is_late = |window: &&Window| {
                        before.is_some_and(|at| window.end.plus(self.plan.grace_ms) <= at)
                    };
                    let due = touched.iter().filter(|window| early || is_late(window));
                    due.map(|window| slices.rows_in(*window)).sum()
                }
                OpenStage::Sessions(sessions) => {
                    let late = before.or(Some(EventMs::MIN));
                    sessions.touched(&self.plan, stage, if early { None } else { late })
                }
            };
        }
        rows
    }

    /// Drops the state of windows whose results cannot change any more.
    pub(in super::super) fn forget(&mut self, watermark: EventMs) -> Result<()> {
        let OpenQuery { plan, stages, standing, .. } = self;
        standing.forget(plan, watermark);
        for (stage, open) in plan.stages.iter().zip(stages) {
            match open {
                OpenStage::Slices(slices) => {
                    slices.forget(plan, stage, watermark);
                    slices.collapse_settled(plan, stage, watermark)?;
                }
                OpenStage::Sessions(sessions) => sessions.forget(plan, stage, watermark)?,
            }
        }
        Ok(())
    }
}

/// When a window that closes at `closes` is emitted.
fn timing(closes: EventMs, before: Option<EventMs>, watermark: Option<EventMs>) -> Timing {
    if before.is_some_and(|before| closes <= before) {
        Timing::Late
    } else if watermark.is_some_and(|watermark| closes <= watermark) {
        Timing::OnTime
    } else {
        Timing::Early
    }
}

/// The sessions that close, and the rows of all that are due.
fn of_sessions(
    plan: &QueryPlan,
    revisions: &Revisions,
    sessions: &mut OpenSessions,
    upper: &mut Upper,
    (before, watermark): (Option<EventMs>, Option<EventMs>),
    failures: &mut Failures<'_>,
) -> Result<(u64, Vec<RecordBatch>)> {
    let stage = &plan.stages[0];
    let mut windows = 0;
    let mut due: Vec<(usize, Timing)> = Vec::new();
    for (session, closes) in sessions.closings(plan, stage)?.into_iter().enumerate() {
        let told = &sessions.told()[session];
        let timing = timing(closes, before, watermark);
        windows += u64::from(timing == Timing::OnTime);
        let early = revisions.updates || (revisions.when.is_some() && told.revision.is_none());
        let is_due = match timing {
            Timing::OnTime => true,
            Timing::Late => told.touched,
            Timing::Early => told.touched && early,
        };
        if is_due {
            due.push((session, timing));
        }
    }
    if due.is_empty() {
        return Ok((windows, Vec::new()));
    }
    let identities = Identities::new(plan)?;
    let partial = sessions.current(due.iter().map(|(session, _)| *session as u32))?;
    let (starts, ends) = sessions.windows(stage, &partial)?;
    let bounds: Vec<Span> = starts.into_iter().zip(ends).collect();
    let keys = identities.of_sessions(plan, &partial)?;
    let (mut rows, mut holding) = (Vec::new(), Vec::new());
    for timing in [Timing::Early, Timing::OnTime, Timing::Late] {
        let failures = &mut failures.told(timing != Timing::Early);
        let chosen = due.iter().map(|(_, of_session)| Some(*of_session == timing));
        let chosen = filter_record_batch(&partial, &chosen.collect())?;
        if chosen.num_rows() == 0 {
            continue;
        }
        let closed = sessions.finished(stage, &chosen, failures)?;
        let of_chosen = upper.compute(plan, &revisions.rows, None, &[closed], failures)?;
        match revisions.when.as_ref().filter(|_| timing != Timing::Late) {
            Some(condition) => holding.extend(holds(condition, None, &of_chosen, failures)?),
            None => holding.resize(holding.len() + of_chosen.num_rows(), true),
        }
        rows.push(of_chosen);
    }
    let rows = concat_batches(&revisions.rows, &rows)?;
    let row_of = identities.rows_by_identity(plan, &rows)?;

    let (mut upserted, mut upserts) = (Vec::new(), Vec::new());
    let (mut gone, mut gone_bounds, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
    let encoded = identities.encode(&keys, &bounds)?;
    for (index, (session, timing)) in due.into_iter().enumerate() {
        let row = row_of.get(&encoded[index]).copied();
        let fires = |row: usize| holding.get(row).copied().unwrap_or(true);
        if timing == Timing::Early && !row.is_some_and(fires) && !revisions.updates {
            continue;
        }
        let told = &mut sessions.told_mut()[session];
        let held = row.map(|_| bounds[index]);
        let withdrawn: BTreeSet<(i64, i64)> =
            told.held.iter().copied().filter(|bounds| Some(*bounds) != held).collect();
        if row.is_none() && withdrawn.is_empty() {
            continue;
        }
        let revision = told.revision.map_or(0, |revision| revision + 1);
        told.revision = Some(revision);
        told.held = held.into_iter().collect();
        if let Some(row) = row {
            upserted.push(row as u32);
            upserts.push((revision, timing));
        }
        for bounds in withdrawn {
            gone.push(index as u32);
            gone_bounds.push(bounds);
            deletes.push((revision, timing));
        }
    }
    let upserted = arrow::compute::take_record_batch(&rows, &UInt32Array::from(upserted))?;
    let gone = UInt32Array::from(gone);
    let keys = keys.iter().map(|key| take(key, &gone, None)).collect::<Result<Vec<_>, _>>()?;
    let gone = withdrawn(plan, keys, &gone_bounds)?;
    let upserts = tagged(plan, &upserted, "upsert", &upserts)?;
    Ok((windows, vec![upserts, tagged(plan, &gone, "delete", &deletes)?]))
}

/// For which result rows the condition of `emit_when` is true: those that it fails on wait for their
/// window to close.
fn holds(
    condition: &Condition,
    window: Option<Window>,
    rows: &RecordBatch,
    failures: &mut Failures<'_>,
) -> Result<Vec<bool>> {
    let given = failures.each(
        rows.num_rows(),
        |chosen| {
            let rows = rows.slice(chosen.start as usize, chosen.len());
            condition.holds(&rows).map_err(|error| error.context("emit_when"))
        },
        |row| Told::rows(window, [&rows.slice(row as usize, 1)]),
    )?;
    let mut holds = vec![false; rows.num_rows()];
    for (chosen, given) in given.passing {
        holds[chosen.start as usize..chosen.end as usize].copy_from_slice(&given);
    }
    Ok(holds)
}

/// Start and end of a session, milliseconds.
type Span = (i64, i64);

/// What tells result rows of sessions apart, over all sessions: key, start and end.
struct Identities {
    codec: KeyCodec,
}

impl Identities {
    fn new(plan: &QueryPlan) -> Result<Identities> {
        let columns = key_columns(plan)?.iter();
        let types = columns.map(|column| plan.output.field(*column).data_type().clone());
        let codec = KeyCodec::new(types.chain([DataType::Int64, DataType::Int64]))?;
        Ok(Identities { codec })
    }

    fn encode(&self, keys: &[ArrayRef], bounds: &[(i64, i64)]) -> Result<Vec<Box<[u8]>>> {
        let times = |times: Int64Array| Arc::new(times) as ArrayRef;
        let mut columns = keys.to_vec();
        columns.push(times(bounds.iter().map(|(start, _)| *start).collect()));
        columns.push(times(bounds.iter().map(|(_, end)| *end).collect()));
        self.codec.encode(&columns, bounds.len())
    }

    /// Keys of a stage's partial rows, as results have them. The key columns of results are the
    /// stage's, in its order.
    fn of_sessions(&self, plan: &QueryPlan, partial: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let columns = key_columns(plan)?.iter().zip(partial.columns());
        let typed = |(result, key): (&usize, &ArrayRef)| {
            of_type(key, plan.output.field(*result).data_type())
        };
        columns.map(typed).collect()
    }

    /// The result rows by their identity.
    fn rows_by_identity(
        &self,
        plan: &QueryPlan,
        rows: &RecordBatch,
    ) -> Result<BTreeMap<Box<[u8]>, usize>> {
        let keys: Vec<ArrayRef> =
            key_columns(plan)?.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let edge = |edge: Option<Edge>| match edge {
            Some(edge) => times(rows.column(edge.column), edge.plus_ms),
            None => internal_err!("a session's result lacks its window"),
        };
        let key = plan.result_key();
        let bounds: Vec<(i64, i64)> = edge(key.start)?.into_iter().zip(edge(key.end)?).collect();
        let encoded = self.encode(&keys, &bounds)?;
        Ok(encoded.into_iter().enumerate().map(|(row, identity)| (identity, row)).collect())
    }
}

fn times(column: &ArrayRef, plus_ms: i64) -> Result<Vec<i64>> {
    match column.as_primitive_opt::<TimestampMillisecondType>() {
        Some(times) => Ok(times.values().iter().map(|at| at.saturating_add(plus_ms)).collect()),
        None => internal_err!("a window's edge has type {}", column.data_type()),
    }
}
