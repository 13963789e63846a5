//! An aggregate of a program's own that some groups have no value of: AVG of decimals as the engine has
//! it, which fails where four more digits do not fit into 38.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature,
};
use tidemill_plan::{Functions, Versioned};

#[derive(Debug, PartialEq, Eq, Hash)]
struct StrictAverage(Avg);

/// `strict_avg`.
pub(super) fn functions() -> Functions {
    let average = Arc::new(AggregateUDF::from(StrictAverage(Avg::new())));
    let average = Versioned { function: average, version: 1 };
    Functions { scalar: Vec::new(), aggregate: vec![average] }
}

impl AggregateUDFImpl for StrictAverage {
    fn name(&self) -> &str {
        "strict_avg"
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.0.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.0.create_groups_accumulator(args)
    }
}
