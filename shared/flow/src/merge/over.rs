//! OVER windows: the value of each row from the rows of its key before it, and perhaps some behind.
//!
//! A row gets its values as soon as it comes, when no function looks ahead. Else it waits until it is
//! known which rows follow, and rows are handed on in the order in which that becomes known.
//!
//! # Invariants
//! 1. What a row's values are, and in which order rows are handed on, follows from event times and
//!    the order of rows alone, not from ticks.
//! 2. A row is told of and not handed on when one of its values cannot be computed; rows after it see it
//!    as any other.
//! 3. Between ticks only rows are kept that a later row may see, or that wait; and states of keys
//!    that a later row may go on with.
//!
//! Not here: which functions there are and what they need (`tidemill_plan::OverStage`).

mod columns;
mod exact_sum;
mod extremes;
mod framed;
pub(super) mod keys;
pub(super) mod last;
mod needs;
mod running;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_empty_array,
};
use arrow::compute::{concat, concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, internal_err};
use tidemill_model::EventMs;
use tidemill_plan::OverStage;

use self::columns::{RowFailures, passing};
pub(super) use self::columns::{evaluated, typed};
use self::framed::Layout;
use self::keys::{DROPPED, Keys, Marks};
use self::needs::{KeyNeeds, Needs};
use self::running::{Came, Running, columns_of};
use super::failed::Failures;
use super::operator::{Operator, Rows};
use crate::aggregate::rows_bytes;

/// The open state of an OVER stage.
pub(super) struct Over {
    stage: OverStage,
    needs: Needs,
    keys: Keys,
    /// Rows that later ones may see, and those that wait, in the order of the input.
    kept: RecordBatch,
    /// Numbers of their keys.
    kept_keys: Vec<u32>,
    /// The rows that wait, and their values that are known.
    waiting: Option<RecordBatch>,
    /// Of each function that runs.
    running: Vec<Option<Running>>,
    watermark: i64,
    /// Greatest event time that came.
    newest: Option<i64>,
}

/// Kept rows and those that came, one behind the other.
struct All {
    keys: Vec<u32>,
    times: Vec<i64>,
    runs: Vec<i64>,
    waits: Vec<bool>,
    /// Arguments of framed functions.
    arguments: Vec<ArrayRef>,
    /// PARTITION BY values.
    values: Vec<ArrayRef>,
    /// How many of them were kept.
    old: usize,
}

impl Over {
    pub(super) fn new(stage: &OverStage) -> Result<Over> {
        let ends = stage.functions.iter().any(|function| function.ends);
        let keep_ms = stage.keep_ms.filter(|_| ends);
        let running = stage.functions.iter().map(|function| {
            function.sight.is_running().then(|| Running::new(function)).transpose()
        });
        Ok(Over {
            needs: Needs::of(&stage.functions),
            keys: Keys::new(stage.key_schema(), keep_ms)?,
            kept: RecordBatch::new_empty(Arc::clone(&stage.kept)),
            kept_keys: Vec::new(),
            waiting: stage.waiting.clone().map(RecordBatch::new_empty),
            running: running.collect::<Result<_>>()?,
            watermark: i64::MIN,
            newest: None,
            stage: stage.clone(),
        })
    }

    /// Values of the running functions for rows that came; `None` for other functions.
    fn run(
        &mut self,
        times: &[i64],
        marks: &Marks,
        arguments: &[ArrayRef],
        failed: &mut RowFailures,
    ) -> Result<Vec<Option<ArrayRef>>> {
        let came = Came { times, marks, arguments, keys: self.keys.len() };
        let functions = self.stage.functions.iter().zip(&mut self.running);
        functions
            .map(|(function, running)| {
                running.as_mut().map(|it| it.take_rows(function, &came, failed)).transpose()
            })
            .collect()
    }

