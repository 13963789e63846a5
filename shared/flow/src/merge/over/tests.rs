//! What is kept, and in which order rows are handed on: operators driven tick by tick.

use arrow::array::{Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::SchemaRef;
use tidemill_plan::{Derived, NodeKind, OperatorPlan};
use tidemill_testkit::Rng;

use super::last::Last;
use super::*;
use crate::merge::count::Count;

/// The derived stage of a query over stream `s`.
fn derived(sql: &str, keep: &str) -> Derived {
    let text = format!(
        "name = \"t\"\n[streams.s]\nformat = \"json\"\ncolumns = {{ k = \"string\", v = \"bigint\", ts = \"timestamp_ms\" }}\nevent_time = \"ts\"\n[queries.q]\n{keep}\nsql = '''\n{sql}'''\n"
    );
    let pipeline =
        tidemill_pipeline::parse("p.toml", &text, std::path::Path::new("."), &|_| None).unwrap();
    let plan = tidemill_plan::plan(&pipeline).unwrap_or_else(|it| panic!("{:?}", it.errors));
    let graph = plan.queries[0].graph.as_ref().unwrap();
    let derived = graph.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Derived(derived) => Some(derived.clone()),
        _ => None,
    });
    derived.unwrap()
}

fn start(derived: &Derived) -> Box<dyn Operator> {
    match &derived.operator {
        OperatorPlan::Over(stage) => Box::new(Over::new(stage).unwrap()),
        OperatorPlan::Last(stage) => Box::new(Last::new(stage)),
        OperatorPlan::Count(stage) => Box::new(Count::new(stage).unwrap()),
        _ => panic!("another operator"),
    }
}

/// The operator of a query, and the schema of its input.
fn operator(sql: &str, keep: &str) -> (Box<dyn Operator>, SchemaRef) {
    let derived = derived(sql, keep);
    (start(&derived), Arc::clone(&derived.inputs[0].schema))
}

/// A row: key, value, event time.
type Row = (&'static str, i64, i64);

/// The rows as a stage's input, its columns told by their names and types.
fn rows(schema: &SchemaRef, rows: &[Row]) -> Rows {
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.data_type() {
            arrow::datatypes::DataType::Utf8 => {
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)))
            }
            arrow::datatypes::DataType::Int64 => {
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)))
            }
            _ => Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|it| it.2))),
        }
    });
    let batch = RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap();
    Rows { batch, times: rows.iter().map(|row| row.2).collect::<Vec<i64>>().into() }
}

const RANGE: &str = "SELECT k, SUM(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '10 milliseconds' PRECEDING AND CURRENT ROW) AS x FROM s";
const AROUND: &str = "SELECT k, SUM(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '4 milliseconds' PRECEDING AND INTERVAL '6 milliseconds' FOLLOWING) AS x FROM s";
const LAG: &str = "SELECT k, LAG(v, 2) OVER (PARTITION BY k ORDER BY ts) AS x FROM s";
const LAG_GIVEN: &str = "SELECT k, LAG(v) IGNORE NULLS OVER (ORDER BY ts) AS x FROM s";
const LEAD: &str = "SELECT k, v, ts, LEAD(v) OVER (PARTITION BY k ORDER BY ts) AS x FROM s";
const LEAD_TWO: &str = "SELECT k, v, ts, LEAD(v, 2) OVER (PARTITION BY k ORDER BY ts) AS x, SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS y FROM s";
const TOTAL: &str = "SELECT k, SUM(v) OVER (PARTITION BY k ORDER BY ts) AS x, AVG(v) OVER (PARTITION BY k ORDER BY ts) AS y, STDDEV(v) OVER (PARTITION BY k ORDER BY ts) AS z FROM s";
const TOTAL_OF_ALL: &str = "SELECT k, SUM(v) OVER (ORDER BY ts) AS x FROM s";
const NEWEST: &str =
    "SELECT * FROM s QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) = 1";
const COUNTED: &str =
    "SELECT k, window_end, SUM(v) AS x FROM TUMBLE_ROWS(s, ts, 3) GROUP BY k, window_end";
