//! The open state of one query: its stages of aggregates, or its graph, and its upper plan.
//!
//! Not here: results that change (`revisions`), the stages (`windows`, `sessions`, `graph`).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use tidemill_model::{EventMs, Window, WindowShape};
use tidemill_plan::{QueryPlan, part_number, stage_and_part};

use super::failed::Failures;
use super::graph::{Closing, OpenGraph};
use super::results::Upper;
use super::revisions::{Standing, told};
use super::sessions::OpenSessions;
use super::windows::OpenSlices;
use crate::ports::{QueryResults, StatePart};

/// What is open of one query.
pub(super) struct OpenQuery {
    pub(super) plan: Arc<QueryPlan>,
    pub(super) stages: Vec<OpenStage>,
    /// In place of the stages, for a query of rows.
    pub(super) graph: Option<OpenGraph>,
    pub(super) upper: Upper,
    /// What sinks hold of windows whose results can still change.
    pub(super) standing: Standing,
}

/// The snapshot part of a stage that tells what was emitted of its windows.
const TOLD: usize = 1;

/// What is open of one stage of aggregates.
pub(super) enum OpenStage {
    Slices(OpenSlices),
    Sessions(OpenSessions),
}

/// The stages of a query of aggregates, with nothing open.
pub(super) fn empty(query: &QueryPlan) -> Vec<OpenStage> {
    query
        .stages
        .iter()
        .map(|stage| match stage.shape {
            WindowShape::Session { gap_ms } => OpenStage::Sessions(OpenSessions::new(gap_ms)),
            _ => OpenStage::Slices(OpenSlices::default()),
        })
        .collect()
}

impl OpenStage {
    /// Bytes held, about.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            OpenStage::Slices(slices) => slices.bytes(),
            OpenStage::Sessions(sessions) => sessions.bytes(),
        }
    }
}

impl OpenQuery {
    /// Bytes held, about.
    pub(super) fn bytes(&self) -> u64 {
        let graph = self.graph.as_ref().map_or(0, OpenGraph::bytes);
        let stages: u64 = self.stages.iter().map(OpenStage::bytes).sum();
        graph + stages + self.standing.bytes()
    }

    /// The open state's parts that have rows.
    pub(super) fn parts(&mut self) -> Result<Vec<StatePart>> {
        let query = self.plan.fingerprint;
        if let Some(graph) = &mut self.graph {
            let parts = graph.parts(&self.plan)?.into_iter();
            return Ok(parts.map(|(stage, batch)| StatePart { query, stage, batch }).collect());
        }
        let mut parts = Vec::new();
        for (number, (stage, open)) in self.plan.stages.iter().zip(&mut self.stages).enumerate() {
            let (rows, told) = match open {
                OpenStage::Slices(slices) => (slices.seal_all(stage)?, None),
                OpenStage::Sessions(sessions) => {
                    (sessions.rows(stage)?, Some(told::rows(sessions.told())?))
                }
            };
            parts.push((part_number(number, 0), rows));
            parts.extend(told.map(|told| (part_number(number, TOLD), told)));
        }
        if !self.has_sessions() {
            parts.push((part_number(0, TOLD), self.standing.rows(&self.plan)?));
        }
        let parts = parts.into_iter().filter(|(_, batch)| batch.num_rows() > 0);
        Ok(parts.map(|(stage, batch)| StatePart { query, stage, batch }).collect())
    }

    fn has_sessions(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, OpenStage::Sessions(_)))
    }

    /// Schema of the part of this number.
    pub(super) fn part_schema(&self, number: u16) -> Option<SchemaRef> {
        if let Some(graph) = &self.plan.graph {
            return graph.state_schema(number);
        }
        let (stage, part) = stage_and_part(number);
        let open = self.stages.get(stage)?;
        match (part, open) {
            (0, _) => Some(Arc::clone(&self.plan.stages[stage].partial)),
            (TOLD, OpenStage::Sessions(_)) => Some(told::schema()),
            (TOLD, OpenStage::Slices(_)) if stage == 0 => Some(Standing::schema(&self.plan)),
            _ => None,
        }
    }

    /// Takes over the part of this number.
    pub(super) fn restore(&mut self, number: u16, rows: RecordBatch) -> Result<()> {
        let (stage, part) = stage_and_part(number);
        match (part, &mut self.stages[stage]) {
            (0, OpenStage::Slices(slices)) => slices.restore(&self.plan.stages[stage], &rows),
            (0, OpenStage::Sessions(sessions)) => {
                sessions.restore(&self.plan, rows);
                Ok(())
            }
            (_, OpenStage::Slices(_)) => self.standing.restore(&rows),
            (_, OpenStage::Sessions(sessions)) => told::restore(sessions.told_mut(), &rows),
        }
    }

    /// Closes this query's windows and computes their results; and whether the state changed in a
    /// way that they do not show.
    pub(super) fn close(
        &mut self,
        before: Option<EventMs>,
        watermark: EventMs,
        failures: &mut Failures<'_>,
    ) -> Result<(QueryResults, bool)> {
        let OpenQuery { plan, stages, graph, upper, .. } = self;
        if let Some(graph) = graph {
            let Closing { windows, moved } =
                graph.close(plan, before, watermark, upper, failures)?;
            let batch = upper.take(plan, failures)?;
            return Ok((QueryResults { query: plan.name.clone(), windows, batch }, moved));
        }
        let mut windows = 0;
        if let [OpenStage::Sessions(sessions)] = stages.as_mut_slice() {
            let stage = &plan.stages[0];
            if let Some((count, batch)) = sessions.close(plan, stage, watermark, failures)? {
                windows = count;
                upper.add(plan, None, vec![batch], failures)?;
            }
        } else {
            let mut closing: Vec<Window> = Vec::new();
            for (stage, open) in plan.stages.iter().zip(stages.iter()) {
                if let OpenStage::Slices(slices) = open {
                    closing.extend(slices.windows_closing(plan, stage, before, watermark));
                }
            }
            closing.sort_unstable();
            closing.dedup();
            for window in closing {
                windows += 1;
                let mut batches = Vec::new();
                for (stage, open) in plan.stages.iter().zip(stages.iter_mut()) {
                    if let OpenStage::Slices(slices) = open {
                        batches.push(slices.close(stage, window, failures)?);
                    }
                }
                upper.add(plan, Some(window), batches, failures)?;
            }
            for (stage, open) in plan.stages.iter().zip(stages.iter_mut()) {
                if let OpenStage::Slices(slices) = open {
                    slices.forget(plan, stage, watermark);
                }
            }
        }
        let batch = upper.take(plan, failures)?;
        Ok((QueryResults { query: plan.name.clone(), windows, batch }, false))
    }
}
