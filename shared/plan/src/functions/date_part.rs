//! date_part and EXTRACT of durations: the engine's loses those of more than two seconds' nanoseconds
//! and of more than 24 days' milliseconds, and gives NULL, or another number.
//!
//! A part of a duration is the whole of it in that unit, cut off: `minute` of two hours is 120. What
//! 32 bits do not hold is an error. Parts of everything else are the engine's.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::IntervalUnit;
use arrow::datatypes::{DataType, FieldRef, Int64Type, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions::datetime::date_part::DatePartFunc;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// date_part.
pub(crate) fn date_part() -> ScalarUDF {
    ScalarUDF::from(DatePart { engine: DatePartFunc::new() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    engine: DatePartFunc,
}

/// What is taken of a duration.
enum Part {
    /// Seconds with their fraction.
    Epoch,
    /// How often so many nanoseconds are in it.
    Count(i128),
}

fn part(name: &str) -> Option<Part> {
    let name = name.trim_matches(['\'', '"']);
    if name.eq_ignore_ascii_case("epoch") {
        return Some(Part::Epoch);
    }
    Some(Part::Count(match IntervalUnit::from_str(name).ok()? {
        IntervalUnit::Day => 86_400_000_000_000,
        IntervalUnit::Hour => 3_600_000_000_000,
        IntervalUnit::Minute => 60_000_000_000,
        IntervalUnit::Second => 1_000_000_000,
        IntervalUnit::Millisecond => 1_000_000,
        IntervalUnit::Microsecond => 1000,
        IntervalUnit::Nanosecond => 1,
        _ => return None,
    }))
}

fn far<T>(count: i128) -> Result<T> {
    exec_err!("date_part has no room for {count}")
}

/// The part of each duration, which are ticks of so many nanoseconds.
fn taken(ticks: &Int64Array, tick: i128, part: &Part, to: &DataType) -> Result<ArrayRef> {
    let Part::Count(length) = part else {
        let per_second = (1_000_000_000 / tick) as f64;
        let seconds: Float64Array = ticks.unary(|it| it as f64 / per_second);
        return Ok(Arc::new(seconds));
    };
    let count = |it: i64| i128::from(it) * tick / length;
    Ok(match to {
        DataType::Int32 => {
            let counts: Int32Array =
                ticks.try_unary(|it| i32::try_from(count(it)).or_else(|_| far(count(it))))?;
            Arc::new(counts)
        }
        _ => {
            let counts: Int64Array =
                ticks.try_unary(|it| i64::try_from(count(it)).or_else(|_| far(count(it))))?;
            Arc::new(counts)
        }
    })
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn aliases(&self) -> &[String] {
        self.engine.aliases()
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.engine.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.engine.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(name), durations] = args.args.as_slice() else {
            return self.engine.invoke_with_args(args);
        };
        let DataType::Duration(unit) = durations.data_type() else {
            return self.engine.invoke_with_args(args);
        };
        let Some(part) = name.try_as_str().flatten().and_then(part) else {
            return self.engine.invoke_with_args(args);
        };
        let tick = match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1000,
            TimeUnit::Nanosecond => 1,
        };
        let is_scalar = matches!(durations, ColumnarValue::Scalar(_));
        let durations = durations.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let ticks = cast(&durations, &DataType::Int64)?;
        let to = args.return_field.data_type();
        let array = taken(ticks.as_primitive::<Int64Type>(), tick, &part, to)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.engine.preimage(args, literal, info)
    }
}
