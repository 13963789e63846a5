//! What a join keeps, when it hands rows over, and where it gives up. That it joins rightly is shown
//! by the properties.

use arrow::datatypes::SchemaRef;
use tidemill_plan::OperatorPlan;

use super::trial::{Row, input, kept, operator_plan, tick};
use super::*;

fn join(kind: &str, bounds: &str) -> (IntervalJoin, [SchemaRef; 2]) {
    let sql = format!("SELECT a.v AS x, b.v AS y FROM a {kind} b ON a.k = b.k AND {bounds}");
    of(&sql)
}

fn of(sql: &str) -> (IntervalJoin, [SchemaRef; 2]) {
    match operator_plan(sql, "forever") {
        OperatorPlan::Join(stage) => (IntervalJoin::new(&stage).unwrap(), stage.inputs),
        other => panic!("no interval join: {other:?}"),
    }
}

/// Rows of key `k` at these times, whose values are their times.
fn at(times: &[i64]) -> Vec<Row<'static>> {
    times.iter().map(|time| ("k", Some(*time), *time)).collect()
}

fn kept_of(join: &IntervalJoin) -> (Vec<i64>, Vec<i64>) {
    let parts = join.parts().unwrap();
    (kept(&parts[0]), kept(&parts[1]))
}

/// The cases of Flink's `IntervalJoinOperatorTest.testStateCleanup`, whose watermark w says that
/// nothing at w or before comes: ours is w + 1.
#[test]
fn a_row_goes_when_nothing_to_come_can_match_it() {
    let one_to_five = at(&[1, 2, 3, 4, 5]);
    for (bounds, expected) in [
        (
            "b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 millisecond'",
            [(1, vec![1, 2, 3, 4, 5], vec![2, 3, 4, 5]), (4, vec![4, 5], vec![5])],
        ),
        (
            "b.ts BETWEEN a.ts - INTERVAL '1 millisecond' AND a.ts",
            [(1, vec![2, 3, 4, 5], vec![1, 2, 3, 4, 5]), (4, vec![5], vec![4, 5])],
        ),
        (
            "b.ts > a.ts AND b.ts < a.ts + INTERVAL '3 milliseconds'",
            [(1, vec![1, 2, 3, 4, 5], vec![2, 3, 4, 5]), (4, vec![3, 4, 5], vec![5])],
        ),
    ] {
        let (mut join, schemas) = join("JOIN", bounds);
        tick(&mut join, &schemas, [&one_to_five, &one_to_five], i64::MIN);
        for (watermark, left, right) in expected {
            tick(&mut join, &schemas, [&[], &[]], watermark + 1);
            assert_eq!(kept_of(&join), (left, right), "{bounds} at {watermark}");
        }
        tick(&mut join, &schemas, [&[], &[]], 8);
        assert_eq!((join.rows(), join.bytes()), (0, 0), "{bounds}");
    }
}

#[test]
fn a_row_is_padded_once_the_last_match_could_have_come() {
    let (mut join, schemas) =
        join("LEFT JOIN", "b.ts BETWEEN a.ts AND a.ts + INTERVAL '5 milliseconds'");
    assert_eq!(tick(&mut join, &schemas, [&at(&[10, 11]), &[]], 12), []);
    assert_eq!(join.last_close(), Some(EventMs(17)));
    assert_eq!(tick(&mut join, &schemas, [&[], &[]], 15), []);
    // A row at the bound itself may come.
    let handed = tick(&mut join, &schemas, [&[], &at(&[16])], 16);
    assert_eq!(handed, [(Some(10), None)]);
    assert_eq!(tick(&mut join, &schemas, [&[], &[]], 17), [(Some(11), Some(16))]);
    assert_eq!(join.last_close(), None);
    assert_eq!(join.rows(), 0);
}

