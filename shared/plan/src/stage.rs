//! A stage: one aggregate over a windowed stream, cut in two at the log.
//!
//! ```text
//! stream → filter, project, join with tables → keys, arguments        ingest, per batch
//!        → partial states per (keys, slice)  ═══ log ═══▶  merge       advance, per tick
//!        → final values per (keys, window)                             advance, per window
//! ```
//!
//! The lower plan ends in a projection of plain columns, `__k0 …` for the keys, `__a0_0 …` for the
//! aggregates' arguments, filters and sort keys, and [`ROW`]; whoever aggregates needs no
//! expression of the query any more.
//!
//! # Schemas
//! partial: keys, [`GROUPING_ID`] when there are grouping sets, [`SLICE_START`], [`SLICE_END`]
//! (for sessions: first and last event), [`RECORDS`], the aggregates' states, then [`EVENT_TIME`],
//! [`POSITION`] and [`RAW`], which only rows that were shipped one by one have.
//!
//! Not here: which part of a query becomes a stage (`split`), running it (`flow`).

pub(crate) mod as_of;
mod bounds;
pub(crate) mod count;
pub(crate) mod join;
pub(crate) mod over;
pub(crate) mod rows;
pub(crate) mod within;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, Result, internal_err};
use datafusion::execution::context::ExecutionProps;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet, NullTreatment, Sort};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, col, when};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use tidemill_model::limits::GROUPING_SETS_MAX;
use tidemill_model::{Position, WindowShape};

use crate::aggregates::StageAggregate;
use crate::constants;
use crate::error::Refusal;
use crate::functions::one_zero::one_zero;
use crate::leaf::{ORDER, ROW, WINDOW_END, WINDOW_START};
use crate::lineage::{any_part, leaf_name, origin, plain};
use crate::optimizer::can_fail;
use crate::rows as scan_rows;
use crate::split::{is_closed, window_output};

/// Partial column: which grouping set a row belongs to.
pub const GROUPING_ID: &str = "__grouping_id";
/// Partial column: the slice's start, or a session's first event; milliseconds.
pub const SLICE_START: &str = "__start";
/// Partial column: the slice's end, or a session's last event; milliseconds.
pub const SLICE_END: &str = "__end";
/// Partial column: how many records the row stands for.
pub const RECORDS: &str = "__records";
/// Partial column of rows that were shipped one by one: the record's event time.
pub const EVENT_TIME: &str = "__event_time";
/// Partial column of rows that were shipped one by one: the record's position.
pub const POSITION: &str = "__position";
/// Partial column of rows that were shipped one by one: the record's bytes, cut like a dead letter's.
pub const RAW: &str = "__raw";

/// One aggregate over a windowed stream.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The streams it reads; several when the query unites them.
    pub streams: Vec<String>,
    /// Its windows.
    pub shape: WindowShape,
    /// For sessions whose events have gaps of their own, the column of each stream that holds them.
    pub gaps: BTreeMap<String, String>,
    /// What ingest runs: ends in the columns that the module describes.
    pub lower: LogicalPlan,
    /// Number of key columns.
    pub keys: usize,
    /// The grouping sets; one that groups by every key when the query has none.
    pub grouping: Vec<GroupingSetOf>,
    /// Whether the query has grouping sets, and so a grouping id.
    pub has_grouping_id: bool,
    /// The aggregates.
    pub aggregates: Vec<StageAggregate>,
    /// Whether some aggregate wants the column [`ORDER`] after the lower plan's columns.
    pub needs_order: bool,
    /// Schema of partial rows.
    pub partial: SchemaRef,
    /// Columns of final rows, in the aggregate's own order.
    pub output: Vec<OutputColumn>,
    /// Schema of final rows: what the upper plan reads.
    pub closed: SchemaRef,
    /// The aggregate as the query has it, for `explain`.
    pub display: String,
}

/// One grouping set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupingSetOf {
    /// For each key whether it is null in this set.
    pub nulls: Vec<bool>,
    /// The engine's grouping id of this set.
    pub id: u64,
}

/// Where a column of final rows comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputColumn {
    /// The key of this index.
    Key(usize),
    /// The window's start.
    WindowStart,
    /// The window's end.
    WindowEnd,
    /// The grouping id.
    GroupingId,
    /// The aggregate of this index.
    Aggregate(usize),
    /// The shipped column of this index, of a stage of single events.
    Value(usize),
}

