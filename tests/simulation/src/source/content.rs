//! What records hold: random events, and records that no query can count.

use properties::event::Event;
use tidemill_model::WallMs;
use tidemill_testkit::Rng;

use crate::pipelines::MAX_FUTURE_MS;
use crate::scenario::Scenario;

/// What a record holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Event(Event),
    /// No query may count it, for this reason.
    Dead(&'static str),
}

/// Something random, which arrives at `now`. `id` is one that no other record has.
pub(super) fn random(id: i64, now: WallMs, scenario: &Scenario, rng: &mut Rng) -> Content {
    if rng.chance(6) {
        let reasons = ["undecodable", "no_event_time", "future"];
        return Content::Dead(reasons[rng.index(reasons.len())]);
    }
    // In an orderly world half of the bound is left for what clocks differ.
    let behind = scenario.out_of_orderness_ms / 2;
    let lag = match rng.below(100) {
        0..75 => rng.between(0, behind),
        75..85 if scenario.shift_ms == 0 => -rng.between(0, MAX_FUTURE_MS / 20),
        85..97 if !scenario.orderly => rng.between(0, 60_000),
        97.. if !scenario.orderly => rng.between(0, 5 * 3_600_000),
        _ => 0,
    };
    let text = |rng: &mut Rng, texts: &[&str]| {
        let text = rng.pick(texts).map(|text| text.to_string());
        text.filter(|_| rng.chance(85))
    };
    let number = |rng: &mut Rng, from: i64, to: i64| {
        let number = rng.between(from, to);
        rng.chance(90).then_some(number)
    };
    Content::Event(Event {
        id,
        ts: now.0 - scenario.shift_ms - lag,
        k: text(rng, &["a", "b", "c"]),
        g: number(rng, 0, 2).map(|g| g as i32),
        i: number(rng, -5, 20),
        f: number(rng, -40, 40).map(|quarters| quarters as f64 / 4.0),
        s: text(rng, &["x", "y", "z\u{e9}\"", ""]),
        b: number(rng, 0, 1).map(|b| b == 1),
        d: number(rng, -3, 3).map(|days| days as i32),
        dec: number(rng, -500, 500),
        t: number(rng, -2000, 2000),
    })
}

/// The record's bytes.
pub(super) fn bytes(content: &Content, now: WallMs, rng: &mut Rng) -> Vec<u8> {
    let any = rng.below(1000);
    match content {
        Content::Event(event) => event.to_json().into_bytes(),
        Content::Dead("undecodable") if any < 300 => vec![b'{', 0xff, (any % 250) as u8],
        Content::Dead("undecodable") => format!("{{\"k\":{any}").into_bytes(),
        Content::Dead("no_event_time") => format!("{{\"k\":\"a\",\"i\":{any}}}").into_bytes(),
        Content::Dead(_) => {
            let time = now.0 + MAX_FUTURE_MS + 1 + any as i64;
            format!("{{\"k\":\"a\",\"i\":{any},\"ts\":{time}}}").into_bytes()
        }
    }
}
