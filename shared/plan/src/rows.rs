//! The hidden column [`ROW`] on its way from a stream to the stage above it, and the nodes that it
//! can pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result, internal_err};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    Distinct, Expr, LogicalPlan, Projection, TableScan, TableScanBuilder, Union,
};

use crate::error::Refusal;
use crate::leaf::{ROW, StreamScan, WINDOW_END, WINDOW_START};
use crate::lineage::{any_node, leaf_name, origin, plain};
use crate::split::is_closed;
use crate::stage::count::CountShape;
use crate::volatile::{is_volatile, refuse_volatile};

/// The stream that a leaf scans, with its windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) stream: String,
    pub(crate) shape: Option<tidemill_model::WindowShape>,
    pub(crate) count: Option<CountShape>,
    pub(crate) partition_by: Vec<String>,
    pub(crate) gap: Option<String>,
    pub(crate) event_time: String,
}

/// The stream that `plan`, a leaf, scans.
pub(crate) fn stream_scan(plan: &LogicalPlan) -> Option<Scanned> {
    let LogicalPlan::TableScan(scan) = plan else { return None };
    let provider = source_as_provider(&scan.source).ok()?;
    let scan = provider.downcast_ref::<StreamScan>()?;
    Some(Scanned {
        stream: scan.stream.clone(),
        shape: scan.shape,
        count: scan.count,
        partition_by: scan.partition_by.clone(),
        gap: scan.gap.clone(),
        event_time: scan.event_time.clone(),
    })
}

/// Whether a stream is read anywhere in `plan`.
pub(crate) fn reads_stream(plan: &LogicalPlan) -> bool {
    any_node(plan, |node| stream_scan(node).is_some())
}

/// Whether rows enter `plan` from a stream or from a stage.
fn rows_enter(plan: &LogicalPlan) -> bool {
    any_node(plan, |node| stream_scan(node).is_some() || is_closed(node).is_some())
}

/// Whether every row of `plan` comes from one record alone, so that ingest can run it.
pub(crate) fn is_of_records(plan: &LogicalPlan) -> bool {
    let streams = plan.inputs().into_iter().filter(|input| reads_stream(input)).count();
    let passes = match plan {
        LogicalPlan::TableScan(_) => stream_scan(plan).is_some(),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Unnest(_) => true,
        LogicalPlan::Join(_) => streams == 1,
        LogicalPlan::Union(union) => streams == union.inputs.len(),
        _ => false,
    };
    passes && plan.inputs().into_iter().all(|input| !reads_stream(input) || is_of_records(input))
}

/// All columns of a plan but the hidden one.
pub(crate) fn visible(plan: &LogicalPlan) -> Vec<Expr> {
    let columns = plan.schema().columns().into_iter().filter(|column| column.name != ROW);
    columns.map(Expr::Column).collect()
}

