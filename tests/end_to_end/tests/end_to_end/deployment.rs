//! The ad pipeline, deployed: what most cases begin with.

use std::sync::Arc;
use std::time::Duration;

use end_to_end::ads::{self, AdEvent};
use end_to_end::clock::wall_ms;
use end_to_end::function::Function;
use end_to_end::kinesis::Stream;
use end_to_end::kinesis_server::KinesisServer;
use end_to_end::mapping::{KinesisMapping, KinesisSettings};
use end_to_end::schedule::Schedule;
use end_to_end::tables::{contents, differences};
use end_to_end::world::{STREAM, World};

/// How long anything may take that ought to happen, on a machine that is busy otherwise.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);
/// Virtual time after which every window of a drained source is closed: `idle_after`, a window,
/// `out_of_orderness` and `grace`, and some more.
pub(crate) const PAST_IDLE: Duration = Duration::from_secs(120);

/// The ad pipeline on a Kinesis of the tests' own.
pub(crate) struct Deployment {
    pub(crate) world: World,
    pub(crate) kinesis: KinesisServer,
    pub(crate) ingest: Arc<Function>,
    pub(crate) advance: Arc<Function>,
}

impl Deployment {
    /// Deploys the pipeline with an empty stream of so many shards.
    pub(crate) fn of_ads(shards: usize, seed: u64) -> Deployment {
        Deployment::of(ads::PIPELINE, shards, seed)
    }

    /// Deploys a pipeline that reads the ad stream.
    pub(crate) fn of(pipeline: &str, shards: usize, seed: u64) -> Deployment {
        let files = [("campaigns.csv", ads::campaigns_csv())];
        Deployment::over(World::new(pipeline, &files, seed), shards)
    }

    /// Deploys the functions of a world with an empty stream of so many shards.
    pub(crate) fn over(world: World, shards: usize) -> Deployment {
        Deployment::over_streams(world, &[(STREAM, shards)])
    }

    /// Deploys the functions of a world with these empty streams, each of so many shards.
    pub(crate) fn over_streams(mut world: World, streams: &[(&str, usize)]) -> Deployment {
        let kinesis = KinesisServer::start(Arc::clone(&world.clock));
        for (stream, shards) in streams {
            Stream::create(kinesis.address(), stream, *shards);
        }
        world.set("AWS_ENDPOINT_URL_KINESIS", kinesis.url());
        let (ingest, advance) = (world.kinesis_function(), world.advance_function());
        Deployment { world, kinesis, ingest, advance }
    }

    /// The stream.
    pub(crate) fn stream(&self) -> Stream {
        Stream::at(self.kinesis.address(), STREAM)
    }

    /// Maps the stream to the ingest function.
    pub(crate) fn map(&self, settings: KinesisSettings) -> KinesisMapping {
        self.map_stream(STREAM, settings)
    }

    /// Maps one of several streams to the ingest function.
    pub(crate) fn map_stream(&self, name: &str, settings: KinesisSettings) -> KinesisMapping {
        let stream = Stream::at(self.kinesis.address(), name);
        KinesisMapping::create(stream, Arc::clone(&self.ingest) as _, settings)
    }

    /// Invokes advance by so many workers at once.
    pub(crate) fn schedule(&self, at_once: usize) -> Schedule {
        Schedule::start(&self.advance, at_once)
    }

    /// Puts events into one shard.
    pub(crate) fn put(&self, shard: usize, events: &[AdEvent]) {
        self.kinesis.put(STREAM, shard, events.iter().map(AdEvent::to_json));
    }

    /// Moves virtual time on until every window is closed, and waits for exactly the rows that
    /// `events` make, on this deployment and on one machine.
    #[track_caller]
    pub(crate) fn assert_counted(&self, events: &[AdEvent]) {
        self.assert_counted_within(events, WITHIN);
    }

    /// The same, with so much time for the rows to come.
    #[track_caller]
    pub(crate) fn assert_counted_within(&self, events: &[AdEvent], within: Duration) {
        let expected = ads::expected(events);
        assert!(!expected.is_empty());
        self.world.clock.move_on(PAST_IDLE);
        self.world.wait_for_results(&expected, within);
        let records = events.iter().map(AdEvent::to_json).collect();
        let machine = self.world.on_one_machine(&[("ad_events", records)]);
        let rows = contents(&machine.results["views_per_campaign"]);
        let differing = differences(&self.world.results(), &rows);
        assert!(differing.is_empty(), "one machine computes otherwise: {differing:#?}");
    }

    /// Fails when there are dead letters.
    #[track_caller]
    pub(crate) fn assert_nothing_dead(&self) {
        let dead = self.world.dead_letters();
        assert!(dead.is_empty(), "{} dead letters: {:#?}", dead.len(), &dead[..dead.len().min(3)]);
    }
}

/// Events of each of `shards` shards: `count` in each, over `span_ms` of event time that end now.
pub(crate) fn events_by_shard(
    shards: usize,
    count: usize,
    span_ms: i64,
    seed: u64,
) -> Vec<Vec<AdEvent>> {
    let from = wall_ms() - span_ms - 1_000;
    (0..shards).map(|shard| ads::events(count, from, span_ms, seed + shard as u64)).collect()
}
