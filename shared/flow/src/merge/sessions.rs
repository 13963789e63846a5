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

use super::late::{Ledger, Source};
use super::results;
use crate::aggregate::{Groups, States, rows_bytes};
use crate::combine::assemble;

pub(super) struct OpenSessions {
    gap_ms: i64,
    open: Option<RecordBatch>,
    /// Fragments of this tick, with where they came from.
    pending: Vec<(RecordBatch, Source)>,
}

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
        OpenSessions { gap_ms, open: None, pending: Vec::new() }
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
        if pending.is_empty() {
            return Ok(());
        }
        let open = self.open.take();
        let opened = open.as_ref().map_or(0, RecordBatch::num_rows);
        let parts = open.iter().chain(pending.iter().map(|(rows, _)| rows));
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
            let closes = self.closes_at(plan, session.last);
            !session.was_open && closed.is_some_and(|closed| closes <= closed)
        };
        let late: Vec<bool> = sessions.iter().map(is_late).collect();
        if late.contains(&true) {
            let mut from = opened;
            for (rows, source) in &pending {
                for row in 0..rows.num_rows() {
                    let session = session_of[from + row];
                    if late[session] {
                        let Joined { first, last, .. } = sessions[session];
                        let end = EventMs(last).plus(self.gap_ms);
                        let window = Window { start: EventMs(first), end };
                        let row = rows.slice(row, 1);
                        ledger.at(plan, stage, source.clone()).rows(&row, &[window], false)?;
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
        let (first, last) = bounds(stage, &rows)?;
        let ends = last.values().iter().map(|last| EventMs(*last).plus(self.gap_ms).0).collect();
        let each: Vec<usize> = (0..rows.num_rows()).collect();
        let mut states = States::new(stage)?;
        states.merge(stage, &rows, &each, rows.num_rows())?;
        let keys = rows.columns()[..stage.slice_index()].to_vec();
        let starts = first.values().to_vec();
        let count = rows.num_rows() as u64;
        Ok(Some((count, results::finish(stage, keys, starts, ends, states.take_values()?)?)))
    }

    /// For each session that would close the watermark at which it does, and its one row.
    pub(super) fn closing(
        &self,
        plan: &QueryPlan,
        stage: &Stage,
        watermark: EventMs,
    ) -> Vec<(EventMs, usize)> {
        let closings = self.closings(plan, stage).into_iter();
        closings.filter(|at| *at <= watermark).map(|at| (at, 1)).collect()
    }

    /// The least watermark that closes every session.
    pub(super) fn last_close(&self, plan: &QueryPlan, stage: &Stage) -> Option<EventMs> {
        self.closings(plan, stage).into_iter().max()
    }

    fn closings(&self, plan: &QueryPlan, stage: &Stage) -> Vec<EventMs> {
        let Some(open) = &self.open else { return Vec::new() };
        bounds(stage, open).map_or_else(
            |_| Vec::new(),
            |(_, last)| last.values().iter().map(|last| self.closes_at(plan, *last)).collect(),
        )
    }

    /// The least watermark that closes a session whose last event is at `last`. An event at the
    /// session's end still joins it, and is on time at a watermark that has just reached it, so the
    /// session closes one millisecond later than a window with the same end.
    fn closes_at(&self, plan: &QueryPlan, last: i64) -> EventMs {
        EventMs(last).plus(self.gap_ms).plus(plan.grace_ms).plus(1)
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

    pub(super) fn restore(&mut self, rows: RecordBatch) {
        self.open = (rows.num_rows() > 0).then_some(rows);
        self.pending.clear();
    }

    /// Open sessions, start of the oldest, groups, bytes.
    pub(super) fn measure(&self, stage: &Stage) -> (u64, Option<EventMs>, u64, u64) {
        let Some(open) = &self.open else { return (0, None, 0, 0) };
        let count = open.num_rows() as u64;
        let oldest = bounds(stage, open)
            .ok()
            .and_then(|(first, _)| first.values().iter().min().map(|first| EventMs(*first)));
        (count, oldest, count, self.bytes())
    }

    /// Bytes held, about; fragments that wait to be joined count too.
    pub(super) fn bytes(&self) -> u64 {
        let rows = self.open.iter().chain(self.pending.iter().map(|(rows, _)| rows));
        rows.map(rows_bytes).sum()
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
