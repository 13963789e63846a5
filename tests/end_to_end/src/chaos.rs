//! Chaos: trouble that is made again and again while a test's load goes on, at moments that a seed
//! decides.
//!
//! Not here: what the trouble is ([`crate::function`] kills, [`crate::world`] restarts,
//! [`crate::proxy`] cuts).

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use tidemill_testkit::{Rng, setting};

/// How long chaos lasts in a test that is one of many, minutes.
const SHORT: f64 = 0.2;
/// How soon a pause notices that the chaos is over.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long each test makes trouble: as many minutes as the variable `MINUTES` says (`make chaos` sets
/// it), else some seconds.
pub fn lasting() -> Duration {
    Duration::from_secs_f64(60.0 * setting("MINUTES", SHORT))
}

/// The seed that the variable `SEED` holds, else `default`.
pub fn seed(default: u64) -> u64 {
    setting("SEED", default)
}

/// Whether the chaos is over.
#[derive(Default)]
pub struct Over(AtomicBool);

impl Over {
    /// The chaos is over when what this answers is dropped, also by a panic.
    pub fn when_dropped(&self) -> impl Drop + '_ {
        struct End<'a>(&'a Over);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.0.store(true, Ordering::SeqCst);
            }
        }
        End(self)
    }

    /// Whether it is.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Sleeps for so long, or until the chaos is over. Answers whether it goes on.
    fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            if self.is_over() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK_AGAIN));
        }
    }
}

/// Does something again and again, in a thread of its own, with pauses of so many milliseconds before
/// it, until the chaos is over. A panic in it ends the chaos.
pub fn again<'scope>(
    scope: &'scope Scope<'scope, '_>,
    over: &'scope Over,
    pauses_ms: RangeInclusive<i64>,
    mut rng: Rng,
    mut act: impl FnMut(&mut Rng) + Send + 'scope,
) {
    scope.spawn(move || {
        let _end = over.when_dropped();
        let pause = move |rng: &mut Rng| {
            let ms = rng.between(*pauses_ms.start(), *pauses_ms.end());
            over.pause(Duration::from_millis(ms.unsigned_abs()))
        };
        while pause(&mut rng) {
            act(&mut rng);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn it_goes_on_until_it_is_over() {
        let (over, count) = (Over::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let _end = over.when_dropped();
            again(scope, &over, 0..=1, Rng::new(1), |_| {
                count.fetch_add(1, Ordering::SeqCst);
            });
            while count.load(Ordering::SeqCst) < 3 {
                std::thread::yield_now();
            }
        });
        let counted = count.load(Ordering::SeqCst);
        assert!(!over.pause(Duration::from_secs(3600)));
        assert_eq!(count.load(Ordering::SeqCst), counted);
    }

    #[test]
    fn what_cannot_go_on_ends_it() {
        let over = Over::default();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::thread::scope(|scope| {
                again(scope, &over, 0..=1, Rng::new(1), |_| panic!("no server any more"));
                while !over.is_over() {
                    std::thread::yield_now();
                }
            });
        }));
        assert!(ended.is_err());
    }
}
