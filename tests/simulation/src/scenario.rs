//! What a seed decides before anything happens.

use std::sync::Arc;

use tidemill_testkit::Rng;

use crate::history::Violation;
use crate::mutant::Mutant;
use crate::pipelines::{self, Planned};

/// Seeds that a usual test run plays are among these: their histories are shorter.
const FIRST_SEEDS: u64 = 1000;
/// The longest that one delivery takes, milliseconds: less than half the segments' time to live,
/// which is what the protocol asks of writers. A segment lives as much shorter as its writer slept
/// before the put, so that this and the longest outage of advance must be less than its whole life.
pub(crate) const DELIVERY_MAX_MS: i64 = 8 * 3_600_000;

/// The surroundings of one history.
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) planned: Arc<Planned>,
    /// Shards of each stream, in the beginning.
    pub(crate) shards: usize,
    pub(crate) ingests_per_shard: usize,
    pub(crate) advances: usize,
    /// Whether sinks are files, which only one process writes, or take whatever comes.
    pub(crate) files: bool,
    /// Whether no event is later than `out_of_orderness` allows, so that nothing may be late.
    pub(crate) orderly: bool,
    pub(crate) out_of_orderness_ms: i64,
    pub(crate) idle_after_ms: i64,
    /// Clocks are at most this much ahead or behind, milliseconds.
    pub(crate) skew_max_ms: i64,
    /// How far behind (above zero) the wall clock event time is: a replay of old data.
    pub(crate) shift_ms: i64,
    pub(crate) segment_bytes_max: usize,
    pub(crate) results_max: usize,
    pub(crate) tick_bytes_max: usize,
    pub(crate) snapshot_after_bytes: u64,
    /// Percent of each store call's outcomes.
    pub(crate) lost: u64,
    pub(crate) vanished: u64,
    pub(crate) refused: u64,
    pub(crate) crashes: u64,
    pub(crate) stalls: u64,
    /// Percent of emissions' lines at which a sink fails.
    pub(crate) sink_failures: u64,
    /// Of 1000 steps, how many split or merge shards.
    pub(crate) reshards: u64,
    /// Of 1000 steps, how many let minutes or hours pass.
    pub(crate) long_waits: u64,
    pub(crate) steps: u64,
    /// For everything that happens.
    pub(crate) rng: Rng,
}

impl Scenario {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>) -> Result<Scenario, Violation> {
        let mut rng = Rng::new(seed);
        let planned = pipelines::of(seed, &mut rng)?;
        let one_of = |rng: &mut Rng, choices: &[i64]| rng.pick(choices).copied().unwrap_or(0);
        let advances = rng.between(1, 2) as usize;
        let out_of_orderness_ms = one_of(&mut rng, &[0, 2000, 5000, 30_000]);
        let has_faults = !rng.chance(5);
        let percent = |rng: &mut Rng, max: i64| if has_faults { rng.between(0, max) } else { 0 };
        Ok(Scenario {
            seed,
            mutant,
            planned,
            shards: rng.between(1, 4) as usize,
            ingests_per_shard: rng.between(1, 2) as usize,
            advances,
            files: advances == 1 && rng.chance(50),
            orderly: rng.chance(40),
            out_of_orderness_ms,
            idle_after_ms: one_of(&mut rng, &[1000, 20_000, 300_000]),
            skew_max_ms: match mutant {
                Some(Mutant::WildClocks) => 3_600_000,
                _ => out_of_orderness_ms / 4,
            },
            shift_ms: one_of(&mut rng, &[0, 0, 365 * 86_400_000, 60 * 365 * 86_400_000]),
            segment_bytes_max: one_of(&mut rng, &[4096, 8192, 1 << 20]) as usize,
            results_max: one_of(&mut rng, &[1, 10, 100_000]) as usize,
            tick_bytes_max: one_of(&mut rng, &[1, 20_000, 1 << 20]) as usize,
            snapshot_after_bytes: one_of(&mut rng, &[1, 20_000, 1 << 20]) as u64,
            lost: percent(&mut rng, 3) as u64,
            vanished: percent(&mut rng, 3) as u64,
            refused: percent(&mut rng, 3) as u64,
            crashes: percent(&mut rng, 2) as u64,
            stalls: percent(&mut rng, 12) as u64,
            sink_failures: percent(&mut rng, 4) as u64,
            reshards: one_of(&mut rng, &[0, 4, 10]) as u64,
            long_waits: one_of(&mut rng, &[0, 5, 90]) as u64,
            steps: match seed < FIRST_SEEDS {
                true => rng.between(100, 380),
                false => rng.between(200, 800),
            } as u64,
            rng,
        })
    }
}
