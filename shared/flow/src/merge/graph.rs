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
//! 4. A row that something fails on goes no further, and no other row is in want of it.
//!
//! Not here: single stages (`rows`, `windows`, `sessions`, the operators), what goes from one to the
//! next (`handed`, `input`).

pub(super) mod handed;
mod input;
mod node;
mod rows;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use datafusion::common::{Result, internal_err};
use tidemill_model::EventMs;
use tidemill_plan::{AggregateRows, Graph, Ingested, Node, NodeKind, QueryPlan, part_number};

use self::handed::{Handed, feed};
use self::node::{OpenNode, open};
use self::rows::{on_time, row_columns, window_rows};
use super::failed::Failures;
use super::late::{Ledger, Source};
use super::ordered::Ordered;
use super::results::Upper;
use crate::ports::OpenWindows;

/// The open stages of one query.
pub(super) struct OpenGraph {
    nodes: Vec<OpenNode>,
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
    pub(super) fn clear(&mut self, plan: &QueryPlan) {
        for (node, open) in nodes(plan).iter().zip(&mut self.nodes) {
            open.clear(node);
        }
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
        failures: &mut Failures<'_>,
    ) -> Result<Closing> {
        let kept = self.kept();
        let mut handed: Vec<Handed> = Vec::new();
        for (node, open) in nodes(plan).iter().zip(&mut self.nodes) {
            let next = match (&node.kind, open) {
                (NodeKind::Aggregate(stage), OpenNode::Slices(slices)) => {
                    Handed::closed(plan, stage, slices, before, watermark, failures)?
                }
                (NodeKind::Aggregate(stage), OpenNode::Sessions(sessions)) => {
                    Handed::ended(plan, stage, sessions, watermark, failures)?
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
                    let rows = input.take(plan, glue, &handed[glue.from], reached, failures)?;
                    let before = before.map(|before| before.minus_unless_max(glue.delay_ms));
                    windows.advance(plan, stage, rows, before, reached, failures)?
                }
                (NodeKind::Derived(derived), OpenNode::Derived { inputs, operator }) => {
                    let mut rows = Vec::new();
                    let mut watermarks = Vec::new();
                    for (glue, input) in derived.inputs.iter().zip(inputs) {
                        let reached = watermark.minus_unless_max(glue.delay_ms);
                        let handed = &handed[glue.from];
                        rows.push(input.take(plan, glue, handed, reached, failures)?);
                        watermarks.push(reached);
                    }
                    Handed::Rows(operator.advance(rows, &watermarks, failures)?)
                }
                _ => return internal_err!("a stage is not what its plan says"),
            };
            handed.push(next);
        }
        let windows = feed(plan, &handed, upper, failures)?;
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
                let ends = windows.last_close(plan, stage);
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
                    windows.restore(plan, stage, of_node.collect::<Result<_>>()?)?;
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

fn nodes(plan: &QueryPlan) -> &[Node] {
    plan.graph.as_ref().map_or(&[], |graph| graph.nodes.as_slice())
}

impl OpenGraph {
    /// What ingest ships for stage `number`.
    pub(super) fn ingested(plan: &QueryPlan, number: usize) -> Option<Ingested<'_>> {
        nodes(plan).get(number)?.ingested()
    }
}
