//! TUMBLE, HOP, CUMULATE and SESSION in FROM: which stream, which windows.
//!
//! Arguments by position, `TUMBLE(s, ts, size [, offset])`, `HOP(s, ts, slide, size [, offset])`,
//! `CUMULATE(s, ts, step, size [, offset])`, `SESSION(s, ts, gap)` with an interval or a column of
//! milliseconds, `TUMBLE_ROWS(s, ts, rows)`, `HOP_ROWS(s, ts, step, rows)`, or by Flink's names (`DATA =>`,
//! `TIMECOL =>`, `SIZE =>` …), with or without `TABLE(…)` around them.
//!
//! Not here: which windows an event falls in (`tidemill_model::WindowShape`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Ident,
    ObjectName, Spanned, TableFactor,
};
use tidemill_model::{ColumnType, WindowError, WindowShape};
use tidemill_pipeline::{Column, Stream};

use crate::assigned::{AnyShape, Windows, windows_over};
use crate::error::{Refusal, span_range};
use crate::leaf::StreamScan;
use crate::rows::reads_stream;
use crate::schema::event_time_column;
use crate::sql::PARTITIONED;
use crate::stage::count::CountShape;

/// Plans window functions over the pipeline's streams, for one query.
#[derive(Debug)]
pub(crate) struct WindowFunctions {
    pub(crate) streams: Arc<BTreeMap<String, Stream>>,
    pub(crate) sql: String,
}

/// A function's arguments: name in capitals, if given by name, and value.
type Arguments = Vec<(Option<String>, SqlExpr)>;

impl RelationPlanner for WindowFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let called = match &relation {
            TableFactor::Table { name, args: Some(args), .. } => {
                Some((name.to_string(), arguments(&args.args), name.span()))
            }
            TableFactor::TableFunction { expr: SqlExpr::Function(call), .. } => match &call.args {
                FunctionArguments::List(list) => {
                    Some((call.name.to_string(), arguments(&list.args), call.name.span()))
                }
                _ => None,
            },
            _ => None,
        };
        let Some((name, args, span)) = called else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let kind = match Kind::of(&name) {
            Some(kind) => kind,
            None => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let at = span_range(&self.sql, span);
        let plan = self.windows(kind, args, context).map_err(|error| {
            Refusal::from_engine(error, &self.sql).at(None).or_at(at).into_engine()
        })?;
        let alias = match relation {
            TableFactor::Table { alias, .. } | TableFactor::TableFunction { alias, .. } => alias,
            _ => None,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

impl Refusal {
    /// Sets the place unless one is set already.
    fn or_at(mut self, at: Option<std::ops::Range<usize>>) -> Refusal {
        self.at = self.at.or(at);
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
    TumbleRows,
    HopRows,
}

/// Whether a function of this name is one of ours.
pub(crate) fn is_window_function(name: &str) -> bool {
    Kind::of(name).is_some()
}

impl Kind {
    fn of(name: &str) -> Option<Kind> {
        match name.to_ascii_uppercase().as_str() {
            "TUMBLE" => Some(Kind::Tumble),
            "HOP" => Some(Kind::Hop),
            "CUMULATE" => Some(Kind::Cumulate),
            "SESSION" => Some(Kind::Session),
            "TUMBLE_ROWS" => Some(Kind::TumbleRows),
            "HOP_ROWS" => Some(Kind::HopRows),
            _ => None,
        }
    }

    /// Names of the arguments by position; those after `required` may be left out.
    fn parameters(self) -> (&'static [&'static str], usize) {
        match self {
            Kind::Tumble => (&["DATA", "TIMECOL", "SIZE", "OFFSET"], 3),
            Kind::Hop => (&["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"], 4),
            Kind::Cumulate => (&["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"], 4),
            Kind::Session => (&["DATA", "TIMECOL", "GAP"], 3),
            Kind::TumbleRows => (&["DATA", "TIMECOL", "SIZE"], 3),
            Kind::HopRows => (&["DATA", "TIMECOL", "STEP", "SIZE"], 4),
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Kind::Tumble => "TUMBLE(stream, event_time, size [, offset])",
            Kind::Hop => "HOP(stream, event_time, slide, size [, offset])",
            Kind::Cumulate => "CUMULATE(stream, event_time, step, size [, offset])",
            Kind::Session => "SESSION(stream, event_time, gap)",
            Kind::TumbleRows => "TUMBLE_ROWS(stream, event_time, rows)",
            Kind::HopRows => "HOP_ROWS(stream, event_time, step, rows)",
        }
    }
}

fn arguments(args: &[FunctionArg]) -> Option<Arguments> {
    args.iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some((None, value.clone())),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow | FunctionArgOperator::Assignment,
            } => Some((Some(name.value.to_ascii_uppercase()), value.clone())),
            FunctionArg::ExprNamed {
                name: SqlExpr::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow | FunctionArgOperator::Assignment,
            } => Some((Some(name.value.to_ascii_uppercase()), value.clone())),
            _ => None,
        })
        .collect()
}

