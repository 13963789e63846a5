//! Stages that feed each other: what a query of rows runs in advance.
//!
//! ```text
//! log ─▶ rows ─ glue ─▶ operator ─ glue ─▶ … ─▶ upper plan
//! log ─▶ aggregate ─ glue ─┘
//! ```
//!
//! # Invariants
//! 1. Stages stand in the order in which they run: each is fed by the log or by earlier ones.
//! 2. What a stage hands over, put together over all ticks, does not depend on the ticks.
//! 3. A [`Glue`] is row-wise, and all of it comes from one stage.
//!
//! Not here: where a plan is cut (`split`), what a stage is (`stage`), running them (`flow`).

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::physical_plan::PhysicalExpr;
use std::sync::Arc;
use tidemill_model::WindowShape;

use crate::error::Refusal;
use crate::leaf::{ClosedWindows, Padded, ROW};
use crate::lineage::{origin, origin_of_index, plain};
use crate::rows;
use crate::split::is_closed;
use crate::stage::Stage;
use crate::stage::as_of::AsOfStage;
use crate::stage::count::CountStage;
use crate::stage::join::JoinStage;
use crate::stage::over::{LastStage, OverStage};
use crate::stage::rows::RowStage;
use crate::stage::within::WithinStage;
use crate::state_part::stage_and_part;

/// The stages of a query of rows.
#[derive(Debug, Clone)]
pub struct Graph {
    /// In the order in which they run.
    pub nodes: Vec<Node>,
}

/// One stage of a query of rows.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub kind: NodeKind,
    /// Schema of what it hands over.
    pub output: SchemaRef,
}

/// What a stage does.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Aggregates windows of what ingest ships.
    Aggregate(Stage),
    /// Hands on what ingest ships: rows in order, or window by window.
    Rows(RowStage),
    /// Aggregates windows of what an earlier stage hands over.
    AggregateRows(Box<AggregateRows>),
    /// Makes other rows of what earlier stages hand over.
    Derived(Derived),
}

/// An aggregate over windows of what an earlier stage hands over.
#[derive(Debug, Clone)]
pub struct AggregateRows {
    /// What it takes.
    pub input: Glue,
    /// The aggregate. Its lower plan reads the input, with the windows' columns, as what this very
    /// stage hands over.
    pub stage: Stage,
}

/// A stage that earlier stages feed.
#[derive(Debug, Clone)]
pub struct Derived {
    /// What it takes.
    pub inputs: Vec<Glue>,
    /// What it does.
    pub operator: OperatorPlan,
}

/// What a stage does with rows.
#[derive(Debug, Clone)]
pub enum OperatorPlan {
    /// Joins two inputs by keys and a range of times.
    Join(Box<JoinStage>),
    /// Joins the first input with the latest version of its key in the second.
    AsOf(Box<AsOfStage>),
    /// OVER windows.
    Over(Box<OverStage>),
    /// Deduplication that keeps the last row of each key.
    Last(Box<LastStage>),
    /// An aggregate over count windows.
    Count(Box<CountStage>),
    /// Runs a plan window by window.
    Within(Box<WithinStage>),
}

impl OperatorPlan {
    /// Schemas of its state, one for each part.
    pub fn state(&self) -> Vec<SchemaRef> {
        match self {
            OperatorPlan::Join(join) => join.state(),
            OperatorPlan::AsOf(join) => join.state(),
            OperatorPlan::Over(stage) => stage.parts(),
            OperatorPlan::Last(stage) => vec![Arc::clone(&stage.kept)],
            OperatorPlan::Count(stage) => stage.parts(),
            OperatorPlan::Within(stage) => stage.state(),
        }
    }

