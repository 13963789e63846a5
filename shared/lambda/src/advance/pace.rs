//! When an invocation ends, and how long it pauses between ticks. Pure.

use std::time::Duration;

use tidemill_flow::advance::Ticked;
use tidemill_model::WallMs;
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::time_left;

/// How long before the next schedule an invocation ends, so that the two do not meet.
const BEFORE_NEXT: Duration = Duration::from_secs(1);
/// How long before Lambda would end it an invocation ends by itself.
const BEFORE_DEADLINE: Duration = Duration::from_millis(500);
/// The first pause after a failure or a lost race; it doubles with each further one.
const BACK_OFF: Duration = Duration::from_millis(100);

/// When an invocation ends, from its beginning on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// No tick begins from here on, but the first.
    pub soft: Duration,
    /// A tick that still runs is cut off; `None`: nobody can tell when that is.
    pub hard: Option<Duration>,
}

impl Ends {
    /// Ends of an invocation that begins at `now`, was `due` at some time (`None`: now), comes
    /// every `period`, and that Lambda ends at `deadline_ms`.
    pub fn of(now: WallMs, due: Option<WallMs>, period: Duration, deadline_ms: u64) -> Ends {
        let period_ms = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1);
        // A schedule that was delivered late ends with the period that it came in; one from the
        // future, by our clock, is due now.
        let since_due = now.since(due.unwrap_or(now)).max(0);
        let to_next = period_ms - since_due % period_ms;
        let to_next = Duration::from_millis(u64::try_from(to_next).unwrap_or(0));
        Ends {
            soft: to_next.saturating_sub(BEFORE_NEXT),
            hard: time_left(deadline_ms, now, BEFORE_DEADLINE),
        }
    }
}

/// Pauses between ticks.
pub(super) struct Pace {
    tick: Duration,
    seed: u64,
    /// Failures or lost races in a row.
    setbacks: u32,
}

impl Pace {
    /// One whose jitter is the invocation's own.
    pub(super) fn new(request_id: &str, tick: Duration) -> Pace {
        Pace { tick, seed: xxh3_64(request_id.as_bytes()), setbacks: 0 }
    }

    /// The pause after a tick that `took` so long.
    pub(super) fn after(&mut self, ticked: &Ticked, took: Duration) -> Duration {
        if ticked.lost {
            return self.after_failure();
        }
        self.setbacks = 0;
        if ticked.behind { Duration::ZERO } else { self.tick.saturating_sub(took) }
    }

    /// The pause after a failure: half of it is fixed, half is this invocation's own.
    pub(super) fn after_failure(&mut self) -> Duration {
        let longest = self.tick.max(BACK_OFF);
        let pause = BACK_OFF.saturating_mul(1 << self.setbacks.min(16)).min(longest);
        self.setbacks += 1;
        self.seed = xxh3_64(&self.seed.to_le_bytes());
        let share = (self.seed % 1000) as u32;
        pause / 2 + pause / 2 * share / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ends(now: i64, due: Option<i64>, deadline: u64) -> (u128, Option<u128>) {
        let ends = Ends::of(WallMs(now), due.map(WallMs), MINUTE, deadline);
        (ends.soft.as_millis(), ends.hard.map(|hard| hard.as_millis()))
    }

    #[test]
    fn an_invocation_ends_before_the_next_schedule_and_before_its_deadline() {
        let due = 1_700_000_000_000;
        let deadline = due as u64 + 90_000;
        assert_eq!(ends(due, Some(due), deadline), (59_000, Some(89_500)));
        assert_eq!(
            ends(due + 2_000, Some(due), deadline),
            (57_000, Some(87_500)),
            "delivered late"
        );
        assert_eq!(
            ends(due + 125_000, Some(due), deadline + 125_000).0,
            54_000,
            "two periods late"
        );
        assert_eq!(ends(due + 59_900, Some(due), deadline).0, 0, "one tick, then the next comes");
        assert_eq!(ends(due, None, deadline).0, 59_000, "by hand");
    }

    #[test]
    fn clocks_that_disagree_break_nothing() {
        let now = 1_700_000_000_000;
        assert_eq!(ends(now, Some(now + 10_000), 0), (59_000, None), "due in the future");
        assert_eq!(ends(0, Some(i64::MIN), u64::MAX).1, None);
        assert_eq!(ends(i64::MIN, Some(i64::MAX), 5).1, None);
        let none = Ends::of(WallMs(now), None, Duration::ZERO, 0);
        assert_eq!(none.soft, Duration::ZERO);
    }

    #[test]
    fn who_is_behind_does_not_pause() {
        let mut pace = Pace::new("r", Duration::from_secs(5));
        let behind = Ticked { behind: true, ..Ticked::default() };
        assert_eq!(pace.after(&behind, MINUTE), Duration::ZERO);
        let took = Duration::from_secs(1);
        assert_eq!(pace.after(&Ticked::default(), took), Duration::from_secs(4));
        assert_eq!(pace.after(&Ticked::default(), MINUTE), Duration::ZERO);
    }

    #[test]
    fn who_loses_backs_off_longer_each_time_and_not_like_the_other() {
        let lost = Ticked { lost: true, behind: true, ..Ticked::default() };
        let pauses = |request_id: &str| {
            let mut pace = Pace::new(request_id, Duration::from_secs(5));
            (0..10).map(|_| pace.after(&lost, Duration::ZERO)).collect::<Vec<_>>()
        };
        let ours = pauses("a");
        for (n, pause) in ours.iter().enumerate() {
            let bound = Duration::from_millis(100 << n).min(Duration::from_secs(5));
            assert!(bound / 2 <= *pause && *pause <= bound, "{n}: {pause:?}");
        }
        assert_ne!(ours, pauses("b"));
        let mut pace = Pace::new("a", Duration::from_secs(5));
        for _ in 0..100 {
            assert!(pace.after_failure() <= Duration::from_secs(5));
        }
    }
}
