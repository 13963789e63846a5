//! The world: it lets records arrive, time pass and processes run, crash and stall, one small step
//! after another, and in the end heals everything and lets the pipeline finish.
//!
//! # What the world promises the pipeline
//! The protocol's own assumptions, and nothing more:
//! 1. A delivery ends, or is killed, in less than half the time that segments live
//!    ([`DELIVERY_MAX_MS`](crate::scenario::DELIVERY_MAX_MS)): a put that stalls creates a segment
//!    whose time runs from before the stall.
//! 2. Some advance catches up every few hours: no long wait begins before one has merged everything
//!    and no snapshot is due. An outage of all advances is shorter than what is left of the time
//!    that the segments they need live.
//! 3. Clocks differ by a bounded skew.
//! 4. Items go after their time to live and never before, in no order.

mod drain;
mod run;
mod time;

use std::sync::Arc;

use tidemill_codec::decode_checkpoint;
use tidemill_flow::advance::Ticked;
use tidemill_flow::keys::Keys;
use tidemill_model::{Checkpoint, Epoch, WallMs};
use tidemill_testkit::{Fault, FaultyStore, RandomFaults, Rng};

use crate::clock::VirtualClock;
use crate::history::{Ack, History, Stats, Violation};
use crate::pipelines::Planned;
use crate::process::{Delivered, Ingest, Process, Ticker, Untickable};
use crate::scenario::{DELIVERY_MAX_MS, Scenario};
use crate::sink::Outbox;
use crate::source::Sources;
use crate::store::{Created, Recorder, TracedFaults};
use crate::trace::Trace;

/// When every world begins: 2026-01-01.
const BEGIN: WallMs = WallMs(1_767_225_600_000);
const HOUR_MS: i64 = 3_600_000;

type IngestProcess = Process<Ingest, Delivered>;
type AdvanceProcess = Process<Ticker, Result<Ticked, Untickable>>;

/// One world.
pub(crate) struct World {
    scenario: Scenario,
    planned: Arc<Planned>,
    clock: VirtualClock,
    trace: Trace,
    rng: Rng,
    sources: Sources,
    outbox: Outbox,
    recorder: Recorder,
    ingests: Vec<IngestProcess>,
    /// The shard that each of them serves.
    serves: Vec<usize>,
    advances: Vec<AdvanceProcess>,
    acks: Vec<Ack>,
    nonces: u64,
    /// When the newest tick began that left nothing to do, not even a snapshot.
    caught_up: WallMs,
    /// Until when no advance runs.
    outage_until: WallMs,
    /// Whether the last tick found that there is nothing more to do.
    finished: bool,
    stats: Stats,
}

impl World {
    pub(crate) fn new(mut scenario: Scenario) -> World {
        let planned = Arc::clone(&scenario.planned);
        let mut rng = scenario.rng.fork();
        let clock = VirtualClock::new(BEGIN);
        let trace = Trace::new(clock.clone());
        let streams: Vec<&str> = planned.pipeline.streams.keys().map(String::as_str).collect();
        let sources = Sources::new(&scenario, &streams, &mut rng);
        let (failures, mutant) = (scenario.sink_failures, scenario.mutant);
        let outbox = Outbox::new(trace.clone(), failures, mutant, rng.fork());
        let recorder =
            Recorder::new(clock.clone(), trace.clone(), outbox.clone(), mutant, rng.fork());
        let mut world = World {
            planned,
            trace,
            sources,
            outbox,
            recorder,
            ingests: Vec::new(),
            serves: Vec::new(),
            advances: Vec::new(),
            acks: Vec::new(),
            nonces: 0,
            caught_up: clock.now(),
            outage_until: clock.now(),
            finished: false,
            stats: Stats { seeds: 1, ..Stats::default() },
            clock,
            rng,
            scenario,
        };
        (0..world.sources.count()).for_each(|shard| world.serve(shard));
        for number in 0..world.scenario.advances {
            let process = world.process(format!("advance {number}"));
            world.advances.push(process);
        }
        world.tell_scenario();
        world
    }

    /// Starts the processes of a shard.
    fn serve(&mut self, shard: usize) {
        for _ in 0..self.scenario.ingests_per_shard {
            let process = self.process(format!("ingest {}", self.ingests.len()));
            self.ingests.push(process);
            self.serves.push(shard);
        }
    }

    fn tell_scenario(&self) {
        let it = &self.scenario;
        let say = |what: std::fmt::Arguments| self.trace.say("world", what);
        say(format_args!("seed {}: {} shards per stream", it.seed, it.shards));
        for (name, sql) in self.planned.queries() {
            say(format_args!("{name}: {}", sql.trim()));
        }
        say(format_args!(
            "events are up to {} ms out of order, in order={}, {} ms behind; logs are idle after {} \
             ms; clocks are off by up to {} ms",
            it.out_of_orderness_ms, it.orderly, it.shift_ms, it.idle_after_ms, it.skew_max_ms
        ));
        say(format_args!(
            "bytes: segment {}, tick {}, snapshot {}; results of a tick {}; sinks are files={}",
            it.segment_bytes_max,
            it.tick_bytes_max,
            it.snapshot_after_bytes,
            it.results_max,
            it.files
        ));
        say(format_args!(
            "percent of calls: lost={} vanished={} refused={} crashes={} stalls={}; of lines: sink \
             failures={}; of 1000 steps: long waits={} reshards={}",
            it.lost,
            it.vanished,
            it.refused,
            it.crashes,
            it.stalls,
            it.sink_failures,
            it.long_waits,
            it.reshards
        ));
    }

