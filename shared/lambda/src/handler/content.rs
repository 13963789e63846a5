//! What a function tells of the records that it reads: nothing.

use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use super::*;
use crate::test_world::{
    NOW, World, Written, click, kafka_event, kafka_record, kinesis_event, kinesis_record,
};

/// In records, and nowhere else.
const CANARY: &str = "canary-4711-canary";

/// Feeds both functions records with the canary, of which one cannot be read and the others make a
/// query fail, and answers all that was logged, measured and returned.
async fn told() -> String {
    let world = World::new();
    let plan = crate::test_world::plan_of("SUM(CAST(user AS BIGINT))");
    let mut handler = world.handler_of(&plan, Arc::new(world.store.clone()), usize::MAX);
    let written = Written::default();
    let target = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new("trace"))
        .with_writer(move || target.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let bad = kinesis_record(0, 0, CANARY.as_bytes());
    let event = kinesis_event(&[bad, kinesis_record(0, 1, &click(CANARY, NOW))]);
    let answer = handler.kinesis(Event::read(&event), "r-1", None).await;
    let mut told = format!("{answer:?}");
    let click = click(CANARY, NOW);
    let record = kafka_record(0, 0, Some(&click), ("CREATE_TIME", NOW - 1));
    let event = kafka_event("aws:kafka", &[record]);
    let answer = handler.kafka(Event::read(&event), "r-2", None).await;
    told += &format!("{answer:?}");
    told + &written.text() + &world.metrics.text()
}

#[tokio::test]
async fn no_line_tells_a_value() {
    let told = told().await;
    assert!(!told.contains(CANARY), "{told}");
    let letters = told.matches("\"RecordsRejected\":").count();
    assert!(letters > 0, "nothing was set aside: {told}");
}
