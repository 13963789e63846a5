//! Chaos under load: functions killed every few hundred milliseconds, DynamoDB killed and started
//! again, the network to it cut in every way, and all of it at once. What comes out is what one
//! undisturbed run on one machine makes of the same records.
//!
//! In `make test` each case makes trouble for some seconds, in `make chaos` for minutes. The variable
//! `SEED` decides what goes wrong when; which request meets it is up to the processes.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use end_to_end::ads::{self, AdEvent, WINDOW_MS};
use end_to_end::chaos::{self, Over, again};
use end_to_end::clock::wall_ms;
use end_to_end::function::Kills;
use end_to_end::mapping::KinesisSettings;
use end_to_end::proxy::{Fate, Faults};
use end_to_end::schedule::Schedule;
use end_to_end::world::{STATE_TABLE, STREAM, World};
use tidemill_testkit::Rng;

use crate::deployment::{Deployment, WITHIN};

const SHARDS: usize = 3;
/// A shard's records of one put, their event time in milliseconds, and the pause before the next: ten
/// times as fast as the clock, so that many windows close.
const CHUNK: usize = 20;
const CHUNK_MS: i64 = 1_000;
const CHUNK_EVERY: Duration = Duration::from_millis(100);
/// Longer than any pause of the load on a machine that is busy, so that nothing is late.
const IDLE_AFTER: Duration = Duration::from_secs(600);
/// How much longer than it should chaos may last until every trouble was seen often enough, and how
/// long the deployment may take afterwards to do what is left.
const PATIENCE: Duration = WITHIN.saturating_mul(5);

const KILLS: Option<u64> = Some(70);
/// How often functions must have been killed, by what they did, and in all.
const RUNNING_KILLED_MIN: u64 = 10;
const KILLS_MIN: u64 = 20;
const RESTARTS_MIN: u64 = 2;
/// How often each way to cut the network must have been seen.
const FATE_MIN: u64 = 3;
const CUTS: [Fate; 5] =
    [Fate::Delayed, Fate::Reset, Fate::HalfOpen, Fate::AnswerDropped, Fate::AnswerCut];

/// What the network is like for a while; then it is like another of these.
const WEATHERS: [Faults; 8] = [
    Faults::NONE,
    Faults::MANY,
    Faults { delayed: 400, ..Faults::NONE },
    Faults { reset: 150, answer_dropped: 150, ..Faults::NONE },
    Faults { answer_cut: 250, ..Faults::NONE },
    Faults { half_open: 40, ..Faults::NONE },
    // Cut off: nobody answers, or nobody is there.
    Faults { half_open: 1_000, ..Faults::NONE },
    Faults { reset: 1_000, ..Faults::NONE },
];

#[derive(Clone, Copy, Default)]
struct Trouble {
    /// Of 100 kills, how many hit ingest, and not advance; none: nothing is killed.
    kills: Option<u64>,
    restarts: bool,
    network: bool,
}

#[test]
fn functions_killed_every_few_hundred_milliseconds_lose_and_repeat_nothing() {
    count_in("kills", Trouble { kills: KILLS, ..Trouble::default() }, 31);
}

#[test]
fn dynamodb_killed_and_started_again_loses_and_repeats_nothing() {
    count_in("restarts", Trouble { restarts: true, ..Trouble::default() }, 32);
}

#[test]
fn a_network_that_is_cut_in_every_way_loses_and_repeats_nothing() {
    count_in("network", Trouble { network: true, ..Trouble::default() }, 33);
}

#[test]
fn kills_restarts_and_a_cut_network_at_once_lose_and_repeat_nothing() {
    count_in("all at once", Trouble { kills: KILLS, restarts: true, network: true }, 34);
}

