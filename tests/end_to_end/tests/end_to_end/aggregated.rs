//! Records that the Kinesis Producer Library packed, between plain ones, on the emulator.

use std::sync::Arc;

use end_to_end::ads::{self, AdEvent};
use end_to_end::kinesis::Stream;
use end_to_end::kpl;
use end_to_end::mapping::{KinesisMapping, KinesisSettings};
use end_to_end::schedule::Schedule;
use end_to_end::tables::contents;
use end_to_end::world::{STREAM, World, address_of};
use tidemill_testkit::servers::KinesisLocal;

use crate::deployment::{PAST_IDLE, WITHIN, events_by_shard};

#[test]
fn user_records_of_aggregates_count_once_each() {
    let kinesis = KinesisLocal::start();
    let address = address_of(&kinesis.url());
    let stream = Stream::create(address, STREAM, 1);
    let mut world = World::new(ads::PIPELINE, &[("campaigns.csv", ads::campaigns_csv())], 7);
    world.set("AWS_ENDPOINT_URL_KINESIS", kinesis.url());
    let (ingest, advance) = (world.kinesis_function(), world.advance_function());
    // Killed in the middle of aggregates, too: their user records have positions of their own.
    ingest.kill_often(30, 8, 71);
    let settings = KinesisSettings { batch_size: 12, ..KinesisSettings::new(7) };
    let mapping =
        KinesisMapping::create(Stream::at(address, STREAM), Arc::clone(&ingest) as _, settings);
    let _schedule = Schedule::start(&advance, 1);

    let events = events_by_shard(1, 10_000, 90_000, 7).remove(0);
    let mut records = Vec::new();
    for (number, part) in events.chunks(90).enumerate() {
        let data: Vec<Vec<u8>> = part.iter().map(AdEvent::to_json).collect();
        // Some plain records between the aggregates; the emulator is slow with many.
        let plain = if number % 10 == 0 { 20 } else { 0 };
        let (alone, together) = data.split_at(plain.min(data.len()));
        records.extend(alone.iter().map(|data| ("key".to_string(), data.clone())));
        if !together.is_empty() {
            records.push(("key".to_string(), kpl::aggregate(together)));
        }
    }
    stream.put(&records);
    mapping.drain(WITHIN);

    let expected = ads::expected(&events);
    world.clock.move_on(PAST_IDLE);
    world.wait_for_results(&expected, WITHIN);
    let records = events.iter().map(AdEvent::to_json).collect();
    let machine = world.on_one_machine(&[("ad_events", records)]);
    assert_eq!(contents(&machine.results["views_per_campaign"]), expected);
    assert!(world.dead_letters().is_empty());
}
