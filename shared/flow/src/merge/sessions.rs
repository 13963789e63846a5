//! Open sessions of one stage, one partial row each, and the fragments of the current tick.
//!
//! # Invariants
//! 1. Between ticks no two sessions of a key lie within the gap.
//! 2. A session closes when no event can join it that is on time, so that which ticks ran does not
//!    decide what is in it.
//! 3. All fragments of a tick are joined with each other and with the open sessions before anything
//!    is judged late, so lateness does not depend on the order of fragments within a tick.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{Int64Type, Schema};
use datafusion::common::{Result, internal_err};
use tidemill_model::{EventMs, Window};
use tidemill_plan::{QueryPlan, Stage};

use super::failed::Failures;
use super::late::{Ledger, Source};
use super::results;
use super::revisions::told::ToldSession;
use crate::aggregate::{Groups, States, rows_bytes};
use crate::combine::assemble;

pub(super) struct OpenSessions {
    gap_ms: i64,
    open: Option<RecordBatch>,
    /// For queries whose results can change: what was emitted of each session of `open`.
    told: Vec<ToldSession>,
    /// Fragments of this tick, with where they came from.
    pending: Vec<(RecordBatch, Source)>,
}

/// Starts and ends, milliseconds.
type Windows = (Vec<i64>, Vec<i64>);

/// A session while fragments are joined.
struct Joined {
    key: usize,
    first: i64,
    last: i64,
    /// Whether an open session is part of it.
    was_open: bool,
}

impl OpenSessions {
    pub(super) fn new(gap_ms: i64) -> OpenSessions {
        OpenSessions { gap_ms, open: None, told: Vec::new(), pending: Vec::new() }
    }

    pub(super) fn merge(&mut self, fragments: RecordBatch, source: Source) {
        self.pending.push((fragments, source));
    }

    pub(super) fn settle(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        closed: Option<EventMs>,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if let Some(closed) = closed.filter(|_| plan.revisions.is_some()) {
            self.forget(plan, stage, closed)?;
        }
        let (fragments, sources): (Vec<_>, Vec<_>) = pending.into_iter().unzip();
        let late = |fragment: usize, row: RecordBatch, window: Window| {
            let source: &Source = &sources[fragment];
            ledger.at(plan, stage, source.clone()).rows(&row, &[window], false)
        };
        self.join(plan, stage, &fragments, closed, late)
    }

    /// Joins fragments of rows that came in order, so that none is late.
    pub(super) fn merge_on_time(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        fragments: Vec<RecordBatch>,
    ) -> Result<()> {
        let late = |_, _, _| internal_err!("a row that came in order is late");
        self.join(plan, stage, &fragments, None, late)
    }

    /// Joins fragments with each other and with the open sessions. Those whose session is closed at
    /// `closed` go to `late`: the fragment's number, its row, and the session.
    fn join(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        fragments: &[RecordBatch],
        closed: Option<EventMs>,
        mut to_late: impl FnMut(usize, RecordBatch, Window) -> Result<()>,
    ) -> Result<()> {
        if fragments.is_empty() {
            return Ok(());
        }
        let open = self.open.take();
        let before = std::mem::take(&mut self.told);
        let opened = open.as_ref().map_or(0, RecordBatch::num_rows);
        let parts = open.iter().chain(fragments);
        let all = concat_batches(&stage.partial, parts)?;
        let (first, last) = bounds(stage, &all)?;
        let mut numbers = Vec::new();
        let keys = Schema::new(stage.partial.fields()[..stage.slice_index()].to_vec());
        let mut groups = Groups::new(keys)?;
        groups.intern(&all.columns()[..stage.slice_index()], all.num_rows(), &mut numbers)?;

        let mut order: Vec<usize> = (0..all.num_rows()).collect();
        order.sort_by_key(|row| (numbers[*row], first.value(*row), last.value(*row), *row));
        let mut sessions: Vec<Joined> = Vec::new();
        let mut session_of = vec![0; all.num_rows()];
        for row in order {
            let (key, from, to) = (numbers[row], first.value(row), last.value(row));
            let near = |session: &&mut Joined| {
                session.key == key && from.saturating_sub(session.last) <= self.gap_ms
            };
            match sessions.last_mut().filter(near) {
                Some(session) => {
                    session.last = session.last.max(to);
                    session.was_open |= row < opened;
                }
                None => {
                    sessions.push(Joined { key, first: from, last: to, was_open: row < opened });
                }
            }
            session_of[row] = sessions.len() - 1;
        }

        let is_late = |session: &Joined| {
            let lost = self.lost_at(plan, session.last);
            !session.was_open && closed.is_some_and(|closed| lost <= closed)
        };
        let late: Vec<bool> = sessions.iter().map(is_late).collect();
        if late.contains(&true) {
            let mut from = opened;
            for (fragment, rows) in fragments.iter().enumerate() {
                for row in 0..rows.num_rows() {
                    let session = session_of[from + row];
                    if late[session] {
                        let Joined { first, last, .. } = sessions[session];
                        let end = EventMs(last).plus(self.gap_ms);
                        let window = Window { start: EventMs(first), end };
                        to_late(fragment, rows.slice(row, 1), window)?;
                    }
                }
                from += rows.num_rows();
            }
        }

        let mut number_of = vec![0; sessions.len()];
        let mut kept: Vec<&Joined> = Vec::new();
        for (session, joined) in sessions.iter().enumerate() {
            number_of[session] = kept.len();
            if !late[session] {
                kept.push(joined);
            }
        }
        if kept.is_empty() {
            // The engine cannot give the states of no groups.
            return Ok(());
        }
        if plan.revisions.is_some() {
            self.told = vec![ToldSession::default(); kept.len()];
            for (row, session) in session_of.iter().enumerate().filter(|(_, it)| !late[**it]) {
                let told = &mut self.told[number_of[*session]];
                match before.get(row) {
                    Some(part) => told.absorb(part),
                    None => told.touched = true,
                }
            }
        }
        let rows: Vec<u32> =
            (0..all.num_rows() as u32).filter(|row| !late[session_of[*row as usize]]).collect();
        let of_row: Vec<usize> =
            rows.iter().map(|row| number_of[session_of[*row as usize]]).collect();
        let mut states = States::new(stage)?;
        let chosen = match rows.len() == all.num_rows() {
            true => all,
            false => take_record_batch(&all, &UInt32Array::from(rows))?,
        };
        states.merge(stage, &chosen, &of_row, kept.len())?;
        let (records, states) = states.take_states()?;
        let key_rows: UInt32Array = kept.iter().map(|session| session.key as u32).collect();
        let mut columns = groups
            .take()?
            .iter()
            .map(|key| take(key, &key_rows, None))
            .collect::<Result<Vec<_>, _>>()?;
        columns.push(Arc::new(kept.iter().map(|it| it.first).collect::<Int64Array>()));
        columns.push(Arc::new(kept.iter().map(|it| it.last).collect::<Int64Array>()));
        self.open = Some(assemble(stage, columns, records, states)?);
        Ok(())
    }

