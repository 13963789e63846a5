//! A join of two inputs by keys and a range of times.
//!
//! Let M be the least watermark of the inputs: every later row of either has a time of at least M. So
//! rows below M are joined, in both directions, and the others wait.
//!
//! # Order
//! What is handed over has a moment: of a pair the later row's time; of a row that only its first match
//! matters for (SEMI) the same; of a row without match (LEFT, RIGHT, FULL, ANTI) the last time at which
//! one could have come. Everything with a moment below M is handed over, by moment, then the left row's
//! place in its input, then the right one's; a missing row comes last.
//!
//! A pair on which the rest of the condition fails is a dead letter. It is not handed over, and neither
//! are its rows as rows without match, since nobody knows.
//!
//! # Invariants
//! 1. A moment is never below the watermark that was told before, so the order does not depend on
//!    ticks.
//! 2. A row is kept only while a row at M or later could match it.
//! 3. Each side's rows are in the order of their times, so they go in the order in which they came.
//!
//! Not here: windows that are joined (the upper plan), joins by the latest version (`as_of`).

pub(in crate::merge) mod chunks;
pub(in crate::merge) mod keys;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt8Array};
use arrow::datatypes::UInt8Type;
use datafusion::common::{DataFusionError, JoinType, Result, internal_datafusion_err};
use tidemill_model::EventMs;
use tidemill_model::limits::JOIN_PAIRS_MAX;
use tidemill_plan::{JOINED, JoinStage, MATCHED, Residual};

use super::failed::{Failures, Told};
use super::operator::{Operator, Rows};
use super::ordered::times;
use chunks::{Chunks, NO_ROW};
use keys::{Keys, NO_KEY};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// Pairs whose condition is computed at once.
const CHUNK_PAIRS: usize = 64 * 1024;

/// The open rows of a join.
pub(super) struct IntervalJoin {
    stage: JoinStage,
    does: [Does; 2],
    keys: Keys,
    /// For each key number its rows on both sides.
    of_key: Vec<[VecDeque<Place>; 2]>,
    sides: [Side; 2],
    pairs_max: usize,
}

/// What becomes of the rows of one side.
#[derive(Debug, Clone, Copy, Default)]
struct Does {
    /// It is in pairs.
    pairs: bool,
    /// It is handed over at its first match.
    semi: bool,
    /// It is handed over when no match can come.
    without: bool,
}

/// A row among those of its key.
#[derive(Debug, Clone, Copy)]
struct Place {
    time: i64,
    number: u64,
}

/// The rows of one side.
struct Side {
    rows: Chunks,
    facts: VecDeque<Fact>,
    /// Number of the first row: rows are numbered as they come.
    first: u64,
    /// How many of the rows, from the first, are joined with everything before M.
    joined: usize,
}

/// What is known of a row.
#[derive(Debug, Clone, Copy)]
struct Fact {
    time: i64,
    key: u32,
    matched: bool,
}

/// What is handed over: moment, left row, right row.
type Handed = (i64, u32, u32);

impl Does {
    fn of(join_type: JoinType) -> [Does; 2] {
        let pairs = Does { pairs: true, ..Does::default() };
        let padded = Does { pairs: true, without: true, ..Does::default() };
        let semi = Does { semi: true, ..Does::default() };
        let anti = Does { without: true, ..Does::default() };
        let none = Does::default();
        match join_type {
            JoinType::Inner => [pairs, pairs],
            JoinType::Left => [padded, pairs],
            JoinType::Right => [pairs, padded],
            JoinType::Full => [padded, padded],
            JoinType::LeftSemi | JoinType::LeftMark => [semi, none],
            JoinType::RightSemi | JoinType::RightMark => [none, semi],
            JoinType::LeftAnti => [anti, none],
            JoinType::RightAnti => [none, anti],
        }
    }
}

impl IntervalJoin {
    pub(super) fn new(stage: &JoinStage) -> Result<IntervalJoin> {
        let side = |side: usize| Side {
            rows: Chunks::new(Arc::clone(&stage.inputs[side])),
            facts: VecDeque::new(),
            first: 0,
            joined: 0,
        };
        Ok(IntervalJoin {
            does: Does::of(stage.join_type),
            keys: Keys::new(stage.keys.clone(), &stage.inputs[LEFT], stage.nulls_equal)?,
            of_key: Vec::new(),
            sides: [side(LEFT), side(RIGHT)],
            stage: stage.clone(),
            pairs_max: JOIN_PAIRS_MAX,
        })
    }

    /// The first and last time at which a row of the other side can match one of `side`.
    fn reach(&self, side: usize, time: i64) -> (i64, i64) {
        let JoinStage { lower_ms, upper_ms, .. } = self.stage;
        match side {
            LEFT => (time.saturating_add(lower_ms), time.saturating_add(upper_ms)),
            _ => (time.saturating_sub(upper_ms), time.saturating_sub(lower_ms)),
        }
    }

