//! date_trunc of times without a zone, in their own unit: the engine's computes in nanoseconds, which
//! hold the years 1677 to 2262.
//!
//! Times with a zone, times of day, and nanoseconds are the engine's; of the first it fails on those
//! that are further away.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampSecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime::date_trunc::DateTruncFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::calendar::{civil, days};

/// date_trunc.
pub(crate) fn date_trunc() -> ScalarUDF {
    ScalarUDF::from(DateTrunc { engine: DateTruncFunc::new() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    engine: DateTruncFunc,
}

/// What a time is cut off to.
#[derive(Clone, Copy)]
enum Unit {
    /// So many microseconds.
    Micros(i64),
    Week,
    /// So many months.
    Months(i64),
}

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

fn unit(name: &str) -> Option<Unit> {
    Some(match name.to_lowercase().as_str() {
        "microsecond" => Unit::Micros(1),
        "millisecond" => Unit::Micros(1000),
        "second" => Unit::Micros(SECOND_US),
        "minute" => Unit::Micros(60 * SECOND_US),
        "hour" => Unit::Micros(3600 * SECOND_US),
        "day" => Unit::Micros(DAY_US),
        "week" => Unit::Week,
        "month" => Unit::Months(1),
        "quarter" => Unit::Months(3),
        "year" => Unit::Months(12),
        _ => return None,
    })
}

/// `value`, of which `per_second` are a second, cut off.
fn cut(value: i64, per_second: i64, unit: Unit) -> i64 {
    let per_day = 86_400 * per_second;
    let day = value.div_euclid(per_day);
    match unit {
        Unit::Micros(us) => match us * per_second / SECOND_US {
            0 => value,
            length => value - value.rem_euclid(length),
        },
        // 1970-01-01 was a Thursday.
        Unit::Week => (day - (day + 3).rem_euclid(7)) * per_day,
        Unit::Months(months) => {
            let (year, month, _) = civil(day);
            days(year, month - (month - 1) % months, 1) * per_day
        }
    }
}

fn cut_all<T: ArrowTimestampType>(times: &dyn Array, per_second: i64, unit: Unit) -> ArrayRef {
    Arc::new(times.as_primitive::<T>().unary::<_, T>(|it| cut(it, per_second, unit)))
}

impl ScalarUDFImpl for DateTrunc {
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

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<arrow::datatypes::FieldRef> {
        self.engine.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(name), times] = args.args.as_slice() else {
            return self.engine.invoke_with_args(args);
        };
        let Some(unit) = name.try_as_str().flatten().and_then(unit) else {
            return self.engine.invoke_with_args(args);
        };
        let is_scalar = matches!(times, ColumnarValue::Scalar(_));
        let array = match times.data_type() {
            DataType::Timestamp(time, None) if time != TimeUnit::Nanosecond => {
                let times = times.to_array(if is_scalar { 1 } else { args.number_rows })?;
                match time {
                    TimeUnit::Second => cut_all::<TimestampSecondType>(&times, 1, unit),
                    TimeUnit::Millisecond => {
                        cut_all::<TimestampMillisecondType>(&times, 1000, unit)
                    }
                    _ => cut_all::<TimestampMicrosecondType>(&times, SECOND_US, unit),
                }
            }
            _ => return self.engine.invoke_with_args(args),
        };
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.engine.output_ordering(input)
    }
}
