//! A store around a store in which each call may happen, or not, *and* report, or not; may stall;
//! may be the last that its process makes.
//!
//! # How a simulation uses it
//! One [`FaultyStore`] per simulated process, all around handles of one store. A [`FaultPlan`]
//! decides per call. The simulation runs a process's future with [`FaultyStore::step`], on one
//! thread and any executor, and hears why it stopped:
//!
//! - [`Step::Done`]: the future's own result;
//! - [`Step::Crashed`]: drop the future, and the process has crashed at that call;
//! - [`Step::Stalled`]: keep the future, do other things, [`FaultyStore::resume`] the call, and
//!   `step` again: the call is done then, however much later that is.
//!
//! # Invariants
//! 1. The same plan gives the same faults for the same calls: nothing else is drawn.
//! 2. A stalled call has not happened, and happens when it is resumed.
//! 3. A crashed call never answers. It has happened or not, as its fault says.

use std::{
    collections::BTreeMap,
    future::{Future, pending, poll_fn},
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use async_trait::async_trait;
use tidemill_model::{
    WallMs,
    store::{Item, Limits, Put, Row, Store, StoreError},
};

mod plan;

pub use plan::{Fault, FaultPlan, RandomFaults};

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// [`Store::put_new`]
    PutNew,
    /// [`Store::range`]
    Range,
    /// [`Store::last`]
    Last,
    /// [`Store::expire`]
    Expire,
}

/// One call of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// 0, 1, 2, … over all calls of this [`FaultyStore`].
    pub number: u64,
    /// What is asked.
    pub verb: Verb,
    /// The partition key.
    pub pk: String,
    /// The sort key: of a range, where it begins; of `last`, empty.
    pub sk: String,
}

/// Why [`FaultyStore::step`] came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// The future is done.
    Done(T),
    /// The process has crashed at this call: drop its future.
    Crashed(Call),
    /// This call waits for [`FaultyStore::resume`].
    Stalled(Call),
}

/// A store with faults.
pub struct FaultyStore<S> {
    inner: S,
    state: Mutex<State>,
}

struct State {
    plan: Option<Box<dyn FaultPlan>>,
    calls: u64,
    history: Vec<(Call, Fault)>,
    crashed: Option<Call>,
    stalls: BTreeMap<u64, Stall>,
}

struct Stall {
    call: Call,
    told: bool,
    resumed: bool,
    waker: Option<Waker>,
}

impl<S: Store> FaultyStore<S> {
    /// A store around `inner` whose faults `plan` decides.
    pub fn new(inner: S, plan: impl FaultPlan + 'static) -> FaultyStore<S> {
        let state = State {
            plan: Some(Box::new(plan)),
            calls: 0,
            history: Vec::new(),
            crashed: None,
            stalls: BTreeMap::new(),
        };
        FaultyStore { inner, state: Mutex::new(state) }
    }

    /// The store around which this one is, without faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// No faults any more. Calls that stall now still wait for [`FaultyStore::resume`].
    pub fn heal(&self) {
        self.state().plan = None;
    }

    /// Faults by `plan` from now on.
    pub fn set_plan(&self, plan: impl FaultPlan + 'static) {
        self.state().plan = Some(Box::new(plan));
    }

    /// Every call so far with its fault: two runs of one seed have equal ones.
    pub fn history(&self) -> Vec<(Call, Fault)> {
        self.state().history.clone()
    }

    /// The calls that stall now, in call order.
    pub fn stalled(&self) -> Vec<Call> {
        self.state().stalls.values().map(|stall| stall.call.clone()).collect()
    }

    /// Lets a stalled call go on; false when no call of that number stalls.
    pub fn resume(&self, number: u64) -> bool {
        let mut state = self.state();
        let Some(stall) = state.stalls.get_mut(&number) else { return false };
        stall.resumed = true;
        if let Some(waker) = stall.waker.take() {
            drop(state);
            waker.wake();
        }
        true
    }

