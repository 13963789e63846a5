//! `tidemill explain`: which part of a query runs where.

use std::fmt::Write;

use tidemill_model::WindowShape;

use crate::graph::{Derived, Ingested, NodeKind, OperatorPlan};
use crate::query::QueryPlan;
use crate::stage::Stage;
use crate::stage::rows::RowStage;

/// What advance does with partial aggregates.
const MERGES: &str = "merge partial states, final values per window";

impl NodeKind {
    /// What advance does there, for people.
    fn does(&self) -> String {
        match self {
            NodeKind::Aggregate(_) => MERGES.to_string(),
            NodeKind::Rows(RowStage { shape: Some(_), .. }) => {
                "keep rows until their windows close".to_string()
            }
            NodeKind::Rows(_) => "put rows in order".to_string(),
            NodeKind::AggregateRows(aggregate) => {
                format!("{}, {}", shape(&aggregate.stage.shape), aggregate.stage.display)
            }
            NodeKind::Derived(derived) => derived.operator.display(),
        }
    }
}

/// What ingest runs and what advance runs, for people.
pub fn explain(query: &QueryPlan) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "query {}  (fingerprint {})", query.name, query.fingerprint);
    let grace =
        if query.grace_ms == 0 { String::new() } else { format!(" + {}", ms(query.grace_ms)) };
    match &query.shape {
        Some(it) => {
            let _ = writeln!(text, "  windows: {}", shape(it));
            let _ = writeln!(text, "  a window closes when the watermark reaches its end{grace}");
        }
        None => {
            let _ = writeln!(text, "  rows, in the order of event time");
            let _ =
                writeln!(text, "  a row is final when the watermark is past its event time{grace}");
        }
    }
    if query.allowed_lateness_ms > 0 {
        let allowed = ms(query.allowed_lateness_ms);
        let _ = writeln!(text, "  rows that come up to {allowed} later change its result");
    }
    if let Some(revisions) = &query.revisions {
        if revisions.updates {
            let _ = writeln!(text, "  every tick emits the windows that it changed");
        }
        if revisions.when.is_some() {
            let _ = writeln!(text, "  rows are emitted early, once, when `emit_when` holds");
        }
    }
    for table in &query.tables {
        let _ =
            writeln!(text, "  table {} ({}), types found from its values:", table.name, table.file);
        for column in &table.columns {
            let why = if column.joined_with_text { ", as it is compared with a text" } else { "" };
            let _ = writeln!(text, "    {} {}{why}", column.name, column.data_type);
        }
    }
    let _ = writeln!(text, "\n  in ingest, per batch of one shard");
    for (number, ingested) in query.ingested() {
        match ingested {
            Ingested::Aggregate(stage) => {
                let _ = writeln!(text, "    stage {number}: partial {}", stage.display);
                let _ = writeln!(text, "      per ({})", slices(stage));
            }
            Ingested::Rows(_) => {
                let _ = writeln!(text, "    stage {number}: single rows");
            }
        }
        indent(&mut text, &ingested.lower().display_indent().to_string(), 6);
    }
    let _ = writeln!(text, "\n  in advance, per tick");
    for (number, _) in query.stages.iter().enumerate() {
        let _ = writeln!(text, "    stage {number}: {MERGES}");
    }
    for (number, node) in query.graph.iter().flat_map(|graph| graph.nodes.iter().enumerate()) {
        let _ = writeln!(text, "    stage {number}: {}", node.kind.does());
        for glue in node.glue() {
            let _ = writeln!(text, "      rows of stage {}:", glue.from);
            indent(&mut text, &glue.plan.display_indent().to_string(), 8);
        }
        if let NodeKind::Derived(Derived { operator: OperatorPlan::Within(stage), .. }) = &node.kind
        {
            indent(&mut text, &stage.plan.display_indent().to_string(), 6);
        }
    }
    let each = match (query.shape.is_some(), query.row_wise) {
        (true, true) => "over closed windows",
        (true, false) => "per closed window",
        (false, _) => "over rows",
    };
    let _ = writeln!(text, "    {each}:");
    indent(&mut text, &query.upper.display_indent().to_string(), 6);
    text
}

fn indent(text: &mut String, plan: &str, by: usize) {
    for line in plan.lines() {
        let _ = writeln!(text, "{:by$}{line}", "");
    }
}

fn slices(stage: &Stage) -> String {
    let keys = match stage.keys {
        0 => String::new(),
        1 => "1 key, ".to_string(),
        keys => format!("{keys} keys, "),
    };
    let slice = match stage.shape {
        WindowShape::Session { .. } => "session fragment",
        _ => "window slice",
    };
    format!("{keys}{slice}")
}

fn shape(shape: &WindowShape) -> String {
    let offset = |ms_: i64| match ms_ {
        0 => String::new(),
        other => format!(", offset {}", ms(other)),
    };
    match *shape {
        WindowShape::Tumble { size_ms, offset_ms } => {
            format!("tumbling, {}{}", ms(size_ms), offset(offset_ms))
        }
        WindowShape::Hop { slide_ms, size_ms, offset_ms } => {
            format!("hopping, {} every {}{}", ms(size_ms), ms(slide_ms), offset(offset_ms))
        }
        WindowShape::Cumulate { step_ms, size_ms, offset_ms } => {
            format!(
                "cumulating to {} in steps of {}{}",
                ms(size_ms),
                ms(step_ms),
                offset(offset_ms)
            )
        }
        WindowShape::Session { gap_ms: 0 } => {
            "sessions per key, each event with its gap".to_string()
        }
        WindowShape::Session { gap_ms } => format!("sessions per key, gap {}", ms(gap_ms)),
    }
}

/// Milliseconds in the largest unit that divides them.
fn ms(ms: i64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)];
    match units.iter().find(|(_, size)| ms % size == 0) {
        Some((unit, size)) => format!("{} {unit}", ms / size),
        None => format!("{ms} ms"),
    }
}
