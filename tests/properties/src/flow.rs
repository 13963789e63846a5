//! A script through the verbs: decode, combine, merge, settle, close. No store, no clock.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use bytes::Bytes;
use tidemill_flow::combine::Combiner;
use tidemill_flow::decode::{Decoder, RawBatch, RawRecord};
use tidemill_flow::merge::State;
use tidemill_flow::ports::{Combine, FailedRows, OpenState, StatePart};
use tidemill_model::{DeadLetter, EventMs, LogId, Position, Segment, WallMs};
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;

use crate::event::Event;
use crate::script::{Script, Step};

/// When every record arrives, and what `now()` answers.
pub const NOW: WallMs = WallMs(1_700_000_000_000);

/// What a script gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Result rows per query, in the order in which they were emitted.
    pub results: BTreeMap<String, Vec<RecordBatch>>,
    /// Late rows.
    pub late: Vec<DeadLetter>,
    /// (row, window) pairs that were late.
    pub late_rows: u64,
    /// What the queries fail on.
    pub failed: Vec<FailedRows>,
}

impl Outcome {
    /// The results of one query.
    pub fn of(&self, query: &str) -> &[RecordBatch] {
        self.results.get(query).map_or(&[], Vec::as_slice)
    }
}

/// Runs scripts through the queries of one pipeline.
pub struct Flow {
    pipeline: Pipeline,
    plan: PipelinePlan,
    combiner: Combiner,
    decoders: BTreeMap<String, Decoder>,
}