    /// The expressions that it computes of each row of this input, whatever other rows there are.
    pub fn of_each_row(&self, input: usize) -> Vec<Arc<dyn PhysicalExpr>> {
        match self {
            OperatorPlan::Join(join) => join.keys.get(input).cloned().unwrap_or_default(),
            OperatorPlan::AsOf(join) => join.keys.get(input).cloned().unwrap_or_default(),
            OperatorPlan::Over(stage) => {
                stage.partition_by.iter().chain(&stage.arguments).cloned().collect()
            }
            OperatorPlan::Last(stage) => stage.partition_by.clone(),
            // Its input ends in plain columns.
            OperatorPlan::Count(_) => Vec::new(),
            OperatorPlan::Within(_) => Vec::new(),
        }
    }

    /// What it does, in one line, for people.
    pub(crate) fn display(&self) -> String {
        match self {
            OperatorPlan::Join(join) => join.display(),
            OperatorPlan::AsOf(join) => join.display(),
            OperatorPlan::Over(stage) => stage.display.clone(),
            OperatorPlan::Count(count) => count.stage.display.clone(),
            OperatorPlan::Within(stage) => format!("window by window, {:?}", stage.shape),
            OperatorPlan::Last(stage) => format!("last of {}", stage.display),
        }
    }
}

impl Graph {
    /// Schema of a stored part of the state; `None`: no stage has it.
    pub fn state_schema(&self, number: u16) -> Option<SchemaRef> {
        let (stage, part) = stage_and_part(number);
        self.nodes.get(stage)?.state().into_iter().nth(part)
    }
}

impl Node {
    /// What ingest ships for this stage.
    pub fn ingested(&self) -> Option<Ingested<'_>> {
        match &self.kind {
            NodeKind::Aggregate(stage) => Some(Ingested::Aggregate(stage)),
            NodeKind::Rows(stage) => Some(Ingested::Rows(stage)),
            NodeKind::AggregateRows(_) | NodeKind::Derived(_) => None,
        }
    }

    /// Schemas of its state, one for each part: first the rows that wait at its inputs.
    pub fn state(&self) -> Vec<SchemaRef> {
        match &self.kind {
            NodeKind::Aggregate(stage) => vec![Arc::clone(&stage.partial)],
            NodeKind::Rows(stage) => vec![Arc::clone(&stage.kept)],
            NodeKind::AggregateRows(aggregate) => {
                let AggregateRows { input, stage } = aggregate.as_ref();
                let waiting = (!input.is_ordered).then(|| Arc::clone(&input.schema));
                let sequence = stage.needs_order.then(sequence_schema);
                let of_stage = [Arc::clone(&stage.partial)];
                waiting.into_iter().chain(of_stage).chain(sequence).collect()
            }
            NodeKind::Derived(derived) => {
                let waiting = derived.inputs.iter().filter(|glue| !glue.is_ordered);
                let waiting = waiting.map(|glue| Arc::clone(&glue.schema));
                waiting.chain(derived.operator.state()).collect()
            }
        }
    }

    /// What stands between it and the stages that feed it.
    pub fn glue(&self) -> &[Glue] {
        match &self.kind {
            NodeKind::Aggregate(_) | NodeKind::Rows(_) => &[],
            NodeKind::AggregateRows(aggregate) => std::slice::from_ref(&aggregate.input),
            NodeKind::Derived(derived) => &derived.inputs,
        }
    }

    /// The plans that advance runs for it.
    pub(crate) fn advanced(&self) -> Vec<&LogicalPlan> {
        let own = match &self.kind {
            NodeKind::Aggregate(_) | NodeKind::Rows(_) => None,
            NodeKind::AggregateRows(aggregate) => Some(&aggregate.stage.lower),
            NodeKind::Derived(Derived { operator: OperatorPlan::Within(stage), .. }) => {
                Some(&stage.plan)
            }
            NodeKind::Derived(_) => None,
        };
        self.glue().iter().map(|glue| &glue.plan).chain(own).collect()
    }

    /// The windows that it hands over one by one; `None`: rows.
    pub fn shape(&self) -> Option<WindowShape> {
        match &self.kind {
            NodeKind::Aggregate(stage) => Some(stage.shape),
            NodeKind::Rows(stage) => stage.shape,
            NodeKind::AggregateRows(aggregate) => Some(aggregate.stage.shape),
            NodeKind::Derived(_) => None,
        }
    }
}

