//! A state table that is missing, has the wrong key, or may not be written: one clear error, nothing
//! acknowledged, and everything counts once it is mended.

use end_to_end::function::Failure;
use end_to_end::mapping::KinesisSettings;
use end_to_end::schedule;
use end_to_end::world::STATE_TABLE;
use serde_json::json;

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn a_state_table_with_other_keys_is_refused_at_start() {
    let deployment = Deployment::of_ads(1, 15);
    for keys in [
        &[("id", "HASH", "S")][..],
        &[("pk", "HASH", "S")],
        &[("pk", "HASH", "S"), ("sk", "RANGE", "N")],
    ] {
        deployment.world.tables.delete(STATE_TABLE);
        deployment.world.tables.create_with_keys(STATE_TABLE, keys);
        for function in [&deployment.ingest, &deployment.advance] {
            match function.invoke(&schedule::event()) {
                Err(Failure::Init { message }) => {
                    for text in [STATE_TABLE, "pk", "sk", "help:"] {
                        assert!(message.contains(text), "`{text}` is not in: {message}");
                    }
                }
                other => panic!("{keys:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_state_table_that_vanishes_acknowledges_nothing() {
    let deployment = Deployment::of_ads(1, 16);
    let events = events_by_shard(1, 600, 60_000, 16).remove(0);
    // Warm functions, which have seen the table.
    assert!(deployment.ingest.invoke(&json!({})).is_err());
    assert!(deployment.advance.invoke(&schedule::event()).is_ok());
    deployment.world.tables.delete(STATE_TABLE);
    deployment.put(0, &events);
    let mapping = deployment.map(KinesisSettings::new(16));
    mapping.wait_for_invocations(4, WITHIN);
    let (invoked, failed) = mapping.counts();
    assert_eq!(invoked, failed, "something was acknowledged");
    let said = deployment.ingest.logs().matching(STATE_TABLE);
    assert!(!said.is_empty(), "no line names the table:\n{}", deployment.ingest.logs().tail(10));
    let failure = deployment.advance.invoke(&schedule::event()).unwrap_err().to_string();
    assert!(failure.contains(STATE_TABLE), "{failure}");

    deployment.world.tables.create(STATE_TABLE);
    let _schedule = deployment.schedule(1);
    mapping.drain(WITHIN);
    deployment.assert_counted(&events);
    deployment.assert_nothing_dead();
}

#[test]
fn access_that_is_denied_is_named_and_acknowledges_nothing() {
    let deployment = Deployment::of_ads(1, 17);
    let events = events_by_shard(1, 600, 60_000, 17).remove(0);
    assert!(deployment.ingest.invoke(&json!({})).is_err());
    assert!(deployment.advance.invoke(&schedule::event()).is_ok());
    deployment.put(0, &events);
    let mut before = 0;
    let mapping = {
        deployment.world.proxy.deny(&["PutItem"]);
        let mapping = deployment.map(KinesisSettings::new(17));
        mapping.wait_for_invocations(3, WITHIN);
        mapping
    };
    for denied in ["PutItem", "Query"] {
        deployment.world.proxy.deny(&[denied]);
        // A warm process remembers the log's tail; a new one has to ask.
        mapping.wait_for_invocations(before + 3, WITHIN);
        before = mapping.counts().0;
        let said = deployment.ingest.logs().matching("dynamodb:PutItem");
        assert!(!said.is_empty(), "no line names it:\n{}", deployment.ingest.logs().tail(10));
        deployment.ingest.cool_down();
    }
    let (invoked, failed) = mapping.counts();
    assert_eq!(invoked, failed, "something was acknowledged");

    // New processes that may not even look at the table.
    deployment.world.proxy.deny(&["*"]);
    let failure = deployment.world.kinesis_function().invoke(&json!({})).unwrap_err();
    assert!(matches!(failure, Failure::Init { .. }), "{failure}");
    assert!(failure.to_string().contains("dynamodb:DescribeTable"), "{failure}");

    deployment.world.proxy.deny(&[]);
    mapping.drain(WITHIN);
    // Advance may read, and not commit.
    deployment.world.proxy.deny(&["PutItem"]);
    let failure = deployment.advance.invoke(&schedule::event()).unwrap_err().to_string();
    assert!(failure.contains("dynamodb:PutItem"), "{failure}");
    // Nor give results away.
    deployment.world.proxy.deny(&["BatchWriteItem"]);
    deployment.world.clock.move_on(crate::deployment::PAST_IDLE);
    let schedule = deployment.schedule(1);
    let failure = schedule.wait_for_failure(WITHIN);
    assert!(failure.contains("dynamodb:BatchWriteItem"), "{failure}");
    deployment.world.proxy.deny(&[]);
    deployment.assert_counted(&events);
    deployment.assert_nothing_dead();
}
