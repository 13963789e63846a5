//! merge: new segments of all logs → open state, in a fixed order; and what advance closes of it.
//!
//! [`State`] is the one implementation of [`OpenState`]: per query and stage either slices
//! (`windows`) or sessions (`sessions`); for a query of rows the stages that feed each other
//! (`graph`).
//!
//! # Invariants
//! 1. A deterministic fold: the same calls give the same bytes. No clock, no random number, no
//!    iteration over a hash table.
//! 2. Advance is the only judge of lateness, and the previous checkpoint's watermark its only law.
//! 3. After [`OpenState::snapshot`] the state is what [`OpenState::restore`] makes of its answer.
//!
//! Not here: which segments are merged when, and the watermark (`advance`, `time`).

mod as_of;
mod count;
mod failed;
mod graph;
mod join;
mod late;
mod operator;
mod ordered;
mod over;
mod query;
mod results;
mod revisions;
mod rows_windows;
mod sessions;
mod window_columns;
mod windows;
mod within;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidemill_model::{EventMs, Fingerprint, LogId, Segment, WallMs};
use tidemill_plan::{CheckpointTime, PipelinePlan, QueryPlan};

use crate::ports::{Closed, OpenState, OpenWindows, QueryError, StatePart};
use failed::Failures;
use graph::OpenGraph;
use late::{Ledger, Source};
use query::{OpenQuery, OpenStage, empty};
use results::Upper;
use revisions::Standing;

/// The open windows of all queries of a pipeline.
pub struct State {
    queries: Vec<OpenQuery>,
    time: CheckpointTime,
    /// The watermark that the state is closed up to.
    closed: Option<EventMs>,
    /// Whether this tick merged anything, so that it will be committed.
    merged: bool,
    ledger: Ledger,
    bytes_max: u64,
    show_content: bool,
}

impl State {
    /// Empty state for all queries.
    pub fn new(plan: &PipelinePlan) -> Result<State, QueryError> {
        let queries = plan
            .queries
            .iter()
            .map(|query| {
                let failed = |error| QueryError::of(&query.name, &error, plan.show_content);
                let upper = Upper::new(query).map_err(failed)?;
                let graph = query.graph.as_ref().map(|graph| OpenGraph::new(query, graph));
                let graph = graph.transpose().map_err(failed)?;
                let standing = Standing::new(query).map_err(failed)?;
                let (plan, stages) = (Arc::clone(query), empty(query));
                Ok(OpenQuery { plan, stages, graph, upper, standing })
            })
            .collect::<Result<_, QueryError>>()?;
        Ok(State {
            queries,
            time: plan.time.clone(),
            closed: None,
            merged: false,
            ledger: Ledger::default(),
            bytes_max: plan.state_bytes_max,
            show_content: plan.show_content,
        })
    }

    /// Refuses to hold more than may be held.
    fn check_size(&self) -> Result<(), QueryError> {
        let bytes = |query: &OpenQuery| query.bytes();
        let of_queries = self.queries.iter().map(bytes);
        let bytes_of_all: u64 = of_queries.clone().sum();
        if bytes_of_all <= self.bytes_max {
            return Ok(());
        }
        let largest = of_queries.enumerate().max_by_key(|(_, bytes)| *bytes);
        let index = largest.map_or(0, |(index, _)| index);
        let OpenWindows { query, windows, groups, bytes, .. } =
            self.open_windows().swap_remove(index);
        let bytes_max = self.bytes_max;
        Err(QueryError::TooMuchOpen { query, windows, groups, bytes, bytes_of_all, bytes_max })
    }

    fn query_of(&self, fingerprint: Fingerprint) -> Option<usize> {
        self.queries.iter().position(|query| query.plan.fingerprint == fingerprint)
    }
}

fn unreadable(query: &QueryPlan, reason: impl ToString) -> QueryError {
    QueryError::State { query: query.name.clone(), reason: reason.to_string() }
}

/// Rows of a query that this pipeline does not have: skipping them would lose them.
fn strange(log: &LogId, query: Fingerprint) -> QueryError {
    QueryError::State {
        query: query.to_string(),
        reason: format!(
            "a segment of log {log} was combined by another version of the pipeline; run ingest and advance with the same pipeline file"
        ),
    }
}

