//! How many records may be sent by now.

use std::time::Duration;

/// Batches a second, about.
const BATCHES_PER_SECOND: u64 = 10;

/// A rate of records, counted from the beginning: what was late is caught up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    per_second: Option<u64>,
}

impl Pace {
    /// `None`: as fast as it goes.
    pub(super) fn new(per_second: Option<u32>) -> Pace {
        Pace { per_second: per_second.map(u64::from) }
    }

    /// How long to wait before `wanted` records, or as many of them as make a batch, may follow
    /// `sent` ones.
    pub(super) fn wait(self, elapsed: Duration, sent: u64, wanted: usize) -> Duration {
        let Some(per_second) = self.per_second else { return Duration::ZERO };
        let last = sent + self.batch(wanted) as u64 - 1;
        let due = Duration::from_nanos(
            (u128::from(last) * 1_000_000_000 / u128::from(per_second)) as u64,
        );
        due.saturating_sub(elapsed)
    }

    /// How many of `wanted` records are sent at once.
    pub(super) fn batch(self, wanted: usize) -> usize {
        match self.per_second {
            Some(per_second) => wanted.min((per_second / BATCHES_PER_SECOND).max(1) as usize),
            None => wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_takes_as_many_as_the_rate() {
        for per_second in [1_u32, 7, 100, 999, 100_000] {
            let pace = Pace::new(Some(per_second));
            let (mut elapsed, mut sent) = (Duration::ZERO, 0);
            while sent < u64::from(per_second) * 3 {
                elapsed += pace.wait(elapsed, sent, 500);
                sent += pace.batch(500) as u64;
            }
            let rate = sent as f64 / elapsed.as_secs_f64();
            let off = rate / f64::from(per_second);
            assert!((0.99..1.6).contains(&off), "{per_second}: {rate}");
        }
    }

    #[test]
    fn the_first_record_and_a_put_without_a_rate_do_not_wait() {
        assert_eq!(Pace::new(Some(1)).wait(Duration::ZERO, 0, 500), Duration::ZERO);
        assert_eq!(Pace::new(None).wait(Duration::ZERO, 1_000_000, 500), Duration::ZERO);
        assert_eq!(Pace::new(None).batch(500), 500);
        // Late: caught up at once.
        assert_eq!(Pace::new(Some(10)).wait(Duration::from_secs(9), 5, 500), Duration::ZERO);
    }
}
