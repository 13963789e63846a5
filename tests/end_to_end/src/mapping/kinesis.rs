//! The mapping of a Kinesis stream: a thread that knows the shards, and one for each that is read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidemill_testkit::Rng;

use super::delivery::{self, Delivery, Policy, Verdict};
use super::event;
use crate::function::Invoke;
use crate::kinesis::{ReadFrom, Record, Shard, Stream};

/// Pause after a reading that found nothing; AWS polls once a second.
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause before a batch is invoked again; AWS backs off too.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Where a mapping begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// With the oldest record.
    TrimHorizon,
    /// With what comes after it was created.
    Latest,
}

/// What a mapping is.
#[derive(Debug, Clone, Copy)]
pub struct KinesisSettings {
    /// Where it begins.
    pub starting: StartingPosition,
    /// `BatchSize`: records of one batch at most, to 10,000.
    pub batch_size: usize,
    /// What it does about failures.
    pub policy: Policy,
    /// Of 100 batches, after how many the poller is replaced and goes on from what was kept.
    pub replaced_percent: u64,
    /// Decides cuts, and when pollers are replaced.
    pub seed: u64,
}

impl KinesisSettings {
    /// As Tidemill's template has it: bisecting, partial answers, retries for ever.
    pub fn new(seed: u64) -> KinesisSettings {
        KinesisSettings {
            starting: StartingPosition::TrimHorizon,
            batch_size: 100,
            policy: Policy { bisect: true, report_failures: true, retries_max: None },
            replaced_percent: 10,
            seed,
        }
    }
}

/// A mapping that runs until it is dropped.
pub struct KinesisMapping {
    shared: Arc<Shared>,
    supervisor: Option<JoinHandle<()>>,
}

struct Shared {
    stream: Stream,
    function: Arc<dyn Invoke>,
    settings: KinesisSettings,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    disabled: bool,
    blocked: Vec<String>,
    /// How often the shards were listed.
    listings: u64,
    shards: BTreeMap<String, ShardState>,
    discarded: Vec<Record>,
    deliveries: u64,
    failures: u64,
    last_failure: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct ShardState {
    /// How often the shard was found to have nothing more, with nothing left to invoke.
    drained: u64,
    /// The shard is closed and everything in it was delivered.
    finished: bool,
}

impl KinesisMapping {
    /// Creates a mapping of `stream` to `function`.
    pub fn create(
        stream: Stream,
        function: Arc<dyn Invoke>,
        settings: KinesisSettings,
    ) -> KinesisMapping {
        let shared = Arc::new(Shared {
            stream,
            function,
            settings,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let supervisor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.supervise())
        };
        KinesisMapping { shared, supervisor: Some(supervisor) }
    }

    /// Makes every invocation of one shard fail, as when its batches make the function fail.
    pub fn block(&self, shard: &str) {
        self.shared.lock().blocked.push(shard.to_string());
    }

    /// Lets the invocations of a shard through again.
    pub fn unblock(&self, shard: &str) {
        self.shared.lock().blocked.retain(|blocked| blocked != shard);
    }

    /// Invokes nothing any more, once what runs has ended.
    pub fn disable(&self) {
        self.shared.lock().disabled = true;
    }

    /// Goes on.
    pub fn enable(&self) {
        self.shared.lock().disabled = false;
        self.shared.changed.notify_all();
    }

    /// Waits until everything that is in the stream now was delivered, except in blocked shards.
    #[track_caller]
    pub fn drain(&self, within: Duration) {
        let until = Instant::now() + within;
        let mut state = self.shared.lock();
        let (listings, before) = (state.listings, state.shards.clone());
        loop {
            // A reading that began before this call may have missed the newest records; the one
            // after it has not.
            let drained = |(id, shard): (&String, &ShardState)| {
                let seen = before.get(id).map_or(0, |shard| shard.drained);
                shard.finished || shard.drained >= seen + 2 || state.blocked.contains(id)
            };
            if state.listings >= listings + 2 && state.shards.iter().all(drained) {
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (shards, failure) = (state.shards.clone(), state.last_failure.clone());
                drop(state);
                panic!("the stream was not drained in time: {shards:?}, last failure: {failure:?}");
            }
            state = self.shared.changed.wait_timeout(state, left).expect("no panic while held").0;
        }
    }