/// Runs the ad pipeline under load and in trouble, and then lets it do what is left.
fn count_in(name: &str, trouble: Trouble, seed: u64) {
    let seed = chaos::seed(seed);
    let idle = format!("idle_after = \"{}s\"", IDLE_AFTER.as_secs());
    let pipeline = ads::PIPELINE.replace("idle_after = \"1m\"", &idle);
    let files = [("campaigns.csv", ads::campaigns_csv())];
    let deployment = deploy(trouble, seed, &pipeline, &files, &[(STREAM, SHARDS)]);
    let mapping = deployment.map(settings(seed));
    let schedule = deployment.schedule(2);
    let mut load = Load::new(seed);
    let disturbed = disturb(name, &deployment, trouble, seed, || load.put_more(&deployment));
    mapping.drain(PATIENCE);
    deployment.world.clock.move_on(IDLE_AFTER);
    deployment.assert_counted_within(&load.events, PATIENCE);
    deployment.assert_nothing_dead();
    assert_nothing_needs_a_person(name, &deployment, &schedule);
    let (again, records) = (mapping.counts().1, load.events.len());
    report(name, seed, &deployment, &disturbed, again, records);
    println!(
        "  {} windows, {} results equal to one machine's",
        load.windows(),
        deployment.world.results().len()
    );
}

/// Two advances and small batches, so that there is much to disturb.
fn settings(seed: u64) -> KinesisSettings {
    KinesisSettings { batch_size: 120, ..KinesisSettings::new(seed) }
}

fn deploy(
    trouble: Trouble,
    seed: u64,
    pipeline: &str,
    files: &[(&str, String)],
    streams: &[(&str, usize)],
) -> Deployment {
    let world = match trouble.restarts {
        true => World::on_disk(pipeline, files, seed),
        false => World::new(pipeline, files, seed),
    };
    let mut deployment = Deployment::over_streams(world, streams);
    // Short, because a request into a half-open connection takes as long as an invocation may.
    let deploy = |binary, seconds| deployment.world.deploy(binary, Duration::from_secs(seconds));
    let (ingest, advance) = (deploy("tidemill-kinesis", 6), deploy("tidemill-advance", 12));
    (deployment.ingest, deployment.advance) = (ingest, advance);
    deployment
}

/// How long there was trouble, and what became of requests meanwhile.
struct Disturbed {
    lasting: Duration,
    fates: BTreeMap<Fate, u64>,
}

/// Puts more and more, and makes trouble, for as long as chaos lasts and until each trouble was seen
/// often enough. Then all is quiet.
fn disturb(
    name: &str,
    deployment: &Deployment,
    trouble: Trouble,
    seed: u64,
    mut put_more: impl FnMut(),
) -> Disturbed {
    let (begun, lasting) = (Instant::now(), chaos::lasting());
    let over = Over::default();
    thread::scope(|scope| {
        let _end = over.when_dropped();
        make_trouble(scope, &over, deployment, trouble, Rng::new(seed));
        while begun.elapsed() < lasting || !trouble.was_seen(deployment) {
            assert!(!over.is_over(), "{name}: whoever made trouble failed, see above");
            assert!(
                begun.elapsed() < lasting + PATIENCE,
                "{name}: too little trouble was made: killed {}, {} restarts, {:?}",
                kills(deployment),
                deployment.world.restarts(),
                deployment.world.proxy.counts()
            );
            put_more();
            thread::sleep(CHUNK_EVERY);
        }
    });
    let disturbed = Disturbed { lasting: begun.elapsed(), fates: deployment.world.proxy.counts() };
    deployment.world.proxy.fail(Faults::NONE);
    disturbed
}

/// All of this passes: nothing of it may ask for a person.
#[track_caller]
fn assert_nothing_needs_a_person(name: &str, deployment: &Deployment, schedule: &Schedule) {
    let stuck = schedule.failures().into_iter().find(|failure| failure.contains("Stuck"));
    assert_eq!(stuck, None, "{name}");
    let stuck = deployment.ingest.logs().matching("\"needs_a_person\":true");
    assert_eq!(stuck, Vec::<String>::new(), "{name}");
}

