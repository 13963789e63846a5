//! The open state of a query of rows: stages that feed each other.
//!
//! ```text
//! segment ─▶ rows, aggregate ─ closed ─▶ glue ─▶ operator ─▶ … ─▶ upper plan
//! ```
//!
//! A tick runs the stages once, in their order: each hands over what is final at the tick's
//! watermark, and the next takes it at once.
//!
//! # Invariants
//! 1. What a stage hands over, put together over all ticks, does not depend on the ticks.
//! 2. A stage's input never gets a row with a time below the watermark that its operator was told.
//! 3. Whatever changes here is told by results, late rows or [`Closing::moved`], so that a
//!    checkpoint tells of it and a replay does it again.
//!
//! Not here: single stages (`ordered`, `windows`, `sessions`, the operators).

use arrow::array::{AsArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef, UInt32Type};
use datafusion::common::{Result, internal_err};
use std::collections::BTreeSet;
use std::sync::Arc;
use tidemill_model::{EventMs, Window, WindowShape};
use tidemill_plan::{
    AggregateRows, Derived, Glue, Graph, Ingested, Node, NodeKind, OperatorPlan, OutputColumn,
    QueryPlan, ROW, RowStage, Runner, Stage, part_number,
};

use super::as_of::AsOfJoin;
use super::count::Count;
use super::join::IntervalJoin;
use super::late::{Ledger, RowLedger, Source};
use super::operator::{Operator, Rows};
use super::ordered::{Ordered, times};
use super::over::Over;
use super::over::last::Last;
use super::results::{Upper, sorted};
use super::rows_windows::RowsWindows;
use super::sessions::OpenSessions;
use super::windows::OpenSlices;
use crate::ports::OpenWindows;

/// The open stages of one query.
pub(super) struct OpenGraph {
    nodes: Vec<OpenNode>,
}

enum OpenNode {
    Slices(OpenSlices),
    Sessions(OpenSessions),
    Rows(Ordered),
    RowsWindows { input: Input, windows: RowsWindows },
    Derived { inputs: Vec<Input>, operator: Box<dyn Operator> },
}

/// One input of a stage.
struct Input {
    runner: Runner,
    /// Rows that are not in the order of their time when they come.
    waiting: Option<Ordered>,
}

/// What a stage hands over at one tick.
enum Handed {
    /// Closed windows, in the order in which they close.
    Windows(Vec<(Window, RecordBatch)>),
    Rows(RecordBatch),
}

/// What closing did.
pub(super) struct Closing {
    pub(super) windows: u64,
    /// See [`crate::ports::Closed::moved`].
    pub(super) moved: bool,
}

impl OpenGraph {
    pub(super) fn new(plan: &QueryPlan, graph: &Graph) -> Result<OpenGraph> {
        let nodes = graph.nodes.iter().map(|node| open(plan, node)).collect::<Result<_>>()?;
        Ok(OpenGraph { nodes })
    }

    /// Makes the state empty.
    pub(super) fn clear(&mut self) {
        self.nodes.iter_mut().for_each(OpenNode::clear);
    }

    /// Takes rows that ingest shipped for stage `number`.
    pub(super) fn merge(
        &mut self,
        plan: &QueryPlan,
        number: usize,
        rows: RecordBatch,
        closed: Option<EventMs>,
        ledger: &mut Ledger,
        source: Source,
    ) -> Result<()> {
        let kind = plan.graph.as_ref().and_then(|graph| graph.nodes.get(number));
        match (kind.map(|node| &node.kind), self.nodes.get_mut(number)) {
            (Some(NodeKind::Aggregate(stage)), Some(OpenNode::Slices(slices))) => {
                slices.merge(plan, stage, rows, closed, &mut ledger.at(plan, stage, source))
            }
            (Some(NodeKind::Aggregate(_)), Some(OpenNode::Sessions(sessions))) => {
                sessions.merge(rows, source);
                Ok(())
            }
            (Some(NodeKind::Rows(stage)), Some(OpenNode::Rows(kept))) => {
                let log = source.log().to_string();
                let ledger = ledger.of_rows(plan, stage, source);
                kept.push(on_time(plan, stage, rows, closed, &log, ledger)?);
                Ok(())
            }
            _ => internal_err!("no log feeds stage {number}"),
        }
    }