    /// Runs `process` until it is done, or until one of its calls of this store crashes or stalls.
    pub async fn step<T>(&self, process: &mut (impl Future<Output = T> + Unpin)) -> Step<T> {
        poll_fn(|context| {
            if let Poll::Ready(done) = Pin::new(&mut *process).poll(context) {
                return Poll::Ready(Step::Done(done));
            }
            let mut state = self.state();
            if let Some(call) = state.crashed.take() {
                return Poll::Ready(Step::Crashed(call));
            }
            let untold = state.stalls.values_mut().find(|stall| !stall.told && !stall.resumed);
            untold.map_or(Poll::Pending, |stall| {
                stall.told = true;
                Poll::Ready(Step::Stalled(stall.call.clone()))
            })
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, verb: Verb, pk: &str, sk: &str) -> (Call, Fault) {
        let mut state = self.state();
        let call = Call { number: state.calls, verb, pk: pk.to_string(), sk: sk.to_string() };
        state.calls += 1;
        let fault = state.plan.as_mut().map_or(Fault::None, |plan| plan.decide(&call));
        state.history.push((call.clone(), fault));
        (call, fault)
    }

    /// Does `work` or not, and answers or not, as the call's fault says.
    async fn with_fault<T>(
        &self,
        (call, fault): (Call, Fault),
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match fault {
            Fault::None => work.await,
            Fault::Lost => {
                // What the store answered is what the caller will never hear.
                let _ = work.await;
                Err(no_answer(&call))
            }
            Fault::Vanished => Err(no_answer(&call)),
            Fault::Refused => Err(StoreError::Refused { reason: "throttled".to_string() }),
            Fault::Stall => {
                self.wait_for_resume(call).await;
                work.await
            }
            Fault::CrashBefore => self.crash(call).await,
            Fault::CrashAfter => {
                let _ = work.await;
                self.crash(call).await
            }
        }
    }

    async fn crash<T>(&self, call: Call) -> T {
        self.state().crashed = Some(call);
        pending().await
    }

    async fn wait_for_resume(&self, call: Call) {
        let number = call.number;
        let stall = Stall { call, told: false, resumed: false, waker: None };
        self.state().stalls.insert(number, stall);
        let _forget = Forget { store: self, number };
        poll_fn(|context| {
            let mut state = self.state();
            match state.stalls.get_mut(&number) {
                Some(stall) if !stall.resumed => {
                    stall.waker = Some(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }
}

/// Forgets a stall when its call goes on or its process is dropped.
struct Forget<'a, S: Store> {
    store: &'a FaultyStore<S>,
    number: u64,
}

impl<S: Store> Drop for Forget<'_, S> {
    fn drop(&mut self) {
        self.store.state().stalls.remove(&self.number);
    }
}

/// A call whose answer is lost. Nobody can tell whether a write happened; a read simply failed.
fn no_answer(call: &Call) -> StoreError {
    let reason = "timeout".to_string();
    match call.verb {
        Verb::PutNew | Verb::Expire => {
            StoreError::Unknown { key: format!("{} {}", call.pk, call.sk), reason }
        }
        Verb::Range | Verb::Last => StoreError::Refused { reason },
    }
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    async fn put_new(&self, pk: &str, sk: &str, item: Item) -> Result<Put, StoreError> {
        let decided = self.decide(Verb::PutNew, pk, sk);
        self.with_fault(decided, self.inner.put_new(pk, sk, item)).await
    }

    async fn range(&self, pk: &str, from_sk: &str, limits: Limits) -> Result<Vec<Row>, StoreError> {
        let decided = self.decide(Verb::Range, pk, from_sk);
        self.with_fault(decided, self.inner.range(pk, from_sk, limits)).await
    }

    async fn last(&self, pk: &str) -> Result<Option<Row>, StoreError> {
        let decided = self.decide(Verb::Last, pk, "");
        self.with_fault(decided, self.inner.last(pk)).await
    }

    async fn expire(&self, pk: &str, sk: &str, at: WallMs) -> Result<(), StoreError> {
        let decided = self.decide(Verb::Expire, pk, sk);
        self.with_fault(decided, self.inner.expire(pk, sk, at)).await
    }
}

#[cfg(test)]
mod tests;
