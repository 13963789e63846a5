//! Events that a function cannot take: one clear error each, and nothing is written.

use std::sync::Arc;

use end_to_end::ads;
use end_to_end::function::{Failure, Function};
use end_to_end::kinesis::Stream;
use end_to_end::kinesis_server::KinesisServer;
use end_to_end::mapping::{KinesisMapping, KinesisSettings};
use end_to_end::world::{STATE_TABLE, World};
use serde_json::{Value, json};

use crate::deployment::{Deployment, WITHIN};

/// Invokes with an event that must fail with this code, and a message that holds these texts.
#[track_caller]
fn assert_refused(function: &Function, event: &Value, code: &str, texts: &[&str]) {
    match function.invoke(event) {
        Err(Failure::Handler { error_type, message }) => {
            assert_eq!(error_type, code, "{message}");
            for text in texts {
                assert!(message.contains(text), "`{text}` is not in: {message}");
            }
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn kinesis_event(arn: &str) -> Value {
    json!({ "Records": [{
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "key",
            "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "data": "e30=",
            "approximateArrivalTimestamp": 1_700_000_000.123,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "shardId-000000000000:49590338271490256608559692538361571095921575989136588898",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/ingest",
        "awsRegion": "us-east-1",
        "eventSourceARN": arn,
    }] })
}

fn kafka_event(topic: &str) -> Value {
    json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": "arn:aws:kafka:us-east-1:000000000000:cluster/test/1",
        "bootstrapServers": "b-1.test:9092",
        "records": { format!("{topic}-0"): [{
            "topic": topic, "partition": 0, "offset": 0, "timestamp": 1_700_000_000_000_i64,
            "timestampType": "CREATE_TIME", "value": "e30=", "headers": [],
        }] },
    })
}

fn sqs_event() -> Value {
    json!({ "Records": [{
        "messageId": "1", "body": "{}", "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue", "awsRegion": "us-east-1",
    }] })
}

/// Items of logs in the state table.
fn segments(world: &World) -> usize {
    let rows = world.tables.rows(STATE_TABLE);
    rows.iter().filter(|row| row["pk"].as_str().unwrap().starts_with("ads/log/")).count()
}

#[test]
fn the_kinesis_function_says_what_it_takes() {
    let deployment = Deployment::of_ads(1, 11);
    let ingest = &deployment.ingest;
    assert_refused(ingest, &json!({}), "Event.Empty", &["Records"]);
    assert_refused(ingest, &json!({ "Records": [] }), "Event.Empty", &["Records"]);
    assert_refused(ingest, &json!([1, 2]), "Event.Malformed", &[]);
    assert_refused(ingest, &sqs_event(), "Event.OtherSource", &["aws:sqs"]);
    assert_refused(ingest, &kafka_event("ad-events"), "Event.OtherSource", &["aws:kafka"]);
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/other";
    assert_refused(ingest, &kinesis_event(arn), "Event.UnknownStream", &["other", "ad-events"]);
    // The process is still there, and nothing was written.
    assert_eq!(ingest.counts().0, 1);
    assert_eq!(segments(&deployment.world), 0);
}

#[test]
fn a_mapping_of_a_stream_that_the_pipeline_does_not_name_acknowledges_nothing() {
    let deployment = Deployment::of_ads(1, 12);
    let kinesis = KinesisServer::start(Arc::clone(&deployment.world.clock));
    let other = Stream::create(kinesis.address(), "other", 1);
    kinesis.put("other", 0, [b"{}".to_vec(), b"{}".to_vec()]);
    let settings = KinesisSettings { batch_size: 10, ..KinesisSettings::new(12) };
    let mapping = KinesisMapping::create(other, Arc::clone(&deployment.ingest) as _, settings);
    let failure = mapping.wait_for_failure(WITHIN);
    assert!(failure.contains("Event.UnknownStream"), "{failure}");
    mapping.wait_for_invocations(5, WITHIN);
    let (invoked, failed) = mapping.counts();
    assert_eq!(invoked, failed, "something was acknowledged");
    assert_eq!(segments(&deployment.world), 0);
}

#[test]
fn the_kafka_function_says_what_it_takes() {
    let files = [("campaigns.csv", ads::campaigns_csv())];
    let mut world = World::new(&ads::kafka_pipeline(), &files, 13);
    world.set("BROKERS", "127.0.0.1:1");
    let ingest = world.kafka_function();
    assert_refused(&ingest, &json!({}), "Event.Empty", &["records"]);
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/ad-events";
    assert_refused(&ingest, &kinesis_event(arn), "Event.OtherSource", &["aws:kinesis"]);
    assert_refused(&ingest, &kafka_event("other"), "Event.UnknownStream", &["other", "ad-events"]);
    assert_eq!(segments(&world), 0);
}