    /// Ends the tick's merging.
    pub(super) fn settle(
        &mut self,
        plan: &QueryPlan,
        closed: Option<EventMs>,
        ledger: &mut Ledger,
    ) -> Result<()> {
        for (node, open) in nodes(plan).iter().zip(&mut self.nodes) {
            if let (NodeKind::Aggregate(stage), OpenNode::Sessions(sessions)) = (&node.kind, open) {
                sessions.settle(plan, stage, closed, ledger)?;
            }
        }
        Ok(())
    }

    /// Hands over what is final at `watermark` and was not at `before`, from stage to stage and into
    /// the upper plan.
    pub(super) fn close(
        &mut self,
        plan: &QueryPlan,
        before: Option<EventMs>,
        watermark: EventMs,
        upper: &mut Upper,
    ) -> Result<Closing> {
        let kept = self.kept();
        let mut handed: Vec<Handed> = Vec::new();
        for (node, open) in nodes(plan).iter().zip(&mut self.nodes) {
            let next = match (&node.kind, open) {
                (NodeKind::Aggregate(stage), OpenNode::Slices(slices)) => {
                    let closing = slices.windows_closing(plan, stage, before, watermark);
                    let mut windows = Vec::new();
                    for window in closing {
                        windows.push((window, sorted(&slices.close(stage, window)?, &[])?));
                    }
                    slices.forget(plan, stage, watermark);
                    Handed::Windows(windows)
                }
                (NodeKind::Aggregate(stage), OpenNode::Sessions(sessions)) => {
                    let closed = sessions.close(plan, stage, watermark)?;
                    Handed::Rows(match closed {
                        Some((_, rows)) => sorted(&rows, &edges(stage))?,
                        None => RecordBatch::new_empty(Arc::clone(&stage.closed)),
                    })
                }
                (NodeKind::Rows(stage), OpenNode::Rows(kept)) => match stage.shape {
                    None => {
                        let released = kept.release(watermark.minus_unless_max(plan.grace_ms))?;
                        Handed::Rows(row_columns(stage, &released, None)?)
                    }
                    Some(shape) => {
                        Handed::Windows(window_rows(plan, stage, shape, kept, before, watermark)?)
                    }
                },
                (NodeKind::AggregateRows(aggregate), OpenNode::RowsWindows { input, windows }) => {
                    let AggregateRows { input: glue, stage } = aggregate.as_ref();
                    let reached = watermark.minus_unless_max(glue.delay_ms);
                    let rows = input.take(glue, &handed[glue.from], reached)?;
                    let before = before.map(|before| before.minus_unless_max(glue.delay_ms));
                    let closed = windows.advance(plan, stage, rows, before, reached)?;
                    let ordered = closed
                        .into_iter()
                        .map(|(window, rows)| Ok((window, sorted(&rows, &[])?)))
                        .collect::<Result<_>>()?;
                    Handed::Windows(ordered)
                }
                (NodeKind::Derived(derived), OpenNode::Derived { inputs, operator }) => {
                    let mut rows = Vec::new();
                    let mut watermarks = Vec::new();
                    for (glue, input) in derived.inputs.iter().zip(inputs) {
                        let reached = watermark.minus_unless_max(glue.delay_ms);
                        rows.push(input.take(glue, &handed[glue.from], reached)?);
                        watermarks.push(reached);
                    }
                    Handed::Rows(operator.advance(rows, &watermarks)?)
                }
                _ => return internal_err!("a stage is not what its plan says"),
            };
            handed.push(next);
        }
        let windows = feed(plan, &handed, upper)?;
        let handed_over = handed.iter().any(|handed| !handed.is_empty());
        Ok(Closing { windows, moved: handed_over || kept != self.kept() })
    }

