//! A stage of single events: what ingest ships one by one, and what it means above.
//!
//! The lower plan ends in plain columns `__c0 …` and [`ROW`].
//!
//! # Schemas
//! partial: the columns, [`EVENT_TIME`], then [`POSITION`] and [`RAW`], which only rows have that
//! ingest saw behind the watermark.
//! kept: the columns, [`EVENT_TIME`], [`LOG`].
//!
//! With windows the stage hands over each window's rows when it closes; a window's ends are no
//! columns of what is shipped, for they follow from the event time.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, Projection};
use tidemill_model::{Position, WindowShape};

use crate::error::Refusal;
use crate::leaf::{ClosedWindows, ROW, WINDOW_END, WINDOW_START};
use crate::lineage::{leaf_name, origin_of_index};
use crate::rows::{self, Scanned};
use crate::stage::{EVENT_TIME, OutputColumn, POSITION, RAW};

/// Column of kept rows: the log that a row came from.
pub const LOG: &str = "__log";

/// Single events of streams.
#[derive(Debug, Clone)]
pub struct RowStage {
    /// The streams that it reads; several when the query unites them.
    pub streams: Vec<String>,
    /// The windows that it hands over one by one; `None`: rows in the order of event time.
    pub shape: Option<WindowShape>,
    /// What ingest runs: ends in the columns that the module describes.
    pub lower: LogicalPlan,
    /// Number of columns that are shipped.
    pub columns: usize,
    /// Schema of shipped rows.
    pub partial: SchemaRef,
    /// Schema of rows that wait.
    pub kept: SchemaRef,
    /// Columns of what it hands over.
    pub output: Vec<OutputColumn>,
    /// Schema of what it hands over.
    pub closed: SchemaRef,
}

impl RowStage {
    /// Index of [`EVENT_TIME`] in shipped and in kept rows.
    pub fn time_index(&self) -> usize {
        self.columns
    }

    /// The stage of a plan that reads streams row by row, and its leaf as stage `number`.
    pub(crate) fn new(
        plan: &LogicalPlan,
        number: usize,
        grace_ms: i64,
    ) -> Result<(RowStage, LogicalPlan)> {
        let input = rows::with_row(plan)?;
        let scans = rows::scans(plan)?;
        let shape = shape_of(&scans)?;
        let mut streams: Vec<String> = scans.iter().map(|scan| scan.stream.clone()).collect();
        streams.sort();
        streams.dedup();

        let mut exprs = Vec::new();
        let mut output = Vec::new();
        let mut times = Vec::new();
        let mut ordered_by = None;
        let mut fields = Vec::new();
        for index in 0..plan.schema().fields().len() {
            let (qualifier, field) = plan.schema().qualified_field(index);
            if field.name() == ROW {
                continue;
            }
            let role = role_of(plan, index, shape.is_some());
            let column = match role {
                Role::Edge(edge) => edge,
                Role::Time | Role::Plain => {
                    let column = Expr::from((qualifier, field));
                    exprs.push(column.alias(format!("__c{}", exprs.len())));
                    OutputColumn::Value(exprs.len() - 1)
                }
            };
            let lag = shape.map_or(0, |shape| shape.longest_ms().unwrap_or(i64::MAX));
            times.push(match column {
                OutputColumn::WindowEnd => Some(grace_ms),
                OutputColumn::WindowStart => Some(grace_ms.saturating_add(lag)),
                _ if role == Role::Time => Some(grace_ms.saturating_add(lag)),
                _ => None,
            });
            let rises = match shape {
                None => role == Role::Time,
                Some(_) => column == OutputColumn::WindowEnd,
            };
            if ordered_by.is_none() && rises {
                ordered_by = Some(output.len());
            }
            output.push(column);
            fields.push((qualifier.cloned(), Arc::clone(field)));
        }
        let columns = exprs.len();
        exprs.push(Expr::Column(rows::row_column(input.schema())?));
        let lower = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);

        let mut shipped: Vec<Field> = lower.schema().fields()[..columns]
            .iter()
            .map(|field| Field::new(field.name(), field.data_type().clone(), true))
            .collect();
        shipped.push(Field::new(EVENT_TIME, DataType::Int64, false));
        let mut kept = shipped.clone();
        kept.push(Field::new(LOG, DataType::Utf8, false));
        let position = DataType::FixedSizeBinary(Position::BYTES as i32);
        shipped.push(Field::new(POSITION, position, true));
        shipped.push(Field::new(RAW, DataType::Binary, true));

        let schema: DFSchemaRef =
            Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        let closed = Arc::clone(schema.inner());
        let node = Arc::new(ClosedWindows {
            stage: number,
            schema,
            output: output.clone(),
            shape,
            times,
            ordered_by,
            padded: Vec::new(),
        });
        let stage = RowStage {
            streams,
            shape,
            lower,
            columns,
            partial: Arc::new(Schema::new(shipped)),
            kept: Arc::new(Schema::new(kept)),
            output,
            closed,
        };
        Ok((stage, LogicalPlan::Extension(Extension { node })))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The window's start or end.
    Edge(OutputColumn),
    /// The event time.
    Time,
    Plain,
}

fn role_of(plan: &LogicalPlan, index: usize, windowed: bool) -> Role {
    let Some(origin) = origin_of_index(plan, index) else { return Role::Plain };
    let Some(scan) = rows::stream_scan(origin.0) else { return Role::Plain };
    match leaf_name(origin) {
        WINDOW_START if windowed => Role::Edge(OutputColumn::WindowStart),
        WINDOW_END if windowed => Role::Edge(OutputColumn::WindowEnd),
        WINDOW_START | WINDOW_END if scan.count.is_some() => Role::Time,
        name if name == scan.event_time => Role::Time,
        _ => Role::Plain,
    }
}

fn shape_of(scans: &[Scanned]) -> Result<Option<WindowShape>> {
    let first = scans.first().and_then(|scan| scan.shape);
    if scans.iter().any(|scan| scan.shape != first) {
        return Err(Refusal::new(
            "plan::several_windows",
            "streams that are united have different windows",
        )
        .help("use the same window function with the same sizes on each of them")
        .into_engine());
    }
    if matches!(first, Some(WindowShape::Session { .. })) {
        return Err(Refusal::new(
            "plan::session::rows",
            "single events of sessions cannot be handed on: sessions are kept per GROUP BY key",
        )
        .help("aggregate them: GROUP BY key, window_start, window_end; ARRAY_AGG keeps the events")
        .into_engine());
    }
    Ok(first)
}