    /// What the on-failure destination was told of.
    pub fn discarded(&self) -> Vec<Record> {
        self.shared.lock().discarded.clone()
    }

    /// Invocations, and how many of them failed or did their batch only in part.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.deliveries, state.failures)
    }

    /// The last failure, as text.
    pub fn last_failure(&self) -> Option<String> {
        self.shared.lock().last_failure.clone()
    }

    /// Waits until there were so many invocations since the mapping was created.
    #[track_caller]
    pub fn wait_for_invocations(&self, count: u64, within: Duration) {
        let until = Instant::now() + within;
        let mut state = self.shared.lock();
        while state.deliveries < count {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (deliveries, failure) = (state.deliveries, state.last_failure.clone());
                drop(state);
                panic!("{deliveries} invocations, not {count}, last failure: {failure:?}");
            }
            state = self.shared.changed.wait_timeout(state, left).expect("no panic while held").0;
        }
    }

    /// Waits until an invocation has failed since the mapping was created, and answers why.
    #[track_caller]
    pub fn wait_for_failure(&self, within: Duration) -> String {
        let until = Instant::now() + within;
        let mut state = self.shared.lock();
        loop {
            if let Some(failure) = &state.last_failure {
                return failure.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                panic!("no invocation failed");
            }
            state = self.shared.changed.wait_timeout(state, left).expect("no panic while held").0;
        }
    }
}