    fn process<W, R>(&mut self, name: String) -> Process<W, R> {
        let Scenario { lost, vanished, refused, crashes, stalls, skew_max_ms, .. } = self.scenario;
        let rng = self.rng.fork();
        let faults = RandomFaults { rng, lost, vanished, refused, stalls, crashes };
        let plan = TracedFaults { who: name.clone(), faults, trace: self.trace.clone() };
        let store = Arc::new(FaultyStore::new(self.recorder.clone(), plan));
        let skew_ms = self.rng.between(-skew_max_ms, skew_max_ms);
        self.stats.skewed += u64::from(skew_ms != 0);
        Process::new(name, skew_ms, store)
    }

    /// Plays the whole history.
    pub(crate) fn play(&mut self) -> Result<(), Violation> {
        for _ in 0..self.scenario.steps {
            self.step()?;
        }
        self.drain()
    }

    pub(crate) fn into_history(self) -> History {
        let stores = self.ingests.iter().map(|process| &process.store);
        let stores = stores.chain(self.advances.iter().map(|process| &process.store));
        let (mut refused, mut unknown) = (0, 0);
        for (_, fault) in stores.flat_map(|store| store.history()) {
            refused += u64::from(fault == Fault::Refused);
            unknown += u64::from(matches!(fault, Fault::Lost | Fault::Vanished));
        }
        let (races, half_emitted) = (self.recorder.races(), self.outbox.half());
        let hours = (self.clock.now().since(BEGIN) / HOUR_MS) as u64;
        let random = u64::from(!self.planned.random.is_empty());
        let stats = Stats { races, half_emitted, refused, unknown, hours, random, ..self.stats };
        let mut history = History {
            planned: self.planned,
            orderly: self.scenario.orderly,
            files: self.scenario.files,
            shards: self.sources.shards(),
            created: self.recorder.created(),
            acks: self.acks,
            outbox: self.outbox,
            trace: self.trace,
            stats,
        };
        history.count();
        history
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.clock.pass(self.rng.between(0, 40));
        self.resume_some();
        match self.rng.below(1000) {
            0..60 => self.produce(),
            60..90 => self.clock.pass(self.rng.between(1, 20_000)),
            draw if draw < 90 + self.scenario.long_waits => {
                self.wait_long();
                self.expire()?;
            }
            190..210 => self.expire()?,
            draw @ 180..190 if draw < 180 + self.scenario.reshards => self.reshard(),
            210..216 if self.scenario.crashes > 0 => self.kill_any(),
            216..220 if self.scenario.long_waits > 50 => self.begin_outage(),
            220..550 => {
                let index = self.rng.index(self.ingests.len());
                for _ in 0..self.rng.between(1, 4) {
                    self.run_ingest(index)?;
                }
            }
            550.. if self.clock.now() >= self.outage_until => {
                let index = self.rng.index(self.advances.len());
                for _ in 0..self.rng.between(1, 4) {
                    self.run_advance(index)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn produce(&mut self) {
        let open = self.sources.open();
        let shard = open[self.rng.index(open.len())];
        for _ in 0..self.rng.between(1, 8) {
            self.clock.pass(self.rng.between(0, 1500));
            let now = self.clock.now();
            let line = self.sources.produce(shard, now, &self.scenario, &mut self.rng);
            self.trace.say("source", line);
            self.stats.records += 1;
        }
    }

    /// Shards end, and others continue them.
    fn reshard(&mut self) {
        if let Some(resharded) = self.sources.reshard(self.clock.now(), &mut self.rng) {
            self.trace.say("source", resharded.line);
            self.stats.merges += u64::from(resharded.is_merge);
            self.stats.splits += u64::from(!resharded.is_merge);
            resharded.children.into_iter().for_each(|child| self.serve(child));
        }
    }

    /// The checkpoint of an epoch; without one, the newest.
    fn checkpoint(&self, epoch: Option<Epoch>) -> Result<Option<Checkpoint>, Violation> {
        let pk = Keys::new(&self.planned.pipeline.name).checkpoint();
        let sk = epoch.map(Keys::epoch);
        let item = self.recorder.newest(&pk, sk.as_deref());
        let decode = |item: Created| decode_checkpoint(&item.bytes);
        item.map(decode).transpose().map_err(|error| Violation::Broken(error.to_string()))
    }

    fn newest(&self) -> Result<Option<Checkpoint>, Violation> {
        self.checkpoint(None)
    }

    /// Kills a process, wherever it waits, or what an idle one keeps in memory.
    fn kill_any(&mut self) {
        let index = self.rng.index(self.ingests.len() + self.advances.len());
        let (name, was_idle) = match self.ingests.get_mut(index) {
            Some(process) => process.kill(),
            None => self.advances[index - self.ingests.len()].kill(),
        };
        self.trace.say(&name, "is killed");
        self.stats.killed += u64::from(!was_idle);
    }

    /// Resumes the calls whose stalls are over.
    fn resume_some(&mut self) {
        let now = self.clock.now();
        for process in &mut self.ingests {
            if !process.is_idle() && now.since(process.began) >= DELIVERY_MAX_MS {
                self.trace.say(&process.name, "is killed: it took too long");
                self.stats.killed += 1;
                process.crash();
            }
            if process.stalled_until.is_some_and(|until| until <= now) {
                self.trace.say(&process.name, "goes on");
                process.resume();
            }
        }
        for process in &mut self.advances {
            if process.stalled_until.is_some_and(|until| until <= now) {
                self.trace.say(&process.name, "goes on");
                process.resume();
            }
        }
    }
}
