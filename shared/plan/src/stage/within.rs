//! A stage that runs a plan window by window: ranks, LIMIT, a second aggregate, a UNION, whatever looks
//! at a window's rows together, below a stage that mixes windows.
//!
//! A window is run when every input has handed over all its rows. Inputs close a window at different
//! watermarks when one is made of another's results.
//!
//! # Schemas
//! state: of each input the columns.
//!
//! # Invariants
//! 1. The plan keeps windows apart (`split::upper`), so that running it window by window gives what
//!    running it over everything would; but ORDER BY and LIMIT, which mean "per window".
//!
//! Not here: the same above all stages, which is the upper plan; joins within windows (`join`); the
//! running (`flow`).

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::logical_expr::{Extension, JoinType, LogicalPlan};
use std::sync::Arc;
use tidemill_model::WindowShape;

use crate::error::Refusal;
use crate::graph::{Derived, Glue, NewStage, OperatorPlan, Times, leaves};
use crate::leaf::ClosedWindows;
use crate::lineage::{any_node, origins_of_index};
use crate::split::{is_closed, window_output};
use crate::stage::OutputColumn;
use crate::volatile;

/// A plan that is run window by window.
#[derive(Debug, Clone)]
pub struct WithinStage {
    /// Over the stages that feed the inputs.
    pub plan: LogicalPlan,
    /// What it takes.
    pub inputs: Vec<WithinInput>,
    /// The windows.
    pub shape: WindowShape,
    /// Schema of what it hands over.
    pub output: SchemaRef,
}

/// One input of such a plan.
#[derive(Debug, Clone)]
pub struct WithinInput {
    /// The stage that feeds it.
    pub from: usize,
    /// Its columns.
    pub schema: SchemaRef,
    /// What its columns are.
    pub columns: Vec<OutputColumn>,
    /// The edge of windows by which its rows come.
    pub by: OutputColumn,
}

/// How long after a window's end a stage has handed over all its rows, milliseconds; `None`: its rows
/// do not tell their window.
pub(crate) fn closes_after_ms(leaf: &ClosedWindows) -> Option<i64> {
    let (_, column, delay_ms) = edge(leaf)?;
    match column {
        OutputColumn::WindowEnd => Some(delay_ms),
        _ => Some(delay_ms.saturating_sub(leaf.shape?.longest_ms()?)),
    }
}

/// The edge by which a window's rows come, its end if it is there: its index, and how far it lags.
fn edge(leaf: &ClosedWindows) -> Option<(usize, OutputColumn, i64)> {
    let find = |wanted: OutputColumn| {
        let index = leaf.output.iter().position(|column| *column == wanted)?;
        Some((index, wanted, (*leaf.times.get(index)?)?))
    };
    find(OutputColumn::WindowEnd).or_else(|| find(OutputColumn::WindowStart))
}

impl WithinStage {
    /// The stage that `plan`, over windows of `shape`, is.
    pub(crate) fn cut(plan: &LogicalPlan, shape: WindowShape) -> Result<NewStage> {
        volatile::check_between_stages(plan)?;
        let mut read: Vec<ClosedWindows> = Vec::new();
        leaves(plan, &mut |leaf| {
            if !read.iter().any(|known| known.stage == leaf.stage) {
                read.push(leaf.clone());
            }
        })?;
        let mut glues = Vec::new();
        let mut inputs = Vec::new();
        let mut last_ms = i64::MIN;
        for leaf in &read {
            let (Some((time, by, _)), Some(after_ms)) = (edge(leaf), closes_after_ms(leaf)) else {
                return Err(Refusal::new(
                    "plan::mixes_windows",
                    "what is done window by window below another stage reads rows that do not tell their window",
                )
                .help("select window_start and window_end there")
                .into_engine());
            };
            last_ms = last_ms.max(after_ms);
            let node = LogicalPlan::Extension(Extension { node: Arc::new(leaf.clone()) });
            let glue = Glue::new(&node, time)?;
            inputs.push(WithinInput {
                from: leaf.stage,
                schema: Arc::clone(&glue.schema),
                columns: leaf.output.clone(),
                by,
            });
            glues.push(glue);
        }
        let times = times(plan, &inputs, last_ms);
        let output = Arc::clone(plan.schema().inner());
        let stage = WithinStage { plan: plan.clone(), inputs, shape, output };
        let operator = OperatorPlan::Within(Box::new(stage));
        let derived = Derived { inputs: glues, operator };
        Ok(NewStage { derived, schema: Arc::clone(plan.schema()), times })
    }

    /// Schemas of its state.
    pub(crate) fn state(&self) -> Vec<SchemaRef> {
        self.inputs.iter().map(|input| Arc::clone(&input.schema)).collect()
    }
}

/// How far each time column of the output lags, and the one that rises. `last_ms` after a window's end
/// it is run.
///
/// A row that a stage hands over `after_ms` after its window's end is handed on `last_ms` after it, so
/// what lagged then lags by the difference more.
fn times(plan: &LogicalPlan, inputs: &[WithinInput], last_ms: i64) -> Times {
    let columns = plan.schema().fields().len();
    let mut told = Times { times: vec![None; columns], ordered_by: None, padded: Vec::new() };
    let can_pad = any_node(plan, |node| match node {
        LogicalPlan::Join(join) => {
            matches!(join.join_type, JoinType::Left | JoinType::Right | JoinType::Full)
        }
        _ => false,
    });
    for column in 0..columns {
        if can_pad && plan.schema().field(column).is_nullable() {
            continue;
        }
        let Some(origins) = origins_of_index(plan, column) else { continue };
        let mut lag_ms = Some(i64::MIN);
        for (leaf, index) in &origins {
            let lags = is_closed(leaf).and_then(|leaf| {
                let delay_ms = leaf.times.get(*index).copied().flatten()?;
                Some(delay_ms.saturating_add(last_ms.saturating_sub(closes_after_ms(leaf)?)))
            });
            lag_ms = lag_ms.zip(lags).map(|(one, other)| one.max(other));
        }
        told.times[column] = lag_ms.filter(|_| !origins.is_empty());
        let rises = |(leaf, index): &(&LogicalPlan, usize)| {
            let edge = window_output(leaf, *index);
            edge.is_some() && inputs.iter().all(|input| Some(input.by) == edge)
        };
        if told.ordered_by.is_none() && told.times[column].is_some() && origins.iter().all(rises) {
            told.ordered_by = Some(column);
        }
    }
    told
}
