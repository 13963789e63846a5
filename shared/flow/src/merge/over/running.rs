//! Functions that see all rows of their key so far: one state a key, taken on row by row.
//!
//! # Invariants
//! 1. A state is taken on row by row, so a value does not depend on how rows were cut into ticks; but
//!    for the last bits of what the engine computes (`Method::Engine`), whose states are merged once
//!    a tick.
//! 2. Peers, when a function sees them, all get the value after the last of them.
//!
//! Not here: functions that see rows near their own (`framed`).

mod carried;
mod engine;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, PrimitiveArray,
    RecordBatch, UInt64Array, new_empty_array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat, filter};
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type,
};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use tidemill_plan::{Method, OverCall, OverFunction, Sight};

use self::carried::carry;
use self::engine::Engine;
use super::RowFailures;
use super::keys::Marks;

/// Rows that came, for one function.
pub(super) struct Came<'a> {
    pub(super) times: &'a [i64],
    pub(super) marks: &'a Marks,
    /// The values of all arguments of the stage.
    pub(super) arguments: &'a [ArrayRef],
    /// How many keys there are.
    pub(super) keys: usize,
}

/// The states of one function, by key.
pub(super) enum Running {
    /// ROW_NUMBER, RANK, DENSE_RANK.
    Counter {
        rows: Vec<u64>,
        rank: Vec<u64>,
    },
    Count {
        rows: Vec<u64>,
    },
    Signed(Sums<Int64Type>),
    Unsigned(Sums<UInt64Type>),
    Float(Sums<Float64Type>),
    Decimal(Sums<Decimal128Type>),
    /// A value that one of the rows had; null when none has been chosen.
    Carried {
        rows: Vec<u64>,
        values: ArrayRef,
    },
    /// The engine's states; none before the first row.
    Engine(Vec<Option<Vec<ScalarValue>>>),
}

/// Sums by key, with the number of values in each.
pub(super) struct Sums<T: ArrowPrimitiveType> {
    rows: Vec<u64>,
    sums: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType> Sums<T> {
    fn new() -> Sums<T> {
        Sums { rows: Vec::new(), sums: Vec::new() }
    }
}

/// What is done with each row, in order.
trait Fold {
    fn reset(&mut self, key: usize) -> Result<()>;
    fn add(&mut self, row: usize, key: usize) -> Result<()>;
    fn read(&mut self, row: usize, key: usize) -> Result<()>;
}

fn fold(function: &OverFunction, came: &Came<'_>, fold: &mut impl Fold) -> Result<()> {
    let peers = matches!(function.sight, Sight::Running { peers: true });
    let keys = &came.marks.keys;
    let mut from = 0;
    while from < keys.len() {
        let mut to = from + 1;
        while peers && to < keys.len() && came.times[to] == came.times[from] {
            to += 1;
        }
        for (row, key) in (from..to).zip(&keys[from..to]) {
            let key = *key as usize;
            if function.ends && came.marks.fresh[row] {
                fold.reset(key)?;
            }
            fold.add(row, key)?;
        }
        for (row, key) in (from..to).zip(&keys[from..to]) {
            fold.read(row, *key as usize)?;
        }
        from = to;
    }
    Ok(())
}

impl Running {
    /// No states.
    pub(super) fn new(function: &OverFunction) -> Result<Running> {
        let value = function.states.last().map(|state| state.data_type().clone());
        Ok(match (&function.call, value) {
            (OverCall::RowNumber | OverCall::Rank | OverCall::DenseRank, _) => {
                Running::Counter { rows: Vec::new(), rank: Vec::new() }
            }
            (OverCall::Value { .. }, Some(value)) => {
                Running::Carried { rows: Vec::new(), values: new_empty_array(&value) }
            }
            (OverCall::Aggregate { method, .. }, Some(value)) => match (method, &value) {
                (Method::Count, _) => Running::Count { rows: Vec::new() },
                (Method::Least | Method::Greatest, _) => {
                    Running::Carried { rows: Vec::new(), values: new_empty_array(&value) }
                }
                (Method::Engine, _) => Running::Engine(Vec::new()),
                (Method::Sum | Method::Average, DataType::Int64) => Running::Signed(Sums::new()),
                (Method::Sum | Method::Average, DataType::UInt64) => Running::Unsigned(Sums::new()),
                (Method::Sum | Method::Average, DataType::Float64) => Running::Float(Sums::new()),
                (Method::Sum | Method::Average, DataType::Decimal128(_, _)) => {
                    Running::Decimal(Sums::new())
                }
                (_, other) => return internal_err!("a running sum of {other}"),
            },
            _ => return internal_err!("a running function without a state"),
        })
    }

