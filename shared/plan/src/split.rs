//! Cuts a query's plan into stages and what stands above them.
//!
//! Aggregates over windowed streams are stages that ingest and advance share. When there is nothing
//! else below the upper plan, that is all. Otherwise the stages make a graph: single events, OVER,
//! joins, aggregates over what other stages hand over.
//!
//! # Invariants
//! 1. Every stream of the query lies under exactly one cut.
//! 2. All stages that the upper plan is over have the same windows and close them together, or it is
//!    over rows.
//!
//! Not here: aggregates (`aggregate`, `results`), how joins are gathered (`joins`), what may stand above
//! (`upper`).

mod aggregate;
pub(crate) mod joins;
mod results;
mod upper;

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Extension, Join, LogicalPlan, Union, Window,
};
use tidemill_model::{Keep, WindowShape};
use tidemill_pipeline::Incomplete;

use crate::assigned::assigned;
use crate::error::Refusal;
use crate::graph::{self, Derived, Glue, Graph, NewStage, Node, NodeKind, OperatorPlan, Times};
use crate::leaf::{ClosedWindows, ROW};
use crate::lineage::{any_node, any_part, plain};
use crate::rows::{self, Scanned};
use crate::stage::as_of::{AsOfStage, is_as_of};
use crate::stage::join::{JoinStage, is_plain, refuse_not_in};
use crate::stage::over::{self, LastStage, OverStage};
use crate::stage::rows::RowStage;
use crate::stage::within::{WithinStage, closes_after_ms};
use crate::stage::{OutputColumn, Stage};

use aggregate::{check_partition, closed_leaf, cut_stage, partitions, windows_over_rows};
use upper::{
    OVER_MIXES, OVER_MIXES_HELP, check_rows, check_upper, closes, equal_edges, joins_windows,
    over_in_windows, shape_above, without_order,
};
pub(crate) use upper::{
    closed_window_column, is_closed, is_row_wise, stages_above, told_apart, window_output,
    window_outputs,
};

/// A query, cut.
pub(crate) struct Split {
    /// Aggregates over windowed streams, when the query has nothing else.
    pub(crate) stages: Vec<Stage>,
    /// What runs in advance below the upper plan, when it has.
    pub(crate) graph: Option<Graph>,
    /// The windows that the upper plan gets; `None`: it gets rows.
    pub(crate) shape: Option<WindowShape>,
    /// Above the stages; its leaves are [`ClosedWindows`] and static tables.
    pub(crate) upper: LogicalPlan,
}

/// Cuts an analyzed plan.
pub(crate) fn split(plan: LogicalPlan, options: Options) -> Result<Split> {
    if !rows::reads_stream(&plan) {
        return Err(Refusal::new("plan::no_stream", "the query reads no stream")
            .help("read a stream through a window function: FROM TUMBLE(stream, event_time, INTERVAL '1' MINUTE)")
            .into_engine());
    }
    over::check_looks_ahead(&plan)?;
    let reduced = over::reduced(&plan)?;
    let mut cut = Cut { nodes: Vec::new(), aggregates: Vec::new(), options, reduced };
    let upper = cut.node(plan)?;
    let mut upper = without_order(cut.rows_of_records(upper)?);
    if any_node(&upper, |node| assigned(node).is_some()) {
        return Err(refuse_not_aggregated("add GROUP BY …, window_start, window_end"));
    }
    if shape_above(&upper)?.is_some() && !closes_together(&upper, options.grace_ms)? {
        upper = cut.staged(upper)?;
    }
    let shape = shape_above(&upper)?;
    match shape {
        Some(shape) => check_upper(&upper, shape, stages_above(&upper)?.len())?,
        None => check_rows(&upper)?,
    }
    let aggregates: Option<Vec<Stage>> = cut.nodes.iter().map(of_log).collect();
    Ok(match aggregates {
        Some(stages) => Split { stages, graph: None, shape, upper },
        None => Split { stages: Vec::new(), graph: Some(Graph { nodes: cut.nodes }), shape, upper },
    })
}

/// The aggregate over the log that a node is, if it is one.
fn of_log(node: &Node) -> Option<Stage> {
    match &node.kind {
        NodeKind::Aggregate(stage) => Some(stage.clone()),
        NodeKind::Rows(_) | NodeKind::AggregateRows(_) | NodeKind::Derived(_) => None,
    }
}

/// What a query's settings say about its plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How long after its end a window stays open, milliseconds.
    pub(crate) grace_ms: i64,
    /// How long what would grow for ever is kept.
    pub(crate) keep: Keep,
    /// What becomes of count windows that never get all their rows.
    pub(crate) incomplete: Incomplete,
}

