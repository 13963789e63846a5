//! `/` of decimals, rounded half away from zero.
//!
//! The engine's cuts the quotient off, and fails on dividends of which four more digits would not fit
//! into 38. Divisions by zero, and quotients of more than 38 digits, are errors of their record.
//!
//! Not here: where a query has it in place of the engine's `/` (`meaning`), the rounding (`decimal`).

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, i256};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::decimal::{fits, power_of_ten, quotient_scale, rounded};

/// `left` / `right`, of which one is a decimal and the other a decimal or a whole number.
pub(crate) fn decimal_division(left: Expr, right: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&DIVISION), vec![left, right]))
}

/// Whether `/` of these types is a division of decimals.
pub(crate) fn divides_decimals(left: &DataType, right: &DataType) -> bool {
    let is_decimal = |it: &DataType| as_decimal(it).is_some() && !it.is_integer();
    (is_decimal(left) && as_decimal(right).is_some())
        || (is_decimal(right) && as_decimal(left).is_some())
}

static DIVISION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(DecimalDivision { signature }))
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalDivision {
    signature: Signature,
}

/// The decimal type that holds every value of a type.
fn as_decimal(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => (*precision, *scale),
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 | DataType::UInt64 => (20, 0),
        _ => return None,
    })
}

/// Precision and scale of the quotient.
fn quotient(dividend: (u8, i8), divisor: (u8, i8)) -> (u8, i8) {
    let scale = quotient_scale(dividend.0, dividend.1);
    let whole = i16::from(dividend.0) - i16::from(dividend.1) + i16::from(divisor.1);
    let digits = (whole + i16::from(scale)).clamp(1, i16::from(DECIMAL128_MAX_PRECISION));
    (digits as u8, scale)
}

fn parts(types: &[DataType]) -> Result<[(u8, i8); 2]> {
    match types {
        [dividend, divisor] => match (as_decimal(dividend), as_decimal(divisor)) {
            (Some(dividend), Some(divisor)) => Ok([dividend, divisor]),
            _ => plan_err!("{dividend} / {divisor} is no division of decimals"),
        },
        _ => internal_err!("a division has two operands"),
    }
}

impl ScalarUDFImpl for DecimalDivision {
    fn name(&self) -> &str {
        "decimal_division"
    }

    /// As the operator's, so that columns without a name keep theirs.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [left, right] => Ok(format!("{} / {}", left.schema_name(), right.schema_name())),
            _ => internal_err!("a division has two operands"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let decimals = parts(types)?;
        Ok(decimals.map(|(precision, scale)| DataType::Decimal128(precision, scale)).to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [dividend, divisor] = parts(types)?;
        let (precision, scale) = quotient(dividend, divisor);
        Ok(DataType::Decimal128(precision, scale))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let [dividend, divisor] = parts(&types)?;
        let (precision, scale) = quotient(dividend, divisor);
        let is_scalar = args.args.iter().all(|it| matches!(it, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let decimals = |index: usize, (precision, scale): (u8, i8)| -> Result<ArrayRef> {
            let values = args.args[index].to_array(rows)?;
            Ok(cast(&values, &DataType::Decimal128(precision, scale))?)
        };
        let (dividends, divisors) = (decimals(0, dividend)?, decimals(1, divisor)?);
        let moved = i32::from(scale) - i32::from(dividend.1) + i32::from(divisor.1);
        let quotients =
            divided(dividends.as_primitive(), divisors.as_primitive(), moved, precision)?
                .with_precision_and_scale(precision, scale)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&quotients, 0)?),
            false => ColumnarValue::Array(Arc::new(quotients)),
        })
    }
}

/// Each dividend times 10 to the power of `moved`, divided.
fn divided(
    dividends: &Decimal128Array,
    divisors: &Decimal128Array,
    moved: i32,
    precision: u8,
) -> Result<Decimal128Array> {
    let (Some(up), Some(down)) =
        (power_of_ten(moved.max(0) as u32), power_of_ten(moved.min(0).unsigned_abs()))
    else {
        return internal_err!("a decimal has more than 38 digits after the point");
    };
    let mut quotients = Vec::with_capacity(dividends.len());
    for row in 0..dividends.len() {
        if dividends.is_null(row) || divisors.is_null(row) {
            quotients.push(None);
            continue;
        }
        let (dividend, divisor) = (dividends.value(row), divisors.value(row));
        if divisor == 0 {
            return Err(ArrowError::DivideByZero.into());
        }
        let of = i256::from_i128;
        // 38 digits times 10^38 are below 2^255: a dividend leaves room for all that it is moved.
        let exact = of(dividend).checked_mul(up).zip(of(divisor).checked_mul(down));
        let quotient = exact.and_then(|(dividend, divisor)| rounded(dividend, divisor));
        match quotient.and_then(|quotient| fits(quotient, precision)) {
            Some(quotient) => quotients.push(Some(quotient)),
            None => return exec_err!("a quotient of decimals has more than {precision} digits"),
        }
    }
    Ok(quotients.into_iter().collect())
}
