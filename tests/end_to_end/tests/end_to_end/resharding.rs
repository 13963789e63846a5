//! A shard that is split, and two that are merged, while the stream is read.

use std::sync::Arc;

use end_to_end::ads::{self, AdEvent};
use end_to_end::kinesis::{Shard, Stream};
use end_to_end::mapping::{KinesisMapping, KinesisSettings};
use end_to_end::schedule::Schedule;
use end_to_end::tables::contents;
use end_to_end::world::{STREAM, World, address_of};
use tidemill_testkit::servers::KinesisLocal;

use crate::deployment::{PAST_IDLE, WITHIN, events_by_shard};

fn keyed(events: &[AdEvent]) -> Vec<(String, Vec<u8>)> {
    events.iter().enumerate().map(|(n, event)| (format!("key-{n}"), event.to_json())).collect()
}

fn open_shards(stream: &Stream) -> Vec<Shard> {
    let mut open: Vec<Shard> =
        stream.shards().unwrap().into_iter().filter(|shard| !shard.is_closed).collect();
    open.sort_by_key(|shard| shard.hash_keys.0);
    open
}

#[test]
fn shards_split_and_merged_in_mid_stream_lose_and_repeat_nothing() {
    let kinesis = KinesisLocal::start();
    let address = address_of(&kinesis.url());
    let stream = Stream::create(address, STREAM, 2);
    let mut world = World::new(ads::PIPELINE, &[("campaigns.csv", ads::campaigns_csv())], 5);
    world.set("AWS_ENDPOINT_URL_KINESIS", kinesis.url());
    let (ingest, advance) = (world.kinesis_function(), world.advance_function());
    let settings = KinesisSettings { batch_size: 100, ..KinesisSettings::new(5) };
    let mapping =
        KinesisMapping::create(Stream::at(address, STREAM), Arc::clone(&ingest) as _, settings);
    let schedule = Schedule::start(&advance, 1);

    let events = events_by_shard(1, 900, 90_000, 5).remove(0);
    stream.put(&keyed(&events[..300]));
    stream.split(&open_shards(&stream)[0]);
    stream.put(&keyed(&events[300..600]));
    let open = open_shards(&stream);
    assert_eq!(open.len(), 3);
    stream.merge(&open[1], &open[2]);
    stream.put(&keyed(&events[600..]));
    mapping.drain(WITHIN);
    assert_eq!(stream.shards().unwrap().len(), 5);

    let expected = ads::expected(&events);
    world.clock.move_on(PAST_IDLE);
    world.wait_for_results(&expected, WITHIN);
    let records = events.iter().map(AdEvent::to_json).collect();
    let machine = world.on_one_machine(&[("ad_events", records)]);
    assert_eq!(contents(&machine.results["views_per_campaign"]), expected);
    assert!(world.dead_letters().is_empty());
    assert_eq!(schedule.failures(), Vec::<String>::new());

    // The whole stream once more, all shards closed or idle by now.
    drop(mapping);
    let again = KinesisMapping::create(Stream::at(address, STREAM), ingest as _, settings);
    again.drain(WITHIN);
    assert_eq!(world.results(), expected);
    assert!(world.dead_letters().is_empty());
}
