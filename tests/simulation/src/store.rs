//! What lies between a process and the store: pauses at which others run, faults, and a record of
//! everything that was ever created.
//!
//! ```text
//! process ─ Paced ─ FaultyStore ─ Recorder ─ MemoryStore
//! ```

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use tidemill_model::WallMs;
use tidemill_model::store::{Item, Limits, Put, Row, Store, StoreError};
use tidemill_testkit::{Call, Fault, FaultPlan, FaultyStore, MemoryStore, RandomFaults, Rng, Verb};

use crate::clock::VirtualClock;
use crate::mutant::Mutant;
use crate::sink::Outbox;
use crate::trace::Trace;

/// Lets others run.
pub(crate) async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// An item that was created.
#[derive(Debug, Clone)]
pub(crate) struct Created {
    pub(crate) pk: String,
    pub(crate) sk: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: WallMs,
    /// Lines that sinks had taken by then.
    pub(crate) delivered: usize,
}

/// The store itself, and everything that was created in it.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) memory: MemoryStore,
    state: Arc<Mutex<State>>,
    clock: VirtualClock,
    trace: Trace,
    outbox: Outbox,
    mutant: Option<Mutant>,
}

struct State {
    created: Vec<Created>,
    races: u64,
    rng: Rng,
}

impl Recorder {
    pub(crate) fn new(
        clock: VirtualClock,
        trace: Trace,
        outbox: Outbox,
        mutant: Option<Mutant>,
        rng: Rng,
    ) -> Recorder {
        let state = State { created: Vec::new(), races: 0, rng };
        let (memory, state) = (MemoryStore::new(), Arc::new(Mutex::new(state)));
        Recorder { memory, state, clock, trace, outbox, mutant }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn created(&self) -> Vec<Created> {
        self.state().created.clone()
    }

    pub(crate) fn created_count(&self) -> usize {
        self.state().created.len()
    }

    /// The item that was created last under a partition key, and perhaps a sort key.
    pub(crate) fn newest(&self, pk: &str, sk: Option<&str>) -> Option<Created> {
        let is_it = |item: &&Created| item.pk == pk && sk.is_none_or(|sk| item.sk == sk);
        self.state().created.iter().rev().find(is_it).cloned()
    }

    /// Puts of segments that found their key taken.
    pub(crate) fn races(&self) -> u64 {
        self.state().races
    }
}

/// A short text that tells bytes apart (FNV-1a).
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn short(sk: &str) -> &str {
    // Positions are long; what tells them apart stands at their end.
    sk.get(sk.len().saturating_sub(18)..).unwrap_or(sk)
}

#[async_trait]
impl Store for Recorder {
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
        let is_segment = pk.contains("/log/");
        if self.mutant == Some(Mutant::LostSegment) && is_segment && self.state().rng.chance(5) {
            self.trace.say("mutant", format_args!("loses {pk} {}", short(sk)));
            return Ok(Put::Created);
        }
        if self.mutant == Some(Mutant::Unconditional) {
            self.memory.delete(pk, sk);
        }
        let (bytes, expires_at) = (item.bytes.clone(), item.expires_at);
        let put = self.memory.put_new(pk, sk, item).await?;
        if put == Put::Created {
            let (length, digest) = (bytes.len(), digest(&bytes));
            let expires_at = expires_at.map_or(0, |at| at.0);
            self.trace.say(
                "store",
                format_args!("{pk} {} {length} bytes {digest} until {expires_at}", short(sk)),
            );
            let (pk, sk) = (pk.to_string(), sk.to_string());
            let (at, delivered) = (self.clock.now(), self.outbox.delivered());
            self.state().created.push(Created { pk, sk, bytes, at, delivered });
        } else {
            self.trace.say("store", format_args!("{pk} {} exists", short(sk)));
            self.state().races += u64::from(is_segment);
        }
        Ok(put)
    }

    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError> {
        self.memory.range(pk, from_sk, limits).await
    }

    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
        self.memory.last(pk).await
    }

    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
        self.memory.expire(pk, sk, at).await
    }
}

/// A process's way to the store, with a pause before and after each call.
pub(crate) struct Paced(pub(crate) Arc<FaultyStore<Recorder>>);

#[async_trait]
impl Store for Paced {
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
        pause().await;
        let put = self.0.put_new(pk, sk, item).await;
        pause().await;
        put
    }

    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError> {
        pause().await;
        self.0.range(pk, from_sk, limits).await
    }

    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
        pause().await;
        self.0.last(pk).await
    }

    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
        pause().await;
        self.0.expire(pk, sk, at).await
    }
}

/// Faults of one process, each told to the trace.
pub(crate) struct TracedFaults {
    pub(crate) who: String,
    pub(crate) faults: RandomFaults,
    pub(crate) trace: Trace,
}

impl FaultPlan for TracedFaults {
    fn decide(&mut self, call: &Call) -> Fault {
        let fault = self.faults.decide(call);
        if fault != Fault::None {
            let Call { number, verb, pk, sk } = call;
            let what = format_args!("call {number} {verb:?} {pk} {}: {fault:?}", short(sk));
            self.trace.say(&self.who, what);
        }
        fault
    }
}

/// Whether a call writes.
pub(crate) fn writes(call: &Call) -> bool {
    matches!(call.verb, Verb::PutNew | Verb::Expire)
}