/// All streams that `plan` reads.
pub(crate) fn scans(plan: &LogicalPlan) -> Result<Vec<Scanned>> {
    let mut found = Vec::new();
    plan.apply(|node| {
        found.extend(stream_scan(node));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The column of each stream that holds its events' own session gaps.
pub(crate) fn gaps(scans: &[Scanned]) -> Result<BTreeMap<String, String>> {
    let mut gaps = BTreeMap::new();
    for Scanned { stream, gap, .. } in scans {
        let Some(gap) = gap else { continue };
        let other = gaps.insert(stream.clone(), gap.clone()).filter(|other| other != gap);
        if let Some(other) = other {
            return Err(Refusal::new(
                "plan::window::gap",
                format!(
                    "stream `{stream}` has sessions by `{gap}` and by `{other}` under one aggregate"
                ),
            )
            .help("use the same gap column in both places, or make them queries of their own")
            .into_engine());
        }
    }
    Ok(gaps)
}

/// The column [`ROW`] of a schema.
pub(crate) fn row_column(schema: &DFSchema) -> Result<Column> {
    let mut rows = schema.iter().filter(|(_, field)| field.name() == ROW);
    match (rows.next(), rows.next()) {
        (Some((qualifier, field)), None) => Ok(Column::new(qualifier.cloned(), field.name())),
        _ => internal_err!("the lower plan has not exactly one row column"),
    }
}

/// `plan`, checked to be runnable batch by batch, with [`ROW`] in its output.
pub(crate) fn with_row(plan: &LogicalPlan) -> Result<LogicalPlan> {
    if !rows_enter(plan) {
        return Ok(plan.clone());
    }
    check_expressions(plan)?;
    match plan {
        LogicalPlan::TableScan(scan) => scan_with_row(scan),
        LogicalPlan::Extension(_) if let Some(leaf) = is_closed(plan) => leaf.with_row(),
        LogicalPlan::Projection(node) => {
            let input = with_row(&node.input)?;
            let row = row_column(input.schema())?;
            let mut exprs = node.expr.clone();
            let has_row = |expr: &Expr| matches!(plain(expr), Expr::Column(it) if it.name == ROW);
            if !exprs.iter().any(has_row) {
                exprs.push(Expr::Column(row));
            }
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
        }
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Unnest(_) => {
            rebuild(plan)
        }
        LogicalPlan::Join(join) => {
            let (left, right) = (rows_enter(&join.left), rows_enter(&join.right));
            if left && right {
                return internal_err!("a join of two streams is no stage of its own");
            }
            let stream_side_only = match join.join_type {
                JoinType::Inner => true,
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                    left
                }
                JoinType::Right
                | JoinType::RightSemi
                | JoinType::RightAnti
                | JoinType::RightMark => right,
                JoinType::Full => false,
            };
            if !stream_side_only {
                return Err(Refusal::new(
                    "plan::join::keeps_table_rows",
                    format!(
                        "a {} join keeps rows of the static table that match no event, and a stream never tells that none will come",
                        join.join_type
                    ),
                )
                .help("put the stream on the side whose rows are kept: stream LEFT JOIN table")
                .into_engine());
            }
            rebuild(plan)
        }
        LogicalPlan::Union(union) => {
            let inputs = union
                .inputs
                .iter()
                .map(|input| with_row(input).map(Arc::new))
                .collect::<Result<Vec<_>>>()?;
            if union.inputs.iter().any(|input| !rows_enter(input)) {
                return Err(refuse_union_with_table().into_engine());
            }
            Ok(LogicalPlan::Union(Union::try_new(inputs)?))
        }
        other => Err(refuse_node(other).into_engine()),
    }
}

/// A scan that reads [`ROW`] too.
fn scan_with_row(scan: &TableScan) -> Result<LogicalPlan> {
    let row = scan.source.schema().index_of(ROW)?;
    let mut scan = scan.clone();
    if let Some(columns) = scan.projection.take_if(|columns| !columns.contains(&row)) {
        let columns = columns.into_iter().chain([row]).collect();
        scan = TableScanBuilder::new(scan.table_name, scan.source)
            .with_projection(Some(columns))
            .with_filters(scan.filters)
            .with_fetch(scan.fetch)
            .build()?;
    }
    Ok(LogicalPlan::TableScan(scan))
}

fn rebuild(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let inputs = plan.inputs().into_iter().map(with_row).collect::<Result<Vec<_>>>()?;
    plan.with_new_exprs(plan.expressions(), inputs)
}

/// Why events and rows that are none cannot be united.
pub(crate) fn refuse_union_with_table() -> Refusal {
    Refusal::new(
        "plan::union::table",
        "a UNION of a stream with something that is no stream cannot run",
    )
    .help("unite streams only, or make the table's rows events of a stream")
}

/// Why a node cannot stand between a stream and its aggregate, or above a bare stream.
pub(crate) fn refuse_node(plan: &LogicalPlan) -> Refusal {
    match plan {
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Refusal::new(
            "plan::sort",
            "ORDER BY and LIMIT over single events cannot run: a stream has no end",
        )
        .help("aggregate over a window function first; ORDER BY and LIMIT then work per closed window"),
        LogicalPlan::RecursiveQuery(_) => {
            Refusal::new("plan::recursive", "a recursive query over a stream cannot run")
                .help("write the steps out, or keep the recursion to static tables")
        }
        LogicalPlan::Distinct(Distinct::On(_)) => {
            Refusal::new("plan::node", "DISTINCT ON over a stream cannot run")
                .help("write QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) = 1 for each key's first row")
        }
        other => Refusal::new(
            "plan::node",
            format!("{} over a stream cannot run", node_name(other)),
        )
        .help("aggregate over a window function first"),
    }
}

/// What the SQL calls a node.
fn node_name(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Distinct(_) => "DISTINCT",
        LogicalPlan::Aggregate(_) => "GROUP BY",
        LogicalPlan::Window(_) => "OVER",
        LogicalPlan::Join(_) => "this join",
        LogicalPlan::Union(_) => "this UNION",
        LogicalPlan::Unnest(_) => "UNNEST",
        LogicalPlan::Values(_) => "VALUES",
        LogicalPlan::Subquery(_) => "a subquery",
        _ => "what the query does here",
    }
}

/// Refuses what depends on when a batch is combined, and windows that are used before they close.
fn check_expressions(plan: &LogicalPlan) -> Result<()> {
    let bare = matches!(plan, LogicalPlan::Projection(_));
    for expr in plan.expressions() {
        let passes = bare && matches!(plain(&expr), Expr::Column(_));
        expr.apply(|part| {
            if let Expr::ScalarFunction(call) = part
                && is_volatile(call)
            {
                return Err(refuse_volatile(call.func.name(), true).into_engine());
            }
            if let Expr::Column(column) = part
                && !passes
                && plan.inputs().iter().any(|input| is_early_window(input, column))
            {
                return Err(Refusal::new(
                    "plan::window::early",
                    format!("{} is used before the windows are aggregated", column.name),
                )
                .help("an event of HOP, CUMULATE or SESSION has no single window; use window_start and window_end in GROUP BY, HAVING or above, or TUMBLE")
                .into_engine());
            }
            if let Some(subquery) = subquery_of(part)
                && reads_stream(subquery)
            {
                return Err(refuse_subquery()
                .into_engine());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(())
}

/// The plan inside a subquery expression.
pub(crate) fn subquery_of(expr: &Expr) -> Option<&LogicalPlan> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(&subquery.subquery),
        Expr::InSubquery(it) => Some(&it.subquery.subquery),
        Expr::Exists(it) => Some(&it.subquery.subquery),
        _ => None,
    }
}

/// Why a subquery over a stream is refused.
pub(crate) fn refuse_subquery() -> Refusal {
    Refusal::new("plan::subquery", "a subquery over a stream inside an expression cannot run")
        .help("aggregate it over the same windows in FROM and join ON window_start, window_end")
}

fn is_early_window(input: &LogicalPlan, column: &Column) -> bool {
    let Some(origin) = origin(input, column) else { return false };
    let Some(scan) = stream_scan(origin.0) else { return false };
    let tumbles = matches!(scan.shape, Some(tidemill_model::WindowShape::Tumble { .. }));
    let (name, windowed) = (leaf_name(origin), scan.shape.is_some() || scan.count.is_some());
    (name == WINDOW_START || name == WINDOW_END) && windowed && !tumbles
}
