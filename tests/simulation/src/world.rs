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

use std::sync::Arc;

use tidemill_codec::decode_checkpoint;
use tidemill_flow::advance::{AdvanceError, Ticked};
use tidemill_flow::keys::Keys;
use tidemill_model::{Checkpoint, Epoch, Position, WallMs};
use tidemill_testkit::{FaultyStore, RandomFaults, Rng};

use crate::clock::VirtualClock;
use crate::history::{Ack, History, Stats, Violation, violated};
use crate::mutant::Mutant;
use crate::pipelines::{self, Planned, TTL_MS};
use crate::process::{self, Delivered, Ingest, Polled, Process, Ticker};
use crate::scenario::{DELIVERY_MAX_MS, Scenario};
use crate::sink::Outbox;
use crate::source::Sources;
use crate::store::{Created, Paced, Recorder, TracedFaults, writes};
use crate::trace::Trace;

/// When every world begins: 2026-01-01.
const BEGIN: WallMs = WallMs(1_767_225_600_000);
const HOUR_MS: i64 = 3_600_000;
/// A long wait begins only if an advance caught up this recently, milliseconds.
const CAUGHT_UP_MS: i64 = 4 * HOUR_MS;
/// An outage begins only if an advance caught up this recently, milliseconds.
const CAUGHT_UP_BEFORE_OUTAGE_MS: i64 = 600_000;
/// How long no advance runs in an outage, milliseconds: longer than the age at which ingest refuses.
const OUTAGE_MS: i64 = 14 * HOUR_MS;

type IngestProcess = Process<Ingest, Delivered>;
type AdvanceProcess = Process<Ticker, Option<Result<Ticked, AdvanceError>>>;

/// How far advance is with one log.
struct LogStands {
    /// Partition key of its segments.
    pk: String,
    merged: Position,
    /// A cold start reads segments from here on.
    needed: Position,
}

/// One world.
pub(crate) struct World {
    scenario: Scenario,
    planned: &'static Planned,
    clock: VirtualClock,
    trace: Trace,
    rng: Rng,
    sources: Sources,
    outbox: Outbox,
    recorder: Recorder,
    /// Process i serves shard i modulo the number of shards.
    ingests: Vec<IngestProcess>,
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
    pub(crate) fn new(mut scenario: Scenario) -> Result<World, Violation> {
        let all = pipelines::all()?;
        let planned = &all[scenario.pipeline % all.len()];
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
        for number in 0..world.sources.count() * world.scenario.ingests_per_shard {
            let process = world.process(format!("ingest {number}"));
            world.ingests.push(process);
        }
        for number in 0..world.scenario.advances {
            let process = world.process(format!("advance {number}"));
            world.advances.push(process);
        }
        world.tell_scenario();
        Ok(world)
    }

    fn tell_scenario(&self) {
        let Scenario { seed, shards, orderly, files, shift_ms, .. } = &self.scenario;
        let queries: Vec<&str> = self.planned.queries.iter().map(|query| query.name).collect();
        self.trace.say(
            "world",
            format_args!(
                "seed={seed} queries={queries:?} shards={shards} orderly={orderly} files={files} \
                 shift_ms={shift_ms} out_of_orderness_ms={} idle_after_ms={}",
                self.scenario.out_of_orderness_ms, self.scenario.idle_after_ms
            ),
        );
    }

    fn process<W, R>(&mut self, name: String) -> Process<W, R> {
        let Scenario { lost, vanished, refused, crashes, stalls, skew_max_ms, .. } = self.scenario;
        let rng = self.rng.fork();
        let faults = RandomFaults { rng, lost, vanished, refused, stalls, crashes };
        let plan = TracedFaults { who: name.clone(), faults, trace: self.trace.clone() };
        let store = Arc::new(FaultyStore::new(self.recorder.clone(), plan));
        Process::new(name, self.rng.between(-skew_max_ms, skew_max_ms), store)
    }

    /// Plays the whole history.
    pub(crate) fn play(&mut self) -> Result<(), Violation> {
        for _ in 0..self.scenario.steps {
            self.step()?;
        }
        self.drain()
    }

