//! `kill -9` of a function's processes: how many there were, and at which moments of invocations.

use std::fmt;
use std::iter::Sum;
use std::time::Duration;

use tidemill_testkit::Rng;

use crate::runtime_api::Stage;

/// Processes that were killed, by what they did then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kills {
    /// Before they asked for their first invocation.
    pub starting: u64,
    /// While an invocation ran.
    pub running: u64,
    /// Between invocations.
    pub idle: u64,
}

impl Kills {
    /// All of them.
    pub fn all(self) -> u64 {
        self.starting + self.running + self.idle
    }

    pub(super) fn count(&mut self, stage: Stage) {
        *match stage {
            Stage::Starting => &mut self.starting,
            Stage::Running => &mut self.running,
            Stage::Idle => &mut self.idle,
        } += 1;
    }
}

impl Sum for Kills {
    fn sum<I: Iterator<Item = Kills>>(kills: I) -> Kills {
        kills.fold(Kills::default(), |sum, kills| Kills {
            starting: sum.starting + kills.starting,
            running: sum.running + kills.running,
            idle: sum.idle + kills.idle,
        })
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kills { starting, running, idle } = self;
        write!(f, "{} processes ({starting} starting, {running} running, {idle} idle)", self.all())
    }
}

/// Kills that invocations bring upon their processes.
pub(super) struct Killing {
    pub(super) rng: Rng,
    /// Of 100 invocations, how many are killed while they run or right after.
    pub(super) percent: u64,
    /// Kills that are left.
    pub(super) left: u64,
}

impl Killing {
    /// When to kill the process of the invocation that begins now; `None`: not.
    pub(super) fn draw(&mut self) -> Option<Duration> {
        if self.left == 0 || !self.rng.chance(self.percent) {
            return None;
        }
        self.left -= 1;
        // Most invocations take some milliseconds, the first of a process and a tick longer.
        let longest = *self.rng.pick(&[2_000, 10_000, 50_000, 400_000]).unwrap_or(&0);
        Some(Duration::from_micros(self.rng.below(longest)))
    }
}