    /// For what would become final at watermarks up to `watermark`: at which, and about how many
    /// rows.
    pub(super) fn closing(
        &self,
        plan: &QueryPlan,
        before: Option<EventMs>,
        watermark: EventMs,
    ) -> Vec<(EventMs, usize)> {
        let mut closing = Vec::new();
        for (node, open) in nodes(plan).iter().zip(&self.nodes) {
            match (&node.kind, open) {
                (NodeKind::Aggregate(stage), OpenNode::Slices(slices)) => {
                    closing.extend(slices.closing(plan, stage, before, watermark));
                }
                (NodeKind::Aggregate(stage), OpenNode::Sessions(sessions)) => {
                    closing.extend(sessions.closing(plan, stage, before, watermark));
                }
                (NodeKind::Rows(stage), OpenNode::Rows(kept)) => {
                    let final_at = |time: EventMs| match stage.shape {
                        Some(shape) => shape.slice_of(time).map_or(time, |it| shape.last_end(it)),
                        None => time.plus(1),
                    };
                    let counts = kept.counts(watermark).into_iter();
                    let counts =
                        counts.map(|(time, rows)| (final_at(time).plus(plan.grace_ms), rows));
                    closing.extend(counts.filter(|(at, _)| *at <= watermark));
                }
                (NodeKind::AggregateRows(aggregate), OpenNode::RowsWindows { windows, .. }) => {
                    let AggregateRows { input, stage } = aggregate.as_ref();
                    let back = |at: EventMs| at.minus_unless_max(input.delay_ms);
                    let of_windows =
                        windows.closing(plan, stage, before.map(back), back(watermark));
                    let forth = |(at, rows): (EventMs, usize)| (at.plus(input.delay_ms), rows);
                    closing.extend(of_windows.into_iter().map(forth));
                }
                _ => {}
            }
        }
        closing
    }

    /// The least watermark at which something that is open now has become final.
    pub(super) fn last_close(&self, plan: &QueryPlan) -> Option<EventMs> {
        let of = |(node, open): (&Node, &OpenNode)| match (&node.kind, open) {
            (NodeKind::Aggregate(stage), OpenNode::Slices(slices)) => {
                slices.last_end(stage, None).map(|end| end.plus(plan.grace_ms))
            }
            (NodeKind::Aggregate(stage), OpenNode::Sessions(sessions)) => {
                sessions.last_close(plan, stage, None)
            }
            (NodeKind::Rows(stage), OpenNode::Rows(kept)) => {
                let newest = kept.newest()?;
                let end = match stage.shape {
                    Some(shape) => shape.slice_of(newest).map(|slice| shape.last_end(slice))?,
                    None => newest.plus(1),
                };
                Some(end.plus(plan.grace_ms))
            }
            (NodeKind::AggregateRows(aggregate), OpenNode::RowsWindows { input, windows }) => {
                let AggregateRows { input: glue, stage } = aggregate.as_ref();
                let waits = input.waiting.as_ref().and_then(Ordered::newest);
                let ends = windows.last_close(stage);
                waits.map(|newest| newest.plus(1)).max(ends).map(|at| at.plus(glue.delay_ms))
            }
            (NodeKind::Derived(derived), OpenNode::Derived { inputs, operator }) => {
                let waits = derived.inputs.iter().zip(inputs).filter_map(|(glue, input)| {
                    let newest = input.waiting.as_ref()?.newest()?;
                    Some(newest.plus(1).plus(glue.delay_ms))
                });
                let delay_ms = derived.inputs.iter().map(|glue| glue.delay_ms).max().unwrap_or(0);
                waits.chain(operator.last_close().map(|at| at.plus(delay_ms))).max()
            }
            _ => None,
        };
        nodes(plan).iter().zip(&self.nodes).filter_map(of).max()
    }

    /// The state, by part number.
    pub(super) fn parts(&mut self, plan: &QueryPlan) -> Result<Vec<(u16, RecordBatch)>> {
        let mut parts = Vec::new();
        for (number, (node, open)) in nodes(plan).iter().zip(&mut self.nodes).enumerate() {
            let of_node = match (&node.kind, open) {
                (NodeKind::Aggregate(stage), OpenNode::Slices(slices)) => {
                    vec![slices.seal_all(stage)?]
                }
                (NodeKind::Aggregate(stage), OpenNode::Sessions(sessions)) => {
                    vec![sessions.rows(stage)?]
                }
                (NodeKind::Rows(_), OpenNode::Rows(kept)) => vec![kept.part()?],
                (NodeKind::AggregateRows(aggregate), OpenNode::RowsWindows { input, windows }) => {
                    let AggregateRows { stage, .. } = aggregate.as_ref();
                    let waiting = input.waiting.as_mut().map(Ordered::part).transpose()?;
                    waiting.into_iter().chain(windows.parts(stage)?).collect()
                }
                (NodeKind::Derived(_), OpenNode::Derived { inputs, operator }) => {
                    let mut of_node = Vec::new();
                    for input in inputs {
                        if let Some(waiting) = &mut input.waiting {
                            of_node.push(waiting.part()?);
                        }
                    }
                    let of_operator = operator.parts()?;
                    operator.restore(of_operator.clone())?;
                    of_node.extend(of_operator);
                    of_node
                }
                _ => return internal_err!("a stage is not what its plan says"),
            };
            let numbered = of_node.into_iter().enumerate();
            let numbered = numbered.map(|(part, rows)| (part_number(number, part), rows));
            parts.extend(numbered.filter(|(_, rows)| rows.num_rows() > 0));
        }
        Ok(parts)
    }

