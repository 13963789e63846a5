//! A Kafka topic of three partitions, batches with several of them.

use std::sync::Arc;

use end_to_end::ads::{self, AdEvent};
use end_to_end::clock::wall_ms;
use end_to_end::mapping::{KafkaMapping, KafkaSettings};
use end_to_end::schedule::Schedule;
use end_to_end::tables::contents;
use end_to_end::topic::Topic;
use end_to_end::world::World;

use crate::deployment::{PAST_IDLE, WITHIN, events_by_shard};

#[test]
fn a_topic_is_counted_exactly_though_batches_come_again_and_functions_are_killed() {
    let topic = Topic::create("ad-events", 3);
    let files = [("campaigns.csv", ads::campaigns_csv())];
    let mut world = World::new(&ads::kafka_pipeline(), &files, 6);
    world.set("BROKERS", topic.bootstrap_servers());
    let (ingest, advance) = (world.kafka_function(), world.advance_function());
    ingest.kill_often(15, 10, 61);
    let settings = KafkaSettings {
        bootstrap_servers: topic.bootstrap_servers(),
        topic: topic.name().to_string(),
        partitions: topic.partitions(),
        batch_size: 300,
        replaced_percent: 15,
        seed: 6,
    };
    let mapping = KafkaMapping::create(settings, Arc::clone(&ingest) as _);
    let schedule = Schedule::start(&advance, 1);

    let partitions = events_by_shard(3, 2_000, 60_000, 6);
    let mut records = Vec::new();
    for number in 0..2_000 {
        for (partition, events) in (0..).zip(&partitions) {
            records.push((partition, wall_ms(), Some(events[number].to_json())));
        }
    }
    // A tombstone holds no event.
    records.push((1, wall_ms(), None));
    let ends = topic.produce(&records);
    mapping.wait_through(&ends, WITHIN);
    let (_, failures, mixed) = mapping.counts();
    assert!(failures > 0 && mixed > 0, "failures={failures} mixed={mixed}");

    let events = partitions.concat();
    let expected = ads::expected(&events);
    world.clock.move_on(PAST_IDLE);
    world.wait_for_results(&expected, WITHIN);
    let records = events.iter().map(AdEvent::to_json).collect();
    let machine = world.on_one_machine(&[("ad_events", records)]);
    assert_eq!(contents(&machine.results["views_per_campaign"]), expected);
    assert_eq!(schedule.failures(), Vec::<String>::new());
    let dead = world.dead_letters();
    assert_eq!(dead.len(), 1, "the tombstone: {dead:?}");
}
