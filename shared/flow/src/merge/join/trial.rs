//! For tests of joins: the operator of a query over two streams `a` and `b` with columns `k`, `v`
//! and the event time `ts`, fed by hand.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{Int64Type, SchemaRef};
use tidemill_model::EventMs;
use tidemill_plan::{NodeKind, OperatorPlan};

use crate::merge::failed::Failures;
use crate::merge::operator::{Operator, Rows};

/// A row: key, value, time.
pub(in crate::merge) type Row<'a> = (&'a str, Option<i64>, i64);

/// The plan of the one operator of a query. Its output must be `v` of both sides.
pub(in crate::merge) fn operator_plan(sql: &str, keep: &str) -> OperatorPlan {
    let stream = |name: &str| {
        format!(
            "[streams.{name}]\nformat = 'json'\ncolumns = {{ k = 'string', v = 'bigint', ts = 'timestamp_ms' }}\nevent_time = 'ts'\n"
        )
    };
    let (a, b) = (stream("a"), stream("b"));
    let text = format!("name = 't'\n{a}{b}[queries.q]\nkeep = '{keep}'\nsql = '''{sql}'''\n");
    let pipeline = tidemill_pipeline::parse("t.toml", &text, Path::new("."), &|_| None)
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    let plan = tidemill_plan::plan(&pipeline).unwrap_or_else(|errors| panic!("{errors:?}"));
    let graph = plan.queries[0].graph.clone().unwrap();
    let mut operators = graph.nodes.into_iter().filter_map(|node| match node.kind {
        NodeKind::Derived(derived) => Some(derived.operator),
        _ => None,
    });
    let operator = operators.next().unwrap();
    assert!(operators.next().is_none(), "one operator");
    operator
}

/// Rows as an operator takes them; key `-` is null.
pub(in crate::merge) fn input(schema: &SchemaRef, rows: &[Row<'_>]) -> Rows {
    let times = || rows.iter().map(|(_, _, time)| *time);
    let keys = rows.iter().map(|(key, _, _)| (*key != "-").then_some(*key));
    let keys: StringArray = keys.collect();
    let values: Int64Array = rows.iter().map(|(_, value, _)| *value).collect();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "k" => Arc::new(keys.clone()) as _,
        "v" => Arc::new(values.clone()) as _,
        "ts" => Arc::new(TimestampMillisecondArray::from_iter_values(times())) as _,
        other => panic!("no column {other}"),
    });
    let batch = RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap();
    Rows { batch, times: Int64Array::from_iter_values(times()) }
}

/// Runs one tick; answers the values of both sides that were handed over.
pub(in crate::merge) fn tick(
    operator: &mut dyn Operator,
    schemas: &[SchemaRef; 2],
    rows: [&[Row<'_>]; 2],
    watermark: i64,
) -> Vec<(Option<i64>, Option<i64>)> {
    let inputs = vec![input(&schemas[0], rows[0]), input(&schemas[1], rows[1])];
    let output = operator
        .advance(inputs, &[EventMs(watermark); 2], &mut Failures::of("q", &mut Vec::new()))
        .unwrap();
    let before = operator.parts().unwrap();
    operator.restore(before.clone()).unwrap();
    assert_eq!(operator.parts().unwrap(), before, "a snapshot changes nothing");
    let values: Vec<Vec<Option<i64>>> = output
        .columns()
        .iter()
        .zip(output.schema().fields())
        .filter(|(_, field)| field.name() == "v")
        .map(|(column, _)| column.as_primitive::<Int64Type>().iter().collect())
        .collect();
    let at = |side: usize, row: usize| values.get(side).and_then(|values| values[row]);
    (0..output.num_rows()).map(|row| (at(0, row), at(1, row))).collect()
}

/// The times of the rows of a part.
pub(in crate::merge) fn kept(part: &RecordBatch) -> Vec<i64> {
    let times = crate::merge::ordered::times(part, part.schema().index_of("ts").unwrap()).unwrap();
    assert_eq!(times.null_count(), 0);
    times.values().to_vec()
}
