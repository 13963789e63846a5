//! Functions that mean something else in a stream than in a batch.
//!
//! `now()`, `current_timestamp`, `current_date` and `today()` are the checkpoint's time, so that a
//! replayed epoch gives the same results. They are declared volatile, so that planning never
//! replaces them by the time of planning, and only advance may call them.
//!
//! [`AS_OF`] and [`AS_OF_TIME`] mark a join's condition as that of an as-of join (`sql::as_of`). They
//! are never called: the planner takes them out.
//!
//! Functions that the engine has with another value, or for fewer years, are one file each.

mod average;
mod calendar;
mod date_bin;
mod date_part;
pub(crate) mod date_trunc;
mod decimal;
pub(crate) mod decimal_division;
pub(crate) mod one_zero;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use tidemill_model::WallMs;

/// The checkpoint's time, as the functions of one pipeline see it.
#[derive(Debug, Clone, Default)]
pub struct CheckpointTime(Arc<AtomicI64>);

impl CheckpointTime {
    /// Sets the time for the results that are computed next.
    pub fn set(&self, at: WallMs) {
        self.0.store(at.0, Ordering::SeqCst);
    }

    fn get(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gives {
    Timestamp,
    Date,
}

#[derive(Debug)]
struct Now {
    name: &'static str,
    aliases: Vec<String>,
    gives: Gives,
    signature: Signature,
    time: CheckpointTime,
}

impl PartialEq for Now {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.time.0, &other.time.0)
    }
}

impl Eq for Now {}

impl std::hash::Hash for Now {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.gives {
            Gives::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
            Gives::Date => DataType::Date32,
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ms = self.time.get();
        Ok(ColumnarValue::Scalar(match self.gives {
            Gives::Timestamp => ScalarValue::TimestampMillisecond(Some(ms), None),
            Gives::Date => ScalarValue::Date32(i32::try_from(ms.div_euclid(86_400_000)).ok()),
        }))
    }
}

/// Names under which the checkpoint's time can be called.
pub(crate) const TIME_FUNCTIONS: [&str; 4] = ["now", "current_timestamp", "current_date", "today"];

/// The functions that read `time`.
pub(crate) fn time_functions(time: &CheckpointTime) -> Vec<Arc<ScalarUDF>> {
    let function = |name, alias: &str, gives| {
        Arc::new(ScalarUDF::from(Now {
            name,
            aliases: vec![alias.to_string()],
            gives,
            signature: Signature::nullary(Volatility::Volatile),
            time: time.clone(),
        }))
    };
    vec![
        function("now", "current_timestamp", Gives::Timestamp),
        function("current_date", "today", Gives::Date),
    ]
}

/// Functions in place of the engine's of the same names.
pub(crate) fn scalar_functions() -> Vec<ScalarUDF> {
    let point = crate::meaning::point().as_ref().clone();
    vec![date_bin::date_bin(), date_part::date_part(), date_trunc::date_trunc(), point]
}

/// Aggregates in place of the engine's of the same names.
pub(crate) fn aggregate_functions() -> Vec<AggregateUDF> {
    vec![average::average()]
}

/// Marks the match condition of an as-of join.
pub(crate) const AS_OF: &str = "__as_of";
/// Marks the left side's time of an as-of join whose right side's time is its event time.
pub(crate) const AS_OF_TIME: &str = "__as_of_time";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        datafusion::common::internal_err!("{} marks a join and cannot be called", self.name)
    }
}

fn marker(name: &'static str) -> ScalarUDF {
    ScalarUDF::from(Marker { name, signature: Signature::any(1, Volatility::Immutable) })
}

/// The function [`AS_OF`].
pub(crate) fn as_of_marker() -> ScalarUDF {
    marker(AS_OF)
}

/// The functions that mark as-of joins.
pub(crate) fn join_markers() -> Vec<ScalarUDF> {
    vec![marker(AS_OF), marker(AS_OF_TIME)]
}