struct Cut {
    nodes: Vec<Node>,
    /// The aggregates over the log, each with its streams' windows: to the engine, scans of one
    /// stream are equal whatever their windows.
    aggregates: Vec<(Aggregate, Vec<Scanned>, LogicalPlan)>,
    options: Options,
    /// Window nodes of which only the first rows are kept.
    reduced: Vec<Window>,
}

impl Cut {
    /// The plan with its stages cut off. What ingest can run whole is left as it is: whoever is
    /// above decides what becomes of it.
    fn node(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !rows::reads_stream(&plan) || rows::is_of_records(&plan) {
            return self.checked(plan);
        }
        for expr in plan.expressions() {
            let over_stream = |part: &Expr| rows::subquery_of(part).is_some_and(rows::reads_stream);
            if any_part(&expr, over_stream) {
                return Err(rows::refuse_subquery().into_engine());
            }
        }
        match plan {
            LogicalPlan::Union(union) if unites_records_with_tables(&union) => {
                Err(rows::refuse_union_with_table().into_engine())
            }
            LogicalPlan::Distinct(Distinct::All(input)) if rows::is_of_records(&input) => {
                let columns = rows::visible(&input);
                let aggregate = Aggregate::try_new(input, columns, Vec::new())?;
                self.aggregate(aggregate)
            }
            LogicalPlan::Aggregate(aggregate) if rows::is_of_records(&aggregate.input) => {
                self.aggregate(aggregate)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let input = Arc::new(self.node(aggregate.input.as_ref().clone())?);
                let aggregate =
                    Aggregate::try_new(input, aggregate.group_expr, aggregate.aggr_expr)?;
                match windows_over_rows(&aggregate.input)? {
                    Some(windows) => self.aggregate_rows(aggregate, &windows),
                    None => Ok(LogicalPlan::Aggregate(aggregate)),
                }
            }
            LogicalPlan::Extension(_) if let Some(windows) = assigned(&plan) => {
                let input = self.node(windows.input.clone())?;
                let input = self.rows_of_records(input)?;
                rebuilt(plan, vec![input])
            }
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Join(join)
                if rows::reads_stream(&join.left) && rows::reads_stream(&join.right) =>
            {
                self.join(join)
            }
            other => {
                let children = other
                    .inputs()
                    .into_iter()
                    .map(|input| self.node(input.clone()))
                    .collect::<Result<Vec<_>>>()?;
                rebuilt(other, children)
            }
        }
    }

    /// A subquery over a stream is refused wherever it is.
    fn checked(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.apply(|node| {
            let over_stream = |part: &Expr| rows::subquery_of(part).is_some_and(rows::reads_stream);
            match node.expressions().iter().any(|expr| any_part(expr, over_stream)) {
                true => Err(rows::refuse_subquery().into_engine()),
                false => Ok(TreeNodeRecursion::Continue),
            }
        })?;
        Ok(plan)
    }

    /// OVER: within windows it belongs to the upper plan, else it is a stage.
    fn window(&mut self, window: Window) -> Result<LogicalPlan> {
        let is_reduced = self.reduced.contains(&window);
        let input = self.node(window.input.as_ref().clone())?;
        let input = self.rows_of_records(input)?;
        if any_node(&input, |node| assigned(node).is_some()) {
            return Err(refuse_not_aggregated(
                "rank aggregates of the windows: GROUP BY k, window_start, window_end in a subquery, and ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) over it; single rows are ranked in windows of a stream",
            ));
        }
        let shape = shape_above(&input)?;
        let node = LogicalPlan::Window(Window::try_new(window.window_expr, Arc::new(input))?);
        match (&node, shape) {
            (LogicalPlan::Window(window), Some(shape)) if over_in_windows(window, shape) => {
                Ok(node)
            }
            (LogicalPlan::Window(window), shape) => self.over(window, shape, is_reduced),
            _ => internal_err!("a window node has become another"),
        }
    }