    /// The last moment of a row: that of its last match.
    fn last_moment(&self, side: usize, time: i64) -> i64 {
        time.max(self.reach(side, time).1)
    }

    /// Adds rows, which are at or above the watermark, to a side.
    fn push(&mut self, side: usize, rows: Rows) -> Result<()> {
        let Rows { batch, times } = match self.does[side].without {
            true => rows,
            false => self.keys.with_key(side, rows)?,
        };
        let numbers = self.keys.hold(side, &batch)?;
        self.of_key.resize_with(self.keys.len(), Default::default);
        let Side { rows, facts, first, .. } = &mut self.sides[side];
        for (time, key) in times.values().iter().zip(numbers) {
            if key != NO_KEY {
                let number = *first + facts.len() as u64;
                self.of_key[key as usize][side].push_back(Place { time: *time, number });
            }
            facts.push_back(Fact { time: *time, key, matched: false });
        }
        rows.push(batch)
    }

    /// Joins the rows below `watermark` that are not joined yet.
    fn join(&mut self, watermark: i64, failures: &mut Failures<'_>) -> Result<Vec<Handed>> {
        let before = [self.sides[LEFT].joined, self.sides[RIGHT].joined];
        let below = |side: &Side| match watermark {
            i64::MAX => side.facts.len(),
            watermark => side.facts.partition_point(|fact| fact.time < watermark),
        };
        let now = [below(&self.sides[LEFT]), below(&self.sides[RIGHT])];
        let mut handed = Vec::new();
        let mut pairs = Pairs::default();
        let mut compared = 0usize;
        // New left rows with all right rows; old left rows with new right ones.
        for (side, others) in [(LEFT, now[RIGHT]), (RIGHT, before[LEFT])] {
            for row in before[side]..now[side] {
                let fact = self.sides[side].facts[row];
                if fact.key == NO_KEY {
                    continue;
                }
                let (from, to) = self.reach(side, fact.time);
                let other = &self.sides[1 - side];
                let end = other.first + others as u64;
                let places = &self.of_key[fact.key as usize][1 - side];
                let start = places.partition_point(|place| place.time < from);
                let stop = places
                    .partition_point(|place| place.time <= to)
                    .min(places.partition_point(|place| place.number < end));
                let matches = stop.saturating_sub(start);
                compared = compared.saturating_add(matches);
                if compared > self.pairs_max {
                    return Err(self.too_many(side, matches));
                }
                let first = other.first;
                for at in start..stop.max(start) {
                    let found =
                        (self.of_key[fact.key as usize][1 - side][at].number - first) as u32;
                    match side {
                        LEFT => pairs.push(row as u32, found),
                        _ => pairs.push(found, row as u32),
                    }
                    if pairs.left.len() == CHUNK_PAIRS {
                        let Self { sides, does, stage, .. } = self;
                        enter(sides, *does, stage, &mut pairs, &mut handed, failures)?;
                    }
                }
            }
        }
        enter(&mut self.sides, self.does, &self.stage, &mut pairs, &mut handed, failures)?;
        for side in [LEFT, RIGHT] {
            self.sides[side].joined = now[side];
        }
        if let Some(side) = [LEFT, RIGHT].into_iter().find(|side| self.does[*side].semi) {
            let row = |it: &Handed| if side == LEFT { it.1 } else { it.2 };
            handed.sort_unstable_by_key(|it| (row(it), it.0));
            handed.dedup_by_key(|it| row(it));
            for it in &handed {
                self.sides[side].facts[row(it) as usize].matched = true;
            }
        }
        Ok(handed)
    }

    fn too_many(&self, side: usize, matches: usize) -> DataFusionError {
        let (one, other) = if side == LEFT { ("left", "right") } else { ("right", "left") };
        DataFusionError::ResourcesExhausted(format!(
            "a join compares more than {} pairs of rows in one tick: one row of its {one} side has {matches} rows of its {other} side with its key in its range of time; narrow the bounds in time, join by a finer key, or aggregate one side first",
            self.pairs_max
        ))
    }

    /// Takes off the rows that nothing at `watermark` or later can match; adds to `handed` those that
    /// never matched and are wanted. Answers how many rows of each side go.
    fn expire(&self, watermark: i64, handed: &mut Vec<Handed>) -> [usize; 2] {
        let mut gone = [0, 0];
        for (side, gone) in gone.iter_mut().enumerate() {
            let Side { facts, joined, .. } = &self.sides[side];
            let ends = |fact: &Fact| self.last_moment(side, fact.time);
            *gone = match watermark {
                i64::MAX => *joined,
                _ => facts.partition_point(|fact| ends(fact) < watermark).min(*joined),
            };
            if !self.does[side].without {
                continue;
            }
            for (row, fact) in facts.range(..*gone).enumerate().filter(|(_, fact)| !fact.matched) {
                let moment = ends(fact);
                handed.push(match side {
                    LEFT => (moment, row as u32, NO_ROW),
                    _ => (moment, NO_ROW, row as u32),
                });
            }
        }
        gone
    }