#[test]
fn a_semi_join_hands_a_row_over_once_and_an_anti_join_only_without_match() {
    let near = "b.ts BETWEEN a.ts - INTERVAL '5 milliseconds' AND a.ts + INTERVAL '5 milliseconds'";
    let (mut semi, schemas) =
        of(&format!("SELECT a.v FROM a LEFT SEMI JOIN b ON a.k = b.k AND {near}"));
    assert_eq!(tick(&mut semi, &schemas, [&at(&[10, 30]), &at(&[8, 9])], 12), [(Some(10), None)]);
    assert_eq!(tick(&mut semi, &schemas, [&[], &at(&[13])], 20), []);
    let (mut anti, schemas) =
        of(&format!("SELECT a.v FROM a LEFT ANTI JOIN b ON a.k = b.k AND {near}"));
    assert_eq!(tick(&mut anti, &schemas, [&at(&[10, 30]), &at(&[8, 9])], 12), []);
    assert_eq!(tick(&mut anti, &schemas, [&[], &[]], 35), []);
    assert_eq!(tick(&mut anti, &schemas, [&[], &[]], 36), [(Some(30), None)]);
    assert_eq!((semi.rows(), anti.rows()), (1, 0));
}

#[test]
fn rows_with_a_null_key_are_kept_only_to_be_padded() {
    let near = "b.ts BETWEEN a.ts AND a.ts + INTERVAL '5 milliseconds'";
    let nulls: [Row<'_>; 2] = [("-", Some(1), 10), ("-", Some(2), 11)];
    let (mut inner, schemas) = join("JOIN", near);
    assert_eq!(tick(&mut inner, &schemas, [&nulls, &nulls], 5), []);
    assert_eq!(inner.rows(), 0);
    let (mut left, schemas) = join("LEFT JOIN", near);
    assert_eq!(tick(&mut left, &schemas, [&nulls, &nulls], 5), []);
    assert_eq!(left.rows(), 2);
    let padded = tick(&mut left, &schemas, [&[], &[]], 17);
    assert_eq!(padded, [(Some(1), None), (Some(2), None)]);
}

#[test]
fn what_is_handed_over_does_not_depend_on_ticks() {
    let near = "b.ts BETWEEN a.ts - INTERVAL '4 milliseconds' AND a.ts + INTERVAL '7 milliseconds'";
    let left = at(&[1, 1, 2, 5, 8, 8, 13, 30]);
    let right = at(&[0, 2, 2, 6, 9, 12, 21, 21, 28]);
    let (mut whole, schemas) = join("FULL JOIN", near);
    let expected = tick(&mut whole, &schemas, [&left, &right], i64::MAX);
    assert_eq!(expected.len(), 29, "27 pairs, and two right rows without any");
    for step in 1..12 {
        let (mut ticked, schemas) = join("FULL JOIN", near);
        let mut handed = Vec::new();
        for watermark in (0..45).step_by(step) {
            let came = |rows: &[Row<'static>]| -> Vec<Row<'static>> {
                let from = watermark - step as i64;
                rows.iter().filter(|row| (from..watermark).contains(&row.2)).copied().collect()
            };
            let (left, right) = (came(&left), came(&right));
            handed.extend(tick(&mut ticked, &schemas, [&left, &right], watermark));
        }
        handed.extend(tick(&mut ticked, &schemas, [&[], &[]], i64::MAX));
        assert_eq!(handed, expected, "step {step}");
    }
}

#[test]
fn a_hot_key_is_an_error_that_says_how_hot_it_is() {
    let (mut join, schemas) = join("JOIN", "b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 second'");
    join.pairs_max = 100;
    let many = at(&[7; 60]);
    let inputs = vec![input(&schemas[0], &at(&[5, 6])), input(&schemas[1], &many)];
    let error = join
        .advance(inputs, &[EventMs(10); 2], &mut Failures::of("q", &mut Vec::new()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 100 pairs"), "{error}");
    assert!(error.contains("one row of its left side has 60 rows of its right side"), "{error}");
}