impl OpenState for State {
    fn merge(
        &mut self,
        log: &LogId,
        segment: &Segment,
        closed: Option<EventMs>,
    ) -> Result<(), QueryError> {
        self.closed = closed;
        self.merged = true;
        let show = self.show_content;
        for block in &segment.blocks {
            let index = self.query_of(block.query).ok_or_else(|| strange(log, block.query))?;
            let OpenQuery { plan, stages, graph, .. } = &mut self.queries[index];
            let number = usize::from(block.stage);
            if let Some(graph) = graph {
                let Some(ingested) = OpenGraph::ingested(plan, number) else {
                    return Err(unreadable(plan, format!("no log feeds stage {number}")));
                };
                let rows = tidemill_codec::decode_batch(ingested.partial(), &block.batch)
                    .map_err(|error| unreadable(plan, error))?;
                let source = Source::of(log, segment);
                graph
                    .merge(plan, number, rows, closed, &mut self.ledger, source)
                    .map_err(|error| QueryError::of(&plan.name, &error, show))?;
                continue;
            }
            let (Some(stage), Some(open)) = (plan.stages.get(number), stages.get_mut(number))
            else {
                return Err(unreadable(plan, format!("there is no stage {number}")));
            };
            let partial = tidemill_codec::decode_batch(&stage.partial, &block.batch)
                .map_err(|error| unreadable(plan, error))?;
            let mut late = self.ledger.at(plan, stage, Source::of(log, segment));
            match open {
                OpenStage::Slices(slices) => slices.merge(plan, stage, partial, closed, &mut late),
                OpenStage::Sessions(sessions) => {
                    sessions.merge(partial, late.source());
                    Ok(())
                }
            }
            .map_err(|error| QueryError::of(&plan.name, &error, show))?;
        }
        self.check_size()
    }

    fn settle(&mut self, closed: Option<EventMs>) -> Result<(), QueryError> {
        self.closed = closed;
        let show = self.show_content;
        for OpenQuery { plan, stages, graph, .. } in &mut self.queries {
            if let Some(graph) = graph {
                graph
                    .settle(plan, closed, &mut self.ledger)
                    .map_err(|error| QueryError::of(&plan.name, &error, show))?;
            }
            for (stage, open) in plan.stages.iter().zip(stages) {
                if let OpenStage::Sessions(sessions) = open {
                    sessions
                        .settle(plan, stage, closed, &mut self.ledger)
                        .map_err(|error| QueryError::of(&plan.name, &error, show))?;
                }
            }
        }
        self.check_size()
    }

    fn clip(&self, watermark: EventMs, rows_max: usize) -> EventMs {
        let mut closing: Vec<(EventMs, usize)> = Vec::new();
        let mut rows = 0usize;
        for query in &self.queries {
            let OpenQuery { plan, stages, graph, .. } = query;
            if let Some(graph) = graph {
                closing.extend(graph.closing(plan, self.closed, watermark));
            }
            if let Some(revisions) = &plan.revisions {
                rows = rows.saturating_add(query.rows_touched(revisions, self.closed));
            }
            for (stage, open) in plan.stages.iter().zip(stages) {
                closing.extend(match open {
                    OpenStage::Slices(it) => it.closing(plan, stage, self.closed, watermark),
                    OpenStage::Sessions(it) => it.closing(plan, stage, self.closed, watermark),
                });
            }
        }
        closing.sort_unstable();
        let mut clipped = None;
        for (at, count) in closing {
            rows = rows.saturating_add(count);
            // Windows that close at one watermark close together, and the first always closes.
            if rows > rows_max && clipped.is_some_and(|clipped| clipped < at) {
                return clipped.unwrap_or(watermark);
            }
            clipped = Some(at);
        }
        watermark
    }

    fn close(&mut self, watermark: Option<EventMs>, at: WallMs) -> Result<Closed, QueryError> {
        self.time.set(at);
        let mut closed = Closed::default();
        let before = self.closed;
        let mut is_told = std::mem::take(&mut self.merged) || self.ledger.rows > 0;
        for query in &mut self.queries {
            let plan = Arc::clone(&query.plan);
            let failures = &mut Failures::of(&plan.name, &mut closed.failed);
            let results = match (&plan.revisions, watermark) {
                (Some(revisions), _) => {
                    let closing = query.close_revised(revisions, before, watermark, failures);
                    closing.map(|results| (results, false))
                }
                (None, Some(watermark)) => query.close(before, watermark, failures),
                (None, None) => continue,
            };
            let (results, moved) =
                results.map_err(|error| QueryError::of(&plan.name, &error, self.show_content))?;
            closed.moved |= moved;
            is_told |= moved;
            if results.windows > 0 || results.batch.num_rows() > 0 {
                closed.results.push(results);
                is_told = true;
            }
        }
        is_told |= !closed.failed.is_empty();
        self.closed = self.closed.max(watermark);
        // State goes only in a tick that a checkpoint will tell of, so that a replay drops it too.
        if let Some(watermark) = watermark.filter(|_| is_told) {
            for query in self.queries.iter_mut().filter(|query| query.plan.revisions.is_some()) {
                let name = query.plan.name.clone();
                query
                    .forget(watermark)
                    .map_err(|error| QueryError::of(&name, &error, self.show_content))?;
            }
        }
        let ledger = std::mem::take(&mut self.ledger);
        closed.late = ledger.dead_letters;
        closed.late_rows = ledger.rows;
        Ok(closed)
    }