    pub(crate) fn into_history(self) -> History {
        let faults = |store: &FaultyStore<Recorder>| {
            let history = store.history();
            history.iter().filter(|(_, fault)| *fault != tidemill_testkit::Fault::None).count()
        };
        let stores = self.ingests.iter().map(|process| &process.store);
        let stores = stores.chain(self.advances.iter().map(|process| &process.store));
        let failures = stores.map(|store| faults(store) as u64).sum();
        let stats = Stats { races: self.recorder.races(), failures, ..self.stats };
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
            210..216 if self.scenario.crashes > 0 => self.crash_any(),
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
        let shard = self.rng.index(self.sources.count());
        for _ in 0..self.rng.between(1, 8) {
            self.clock.pass(self.rng.between(0, 1500));
            let now = self.clock.now();
            let line = self.sources.produce(shard, now, &self.scenario, &mut self.rng);
            self.trace.say("source", line);
            self.stats.records += 1;
        }
    }

    /// Minutes or hours pass, no further than the next stalled call's resumption.
    fn wait_long(&mut self) {
        let now = self.clock.now();
        let is_outage = now < self.outage_until;
        if now.since(self.caught_up) > CAUGHT_UP_MS && !is_outage {
            return;
        }
        let ms = match self.rng.chance(30) {
            true => self.rng.between(60_000, HOUR_MS),
            false => self.rng.between(HOUR_MS, 4 * HOUR_MS),
        };
        let stalls = self.ingests.iter().filter_map(|process| process.stalled_until);
        let stalls = stalls.chain(self.advances.iter().filter_map(|it| it.stalled_until));
        let next = stalls.chain(is_outage.then_some(self.outage_until)).min();
        let ms = next.map_or(ms, |next| ms.min(next.since(now).max(0)));
        self.clock.pass(ms);
        self.trace.say("world", format_args!("{} minutes pass", ms / 60_000));
    }

    /// All advances stop for hours.
    fn begin_outage(&mut self) {
        let now = self.clock.now();
        if now.since(self.caught_up) > CAUGHT_UP_BEFORE_OUTAGE_MS {
            return;
        }
        self.trace.say("world", "no advance runs any more");
        self.advances.iter_mut().for_each(Process::crash);
        let is_old = |it: &&mut IngestProcess| !it.is_idle() && now.since(it.began) > HOUR_MS;
        self.ingests.iter_mut().filter(is_old).for_each(Process::crash);
        self.outage_until = now.plus(OUTAGE_MS);
    }

    /// Deletes some of what may be deleted, in no order.
    fn expire(&mut self) -> Result<(), Violation> {
        let now = self.clock.now();
        let mutant = self.scenario.mutant;
        let logs = self.progress()?;
        for (pk, row) in self.recorder.memory.rows() {
            let log = logs.iter().find(|log| log.pk == pk);
            let is_unmerged = log.is_some_and(|log| row.sk >= log.merged.to_key());
            let is_useless = log.is_some_and(|log| row.sk < log.needed.to_key());
            let expired = row.item.expires_at.is_some_and(|at| at <= now);
            let goes = match mutant {
                Some(Mutant::ExpiredUnmerged) => is_unmerged,
                Some(Mutant::ExpiredAtOnce) => is_useless,
                _ => expired && self.rng.chance(50),
            };
            if !goes {
                continue;
            }
            self.trace.say("store", format_args!("{pk} {} expires", row.sk));
            self.recorder.memory.delete(&pk, &row.sk);
            self.stats.expired += 1;
            if is_unmerged && mutant.is_none() {
                violated!("a segment expired that nobody had merged. pk=`{pk}` sk=`{}`", row.sk);
            }
        }
        Ok(())
    }

    /// The checkpoint of an epoch; without one, the newest.
    fn checkpoint(&self, epoch: Option<Epoch>) -> Result<Option<Checkpoint>, Violation> {
        let pk = Keys::new(&self.planned.pipeline.name).checkpoint();
        let sk = epoch.map(Keys::epoch);
        let item = self.recorder.newest(&pk, sk.as_deref());
        let decode = |item: Created| decode_checkpoint(&item.bytes);
        item.map(decode).transpose().map_err(|error| Violation(error.to_string()))
    }

