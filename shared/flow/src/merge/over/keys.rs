//! The keys of a row stage, numbered, and since when each of them has come without a silence.
//!
//! # Invariants
//! 1. Whether a row starts its key anew follows from event times alone: it comes more than `keep`
//!    behind the key's row before. When the key's state is really dropped cannot be seen.
//! 2. Numbers are not visible: they change when keys are dropped.

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::{concat, filter, take};
use arrow::datatypes::Schema;
use datafusion::common::Result;

use crate::aggregate::Groups;

/// No key.
pub(in crate::merge) const DROPPED: u32 = u32::MAX;

/// Keys, and of each the last row.
pub(in crate::merge) struct Keys {
    schema: Schema,
    keep_ms: Option<i64>,
    groups: Groups,
    /// Values of the keys, one row a key, in the order of their numbers; in pieces.
    values: Vec<Vec<ArrayRef>>,
    /// Event time of the last row.
    pub(in crate::merge) last: Vec<i64>,
    /// Event time of the row that the key last started anew with.
    pub(in crate::merge) run: Vec<i64>,
    bytes: u64,
    scratch: Vec<usize>,
}

/// What is known of new rows by their keys.
#[derive(Default)]
pub(in crate::merge) struct Marks {
    /// Number of each row's key.
    pub(in crate::merge) keys: Vec<u32>,
    /// Whether the row starts its key anew.
    pub(in crate::merge) fresh: Vec<bool>,
    /// Whether the row before of the same key has the same event time.
    pub(in crate::merge) peer: Vec<bool>,
    /// Event time of the row that its key last started anew with.
    pub(in crate::merge) run: Vec<i64>,
}

impl Keys {
    /// For keys of the columns of `schema` that start anew after a silence of more than `keep_ms`.
    pub(in crate::merge) fn new(schema: Schema, keep_ms: Option<i64>) -> Result<Keys> {
        Ok(Keys {
            groups: Groups::new(schema.clone())?,
            schema,
            keep_ms,
            values: Vec::new(),
            last: Vec::new(),
            run: Vec::new(),
            bytes: 0,
            scratch: Vec::new(),
        })
    }

    pub(in crate::merge) fn len(&self) -> usize {
        self.last.len()
    }

    /// Numbers keys; new ones have no row yet.
    pub(in crate::merge) fn number(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let before = self.len();
        let mut numbers = std::mem::take(&mut self.scratch);
        self.groups.intern(keys, rows, &mut numbers)?;
        let mut firsts: Vec<u32> = Vec::new();
        let mut given = Vec::with_capacity(rows);
        for (row, number) in numbers.iter().enumerate() {
            if *number == before + firsts.len() {
                firsts.push(row as u32);
            }
            given.push(*number as u32);
        }
        self.scratch = numbers;
        self.last.resize(before + firsts.len(), i64::MIN);
        self.run.resize(before + firsts.len(), i64::MIN);
        if !firsts.is_empty() {
            let firsts = UInt32Array::from(firsts);
            let new =
                keys.iter().map(|key| take(key, &firsts, None)).collect::<Result<Vec<_>, _>>()?;
            self.bytes += new.iter().map(|it| it.get_array_memory_size() as u64).sum::<u64>();
            self.values.push(new);
        }
        Ok(given)
    }

    /// Numbers the keys of rows in the order of their `times`, and notes their last rows.
    pub(in crate::merge) fn take_rows(
        &mut self,
        keys: &[ArrayRef],
        times: &[i64],
    ) -> Result<Marks> {
        let known = self.len();
        let numbers = self.number(keys, times.len())?;
        let mut marks = Marks {
            fresh: Vec::with_capacity(times.len()),
            peer: Vec::with_capacity(times.len()),
            run: Vec::with_capacity(times.len()),
            keys: numbers,
        };
        let mut seen = vec![false; self.len() - known];
        for (key, time) in marks.keys.iter().zip(times) {
            let key = *key as usize;
            let first = key >= known && !std::mem::replace(&mut seen[key - known], true);
            let silent =
                self.keep_ms.is_some_and(|keep| time.saturating_sub(self.last[key]) > keep);
            let fresh = first || silent;
            if fresh {
                self.run[key] = *time;
            }
            marks.fresh.push(fresh);
            marks.peer.push(!fresh && self.last[key] == *time);
            marks.run.push(self.run[key]);
            self.last[key] = *time;
        }
        Ok(marks)
    }

    /// Whether a row at or behind `watermark` can go on with what is kept of a key.
    pub(in crate::merge) fn goes_on(&self, key: usize, watermark: i64) -> bool {
        watermark != i64::MAX
            && self.keep_ms.is_none_or(|keep| watermark.saturating_sub(self.last[key]) <= keep)
    }

    /// Values of the keys that `wanted` says.
    pub(in crate::merge) fn values(&self, wanted: &BooleanArray) -> Result<Vec<ArrayRef>> {
        (0..self.schema.fields().len())
            .map(|column| {
                let pieces: Vec<_> =
                    self.values.iter().map(|piece| piece[column].as_ref()).collect();
                if pieces.is_empty() {
                    return Ok(arrow::array::new_empty_array(
                        self.schema.field(column).data_type(),
                    ));
                }
                Ok(filter(&concat(&pieces)?, wanted)?)
            })
            .collect()
    }

    /// Drops the keys that do not live, once they are half of all, and answers whether it did. `held`
    /// are numbers of keys that live.
    pub(in crate::merge) fn forget(&mut self, lives: &[bool], held: &mut [u32]) -> Result<bool> {
        let live = lives.iter().filter(|lives| **lives).count();
        if live * 2 > lives.len() || lives.is_empty() {
            return Ok(false);
        }
        let numbers = self.retain(lives)?;
        for key in held {
            *key = numbers[*key as usize];
        }
        Ok(true)
    }

    /// Drops all keys but those that `wanted` says; answers the new number of each old one, or
    /// [`DROPPED`].
    pub(in crate::merge) fn retain(&mut self, wanted: &[bool]) -> Result<Vec<u32>> {
        let flags = BooleanArray::from(wanted.to_vec());
        let values = self.values(&flags)?;
        let mut next = 0;
        let numbers = wanted
            .iter()
            .map(|wanted| match wanted {
                true => {
                    next += 1;
                    next - 1
                }
                false => DROPPED,
            })
            .collect();
        let kept = |all: &[i64]| {
            let all = all.iter().zip(wanted);
            all.filter(|(_, wanted)| **wanted).map(|(value, _)| *value).collect::<Vec<i64>>()
        };
        let (last, run) = (kept(&self.last), kept(&self.run));
        let mut fresh = Keys::new(self.schema.clone(), self.keep_ms)?;
        if next > 0 {
            fresh.number(&values, next as usize)?;
        }
        (fresh.last, fresh.run) = (last, run);
        *self = fresh;
        Ok(numbers)
    }

    /// Bytes held, about: each key is there twice, as a value and in the table.
    pub(in crate::merge) fn bytes(&self) -> u64 {
        2 * self.bytes + 32 * self.len() as u64
    }
}
