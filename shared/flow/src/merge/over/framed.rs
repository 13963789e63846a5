//! Functions that see rows near their own: RANGE and ROWS frames, LAG and LEAD.
//!
//! Rows are laid out key by key, each key's rows in order, so that what a row sees is a stretch of
//! places. Stretches of successive rows of a key slide: both ends only move on.
//!
//! # Invariants
//! A value depends on the rows in its stretch alone, to the bit: not on what lies before it, nor on
//! which rows are evaluated together.
//!
//! Not here: which rows are kept (`needs`).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array, PrimitiveArray,
    UInt32Array, new_empty_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat, filter, take};
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type,
};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use tidemill_plan::{Method, OverCall, OverFunction, Sight};

use super::RowFailures;
use super::exact_sum::ExactSum;
use super::extremes::{before, ordered};
use super::running::averages;
use crate::ports::is_of_value;

/// Rows of some keys, key by key.
pub(super) struct Layout {
    /// The row at each place.
    pub(super) rows: Vec<u32>,
    /// The places of each key.
    keys: Vec<Range<usize>>,
    times: Vec<i64>,
    runs: Vec<i64>,
}

/// Places of one key that see each other, and those of them whose values are wanted.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) all: Range<usize>,
    pub(super) wanted: Range<usize>,
}

impl Layout {
    /// Of the rows whose key `chosen` says; `keys` numbers each row's key.
    pub(super) fn new(keys: &[u32], times: &[i64], runs: &[i64], chosen: &[bool]) -> Layout {
        let mut ends = vec![0u32; chosen.len() + 1];
        for key in keys.iter().map(|key| *key as usize).filter(|key| chosen[*key]) {
            ends[key + 1] += 1;
        }
        for key in 0..chosen.len() {
            ends[key + 1] += ends[key];
        }
        let stretch = |key: usize| ends[key] as usize..ends[key + 1] as usize;
        let stretches = (0..chosen.len()).map(stretch).filter(|it| !it.is_empty()).collect();
        let mut next = ends.clone();
        let mut rows = vec![0u32; ends[chosen.len()] as usize];
        for (row, key) in keys.iter().enumerate() {
            let key = *key as usize;
            if chosen[key] {
                rows[next[key] as usize] = row as u32;
                next[key] += 1;
            }
        }
        let of_rows = |all: &[i64]| rows.iter().map(|row| all[*row as usize]).collect();
        Layout { times: of_rows(times), runs: of_rows(runs), keys: stretches, rows }
    }

    /// The columns in the order of places.
    pub(super) fn arrange(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        if self.rows.iter().enumerate().all(|(place, row)| place == *row as usize)
            && columns.iter().all(|column| column.len() == self.rows.len())
        {
            return Ok(columns.to_vec());
        }
        let rows = UInt32Array::from(self.rows.clone());
        Ok(columns.iter().map(|it| take(it, &rows, None)).collect::<Result<_, _>>()?)
    }

    /// Spans with the places of each key from the first row that `waits` on; when `by_run`, a key
    /// that started anew does not see what was before.
    pub(super) fn spans(&self, by_run: bool, waits: impl Fn(u32) -> bool) -> Vec<Span> {
        let mut spans = Vec::new();
        for key in &self.keys {
            let from = key.start + self.rows[key.clone()].partition_point(|row| !waits(*row));
            if from == key.end {
                continue;
            }
            if !by_run {
                spans.push(Span { all: key.clone(), wanted: from..key.end });
                continue;
            }
            let mut start = key.start;
            while start < key.end {
                let run = self.runs[start];
                let end = start + self.runs[start..key.end].partition_point(|it| *it == run);
                let wanted = from.max(start)..end;
                if !wanted.is_empty() {
                    spans.push(Span { all: start..end, wanted });
                }
                start = end;
            }
        }
        spans
    }