    fn newest(&self) -> Result<Option<Checkpoint>, Violation> {
        self.checkpoint(None)
    }

    /// How far each log is merged, by the chain as it was made.
    fn progress(&self) -> Result<Vec<LogStands>, Violation> {
        let keys = Keys::new(&self.planned.pipeline.name);
        let newest = self.newest()?;
        let snapshot = newest.as_ref().and_then(|newest| newest.snapshot.as_ref());
        let before = match snapshot.and_then(|snapshot| snapshot.epoch.0.checked_sub(1)) {
            Some(epoch) => self.checkpoint(Some(Epoch(epoch)))?,
            None => None,
        };
        let logs = self.sources.logs().into_iter().map(|(log, start)| {
            let at = |checkpoint: &Option<Checkpoint>| {
                let progress = checkpoint.as_ref().and_then(|it| it.logs.get(&log));
                progress.map_or(start, |progress| progress.merged)
            };
            LogStands { pk: keys.log(&log), merged: at(&newest), needed: at(&before) }
        });
        Ok(logs.collect())
    }

    fn crash_any(&mut self) {
        let index = self.rng.index(self.ingests.len() + self.advances.len());
        let name = match self.ingests.get_mut(index) {
            Some(process) => {
                process.crash();
                process.name.clone()
            }
            None => {
                let process = &mut self.advances[index - self.ingests.len()];
                process.crash();
                process.name.clone()
            }
        };
        self.trace.say(&name, "crashes");
        self.stats.crashes += 1;
    }

