//! date_bin of all times: the engine's computes in nanoseconds, and gives NULL before 1677 and after
//! 2262.
//!
//! Bins of times of day are the engine's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::functions::datetime::date_bin::DateBinFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::calendar::{civil, days, length};

/// date_bin.
pub(crate) fn date_bin() -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::from(DateBin { engine: DateBinFunc::new(), signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    engine: DateBinFunc,
    signature: Signature,
}

const MONTHS_AND_MORE: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const DAY_NS: i128 = 86_400_000_000_000;

/// The width of bins.
enum Stride {
    Nanos(i128),
    Months(i128),
}

impl Stride {
    fn of(stride: &ScalarValue) -> Result<Option<Stride>> {
        let (months, days, nanos) = match stride {
            ScalarValue::IntervalMonthDayNano(Some(value)) => {
                IntervalMonthDayNanoType::to_parts(*value)
            }
            ScalarValue::IntervalDayTime(Some(value)) => {
                (0, value.days, i64::from(value.milliseconds) * 1_000_000)
            }
            value if value.is_null() => return Ok(None),
            other => return exec_err!("date_bin takes an INTERVAL, not {}", other.data_type()),
        };
        let nanos = i128::from(days) * DAY_NS + i128::from(nanos);
        let stride = match (months, nanos) {
            (0, nanos) => Stride::Nanos(nanos),
            (months, 0) => Stride::Months(i128::from(months)),
            _ => {
                return exec_err!(
                    "date_bin takes months, or days and less, not both in one INTERVAL"
                );
            }
        };
        match stride {
            Stride::Nanos(width) | Stride::Months(width) if width <= 0 => {
                exec_err!("date_bin takes an INTERVAL that is longer than nothing")
            }
            stride => Ok(Some(stride)),
        }
    }

    /// The start of the bin that a time is in, both in nanoseconds.
    fn start(&self, time: i128, origin: i128) -> i128 {
        match self {
            Stride::Nanos(width) => time - (time - origin).rem_euclid(*width),
            Stride::Months(width) => {
                let months = month(time) - month(origin);
                let start = moved(origin, months - months.rem_euclid(*width));
                if start > time {
                    moved(origin, months - months.rem_euclid(*width) - width)
                } else {
                    start
                }
            }
        }
    }
}

/// Months since the year 0.
fn month(time: i128) -> i128 {
    let (year, month, _) = civil(time.div_euclid(DAY_NS) as i64);
    i128::from(year) * 12 + i128::from(month) - 1
}

/// A time so many months later, on the last day of a month that is too short.
fn moved(time: i128, months: i128) -> i128 {
    let (_, _, day) = civil(time.div_euclid(DAY_NS) as i64);
    let months = month(time) + months;
    let (year, month) = (months.div_euclid(12) as i64, months.rem_euclid(12) as i64 + 1);
    let day = day.min(length(year, month));
    i128::from(days(year, month, day)) * DAY_NS + time.rem_euclid(DAY_NS)
}

fn nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn bins<T: ArrowTimestampType>(
    times: &dyn Array,
    stride: &Stride,
    origin: i128,
) -> Result<ArrayRef> {
    let tick = nanos(T::UNIT);
    let times = times.as_primitive::<T>();
    let start = |time: i64| {
        let start = stride.start(i128::from(time) * tick, origin).div_euclid(tick);
        match i64::try_from(start) {
            Ok(start) => Ok(start),
            Err(_) => exec_err!("date_bin of a time that is too far away"),
        }
    };
    Ok(Arc::new(times.try_unary::<_, T, _>(start)?.with_timezone_opt(zone(times.data_type()))))
}

fn zone(data_type: &DataType) -> Option<Arc<str>> {
    match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    }
}

/// The origin of bins, nanoseconds.
fn origin(value: Option<&ColumnarValue>) -> Result<Option<i128>> {
    let ticks = match value {
        None => return Ok(Some(0)),
        Some(ColumnarValue::Scalar(value)) => match value {
            ScalarValue::TimestampSecond(ticks, _)
            | ScalarValue::TimestampMillisecond(ticks, _)
            | ScalarValue::TimestampMicrosecond(ticks, _)
            | ScalarValue::TimestampNanosecond(ticks, _) => *ticks,
            other => {
                return exec_err!("date_bin takes a time as its origin, not {}", other.data_type());
            }
        },
        Some(ColumnarValue::Array(_)) => {
            return exec_err!("date_bin takes one origin for all rows, not a column");
        }
    };
    let Some(DataType::Timestamp(unit, _)) = value.map(ColumnarValue::data_type) else {
        return Ok(None);
    };
    Ok(ticks.map(|ticks| i128::from(ticks) * nanos(unit)))
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [stride, rest @ ..] = types else {
            return plan_err!("date_bin takes an INTERVAL and a time");
        };
        if !(1..=2).contains(&rest.len()) {
            return plan_err!("date_bin takes an INTERVAL, a time, and perhaps an origin");
        }
        let stride = match stride {
            DataType::Interval(IntervalUnit::DayTime) => stride.clone(),
            DataType::Interval(_) | DataType::Utf8 | DataType::Null => MONTHS_AND_MORE,
            other => return plan_err!("date_bin takes an INTERVAL first, not {other}"),
        };
        let mut coerced = vec![stride];
        for time in rest {
            coerced.push(match time {
                DataType::Timestamp(_, _) | DataType::Time32(_) | DataType::Time64(_) => {
                    time.clone()
                }
                DataType::Date32 | DataType::Date64 | DataType::Null => {
                    DataType::Timestamp(TimeUnit::Millisecond, None)
                }
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                    DataType::Timestamp(TimeUnit::Microsecond, None)
                }
                other => return plan_err!("date_bin takes a time, not {other}"),
            });
        }
        Ok(coerced)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.engine.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (stride, times) = match args.args.as_slice() {
            [ColumnarValue::Scalar(stride), times, ..] => (stride, times),
            [_, _, ..] => {
                return exec_err!("date_bin takes one INTERVAL for all rows, not a column");
            }
            _ => return exec_err!("date_bin takes an INTERVAL and a time"),
        };
        let data_type = times.data_type();
        let DataType::Timestamp(unit, _) = data_type else {
            return self.engine.invoke_with_args(args);
        };
        let (Some(stride), Some(origin)) = (Stride::of(stride)?, origin(args.args.get(2))?) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&data_type)?));
        };
        let is_scalar = matches!(times, ColumnarValue::Scalar(_));
        let times = times.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let array = match unit {
            TimeUnit::Second => bins::<TimestampSecondType>(&times, &stride, origin),
            TimeUnit::Millisecond => bins::<TimestampMillisecondType>(&times, &stride, origin),
            TimeUnit::Microsecond => bins::<TimestampMicrosecondType>(&times, &stride, origin),
            TimeUnit::Nanosecond => bins::<TimestampNanosecondType>(&times, &stride, origin),
        }?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.engine.output_ordering(input)
    }
}
