//! FIRST_VALUE and the like, MIN and MAX: a value that one of the rows had, carried on by key.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use datafusion::common::{Result, internal_err};
use tidemill_plan::{OverCall, OverFunction};

use super::super::DROPPED;
use super::super::extremes::{Before, before, ordered};
use super::{Came, Fold, fold};

struct Chosen<'a, C> {
    rows: &'a mut [u64],
    /// For each key the place of its value, among those of keys and then those of rows.
    places: Vec<u32>,
    counts: C,
    is_better: Choice<'a>,
    known: u32,
    values: Vec<Option<u32>>,
}

enum Choice<'a> {
    /// The n-th.
    Nth(u64),
    Last,
    /// The one that stands before the others.
    First(Before<'a>),
}

impl<C: Fn(usize) -> bool> Fold for Chosen<'_, C> {
    fn reset(&mut self, key: usize) -> Result<()> {
        (self.rows[key], self.places[key]) = (0, DROPPED);
        Ok(())
    }

    fn add(&mut self, row: usize, key: usize) -> Result<()> {
        if !(self.counts)(row) {
            return Ok(());
        }
        self.rows[key] += 1;
        let place = self.known + row as u32;
        let kept = self.places[key];
        let is_better = match &self.is_better {
            Choice::Nth(nth) => self.rows[key] == *nth,
            Choice::Last => true,
            Choice::First(before) => kept == DROPPED || before(place as usize, kept as usize),
        };
        if is_better {
            self.places[key] = place;
        }
        Ok(())
    }

    fn read(&mut self, _: usize, key: usize) -> Result<()> {
        let place = self.places[key];
        self.values.push((place != DROPPED).then_some(place));
        Ok(())
    }
}

/// The values of rows that came, and in `carried` and `rows` those of keys after them.
pub(super) fn carry(
    rows: &mut Vec<u64>,
    carried: &mut ArrayRef,
    function: &OverFunction,
    call: &OverCall,
    came: &Came<'_>,
    taken: impl Fn(usize) -> bool,
) -> Result<ArrayRef> {
    let known = carried.len();
    let (argument, ignore_nulls) = match call {
        OverCall::Value { argument, ignore_nulls, .. } => (*argument, *ignore_nulls),
        OverCall::Aggregate { arguments, .. } => (arguments[0], true),
        _ => return internal_err!("a carried value of another function"),
    };
    let argument = &came.arguments[argument];
    let pool = concat(&[carried.as_ref(), argument.as_ref()])?;
    let (pool, is_better) = match call {
        OverCall::Aggregate { method, .. } => {
            let pool = ordered(&pool);
            let before = before(&pool, *method)?;
            (pool, Choice::First(before))
        }
        OverCall::Value { nth, .. } if *nth > 0 => (pool, Choice::Nth(*nth as u64)),
        _ => (pool, Choice::Last),
    };
    // No value has been chosen where no row was counted, or not enough of them.
    let least = match &is_better {
        Choice::Nth(nth) => *nth,
        _ => 1,
    };
    let mut places: Vec<u32> = (0..known as u32)
        .map(|key| if rows[key as usize] >= least { key } else { DROPPED })
        .collect();
    places.resize(came.keys, DROPPED);
    rows.resize(came.keys, 0);
    let counts = |row| taken(row) && (!ignore_nulls || argument.is_valid(row));
    let values = Vec::with_capacity(came.times.len());
    let mut chosen = Chosen { rows, places, counts, is_better, known: known as u32, values };
    fold(function, came, &mut chosen)?;
    let values = take(&pool, &UInt32Array::from(chosen.values), None)?;
    let places = chosen.places.iter().map(|place| (*place != DROPPED).then_some(*place));
    *carried = take(&pool, &places.collect::<UInt32Array>(), None)?;
    Ok(values)
}