    /// Final rows of the sessions that close at `watermark`, and how many they are.
    pub(super) fn close(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        watermark: EventMs,
        failures: &mut Failures<'_>,
    ) -> Result<Option<(u64, RecordBatch)>> {
        let Some(open) = self.open.take() else { return Ok(None) };
        let (_, last) = bounds(stage, &open)?;
        let closes = |row: &u32| self.closes_at(plan, last.value(*row as usize)) <= watermark;
        let (closing, staying): (Vec<u32>, Vec<u32>) =
            (0..open.num_rows() as u32).partition(closes);
        if closing.is_empty() {
            self.open = Some(open);
            return Ok(None);
        }
        if !staying.is_empty() {
            self.open = Some(take_record_batch(&open, &UInt32Array::from(staying))?);
        }
        let rows = take_record_batch(&open, &UInt32Array::from(closing))?;
        let count = rows.num_rows() as u64;
        Ok(Some((count, self.finished(stage, &rows, failures)?)))
    }

    /// Partial rows of these sessions as they are now. Their state stays.
    pub(super) fn current(&self, sessions: impl Iterator<Item = u32>) -> Result<RecordBatch> {
        let Some(open) = &self.open else { return internal_err!("no session is open") };
        Ok(take_record_batch(open, &UInt32Array::from_iter_values(sessions))?)
    }

    /// Start and end of the sessions that `rows` are.
    pub(super) fn windows(&self, stage: &Stage, rows: &RecordBatch) -> Result<Windows> {
        let (first, last) = bounds(stage, rows)?;
        let ends = last.values().iter().map(|last| EventMs(*last).plus(self.gap_ms).0).collect();
        Ok((first.values().to_vec(), ends))
    }

    /// Final rows of the sessions that `rows` are.
    pub(super) fn finished(
        &self,
        stage: &Stage,
        rows: &RecordBatch,
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let (starts, ends) = self.windows(stage, rows)?;
        results::finish_groups(stage, rows, (&starts, &ends), failures)
    }

    /// For each session that would close the watermark at which it does, and its one row. `before`
    /// is the watermark that sessions are closed up to.
    pub(super) fn closing(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        before: Option<EventMs>,
        watermark: EventMs,
    ) -> Vec<(EventMs, usize)> {
        let closings = self.open_closings(plan, stage, before);
        closings.filter(|at| *at <= watermark).map(|at| (at, 1)).collect()
    }

    /// The least watermark that closes every session that is open at `before`.
    pub(super) fn last_close(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        before: Option<EventMs>,
    ) -> Option<EventMs> {
        self.open_closings(plan, stage, before).max()
    }

    fn open_closings(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        before: Option<EventMs>,
    ) -> impl Iterator<Item = EventMs> {
        let closings = self.closings(plan, stage).unwrap_or_default().into_iter();
        closings.filter(move |at| before.is_none_or(|before| *at > before))
    }