    /// The rows that are kept and those that came.
    fn all(
        &self,
        values: Vec<ArrayRef>,
        arguments: &[ArrayRef],
        times: &[i64],
        marks: &Marks,
    ) -> Result<All> {
        let columns = self.kept.columns();
        let key_columns = values.len();
        let join = |old: &ArrayRef, new: &ArrayRef| match old.len() {
            0 => Ok(Arc::clone(new)),
            _ => concat(&[old.as_ref(), new.as_ref()]),
        };
        let longs = |index: usize, new: &[i64]| {
            let old = columns[index].as_primitive::<Int64Type>().values();
            old.iter().chain(new).copied().collect::<Vec<i64>>()
        };
        let old = columns[..key_columns].iter().zip(&values);
        let values = old.map(|(old, new)| join(old, new)).collect::<Result<_, _>>()?;
        let old = columns[key_columns + 3..].iter().zip(arguments);
        let arguments = old.map(|(old, new)| join(old, new)).collect::<Result<_, _>>()?;
        let waits = columns[key_columns + 2].as_boolean();
        let new = std::iter::repeat_n(self.waiting.is_some(), times.len());
        Ok(All {
            keys: self.kept_keys.iter().chain(&marks.keys).copied().collect(),
            times: longs(key_columns, times),
            runs: longs(key_columns + 1, &marks.run),
            waits: waits.values().iter().chain(new).collect(),
            arguments,
            values,
            old: self.kept.num_rows(),
        })
    }

    /// Values of the framed functions that do or do not look ahead, for the rows that `goes_to` gives
    /// a place of `count`.
    fn frame(
        &self,
        all: &All,
        ahead: bool,
        first: usize,
        goes_to: &[u32],
        count: usize,
        failed: &mut RowFailures,
    ) -> Result<Vec<Option<ArrayRef>>> {
        let wanted = |function: &tidemill_plan::OverFunction| {
            !function.sight.is_running() && function.sight.looks_ahead() == ahead
        };
        if !self.stage.functions.iter().any(wanted) {
            return Ok(self.stage.functions.iter().map(|_| None).collect());
        }
        let mut chosen = vec![false; self.keys.len()];
        for (row, key) in all.keys.iter().enumerate().skip(first) {
            chosen[*key as usize] |= goes_to[row] != DROPPED;
        }
        let layout = Layout::new(&all.keys, &all.times, &all.runs, &chosen);
        let arguments = layout.arrange(&all.arguments)?;
        let goes_to = |place: usize| {
            let row = goes_to[layout.rows[place] as usize];
            (row != DROPPED).then_some(row as usize)
        };
        let waits = |row: u32| match ahead {
            true => all.waits[row as usize],
            false => row as usize >= first,
        };
        let each = self.stage.functions.iter().map(|function| {
            if !wanted(function) {
                return Ok(None);
            }
            let by_run = function.ends && self.stage.keep_ms.is_some();
            let spans = layout.spans(by_run, waits);
            let values =
                framed::evaluate(function, &layout, &spans, &arguments, goes_to, count, failed);
            values.map(Some)
        });
        each.collect()
    }

    /// For each row that waits when its values are known, and its row.
    fn known_at(&self, all: &All) -> Vec<(i64, u32)> {
        let mut at = vec![i64::MIN; all.keys.len()];
        let mut chosen = vec![false; self.keys.len()];
        for (key, waits) in all.keys.iter().zip(&all.waits) {
            chosen[*key as usize] |= *waits;
        }
        let layout = Layout::new(&all.keys, &all.times, &all.runs, &chosen);
        for function in self.stage.functions.iter().filter(|it| it.sight.looks_ahead()) {
            let keep_ms = self.stage.keep_ms.filter(|_| function.ends);
            for span in layout.spans(keep_ms.is_some(), |row| all.waits[row as usize]) {
                layout.known_at(function.sight, &span, keep_ms, |place, time| {
                    let row = layout.rows[place] as usize;
                    at[row] = at[row].max(time);
                });
            }
        }
        let rows = all.waits.iter().zip(&at).enumerate().filter(|(_, (waits, _))| **waits);
        rows.map(|(row, (_, at))| (*at, row as u32)).collect()
    }

