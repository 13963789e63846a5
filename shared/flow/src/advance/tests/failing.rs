//! Queries that fail on values, through whole ticks: real queries, a store, sinks that fail half-way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::FutureExt;
use tidemill_codec::encode_segment;
use tidemill_model::{LogId, Position, Segment, WallMs};
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;

use super::fake::SinkFault;
use super::world::{World, log};
use crate::advance::{Advance, Ticked};
use crate::combine::Combiner;
use crate::decode::{Decoder, RawBatch, RawRecord};
use crate::keys::Keys;
use crate::merge::State;
use crate::ports::Combine;

/// `share` fails on rows, `ranked` on windows, `passed` on rows between two stages, `counts` never.
const PIPELINE: &str = "name = 'p'
[streams.s]
format = 'json'
columns = { k = 'string', ts = 'timestamp_ms' }
event_time = 'ts'
[queries.counts]
sql = \"SELECT window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 milliseconds') GROUP BY window_start, window_end\"
[queries.share]
sql = \"SELECT k, window_end, 6 / (COUNT(*) - 2) AS share FROM TUMBLE(s, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end\"
[queries.ranked]
sql = \"SELECT k, window_end, 6 / (n - 3) AS share, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n, k) AS place FROM (SELECT k, window_start, window_end, COUNT(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end)\"
[queries.passed]
sql = \"WITH few AS (SELECT k, window_start, window_end, 6 / (COUNT(*) - 2) AS share FROM TUMBLE(s, ts, INTERVAL '10 milliseconds') GROUP BY k, window_start, window_end) SELECT window_end, COUNT(*) AS n, SUM(share) AS shares FROM TUMBLE(few, window_start, INTERVAL '20 milliseconds') GROUP BY window_start, window_end\"
";

/// Keys by time, batch by batch.
const BATCHES: [&[(&str, i64)]; 4] = [
    &[("a", 0), ("a", 1), ("b", 2), ("b", 11), ("a", 22)],
    &[("c", 23), ("c", 24), ("c", 25), ("a", 21), ("b", 37)],
    &[("b", 35), ("d", 58), ("d", 59)],
    &[("e", 90), ("e", 91), ("e", 92)],
];

static PLANNED: LazyLock<(Pipeline, PipelinePlan)> = LazyLock::new(|| {
    let pipeline = tidemill_pipeline::parse("t.toml", PIPELINE, Path::new("."), &|_| None)
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    let plan = tidemill_plan::plan(&pipeline).unwrap_or_else(|errors| panic!("{errors:?}"));
    (pipeline, plan)
});

struct Pipe {
    world: World,
    pipeline: &'static Pipeline,
    plan: &'static PipelinePlan,
    offset: u64,
}

impl Pipe {
    fn new(snapshot_after_bytes: u64) -> Pipe {
        let (pipeline, plan) = &*PLANNED;
        let mut world = World::new();
        world.settings.snapshot_after_bytes = snapshot_after_bytes;
        world.register("s/a", 0);
        Pipe { world, pipeline, plan, offset: 0 }
    }

    fn process(&self) -> Advance {
        let World { store, keys, settings, sources, .. } = &self.world;
        let open = Box::new(State::new(self.plan).unwrap());
        let emit = self.world.emit(self.plan.queries.iter().map(|query| query.name.as_str()));
        let (store, source) = (Arc::new(store.clone()), sources.clone());
        Advance::new(store, keys.clone(), open, settings.clone(), source, emit)
    }

