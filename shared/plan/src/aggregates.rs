//! One aggregate of a stage: what fills it, and whether its partial states can be stored.
//!
//! # Invariants
//! An aggregate that cannot go through the log is refused when the query is planned: each one is
//! tried on a row of nulls, from arguments over states to a value.
//!
//! Not here: which columns an aggregate reads (`stage`), groups of many keys (`flow::aggregate`).

mod extremes;

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Result, exec_err};
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use crate::error::Refusal;

/// One aggregate of a stage.
#[derive(Debug, Clone)]
pub struct StageAggregate {
    /// The engine's aggregate over columns of the lower plan's output (and
    /// [`ORDER`](crate::ORDER)).
    pub expr: Arc<AggregateFunctionExpr>,
    /// Index of the boolean column of FILTER (WHERE …).
    pub filter: Option<usize>,
    /// Whether rows must be fed in the order of the aggregate's ORDER BY.
    pub ordered: bool,
    /// Number of state columns.
    pub states: usize,
    /// Whether its value may be beyond its type, or, for a program's own aggregate, not there.
    pub can_fail: bool,
}

/// None of the engine's own can, nor can ours (`functions::average`).
fn can_fail(expr: &AggregateFunctionExpr) -> bool {
    let name = expr.fun().name();
    !all_default_aggregate_functions().iter().any(|known| known.name() == name)
}

impl StageAggregate {
    /// An aggregate over columns of `columns`. The error is a refusal when its partial states
    /// cannot be stored and merged.
    pub(crate) fn new(
        expr: Arc<AggregateFunctionExpr>,
        filter: Option<usize>,
        ordered: bool,
        columns: &Schema,
    ) -> Result<StageAggregate> {
        let states = expr.state_fields()?.len();
        let can_fail = can_fail(&expr);
        let aggregate = StageAggregate { expr, filter, ordered, states, can_fail };
        match aggregate.try_out(columns) {
            Ok(()) => Ok(aggregate),
            Err(error) => Err(Refusal::new(
                "plan::aggregate::no_partial_state",
                format!(
                    "{} cannot run as a stream: {}",
                    aggregate.expr.fun().name(),
                    crate::error::shown::reason(&error)
                ),
            )
            .help("write it without DISTINCT or ORDER BY, CAST its argument to another type, or use another aggregate")
            .into_engine()),
        }
    }

    /// What fills it: states or values of any number of groups.
    pub fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if let Some(extreme) = extremes::of(&self.expr) {
            return Ok(extreme);
        }
        if self.expr.groups_accumulator_supported() && !self.forgets_distinct() {
            return self.expr.create_groups_accumulator();
        }
        let expr = Arc::clone(&self.expr);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || expr.create_accumulator())))
    }

    /// Whether the engine's accumulator of many groups counts values twice in spite of DISTINCT:
    /// BIT_XOR's, whose state is then also another one than it declares.
    fn forgets_distinct(&self) -> bool {
        self.expr.is_distinct() && self.expr.fun().name() == "bit_xor"
    }

    fn try_out(&self, columns: &Schema) -> Result<()> {
        let fields = columns.fields().iter().map(|it| it.as_ref().clone().with_nullable(true));
        let nulls = columns.fields().iter().map(|field| -> ArrayRef {
            match field.data_type() {
                DataType::Binary => Arc::new(BinaryArray::from_vec(vec![b""])),
                other => new_null_array(other, 1),
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        let row = RecordBatch::try_new(schema, nulls.collect())?;
        let arguments = self.expr.expressions();
        let sort_keys = self.expr.order_bys().iter().map(|key| &key.expr);
        let values = arguments
            .iter()
            .chain(sort_keys)
            .map(|expr| expr.evaluate(&row)?.into_array(1))
            .collect::<Result<Vec<_>>>()?;
        let mut first = self.accumulator()?;
        first.update_batch(&values, &[0], None, 1)?;
        let states = first.state(EmitTo::All)?;
        let declared = self.expr.state_fields()?;
        let same =
            |(state, field): (&ArrayRef, &Arc<Field>)| state.data_type() == field.data_type();
        if states.len() != declared.len() || !states.iter().zip(&declared).all(same) {
            return exec_err!("its partial state is not the one it declares");
        }
        let mut second = self.accumulator()?;
        second.merge_batch(&states, &[0], 1)?;
        second.evaluate(EmitTo::All).map(drop)
    }
}