    /// For each wanted place when its value is known: at the time of the last row that it sees, or,
    /// when rows are missing, `keep_ms` behind its key's last; [`i64::MAX`]: when all input has
    /// ended.
    pub(super) fn known_at(
        &self,
        sight: Sight,
        span: &Span,
        keep_ms: Option<i64>,
        mut visit: impl FnMut(usize, i64),
    ) {
        for place in span.wanted.clone() {
            let time = self.times[place];
            let at = match sight {
                Sight::Range { to, .. } => time.saturating_add(to.max(0)),
                Sight::Rows { to, .. } => match place.saturating_add(to.max(0) as usize) {
                    last if last < span.all.end => self.times[last],
                    _ => keep_ms
                        .map_or(i64::MAX, |keep| self.times[span.all.end - 1].saturating_add(keep)),
                },
                Sight::Running { .. } => time,
            };
            visit(place, at);
        }
    }

    /// For each wanted place the stretch that it sees.
    fn frames(
        &self,
        sight: Sight,
        span: &Span,
        mut visit: impl FnMut(usize, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let Span { all, wanted } = span;
        match sight {
            Sight::Rows { from, to } => {
                for place in wanted.clone() {
                    let at = |distance: i64| {
                        let at = (place as i64).saturating_add(distance);
                        at.clamp(all.start as i64, all.end as i64) as usize
                    };
                    let (start, end) = (at(from), at(to.saturating_add(1)));
                    visit(place, start..end.max(start))?;
                }
            }
            Sight::Range { from, to } => {
                let Some(first) = wanted.clone().next() else { return Ok(()) };
                let times = &self.times[all.clone()];
                let first = self.times[first];
                let mut start = times.partition_point(|it| *it < first.saturating_add(from));
                let mut end = times.partition_point(|it| *it <= first.saturating_add(to));
                for place in wanted.clone() {
                    let time = self.times[place];
                    while start < times.len() && times[start] < time.saturating_add(from) {
                        start += 1;
                    }
                    while end < times.len() && times[end] <= time.saturating_add(to) {
                        end += 1;
                    }
                    visit(place, all.start + start..all.start + end.max(start))?;
                }
            }
            Sight::Running { .. } => return internal_err!("a running function has no frame"),
        }
        Ok(())
    }
}

/// Places of values that count, so that the n-th of a stretch is found at once.
struct Counted {
    /// For each place how many count before it.
    before: Vec<u32>,
    places: Vec<u32>,
}

impl Counted {
    fn new(count: usize, counts: impl Fn(usize) -> bool) -> Counted {
        let mut counted = Counted { before: Vec::with_capacity(count + 1), places: Vec::new() };
        for place in 0..count {
            counted.before.push(counted.places.len() as u32);
            if counts(place) {
                counted.places.push(place as u32);
            }
        }
        counted.before.push(counted.places.len() as u32);
        counted
    }

    fn in_stretch(&self, stretch: &Range<usize>) -> u32 {
        self.before[stretch.end] - self.before[stretch.start]
    }