impl Flow {
    /// For these queries.
    pub fn new((pipeline, plan): (Pipeline, PipelinePlan)) -> Flow {
        let combiner = Combiner::new(&plan).unwrap();
        let decoders = pipeline
            .streams
            .values()
            .map(|stream| (stream.name.clone(), Decoder::new(stream, None).unwrap()))
            .collect();
        Flow { pipeline, plan, combiner, decoders }
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The plan.
    pub fn plan(&self) -> &PipelinePlan {
        &self.plan
    }

    /// The most stages that feed each other in one query.
    fn stages(&self) -> usize {
        let graphs = self.plan.queries.iter().filter_map(|query| query.graph.as_ref());
        graphs.map(|graph| graph.nodes.len()).max().unwrap_or(0)
    }

    /// An empty state.
    pub fn state(&self) -> State {
        State::new(&self.plan).unwrap()
    }

    /// The segment of one batch.
    pub fn segment(
        &mut self,
        log: &LogId,
        records: &[(u64, Event)],
        seen: Option<i64>,
        after: Position,
    ) -> Segment {
        let raw = raw_batch(records);
        let through = raw.records.last().unwrap().position;
        let decoded = self.decoders.get_mut(&log.stream).unwrap().decode(log, raw);
        assert_eq!(decoded.dead, [], "every record can be read");
        let combined = self.combiner.combine(log, &decoded, seen.map(EventMs)).unwrap();
        assert_eq!(combined.failed, [], "no query fails on a record");
        if after == Position::START {
            let again = self.combiner.combine(log, &decoded, seen.map(EventMs)).unwrap();
            assert_eq!(combined, again, "combine is pure");
        }
        Segment {
            after,
            through,
            records: records.len() as u64,
            appended_at: NOW,
            newest_arrival: NOW,
            clock: decoded.event_times.iter().max().copied(),
            seen: Vec::new(),
            dead_letters: Vec::new(),
            blocks: combined.blocks,
        }
    }

    /// Runs a script from an empty state.
    pub fn run(&mut self, script: &Script) -> Outcome {
        let mut state = self.state();
        let mut outcome = Outcome::default();
        let mut pending: Vec<(LogId, Segment)> = Vec::new();
        let mut tails: BTreeMap<LogId, Position> = BTreeMap::new();
        let mut closed: Option<EventMs> = None;
        for step in &script.steps {
            match step {
                Step::Batch { log, records, seen } => {
                    let tail = tails.entry(log.clone()).or_insert(Position::START);
                    let segment = self.segment(log, records, *seen, *tail);
                    *tail = segment.through;
                    pending.push((log.clone(), segment));
                }
                Step::Tick { watermark, rows_max, reload } => {
                    merge(&mut state, std::mem::take(&mut pending), closed);
                    let goal = watermark.map(EventMs).max(closed);
                    closed = close(&mut state, closed, goal, *rows_max, &mut outcome);
                    if *reload {
                        state = self.reloaded(&mut state);
                    }
                }
            }
        }
        merge(&mut state, pending, closed);
        closed = close(&mut state, closed, closed, usize::MAX, &mut outcome);
        let mut rounds = 0;
        while let Some(last) = state.last_close() {
            assert!(closed.is_none_or(|closed| closed < last), "an open window has yet to close");
            closed = close(&mut state, closed, Some(last), usize::MAX, &mut outcome);
            rounds += 1;
            // Rows go from stage to stage, and each may have to wait for more.
            assert!(rounds < 3 + self.stages(), "the last watermark closes everything");
        }
        if state.open_windows().iter().any(|open| open.groups > 0) {
            // What only rows to come could need.
            close(&mut state, closed, Some(EventMs::MAX), usize::MAX, &mut outcome);
        }
        let kept = self.plan.queries.iter().any(|query| query.allowed_lateness_ms > 0);
        let all_closed = |groups: u64| kept || groups == 0;
        let open = state.open_windows();
        assert!(open.iter().all(|open| open.windows == 0 && all_closed(open.groups)));
        outcome
    }

    /// Another process's state, made of the snapshot that `state` gives.
    pub fn reloaded(&self, state: &mut State) -> State {
        let parts = state.snapshot().unwrap();
        let mut other = self.state();
        other.restore(self.stored(&parts)).unwrap();
        other
    }

    /// Snapshot parts after their way through the codec.
    pub fn stored(&self, parts: &[StatePart]) -> Vec<StatePart> {
        let state = self.state();
        parts
            .iter()
            .map(|part| {
                let schema = state.part_schema(part.query, part.stage).unwrap();
                let bytes = tidemill_codec::encode_batch(&part.batch).unwrap();
                let batch = tidemill_codec::decode_batch(&schema, &bytes).unwrap();
                StatePart { query: part.query, stage: part.stage, batch }
            })
            .collect()
    }
}

/// Merges segments in (log, position) order and settles.
pub fn merge(state: &mut State, mut segments: Vec<(LogId, Segment)>, closed: Option<EventMs>) {
    segments.sort_by(|a, b| (&a.0, a.1.after).cmp(&(&b.0, b.1.after)));
    for (log, segment) in &segments {
        state.merge(log, segment, closed).unwrap();
    }
    state.settle(closed).unwrap();
}

/// Closes up to `goal` in steps of about `rows_max` rows, and answers the watermark then.
pub fn close(
    state: &mut State,
    mut closed: Option<EventMs>,
    goal: Option<EventMs>,
    rows_max: usize,
    outcome: &mut Outcome,
) -> Option<EventMs> {
    loop {
        let next = goal.map(|goal| state.clip(goal, rows_max));
        assert!(
            next == goal || next > closed,
            "a clipped watermark moves on: {closed:?} {next:?} {goal:?}"
        );
        let results = state.close(next, NOW).unwrap();
        for query in results.results {
            outcome.results.entry(query.query).or_default().push(query.batch);
        }
        outcome.late.extend(results.late);
        outcome.late_rows += results.late_rows;
        outcome.failed.extend(results.failed);
        closed = closed.max(next);
        if next == goal {
            return closed;
        }
        state.settle(closed).unwrap();
    }
}

pub(crate) fn raw_batch(records: &[(u64, Event)]) -> RawBatch {
    let mut buffer = Vec::new();
    let records = records
        .iter()
        .map(|(offset, event)| {
            let from = buffer.len() as u32;
            buffer.extend_from_slice(event.to_json().as_bytes());
            let bytes = from..buffer.len() as u32;
            buffer.push(b'\n');
            RawRecord { bytes, position: Position::from_offset(*offset), arrival: NOW }
        })
        .collect();
    RawBatch { buffer: Bytes::from(buffer), records, ..RawBatch::default() }
}