    /// OVER as a stage of its own.
    fn over(
        &mut self,
        window: &Window,
        shape: Option<WindowShape>,
        is_reduced: bool,
    ) -> Result<LogicalPlan> {
        let input = &self.staged(window.input.as_ref().clone())?;
        let keep = self.options.keep;
        let delays: Vec<Option<i64>> =
            graph::times(input).into_iter().map(|time| time.map(|time| time.delay_ms)).collect();
        if shape.is_some() && !over::is_by_time(window, &delays)? {
            return Err(Refusal::new("plan::mixes_windows", OVER_MIXES)
                .help(OVER_MIXES_HELP)
                .into_engine());
        }
        let last = match is_reduced {
            true => LastStage::new(window, input.schema(), &delays, keep)?,
            false => None,
        };
        let (time, delay_ms, is_ordered, operator) = match last {
            Some(stage) => (stage.time, stage.keep_ms, true, OperatorPlan::Last(Box::new(stage))),
            None => {
                let stage = OverStage::new(window, input.schema(), &delays, keep)?;
                let (delay_ms, is_ordered) = (stage.delay_ms, stage.is_ordered);
                (stage.time, delay_ms, is_ordered, OperatorPlan::Over(Box::new(stage)))
            }
        };
        let glue = Glue::new(input, time)?;
        // Beside the time by which they wait, rows keep only times that did not have to wait before.
        let waited = |(index, delay): (usize, &Option<i64>)| {
            let delay = (*delay).filter(|_| index == time || glue.is_ordered);
            delay.zip(delay_ms).map(|(before, here)| before.saturating_add(here))
        };
        let columns = window.schema.fields().len();
        let mut times: Vec<Option<i64>> = delays.iter().enumerate().map(waited).collect();
        times.resize(columns, None);
        let derived = Derived { inputs: vec![glue], operator };
        let times = Times { times, ordered_by: is_ordered.then_some(time), padded: Vec::new() };
        Ok(self.derived(NewStage { derived, schema: Arc::clone(&window.schema), times }))
    }

    /// A join of two streams: within windows it belongs to the upper plan, else it is a stage.
    fn join(&mut self, join: Join) -> Result<LogicalPlan> {
        let side = |cut: &mut Cut, plan: &LogicalPlan| {
            let plan = cut.node(plan.clone())?;
            cut.rows_of_records(plan)
        };
        let left = side(self, &join.left)?;
        let right = side(self, &join.right)?;
        if [&left, &right].into_iter().any(|side| any_node(side, |node| assigned(node).is_some())) {
            return Err(refuse_not_aggregated(
                "aggregate the windows before they are joined; or join in the WITH clause, and write the window function around that",
            ));
        }
        if join.null_aware {
            return Err(refuse_not_in().into_engine());
        }
        let (of_left, of_right) = (shape_above(&left)?, shape_above(&right)?);
        let node = LogicalPlan::Join(join);
        let node = rebuilt(node, vec![left, right])?;
        let LogicalPlan::Join(join) = &node else {
            return internal_err!("a join is none any more");
        };
        if let (Some(of_left), Some(_)) = (of_left, of_right)
            && !is_as_of(join)
        {
            if of_right == Some(of_left) && joins_windows(join, of_left) {
                return Ok(node);
            }
            // Windows of different lengths never begin and end together.
            let (start, end) = equal_edges(join);
            if of_right != Some(of_left) && start && end || !JoinStage::is_bounded(join)? {
                shape_above(&node)?;
                return Err(Refusal::new(
                    "plan::mixes_windows",
                    "a join of two windowed streams mixes windows",
                )
                .help("join ON both sides' window_start and window_end being equal")
                .into_engine());
            }
        }
        let sides = vec![
            self.staged(join.left.as_ref().clone())?,
            self.staged(join.right.as_ref().clone())?,
        ];
        match rebuilt(node, sides)? {
            LogicalPlan::Join(join) => self.join_stage(&join),
            _ => internal_err!("a join is none any more"),
        }
    }

    /// A join of two plans over stages as a stage of its own.
    fn join_stage(&mut self, join: &Join) -> Result<LogicalPlan> {
        Ok(self.derived(match is_as_of(join) {
            true => AsOfStage::cut(join, self.options.keep)?,
            false => JoinStage::cut(join)?,
        }))
    }

    /// The plan with what looks at several rows of a window as stages of their own: what another stage
    /// takes must come from one, row by row.
    fn staged(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !any_node(&plan, collects) {
            return Ok(plan);
        }
        let is_join = is_join_of_stages(&plan);
        if collects(&plan)
            && (!is_join || !can_be_stage(&plan))
            && let Some(shape) = shape_above(&plan)?
        {
            check_upper(&plan, shape, stages_above(&plan)?.len())?;
            let stage = WithinStage::cut(&plan, shape)?;
            return Ok(self.derived(stage));
        }
        let inputs = plan
            .inputs()
            .into_iter()
            .map(|input| self.staged(input.clone()))
            .collect::<Result<Vec<_>>>()?;
        match rebuilt(plan, inputs)? {
            LogicalPlan::Join(join) if is_join => self.join_stage(&join),
            other => Ok(other),
        }
    }

    /// Cuts off what ingest can run whole, as stages of single events.
    fn rows_of_records(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !rows::reads_stream(&plan) {
            return Ok(plan);
        }
        if rows::is_of_records(&plan) {
            if rows::scans(&plan)?.iter().any(|scan| scan.count.is_some()) {
                return Err(Refusal::new(
                    "plan::count::no_aggregate",
                    "count windows without an aggregate cannot run: rows are counted per GROUP BY key",
                )
                .help("add GROUP BY …, window_start, window_end; or number rows with ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)")
                .into_engine());
            }
            return self.single_events(&plan);
        }
        let children = plan
            .inputs()
            .into_iter()
            .map(|input| self.rows_of_records(input.clone()))
            .collect::<Result<Vec<_>>>()?;
        rebuilt(plan, children)
    }