    /// Hands on rows that waited and whose values are known at `watermark`.
    fn ripe(
        &mut self,
        all: &mut All,
        watermark: i64,
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let Some(waiting) = self.waiting.take() else {
            return internal_err!("no function of the stage looks ahead");
        };
        let mut ripe = self.known_at(all);
        ripe.retain(|(at, _)| *at < watermark || watermark == i64::MAX);
        ripe.sort_unstable();
        let mut goes_to = vec![DROPPED; all.keys.len()];
        for (place, (_, row)) in ripe.iter().enumerate() {
            goes_to[*row as usize] = place as u32;
        }
        let mut failed = RowFailures::new();
        let mut ahead = self.frame(all, true, 0, &goes_to, ripe.len(), &mut failed)?;
        let mut taken = vec![0u32; ripe.len()];
        let mut stays = Vec::new();
        let waiting_rows = all.waits.iter_mut().enumerate().filter(|(_, waits)| **waits);
        for (next, (row, waits)) in waiting_rows.enumerate() {
            let ripe = goes_to[row] != DROPPED;
            if ripe {
                taken[goes_to[row] as usize] = next as u32;
                *waits = false;
            }
            stays.push(!ripe);
        }
        let rows = take_record_batch(&waiting, &UInt32Array::from(taken))?;
        self.waiting = Some(match ripe.is_empty() {
            true => waiting,
            false => filter_record_batch(&waiting, &BooleanArray::from(stays))?,
        });
        let inputs = self.stage.input.fields().len();
        let mut columns = rows.columns()[..inputs].to_vec();
        let mut known = rows.columns()[inputs..].iter();
        for (function, ahead) in self.stage.functions.iter().zip(&mut ahead) {
            let values = match function.sight.looks_ahead() {
                true => ahead.take(),
                false => known.next().cloned(),
            };
            match values {
                Some(values) => columns.push(values),
                None => return internal_err!("a value of a row that waited is missing"),
            }
        }
        let input = rows.project(&(0..inputs).collect::<Vec<_>>())?;
        let told = rows.column(rows.num_columns() - 1).as_boolean();
        let passes = passing(failed, &input, Some(told), failures)?;
        self.output(columns, &passes)
    }

    /// The rows that pass.
    fn output(&self, columns: Vec<ArrayRef>, passes: &BooleanArray) -> Result<RecordBatch> {
        let rows = typed(&self.stage.output, columns)?;
        match passes.false_count() {
            0 => Ok(rows),
            _ => Ok(filter_record_batch(&rows, passes)?),
        }
    }

    /// Keeps of all rows those that later ones may see, and those that wait.
    fn prune(&mut self, all: &All, watermark: i64) -> Result<()> {
        let mut of_keys: Vec<KeyNeeds> = (0..self.keys.len())
            .map(|key| KeyNeeds::new(self.keys.goes_on(key, watermark), self.keys.run[key]))
            .collect();
        for row in (0..all.keys.len()).rev().filter(|row| all.waits[*row]) {
            let key = &mut of_keys[all.keys[row] as usize];
            key.first_waiting = Some((all.times[row], all.runs[row]));
        }
        let mut kept: Vec<u32> = Vec::new();
        for row in (0..all.keys.len()).rev() {
            let is_valid = |argument: usize| all.arguments[argument].is_valid(row);
            let of_row = (all.times[row], all.runs[row], all.waits[row]);
            let key = &mut of_keys[all.keys[row] as usize];
            if key.needs(&self.needs, watermark, of_row, is_valid) {
                kept.push(row as u32);
            }
        }
        kept.reverse();
        if kept.len() == all.keys.len() && all.old == all.keys.len() && self.waiting.is_none() {
            return Ok(());
        }
        let of_rows = |all: &[i64]| -> ArrayRef {
            Arc::new(kept.iter().map(|row| all[*row as usize]).collect::<Int64Array>())
        };
        let waits: Vec<bool> = kept.iter().map(|row| all.waits[*row as usize]).collect();
        let rows = UInt32Array::from(kept.clone());
        let chosen = |column: &ArrayRef| arrow::compute::take(column, &rows, None);
        let mut columns = all.values.iter().map(chosen).collect::<Result<Vec<_>, _>>()?;
        columns.push(of_rows(&all.times));
        columns.push(of_rows(&all.runs));
        columns.push(Arc::new(BooleanArray::from(waits)));
        for argument in &all.arguments {
            columns.push(chosen(argument)?);
        }
        self.kept_keys = kept.iter().map(|row| all.keys[*row as usize]).collect();
        self.kept = typed(&self.stage.kept, columns)?;
        Ok(())
    }