/// Aggregates whose value depends on the order of their rows.
const ORDER_SENSITIVE: [&str; 5] =
    ["first_value", "last_value", "nth_value", "array_agg", "string_agg"];

impl Stage {
    /// Cuts an aggregate over windowed streams. `input` is the aggregate's input with [`ROW`] in
    /// it ([`scan_rows::with_row`]).
    pub(crate) fn new(
        aggregate: &Aggregate,
        input: LogicalPlan,
        streams: Vec<String>,
        shape: WindowShape,
    ) -> Result<Stage> {
        let groups = Groups::of(aggregate)?;
        let mut columns = Columns::default();
        for key in &groups.keys {
            columns.named(format!("__k{}", columns.exprs.len()), key.clone());
        }
        let row = scan_rows::row_column(input.schema())?;
        let mut rewritten = Vec::new();
        let mut needs_order = false;
        for (index, expr) in aggregate.aggr_expr.iter().enumerate() {
            let (expr, filter, ordered) = columns.take_arguments(index, expr, input.schema())?;
            needs_order |= ordered;
            rewritten.push((expr, filter, ordered));
        }
        columns.named(ROW.to_string(), Expr::Column(row));
        let lower = LogicalPlan::Projection(Projection::try_new(columns.exprs, Arc::new(input))?);

        let (logical, physical) = aggregated_schema(lower.schema(), needs_order)?;
        let props = ExecutionProps::new();
        let context = PhysicalPlanningContext::default();
        let mut aggregates = Vec::new();
        for (index, (expr, filter, ordered)) in rewritten.into_iter().enumerate() {
            let name = format!("__s{index}");
            let lowered =
                LoweredAggregateBuilder::new(&expr, &logical, &physical, &props, &context)
                    .with_name(name)
                    .build()?;
            let filter = filter.map(|name| physical.index_of(&name)).transpose()?;
            aggregates.push(StageAggregate::new(lowered.aggregate, filter, ordered, &physical)?);
        }
        let partial = partial_schema(lower.schema(), &groups, &aggregates)?;
        Ok(Stage {
            streams,
            shape,
            gaps: BTreeMap::new(),
            lower,
            keys: groups.keys.len(),
            grouping: groups.sets,
            has_grouping_id: groups.has_id,
            aggregates,
            needs_order,
            partial,
            output: groups.output,
            closed: Arc::clone(aggregate.schema.inner()),
            display: LogicalPlan::Aggregate(aggregate.clone()).display().to_string(),
        })
    }

    /// Index of the first column after keys and grouping id in partial rows: [`SLICE_START`].
    pub fn slice_index(&self) -> usize {
        self.keys + usize::from(self.has_grouping_id)
    }

    /// Index of the first state column in partial rows.
    pub fn states_index(&self) -> usize {
        self.slice_index() + 3
    }

    /// Index of [`EVENT_TIME`], the first of the three columns of rows shipped one by one.
    pub fn shipped_index(&self) -> usize {
        self.states_index() + self.aggregates.iter().map(|it| it.states).sum::<usize>()
    }
}

/// What an aggregate groups by.
struct Groups {
    keys: Vec<Expr>,
    sets: Vec<GroupingSetOf>,
    has_id: bool,
    output: Vec<OutputColumn>,
}