    /// Takes rows on, and answers the value of each; null for those that it fails on.
    pub(super) fn take_rows(
        &mut self,
        function: &OverFunction,
        came: &Came<'_>,
        failed: &mut RowFailures,
    ) -> Result<ArrayRef> {
        let count = came.times.len();
        let mask = match &function.call {
            OverCall::Aggregate { filter: Some(filter), .. } => {
                Some(came.arguments[*filter].as_boolean().clone())
            }
            _ => None,
        };
        let taken = |row: usize| mask.as_ref().is_none_or(|it| it.is_valid(row) && it.value(row));
        match (self, &function.call) {
            (Running::Counter { rows, rank }, call) => {
                rows.resize(came.keys, 0);
                rank.resize(came.keys, 0);
                let values = Vec::with_capacity(count);
                let mut counter = Counter { rows, rank, peer: &came.marks.peer, call, values };
                fold(function, came, &mut counter)?;
                Ok(Arc::new(UInt64Array::from(counter.values)))
            }
            (Running::Count { rows }, OverCall::Aggregate { arguments, .. }) => {
                rows.resize(came.keys, 0);
                let argument = &came.arguments[arguments[0]];
                let counts = |row| taken(row) && argument.is_valid(row);
                let mut counted = Counted { rows, counts, values: Vec::with_capacity(count) };
                fold(function, came, &mut counted)?;
                let values = counted.values.into_iter().map(|it| it as i64);
                Ok(Arc::new(values.collect::<PrimitiveArray<Int64Type>>()))
            }
            (Running::Signed(sums), call) => sums.take_rows(function, call, came, taken),
            (Running::Unsigned(sums), call) => sums.take_rows(function, call, came, taken),
            (Running::Float(sums), call) => sums.take_rows(function, call, came, taken),
            (Running::Decimal(sums), call) => sums.take_rows(function, call, came, taken),
            (Running::Carried { rows, values }, call) => {
                carry(rows, values, function, call, came, taken)
            }
            (Running::Engine(states), OverCall::Aggregate { expr, arguments, .. }) => {
                states.resize(came.keys, None);
                let accumulators = (0..came.keys).map(|_| None).collect();
                let arguments =
                    arguments.iter().map(|number| &came.arguments[*number]).collect::<Vec<_>>();
                let values = Vec::with_capacity(count);
                let mut engine =
                    Engine { expr, accumulators, states, arguments, taken, values, failed };
                fold(function, came, &mut engine)?;
                engine.park()?;
                match engine.values.is_empty() {
                    true => Ok(new_empty_array(expr.field().data_type())),
                    false => ScalarValue::iter_to_array(engine.values),
                }
            }
            _ => internal_err!("a running function with another's state"),
        }
    }

    /// State columns of the keys that `wanted` says.
    pub(super) fn states(
        &self,
        function: &OverFunction,
        wanted: &BooleanArray,
    ) -> Result<Vec<ArrayRef>> {
        let counts = |rows: &[u64]| -> ArrayRef {
            let mut rows = rows.to_vec();
            rows.resize(wanted.len(), 0);
            Arc::new(UInt64Array::from(rows))
        };
        let columns = match self {
            Running::Counter { rows, rank } => match function.states.len() {
                1 => vec![counts(rows)],
                _ => vec![counts(rows), counts(rank)],
            },
            Running::Count { rows } => vec![counts(rows)],
            Running::Signed(sums) => vec![counts(&sums.rows), sums.column(function, wanted.len())?],
            Running::Unsigned(sums) => {
                vec![counts(&sums.rows), sums.column(function, wanted.len())?]
            }
            Running::Float(sums) => vec![counts(&sums.rows), sums.column(function, wanted.len())?],
            Running::Decimal(sums) => {
                vec![counts(&sums.rows), sums.column(function, wanted.len())?]
            }
            Running::Carried { rows, values } => {
                vec![counts(rows), padded(values, wanted.len())?]
            }
            Running::Engine(states) => {
                let column = |(index, field): (usize, &arrow::datatypes::Field)| {
                    let absent = ScalarValue::try_from(field.data_type())?;
                    let of_key = |key: usize| match states.get(key).and_then(Option::as_ref) {
                        Some(states) => states[index].clone(),
                        None => absent.clone(),
                    };
                    match wanted.is_empty() {
                        true => Ok(new_empty_array(field.data_type())),
                        false => ScalarValue::iter_to_array((0..wanted.len()).map(of_key)),
                    }
                };
                function.states.iter().enumerate().map(column).collect::<Result<Vec<_>>>()?
            }
        };
        columns.iter().map(|column| Ok(filter(column, wanted)?)).collect()
    }