impl Drop for KinesisMapping {
    fn drop(&mut self) {
        // A poisoned lock must not turn one panic into an abort.
        if let Ok(mut state) = self.shared.state.lock() {
            state.stopped = true;
        }
        self.shared.changed.notify_all();
        if let Some(supervisor) = self.supervisor.take() {
            let ended = supervisor.join();
            if ended.is_err() && !std::thread::panicking() {
                panic!("the mapping's thread panicked: see above");
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    /// Sleeps, but not once the mapping is stopped. Answers whether it goes on.
    fn pause(&self, pause: Duration) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, pause, |state| !state.stopped);
        !waited.expect("no panic while held").0.stopped
    }

    /// Starts a thread for every shard whose parents are done.
    fn supervise(self: &Arc<Shared>) {
        let mut readers: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
        let mut is_first = true;
        let mut rng = Rng::new(self.settings.seed);
        while self.pause(POLL_PAUSE) {
            let Ok(shards) = self.stream.shards() else { continue };
            let known: Vec<&String> = shards.iter().map(|shard| &shard.id).collect();
            for shard in &shards {
                let mut state = self.lock();
                state.shards.entry(shard.id.clone()).or_default();
                let is_done = |parent: &String| {
                    let done = state.shards.get(parent).is_some_and(|parent| parent.finished);
                    done || !known.contains(&parent)
                };
                let is_due = shard.parents.iter().all(is_done);
                drop(state);
                if !is_due || readers.contains_key(&shard.id) {
                    continue;
                }
                // Shards that come later are read from their beginning, whatever the mapping's
                // own position.
                let starting = match self.settings.starting {
                    StartingPosition::Latest if is_first => ReadFrom::Latest,
                    _ => ReadFrom::TrimHorizon,
                };
                let (shared, shard, rng) = (Arc::clone(self), shard.clone(), rng.fork());
                let id = shard.id.clone();
                let reader = std::thread::spawn(move || shared.read(&shard, starting, rng));
                readers.insert(id, reader);
            }
            is_first = false;
            self.lock().listings += 1;
            self.changed.notify_all();
        }
        for (_, reader) in readers {
            if reader.join().is_err() {
                panic!("a shard's thread panicked: see above");
            }
        }
    }

    /// Reads and delivers one shard until its end, or until the mapping is stopped.
    fn read(&self, shard: &Shard, starting: ReadFrom, mut rng: Rng) {
        let settings = self.settings;
        // LATEST is the tip at the moment of creation, not at each reading.
        let tip = match starting {
            ReadFrom::Latest => self.stream.iterator(&shard.id, &ReadFrom::Latest).ok(),
            _ => None,
        };
        // Behind the last record that was read; `None`: ask for one from `reached`.
        let mut iterator = None;
        let mut kept = starting.clone();
        let mut reached = starting;
        let mut queue: VecDeque<Delivery> = VecDeque::new();
        loop {
            if !self.may_go_on() {
                return;
            }
            let Some(batch) = queue.pop_front() else {
                let limit = 1 + rng.index(settings.batch_size);
                let known = iterator.take().or(match reached {
                    ReadFrom::Latest => tip.clone(),
                    _ => None,
                });
                let from = known.map_or_else(|| self.stream.iterator(&shard.id, &reached), Ok);
                let page = from.and_then(|iterator| self.stream.read(&iterator, limit));
                let Ok(mut page) = page else {
                    self.pause(POLL_PAUSE);
                    continue;
                };
                let ended = page.next.is_none();
                iterator = page.next;
                if page.records.is_empty() {
                    let mut state = self.lock();
                    let entry = state.shards.entry(shard.id.clone()).or_default();
                    if page.behind_ms == 0 || ended {
                        entry.drained += 1;
                        entry.finished = ended;
                    }
                    drop(state);
                    self.changed.notify_all();
                    if ended {
                        return;
                    }
                    self.pause(POLL_PAUSE);
                    continue;
                }
                let count = delivery::cut(&page.records, limit);
                if count < page.records.len() {
                    page.records.truncate(count);
                    // It stands behind records that the next batch has to begin with.
                    iterator = None;
                }
                queue.push_back(Delivery { records: page.records, retries: 0 });
                continue;
            };

            let verdict = self.invoke(shard, &batch);
            let retries = batch.retries;
            let next = delivery::after(settings.policy, batch, &verdict);
            if let Some(through) = next.through {
                reached = ReadFrom::After(through);
            }
            for again in next.again.into_iter().rev() {
                queue.push_front(again);
            }
            if !next.discarded.is_empty() {
                self.lock().discarded.extend(next.discarded);
            }
            if verdict == Verdict::Failed {
                self.pause(RETRY_PAUSE_MAX.min(Duration::from_millis(5) * (retries + 1)));
            }
            if rng.chance(30) {
                kept = reached.clone();
            }
            if rng.chance(settings.replaced_percent) {
                queue.clear();
                reached = kept.clone();
                iterator = None;
            }
        }
    }

    /// Waits while the mapping is disabled; false once it is stopped.
    fn may_go_on(&self) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_while(state, |state| state.disabled && !state.stopped);
        !waited.expect("no panic while held").stopped
    }

    fn invoke(&self, shard: &Shard, batch: &Delivery) -> Verdict {
        if self.lock().blocked.contains(&shard.id) {
            return Verdict::Failed;
        }
        let event = event::kinesis(&self.stream.arn(), &shard.id, &batch.records);
        let answer = self.function.invoke(&event);
        let verdict = delivery::verdict(self.settings.policy, batch, answer.as_ref().ok());
        let mut state = self.lock();
        state.deliveries += 1;
        if verdict != Verdict::Done {
            state.failures += 1;
            state.last_failure = Some(match &answer {
                Ok(answer) => format!("{answer}"),
                Err(failure) => failure.to_string(),
            });
        }
        drop(state);
        self.changed.notify_all();
        verdict
    }
}