const COUNTED_HOPPING: &str = "SELECT k, window_end, SUM(v) AS x FROM HOP_ROWS(s, ts, 2, 5) GROUP BY k, window_start, window_end";

/// A query, its options, and what is kept at each watermark: rows and keys together.
type Kept = (&'static str, &'static str, &'static [(i64, u64)]);

#[test]
fn nothing_is_kept_that_no_row_to_come_can_see() {
    let (keep, none) = ("keep = \"20ms\"", "");
    let of_two: &[Row] = &[("a", 1, 0), ("b", 2, 1), ("a", 3, 2), ("a", 4, 3), ("a", 5, 9)];
    let expected: &[Kept] = &[
        (RANGE, none, &[(10, 5), (11, 4), (12, 3), (19, 1), (20, 0)]),
        // The row at 9 waits until 15, and sees nothing before 5.
        (AROUND, none, &[(6, 5), (10, 1), (15, 1), (16, 0)]),
        // The last two of each key, and of each key since when it comes.
        (LAG, keep, &[(10, 3 + 2), (21, 3 + 2), (22, 2 + 1), (29, 2 + 1), (30, 0)]),
        (LAG, "keep = \"forever\"", &[(10, 3), (1_000_000, 3), (i64::MAX, 0)]),
        (LAG_GIVEN, none, &[(10, 1), (1_000_000, 1), (i64::MAX, 0)]),
        (TOTAL, keep, &[(10, 2), (21, 2), (22, 1), (30, 0)]),
        (TOTAL, "keep = \"forever\"", &[(1_000_000, 2), (i64::MAX, 0)]),
        (TOTAL_OF_ALL, none, &[(1_000_000, 1), (i64::MAX, 0)]),
        (NEWEST, keep, &[(10, 2), (21, 2), (22, 1), (29, 1), (30, 0)]),
        // b's one row; a's window was full with 3 rows, and the next one has begun.
        (COUNTED, keep, &[(10, 2 + 2), (22, 1 + 1), (30, 0)]),
    ];
    for (sql, keep, kept) in expected {
        for (watermark, rows_kept) in *kept {
            let (mut operator, schema) = operator(sql, keep);
            let came = vec![rows(&schema, of_two)];
            operator
                .advance(came, &[EventMs(*watermark)], &mut Failures::of("q", &mut Vec::new()))
                .unwrap();
            assert_eq!(operator.rows(), *rows_kept, "{sql} {keep} at {watermark}");
            let stored: usize = operator.parts().unwrap().iter().map(RecordBatch::num_rows).sum();
            let waits = u64::from(*rows_kept > 0) * waiting(operator.as_ref());
            assert_eq!(stored as u64, rows_kept + waits, "{sql} {keep} at {watermark}");
        }
    }
}

/// Rows that wait, which a snapshot has twice: with what they were, and with what others see.
fn waiting(operator: &dyn Operator) -> u64 {
    let parts = operator.parts().unwrap();
    let is_waiting = |part: &&RecordBatch| {
        let first = part.schema().field(0).name().clone();
        parts.len() > 1 && !first.starts_with("__")
    };
    parts.iter().filter(is_waiting).map(|part| part.num_rows() as u64).sum()
}

/// Rows of random keys in the order of their times.
fn random_rows(rng: &mut Rng) -> Vec<Row> {
    let mut time = 0;
    (0..rng.below(40))
        .map(|_| {
            time += rng.below(6) as i64 * rng.below(4) as i64;
            (["a", "b", "c"][rng.below(3) as usize], rng.below(100) as i64, time)
        })
        .collect()
}

#[test]
fn rows_are_handed_on_in_the_same_order_whatever_the_ticks() {
    let keep = "keep = \"12ms\"\nincomplete = \"emit\"";
    let queries = [
        RANGE,
        AROUND,
        LAG,
        LAG_GIVEN,
        LEAD,
        LEAD_TWO,
        TOTAL,
        TOTAL_OF_ALL,
        NEWEST,
        COUNTED,
        COUNTED_HOPPING,
    ];
    let mut rng = Rng::new(11);
    for sql in queries {
        let derived = derived(sql, keep);
        let schema = Arc::clone(&derived.inputs[0].schema);
        for _ in 0..60 {
            let all = random_rows(&mut rng);
            let mut once = start(&derived);
            let at_once = once
                .advance(
                    vec![rows(&schema, &all)],
                    &[EventMs::MAX],
                    &mut Failures::of("q", &mut Vec::new()),
                )
                .unwrap();
            let mut often = start(&derived);
            let (mut left, mut watermark) = (all.as_slice(), 0);
            let mut parts = Vec::new();
            while !left.is_empty() {
                watermark += rng.below(25) as i64;
                let count = left.partition_point(|row| row.2 < watermark);
                let (now, later) = left.split_at(count);
                left = later;
                parts.push(
                    often
                        .advance(
                            vec![rows(&schema, now)],
                            &[EventMs(watermark)],
                            &mut Failures::of("q", &mut Vec::new()),
                        )
                        .unwrap(),
                );
                if rng.chance(40) {
                    let mut other = start(&derived);
                    let stored = often.parts().unwrap();
                    other.restore(stored.clone()).unwrap();
                    assert_eq!(other.parts().unwrap(), stored, "{sql}: a snapshot says all");
                    assert_eq!(other.last_close(), often.last_close(), "{sql}");
                    assert_eq!(other.rows(), often.rows(), "{sql}");
                    often = other;
                }
            }
            if let Some(last) = often.last_close() {
                parts.push(
                    often
                        .advance(
                            vec![rows(&schema, &[])],
                            &[last],
                            &mut Failures::of("q", &mut Vec::new()),
                        )
                        .unwrap(),
                );
                assert_eq!(often.last_close(), None, "{sql}: then nothing waits");
            }
            let parts = concat_batches(&at_once.schema(), &parts).unwrap();
            assert_eq!(parts.num_rows(), at_once.num_rows(), "{sql} of {all:?}");
            for (often, once) in parts.columns().iter().zip(at_once.columns()) {
                assert_same(often, once, sql);
            }
        }
    }
}

/// Equal to the bit, but for the last ones of what the engine merges once a tick.
fn assert_same(often: &ArrayRef, once: &ArrayRef, sql: &str) {
    use arrow::datatypes::Float64Type;
    if sql == TOTAL
        && let (Some(often), Some(once)) =
            (often.as_primitive_opt::<Float64Type>(), once.as_primitive_opt::<Float64Type>())
    {
        for (often, once) in often.iter().zip(once) {
            let near = often.zip(once).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
            assert!(near && often.is_some() == once.is_some(), "{often:?} {once:?}");
        }
        return;
    }
    assert_eq!(often, once, "{sql}");
}

#[test]
fn a_hot_key_takes_no_more_than_its_rows() {
    let count = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    for sql in [RANGE, TOTAL, LAG, NEWEST, COUNTED] {
        let (mut operator, schema) = operator(sql, "keep = \"1h\"");
        let all: Vec<Row> = (0..count).map(|row| ("a", row, row / (count / 10))).collect();
        let given = operator
            .advance(
                vec![rows(&schema, &all)],
                &[EventMs(11)],
                &mut Failures::of("q", &mut Vec::new()),
            )
            .unwrap();
        match sql {
            NEWEST => assert_eq!(given.num_rows(), 0),
            COUNTED => assert_eq!(given.num_rows() as i64, count / 3),
            _ => assert_eq!(given.num_rows() as i64, count),
        }
        // Key, time, run, argument and a few bits a row.
        let each = if sql == RANGE { 64 * count as u64 } else { 0 };
        assert!(operator.bytes() < each + 100_000, "{sql}: {} bytes", operator.bytes());
        operator
            .advance(
                vec![rows(&schema, &[])],
                &[EventMs(3_600_000 + 1_000)],
                &mut Failures::of("q", &mut Vec::new()),
            )
            .unwrap();
        assert_eq!(operator.rows(), 0, "{sql}");
    }
}