    /// Whether something of a key is needed.
    fn lives(&self) -> Vec<bool> {
        let states = self.stage.keys.is_some();
        let mut lives: Vec<bool> = (0..self.keys.len())
            .map(|key| states && self.keys.goes_on(key, self.watermark))
            .collect();
        for key in &self.kept_keys {
            lives[*key as usize] = true;
        }
        lives
    }

    /// Forgets keys of which nothing is needed, once they are half of all.
    fn forget(&mut self) -> Result<()> {
        let lives = self.lives();
        if !self.keys.forget(&lives, &mut self.kept_keys)? {
            return Ok(());
        }
        for (function, running) in self.stage.functions.iter().zip(&mut self.running) {
            if let Some(running) = running {
                running.retain(function, &lives)?;
            }
        }
        Ok(())
    }

    /// For each row that waits when it is handed on.
    fn waits_until(&self) -> Result<Option<i64>> {
        if self.waiting.as_ref().is_none_or(|waiting| waiting.num_rows() == 0) {
            return Ok(None);
        }
        let none = |column: &ArrayRef| new_empty_array(column.data_type());
        let key_columns = self.stage.partition_by.len();
        let values = self.kept.columns()[..key_columns].iter().map(none).collect();
        let arguments: Vec<ArrayRef> =
            self.kept.columns()[key_columns + 3..].iter().map(none).collect();
        let all = self.all(values, &arguments, &[], &Marks::default())?;
        Ok(self.known_at(&all).into_iter().map(|(at, _)| at).max())
    }
}

