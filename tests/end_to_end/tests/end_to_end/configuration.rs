//! Deployments with missing or wrong configuration: all faults are listed at start, at once, each
//! with what to do; and a mended deployment needs nothing but the mending.

use end_to_end::ads;
use end_to_end::function::{Failure, Function};
use end_to_end::schedule;
use end_to_end::world::{RESULTS_TABLE, World};
use serde_json::json;

/// What a function that cannot start says.
#[track_caller]
fn why_not(function: &Function) -> String {
    match function.invoke(&json!({})) {
        Err(Failure::Init { message }) => message,
        other => panic!("it started: {other:?}\n{}", function.logs().tail(20)),
    }
}

#[track_caller]
fn assert_all_in(message: &str, texts: &[&str]) {
    let absent: Vec<&&str> = texts.iter().filter(|text| !message.contains(**text)).collect();
    assert!(absent.is_empty(), "{absent:?} not in:\n{message}");
    let helps = message.matches("help:").count();
    assert!(helps >= texts.len() / 2, "{helps} helps in:\n{message}");
}

fn world(pipeline: &str) -> World {
    World::new(pipeline, &[("campaigns.csv", ads::campaigns_csv())], 14)
}

const FUNCTIONS: [&str; 3] = ["tidemill-kinesis", "tidemill-kafka", "tidemill-advance"];

#[test]
fn an_empty_environment_is_named_variable_by_variable() {
    let mut world = world(ads::PIPELINE);
    for name in ["TIDEMILL_PIPELINE", "TIDEMILL_STATE_TABLE", "AWS_REGION"] {
        world.unset(name);
    }
    world.set("TIDEMILL_STARTING_POSITION", "FROM_THE_START");
    for binary in FUNCTIONS {
        let message = why_not(&world.deploy(binary, std::time::Duration::from_secs(30)));
        assert_all_in(
            &message,
            &[
                "TIDEMILL_PIPELINE",
                "TIDEMILL_STATE_TABLE",
                "AWS_REGION",
                "FROM_THE_START",
                "TRIM_HORIZON",
            ],
        );
    }
}

#[test]
fn mistakes_of_the_file_and_of_the_deployment_are_told_together() {
    let wrong = ads::PIPELINE
        .replace("COUNT(*) AS views", "COUNT(*) AS views, nobody_knows(c.campaign_id)")
        .replace("grace = \"1s\"", "grace = \"one second\"");
    let mut world = world(&wrong);
    world.unset("VIEWS_TABLE");
    world.set("TIDEMILL_STATE_TABLE", "nowhere");
    for binary in FUNCTIONS {
        let message = why_not(&world.deploy(binary, std::time::Duration::from_secs(30)));
        assert_all_in(&message, &["VIEWS_TABLE", "one second", "nobody_knows", "nowhere"]);
    }
}

#[test]
fn a_sink_that_is_not_there_is_found_by_advance_at_start() {
    let mut world = world(ads::PIPELINE);
    world.set("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:1");
    world.set("VIEWS_TABLE", "no-such-table");
    world.set("DEAD_TABLE", "none-either");
    let message = why_not(&world.advance_function());
    assert_all_in(&message, &["no-such-table", "none-either"]);
}

#[test]
fn a_mended_deployment_starts() {
    let topic = end_to_end::topic::Topic::create("ad-events", 1);
    let mut world = world(&ads::kafka_pipeline());
    world.set("BROKERS", topic.bootstrap_servers());
    world.tables.delete(RESULTS_TABLE);
    let advance = world.advance_function();
    assert_all_in(&why_not(&advance), &[RESULTS_TABLE]);
    world.tables.create(RESULTS_TABLE);
    let answer = advance.invoke(&schedule::event());
    assert!(answer.is_ok(), "{answer:?}");
}