impl Groups {
    fn of(aggregate: &Aggregate) -> Result<Groups> {
        let grouping = &aggregate.group_expr;
        let has_id = matches!(grouping.as_slice(), [Expr::GroupingSet(_)]);
        let listed = grouping_set_to_exprlist(grouping)?;
        let mut keys = Vec::new();
        let mut output = Vec::new();
        for expr in &listed {
            let window = window_column(&aggregate.input, expr);
            output.push(match window {
                Some(column) => column,
                None => {
                    keys.push(one_zero(plain(expr).clone(), aggregate.input.schema())?);
                    OutputColumn::Key(keys.len() - 1)
                }
            });
        }
        let sets = match grouping.as_slice() {
            [Expr::GroupingSet(sets)] => Some(enumerate(sets)),
            _ => None,
        };
        if let Some(count) = sets.as_ref().map(Vec::len).filter(|count| *count > GROUPING_SETS_MAX)
        {
            let message =
                format!("{count} grouping sets are more than {GROUPING_SETS_MAX}, which can be");
            return Err(Refusal::new("plan::aggregate::too_many_grouping_sets", message)
                .help("name the sets that are needed: GROUP BY GROUPING SETS ((…), (…))")
                .into_engine());
        }
        let grouped = match &sets {
            Some(sets) => sets
                .iter()
                .enumerate()
                .map(|(index, set)| {
                    let nulls: Vec<bool> = listed.iter().map(|expr| !set.contains(expr)).collect();
                    let windowed = output.iter().zip(&nulls).all(|(column, null)| {
                        matches!(column, OutputColumn::Key(_)) || !null
                    });
                    if !windowed {
                        return Err(Refusal::new(
                            "plan::aggregate::no_window",
                            "a grouping set leaves out the window",
                        )
                        .help("write window_start and window_end before the grouping sets: GROUP BY window_start, window_end, GROUPING SETS (…)")
                        .into_engine());
                    }
                    let earlier = sets[..index].iter().filter(|other| same_set(other, set)).count();
                    let bits = nulls.iter().fold(0u64, |bits, null| bits << 1 | u64::from(*null));
                    let id = bits | (earlier as u64) << listed.len();
                    let nulls = output
                        .iter()
                        .zip(nulls)
                        .filter(|(column, _)| matches!(column, OutputColumn::Key(_)))
                        .map(|(_, null)| null)
                        .collect();
                    Ok(GroupingSetOf { nulls, id })
                })
                .collect::<Result<Vec<_>>>()?,
            None => vec![GroupingSetOf { nulls: vec![false; keys.len()], id: 0 }],
        };
        if has_id {
            output.push(OutputColumn::GroupingId);
        }
        output.extend((0..aggregate.aggr_expr.len()).map(OutputColumn::Aggregate));
        if output.len() != aggregate.schema.fields().len() {
            return internal_err!("an aggregate's columns are not its groups and aggregates");
        }
        Ok(Groups { keys, sets: grouped, has_id, output })
    }
}

fn same_set(a: &[&Expr], b: &[&Expr]) -> bool {
    a.iter().all(|expr| b.contains(expr)) && b.iter().all(|expr| a.contains(expr))
}

fn enumerate(sets: &GroupingSet) -> Vec<Vec<&Expr>> {
    match sets {
        GroupingSet::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
        GroupingSet::Rollup(exprs) => {
            (0..=exprs.len()).map(|kept| exprs[..kept].iter().collect()).collect()
        }
        GroupingSet::Cube(exprs) => (0..1usize << exprs.len().min(20))
            .map(|mask| {
                let kept = |(index, _): &(usize, &Expr)| mask >> index & 1 == 1;
                exprs.iter().enumerate().filter(kept).map(|(_, expr)| expr).collect()
            })
            .collect(),
    }
}

/// Whether a group expression is the window's start or end.
pub(crate) fn window_column(input: &LogicalPlan, expr: &Expr) -> Option<OutputColumn> {
    let Expr::Column(column) = plain(expr) else { return None };
    let origin = origin(input, column)?;
    if is_closed(origin.0).is_some() {
        return window_output(origin.0, origin.1);
    }
    let scan = scan_rows::stream_scan(origin.0)?;
    if scan.shape.is_none() && scan.count.is_none() {
        return None;
    }
    match leaf_name(origin) {
        WINDOW_START => Some(OutputColumn::WindowStart),
        WINDOW_END => Some(OutputColumn::WindowEnd),
        _ => None,
    }
}

/// The lower plan's last projection, as it grows.
#[derive(Default)]
struct Columns {
    exprs: Vec<Expr>,
}

impl Columns {
    fn named(&mut self, name: String, expr: Expr) -> Expr {
        self.exprs.push(expr.alias(&name));
        Expr::Column(Column::from_name(name))
    }