impl Operator for Over {
    fn advance(
        &mut self,
        mut inputs: Vec<Rows>,
        watermarks: &[EventMs],
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        let (Some(Rows { batch, times }), [watermark]) = (inputs.pop(), watermarks) else {
            return internal_err!("OVER has one input");
        };
        let times = times.values();
        let watermark = watermark.0;
        let (first, last) = (times.first().copied(), times.last().copied());
        if first.is_some_and(|first| self.newest.is_some_and(|newest| first <= newest)) {
            return internal_err!("a row comes behind one of its own time or a later one");
        }
        self.newest = last.or(self.newest);
        if times.is_empty() && watermark == self.watermark {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.stage.output)));
        }
        self.watermark = watermark;
        let values = evaluated(&self.stage.partition_by, &batch)?;
        let arguments = evaluated(&self.stage.arguments, &batch)?;
        let marks = self.keys.take_rows(&values, times)?;
        let mut failed = RowFailures::new();
        let mut known = self.run(times, &marks, &arguments, &mut failed)?;
        if self.stage.has_framed() {
            let framed = &arguments[..self.stage.framed_arguments];
            let mut all = self.all(values, framed, times, &marks)?;
            let mut goes_to = vec![DROPPED; all.keys.len()];
            for (place, row) in (all.old..all.keys.len()).enumerate() {
                goes_to[row] = place as u32;
            }
            let seen = self.frame(&all, false, all.old, &goes_to, times.len(), &mut failed)?;
            for (known, seen) in known.iter_mut().zip(seen) {
                *known = known.take().or(seen);
            }
            if let Some(waiting) = self.waiting.take() {
                let mut columns = batch.columns().to_vec();
                columns.extend(known.into_iter().flatten());
                let passes = passing(failed, &batch, None, failures)?;
                columns.push(Arc::new(arrow::compute::not(&passes)?));
                let new = typed(&waiting.schema(), columns)?;
                self.waiting = Some(concat_batches(&waiting.schema(), [&waiting, &new])?);
                let ripe = self.ripe(&mut all, watermark, failures)?;
                self.prune(&all, watermark)?;
                self.forget()?;
                return Ok(ripe);
            }
            self.prune(&all, watermark)?;
        }
        self.forget()?;
        let mut columns = batch.columns().to_vec();
        for values in known {
            match values {
                Some(values) => columns.push(values),
                None => return internal_err!("a value of a row is missing"),
            }
        }
        let passes = passing(failed, &batch, None, failures)?;
        self.output(columns, &passes)
    }

    fn parts(&self) -> Result<Vec<RecordBatch>> {
        let mut parts = Vec::new();
        if self.stage.has_framed() {
            parts.push(self.kept.clone());
        }
        parts.extend(self.waiting.clone());
        if let Some(schema) = &self.stage.keys {
            let lives = BooleanArray::from(self.lives());
            let mut columns = self.keys.values(&lives)?;
            let times = |times: &[i64]| {
                let lived = times.iter().zip(lives.values()).filter(|(_, lives)| *lives);
                Arc::new(lived.map(|(time, _)| *time).collect::<Int64Array>()) as ArrayRef
            };
            columns.push(times(&self.keys.last));
            columns.push(times(&self.keys.run));
            for (function, running) in self.stage.functions.iter().zip(&self.running) {
                if let Some(running) = running {
                    columns.extend(running.states(function, &lives)?);
                }
            }
            parts.push(typed(schema, columns)?);
        }
        Ok(parts)
    }

    fn restore(&mut self, parts: Vec<RecordBatch>) -> Result<()> {
        let mut restored = Over::new(&self.stage)?;
        let mut parts = parts.into_iter();
        let mut next = || match parts.next() {
            Some(part) => Ok(part),
            None => internal_err!("a part of an OVER stage's state is missing"),
        };
        let kept = if self.stage.has_framed() { Some(next()?) } else { None };
        if restored.waiting.is_some() {
            restored.waiting = Some(next()?);
        }
        let key_columns = self.stage.partition_by.len();
        if self.stage.keys.is_some() {
            let keys = next()?;
            let values = &keys.columns()[..key_columns];
            restored.keys.number(values, keys.num_rows())?;
            let times = |index: usize| keys.column(index).as_primitive::<Int64Type>();
            restored.keys.last = times(key_columns).values().to_vec();
            restored.keys.run = times(key_columns + 1).values().to_vec();
            let columns = columns_of(&keys, &self.stage.functions, key_columns + 2);
            for ((function, columns), running) in columns.zip(&mut restored.running) {
                if let Some(running) = running {
                    *running = Running::restored(function, columns)?;
                }
            }
        }
        if let Some(kept) = kept {
            let values = &kept.columns()[..key_columns];
            restored.kept_keys = restored.keys.number(values, kept.num_rows())?;
            if self.stage.keys.is_none() {
                // What is known of a key is what its last row tells.
                let times = |index: usize| kept.column(index).as_primitive::<Int64Type>().values();
                let rows = times(key_columns).iter().zip(times(key_columns + 1));
                for (key, (time, run)) in restored.kept_keys.iter().zip(rows) {
                    restored.keys.last[*key as usize] = *time;
                    restored.keys.run[*key as usize] = *run;
                }
            }
            restored.kept = kept;
        }
        *self = restored;
        Ok(())
    }

    fn clear(&mut self) {
        // Making an empty state of a stage has succeeded before.
        if let Ok(empty) = Over::new(&self.stage) {
            *self = empty;
        }
    }

    fn last_close(&self) -> Option<EventMs> {
        let until = self.waits_until().ok().flatten();
        until.map(|at| EventMs(at).plus(1))
    }

    fn rows(&self) -> u64 {
        let live = self.lives().into_iter().filter(|lives| *lives).count() as u64;
        let keys = if self.stage.keys.is_some() { live } else { 0 };
        self.kept.num_rows() as u64 + keys
    }

    fn bytes(&self) -> u64 {
        let running = self.running.iter().flatten().map(Running::bytes).sum::<u64>();
        let waiting = self.waiting.as_ref().map_or(0, rows_bytes);
        rows_bytes(&self.kept) + waiting + self.keys.bytes() + running
    }
}

#[cfg(test)]
mod tests;