    /// Resumes the calls whose stalls are over.
    fn resume_some(&mut self) {
        let now = self.clock.now();
        for process in &mut self.ingests {
            if !process.is_idle() && now.since(process.began) >= DELIVERY_MAX_MS {
                self.trace.say(&process.name, "is killed: it took too long");
                self.stats.crashes += 1;
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

    /// Runs an ingest process a little, or gives it something to do.
    fn run_ingest(&mut self, index: usize) -> Result<(), Violation> {
        let shard = index % self.sources.count();
        let process = &mut self.ingests[index];
        if process.is_idle() {
            let count = self.rng.between(1, 20) as usize;
            let Some(delivery) = self.sources.deliver(shard, count, &mut self.rng) else {
                return Ok(());
            };
            let (from, to) = (delivery.from, delivery.to);
            self.trace.say(&process.name, format_args!("gets {} {from}..{to}", delivery.log));
            if self.scenario.mutant == Some(Mutant::EarlyAck) {
                self.commit(shard, to);
            }
            let knows = self.rng.chance(50);
            let seen = self.newest()?.filter(|_| knows).and_then(|newest| newest.watermark);
            let process = &mut self.ingests[index];
            let ingest = match process.warm.take() {
                Some(warm) => warm,
                None => Ingest::new(
                    self.planned,
                    Arc::new(Paced(Arc::clone(&process.store))),
                    self.sources.logs(),
                    self.scenario.segment_bytes_max,
                    &self.clock,
                    process.skew_ms,
                )?,
            };
            process.task = Some(process::deliver(ingest, delivery, seen));
            process.began = self.clock.now();
        }
        let process = &mut self.ingests[index];
        if !process.can_run() {
            return Ok(());
        }
        match process.poll() {
            Polled::Going => {}
            Polled::Crashed => {
                self.trace.say(&process.name, "crashes");
                self.stats.crashes += 1;
            }
            Polled::Stalled(call) => {
                let ms = match self.rng.chance(50) {
                    true => self.rng.between(1000, 20 * 60_000),
                    false => self.rng.between(1000, DELIVERY_MAX_MS),
                };
                process.stalled_until = Some(self.clock.now().plus(ms));
                let what = format_args!("stalls for {} s in call {}", ms / 1000, call.number);
                self.trace.say(&process.name, what);
                self.stats.stalls += 1;
            }
            Polled::Done(delivered) => self.delivered(index, delivered)?,
        }
        Ok(())
    }

    fn delivered(&mut self, index: usize, delivered: Delivered) -> Result<(), Violation> {
        use crate::process::Stopped;
        let name = &self.ingests[index].name;
        let Delivered { shard, done_to, result } = delivered;
        match result {
            Ok(appended) => {
                let (segments, skipped) = (appended.segments, appended.duplicates_skipped);
                let what = format_args!("appended {segments} segments, skipped {skipped} records");
                self.trace.say(name, what);
                self.stats.duplicates += skipped;
            }
            Err(Stopped::Retry(reason)) => self.trace.say(name, reason),
            Err(Stopped::NearExpiry) => {
                self.trace.say(name, "refuses: nobody merges");
                self.stats.near_expiry += 1;
            }
            Err(Stopped::Stuck(reason)) => violated!("{name} is stuck: {reason}"),
        }
        self.commit(shard, done_to);
        Ok(())
    }

    fn commit(&mut self, shard: usize, to: usize) {
        if let Some(through) = self.sources.commit(shard, to) {
            let created = self.recorder.created_count();
            self.acks.push(Ack { shard, through, created });
        }
    }

    /// Runs an advance process a little, or begins a tick.
    fn run_advance(&mut self, index: usize) -> Result<(), Violation> {
        let process = &mut self.advances[index];
        if process.is_idle() {
            let ticker = match process.warm.take() {
                Some(warm) => warm,
                None => Ticker::new(
                    self.planned,
                    &self.scenario,
                    Arc::new(Paced(Arc::clone(&process.store))),
                    &self.sources,
                    &self.outbox,
                    &self.clock,
                    process.skew_ms,
                )?,
            };
            self.nonces += 1;
            process.task = Some(process::tick(ticker, format!("n{}", self.nonces)));
            process.began = self.clock.now();
            self.trace.say(&process.name, format_args!("begins tick {}", self.nonces));
        }
        if !process.can_run() {
            return Ok(());
        }
        match process.poll() {
            Polled::Going => {}
            Polled::Crashed => {
                self.trace.say(&process.name, "crashes");
                self.stats.crashes += 1;
            }
            Polled::Stalled(call) => {
                // Somebody must go on advancing while this one stalls.
                let others = self.advances.iter().enumerate();
                let has_other =
                    others.clone().any(|(other, it)| other != index && it.stalled_until.is_none());
                let longest = if has_other && writes(&call) { 8 * HOUR_MS } else { HOUR_MS / 2 };
                let ms = self.rng.between(1000, longest);
                let process = &mut self.advances[index];
                process.stalled_until = Some(self.clock.now().plus(ms));
                let what = format_args!("stalls for {} s in call {}", ms / 1000, call.number);
                self.trace.say(&process.name, what);
                self.stats.stalls += 1;
            }
            Polled::Done(None) => self.trace.say(&process.name, "could not register the logs"),
            Polled::Done(Some(Ok(ticked))) => self.ticked(index, &ticked)?,
            Polled::Done(Some(Err(error))) if error.is_transient() => {
                self.trace.say(&process.name, error);
            }
            Polled::Done(Some(Err(error))) => violated!("{} stops: {error}", process.name),
        }
        Ok(())
    }

    fn ticked(&mut self, index: usize, ticked: &Ticked) -> Result<(), Violation> {
        let name = &self.advances[index].name;
        let Ticked { epoch, recovered, lost, segments, windows, late, watermark, .. } = ticked;
        let held_by = ticked.held_by.as_ref().map(ToString::to_string);
        self.trace.say(
            name,
            format_args!(
                "ticked: epoch={epoch:?} recovered={recovered:?} lost={lost} segments={segments} \
                 windows={windows} late={late} watermark={watermark:?} held_by={held_by:?}"
            ),
        );
        self.stats.lost_ticks += u64::from(*lost);
        self.stats.recovered += u64::from(recovered.is_some());
        self.stats.snapshots += u64::from(ticked.snapshot);
        self.finished = ticked.finished;
        let began = self.advances[index].began;
        let oldest = self.newest()?.and_then(|newest| newest.oldest_since_snapshot);
        let is_snapshot_due = oldest.is_some_and(|oldest| began.since(oldest) > TTL_MS / 4);
        if !ticked.behind && !is_snapshot_due {
            self.caught_up = self.caught_up.max(began);
        }
        Ok(())
    }
}
