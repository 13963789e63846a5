//! A float as a key: −0 is 0, and every NaN is the same one.
//!
//! SQL and IEEE 754 hold 0.0 and -0.0 for equal, and a key must be equal where `=` says so. The engine
//! compares keys in several places by their bits, or by the total order of IEEE 754, in which they
//! differ; so keys are computed through this function. Processors disagree about the sign of the NaN
//! that 0.0 / 0.0 gives, so that is no part of a key either.
//!
//! Not here: which expressions are keys (`one_key`, and the stages).

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// A key expression over columns of `schema`, as it is to be compared. Only a float pays for it.
pub(crate) fn one_zero(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match expr.get_type(schema)?.is_floating() && !is_one_zero(&expr) {
        true => Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&ONE_ZERO), vec![expr])),
        false => expr,
    })
}

fn is_one_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == NAME)
}

const NAME: &str = "one_zero";

static ONE_ZERO: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::from(OneZero { signature }))
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct OneZero {
    signature: Signature,
}

impl ScalarUDFImpl for OneZero {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [argument] => Ok(argument.clone()),
            _ => internal_err!("{NAME} takes one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(floats)] => Ok(ColumnarValue::Array(normalized(floats))),
            [ColumnarValue::Scalar(float)] => {
                let float = normalized(&float.to_array()?);
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&float, 0)?))
            }
            _ => internal_err!("{NAME} takes one argument"),
        }
    }

    /// NaN stands last in the engine's order, whatever its sign.
    fn output_ordering(&self, _: &[ExprProperties]) -> Result<SortProperties> {
        Ok(SortProperties::Unordered)
    }
}

fn normalized(floats: &ArrayRef) -> ArrayRef {
    match floats.data_type() {
        DataType::Float64 => {
            let of = |it: f64| if it.is_nan() { f64::NAN } else { it + 0.0 };
            Arc::new(floats.as_primitive::<Float64Type>().unary::<_, Float64Type>(of))
        }
        DataType::Float32 => {
            let of = |it: f32| if it.is_nan() { f32::NAN } else { it + 0.0 };
            Arc::new(floats.as_primitive::<Float32Type>().unary::<_, Float32Type>(of))
        }
        _ => Arc::clone(floats),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn zeros_and_nans_have_one_pattern_of_bits_and_all_others_keep_theirs() {
        let odd_nan = f64::from_bits(0xfff8_0000_0000_0001);
        let floats = [0.0, -0.0, f64::NAN, -f64::NAN, odd_nan, -1.5, 5e-324, -5e-324, f64::MIN];
        let array: ArrayRef = Arc::new(Float64Array::from(floats.to_vec()));
        let given = normalized(&array);
        let bits: Vec<u64> =
            given.as_primitive::<Float64Type>().values().iter().map(|it| it.to_bits()).collect();
        let nan = 0x7ff8_0000_0000_0000;
        let mut wanted: Vec<u64> = floats.iter().map(|it| it.to_bits()).collect();
        wanted[1] = 0;
        wanted[2..5].fill(nan);
        assert_eq!(bits, wanted);
    }
}