    fn drop_first(&mut self, side: usize, count: usize) {
        let it = &mut self.sides[side];
        it.rows.drop_first(count);
        it.first += count as u64;
        it.joined -= count;
        for fact in it.facts.drain(..count) {
            if fact.key != NO_KEY {
                self.of_key[fact.key as usize][side].pop_front();
                if self.keys.release(fact.key) {
                    self.of_key[fact.key as usize] = Default::default();
                }
            }
        }
    }

    /// The rows that are handed over.
    fn output(&self, handed: &[Handed]) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.stage.output.fields().len());
        for side in [LEFT, RIGHT] {
            let Does { pairs, semi, without } = self.does[side];
            if !(pairs || semi || without) {
                continue;
            }
            let rows: Vec<u32> = handed
                .iter()
                .map(|(_, left, right)| if side == LEFT { *left } else { *right })
                .collect();
            for column in 0..self.stage.inputs[side].fields().len() {
                columns.push(self.sides[side].rows.take(column, &rows)?);
            }
        }
        let count = arrow::array::RecordBatchOptions::new().with_row_count(Some(handed.len()));
        let output = Arc::clone(&self.stage.output);
        Ok(RecordBatch::try_new_with_options(output, columns, &count)?)
    }
}

/// Pairs of rows whose keys and times match.
#[derive(Default)]
struct Pairs {
    left: Vec<u32>,
    right: Vec<u32>,
}

impl Pairs {
    fn push(&mut self, left: u32, right: u32) {
        self.left.push(left);
        self.right.push(right);
    }

    /// Keeps the pairs for which the rest of the condition holds. Answers those that it fails on.
    fn filter(
        &mut self,
        stage: &JoinStage,
        sides: &[Side; 2],
        failures: &mut Failures<'_>,
    ) -> Result<Vec<(u32, u32)>> {
        let Some(residual) = &stage.residual else { return Ok(Vec::new()) };
        let given = failures.each(
            self.left.len(),
            |pairs| self.holds(residual, sides, pairs),
            |pair| {
                let row = |side: usize, row: u32| rows(stage, sides, side, &[row]);
                let pair = pair as usize;
                let pair = [row(LEFT, self.left[pair])?, row(RIGHT, self.right[pair])?];
                Told::rows(None, &pair)
            },
        )?;
        let pair = |row: usize| (self.left[row], self.right[row]);
        let failing = given.failing.iter().map(|row| pair(*row as usize)).collect();
        let holding = given.passing.iter().flat_map(|(pairs, holds)| {
            let rows = (pairs.start as usize..pairs.end as usize).zip(holds);
            rows.filter(|(_, holds)| **holds).map(|(row, _)| pair(row))
        });
        (self.left, self.right) = holding.collect::<Vec<_>>().into_iter().unzip();
        Ok(failing)
    }

    /// For each of the pairs whether the rest of the condition holds.
    fn holds(
        &self,
        residual: &Residual,
        sides: &[Side; 2],
        pairs: Range<u32>,
    ) -> Result<Vec<bool>> {
        let pairs = pairs.start as usize..pairs.end as usize;
        let mut columns = Vec::with_capacity(residual.schema.fields().len());
        for (side, rows) in [(LEFT, &self.left), (RIGHT, &self.right)] {
            for column in &residual.columns[side] {
                columns.push(sides[side].rows.take(*column, &rows[pairs.clone()])?);
            }
        }
        let count = arrow::array::RecordBatchOptions::new().with_row_count(Some(pairs.len()));
        let schema = Arc::clone(&residual.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &count)?;
        let holds = residual.condition.evaluate(&batch)?.into_array(batch.num_rows())?;
        let holds = holds
            .as_boolean_opt()
            .ok_or_else(|| internal_datafusion_err!("a join's condition is no condition"))?;
        Ok(holds.iter().map(|holds| holds == Some(true)).collect())
    }
}

/// Rows of one side.
fn rows(stage: &JoinStage, sides: &[Side; 2], side: usize, rows: &[u32]) -> Result<RecordBatch> {
    let columns = (0..stage.inputs[side].fields().len())
        .map(|column| sides[side].rows.take(column, rows))
        .collect::<Result<_>>()?;
    let count = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(&stage.inputs[side]), columns, &count)?)
}