    /// Adds a stage of single events.
    fn single_events(&mut self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let (stage, leaf) = RowStage::new(plan, self.nodes.len(), self.options.grace_ms)?;
        let output = Arc::clone(&stage.closed);
        self.nodes.push(Node { kind: NodeKind::Rows(stage), output });
        Ok(leaf)
    }

    /// Adds a stage that other stages feed, and answers its leaf.
    fn derived(&mut self, stage: NewStage) -> LogicalPlan {
        let NewStage { derived, schema, times: Times { times, ordered_by, padded } } = stage;
        let stage = self.nodes.len();
        let output = (0..schema.fields().len()).map(OutputColumn::Value).collect();
        let handed = Arc::clone(schema.inner());
        self.nodes.push(Node { kind: NodeKind::Derived(derived), output: handed });
        let shape = None;
        let node = ClosedWindows { stage, schema, output, shape, times, ordered_by, padded };
        LogicalPlan::Extension(Extension { node: Arc::new(node) })
    }

    fn aggregate(&mut self, aggregate: Aggregate) -> Result<LogicalPlan> {
        let scans = rows::scans(&aggregate.input)?;
        if let Some(count) = scans.iter().find_map(|scan| scan.count) {
            if scans.iter().any(|scan| scan.count != Some(count)) {
                return Err(Refusal::new(
                    "plan::several_windows",
                    "the streams under one aggregate have different windows",
                )
                .help("use the same window function with the same sizes on each of them")
                .into_engine());
            }
            check_partition(&aggregate, &partitions(&scans))?;
            return self.count(&aggregate, count);
        }
        let known = self.aggregates.iter().find(|(it, of, _)| *it == aggregate && *of == scans);
        if let Some((_, _, leaf)) = known {
            return Ok(leaf.clone());
        }
        let number = self.nodes.len();
        let stage = cut_stage(&aggregate)?;
        let schema = Arc::clone(&aggregate.schema);
        let leaf = closed_leaf(&stage, number, schema, self.options.grace_ms);
        let output = Arc::clone(&stage.closed);
        self.nodes.push(Node { kind: NodeKind::Aggregate(stage), output });
        self.aggregates.push((aggregate, scans, leaf.clone()));
        Ok(leaf)
    }
}

/// Why windows over results cannot run as they are.
fn refuse_not_aggregated(help: &str) -> DataFusionError {
    let message = "windows over another query's results need an aggregate";
    Refusal::new("plan::window::no_aggregate", message).help(help).into_engine()
}

/// Whether a node looks at several rows of windows that stages hand over.
fn collects(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_) => closes(plan),
        LogicalPlan::Union(_) => stages_above(plan).is_ok_and(|stages| stages.len() > 1),
        other => is_join_of_stages(other),
    }
}

/// Whether the windows that enter a plan close together. Rows of the log need not tell their window:
/// `grace_ms` after its end they are all there.
fn closes_together(plan: &LogicalPlan, grace_ms: i64) -> Result<bool> {
    let mut closing = Vec::new();
    graph::leaves(plan, &mut |leaf| closing.push(closes_after_ms(leaf).unwrap_or(grace_ms)))?;
    Ok(closing.windows(2).all(|pair| pair[0] == pair[1]))
}

/// Whether a join of windows can be a stage of its own.
fn can_be_stage(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if is_as_of(join) || is_plain(join))
}

/// Whether a node joins what stages hand over on both sides.
fn is_join_of_stages(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if closes(&join.left) && closes(&join.right))
}

/// Whether some inputs of a union are events and others no stream at all.
fn unites_records_with_tables(union: &Union) -> bool {
    let mut inputs = union.inputs.iter();
    inputs.any(|input| rows::reads_stream(input) && rows::is_of_records(input))
        && union.inputs.iter().any(|input| !rows::reads_stream(input))
}

/// A node over other children; a projection without the hidden column, which stages do not hand on.
fn rebuilt(plan: LogicalPlan, children: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    let mut expressions = plan.expressions();
    let hidden = |expr: &Expr| matches!(plain(expr), Expr::Column(column) if column.name == ROW);
    if let LogicalPlan::Projection(_) = plan
        && children.iter().all(|child| !child.schema().fields().iter().any(|it| it.name() == ROW))
    {
        expressions.retain(|expr| !hidden(expr));
    }
    plan.with_new_exprs(expressions, children)
}