    fn append(&mut self, records: &[(&str, i64)]) {
        let log: LogId = log("s/a");
        let position = |offset: u64| match offset {
            0 => Position::START,
            _ => Position::from_offset(offset - 1),
        };
        let after = position(self.offset);
        let mut raw = RawBatch::default();
        let mut buffer = Vec::new();
        for (key, time) in records {
            let start = buffer.len() as u32;
            buffer.extend(format!("{{\"k\":\"{key}\",\"ts\":{time}}}").bytes());
            self.offset += 1;
            raw.records.push(RawRecord {
                bytes: start..buffer.len() as u32,
                position: position(self.offset),
                arrival: WallMs(1000),
            });
        }
        raw.buffer = Bytes::from(buffer);
        let stream = &self.pipeline.streams["s"];
        let decoded = Decoder::new(stream, None).unwrap().decode(&log, raw);
        let combined = Combiner::new(self.plan).unwrap().combine(&log, &decoded, None).unwrap();
        assert_eq!(combined.failed, []);
        let segment = Segment {
            after,
            through: position(self.offset),
            records: records.len() as u64,
            appended_at: WallMs(1000),
            newest_arrival: WallMs(1000),
            clock: decoded.clock(),
            seen: Vec::new(),
            dead_letters: Vec::new(),
            blocks: combined.blocks,
        };
        let pk = self.world.keys.log(&log);
        self.world.put(&pk, &Keys::segment(after), encode_segment(&segment));
    }

    /// `None`: the process has crashed, or its sink is down.
    fn tick(&mut self, process: &mut Advance) -> Option<Ticked> {
        let nonce = self.world.nonce();
        process.tick(WallMs(1000), &nonce).now_or_never()?.ok()
    }

    fn taken(&self) -> BTreeMap<String, String> {
        self.world.taken.lock().unwrap().by_id.clone()
    }
}

/// What sinks took at the end when the emission of number `fault` fails, and a cold process goes on.
fn told(snapshot_after_bytes: u64, fault: Option<(u64, SinkFault)>) -> BTreeMap<String, String> {
    let mut pipe = Pipe::new(snapshot_after_bytes);
    pipe.world.taken.lock().unwrap().fault_in = fault;
    let mut process = pipe.process();
    for batch in BATCHES {
        pipe.append(batch);
        while pipe.tick(&mut process).is_none() {
            process = pipe.process();
        }
    }
    pipe.world.end("s/a");
    loop {
        match pipe.tick(&mut process) {
            Some(ticked) if ticked.finished => break,
            Some(_) => {}
            None => process = pipe.process(),
        }
    }
    pipe.taken()
}

#[test]
fn a_replay_tells_of_the_same_failures_under_the_same_ids() {
    let undisturbed = told(u64::MAX, None);
    let lines = |wanted: &str| undisturbed.values().filter(|line| line.contains(wanted)).count();
    assert_eq!(lines("counts {"), 6);
    // Two rows of a key: a in the first window and in the third, then b, then d. Three: c, and e.
    assert_eq!(lines(r#""reason":"query_failed""#), 10, "{undisturbed:#?}");
    let of = |query: &str| lines(&format!(r#""query":"{query}""#));
    assert_eq!((of("share"), of("passed"), of("ranked")), (4, 4, 2), "{undisturbed:#?}");
    let values = |told: &BTreeMap<String, String>| {
        let mut values: Vec<String> = told.values().cloned().collect();
        values.sort_unstable();
        values
    };
    for number in 0..12 {
        for fault in [SinkFault::Down, SinkFault::Crash] {
            let disturbed = told(u64::MAX, Some((number, fault)));
            assert!(disturbed == undisturbed, "{number} {fault:?}: {disturbed:#?}");
            // With a snapshot in every tick that has something to tell, epochs have other numbers. That
            // none has two values is what the sinks look after.
            let disturbed = told(0, Some((number, fault)));
            assert_eq!(values(&disturbed), values(&undisturbed), "{number} {fault:?}");
        }
    }
}

#[test]
fn what_a_query_fails_on_is_counted_and_stops_nothing() {
    let mut pipe = Pipe::new(u64::MAX);
    let mut process = pipe.process();
    pipe.append(BATCHES[0]);
    let ticked = pipe.tick(&mut process).unwrap();
    assert_eq!((ticked.dead_letters, ticked.totals.dead_letters), (2, 2), "{:#?}", pipe.taken());
    assert!(ticked.results > 0 && ticked.late == 0);
    let letter = &pipe.taken()["dead/0/1"];
    let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
    assert_eq!((&letter["query"], &letter["rows"]), (&"share".into(), &1.into()));
    assert_eq!(letter["windows"][0]["end"], "1970-01-01T00:00:00.010Z");
    assert!(letter["raw"].as_str().unwrap().starts_with(r#"{"k":"a","#), "{letter}");
}