    fn last_close(&self) -> Option<EventMs> {
        let graphs = self.queries.iter().filter_map(|OpenQuery { plan, graph, .. }| {
            graph.as_ref().and_then(|graph| graph.last_close(plan))
        });
        let closings = self.queries.iter().flat_map(|OpenQuery { plan, stages, .. }| {
            plan.stages.iter().zip(stages).filter_map(|(stage, open)| match open {
                OpenStage::Slices(slices) => {
                    let past = self.closed.map(|closed| closed.minus(plan.grace_ms));
                    let end = slices.last_end(stage, past);
                    end.map(|end| end.plus(plan.grace_ms))
                }
                OpenStage::Sessions(sessions) => sessions.last_close(plan, stage, self.closed),
            })
        });
        closings.chain(graphs).max()
    }

    fn snapshot(&mut self) -> Result<Vec<StatePart>, QueryError> {
        let mut parts = Vec::new();
        for query in &mut self.queries {
            let found = query
                .parts()
                .map_err(|error| QueryError::of(&query.plan.name, &error, self.show_content))?;
            parts.extend(found);
        }
        Ok(parts)
    }

    fn restore(&mut self, mut parts: Vec<StatePart>) -> Result<(), QueryError> {
        self.clear();
        // A stage's rows come before what was told of them.
        parts.sort_by_key(|part| (part.query, part.stage));
        let mut of_graphs: Vec<Vec<(u16, RecordBatch)>> = vec![Vec::new(); self.queries.len()];
        for part in parts {
            let index = self.query_of(part.query).ok_or_else(|| QueryError::State {
                query: part.query.to_string(),
                reason: "the snapshot holds a query that the pipeline does not have".to_string(),
            })?;
            let query = &mut self.queries[index];
            if query.graph.is_some() {
                of_graphs[index].push((part.stage, part.batch));
                continue;
            }
            let plan = Arc::clone(&query.plan);
            let schema = query.part_schema(part.stage).ok_or_else(|| {
                unreadable(&plan, format!("there is no state of number {}", part.stage))
            })?;
            if part.batch.schema().fields() != schema.fields() {
                return Err(unreadable(&plan, "a snapshot part has other columns"));
            }
            query.restore(part.stage, part.batch).map_err(|error| unreadable(&plan, error))?;
        }
        for (OpenQuery { plan, graph, .. }, parts) in self.queries.iter_mut().zip(of_graphs) {
            if let Some(graph) = graph {
                graph.restore(plan, parts).map_err(|error| unreadable(plan, error))?;
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        for query in &mut self.queries {
            query.stages = empty(&query.plan);
            query.standing.clear();
            if let Some(graph) = &mut query.graph {
                graph.clear(&query.plan);
            }
        }
        self.closed = None;
        self.merged = false;
        self.ledger = Ledger::default();
    }

    fn part_schema(&self, query: Fingerprint, stage: u16) -> Option<SchemaRef> {
        let index = self.query_of(query)?;
        self.queries[index].part_schema(stage)
    }

    fn queries(&self) -> Vec<(String, Fingerprint)> {
        let named = |query: &OpenQuery| (query.plan.name.clone(), query.plan.fingerprint);
        self.queries.iter().map(named).collect()
    }

    fn open_windows(&self) -> Vec<OpenWindows> {
        self.queries
            .iter()
            .map(|query| {
                let OpenQuery { plan, stages, graph, standing, .. } = query;
                if let Some(graph) = graph {
                    return graph.measure(plan, self.closed);
                }
                let mut open = OpenWindows {
                    query: plan.name.clone(),
                    windows: 0,
                    groups: 0,
                    oldest: None,
                    bytes: standing.bytes(),
                };
                for (stage, it) in plan.stages.iter().zip(stages) {
                    let (windows, oldest, groups, bytes) = match it {
                        OpenStage::Slices(it) => it.measure(plan, stage, self.closed),
                        OpenStage::Sessions(it) => it.measure(plan, stage, self.closed),
                    };
                    open.windows = open.windows.max(windows);
                    open.groups += groups;
                    open.bytes += bytes;
                    open.oldest = match (open.oldest, oldest) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                }
                open
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
