//! Aggregates that the engine's accumulators compute, one a key, put away as their states between
//! ticks.

use arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::Fold;
use crate::merge::over::RowFailures;
use crate::ports::is_of_value;

/// The accumulators of one function while rows are fed.
pub(super) struct Engine<'a, C> {
    pub(super) expr: &'a AggregateFunctionExpr,
    /// By key.
    pub(super) accumulators: Vec<Option<Box<dyn Accumulator>>>,
    pub(super) states: &'a mut Vec<Option<Vec<ScalarValue>>>,
    pub(super) arguments: Vec<&'a ArrayRef>,
    pub(super) taken: C,
    pub(super) values: Vec<ScalarValue>,
    /// Rows whose value cannot be computed; they have a null.
    pub(super) failed: &'a mut RowFailures,
}

impl<C: Fn(usize) -> bool> Engine<'_, C> {
    fn of(&mut self, key: usize) -> Result<&mut Box<dyn Accumulator>> {
        if self.accumulators[key].is_none() {
            let mut accumulator = self.expr.create_accumulator()?;
            if let Some(states) = &self.states[key] {
                let states =
                    states.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
                accumulator.merge_batch(&states)?;
            }
            self.accumulators[key] = Some(accumulator);
        }
        match &mut self.accumulators[key] {
            Some(accumulator) => Ok(accumulator),
            None => internal_err!("an accumulator has gone"),
        }
    }

    /// Puts the states away.
    pub(super) fn park(&mut self) -> Result<()> {
        for (accumulator, states) in self.accumulators.iter_mut().zip(self.states.iter_mut()) {
            if let Some(accumulator) = accumulator {
                *states = Some(accumulator.state()?);
            }
        }
        Ok(())
    }
}

impl<C: Fn(usize) -> bool> Fold for Engine<'_, C> {
    fn reset(&mut self, key: usize) -> Result<()> {
        (self.accumulators[key], self.states[key]) = (None, None);
        Ok(())
    }

    fn add(&mut self, row: usize, key: usize) -> Result<()> {
        let taken = (self.taken)(row);
        let values: Vec<ArrayRef> = self.arguments.iter().map(|it| it.slice(row, 1)).collect();
        let accumulator = self.of(key)?;
        if taken {
            accumulator.update_batch(&values)?;
        }
        Ok(())
    }

    fn read(&mut self, row: usize, key: usize) -> Result<()> {
        let value = match self.of(key)?.evaluate() {
            Err(error) if is_of_value(&error) => {
                self.failed.push((row, error));
                ScalarValue::try_from(self.expr.field().data_type())?
            }
            value => value?,
        };
        self.values.push(value);
        Ok(())
    }
}