    /// Replaces the state, which must be empty, by what [`OpenGraph::parts`] gave.
    pub(super) fn restore(
        &mut self,
        plan: &QueryPlan,
        parts: Vec<(u16, RecordBatch)>,
    ) -> Result<()> {
        let known: BTreeSet<u16> = nodes(plan)
            .iter()
            .enumerate()
            .flat_map(|(number, node)| {
                (0..node.state().len()).map(move |part| part_number(number, part))
            })
            .collect();
        if let Some((number, _)) = parts.iter().find(|(number, _)| !known.contains(number)) {
            return internal_err!("no stage has the state part {number}");
        }
        for (number, (node, open)) in nodes(plan).iter().zip(&mut self.nodes).enumerate() {
            let mut of_node = node.state().into_iter().enumerate().map(|(part, schema)| {
                let wanted = part_number(number, part);
                let found = parts.iter().find(|(number, _)| *number == wanted);
                match found {
                    Some((_, rows)) if rows.schema().fields() != schema.fields() => {
                        internal_err!("a state part has other columns than its stage")
                    }
                    Some((_, rows)) => Ok(rows.clone()),
                    None => Ok(RecordBatch::new_empty(schema)),
                }
            });
            let mut next = || of_node.next().unwrap_or_else(|| internal_err!("a part is missing"));
            match (&node.kind, open) {
                (NodeKind::Aggregate(stage), OpenNode::Slices(slices)) => {
                    slices.restore(stage, &next()?)?;
                }
                (NodeKind::Aggregate(_), OpenNode::Sessions(sessions)) => {
                    sessions.restore(plan, next()?)
                }
                (NodeKind::Rows(_), OpenNode::Rows(kept)) => kept.restore(next()?),
                (NodeKind::AggregateRows(aggregate), OpenNode::RowsWindows { input, windows }) => {
                    let AggregateRows { stage, .. } = aggregate.as_ref();
                    if let Some(waiting) = &mut input.waiting {
                        waiting.restore(next()?);
                    }
                    windows.restore(stage, of_node.collect::<Result<_>>()?)?;
                }
                (NodeKind::Derived(_), OpenNode::Derived { inputs, operator }) => {
                    for input in inputs {
                        if let Some(waiting) = &mut input.waiting {
                            waiting.restore(next()?);
                        }
                    }
                    operator.restore(of_node.collect::<Result<_>>()?)?;
                }
                _ => return internal_err!("a stage is not what its plan says"),
            }
        }
        Ok(())
    }

