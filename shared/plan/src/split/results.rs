//! Count windows, and windows over what other stages hand over: aggregates that run in advance.
//!
//! Not here: aggregates that ingest begins, and what both must fulfil (`aggregate`).

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchemaRef, Result};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use tidemill_model::WindowShape;

use super::aggregate::{
    check_aggregate_expressions, check_partition, check_window_grouped, closed_leaf, taken,
};
use super::{Cut, is_closed};
use crate::assigned::{AnyShape, Assigned};
use crate::error::Refusal;
use crate::graph::{
    self, AggregateRows, Derived, Glue, NewStage, Node, NodeKind, OperatorPlan, Times,
};
use crate::lineage::plain;
use crate::rows;
use crate::stage::Stage;
use crate::stage::count::{CountShape, CountStage, UNUSED};

impl Cut {
    /// An aggregate over count windows: rows are shipped, and counted in advance.
    pub(super) fn count(
        &mut self,
        aggregate: &Aggregate,
        shape: CountShape,
    ) -> Result<LogicalPlan> {
        check_aggregate_expressions(aggregate)?;
        let options = (self.options.keep, self.options.incomplete);
        let (stage, plan) = CountStage::new(aggregate, shape, options)?;
        let leaf = self.single_events(&plan)?;
        self.counted(stage, &leaf, Arc::clone(&aggregate.schema))
    }

    /// Cuts off an aggregate over count windows of what another stage, `rows`, hands over.
    fn count_rows(
        &mut self,
        aggregate: Aggregate,
        windows: &Assigned,
        rows: LogicalPlan,
        shape: CountShape,
    ) -> Result<LogicalPlan> {
        let schema = Arc::clone(&aggregate.schema);
        let number = self.nodes.len();
        let aggregate = taken(aggregate, number, UNUSED)?;
        check_partition(&aggregate, &windows.windows.partition_by)?;
        let options = (self.options.keep, self.options.incomplete);
        let (stage, plan) = CountStage::new(&aggregate, shape, options)?;
        let moments = windows.moments(rows)?;
        let plan = plan.transform_up(|node| {
            Ok(Transformed::yes(match is_closed(&node) {
                Some(leaf) if leaf.stage == number => moments.clone(),
                _ => node.recompute_schema()?,
            }))
        })?;
        self.counted(stage, &plan.data, schema)
    }

    /// Adds a stage of count windows over the rows of `plan`, the last column of which is the time.
    fn counted(
        &mut self,
        stage: CountStage,
        plan: &LogicalPlan,
        schema: DFSchemaRef,
    ) -> Result<LogicalPlan> {
        let glue = Glue::new(plan, stage.input.fields().len() - 1)?;
        let (times, ordered_by) = stage.times(glue.delay_ms);
        let times = Times { times, ordered_by, padded: Vec::new() };
        let operator = OperatorPlan::Count(Box::new(stage));
        let derived = Derived { inputs: vec![glue], operator };
        Ok(self.derived(NewStage { derived, schema, times }))
    }

    /// Cuts off an aggregate over windows of what another stage hands over.
    pub(super) fn aggregate_rows(
        &mut self,
        aggregate: Aggregate,
        windows: &Assigned,
    ) -> Result<LogicalPlan> {
        let rows = self.staged(windows.input.clone())?;
        let time = match plain(&windows.time) {
            Expr::Column(column) => rows.schema().maybe_index_of_column(column),
            _ => None,
        };
        let is_time = |index: &usize| graph::times(&rows)[*index].is_some();
        let Some(time) = time.filter(is_time) else {
            return Err(Refusal::new(
                "plan::window::not_event_time",
                format!("windows run on a time, and {} is none", windows.time),
            )
            .help("name an event time that the inner query hands on unchanged, or its window_start or window_end")
            .into_engine());
        };
        let shape = match windows.windows.shape {
            AnyShape::Time(shape) => shape,
            AnyShape::Count(shape) => return self.count_rows(aggregate, windows, rows, shape),
        };
        let input = Glue::new(&rows, time)?;
        let (delay_ms, number) = (input.delay_ms, self.nodes.len());
        let schema = Arc::clone(&aggregate.schema);
        let aggregate = taken(aggregate, number, shape)?;
        if matches!(shape, WindowShape::Session { .. }) {
            check_partition(&aggregate, &windows.windows.partition_by)?;
        }
        let below = rows::with_row(&aggregate.input)?;
        let stage = Stage::new(&aggregate, below, Vec::new(), shape)?;
        check_window_grouped(&stage)?;
        let leaf = closed_leaf(&stage, number, schema, delay_ms);
        let output = Arc::clone(&stage.closed);
        let kind = NodeKind::AggregateRows(Box::new(AggregateRows { input, stage }));
        self.nodes.push(Node { kind, output });
        Ok(leaf)
    }
}