    /// The aggregate over columns of the projection, the name of its filter column, and whether
    /// it depends on order.
    fn take_arguments(
        &mut self,
        index: usize,
        expr: &Expr,
        input: &DFSchema,
    ) -> Result<(Expr, Option<String>, bool)> {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = plain(expr) else {
            return internal_err!("an aggregate is no aggregate function: {expr}");
        };
        let mut params = params.clone();
        let mut func = Arc::clone(func);
        match func.name() {
            // The engine's keeps the first value that it meets, whatever batch that came in.
            "any_value" => {
                func = first_value_udaf();
                params.null_treatment = Some(NullTreatment::IgnoreNulls);
                params.distinct = false;
            }
            "first_value" | "last_value" => params.distinct = false,
            _ => {}
        }
        if params.distinct {
            params.args =
                params.args.into_iter().map(|arg| one_zero(arg, input)).collect::<Result<_>>()?;
        }
        let mut column = 0;
        let mut take = |columns: &mut Columns, expr: Expr| {
            if any_part(&expr, |part| matches!(part, Expr::Column(_))) {
                column += 1;
                columns.named(format!("__a{index}_{column}"), expr)
            } else {
                // What the engine cannot evaluate as it is, such as COALESCE, is a value by now.
                constants::folded(expr)
            }
        };
        let sensitive = ORDER_SENSITIVE.contains(&func.name());
        if sensitive && params.distinct && params.order_by.is_empty() {
            let first = params.args.first().cloned();
            params.order_by = first.map(|arg| Sort::new(arg, true, false)).into_iter().collect();
        }
        let filter = params.filter.as_deref();
        let mut take_guarded =
            |columns: &mut Columns, expr| Ok(take(columns, guarded(expr, filter)?));
        params.args =
            params.args.into_iter().map(|arg| take_guarded(self, arg)).collect::<Result<_>>()?;
        params.order_by = params
            .order_by
            .into_iter()
            .map(|sort| {
                let key = one_zero(sort.expr, input)?;
                Ok(Sort { expr: take_guarded(self, key)?, ..sort })
            })
            .collect::<Result<_>>()?;
        if params.distinct {
            // DISTINCT with ORDER BY wants the sort key to be the argument itself.
            if let (Some(arg), [sort]) = (params.args.first(), params.order_by.as_mut_slice())
                && sensitive
            {
                sort.expr = arg.clone();
            }
        }
        let ordered = sensitive && !params.distinct;
        if ordered {
            params.order_by.push(Sort::new(col(ORDER), true, false));
        }
        let filter = params.filter.take().map(|filter| {
            let name = format!("__f{index}");
            // Null is as good as false here: what can fail is evaluated only where its guard is true.
            let condition = match can_fail(&filter, input) {
                true => Expr::IsTrue(filter),
                false => *filter,
            };
            self.named(name.clone(), condition);
            name
        });
        Ok((Expr::AggregateFunction(AggregateFunction { func, params }), filter, ordered))
    }
}

/// An argument that is computed of the rows only that FILTER lets through: on others it may fail.
pub(crate) fn guarded(arg: Expr, filter: Option<&Expr>) -> Result<Expr> {
    match filter {
        Some(filter) if !matches!(plain(&arg), Expr::Column(_) | Expr::Literal(..)) => {
            when(filter.clone(), arg).end()
        }
        _ => Ok(arg),
    }
}

/// The columns that aggregates read: the lower plan's and perhaps [`ORDER`].
fn aggregated_schema(lower: &DFSchema, needs_order: bool) -> Result<(DFSchema, Schema)> {
    let mut fields: Vec<Arc<Field>> = lower.fields().iter().cloned().collect();
    if needs_order {
        fields.push(Arc::new(Field::new(ORDER, DataType::Binary, false)));
    }
    let physical = Schema::new(fields);
    Ok((DFSchema::try_from(physical.clone())?, physical))
}

fn partial_schema(
    lower: &DFSchema,
    groups: &Groups,
    aggregates: &[StageAggregate],
) -> Result<SchemaRef> {
    let mut fields: Vec<Field> = lower.fields()[..groups.keys.len()]
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), true))
        .collect();
    if groups.has_id {
        fields.push(Field::new(GROUPING_ID, DataType::UInt64, false));
    }
    fields.push(Field::new(SLICE_START, DataType::Int64, false));
    fields.push(Field::new(SLICE_END, DataType::Int64, false));
    fields.push(Field::new(RECORDS, DataType::UInt64, false));
    for (index, aggregate) in aggregates.iter().enumerate() {
        for (state, field) in aggregate.expr.state_fields()?.iter().enumerate() {
            let name = format!("__s{index}_{state}");
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
    }
    fields.push(Field::new(EVENT_TIME, DataType::Int64, true));
    fields.push(Field::new(POSITION, DataType::FixedSizeBinary(Position::BYTES as i32), true));
    fields.push(Field::new(RAW, DataType::Binary, true));
    Ok(Arc::new(Schema::new(fields)))
}