impl WindowFunctions {
    /// The rows of a window function's table, each with its windows.
    fn windows(
        &self,
        kind: Kind,
        args: Option<Arguments>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let usage = || {
            Refusal::new(ARGUMENTS, "the arguments are not those of the window function")
                .help(format!("write {}", kind.usage()))
        };
        let mut bound: BTreeMap<&str, SqlExpr> = BTreeMap::new();
        let (names, required) = kind.parameters();
        for (position, (name, value)) in
            args.ok_or_else(|| usage().into_engine())?.into_iter().enumerate()
        {
            let known = match &name {
                Some(name) => names.iter().find(|known| *known == name),
                None => names.get(position),
            };
            let known = known.ok_or_else(|| usage().at(self.place(&value)).into_engine())?;
            if bound.insert(known, value).is_some() {
                return Err(usage().into_engine());
            }
        }
        if names[..required].iter().any(|name| !bound.contains_key(name)) {
            return Err(usage().into_engine());
        }
        let (table, partition_by) = self.data(kind, &bound["DATA"], context)?;
        if matches!(kind, Kind::TumbleRows | Kind::HopRows) {
            let size = self.count(&bound["SIZE"], context)?;
            let step = match bound.get("STEP") {
                Some(step) => self.count(step, context)?,
                None => size,
            };
            let shape = CountShape::new(step, size)?;
            let stream = match table {
                Data::Stream(stream) => stream,
                Data::Rows(name, plan) => {
                    let windows = Windows { shape: AnyShape::Count(shape), partition_by };
                    return self.over(name, *plan, windows, &bound["TIMECOL"], context);
                }
            };
            self.check_time(stream, &bound["TIMECOL"], context)?;
            let table = TableReference::bare(stream.name.clone());
            let scan = StreamScan::counted(stream, shape, partition_by);
            return LogicalPlanBuilder::scan(table, provider_as_source(Arc::new(scan)), None)?
                .build();
        }
        let gap = match (&table, bound.get("GAP").and_then(|gap| Some((gap, last_name(gap)?)))) {
            (Data::Stream(stream), Some((gap, name))) => {
                Some(self.gap_column(stream, gap, &context.normalize_ident(name))?)
            }
            (Data::Rows(..), Some((gap, _))) => {
                let message = format!("{gap} cannot be the gap of sessions over another query");
                return Err(Refusal::new("plan::window::gap", message)
                    .help("events of a stream can bring a gap of their own; write an interval here")
                    .at(self.place(gap))
                    .into_engine());
            }
            (_, None) => None,
        };
        let mut ms = |name: &str| match bound.get(name) {
            Some(value) => self.milliseconds(value, context),
            None => Ok(0),
        };
        let shape = match kind {
            Kind::Tumble => WindowShape::tumble(ms("SIZE")?, ms("OFFSET")?),
            Kind::Hop => WindowShape::hop(ms("SLIDE")?, ms("SIZE")?, ms("OFFSET")?),
            Kind::Cumulate => WindowShape::cumulate(ms("STEP")?, ms("SIZE")?, ms("OFFSET")?),
            Kind::Session if gap.is_some() => Ok(WindowShape::session_of_own_gaps()),
            Kind::Session | Kind::TumbleRows | Kind::HopRows => WindowShape::session(ms("GAP")?),
        };
        let shape = shape.map_err(|error| self.uneven(&error, &bound).into_engine())?;
        match table {
            Data::Stream(stream) => {
                self.check_time(stream, &bound["TIMECOL"], context)?;
                let table = TableReference::bare(stream.name.clone());
                let mut scan = StreamScan::new(stream, Some(shape), partition_by);
                scan.gap = gap;
                let source = provider_as_source(Arc::new(scan));
                LogicalPlanBuilder::scan(table, source, None)?.build()
            }
            Data::Rows(name, plan) => {
                let windows = Windows { shape: AnyShape::Time(shape), partition_by };
                self.over(name, *plan, windows, &bound["TIMECOL"], context)
            }
        }
    }