    /// What is open, for people and metrics.
    pub(super) fn measure(&self, plan: &QueryPlan, closed: Option<EventMs>) -> OpenWindows {
        let (mut windows, mut groups) = (0, 0);
        let mut starts: Vec<EventMs> = Vec::new();
        for (node, open) in nodes(plan).iter().zip(&self.nodes) {
            match (&node.kind, open) {
                (NodeKind::Aggregate(stage), OpenNode::Slices(slices)) => {
                    let (open, oldest, of_node, _) = slices.measure(plan, stage, closed);
                    windows = windows.max(open);
                    groups += of_node;
                    starts.extend(oldest);
                }
                (NodeKind::Aggregate(stage), OpenNode::Sessions(sessions)) => {
                    let (open, oldest, of_node, _) = sessions.measure(plan, stage, closed);
                    windows = windows.max(open);
                    groups += of_node;
                    starts.extend(oldest);
                }
                (_, OpenNode::Rows(kept)) => {
                    groups += kept.len();
                    starts.extend(kept.oldest());
                }
                (
                    NodeKind::AggregateRows(aggregate),
                    OpenNode::RowsWindows { windows: of_node, .. },
                ) => {
                    let AggregateRows { input, stage } = aggregate.as_ref();
                    let closed = closed.map(|at| at.minus_unless_max(input.delay_ms));
                    let (open, oldest, rows) = of_node.measure(plan, stage, closed);
                    windows = windows.max(open);
                    groups += rows;
                    starts.extend(oldest);
                }
                (_, open) => groups += open.rows(),
            }
        }
        OpenWindows {
            query: plan.name.clone(),
            windows,
            groups,
            oldest: starts.into_iter().min(),
            bytes: self.bytes(),
        }
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> u64 {
        let of = |node: &OpenNode| match node {
            OpenNode::Slices(slices) => slices.bytes(),
            OpenNode::Sessions(sessions) => sessions.bytes(),
            OpenNode::Rows(kept) => kept.bytes(),
            OpenNode::RowsWindows { input, windows } => {
                windows.bytes() + input.waiting.as_ref().map_or(0, Ordered::bytes)
            }
            OpenNode::Derived { inputs, operator } => {
                let waiting = inputs.iter().filter_map(|input| input.waiting.as_ref());
                operator.bytes() + waiting.map(Ordered::bytes).sum::<u64>()
            }
        };
        self.nodes.iter().map(of).sum()
    }

    /// Rows that the stages of rows hold, each.
    fn kept(&self) -> Vec<u64> {
        self.nodes.iter().map(OpenNode::rows).collect()
    }
}

impl OpenNode {
    fn clear(&mut self) {
        match self {
            OpenNode::Slices(slices) => *slices = OpenSlices::default(),
            OpenNode::Sessions(sessions) => sessions.clear(),
            OpenNode::Rows(kept) => kept.clear(),
            OpenNode::RowsWindows { input, windows } => {
                input.waiting.iter_mut().for_each(Ordered::clear);
                windows.clear();
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

    fn rows(&self) -> u64 {
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

impl Handed {
    fn is_empty(&self) -> bool {
        match self {
            Handed::Windows(windows) => windows.is_empty(),
            Handed::Rows(rows) => rows.num_rows() == 0,
        }
    }

    /// Everything, in order; `None`: nothing.
    fn together(&self) -> Result<Option<RecordBatch>> {
        match self {
            Handed::Rows(rows) => Ok((rows.num_rows() > 0).then(|| rows.clone())),
            Handed::Windows(windows) => match windows.first() {
                Some((_, first)) => {
                    let rows = windows.iter().map(|(_, rows)| rows);
                    Ok(Some(concat_batches(&first.schema(), rows)?))
                }
                None => Ok(None),
            },
        }
    }
}

impl Input {
    fn new(plan: &QueryPlan, glue: &Glue) -> Result<Input> {
        let waiting = || Ordered::new(Arc::clone(&glue.schema), glue.time, None);
        Ok(Input { runner: plan.glue(glue)?, waiting: (!glue.is_ordered).then(waiting) })
    }

    /// The rows of the input that are final at `watermark`, in order.
    fn take(&mut self, glue: &Glue, handed: &Handed, watermark: EventMs) -> Result<Rows> {
        let mut rows = RecordBatch::new_empty(Arc::clone(&glue.schema));
        if let Some(handed) = handed.together()? {
            rows = self.run(glue, &handed)?;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.push(rows);
            rows = waiting.release(watermark)?;
        }
        Ok(Rows { times: times(&rows, glue.time)?, batch: rows })
    }

    /// Runs the glue; its rows in the order of the rows that they come from.
    fn run(&mut self, glue: &Glue, handed: &RecordBatch) -> Result<RecordBatch> {
        let numbered = |slot: &tidemill_plan::Slot| with_row(handed, &slot.wanted());
        let rows = self.runner.run(|slot| Ok(Some(numbered(slot)?)))?;
        let Some(first) = rows.first() else {
            return Ok(RecordBatch::new_empty(Arc::clone(&glue.schema)));
        };
        let rows = concat_batches(&first.schema(), &rows)?;
        let columns = rows.num_columns() - 1;
        let Some(numbers) = rows.column(columns).as_primitive_opt::<UInt32Type>() else {
            return internal_err!("a stage's input lost its row column");
        };
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_by_key(|row| numbers.value(*row as usize));
        let rows = match numbers.values().is_sorted() {
            true => rows.clone(),
            false => take_record_batch(&rows, &UInt32Array::from(order))?,
        };
        let columns = rows.columns()[..columns]
            .iter()
            .zip(glue.schema.fields())
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&glue.schema), columns)?)
    }
}

/// The rows that a slot of this schema wants, which may be fewer columns and [`ROW`] last.
fn with_row(handed: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::new();
    for (index, field) in wanted.fields().iter().enumerate() {
        if field.name() == ROW {
            columns.push(Arc::new(UInt32Array::from_iter_values(0..handed.num_rows() as u32)) as _);
        } else if index < handed.num_columns() {
            columns.push(Arc::clone(handed.column(index)));
        } else {
            return internal_err!("a stage hands over fewer columns than the next one takes");
        }
    }
    Ok(RecordBatch::try_new(Arc::clone(wanted), columns)?)
}

fn nodes(plan: &QueryPlan) -> &[Node] {
    plan.graph.as_ref().map_or(&[], |graph| graph.nodes.as_slice())
}

fn open(plan: &QueryPlan, node: &Node) -> Result<OpenNode> {
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
            input: Input::new(plan, &aggregate.input)?,
            windows: RowsWindows::new(plan, aggregate)?,
        },
        NodeKind::Derived(Derived { inputs, operator }) => OpenNode::Derived {
            inputs: inputs.iter().map(|glue| Input::new(plan, glue)).collect::<Result<_>>()?,
            operator: start(operator)?,
        },
    })
}