/// Says what was done; `again` batches came again.
fn report(
    name: &str,
    seed: u64,
    deployment: &Deployment,
    disturbed: &Disturbed,
    again: u64,
    records: usize,
) {
    let (starts, invocations) = [&deployment.ingest, &deployment.advance]
        .map(|function| function.counts())
        .into_iter()
        .fold((0, 0), |(starts, all), (started, invoked)| (starts + started, all + invoked));
    let (segments, checkpoints) = stored(deployment);
    println!(
        "\nchaos: {name}, seed {seed}, {} s: killed {}, {} restarts of DynamoDB, requests {:?}\n  \
         {starts} processes started, {invocations} invocations, {} failed; {again} batches came \
         again, in whole or in part\n  {records} records in {segments} segments, {checkpoints} \
         checkpoints",
        disturbed.lasting.as_secs(),
        kills(deployment),
        deployment.world.restarts(),
        disturbed.fates,
        deployment.ingest.failed() + deployment.advance.failed(),
    );
}

fn make_trouble<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    over: &'scope Over,
    deployment: &'scope Deployment,
    trouble: Trouble,
    mut rng: Rng,
) {
    let Deployment { world, ingest, advance, .. } = deployment;
    if let Some(ingest_percent) = trouble.kills {
        again(scope, over, 100..=500, rng.fork(), move |rng| {
            let function = if rng.chance(ingest_percent) { ingest } else { advance };
            function.kill_one(rng);
        });
    }
    if trouble.restarts {
        again(scope, over, 1_000..=6_000, rng.fork(), move |rng| {
            world.restart_dynamodb(Duration::from_millis(rng.below(1_500)));
        });
    }
    if trouble.network {
        again(scope, over, 200..=1_500, rng.fork(), move |rng| {
            world.proxy.fail(*rng.pick(&WEATHERS).unwrap_or(&Faults::NONE));
        });
    }
}

fn kills(deployment: &Deployment) -> Kills {
    [deployment.ingest.kills(), deployment.advance.kills()].into_iter().sum()
}

impl Trouble {
    /// Whether everything that should go wrong has gone wrong often enough.
    fn was_seen(self, deployment: &Deployment) -> bool {
        let kills = kills(deployment);
        let killed = kills.all() >= KILLS_MIN && kills.running >= RUNNING_KILLED_MIN;
        let restarted = deployment.world.restarts() >= RESTARTS_MIN;
        let fates = deployment.world.proxy.counts();
        let cut = CUTS.iter().all(|fate| fates.get(fate).is_some_and(|count| *count >= FATE_MIN));
        (self.kills.is_none() || killed) && (!self.restarts || restarted) && (!self.network || cut)
    }
}

/// Segments and checkpoints in the state table.
fn stored(deployment: &Deployment) -> (usize, usize) {
    let rows = deployment.world.tables.rows(STATE_TABLE);
    let count = |of: &str| {
        rows.iter().filter(|row| row["pk"].as_str().is_some_and(|pk| pk.contains(of))).count()
    };
    (count("/log/"), count("/checkpoint"))
}

/// An event time at which records begin that come as fast as here, and are of the past however long
/// that goes on.
fn beginning() -> i64 {
    let chunks = chaos::lasting().saturating_add(PATIENCE).as_millis() / CHUNK_EVERY.as_millis();
    wall_ms() - i64::try_from(chunks).unwrap() * CHUNK_MS
}

/// Records that come as long as a test wants them.
struct Load {
    events: Vec<AdEvent>,
    /// Event time of the next ones, milliseconds since 1970.
    next: i64,
    rng: Rng,
}

impl Load {
    fn new(seed: u64) -> Load {
        Load { events: Vec::new(), next: beginning(), rng: Rng::new(seed) }
    }

    fn put_more(&mut self, deployment: &Deployment) {
        for shard in 0..SHARDS {
            let events = ads::events(CHUNK, self.next, CHUNK_MS, self.rng.bits());
            deployment.put(shard, &events);
            self.events.extend(events);
        }
        self.next += CHUNK_MS;
    }

    fn windows(&self) -> usize {
        let starts = self.events.iter().map(|event| event.time.div_euclid(WINDOW_MS));
        starts.collect::<BTreeSet<i64>>().len()
    }
}
