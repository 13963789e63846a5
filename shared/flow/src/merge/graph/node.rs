//! One open stage, whatever it is.

use std::sync::Arc;

use datafusion::common::Result;
use tidemill_model::WindowShape;
use tidemill_plan::{Derived, Node, NodeKind, OperatorPlan, QueryPlan, Stage};

use super::input::Input;
use crate::merge::as_of::AsOfJoin;
use crate::merge::count::Count;
use crate::merge::join::IntervalJoin;
use crate::merge::operator::Operator;
use crate::merge::ordered::Ordered;
use crate::merge::over::Over;
use crate::merge::over::last::Last;
use crate::merge::rows_windows::RowsWindows;
use crate::merge::sessions::OpenSessions;
use crate::merge::windows::OpenSlices;
use crate::merge::within::Within;

/// One open stage.
pub(super) enum OpenNode {
    Slices(OpenSlices),
    Sessions(OpenSessions),
    Rows(Ordered),
    RowsWindows { input: Input, windows: RowsWindows },
    Derived { inputs: Vec<Input>, operator: Box<dyn Operator> },
}

impl OpenNode {
    pub(super) fn clear(&mut self, node: &Node) {
        match self {
            OpenNode::Slices(slices) => *slices = OpenSlices::default(),
            OpenNode::Sessions(sessions) => sessions.clear(),
            OpenNode::Rows(kept) => kept.clear(),
            OpenNode::RowsWindows { input, windows } => {
                input.waiting.iter_mut().for_each(Ordered::clear);
                if let NodeKind::AggregateRows(aggregate) = &node.kind {
                    windows.clear(&aggregate.stage);
                }
            }
            OpenNode::Derived { inputs, operator } => {
                inputs
                    .iter_mut()
                    .filter_map(|input| input.waiting.as_mut())
                    .for_each(Ordered::clear);
                operator.clear();
            }
        }
    }

    pub(super) fn rows(&self) -> u64 {
        match self {
            OpenNode::Slices(_) | OpenNode::Sessions(_) => 0,
            OpenNode::Rows(kept) => kept.len(),
            OpenNode::RowsWindows { input, .. } => input.waiting.as_ref().map_or(0, Ordered::len),
            OpenNode::Derived { inputs, operator } => {
                let waiting = inputs.iter().filter_map(|input| input.waiting.as_ref());
                operator.rows() + waiting.map(Ordered::len).sum::<u64>()
            }
        }
    }
}

/// A stage without state.
pub(super) fn open(plan: &QueryPlan, node: &Node) -> Result<OpenNode> {
    Ok(match &node.kind {
        NodeKind::Aggregate(Stage { shape: WindowShape::Session { gap_ms }, .. }) => {
            OpenNode::Sessions(OpenSessions::new(*gap_ms))
        }
        NodeKind::Aggregate(_) => OpenNode::Slices(OpenSlices::default()),
        NodeKind::Rows(stage) => {
            let (time, log) = (stage.time_index(), stage.time_index() + 1);
            OpenNode::Rows(Ordered::new(Arc::clone(&stage.kept), time, Some(log)))
        }
        NodeKind::AggregateRows(aggregate) => OpenNode::RowsWindows {
            input: Input::new(plan, &aggregate.input, &[])?,
            windows: RowsWindows::new(plan, aggregate)?,
        },
        NodeKind::Derived(Derived { inputs, operator }) => OpenNode::Derived {
            inputs: inputs
                .iter()
                .enumerate()
                .map(|(input, glue)| Input::new(plan, glue, &operator.of_each_row(input)))
                .collect::<Result<_>>()?,
            operator: start(plan, operator)?,
        },
    })
}

/// An operator without state.
fn start(plan: &QueryPlan, operator: &OperatorPlan) -> Result<Box<dyn Operator>> {
    Ok(match operator {
        OperatorPlan::Join(stage) => Box::new(IntervalJoin::new(stage)?),
        OperatorPlan::AsOf(stage) => Box::new(AsOfJoin::new(stage)?),
        OperatorPlan::Over(stage) => Box::new(Over::new(stage)?),
        OperatorPlan::Last(stage) => Box::new(Last::new(stage)),
        OperatorPlan::Count(stage) => Box::new(Count::new(stage)?),
        OperatorPlan::Within(stage) => Box::new(Within::new(plan, stage)?),
    })
}
