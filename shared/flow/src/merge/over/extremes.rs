//! MIN and MAX: which of two values stands before the other, for every type that has an order.
//!
//! Floats are ordered as in GROUP BY windows: −∞ < … < −0 < 0 < … < ∞ < NaN, and every NaN is the
//! same.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::Result;
use tidemill_plan::Method;

/// Whether the value at one place stands strictly before the one at another.
pub(super) type Before<'a> = Box<dyn Fn(usize, usize) -> bool + Send + Sync + 'a>;

/// The values, with every NaN the same.
pub(super) fn ordered(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float64 => {
            let floats = values.as_primitive::<Float64Type>();
            Arc::new(floats.unary::<_, Float64Type>(|it| if it.is_nan() { f64::NAN } else { it }))
        }
        DataType::Float32 => {
            let floats = values.as_primitive::<Float32Type>();
            Arc::new(floats.unary::<_, Float32Type>(|it| if it.is_nan() { f32::NAN } else { it }))
        }
        _ => Arc::clone(values),
    }
}

/// The order of `method` among `values`, which are [`ordered`].
pub(super) fn before(values: &ArrayRef, method: Method) -> Result<Before<'static>> {
    let wanted = match method {
        Method::Greatest => Ordering::Greater,
        _ => Ordering::Less,
    };
    if let DataType::Int64 = values.data_type() {
        let values = values.as_primitive::<arrow::datatypes::Int64Type>().values().clone();
        return Ok(Box::new(move |a, b| values[a].cmp(&values[b]) == wanted));
    }
    if let DataType::Float64 = values.data_type() {
        let values = values.as_primitive::<Float64Type>().values().clone();
        return Ok(Box::new(move |a, b| values[a].total_cmp(&values[b]) == wanted));
    }
    let compare = make_comparator(values, values, SortOptions::default())?;
    Ok(Box::new(move |a, b| compare(a, b) == wanted))
}