impl NodeKind {
    /// Every plan in it.
    pub(crate) fn plans_mut(&mut self) -> Vec<&mut LogicalPlan> {
        match self {
            NodeKind::Aggregate(stage) => vec![&mut stage.lower],
            NodeKind::Rows(stage) => vec![&mut stage.lower],
            NodeKind::AggregateRows(aggregate) => {
                let AggregateRows { input, stage } = aggregate.as_mut();
                vec![&mut input.plan, &mut stage.lower]
            }
            NodeKind::Derived(Derived { inputs, operator }) => {
                let within = match operator {
                    OperatorPlan::Within(stage) => Some(&mut stage.plan),
                    _ => None,
                };
                inputs.iter_mut().map(|glue| &mut glue.plan).chain(within).collect()
            }
        }
    }
}

/// A stage that ingest feeds.
#[derive(Debug, Clone, Copy)]
pub enum Ingested<'a> {
    /// Partial aggregates.
    Aggregate(&'a Stage),
    /// Single rows.
    Rows(&'a RowStage),
}

impl<'a> Ingested<'a> {
    /// The streams that it reads.
    pub fn streams(self) -> &'a [String] {
        match self {
            Ingested::Aggregate(stage) => &stage.streams,
            Ingested::Rows(stage) => &stage.streams,
        }
    }

    /// What ingest runs.
    pub fn lower(self) -> &'a LogicalPlan {
        match self {
            Ingested::Aggregate(stage) => &stage.lower,
            Ingested::Rows(stage) => &stage.lower,
        }
    }

    /// Schema of what ingest ships.
    pub fn partial(self) -> &'a SchemaRef {
        match self {
            Ingested::Aggregate(stage) => &stage.partial,
            Ingested::Rows(stage) => &stage.partial,
        }
    }
}

/// What stands between a stage and the one that it feeds: filter, projection, joins with static
/// tables.
#[derive(Debug, Clone)]
pub struct Glue {
    /// The stage whose rows it takes.
    pub from: usize,
    /// Ends in the next stage's input columns and [`ROW`].
    pub plan: LogicalPlan,
    /// The input's columns, without [`ROW`].
    pub schema: SchemaRef,
    /// The column by whose time rows are put in order.
    pub time: usize,
    /// Every later row has a time of at least the watermark less these milliseconds.
    pub delay_ms: i64,
    /// Whether rows come in the order of that time already.
    pub is_ordered: bool,
}

/// What is known of one column of a plan over stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeColumn {
    /// See [`Glue::delay_ms`].
    pub(crate) delay_ms: i64,
    /// See [`Glue::is_ordered`].
    pub(crate) is_ordered: bool,
}

/// A stage made of a plan, and what its leaf says.
pub(crate) struct NewStage {
    pub(crate) derived: Derived,
    /// What it hands over.
    pub(crate) schema: DFSchemaRef,
    pub(crate) times: Times,
}

/// What is known of the times in what a stage hands over.
pub(crate) struct Times {
    /// See [`ClosedWindows::times`].
    pub(crate) times: Vec<Option<i64>>,
    /// See [`ClosedWindows::ordered_by`].
    pub(crate) ordered_by: Option<usize>,
    /// See [`ClosedWindows::padded`].
    pub(crate) padded: Vec<Padded>,
}

/// For each column of a plan above stages, whether it is a time.
pub(crate) fn times(plan: &LogicalPlan) -> Vec<Option<TimeColumn>> {
    let of = |index: usize| match origin_of_index(plan, index) {
        Some((leaf, index)) => {
            let leaf = is_closed(leaf)?;
            let delay_ms = (*leaf.times.get(index)?)?;
            Some(TimeColumn { delay_ms, is_ordered: leaf.ordered_by == Some(index) })
        }
        None => either_time(plan, index),
    };
    (0..plan.schema().fields().len()).map(of).collect()
}