    /// The n-th that counts in a stretch: 1 the first, −1 the last.
    fn nth(&self, stretch: &Range<usize>, nth: i64) -> Option<u32> {
        let (from, to) = (self.before[stretch.start] as i64, self.before[stretch.end] as i64);
        let index = match nth {
            1.. => from.saturating_add(nth - 1),
            0 => return None,
            _ => to.saturating_add(nth),
        };
        (from..to).contains(&index).then(|| self.places[index as usize])
    }
}

/// Values of a function for the wanted places of `spans`; `values` are the stage's framed arguments
/// by place, and `goes_to` tells each place's row of the answer, of which there are `count`. Rows that
/// it fails on have a null.
pub(super) fn evaluate(
    function: &OverFunction,
    layout: &Layout,
    spans: &[Span],
    values: &[ArrayRef],
    goes_to: impl Fn(usize) -> Option<usize>,
    count: usize,
    failed: &mut RowFailures,
) -> Result<ArrayRef> {
    let sight = function.sight;
    let each = |visit: &mut dyn FnMut(usize, Range<usize>) -> Result<()>| {
        spans.iter().try_for_each(|span| {
            layout.frames(sight, span, |place, stretch| match goes_to(place) {
                Some(row) => visit(row, stretch),
                None => Ok(()),
            })
        })
    };
    match &function.call {
        OverCall::Shift { argument, back, default, ignore_nulls } => {
            let values = &values[*argument];
            let counted = Counted::new(values.len(), |it| !ignore_nulls || values.is_valid(it));
            let pool = concat(&[values.as_ref(), default.to_array()?.as_ref()])?;
            let mut places = vec![values.len() as u32; count];
            for span in spans {
                for place in span.wanted.clone() {
                    let Some(row) = goes_to(place) else { continue };
                    let found = match back {
                        0 => Some(place as u32),
                        1.. => counted.nth(&(span.all.start..place), back.saturating_neg()),
                        _ => counted.nth(&(place + 1..span.all.end), back.saturating_neg()),
                    };
                    if let Some(found) = found {
                        places[row] = found;
                    }
                }
            }
            Ok(take(&pool, &UInt32Array::from(places), None)?)
        }
        OverCall::Value { argument, nth, ignore_nulls } => {
            let values = &values[*argument];
            let counted = Counted::new(values.len(), |it| !ignore_nulls || values.is_valid(it));
            let mut places = vec![None; count];
            each(&mut |row, stretch| {
                places[row] = counted.nth(&stretch, *nth);
                Ok(())
            })?;
            Ok(take(values, &UInt32Array::from(places), None)?)
        }
        OverCall::Aggregate { expr, arguments, filter, method } => {
            let mask = filter.map(|filter| values[filter].as_boolean());
            let arguments: Vec<ArrayRef> =
                arguments.iter().map(|number| Arc::clone(&values[*number])).collect();
            let Some(argument) = arguments.first() else {
                return internal_err!("an aggregate without an argument");
            };
            let counts = |place: usize| {
                argument.is_valid(place)
                    && mask.is_none_or(|mask| mask.is_valid(place) && mask.value(place))
            };
            match (method, argument.data_type()) {
                (Method::Count, _) => {
                    let counted = Counted::new(argument.len(), counts);
                    let mut numbers = vec![0i64; count];
                    each(&mut |row, stretch| {
                        numbers[row] = i64::from(counted.in_stretch(&stretch));
                        Ok(())
                    })?;
                    Ok(Arc::new(Int64Array::from(numbers)))
                }
                (Method::Sum, DataType::Int64) => {
                    sums::<Int64Type>(expr, argument, counts, each, count)
                }
                (Method::Sum, DataType::UInt64) => {
                    sums::<UInt64Type>(expr, argument, counts, each, count)
                }
                (Method::Sum, DataType::Decimal128(_, _)) => {
                    sums::<Decimal128Type>(expr, argument, counts, each, count)
                }
                (Method::Sum | Method::Average, _) => {
                    let floats = argument.as_primitive::<Float64Type>();
                    let counted = Counted::new(argument.len(), counts);
                    let (mut totals, mut rows) = (vec![0.0; count], vec![0u64; count]);
                    let mut held = 0..0;
                    let mut sum = ExactSum::new();
                    let values = |stretch: Range<usize>| {
                        let places = counted.before[stretch.start]..counted.before[stretch.end];
                        let places = &counted.places[places.start as usize..places.end as usize];
                        places.iter().map(|place| floats.value(*place as usize))
                    };
                    each(&mut |row, stretch| {
                        if stretch.start >= held.end || stretch.start < held.start {
                            sum.clear();
                            held = stretch.start..stretch.start;
                        }
                        values(held.end..stretch.end.max(held.end)).for_each(|it| sum.add(it));
                        values(held.start..stretch.start).for_each(|it| sum.remove(it));
                        held = stretch.clone();
                        (totals[row], rows[row]) =
                            (sum.value(), counted.in_stretch(&stretch).into());
                        Ok(())
                    })?;
                    let valid = NullBuffer::from_iter(rows.iter().map(|rows| *rows > 0));
                    let sums = PrimitiveArray::<Float64Type>::new(totals.into(), Some(valid));
                    let sums: ArrayRef = Arc::new(sums);
                    match method {
                        Method::Average => Ok(averages(&sums, &rows)),
                        _ => Ok(sums),
                    }
                }
                (Method::Least | Method::Greatest, _) => {
                    let values = ordered(argument);
                    let before = before(&values, *method)?;
                    let mut places = vec![None; count];
                    // Places of which each stands before all that come behind it.
                    let mut best: VecDeque<usize> = VecDeque::new();
                    let mut held = 0..0;
                    each(&mut |row, stretch| {
                        if stretch.start >= held.end || stretch.start < held.start {
                            best.clear();
                            held = stretch.start..stretch.start;
                        }
                        for place in (held.end..stretch.end).filter(|place| counts(*place)) {
                            while best.back().is_some_and(|last| !before(*last, place)) {
                                best.pop_back();
                            }
                            best.push_back(place);
                        }
                        while best.front().is_some_and(|first| *first < stretch.start) {
                            best.pop_front();
                        }
                        held = stretch;
                        places[row] = best.front().map(|place| *place as u32);
                        Ok(())
                    })?;
                    Ok(take(&values, &UInt32Array::from(places), None)?)
                }
                (Method::Engine, _) => by_engine(expr, &arguments, mask, each, count, failed),
            }
        }
        _ => internal_err!("a running function has no frame"),
    }
}

/// Sums of numbers that do not round, as differences of sums from the beginning.
fn sums<T>(
    expr: &AggregateFunctionExpr,
    argument: &ArrayRef,
    counts: impl Fn(usize) -> bool,
    each: impl Fn(&mut dyn FnMut(usize, Range<usize>) -> Result<()>) -> Result<()>,
    count: usize,
) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: ArrowNativeTypeOp,
{
    let numbers = argument.as_primitive::<T>();
    let (mut total, mut rows) = (T::Native::ZERO, 0u32);
    let (mut totals, mut counted) = (vec![total], vec![rows]);
    for place in 0..numbers.len() {
        if counts(place) {
            total = total.add_wrapping(numbers.value(place));
            rows += 1;
        }
        totals.push(total);
        counted.push(rows);
    }
    let (mut sums, mut valid) = (vec![T::Native::ZERO; count], vec![false; count]);
    each(&mut |row, stretch| {
        sums[row] = totals[stretch.end].sub_wrapping(totals[stretch.start]);
        valid[row] = counted[stretch.end] > counted[stretch.start];
        Ok(())
    })?;
    let sums = PrimitiveArray::<T>::new(sums.into(), Some(NullBuffer::from(valid)));
    Ok(Arc::new(sums.with_data_type(expr.field().data_type().clone())))
}

/// Each stretch from scratch, by the engine's accumulator.
fn by_engine(
    expr: &AggregateFunctionExpr,
    arguments: &[ArrayRef],
    mask: Option<&BooleanArray>,
    each: impl Fn(&mut dyn FnMut(usize, Range<usize>) -> Result<()>) -> Result<()>,
    count: usize,
    failed: &mut RowFailures,
) -> Result<ArrayRef> {
    let field = expr.field();
    let empty = expr.default_value(field.data_type())?;
    let mut values = vec![empty; count];
    let mut last: Option<(Range<usize>, usize)> = None;
    each(&mut |row, stretch| {
        if let Some((same, known)) = &last
            && *same == stretch
        {
            values[row] = values[*known].clone();
            return Ok(());
        }
        let value = || {
            let mut accumulator = expr.create_accumulator()?;
            let slices = arguments.iter().map(|it| it.slice(stretch.start, stretch.len()));
            let slices = match mask {
                Some(mask) => {
                    let mask = mask.slice(stretch.start, stretch.len());
                    slices.map(|it| filter(&it, &mask)).collect::<Result<Vec<_>, _>>()?
                }
                None => slices.collect(),
            };
            accumulator.update_batch(&slices)?;
            accumulator.evaluate()
        };
        if !stretch.is_empty() {
            match value() {
                Err(error) if is_of_value(&error) => {
                    failed.push((row, error));
                    values[row] = ScalarValue::try_from(field.data_type())?;
                    last = None;
                    return Ok(());
                }
                value => values[row] = value?,
            }
        }
        last = Some((stretch, row));
        Ok(())
    })?;
    match values.is_empty() {
        true => Ok(new_empty_array(field.data_type())),
        false => ScalarValue::iter_to_array(values),
    }
}
