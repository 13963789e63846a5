//! The mapping of a Kafka topic: one poller for all partitions.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidemill_testkit::Rng;

use super::delivery::EVENT_BYTES_MAX;
use super::event::{self, TopicRecord};
use crate::function::Invoke;

/// How long one reading waits for records.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// Pause before a failed batch is invoked again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Bytes of a record's event besides its value, about.
const RECORD_FRAME_BYTES: usize = 300;

/// What a mapping of a topic is.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// The brokers.
    pub bootstrap_servers: String,
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Records of one batch at most.
    pub batch_size: usize,
    /// Of 100 batches, after how many the poller is replaced and goes on from what was kept.
    pub replaced_percent: u64,
    /// Decides cuts, and when the poller is replaced.
    pub seed: u64,
}

/// A mapping from TRIM_HORIZON that runs until it is dropped. A failed batch is invoked again,
/// whole and for ever.
pub struct KafkaMapping {
    shared: Arc<Shared>,
    poller: Option<JoinHandle<()>>,
}

struct Shared {
    function: Arc<dyn Invoke>,
    settings: KafkaSettings,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// The next offset of each partition, as far as its records were delivered.
    next: BTreeMap<i32, i64>,
    deliveries: u64,
    failures: u64,
    last_failure: Option<String>,
    /// Batches that held records of more than one partition.
    mixed: u64,
}

impl KafkaMapping {
    /// Creates a mapping to `function`.
    pub fn create(settings: KafkaSettings, function: Arc<dyn Invoke>) -> KafkaMapping {
        let shared = Arc::new(Shared {
            function,
            settings,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let poller = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.poll())
        };
        KafkaMapping { shared, poller: Some(poller) }
    }

    /// Waits until each partition's records below these offsets were delivered.
    #[track_caller]
    pub fn wait_through(&self, ends: &BTreeMap<i32, i64>, within: Duration) {
        let until = Instant::now() + within;
        let mut state = self.shared.lock();
        while !ends.iter().all(|(partition, end)| state.next.get(partition) >= Some(end)) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (next, failure) = (state.next.clone(), state.last_failure.clone());
                drop(state);
                panic!("the topic was not drained in time: {next:?} of {ends:?}, {failure:?}");
            }
            state = self.shared.changed.wait_timeout(state, left).expect("no panic while held").0;
        }
    }

    /// Invocations, those that failed, and those with records of several partitions.
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.shared.lock();
        (state.deliveries, state.failures, state.mixed)
    }
}

impl Drop for KafkaMapping {
    fn drop(&mut self) {
        // A poisoned lock must not turn one panic into an abort.
        if let Ok(mut state) = self.shared.state.lock() {
            state.stopped = true;
        }
        self.shared.changed.notify_all();
        if let Some(poller) = self.poller.take() {
            let ended = poller.join();
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

    fn poll(&self) {
        let settings = &self.settings;
        let mut rng = Rng::new(settings.seed);
        let mut kept: BTreeMap<i32, i64> = (0..settings.partitions).map(|it| (it, 0)).collect();
        let mut reached = kept.clone();
        let mut consumer = self.consumer(&reached);
        while !self.lock().stopped {
            let batch = gather(&consumer, 1 + rng.index(settings.batch_size));
            if batch.is_empty() {
                continue;
            }
            if !self.deliver(&batch) {
                return;
            }
            for record in &batch {
                reached.insert(record.partition, record.offset + 1);
            }
            let mut state = self.lock();
            for (partition, offset) in &reached {
                let next = state.next.entry(*partition).or_default();
                *next = (*next).max(*offset);
            }
            drop(state);
            self.changed.notify_all();
            if rng.chance(30) {
                kept = reached.clone();
            }
            if rng.chance(settings.replaced_percent) {
                reached = kept.clone();
                consumer = self.consumer(&reached);
            }
        }
    }

    /// Invokes until it succeeds; false when the mapping is stopped before.
    fn deliver(&self, batch: &[TopicRecord]) -> bool {
        let arn = "arn:aws:kafka:us-east-1:000000000000:cluster/test/00000000-0000-4000-8000-1";
        let event = event::msk(arn, &self.settings.bootstrap_servers, batch);
        let is_mixed = batch.iter().any(|record| record.partition != batch[0].partition);
        loop {
            let answer = self.function.invoke(&event);
            let mut state = self.lock();
            state.deliveries += 1;
            state.mixed += u64::from(is_mixed);
            match answer {
                Ok(_) => return true,
                Err(failure) => {
                    state.failures += 1;
                    state.last_failure = Some(failure.to_string());
                }
            }
            let waited =
                self.changed.wait_timeout_while(state, RETRY_PAUSE, |state| !state.stopped);
            if waited.expect("no panic while held").0.stopped {
                return false;
            }
        }
    }

    fn consumer(&self, from: &BTreeMap<i32, i64>) -> BaseConsumer {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.settings.bootstrap_servers)
            .set("group.id", "mapping")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .create()
            .expect("a consumer of the mock cluster");
        let mut partitions = TopicPartitionList::new();
        for (partition, offset) in from {
            let added = partitions.add_partition_offset(
                &self.settings.topic,
                *partition,
                Offset::Offset(*offset),
            );
            added.expect("an offset");
        }
        consumer.assign(&partitions).expect("the partitions can be assigned");
        consumer
    }
}

/// Up to `count` records of all partitions, as they come; fewer when no more come soon.
fn gather(consumer: &BaseConsumer, count: usize) -> Vec<TopicRecord> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < count && bytes < EVENT_BYTES_MAX / 2 {
        let Some(Ok(message)) = consumer.poll(POLL_TIMEOUT) else { break };
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            let named = headers
                .iter()
                .map(|header| (header.key.to_string(), header.value.unwrap_or_default().to_vec()));
            named.collect()
        });
        let value = message.payload().map(|value| BASE64.encode(value));
        bytes += RECORD_FRAME_BYTES + value.as_ref().map_or(0, String::len);
        batch.push(TopicRecord {
            topic: message.topic().to_string(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key().map(|key| BASE64.encode(key)),
            value,
            headers,
        });
    }
    batch
}