/// `COALESCE(a.time, b.time)` above an outer join: a time of a side that has the row.
fn either_time(plan: &LogicalPlan, index: usize) -> Option<TimeColumn> {
    let (input, expr) = match plan {
        LogicalPlan::Projection(node) => (&node.input, plain(node.expr.get(index)?)),
        LogicalPlan::SubqueryAlias(node) => return either_time(&node.input, index),
        LogicalPlan::Filter(node) => return either_time(&node.input, index),
        _ => return None,
    };
    let call = match expr {
        Expr::Column(column) => {
            return either_time(input, input.schema().maybe_index_of_column(column)?);
        }
        Expr::ScalarFunction(call) if call.func.name() == "coalesce" => call,
        _ => return None,
    };
    let (mut delay_ms, mut stages, mut sides, mut is_there) = (0, Vec::new(), Vec::new(), false);
    for argument in &call.args {
        let Expr::Column(column) = plain(argument) else { return None };
        let (leaf, index) = origin(input, column)?;
        let leaf = is_closed(leaf)?;
        let padded = leaf.padded.iter().find(|padded| padded.column == index);
        let delay = match (leaf.times.get(index)?, padded) {
            (Some(delay), _) => {
                is_there = true;
                *delay
            }
            (None, Some(padded)) => {
                sides.push(padded.side);
                padded.delay_ms
            }
            (None, None) => return None,
        };
        delay_ms = delay.max(delay_ms);
        stages.push(leaf.stage);
    }
    let is_there = is_there || sides.contains(&0) && sides.contains(&1);
    let is_of_one = stages.windows(2).all(|pair| pair[0] == pair[1]);
    (is_there && is_of_one).then_some(TimeColumn { delay_ms, is_ordered: false })
}

/// Schema of the number of rows that an aggregate over rows has taken: what orders those of one time.
fn sequence_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("__sequence", DataType::UInt64, false)]))
}

impl Glue {
    /// The glue that `plan`, over one stage, is, ordered by its column `time`.
    pub(crate) fn new(plan: &LogicalPlan, time: usize) -> Result<Glue> {
        let Some(TimeColumn { delay_ms, is_ordered }) = times(plan).get(time).copied().flatten()
        else {
            return internal_err!("column {time} of a stage's input is no time");
        };
        let from = source(plan)?;
        let visible = rows::visible(plan);
        let with_row = rows::with_row(plan)?;
        let row = rows::row_column(with_row.schema())?;
        let exprs = visible.into_iter().chain([Expr::Column(row)]).collect();
        let with_row = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(with_row))?);
        let fields = plan.schema().fields().iter().filter(|field| field.name() != ROW).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Glue { from, plan: with_row, schema, time, delay_ms, is_ordered })
    }
}

/// The one stage that a plan is over.
fn source(plan: &LogicalPlan) -> Result<usize> {
    let mut found: Vec<usize> = Vec::new();
    leaves(plan, &mut |leaf| {
        if !found.contains(&leaf.stage) {
            found.push(leaf.stage);
        }
    })?;
    match found.as_slice() {
        [one] => Ok(*one),
        _ => Err(Refusal::new(
            "plan::union::stages",
            "a UNION of results that come from different stages cannot run",
        )
        .help("unite the streams themselves, below the OVER, join or aggregate")
        .into_engine()),
    }
}

/// Visits what enters a plan from stages.
pub(crate) fn leaves(plan: &LogicalPlan, visit: &mut dyn FnMut(&ClosedWindows)) -> Result<()> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    plan.apply_with_subqueries(|node| {
        if let Some(leaf) = is_closed(node) {
            visit(leaf);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