    /// The states in these columns, one row a key.
    pub(super) fn restored(function: &OverFunction, columns: &[ArrayRef]) -> Result<Running> {
        let mut running = Running::new(function)?;
        let counts = || -> Result<Vec<u64>> {
            match columns.first().and_then(|it| it.as_primitive_opt::<UInt64Type>()) {
                Some(rows) => Ok(rows.values().to_vec()),
                None => internal_err!("the first state column does not count"),
            }
        };
        match &mut running {
            Running::Counter { rows, rank } => {
                *rows = counts()?;
                *rank = match columns.get(1) {
                    Some(ranks) => ranks.as_primitive::<UInt64Type>().values().to_vec(),
                    None => vec![0; rows.len()],
                };
            }
            Running::Count { rows } => *rows = counts()?,
            Running::Signed(sums) => sums.restore(counts()?, &columns[1]),
            Running::Unsigned(sums) => sums.restore(counts()?, &columns[1]),
            Running::Float(sums) => sums.restore(counts()?, &columns[1]),
            Running::Decimal(sums) => sums.restore(counts()?, &columns[1]),
            Running::Carried { rows, values } => {
                *rows = counts()?;
                *values = Arc::clone(&columns[1]);
            }
            Running::Engine(states) => {
                for key in 0..columns.first().map_or(0, Array::len) {
                    let of_key = columns.iter().map(|it| ScalarValue::try_from_array(it, key));
                    states.push(Some(of_key.collect::<Result<_>>()?));
                }
            }
        }
        Ok(running)
    }

    /// Renumbers keys.
    pub(super) fn retain(&mut self, function: &OverFunction, wanted: &[bool]) -> Result<()> {
        let flags = BooleanArray::from(wanted.to_vec());
        match self {
            Running::Engine(states) => {
                states.resize(wanted.len(), None);
                let mut kept = wanted.iter();
                states.retain(|_| kept.next().copied().unwrap_or(false));
            }
            _ => *self = Running::restored(function, &self.states(function, &flags)?)?,
        }
        Ok(())
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Running::Counter { rows, .. } => 16 * rows.len() as u64,
            Running::Count { rows } => 8 * rows.len() as u64,
            Running::Signed(Sums { rows, .. })
            | Running::Unsigned(Sums { rows, .. })
            | Running::Float(Sums { rows, .. })
            | Running::Decimal(Sums { rows, .. }) => 24 * rows.len() as u64,
            Running::Carried { rows, values } => {
                8 * rows.len() as u64 + values.get_array_memory_size() as u64
            }
            Running::Engine(states) => {
                let of_key = |states: &Option<Vec<ScalarValue>>| {
                    states.as_ref().map_or(0, |it| it.iter().map(ScalarValue::size).sum::<usize>())
                };
                states.iter().map(|it| 24 + of_key(it) as u64).sum()
            }
        }
    }
}

struct Counter<'a> {
    rows: &'a mut [u64],
    rank: &'a mut [u64],
    peer: &'a [bool],
    call: &'a OverCall,
    values: Vec<u64>,
}

impl Fold for Counter<'_> {
    fn reset(&mut self, key: usize) -> Result<()> {
        (self.rows[key], self.rank[key]) = (0, 0);
        Ok(())
    }

    fn add(&mut self, row: usize, key: usize) -> Result<()> {
        self.rows[key] += 1;
        if !self.peer[row] {
            match self.call {
                OverCall::Rank => self.rank[key] = self.rows[key],
                _ => self.rank[key] += 1,
            }
        }
        Ok(())
    }

    fn read(&mut self, _: usize, key: usize) -> Result<()> {
        self.values.push(match self.call {
            OverCall::RowNumber => self.rows[key],
            _ => self.rank[key],
        });
        Ok(())
    }
}

struct Counted<'a, C> {
    rows: &'a mut [u64],
    counts: C,
    values: Vec<u64>,
}

impl<C: Fn(usize) -> bool> Fold for Counted<'_, C> {
    fn reset(&mut self, key: usize) -> Result<()> {
        self.rows[key] = 0;
        Ok(())
    }

    fn add(&mut self, row: usize, key: usize) -> Result<()> {
        self.rows[key] += u64::from((self.counts)(row));
        Ok(())
    }

    fn read(&mut self, _: usize, key: usize) -> Result<()> {
        self.values.push(self.rows[key]);
        Ok(())
    }
}

