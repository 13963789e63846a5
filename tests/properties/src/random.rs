//! Random events, and random ways in which they reach a pipeline.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tidemill_model::LogId;
use tidemill_testkit::Rng;

use crate::event::Event;
use crate::script::{Script, Step};
use crate::windows::Windows;

/// The logs of the test streams.
pub const LOGS: [(&str, &str); 4] =
    [("events", "0"), ("events", "1"), ("events", "10"), ("others", "0")];

/// An event without its id.
pub fn event() -> impl Strategy<Value = Event> {
    let key = prop_oneof![Just("a"), Just("b"), Just("c")];
    let text = prop_oneof![Just("x"), Just("y"), Just("zz"), Just("")];
    let time = prop_oneof![4 => -60i64..120, 1 => (-6i64..12).prop_map(|t| t * 10)];
    (
        (time, weighted(0.85, key), weighted(0.85, 0..3i32), weighted(0.8, 0..8i64)),
        (
            weighted(0.8, prop_oneof![9 => 0..256i32, 1 => 256..261i32]),
            weighted(0.85, text),
            weighted(0.8, any::<bool>()),
        ),
        (weighted(0.8, -3..3i32), weighted(0.8, -500..500i64), weighted(0.8, -2000..2000i64)),
    )
        .prop_map(|((ts, k, g, i), (f, s, b), (d, dec, t))| Event {
            id: 0,
            ts,
            k: k.map(str::to_string),
            g,
            i,
            f: f.map(|f| match f {
                256 => f64::NAN,
                257 => f64::INFINITY,
                258 => f64::NEG_INFINITY,
                259 => -0.0,
                260 => 0.0,
                f => f64::from(f) / 4.0,
            }),
            s: s.map(str::to_string),
            b,
            d,
            dec,
            t,
        })
}

/// The events of each log, in order.
pub fn shards(most: usize) -> impl Strategy<Value = Vec<Vec<Event>>> {
    vec(vec(event(), 0..most), LOGS.len()).prop_map(|mut shards| {
        for (id, event) in shards.iter_mut().flatten().enumerate() {
            event.id = id as i64;
        }
        shards
    })
}

/// Events of each log, the same at each call.
pub fn always_the_same(most: usize) -> Vec<Vec<Event>> {
    shards(most).new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

/// Windows of every kind, small and odd.
pub fn windows() -> impl Strategy<Value = Windows> {
    prop_oneof![
        (1..60i64, -70..70i64).prop_map(|(size, offset)| Windows::Tumble { size, offset }),
        (1..40i64, 1..90i64, -70..70i64).prop_map(|(slide, size, offset)| Windows::Hop {
            slide,
            size,
            offset
        }),
        (1..30i64, 1..5i64, -70..70i64).prop_map(|(step, steps, offset)| Windows::Cumulate {
            step,
            size: step * steps,
            offset
        }),
        (1..30i64).prop_map(|gap| Windows::Session { gap }),
    ]
}

/// How watermarks are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticking {
    /// As far as nothing that is still to come is behind them.
    OnTime,
    /// Anywhere: much is late.
    Anywhere,
}

/// A random way of `shards` into a pipeline: batches are cut anywhere, shards take turns anyhow,
/// ticks run at any time. The same seed, the same way.
pub fn way(shards: &[Vec<Event>], seed: u64, ticking: Ticking) -> Script {
    let mut rng = Rng::new(seed);
    let mut left: Vec<std::collections::VecDeque<(u64, Event)>> = shards
        .iter()
        .map(|events| {
            let offset = |(index, event): (usize, &Event)| (index as u64 * 3 + 1, event.clone());
            events.iter().enumerate().map(offset).collect()
        })
        .collect();
    let mut script = Script::default();
    let mut watermark: Option<i64> = None;
    let longest = 1 + rng.below(12);
    while left.iter().any(|events| !events.is_empty()) {
        let shard = rng.below(left.len() as u64) as usize;
        let count = (1 + rng.below(longest) as usize).min(left[shard].len());
        if count > 0 {
            let records = left[shard].drain(..count).collect();
            let (stream, name) = LOGS[shard];
            let known = [None, watermark, watermark.map(|it| it - rng.below(30) as i64)];
            let seen = known[rng.below(3) as usize];
            script.steps.push(Step::Batch { log: LogId::new(stream, name), records, seen });
        }
        if rng.chance(25) {
            let rest = left.iter().flatten().map(|(_, event)| event.ts).min();
            let next = match ticking {
                Ticking::OnTime => rest.unwrap_or(200) - rng.below(3) as i64,
                Ticking::Anywhere => -80 + rng.below(200) as i64,
            };
            let next = rng.chance(90).then_some(next);
            watermark = watermark.max(next);
            script.steps.push(Step::Tick {
                watermark,
                rows_max: if rng.chance(30) { 1 + rng.below(6) as usize } else { usize::MAX },
                reload: rng.chance(20),
            });
        }
    }
    script
}