/// Enters the pairs that match, and takes them from `pairs`.
fn enter(
    sides: &mut [Side; 2],
    does: [Does; 2],
    stage: &JoinStage,
    pairs: &mut Pairs,
    handed: &mut Vec<Handed>,
    failures: &mut Failures<'_>,
) -> Result<()> {
    // Of the rows of a pair on which the condition fails nobody knows whether they have a match.
    for (left, right) in pairs.filter(stage, sides, failures)? {
        for (side, row) in [(LEFT, left), (RIGHT, right)] {
            sides[side].facts[row as usize].matched |= does[side].without;
        }
    }
    for (left, right) in pairs.left.drain(..).zip(pairs.right.drain(..)) {
        let facts = [sides[LEFT].facts[left as usize], sides[RIGHT].facts[right as usize]];
        let moment = facts[LEFT].time.max(facts[RIGHT].time);
        if does[LEFT].pairs {
            handed.push((moment, left, right));
        } else if does[LEFT].semi && !facts[LEFT].matched {
            handed.push((moment, left, NO_ROW));
        } else if does[RIGHT].semi && !facts[RIGHT].matched {
            handed.push((moment, NO_ROW, right));
        }
        // A row that is handed over at its first match is not marked before all of the tick's
        // matches are known.
        for (side, row) in [(LEFT, left), (RIGHT, right)] {
            sides[side].facts[row as usize].matched |= does[side].without;
        }
    }
    Ok(())
}

impl Operator for IntervalJoin {
    fn advance(
        &mut self,
        inputs: Vec<Rows>,
        watermarks: &[EventMs],
        failures: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        for (side, rows) in inputs.into_iter().enumerate() {
            self.push(side, rows)?;
        }
        let watermark = watermarks.iter().min().map_or(i64::MIN, |watermark| watermark.0);
        let mut handed = self.join(watermark, failures)?;
        let gone = self.expire(watermark, &mut handed);
        handed.sort_unstable();
        let output = self.output(&handed)?;
        for side in [LEFT, RIGHT] {
            self.drop_first(side, gone[side]);
        }
        Ok(output)
    }

    fn parts(&self) -> Result<Vec<RecordBatch>> {
        let part = |side: usize| -> Result<RecordBatch> {
            let Side { rows, facts, joined, .. } = &self.sides[side];
            let state = facts.iter().enumerate().map(|(row, fact)| {
                let joined = if row < *joined { JOINED } else { 0 };
                joined | if fact.matched { MATCHED } else { 0 }
            });
            let mut columns = rows.all()?.columns().to_vec();
            columns.push(Arc::new(UInt8Array::from_iter_values(state)));
            Ok(RecordBatch::try_new(Arc::clone(&self.stage.kept[side]), columns)?)
        };
        Ok(vec![part(LEFT)?, part(RIGHT)?])
    }

    fn restore(&mut self, parts: Vec<RecordBatch>) -> Result<()> {
        self.clear();
        for (side, part) in parts.into_iter().enumerate() {
            let columns = part.num_columns() - 1;
            let state = part
                .column(columns)
                .as_primitive_opt::<UInt8Type>()
                .ok_or_else(|| internal_datafusion_err!("a join's state has another type"))?;
            let input: Vec<usize> = (0..columns).collect();
            let batch = part.project(&input)?;
            let times = times(&batch, self.stage.times[side])?;
            self.push(side, Rows { batch, times })?;
            let it = &mut self.sides[side];
            it.joined = state.values().iter().filter(|state| **state & JOINED != 0).count();
            for (fact, state) in it.facts.iter_mut().zip(state.values()) {
                fact.matched = state & MATCHED != 0;
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.of_key.clear();
        for side in &mut self.sides {
            side.rows.clear();
            side.facts.clear();
            (side.first, side.joined) = (0, 0);
        }
    }

    fn last_close(&self) -> Option<EventMs> {
        let of_side = |side: usize| {
            let Side { facts, joined, .. } = &self.sides[side];
            let waits = facts.range(*joined..).next_back().map(|fact| fact.time);
            let without = self.does[side].without;
            let unmatched = || facts.iter().rev().find(|fact| !fact.matched);
            let ends = without.then(unmatched).flatten();
            waits.max(ends.map(|fact| self.last_moment(side, fact.time)))
        };
        let last = of_side(LEFT).max(of_side(RIGHT));
        last.map(|last| EventMs(last).plus(1))
    }

    fn rows(&self) -> u64 {
        self.sides.iter().map(|side| side.rows.len() as u64).sum()
    }

    fn bytes(&self) -> u64 {
        let facts = size_of::<Fact>() + size_of::<Place>();
        let of_side = |side: &Side| side.rows.bytes() + (side.facts.len() * facts) as u64;
        self.sides.iter().map(of_side).sum::<u64>() + self.keys.bytes()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::merge) mod trial;
