//! Each function of the engine, over each type, on a real batch.

use std::collections::BTreeSet;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    Int64Array, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::Field;
use datafusion::common::DFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, Volatility, binary_expr, cast, col, lit, when};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::create_physical_expr;

use super::*;
use crate::engine::{self, Functions};
use crate::functions::CheckpointTime;
use crate::optimizer;

/// The expression with the casts that its operators and functions need.
fn coerced(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    ExprSimplifier::new(context).coerce(expr, schema)
}

fn rows() -> RecordBatch {
    let decimal = |values: Vec<Option<i128>>, precision, scale| -> ArrayRef {
        let array = Decimal128Array::from(values);
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("d", decimal(vec![Some(12_567), Some(-9_9996), None], 10, 4)),
        ("e", decimal(vec![Some(1_000_000_000_001), Some(5), None], 38, 10)),
        ("z", decimal(vec![Some(995), Some(-1), None], 5, 0)),
        ("i", Arc::new(Int64Array::from(vec![Some(7), Some(2), None]))),
        ("j", Arc::new(Int32Array::from(vec![Some(1), Some(2), None]))),
        ("f", Arc::new(Float64Array::from(vec![Some(1.5), Some(0.25), None]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("s", Arc::new(StringArray::from(vec![Some("a1"), Some("2020-01-01"), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(0), Some(19_000), None]))),
        (
            "ts",
            Arc::new(TimestampMillisecondArray::from(vec![Some(0), Some(1_600_000_000_123), None])),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Whether the engine's values are of the planned type, without this module's help; `None`: the
/// expression cannot be planned, or fails.
fn agrees(expr: Expr, rows: &RecordBatch) -> Option<bool> {
    let schema = DFSchema::try_from(rows.schema()).unwrap();
    let written = optimizer::written(coerced(expr, &schema).ok()?, &schema).ok()?;
    let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let physical = create_physical_expr(&written, &schema, &props, &planning).ok()?;
    let planned = physical.data_type(&rows.schema()).unwrap();
    let mut seen = None;
    // One row alone too: a failing one must not hide what the others give.
    let parts = [(0, 0), (0, 3), (0, 1), (1, 1), (2, 1)];
    for batch in parts.map(|(from, count)| rows.slice(from, count)) {
        match physical.evaluate(&batch) {
            Ok(value) if value.data_type() == planned => seen = Some(true),
            Ok(_) => return Some(false),
            // What the engine says of its functions in a build with debug assertions.
            Err(error) if error.to_string().contains("promised at planning time") => {
                return Some(false);
            }
            Err(_) => {}
        }
    }
    seen
}

/// An expression that is planned as a decimal of two digits behind the point, and gives others. The
/// engine asks functions for their type in builds with debug assertions alone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Says {
    /// Digits behind the point of what it gives on no rows, and on rows.
    gives: [i8; 2],
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("says")
    }
}

impl PhysicalExpr for Says {
    fn return_field(&self, _: &Schema) -> Result<FieldRef> {
        Ok(Arc::new(Field::new("says", DataType::Decimal128(20, 2), true)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let scale = self.gives[usize::from(batch.num_rows() > 0)];
        let values = Decimal128Array::from_iter_values((0..batch.num_rows()).map(|_| 700));
        let precision = if scale == 2 { 20 } else { 16 };
        Ok(ColumnarValue::Array(Arc::new(values.with_precision_and_scale(precision, scale)?)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("says")
    }
}

fn says(on_none: i8, on_rows: i8) -> Result<Arc<dyn PhysicalExpr>> {
    of_planned_type(Arc::new(Says { gives: [on_none, on_rows] }), &rows().schema())
}

/// A number with one digit behind the point was read as one with two: 70 became 7.
#[test]
fn a_value_of_another_type_is_cast_when_that_loses_nothing() {
    let value = says(1, 1).unwrap().evaluate(&rows()).unwrap().into_array(3).unwrap();
    assert_eq!(value.data_type(), &DataType::Decimal128(20, 2));
    let text = arrow::compute::cast(&value, &DataType::Utf8).unwrap();
    assert_eq!(text.as_string::<i32>().value(0), "70.00");
}

#[test]
fn an_expression_of_another_type_is_refused_when_a_cast_would_lose_digits() {
    let refused = says(3, 3).unwrap_err().to_string();
    assert!(refused.contains("planned as Decimal128(20, 2)"), "{refused}");
}

#[test]
fn a_type_that_shows_with_rows_alone_is_an_error_of_the_engines_own() {
    let error = says(2, 1);
    // Values of the planned scale on no rows: nothing is wrong until there are rows.
    let error = match error {
        Ok(expr) => expr.evaluate(&rows()).unwrap_err(),
        Err(error) => panic!("{error}"),
    };
    assert!(matches!(error.find_root(), DataFusionError::Internal(_)), "{error}");
}

/// Rows between two stages were cast to the planned type whatever they were: digits were cut off, and
/// what did not fit became null.
#[test]
fn a_column_changes_its_encoding_and_nothing_else() {
    let rows = rows();
    let d = rows.column_by_name("d").unwrap();
    let wider = of_type(d, &DataType::Decimal128(12, 6)).unwrap();
    assert_eq!(
        arrow::compute::cast(&wider, &DataType::Utf8).unwrap().as_string::<i32>().value(0),
        "1.256700"
    );
    let text = of_type(rows.column_by_name("s").unwrap(), &DataType::Utf8View).unwrap();
    assert_eq!(text.as_string_view().value(0), "a1");
    for (column, planned) in [
        ("d", DataType::Decimal128(10, 2)),
        ("i", DataType::Int32),
        ("f", DataType::Int64),
        ("s", DataType::Int64),
    ] {
        let error = of_type(rows.column_by_name(column).unwrap(), &planned).unwrap_err();
        assert!(matches!(error, DataFusionError::Internal(_)), "{column}: {error}");
    }
    let planned = Schema::new(vec![Field::new("d", DataType::Decimal128(10, 2), true)]);
    let error = check_batch(&rows.project(&[0]).unwrap(), &planned).unwrap_err();
    assert!(matches!(error, DataFusionError::Internal(_)), "{error}");
}

#[test]
fn each_function_gives_values_of_its_planned_type() {
    let context = engine::session(&CheckpointTime::default(), &Functions::default());
    let rows = rows();
    let schema = rows.schema();
    let columns: Vec<Expr> = schema.fields().iter().map(|it| col(it.name().as_str())).collect();
    let mut more = columns.clone();
    more.extend([lit(2_i64), lit(-1_i64), lit(0_i64), lit("day"), lit(1.5_f64)]);
    let mut arguments: Vec<Vec<Expr>> = columns.iter().map(|one| vec![one.clone()]).collect();
    for one in &more {
        for two in &more {
            arguments.push(vec![one.clone(), two.clone()]);
        }
    }
    for (one, two) in columns.iter().zip(columns.iter().skip(1).chain(&columns)) {
        arguments.push(vec![one.clone(), one.clone(), one.clone()]);
        arguments.push(vec![one.clone(), two.clone(), lit(2_i64)]);
        arguments.push(vec![one.clone(), lit(1_i64), lit(2_i64)]);
    }
    let (mut wrong, mut tried) = (BTreeSet::new(), 0);
    for function in context.state().scalar_functions().values() {
        if function.signature().volatility == Volatility::Volatile {
            continue;
        }
        for args in &arguments {
            let call = ScalarFunction::new_udf(Arc::clone(function), args.clone());
            match agrees(Expr::ScalarFunction(call.clone()), &rows) {
                Some(true) => tried += 1,
                Some(false) => drop(wrong.insert(Expr::ScalarFunction(call).to_string())),
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{} calls: {wrong:#?}", wrong.len());
    assert!(tried > 1000, "{tried} calls ran");
}

#[test]
fn operators_give_values_of_their_planned_type() {
    use datafusion::logical_expr::Operator::{Divide, Minus, Modulo, Multiply, Plus};
    let rows = rows();
    let schema = rows.schema();
    let mut operands: Vec<Expr> =
        schema.fields().iter().map(|it| col(it.name().as_str())).collect();
    operands.extend([lit(2_i64), lit(1.5_f64), cast(lit("1.25"), DataType::Decimal128(5, 2))]);
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for one in &operands {
        for two in &operands {
            let mut exprs: Vec<Expr> = [Plus, Minus, Multiply, Divide, Modulo]
                .into_iter()
                .map(|op| binary_expr(one.clone(), op, two.clone()))
                .collect();
            exprs.extend(when(col("b"), one.clone()).otherwise(two.clone()));
            for expr in exprs {
                match agrees(expr.clone(), &rows) {
                    Some(true) => tried += 1,
                    Some(false) => wrong.push(expr.to_string()),
                    None => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(tried > 200, "{tried} ran");
}