/// An operator without state.
fn start(operator: &OperatorPlan) -> Result<Box<dyn Operator>> {
    Ok(match operator {
        OperatorPlan::Join(stage) => Box::new(IntervalJoin::new(stage)?),
        OperatorPlan::AsOf(stage) => Box::new(AsOfJoin::new(stage)?),
        OperatorPlan::Over(stage) => Box::new(Over::new(stage)?),
        OperatorPlan::Last(stage) => Box::new(Last::new(stage)),
        OperatorPlan::Count(stage) => Box::new(Count::new(stage)?),
    })
}

/// The columns by which closed sessions are handed over first: end, then start.
fn edges(stage: &Stage) -> Vec<usize> {
    let at = |wanted| stage.output.iter().position(|column| *column == wanted);
    [OutputColumn::WindowEnd, OutputColumn::WindowStart].into_iter().filter_map(at).collect()
}

/// Shipped rows as they are kept, without those that are late, which are entered.
fn on_time(
    plan: &QueryPlan,
    stage: &RowStage,
    rows: RecordBatch,
    closed: Option<EventMs>,
    log: &str,
    mut ledger: RowLedger<'_>,
) -> Result<RecordBatch> {
    let time = stage.time_index();
    let Some(times) = rows.column(time).as_primitive_opt::<Int64Type>() else {
        return internal_err!("the event time of a row has another type");
    };
    let mut chosen: Vec<u32> = Vec::with_capacity(times.len());
    for (row, time) in times.values().iter().enumerate() {
        let (missed, is_lost) = missed(plan, stage, EventMs(*time), closed);
        if is_lost || !missed.is_empty() {
            ledger.single(&rows, row, &missed, !is_lost)?;
        }
        if !is_lost {
            chosen.push(row as u32);
        }
    }
    let rows = match chosen.len() == rows.num_rows() {
        true => rows,
        false => take_record_batch(&rows, &UInt32Array::from(chosen))?,
    };
    let mut columns = rows.columns()[..=time].to_vec();
    columns
        .push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(log, rows.num_rows()))));
    Ok(RecordBatch::try_new(Arc::clone(&stage.kept), columns)?)
}

/// The windows of a row that had closed, and whether nothing is left for it.
fn missed(
    plan: &QueryPlan,
    stage: &RowStage,
    time: EventMs,
    closed: Option<EventMs>,
) -> (Vec<Window>, bool) {
    let Some(closed) = closed else { return (Vec::new(), false) };
    let Some(shape) = stage.shape else {
        return (Vec::new(), time.plus(plan.grace_ms) < closed);
    };
    let Some(slice) = shape.slice_of(time) else { return (Vec::new(), true) };
    if shape.first_end(slice).plus(plan.grace_ms) > closed {
        return (Vec::new(), false);
    }
    let gone = |window: &Window| window.end.plus(plan.grace_ms) <= closed;
    let missed = shape.each_window_of(slice).filter(gone).collect();
    (missed, shape.last_end(slice).plus(plan.grace_ms) <= closed)
}