    /// Windows over a relation of the query.
    fn over(
        &self,
        name: TableReference,
        plan: LogicalPlan,
        windows: Windows,
        time: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let time = context.sql_to_expr(time_column(time), plan.schema())?;
        windows_over(plan, windows, time, name)
    }

    /// The stream's column that holds each event's own gap.
    fn gap_column(&self, stream: &Stream, value: &SqlExpr, name: &str) -> Result<String> {
        let is_named = |column: &&Column| column.name.eq_ignore_ascii_case(name);
        let is_whole =
            |column: &&Column| matches!(column.data_type, ColumnType::Int32 | ColumnType::Int64);
        let column = stream.columns.iter().find(is_named);
        if let Some(column) = column.filter(is_whole) {
            return Ok(column.name.clone());
        }
        let message = match column {
            Some(_) => format!("the session gap {value} is no column of whole numbers"),
            None => format!("stream `{}` has no column {value}", stream.name),
        };
        Err(Refusal::new("plan::window::gap", message)
            .help(
                "write an interval, such as INTERVAL '30' MINUTE, or a column of type `int` or \
                 `bigint` that holds each event's gap in milliseconds",
            )
            .at(self.place(value))
            .into_engine())
    }

    fn uneven(&self, error: &WindowError, bound: &BTreeMap<&str, SqlExpr>) -> Refusal {
        match error {
            WindowError::UnevenStep { suggested_ms, .. } => Refusal::new(
                "plan::window::uneven_step",
                error.to_string(),
            )
            .help(format!(
                "use a step that divides the size, such as INTERVAL '{suggested_ms} milliseconds'"
            ))
            .at(bound.get("STEP").and_then(|step| self.place(step))),
            WindowError::TooMany { least_ms, .. } => {
                let step = bound.get("SLIDE").or_else(|| bound.get("STEP"));
                Refusal::new("plan::window::too_many", error.to_string())
                    .help(format!(
                        "make the windows shorter, or let one begin or end every {least_ms} ms or \
                         more"
                    ))
                    .at(step.and_then(|step| self.place(step)))
            }
            WindowError::NotPositive { what, .. } => {
                Refusal::new("plan::window::not_positive", error.to_string())
                    .help("write an interval of at least a millisecond")
                    .at(bound.get(what.to_ascii_uppercase().as_str()).and_then(|it| self.place(it)))
            }
        }
    }

    fn place(&self, expr: &SqlExpr) -> Option<std::ops::Range<usize>> {
        span_range(&self.sql, expr.span())
    }

