//! Which fault a call has.

use super::{Call, Verb};
use crate::Rng;

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: done and reported.
    None,
    /// Done, but the answer is lost: the caller hears "unknown".
    Lost,
    /// Not done, and nobody can tell: the caller hears "unknown".
    Vanished,
    /// Not done, and reported: the caller hears "refused".
    Refused,
    /// Waits before it is done, until the test resumes it.
    Stall,
    /// The process crashes before the call is done.
    CrashBefore,
    /// The process crashes after the call is done and before it hears of it.
    CrashAfter,
}

/// Decides the fault of each call. A closure `FnMut(&Call) -> Fault` is a plan.
pub trait FaultPlan: Send {
    /// The fault of `call`. Asked once per call, in call order.
    fn decide(&mut self, call: &Call) -> Fault;
}

impl<F: FnMut(&Call) -> Fault + Send> FaultPlan for F {
    fn decide(&mut self, call: &Call) -> Fault {
        self(call)
    }
}

/// Faults drawn from a seed, each in so many percent of calls. The percentages add up to at most
/// 100; what is left is [`Fault::None`].
#[derive(Debug, Clone)]
pub struct RandomFaults {
    /// Where the draws come from.
    pub rng: Rng,
    /// Percent of calls that are done and not reported.
    pub lost: u64,
    /// Percent of calls that are neither done nor reported.
    pub vanished: u64,
    /// Percent of calls that are refused.
    pub refused: u64,
    /// Percent of writes that stall.
    pub stalls: u64,
    /// Percent of calls that are a process's last; half of them are done.
    pub crashes: u64,
}

impl RandomFaults {
    /// The faults of `seed`: one call in six fails in some way, writes also stall.
    pub fn new(seed: u64) -> RandomFaults {
        let rng = Rng::new(seed);
        RandomFaults { rng, lost: 5, vanished: 4, refused: 4, stalls: 2, crashes: 2 }
    }
}

impl FaultPlan for RandomFaults {
    fn decide(&mut self, call: &Call) -> Fault {
        // Drawn for every call, so that one fault less does not shift all that follow.
        let (mut draw, after) = (self.rng.below(100), self.rng.chance(50));
        let writes = matches!(call.verb, Verb::PutNew | Verb::Expire);
        let crash = if after { Fault::CrashAfter } else { Fault::CrashBefore };
        let stall = if writes { Fault::Stall } else { Fault::None };
        for (percent, fault) in [
            (self.lost, Fault::Lost),
            (self.vanished, Fault::Vanished),
            (self.refused, Fault::Refused),
            (self.stalls, stall),
            (self.crashes, crash),
        ] {
            if draw < percent {
                return fault;
            }
            draw -= percent;
        }
        Fault::None
    }
}