/// The rows of each window that closes, and drops those that no open window needs.
fn window_rows(
    plan: &QueryPlan,
    stage: &RowStage,
    shape: WindowShape,
    kept: &mut Ordered,
    before: Option<EventMs>,
    watermark: EventMs,
) -> Result<Vec<(Window, RecordBatch)>> {
    let (rows, times) = kept.rows()?;
    let mut closing: BTreeSet<Window> = BTreeSet::new();
    let mut last = None;
    for time in times.values() {
        let slice = shape.slice_of(EventMs(*time));
        if slice.is_none() || slice == last {
            continue;
        }
        last = slice;
        let windows = slice.into_iter().flat_map(|slice| shape.each_window_of(slice));
        closing.extend(windows.filter(|window| {
            let at = window.end.plus(plan.grace_ms);
            at <= watermark && before.is_none_or(|before| at > before)
        }));
    }
    let mut handed = Vec::new();
    for window in closing {
        let from = times.values().partition_point(|time| *time < window.start.0);
        let to = times.values().partition_point(|time| *time < window.end.0);
        let rows = rows.slice(from, to - from);
        handed.push((window, row_columns(stage, &rows, Some(window))?));
    }
    let open = |time: &i64| {
        let slice = shape.slice_of(EventMs(*time));
        slice.is_some_and(|slice| shape.last_end(slice).plus(plan.grace_ms) > watermark)
    };
    if let Some(first) = times.values().iter().position(open) {
        kept.release(EventMs(times.value(first)))?;
    } else {
        kept.release(EventMs::MAX)?;
    }
    Ok(handed)
}

/// Kept rows as they are handed over.
fn row_columns(
    stage: &RowStage,
    kept: &RecordBatch,
    window: Option<Window>,
) -> Result<RecordBatch> {
    let count = kept.num_rows();
    let edge = |time: Option<EventMs>| {
        let time = time.map_or(0, |time| time.0);
        Arc::new(TimestampMillisecondArray::from_value(time, count)) as _
    };
    let columns = stage.output.iter().map(|column| match column {
        OutputColumn::Value(index) => Arc::clone(kept.column(*index)),
        OutputColumn::WindowStart => edge(window.map(|window| window.start)),
        _ => edge(window.map(|window| window.end)),
    });
    Ok(RecordBatch::try_new(Arc::clone(&stage.closed), columns.collect())?)
}

/// Runs the upper plan over what its stages handed over. Answers how many windows it got.
fn feed(plan: &QueryPlan, handed: &[Handed], upper: &mut Upper) -> Result<u64> {
    let leaves = plan.upper_stages();
    let of_leaves = || leaves.iter().filter_map(|leaf| handed.get(*leaf));
    let windows: BTreeSet<Window> = of_leaves()
        .flat_map(|handed| match handed {
            Handed::Windows(windows) => windows.as_slice(),
            Handed::Rows(_) => &[],
        })
        .map(|(window, _)| *window)
        .collect();
    if plan.row_wise {
        if of_leaves().any(|handed| !handed.is_empty()) {
            let mut together = Vec::new();
            for handed in handed {
                together.push(handed.together()?);
            }
            upper.run_on(|stage| together.get(stage).cloned().flatten())?;
        }
        return Ok(windows.len() as u64);
    }
    for window in &windows {
        let mut batches = Vec::new();
        for handed in handed {
            batches.push(match handed {
                Handed::Windows(windows) => {
                    let found = windows.binary_search_by(|(other, _)| other.cmp(window)).ok();
                    found.map(|index| windows[index].1.clone())
                }
                Handed::Rows(_) => None,
            });
        }
        upper.run_on(|stage| batches.get(stage).cloned().flatten())?;
    }
    Ok(windows.len() as u64)
}

impl OpenGraph {
    /// What ingest ships for stage `number`.
    pub(super) fn ingested(plan: &QueryPlan, number: usize) -> Option<Ingested<'_>> {
        nodes(plan).get(number)?.ingested()
    }
}