    /// The stream that the table argument names, and its PARTITION BY.
    fn data(
        &self,
        kind: Kind,
        data: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<(Data<'_>, Vec<String>)> {
        let (table, partition_by) = match data {
            SqlExpr::Function(call) if call.name.to_string() == PARTITIONED => {
                let FunctionArguments::List(list) = &call.args else {
                    return Err(
                        Refusal::new(ARGUMENTS, "PARTITION BY names no column").into_engine()
                    );
                };
                let columns = arguments(&list.args).unwrap_or_default().into_iter();
                let mut columns = columns
                    .flat_map(|(_, column)| listed(column))
                    .map(|column| last_name(&column).map(|name| context.normalize_ident(name)));
                (columns.next().flatten(), columns.collect::<Option<Vec<_>>>())
            }
            other => (last_name(other).map(|name| context.normalize_ident(name)), Some(Vec::new())),
        };
        let stream = table.as_ref().and_then(|table| self.streams.get(table));
        match (stream, partition_by) {
            (Some(stream), Some(partition_by)) => Ok((Data::Stream(stream), partition_by)),
            (None, Some(partition_by))
                if let Some(rows) = table.and_then(|name| rows_called(name, context)) =>
            {
                Ok((rows, partition_by))
            }
            _ => {
                let streams: Vec<&str> = self.streams.keys().map(String::as_str).collect();
                Err(Refusal::new(
                    "plan::window::not_a_stream",
                    format!("the window function's table is not a stream of the pipeline: {data}"),
                )
                .help(format!(
                    "write {}; streams here: {}; put filters and projections around the function",
                    kind.usage(),
                    streams.join(", ")
                ))
                .at(self.place(data))
                .into_engine())
            }
        }
    }

    /// The time column must be the stream's event time: the watermark follows that one.
    fn check_time(
        &self,
        stream: &Stream,
        time: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<()> {
        let column = time_column(time);
        let named = last_name(&column).map(|name| context.normalize_ident(name));
        let event_time = event_time_column(stream);
        if named.as_deref().is_some_and(|named| named.eq_ignore_ascii_case(event_time)) {
            return Ok(());
        }
        Err(Refusal::new(
            "plan::window::not_event_time",
            format!(
                "windows of stream `{}` run on its event time, `{event_time}`, not on {column}",
                stream.name
            ),
        )
        .help(format!(
            "write {event_time} here, or set event_time = \"…\" in [streams.{}]",
            stream.name
        ))
        .at(self.place(&column))
        .into_engine())
    }

    /// A number of rows.
    fn count(&self, value: &SqlExpr, context: &mut dyn RelationPlannerContext) -> Result<u64> {
        let rows = match context.sql_to_expr(value.clone(), &DFSchema::empty())? {
            Expr::Literal(rows, _) => rows.cast_to(&DataType::UInt64).ok(),
            _ => None,
        };
        match rows {
            Some(ScalarValue::UInt64(Some(rows))) if rows > 0 => Ok(rows),
            _ => Err(Refusal::new(
                "plan::count::rows",
                format!("{value} is not a number of rows"),
            )
            .help("write a whole number of at least 1, as in TUMBLE_ROWS(stream, event_time, 100)")
            .at(self.place(value))
            .into_engine()),
        }
    }

    fn milliseconds(
        &self,
        value: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<i64> {
        let wrong = |message: String, help: &str| {
            Err(Refusal::new("plan::window::interval", message)
                .help(help)
                .at(self.place(value))
                .into_engine())
        };
        let expr = context.sql_to_expr(value.clone(), &DFSchema::empty())?;
        let (sign, literal) = match &expr {
            Expr::Negative(inner) => (-1, inner.as_ref()),
            other => (1, other),
        };
        let (months, days, nanoseconds) = match literal {
            Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => {
                (interval.months, interval.days, interval.nanoseconds)
            }
            Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => {
                (0, interval.days, i64::from(interval.milliseconds) * 1_000_000)
            }
            Expr::Literal(ScalarValue::IntervalYearMonth(Some(months)), _) => (*months, 0, 0),
            _ => {
                return wrong(
                    format!("{value} is not an interval literal"),
                    "write INTERVAL '10' SECOND, INTERVAL '1' HOUR or the like",
                );
            }
        };
        if months != 0 {
            return wrong(
                format!("{value} has no fixed length"),
                "months and years vary; write days instead, INTERVAL '30' DAY",
            );
        }
        if nanoseconds % 1_000_000 != 0 {
            return wrong(
                format!("{value} is finer than a millisecond"),
                "event time has milliseconds; write a whole number of them",
            );
        }
        Ok(sign * (i64::from(days) * 86_400_000 + nanoseconds / 1_000_000))
    }
}

const ARGUMENTS: &str = "plan::window::arguments";

/// What a window function reads.
enum Data<'a> {
    /// A stream of the pipeline.
    Stream(&'a Stream),
    /// A relation of the query itself, by its name.
    Rows(TableReference, Box<LogicalPlan>),
}

/// The WITH clause that is called so, if there is one.
fn rows_called(name: String, context: &mut dyn RelationPlannerContext) -> Option<Data<'static>> {
    let named = ObjectName::from(vec![Ident::with_quote('"', name.clone())]);
    let table = TableFactor::Table {
        name: named,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    let plan = context.plan(table).ok()?;
    reads_stream(&plan).then(|| Data::Rows(TableReference::bare(name), Box::new(plan)))
}

/// The column that a time argument names, with or without DESCRIPTOR around it.
fn time_column(time: &SqlExpr) -> SqlExpr {
    match time {
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => {
            match &call.args {
                FunctionArguments::List(list) => arguments(&list.args)
                    .and_then(|mut columns| columns.pop())
                    .map_or_else(|| time.clone(), |(_, column)| column),
                _ => time.clone(),
            }
        }
        other => other.clone(),
    }
}

/// What stands in parentheses, each for itself: PARTITION BY (a, b).
fn listed(expr: SqlExpr) -> Vec<SqlExpr> {
    match expr {
        SqlExpr::Tuple(exprs) => exprs,
        SqlExpr::Nested(expr) => vec![*expr],
        other => vec![other],
    }
}

/// The last part of a name, `b` of `a.b`.
fn last_name(expr: &SqlExpr) -> Option<Ident> {
    match expr {
        SqlExpr::Identifier(name) => Some(name.clone()),
        SqlExpr::CompoundIdentifier(names) => names.last().cloned(),
        _ => None,
    }
}
