//! Cuts a query's plan at its aggregates over windowed streams: what is below runs in ingest, what
//! is above runs in advance, once per closed window.
//!
//! # Invariants
//! 1. Every stream of the query lies under exactly one cut.
//! 2. All stages of a query have the same windows, so they close together.
//! 3. Above the cut, whatever collects rows (aggregate, OVER, join) keeps windows apart, so that
//!    running it window by window gives what running it over everything would; but ORDER BY and
//!    LIMIT, which mean "per closed window".

pub(crate) mod joins;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Extension, Join, JoinType, LogicalPlan, Union,
    UserDefinedLogicalNodeCore, Volatility, Window,
};
use tidemill_model::{Keep, WindowShape};
use tidemill_pipeline::Incomplete;

use crate::assigned::{Assigned, assigned};
use crate::error::Refusal;
use crate::functions::TIME_FUNCTIONS;
use crate::graph::{self, AggregateRows, Derived, Glue, Graph, Node, NodeKind, OperatorPlan};
use crate::leaf::{ClosedWindows, ROW};
use crate::lineage::{any_node, any_part, leaf_name, origin, origin_of_index, plain};
use crate::rows::{self, Scanned};
use crate::stage::as_of::{AsOfStage, is_as_of};
use crate::stage::count::{CountShape, CountStage};
use crate::stage::join::{JoinStage, Joined};
use crate::stage::over::{self, LastStage, OverStage};
use crate::stage::rows::RowStage;
use crate::stage::{OutputColumn, Stage, window_column};

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
    let reduced = over::reduced(&plan)?;
    let mut cut = Cut { nodes: Vec::new(), aggregates: Vec::new(), options, reduced };
    let upper = cut.node(plan)?;
    let upper = without_order(cut.rows_of_records(upper)?);
    if any_node(&upper, |node| assigned(node).is_some()) {
        return Err(Refusal::new(
            "plan::window::no_aggregate",
            "windows over another query's results need an aggregate",
        )
        .help("add GROUP BY …, window_start, window_end")
        .into_engine());
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

/// The stages that enter the upper plan, rising.
pub(crate) fn stages_above(upper: &LogicalPlan) -> Result<Vec<usize>> {
    let mut stages = Vec::new();
    graph::leaves(upper, &mut |leaf| stages.push(leaf.stage))?;
    stages.sort_unstable();
    stages.dedup();
    Ok(stages)
}

/// The windows that enter the upper plan; `None`: rows do.
fn shape_above(upper: &LogicalPlan) -> Result<Option<WindowShape>> {
    let mut shapes: Vec<Option<WindowShape>> = Vec::new();
    graph::leaves(upper, &mut |leaf| shapes.push(leaf.shape))?;
    let first = shapes.first().copied().flatten();
    if shapes.iter().all(|shape| *shape == first) {
        return Ok(first);
    }
    Err(match shapes.contains(&None) {
        true => Refusal::new(
            "plan::mixes_windows",
            "the query mixes closed windows with single events",
        )
        .help("read both through the same window function, or make them queries of their own"),
        false => Refusal::new(
            "plan::several_windows",
            "the aggregates of one query have different windows",
        )
        .help("use the same window function with the same sizes for all of them, or make them queries of their own"),
    }
    .into_engine())
}

/// Above rows only what looks at one row at a time can run, and with it joins with static tables.
fn check_rows(upper: &LogicalPlan) -> Result<()> {
    check_volatile(upper)?;
    upper.apply(|node| {
        let is_lookup =
            |join: &Join| closes(&join.left) != closes(&join.right) && !keeps_table_rows(join);
        let passes = match node {
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
                true
            }
            LogicalPlan::Join(join) => is_lookup(join),
            other => is_closed(other).is_some(),
        };
        if !closes(node) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if !passes {
            return Err(rows::refuse_node(node).into_engine());
        }
        match node
            .expressions()
            .iter()
            .any(|it| any_part(it, |part| rows::subquery_of(part).is_some()))
        {
            true => Err(rows::refuse_subquery().into_engine()),
            false => Ok(TreeNodeRecursion::Continue),
        }
    })?;
    Ok(())
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
        let input = window.input.as_ref();
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
        let ordered_by = is_ordered.then_some(time);
        Ok(self.derived(derived, Arc::clone(&window.schema), times, ordered_by))
    }

    /// A join of two streams: within windows it belongs to the upper plan, else it is a stage.
    fn join(&mut self, join: Join) -> Result<LogicalPlan> {
        let side = |cut: &mut Cut, plan: &LogicalPlan| {
            let plan = cut.node(plan.clone())?;
            cut.rows_of_records(plan)
        };
        let left = side(self, &join.left)?;
        let right = side(self, &join.right)?;
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
        let Joined { stage, schema, times, ordered_by } = match is_as_of(join) {
            true => AsOfStage::cut(join, self.options.keep)?,
            false => JoinStage::cut(join)?,
        };
        Ok(self.derived(stage, schema, times, ordered_by))
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

    /// Adds a stage that other stages feed, and answers its leaf. `schema` is what it hands over,
    /// `times` which of its columns are times, `ordered_by` the one by which its rows rise.
    fn derived(
        &mut self,
        derived: Derived,
        schema: DFSchemaRef,
        times: Vec<Option<i64>>,
        ordered_by: Option<usize>,
    ) -> LogicalPlan {
        let stage = self.nodes.len();
        let output = (0..schema.fields().len()).map(OutputColumn::Value).collect();
        let handed = Arc::clone(schema.inner());
        self.nodes.push(Node { kind: NodeKind::Derived(derived), output: handed });
        let node = ClosedWindows { stage, schema, output, shape: None, times, ordered_by };
        LogicalPlan::Extension(Extension { node: Arc::new(node) })
    }

    /// An aggregate over count windows: rows are shipped, and counted in advance.
    fn count(&mut self, aggregate: &Aggregate, shape: CountShape) -> Result<LogicalPlan> {
        check_aggregate_expressions(aggregate)?;
        let options = (self.options.keep, self.options.incomplete);
        let (stage, plan) = CountStage::new(aggregate, shape, options)?;
        let leaf = self.single_events(&plan)?;
        let glue = Glue::new(&leaf, stage.input.fields().len() - 1)?;
        let (times, ordered_by) = stage.times(glue.delay_ms);
        let operator = OperatorPlan::Count(Box::new(stage));
        let derived = Derived { inputs: vec![glue], operator };
        Ok(self.derived(derived, Arc::clone(&aggregate.schema), times, ordered_by))
    }

    /// Cuts off an aggregate over windows of what another stage hands over.
    fn aggregate_rows(&mut self, aggregate: Aggregate, windows: &Assigned) -> Result<LogicalPlan> {
        let time = match plain(&windows.time) {
            Expr::Column(column) => windows.input.schema().maybe_index_of_column(column),
            _ => None,
        };
        let is_time = |index: &usize| graph::times(&windows.input)[*index].is_some();
        let Some(time) = time.filter(is_time) else {
            return Err(Refusal::new(
                "plan::window::not_event_time",
                format!("windows run on a time, and {} is none", windows.time),
            )
            .help("name an event time that the inner query hands on unchanged, or its window_start or window_end")
            .into_engine());
        };
        if matches!(windows.shape, WindowShape::Session { .. }) {
            return Err(Refusal::new(
                "plan::session::rows",
                "sessions over another query's results cannot run yet",
            )
            .help("make the sessions over the stream itself")
            .into_engine());
        }
        let input = Glue::new(&windows.input, time)?;
        let (delay_ms, number) = (input.delay_ms, self.nodes.len());
        let read = aggregate.input.as_ref().clone().transform(|node| {
            Ok(match assigned(&node) {
                Some(windows) => Transformed::yes(taken_leaf(windows, number)),
                None => Transformed::no(node),
            })
        })?;
        let schema = Arc::clone(&aggregate.schema);
        let aggregate =
            Aggregate::try_new(Arc::new(read.data), aggregate.group_expr, aggregate.aggr_expr)?;
        check_early(&aggregate, windows.shape)?;
        check_aggregate_expressions(&aggregate)?;
        let below = rows::with_row(&aggregate.input)?;
        let stage = Stage::new(&aggregate, below, Vec::new(), windows.shape)?;
        check_window_grouped(&stage)?;
        let leaf = closed_leaf(&stage, number, schema, delay_ms);
        let output = Arc::clone(&stage.closed);
        let kind = NodeKind::AggregateRows(AggregateRows { input, stage });
        self.nodes.push(Node { kind, output });
        Ok(leaf)
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

/// Whether some inputs of a union are events and others no stream at all.
fn unites_records_with_tables(union: &Union) -> bool {
    let mut inputs = union.inputs.iter();
    inputs.any(|input| rows::reads_stream(input) && rows::is_of_records(input))
        && union.inputs.iter().any(|input| !rows::reads_stream(input))
}

/// The windows over rows that an aggregate's input has, if it has.
fn windows_over_rows(input: &LogicalPlan) -> Result<Option<Assigned>> {
    let mut found = Vec::new();
    input.apply(|node| {
        Ok(match assigned(node) {
            Some(windows) => {
                found.push(windows.clone());
                TreeNodeRecursion::Jump
            }
            None => TreeNodeRecursion::Continue,
        })
    })?;
    match (found.pop(), found.is_empty()) {
        (windows, true) => Ok(windows),
        _ => Err(Refusal::new(
            "plan::several_windows",
            "one aggregate reads several windows over other queries' results",
        )
        .help("make one query of the results first, with UNION ALL below the window function")
        .into_engine()),
    }
}

/// What stands for windows over rows in the plan of the stage `number` that takes those rows.
fn taken_leaf(windows: &Assigned, number: usize) -> LogicalPlan {
    let schema = Arc::clone(UserDefinedLogicalNodeCore::schema(windows));
    let columns = schema.fields().len() - 2;
    let edges = [OutputColumn::WindowStart, OutputColumn::WindowEnd];
    let output = (0..columns).map(OutputColumn::Value).chain(edges).collect();
    let times = vec![None; columns + 2];
    let shape = Some(windows.shape);
    let node = ClosedWindows { stage: number, schema, output, shape, times, ordered_by: None };
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// Refuses windows over rows that are used before they are aggregated, but those of TUMBLE.
fn check_early(aggregate: &Aggregate, shape: WindowShape) -> Result<()> {
    if matches!(shape, WindowShape::Tumble { .. }) {
        return Ok(());
    }
    let edge = |input: &LogicalPlan, expr: &Expr| {
        any_part(expr, |part| window_column(input, part).is_some())
            && !matches!(plain(expr), Expr::Column(_))
    };
    let early = |node: &LogicalPlan| {
        node.inputs().into_iter().any(|input| node.expressions().iter().any(|it| edge(input, it)))
    };
    let in_aggregate = aggregate.aggr_expr.iter().chain(&aggregate.group_expr);
    if any_node(&aggregate.input, early)
        || in_aggregate.into_iter().any(|expr| edge(&aggregate.input, expr))
    {
        return Err(Refusal::new(
            "plan::window::early",
            "a window's start or end is used before the windows are aggregated",
        )
        .help("a row of HOP or CUMULATE has no single window; use window_start and window_end in GROUP BY, HAVING or above, or TUMBLE")
        .into_engine());
    }
    Ok(())
}

/// The leaf of an aggregate's closed windows.
fn closed_leaf(stage: &Stage, number: usize, schema: DFSchemaRef, grace_ms: i64) -> LogicalPlan {
    let output = stage.output.clone();
    let longest_ms = stage.shape.longest_ms();
    let time = |column: &OutputColumn| match column {
        OutputColumn::WindowEnd => Some(grace_ms),
        OutputColumn::WindowStart => longest_ms.map(|longest_ms| grace_ms + longest_ms),
        _ => None,
    };
    let times = output.iter().map(time).collect();
    let ordered_by = output.iter().position(|column| *column == OutputColumn::WindowEnd);
    let shape = Some(stage.shape);
    let node = ClosedWindows { stage: number, schema, output, shape, times, ordered_by };
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
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

/// Whether every OVER of a node keeps windows apart.
const OVER_MIXES: &str = "OVER on closed windows mixes windows: it would never end";
const OVER_MIXES_HELP: &str =
    "add window_start, window_end to its PARTITION BY, or write ORDER BY window_end";

fn over_in_windows(window: &Window, shape: WindowShape) -> bool {
    window.window_expr.iter().all(|expr| match plain(expr) {
        Expr::WindowFunction(call) => {
            keeps_windows(&call.params.partition_by, &window.input, shape)
        }
        _ => false,
    })
}

fn cut_stage(aggregate: &Aggregate) -> Result<Stage> {
    let input = rows::with_row(&aggregate.input)?;
    let scans = rows::scans(&aggregate.input)?;
    let shapes: Vec<Option<WindowShape>> = scans.iter().map(|scan| scan.shape).collect();
    let shape = match shapes.as_slice() {
        [Some(shape), rest @ ..] if rest.iter().all(|other| *other == Some(*shape)) => *shape,
        [Some(_), ..] => {
            return Err(Refusal::new(
                "plan::several_windows",
                "the streams under one aggregate have different windows",
            )
            .help("use the same window function with the same sizes on each of them")
            .into_engine());
        }
        _ => {
            let stream = scans.first().map_or("stream", |scan| scan.stream.as_str());
            return Err(Refusal::new(
                "plan::aggregate::no_window",
                format!("an aggregate over stream `{stream}` has no window: it would never end"),
            )
            .help(format!(
                "write FROM TUMBLE({stream}, <event time>, INTERVAL '1' MINUTE) and GROUP BY window_start, window_end"
            ))
            .into_engine());
        }
    };
    check_aggregate_expressions(aggregate)?;
    let mut streams: Vec<String> = scans.iter().map(|scan| scan.stream.clone()).collect();
    streams.sort();
    streams.dedup();
    let partition_by: Vec<String> =
        scans.iter().flat_map(|scan| scan.partition_by.iter().cloned()).collect();
    let mut stage = Stage::new(aggregate, input, streams, shape)?;
    stage.gaps = rows::gaps(&scans)?;
    for (stream, column) in &stage.gaps {
        stage.display += &format!(" gap={stream}.{column}");
    }
    check_window_grouped(&stage)?;
    if matches!(shape, WindowShape::Session { .. }) && !partition_by.is_empty() {
        check_partition(aggregate, &partition_by)?;
    }
    Ok(stage)
}

/// The aggregate must group by its window: by its start or end where one tells the other.
fn check_window_grouped(stage: &Stage) -> Result<()> {
    let has = |wanted| stage.output.contains(&wanted);
    let (start, end) = (has(OutputColumn::WindowStart), has(OutputColumn::WindowEnd));
    let enough = match stage.shape {
        WindowShape::Tumble { .. } | WindowShape::Hop { .. } => start || end,
        WindowShape::Cumulate { .. } | WindowShape::Session { .. } => start && end,
    };
    if enough {
        return Ok(());
    }
    Err(Refusal::new(
        "plan::aggregate::no_window",
        "the aggregate does not group by its window: it would never end",
    )
    .help("add window_start, window_end to GROUP BY")
    .into_engine())
}

fn check_aggregate_expressions(aggregate: &Aggregate) -> Result<()> {
    let groups = aggregate.group_expr.iter().flat_map(|expr| match expr {
        Expr::GroupingSet(set) => set.distinct_expr().into_iter().cloned().collect(),
        other => vec![other.clone()],
    });
    let keys = groups.filter(|expr| window_column(&aggregate.input, expr).is_none());
    for expr in keys.chain(aggregate.aggr_expr.iter().cloned()) {
        let mut refusal = None;
        expr.apply(|part| {
            match part {
                Expr::Column(column) if is_windowed_not_tumbling(&aggregate.input, column) => {
                    refusal = Some(
                        Refusal::new(
                            "plan::window::early",
                            format!("{} is used before the windows are aggregated", column.name),
                        )
                        .help("use window_start and window_end as plain columns of GROUP BY, or above the aggregate"),
                    );
                }
                Expr::ScalarFunction(call)
                    if call.func.signature().volatility == Volatility::Volatile =>
                {
                    refusal = Some(rows::refuse_volatile(call.func.name(), true));
                }
                _ => return Ok(TreeNodeRecursion::Continue),
            }
            Ok(TreeNodeRecursion::Stop)
        })?;
        if let Some(refusal) = refusal {
            return Err(refusal.into_engine());
        }
    }
    Ok(())
}

fn is_windowed_not_tumbling(input: &LogicalPlan, column: &Column) -> bool {
    let windowed = window_column(input, &Expr::Column(column.clone())).is_some();
    let tumbles = rows::scans(input).is_ok_and(|scans| {
        scans.iter().all(|scan| matches!(scan.shape, Some(WindowShape::Tumble { .. })))
    });
    windowed && !tumbles
}

/// PARTITION BY of a session window must be what the query groups by: sessions are per GROUP BY
/// key.
fn check_partition(aggregate: &Aggregate, partition_by: &[String]) -> Result<()> {
    let mut grouped: Vec<String> = Vec::new();
    for expr in &aggregate.group_expr {
        if window_column(&aggregate.input, expr).is_some() {
            continue;
        }
        grouped.push(match plain(expr) {
            Expr::Column(column) => origin(&aggregate.input, column)
                .map_or_else(|| column.name.clone(), |origin| leaf_name(origin).to_string()),
            other => other.to_string(),
        });
    }
    let mut wanted = partition_by.to_vec();
    grouped.sort();
    wanted.sort();
    wanted.dedup();
    if grouped == wanted {
        return Ok(());
    }
    Err(Refusal::new(
        "plan::window::partition",
        format!(
            "the session window is partitioned by {} but the query groups by {}",
            wanted.join(", "),
            if grouped.is_empty() { "nothing".to_string() } else { grouped.join(", ") }
        ),
    )
    .help("sessions are kept per GROUP BY key: make both lists the same")
    .into_engine())
}

/// The plan without an ORDER BY at its top that no LIMIT needs: rows of a window are a set.
fn without_order(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => Arc::unwrap_or_clone(sort.input),
        other => other,
    }
}

/// Whether the plan's rows depend on rows of the same window only through row-wise nodes, so that
/// all windows that close together can run at once.
pub(crate) fn is_row_wise(plan: &LogicalPlan) -> bool {
    let row_wise = matches!(
        plan,
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_)
    ) || matches!(plan, LogicalPlan::Extension(_));
    row_wise
        && plan.inputs().into_iter().all(is_row_wise)
        && plan
            .expressions()
            .iter()
            .all(|expr| !any_part(expr, |part| rows::subquery_of(part).is_some()))
}

/// Refuses functions that give another value when a result is computed again.
fn check_volatile(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            let mut refusal = None;
            expr.apply(|part| {
                if let Expr::ScalarFunction(call) = part {
                    let name = call.func.name();
                    let volatile = call.func.signature().volatility == Volatility::Volatile;
                    if volatile && !TIME_FUNCTIONS.contains(&name) {
                        refusal = Some(rows::refuse_volatile(name, false));
                        return Ok(TreeNodeRecursion::Stop);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            if let Some(refusal) = refusal {
                return Err(refusal.into_engine());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_upper(plan: &LogicalPlan, shape: WindowShape, stages: usize) -> Result<()> {
    check_volatile(plan)?;
    let session = matches!(shape, WindowShape::Session { .. });
    plan.apply_with_subqueries(|node| {
        let apart = |exprs: &[Expr], input: &LogicalPlan| keeps_windows(exprs, input, shape);
        let refusal = match node {
            LogicalPlan::Aggregate(it) if !apart(&it.group_expr, &it.input) && closes(node) => {
                Some(("an aggregate over closed windows mixes windows: it would never end", "add window_start, window_end to its GROUP BY"))
            }
            LogicalPlan::Distinct(it) if closes(node) => {
                let columns: Vec<Expr> = it.input().schema().columns().into_iter().map(Expr::Column).collect();
                (!apart(&columns, it.input())).then_some((
                    "DISTINCT over closed windows mixes windows: it would never end",
                    "add window_start, window_end to its columns",
                ))
            }
            LogicalPlan::Window(it) if closes(node) => {
                let mixes = it.window_expr.iter().any(|expr| match plain(expr) {
                    Expr::WindowFunction(call) => !apart(&call.params.partition_by, &it.input),
                    _ => true,
                });
                mixes.then_some((
                    OVER_MIXES,
                    OVER_MIXES_HELP,
                ))
            }
            LogicalPlan::Join(join) if closes(&join.left) && closes(&join.right) => {
                (!joins_windows(join, shape)).then_some((
                    "a join of two aggregates mixes windows",
                    "join ON both sides' window_start and window_end being equal",
                ))
            }
            LogicalPlan::Join(join) if keeps_table_rows(join) => Some((
                "the join keeps rows of a static table that match no window, and no window tells that none will come",
                "put the aggregate on the side whose rows are kept",
            )),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) if session && closes(node) => Some((
                "ORDER BY and LIMIT do not work on sessions: each session closes on its own",
                "use HAVING or WHERE, or windows of one size",
            )),
            LogicalPlan::RecursiveQuery(_) if closes(node) => Some((
                "a recursive query over closed windows cannot run",
                "write the steps out",
            )),
            _ => None,
        };
        match refusal {
            Some((message, help)) => {
                Err(Refusal::new("plan::mixes_windows", message).help(help).into_engine())
            }
            None => Ok(TreeNodeRecursion::Continue),
        }
    })?;
    if session && stages > 1 {
        return Err(Refusal::new(
            "plan::sessions",
            "a query over sessions can have one aggregate only",
        )
        .help("make the aggregates queries of their own")
        .into_engine());
    }
    Ok(())
}

/// Whether closed windows enter somewhere in `plan`.
fn closes(plan: &LogicalPlan) -> bool {
    any_node(plan, |node| is_closed(node).is_some())
}

pub(crate) fn is_closed(plan: &LogicalPlan) -> Option<&ClosedWindows> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// The window column of closed windows that `column` is, if it is one.
pub(crate) fn closed_window_column(plan: &LogicalPlan, column: &Column) -> Option<OutputColumn> {
    let (leaf, index) = origin(plan, column)?;
    window_output(leaf, index)
}

pub(crate) fn window_output(leaf: &LogicalPlan, index: usize) -> Option<OutputColumn> {
    let column = *is_closed(leaf)?.output.get(index)?;
    matches!(column, OutputColumn::WindowStart | OutputColumn::WindowEnd).then_some(column)
}

pub(crate) fn told_apart(start: bool, end: bool, shape: WindowShape) -> bool {
    match shape {
        WindowShape::Tumble { .. } | WindowShape::Hop { .. } => start || end,
        WindowShape::Cumulate { .. } | WindowShape::Session { .. } => start && end,
    }
}

fn keeps_windows(exprs: &[Expr], input: &LogicalPlan, shape: WindowShape) -> bool {
    let column = |expr: &Expr| match plain(expr) {
        Expr::Column(column) => closed_window_column(input, column),
        _ => None,
    };
    let of_set = |exprs: &[Expr]| {
        let found: Vec<OutputColumn> = exprs.iter().filter_map(column).collect();
        let has = |wanted| found.contains(&wanted);
        told_apart(has(OutputColumn::WindowStart), has(OutputColumn::WindowEnd), shape)
    };
    match exprs {
        [Expr::GroupingSet(datafusion::logical_expr::GroupingSet::GroupingSets(sets))] => {
            sets.iter().all(|set| of_set(set))
        }
        [Expr::GroupingSet(_)] => false,
        exprs => of_set(exprs),
    }
}

fn joins_windows(join: &Join, shape: WindowShape) -> bool {
    let (start, end) = equal_edges(join);
    told_apart(start, end, shape)
}

/// Whether a join asks for equal starts and for equal ends of windows.
fn equal_edges(join: &Join) -> (bool, bool) {
    let side = |plan: &LogicalPlan, expr: &Expr| match plain(expr) {
        Expr::Column(column) => closed_window_column(plan, column),
        _ => None,
    };
    let mut pairs: Vec<(Expr, Expr)> = join.on.clone();
    let filters = join.filter.iter().flat_map(datafusion::logical_expr::utils::split_conjunction);
    for filter in filters {
        if let Expr::BinaryExpr(equal) = filter
            && equal.op == datafusion::logical_expr::Operator::Eq
        {
            pairs.push((equal.left.as_ref().clone(), equal.right.as_ref().clone()));
            pairs.push((equal.right.as_ref().clone(), equal.left.as_ref().clone()));
        }
    }
    let equal = |wanted: OutputColumn| {
        pairs.iter().any(|(left, right)| {
            side(&join.left, left) == Some(wanted) && side(&join.right, right) == Some(wanted)
        })
    };
    (equal(OutputColumn::WindowStart), equal(OutputColumn::WindowEnd))
}

fn keeps_table_rows(join: &datafusion::logical_expr::Join) -> bool {
    let (left, right) = (closes(&join.left), closes(&join.right));
    match join.join_type {
        JoinType::Full => left || right,
        JoinType::Left | JoinType::LeftAnti | JoinType::LeftSemi | JoinType::LeftMark => {
            right && !left
        }
        JoinType::Right | JoinType::RightAnti | JoinType::RightSemi | JoinType::RightMark => {
            left && !right
        }
        JoinType::Inner => false,
    }
}

/// For the upper plan's output, the columns that are the window's end and start, in the order in
/// which results are sorted before they are numbered.
pub(crate) fn window_outputs(upper: &LogicalPlan) -> Vec<usize> {
    let of = |wanted: OutputColumn| {
        (0..upper.schema().fields().len()).find(|index| {
            origin_of_index(upper, *index)
                .is_some_and(|(leaf, index)| window_output(leaf, index) == Some(wanted))
        })
    };
    [OutputColumn::WindowEnd, OutputColumn::WindowStart].into_iter().filter_map(of).collect()
}