    /// The watermark at which each session closes, or has closed.
    pub(super) fn closings(&self, plan: &QueryPlan, stage: &Stage) -> Result<Vec<EventMs>> {
        let Some(open) = &self.open else { return Ok(Vec::new()) };
        let (_, last) = bounds(stage, open)?;
        Ok(last.values().iter().map(|last| self.closes_at(plan, *last)).collect())
    }

    /// The least watermark that closes a session whose last event is at `last`. An event at the
    /// session's end still joins it, and is on time at a watermark that has just reached it, so the
    /// session closes one millisecond later than a window with the same end.
    fn closes_at(&self, plan: &QueryPlan, last: i64) -> EventMs {
        EventMs(last).plus(self.gap_ms).plus(plan.grace_ms).plus(1)
    }

    /// The least watermark at which the session takes no rows any more.
    fn lost_at(&self, plan: &QueryPlan, last: i64) -> EventMs {
        self.closes_at(plan, last).plus(plan.allowed_lateness_ms)
    }

    /// How many sessions this tick changed; with `closed` only those that are closed there.
    pub(super) fn touched(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        closed: Option<EventMs>,
    ) -> usize {
        let closings = self.closings(plan, stage).unwrap_or_default();
        let is_due = |at: &EventMs| closed.is_none_or(|closed| *at <= closed);
        self.told.iter().zip(&closings).filter(|(told, at)| told.touched && is_due(at)).count()
    }

    /// What was emitted of each session, for queries whose results can change.
    pub(super) fn told(&self) -> &[ToldSession] {
        &self.told
    }

    pub(super) fn told_mut(&mut self) -> &mut [ToldSession] {
        &mut self.told
    }

    /// Ends the tick: what comes next is another one's.
    pub(super) fn untouch(&mut self) {
        self.told.iter_mut().for_each(|told| told.touched = false);
    }

    /// Drops the sessions that take no rows any more.
    pub(super) fn forget(
        &mut self,
        plan: &QueryPlan,
        stage: &Stage,
        watermark: EventMs,
    ) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let (_, last) = bounds(stage, open)?;
        let stays = |row: &usize| self.lost_at(plan, last.value(*row)) > watermark;
        let staying: Vec<usize> = (0..open.num_rows()).filter(stays).collect();
        if staying.len() == open.num_rows() {
            return Ok(());
        }
        let rows: UInt32Array = staying.iter().map(|row| *row as u32).collect();
        let rows = take_record_batch(open, &rows)?;
        self.told = staying.iter().map(|row| self.told[*row].clone()).collect();
        self.open = (rows.num_rows() > 0).then_some(rows);
        Ok(())
    }

    /// The open sessions as partial rows.
    pub(super) fn rows(&self, stage: &Stage) -> Result<RecordBatch> {
        match &self.open {
            Some(open) => Ok(open.clone()),
            None => Ok(RecordBatch::new_empty(Arc::clone(&stage.partial))),
        }
    }

    /// Makes the state empty.
    pub(super) fn clear(&mut self) {
        *self = OpenSessions::new(self.gap_ms);
    }

    /// Takes over open sessions as partial rows, of which nothing is told yet.
    pub(super) fn restore(&mut self, plan: &QueryPlan, rows: RecordBatch) {
        let told = plan.revisions.as_ref().map_or(0, |_| rows.num_rows());
        self.told = vec![ToldSession::default(); told];
        self.open = (rows.num_rows() > 0).then_some(rows);
        self.pending.clear();
    }

    /// Open sessions, start of the oldest, groups, bytes. `closed` is the watermark that sessions
    /// are closed up to.
    pub(super) fn measure(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        closed: Option<EventMs>,
    ) -> (u64, Option<EventMs>, u64, u64) {
        let Some(rows) = &self.open else { return (0, None, 0, 0) };
        let (mut open, mut oldest) = (0, None);
        if let Ok((first, last)) = bounds(stage, rows) {
            for (first, last) in first.values().iter().zip(last.values()) {
                if closed.is_none_or(|closed| self.closes_at(plan, *last) > closed) {
                    open += 1;
                    oldest =
                        Some(oldest.map_or(EventMs(*first), |it: EventMs| it.min(EventMs(*first))));
                }
            }
        }
        (open, oldest, rows.num_rows() as u64, self.bytes())
    }

    /// Bytes held, about; fragments that wait to be joined count too.
    pub(super) fn bytes(&self) -> u64 {
        let rows = self.open.iter().chain(self.pending.iter().map(|(rows, _)| rows));
        let told: u64 = self.told.iter().map(ToldSession::bytes).sum();
        rows.map(rows_bytes).sum::<u64>() + told
    }
}

/// First and last event of each row's session.
fn bounds<'a>(stage: &Stage, rows: &'a RecordBatch) -> Result<(&'a Int64Array, &'a Int64Array)> {
    let column =
        |index: usize| rows.column(stage.slice_index() + index).as_primitive_opt::<Int64Type>();
    match (column(0), column(1)) {
        (Some(first), Some(last)) => Ok((first, last)),
        _ => internal_err!("a session's bounds have another type"),
    }
}