struct Summed<'a, T: ArrowPrimitiveType, C> {
    sums: &'a mut Sums<T>,
    argument: &'a PrimitiveArray<T>,
    counts: C,
    values: Vec<T::Native>,
    rows: Vec<u64>,
}

impl<T, C> Fold for Summed<'_, T, C>
where
    T: ArrowPrimitiveType,
    T::Native: ArrowNativeTypeOp,
    C: Fn(usize) -> bool,
{
    fn reset(&mut self, key: usize) -> Result<()> {
        (self.sums.rows[key], self.sums.sums[key]) = (0, T::Native::ZERO);
        Ok(())
    }

    fn add(&mut self, row: usize, key: usize) -> Result<()> {
        if (self.counts)(row) && self.argument.is_valid(row) {
            self.sums.rows[key] += 1;
            self.sums.sums[key] = self.sums.sums[key].add_wrapping(self.argument.value(row));
        }
        Ok(())
    }

    fn read(&mut self, _: usize, key: usize) -> Result<()> {
        self.values.push(self.sums.sums[key]);
        self.rows.push(self.sums.rows[key]);
        Ok(())
    }
}

impl<T> Sums<T>
where
    T: ArrowPrimitiveType,
    T::Native: ArrowNativeTypeOp,
{
    fn take_rows(
        &mut self,
        function: &OverFunction,
        call: &OverCall,
        came: &Came<'_>,
        taken: impl Fn(usize) -> bool,
    ) -> Result<ArrayRef> {
        let OverCall::Aggregate { expr, arguments, method, .. } = call else {
            return internal_err!("a sum of no aggregate");
        };
        self.rows.resize(came.keys, 0);
        self.sums.resize(came.keys, T::Native::ZERO);
        let argument = came.arguments[arguments[0]].as_primitive::<T>();
        let (values, rows) = (Vec::with_capacity(came.times.len()), Vec::new());
        let mut summed = Summed { sums: self, argument, counts: taken, values, rows };
        fold(function, came, &mut summed)?;
        let Summed { values, rows, .. } = summed;
        let valid = NullBuffer::from_iter(rows.iter().map(|rows| *rows > 0));
        let sums: ArrayRef = Arc::new(
            PrimitiveArray::<T>::new(values.into(), Some(valid)).with_data_type(sum_type(
                expr,
                argument.data_type(),
                *method,
            )),
        );
        match method {
            Method::Average => Ok(averages(&sums, &rows)),
            _ => Ok(sums),
        }
    }

    fn column(&self, function: &OverFunction, keys: usize) -> Result<ArrayRef> {
        let mut sums = self.sums.clone();
        sums.resize(keys, T::Native::ZERO);
        let Some(field) = function.states.get(1) else {
            return internal_err!("a running sum without its column");
        };
        let sums = PrimitiveArray::<T>::new(sums.into(), None);
        Ok(Arc::new(sums.with_data_type(field.data_type().clone())))
    }

    fn restore(&mut self, rows: Vec<u64>, sums: &ArrayRef) {
        self.rows = rows;
        self.sums = sums.as_primitive::<T>().values().to_vec();
    }
}

/// Type of a sum's values: the aggregate's own; an average's sums are of its argument's.
fn sum_type(expr: &AggregateFunctionExpr, argument: &DataType, method: Method) -> DataType {
    match method {
        Method::Average => argument.clone(),
        _ => expr.field().data_type().clone(),
    }
}

/// Sums of doubles over numbers of rows.
pub(super) fn averages(sums: &ArrayRef, rows: &[u64]) -> ArrayRef {
    let sums = sums.as_primitive::<Float64Type>();
    let each = sums.iter().zip(rows).map(|(sum, rows)| sum.map(|sum| sum / *rows as f64));
    Arc::new(each.collect::<Float64Array>())
}

fn padded(values: &ArrayRef, len: usize) -> Result<ArrayRef> {
    let missing = new_null_array(values.data_type(), len - values.len());
    Ok(concat(&[values.as_ref(), missing.as_ref()])?)
}

/// The states of running functions that a batch of keys holds, from column `first` on.
pub(super) fn columns_of<'a>(
    batch: &'a RecordBatch,
    functions: &'a [OverFunction],
    mut first: usize,
) -> impl Iterator<Item = (&'a OverFunction, &'a [ArrayRef])> {
    functions.iter().map(move |function| {
        let from = first;
        first += function.states.len();
        (function, &batch.columns()[from..first])
    })
}
