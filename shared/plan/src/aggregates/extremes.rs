//! MIN and MAX of floats, in an order that has a place for every one of them.
//!
//! The engine compares NaN with nothing and keeps whichever of the two came last, so that the answer
//! would depend on how records were cut into batches; and its MAX starts at the least finite number,
//! above −∞. Here −∞ < … < −0 < 0 < … < ∞ < NaN, as in ORDER BY, and every NaN is the same.

use std::cmp::Ordering;

use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// The accumulator of `expr` when it is a MIN or MAX of floats.
pub(super) fn of(expr: &AggregateFunctionExpr) -> Option<Box<dyn GroupsAccumulator>> {
    let field = expr.field();
    let data_type = field.data_type();
    let wanted = match expr.fun().name() {
        "min" => Ordering::Less,
        "max" => Ordering::Greater,
        _ => return None,
    };
    Some(match data_type {
        DataType::Float64 => Box::new(
            PrimitiveGroupsAccumulator::<Float64Type, _>::new(data_type, move |kept, new| {
                if order(new, *kept) == wanted {
                    *kept = if new.is_nan() { f64::NAN } else { new };
                }
            })
            .with_starting_value(match wanted {
                Ordering::Less => f64::NAN,
                _ => f64::NEG_INFINITY,
            }),
        ),
        DataType::Float32 => Box::new(
            PrimitiveGroupsAccumulator::<Float32Type, _>::new(data_type, move |kept, new| {
                if order(new.into(), (*kept).into()) == wanted {
                    *kept = if new.is_nan() { f32::NAN } else { new };
                }
            })
            .with_starting_value(match wanted {
                Ordering::Less => f32::NAN,
                _ => f32::NEG_INFINITY,
            }),
        ),
        _ => return None,
    })
}

fn order(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(&b),
        (a, b) => a.cmp(&b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_has_its_place() {
        let rising = [f64::NEG_INFINITY, f64::MIN, -1.0, -0.0, 0.0, 1.0, f64::INFINITY, f64::NAN];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(order(*a, *b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(order(f64::NAN, -f64::NAN), Ordering::Equal);
    }
}
