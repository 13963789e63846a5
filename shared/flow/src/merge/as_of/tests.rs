//! What an as-of join keeps and forgets. That it finds the latest version is shown by the properties.

use arrow::datatypes::SchemaRef;
use tidemill_plan::OperatorPlan;

use super::super::join::trial::{Row, kept, operator_plan, tick};
use super::*;

fn join(further: &str, keep: &str) -> (AsOfJoin, [SchemaRef; 2]) {
    let sql = format!(
        "SELECT a.v AS x, b.v AS y FROM a ASOF LEFT JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k {further}"
    );
    match operator_plan(&sql, keep) {
        OperatorPlan::AsOf(stage) => (AsOfJoin::new(&stage).unwrap(), stage.inputs),
        other => panic!("no as-of join: {other:?}"),
    }
}

fn versions(join: &AsOfJoin) -> Vec<i64> {
    kept(&join.parts().unwrap()[1])
}

#[test]
fn of_each_key_the_latest_version_is_kept() {
    let (mut join, schemas) = join("", "forever");
    let b: [Row<'_>; 5] = [
        ("k", Some(1), 1),
        ("m", Some(2), 2),
        ("k", Some(3), 3),
        ("k", Some(4), 3),
        ("k", Some(5), 9),
    ];
    let handed = tick(&mut join, &schemas, [&[("k", Some(10), 3), ("m", Some(11), 4)], &b], 5);
    assert_eq!(handed, [(Some(10), Some(4)), (Some(11), Some(2))]);
    assert_eq!(versions(&join), [2, 3, 9]);
    assert_eq!(join.rows(), 3);
    let handed = tick(&mut join, &schemas, [&[("k", Some(12), 8), ("k", Some(13), 9)], &[]], 10);
    assert_eq!(handed, [(Some(12), Some(4)), (Some(13), Some(5))]);
    assert_eq!(versions(&join), [2, 9]);
}

#[test]
fn a_null_is_a_value_and_no_missing_version() {
    let (mut join, schemas) = join("", "forever");
    let b: [Row<'_>; 2] = [("k", Some(1), 1), ("k", None, 2)];
    let handed = tick(&mut join, &schemas, [&[("k", Some(10), 3), ("-", Some(11), 3)], &b], 5);
    assert_eq!(handed, [(Some(10), None), (Some(11), None)]);
    assert_eq!(versions(&join), [2], "the null is the latest version");
}

#[test]
fn with_a_tolerance_older_versions_go() {
    let (mut join, schemas) = join("AND b.ts >= a.ts - INTERVAL '5 milliseconds'", "forever");
    tick(&mut join, &schemas, [&[], &[("k", Some(1), 10)]], 15);
    assert_eq!(versions(&join), [10]);
    let handed = tick(&mut join, &schemas, [&[("k", Some(7), 15)], &[]], 16);
    assert_eq!(handed, [(Some(7), Some(1))]);
    assert_eq!((join.rows(), join.bytes()), (0, 0));
}

/// A version is forgotten for the same rows whether a tick came in between or not.
#[test]
fn a_key_that_did_not_come_for_long_is_forgotten() {
    for ticks in [vec![40], vec![11, 20, 21, 22, 31, 33, 40], (0..41).collect::<Vec<i64>>()] {
        let (mut join, schemas) = join("", "10ms");
        let a: [Row<'_>; 3] = [("k", Some(1), 20), ("k", Some(2), 30), ("k", Some(3), 41)];
        let b: [Row<'_>; 1] = [("k", Some(9), 10)];
        let mut handed = tick(&mut join, &schemas, [&a, &b], i64::MIN);
        for watermark in ticks {
            handed.extend(tick(&mut join, &schemas, [&[], &[]], watermark));
        }
        assert_eq!(versions(&join), [10], "the key came at 30");
        handed.extend(tick(&mut join, &schemas, [&[], &[]], 42));
        let expected = [(Some(1), Some(9)), (Some(2), Some(9)), (Some(3), None)];
        assert_eq!(handed, expected);
        assert_eq!((join.rows(), join.bytes()), (0, 0));
    }
}

#[test]
fn superseded_versions_do_not_pile_up() {
    let (mut join, schemas) = join("", "forever");
    for round in 0..20i64 {
        let from = round * 1000;
        let times: Vec<Row<'_>> = (from..from + 1000)
            .map(|time| (["k", "m"][(time % 2) as usize], Some(time), time))
            .collect();
        let inputs = vec![
            super::super::join::trial::input(&schemas[0], &[("k", Some(round), from)]),
            super::super::join::trial::input(&schemas[1], &times),
        ];
        let output = join
            .advance(inputs, &[EventMs(from + 1000); 2], &mut Failures::of("q", &mut Vec::new()))
            .unwrap();
        assert_eq!(output.num_rows(), 1);
        assert_eq!(join.rows(), 2);
        assert!(join.versions.len() <= 2 * 2 + DROP_ROWS + 1000, "{}", join.versions.len());
    }
    let last = tick(&mut join, &schemas, [&[("m", Some(7), 30_000)], &[]], i64::MAX);
    assert_eq!(last, [(Some(7), Some(19_999))]);
}
