//! One function of an OVER window: what it is called with, what it sees, what it keeps.
//!
//! Not here: what rows are kept for several of them (`over`).

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    AggregateUDF, Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use tidemill_model::Keep;

use super::ahead::refuse_lead_ignoring_nulls;
use super::{Compiler, Method, OverCall, OverFunction, Sight};
use crate::error::{Refusal, shown};
use crate::lineage::any_part;
use crate::stage::guarded;

/// A call, with arguments that have no numbers yet.
pub(super) struct Read {
    pub(super) sight: Sight,
    pub(super) arguments: Vec<Arc<dyn PhysicalExpr>>,
    ends: bool,
    what: What,
}

enum What {
    /// Its numbers of arguments count from 0.
    Known(OverCall),
    Aggregate {
        fun: Arc<AggregateUDF>,
        ignore_nulls: bool,
        distinct: bool,
        has_filter: bool,
    },
}

/// Reads a call. `partitioned`: there is a key, so there may ever be new ones.
pub(super) fn read(
    call: &WindowFunction,
    compiler: &Compiler<'_>,
    keep: Keep,
    partitioned: bool,
) -> Result<Read> {
    let name = call.fun.name().to_lowercase();
    let params = &call.params;
    let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let is_aggregate = matches!(call.fun, WindowFunctionDefinition::AggregateUDF(_));
    if let Some(filter) = &params.filter
        && !is_aggregate
    {
        return Err(Refusal::new(
            "plan::over::filter",
            format!("{}() takes no FILTER (WHERE {filter})", name.to_uppercase()),
        )
        .help("write CASE WHEN … THEN … END as its argument, with IGNORE NULLS")
        .into_engine());
    }
    let mut arguments = Vec::new();
    let (sight, what) = match (&call.fun, name.as_str()) {
        (WindowFunctionDefinition::AggregateUDF(fun), _) => {
            for arg in &params.args {
                let arg = guarded(arg.clone(), params.filter.as_deref())?;
                // The engine's sets of DISTINCT compare floats by their bits.
                arguments.push(match params.distinct {
                    true => compiler.key(&arg)?,
                    false => compiler.physical(&arg)?,
                });
            }
            if let Some(filter) = &params.filter {
                arguments.push(compiler.condition(filter)?);
            }
            let what = What::Aggregate {
                fun: Arc::clone(fun),
                ignore_nulls,
                distinct: params.distinct,
                has_filter: params.filter.is_some(),
            };
            (sight_of(&params.window_frame, &name)?, what)
        }
        (_, "row_number") => (Sight::Running { peers: false }, What::Known(OverCall::RowNumber)),
        (_, "rank") => (Sight::Running { peers: false }, What::Known(OverCall::Rank)),
        (_, "dense_rank") => (Sight::Running { peers: false }, What::Known(OverCall::DenseRank)),
        (_, "lag" | "lead") => {
            let [value, rest @ ..] = params.args.as_slice() else {
                return internal_err!("{name} without an argument");
            };
            arguments.push(compiler.physical(value)?);
            let offset = match rest.first() {
                Some(offset) => integer(offset, compiler, &name)?,
                None => 1,
            };
            let default = match rest.get(1) {
                Some(default) => literal(default, compiler, &name)?,
                None => ScalarValue::Null,
            };
            let default = default.cast_to(&arguments[0].data_type(compiler.input.as_arrow())?)?;
            let back = if name == "lag" { offset } else { offset.saturating_neg() };
            if back < 0 && ignore_nulls {
                return Err(refuse_lead_ignoring_nulls().into_engine());
            }
            let sight = match back < 0 {
                true => Sight::Rows { from: 0, to: back.saturating_neg() },
                false => Sight::Rows { from: back.saturating_neg(), to: 0 },
            };
            let call = OverCall::Shift { argument: 0, back, default, ignore_nulls };
            (sight, What::Known(call))
        }
        (_, "first_value" | "last_value" | "nth_value") => {
            let Some(value) = params.args.first() else {
                return internal_err!("{name} without an argument");
            };
            arguments.push(compiler.physical(value)?);
            let nth = match (name.as_str(), params.args.get(1)) {
                ("first_value", _) => 1,
                ("last_value", _) => -1,
                (_, Some(nth)) => integer(nth, compiler, &name)?,
                (_, None) => return internal_err!("nth_value without a number"),
            };
            let sight = sight_of(&params.window_frame, &name)?;
            if sight.is_running() && nth < -1 {
                return Err(Refusal::new(
                    "plan::over::frame",
                    "NTH_VALUE with a negative number has a frame without beginning",
                )
                .help("use LAG, or a frame that begins somewhere: ROWS BETWEEN 9 PRECEDING AND CURRENT ROW")
                .into_engine());
            }
            (sight, What::Known(OverCall::Value { argument: 0, nth, ignore_nulls }))
        }
        (_, "ntile" | "percent_rank" | "cume_dist") => {
            return Err(Refusal::new(
                "plan::over::needs_all_rows",
                format!("{}() needs the last row of its key, and a stream has none", name.to_uppercase()),
            )
            .help("aggregate over a window function first and use it per window: OVER (PARTITION BY window_start, window_end ORDER BY …)")
            .into_engine());
        }
        (_, other) => {
            return Err(Refusal::new(
                "plan::over::function",
                format!("{}() OVER single events cannot run", other.to_uppercase()),
            )
            .help("use an aggregate, LAG, LEAD, FIRST_VALUE, LAST_VALUE, NTH_VALUE, ROW_NUMBER, RANK or DENSE_RANK")
            .into_engine());
        }
    };
    let mut read = Read { sight, arguments, ends: false, what };
    read.ends = read.grows(partitioned);
    if read.ends && keep == Keep::None {
        return Err(unbounded(&name, sight, partitioned).into_engine());
    }
    Ok(read)
}

impl Read {
    /// Whether what is kept for it grows with every new key, or for ever.
    fn grows(&self, partitioned: bool) -> bool {
        match (self.sight, &self.what) {
            (Sight::Range { .. }, _) => false,
            (Sight::Rows { from: 0, to: 0 }, _) => false,
            (Sight::Running { .. }, What::Aggregate { fun, distinct, .. }) => {
                partitioned || *distinct || !has_small_state(fun.name())
            }
            _ => partitioned,
        }
    }

    /// The function, with arguments numbered from `from` and states named after its own `number`.
    pub(super) fn function(
        &self,
        from: usize,
        number: usize,
        input: &Schema,
    ) -> Result<OverFunction> {
        let count = self.arguments.len();
        let (call, mut states) = match &self.what {
            What::Known(OverCall::Shift { back, default, ignore_nulls, .. }) => {
                let (back, default, ignore_nulls) = (*back, default.clone(), *ignore_nulls);
                let call = OverCall::Shift { argument: from, back, default, ignore_nulls };
                (call, Vec::new())
            }
            What::Known(OverCall::Value { nth, ignore_nulls, .. }) => {
                let data_type = self.arguments[0].data_type(input)?;
                let (nth, ignore_nulls) = (*nth, *ignore_nulls);
                let states = carried(data_type);
                (OverCall::Value { argument: from, nth, ignore_nulls }, states)
            }
            What::Known(counter) => {
                let states = match counter {
                    OverCall::Rank | OverCall::DenseRank => vec![
                        Field::new("rows", DataType::UInt64, false),
                        Field::new("rank", DataType::UInt64, false),
                    ],
                    _ => vec![Field::new("rows", DataType::UInt64, false)],
                };
                (counter.clone(), states)
            }
            What::Aggregate { fun, ignore_nulls, distinct, has_filter } => {
                let plain = count - usize::from(*has_filter);
                let arguments = self.arguments[..plain].to_vec();
                let first = arguments.first().map(|it| it.data_type(input)).transpose()?;
                let builder = AggregateExprBuilder::new(Arc::clone(fun), arguments)
                    .schema(Arc::new(input.clone()))
                    .alias(format!("__s{number}"))
                    .with_ignore_nulls(*ignore_nulls)
                    .with_distinct(*distinct);
                let expr = Arc::new(builder.build()?);
                let method = method_of(fun.name(), *distinct, plain, first.as_ref());
                let states = match (method, &first) {
                    (Method::Count, _) => vec![Field::new("rows", DataType::UInt64, false)],
                    (Method::Sum | Method::Average, Some(data_type)) => vec![
                        Field::new("rows", DataType::UInt64, false),
                        Field::new("sum", data_type.clone(), true),
                    ],
                    (Method::Least | Method::Greatest, Some(data_type)) => {
                        carried(data_type.clone())
                    }
                    _ => try_out(&expr, input)?,
                };
                let filter = has_filter.then_some(from + plain);
                let arguments = (from..from + plain).collect();
                (OverCall::Aggregate { expr, arguments, filter, method }, states)
            }
        };
        for (index, state) in states.iter_mut().enumerate() {
            *state = state.clone().with_name(format!("__s{number}_{index}"));
        }
        if !self.sight.is_running() {
            states.clear();
        }
        Ok(OverFunction { call, sight: self.sight, ends: self.ends, states })
    }
}

/// State columns of a function whose state is one of its argument's values: how many rows were
/// counted, and the value.
fn carried(data_type: DataType) -> Vec<Field> {
    vec![Field::new("rows", DataType::UInt64, false), Field::new("value", data_type, true)]
}

/// How an aggregate over these arguments is computed.
fn method_of(name: &str, distinct: bool, arguments: usize, first: Option<&DataType>) -> Method {
    let Some(first) = first.filter(|_| arguments == 1) else { return Method::Engine };
    match name {
        "min" => Method::Least,
        "max" => Method::Greatest,
        _ if distinct => Method::Engine,
        "count" => Method::Count,
        "sum" => match first {
            DataType::Int64 | DataType::UInt64 | DataType::Float64 => Method::Sum,
            DataType::Decimal128(_, _) => Method::Sum,
            _ => Method::Engine,
        },
        "avg" if *first == DataType::Float64 => Method::Average,
        _ => Method::Engine,
    }
}

/// Aggregates of the engine whose state does not grow with the number of rows.
fn has_small_state(name: &str) -> bool {
    const SMALL: [&str; 33] = [
        "count",
        "sum",
        "avg",
        "mean",
        "min",
        "max",
        "var",
        "var_pop",
        "var_samp",
        "stddev",
        "stddev_pop",
        "stddev_samp",
        "covar_pop",
        "covar_samp",
        "corr",
        "regr_slope",
        "regr_intercept",
        "regr_count",
        "regr_r2",
        "regr_avgx",
        "regr_avgy",
        "regr_sxx",
        "regr_syy",
        "regr_sxy",
        "bool_and",
        "bool_or",
        "bit_and",
        "bit_or",
        "bit_xor",
        "approx_distinct",
        "approx_median",
        "approx_percentile_cont",
        "approx_percentile_cont_with_weight",
    ];
    SMALL.contains(&name)
}

/// State fields of an aggregate that the engine computes, once it is certain that its states can be
/// stored and merged.
fn try_out(
    expr: &datafusion::physical_expr::aggregate::AggregateFunctionExpr,
    input: &Schema,
) -> Result<Vec<Field>> {
    let tried = || -> Result<Vec<Field>> {
        let fields = input.fields().iter().map(|it| it.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let row = RecordBatch::new_empty(schema);
        let values = expr
            .expressions()
            .iter()
            .map(|argument| argument.evaluate(&row)?.into_array(0))
            .collect::<Result<Vec<_>>>()?;
        let mut first = expr.create_accumulator()?;
        first.update_batch(&values)?;
        let states = first.state()?;
        let states = states.iter().map(|it| it.to_array()).collect::<Result<Vec<_>>>()?;
        let mut second = expr.create_accumulator()?;
        second.merge_batch(&states)?;
        second.evaluate()?;
        let declared = expr.state_fields()?;
        if declared.len() != states.len() {
            return internal_err!("its state is not the one that it declares");
        }
        let of = |(state, field): (&arrow::array::ArrayRef, &Arc<Field>)| {
            Field::new(field.name(), state.data_type().clone(), true)
        };
        Ok(states.iter().zip(&declared).map(of).collect())
    };
    tried().map_err(|error| {
        Refusal::new(
            "plan::over::no_state",
            format!(
                "{}() OVER cannot run as a stream: {}",
                expr.fun().name(),
                shown::reason(&error)
            ),
        )
        .help("use another aggregate")
        .into_engine()
    })
}

/// Which rows a frame shows.
fn sight_of(frame: &WindowFrame, name: &str) -> Result<Sight> {
    let refuse = |message: String, help: &str| {
        Err(Refusal::new("plan::over::frame", message).help(help).into_engine())
    };
    let name = name.to_uppercase();
    let (from, to) = (&frame.start_bound, &frame.end_bound);
    if let WindowFrameBound::Following(end) = to
        && end.is_null()
    {
        return refuse(
            format!("{name}() OVER sees all rows that have yet to come"),
            "end the frame at CURRENT ROW, or at a distance: RANGE … AND INTERVAL '1' HOUR FOLLOWING",
        );
    }
    if frame.units == WindowFrameUnits::Groups {
        return refuse(
            format!("{name}() OVER GROUPS … cannot run"),
            "write ROWS BETWEEN … or RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW",
        );
    }
    let is_range = frame.units == WindowFrameUnits::Range;
    let distance = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => Ok(Some(0)),
        WindowFrameBound::Preceding(value) => {
            Ok(offset(value, is_range)?.map(|it: i64| it.saturating_neg()))
        }
        WindowFrameBound::Following(value) => offset(value, is_range),
    };
    let (Some(to), from) = (distance(to)?, distance(from)?) else {
        return internal_err!("a frame without an end");
    };
    match from {
        Some(from) if from > to => refuse(
            format!("the frame of {name}() ends before it begins"),
            "write the earlier end first: BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW",
        ),
        Some(from) if is_range => Ok(Sight::Range { from, to }),
        Some(from) => Ok(Sight::Rows { from, to }),
        None if to == 0 => Ok(Sight::Running { peers: is_range }),
        None => refuse(
            format!("the frame of {name}() has no beginning and does not end at its own row"),
            "write UNBOUNDED PRECEDING AND CURRENT ROW, or a frame that begins somewhere",
        ),
    }
}

/// A distance of a frame: rows, or milliseconds. `None`: unbounded.
fn offset(value: &ScalarValue, is_range: bool) -> Result<Option<i64>> {
    if value.is_null() {
        return Ok(None);
    }
    let wrong = |message: &str, help: &str| {
        Err(Refusal::new("plan::over::frame", message).help(help).into_engine())
    };
    let (months, days, nanoseconds) = match value {
        ScalarValue::UInt64(Some(rows)) if !is_range => {
            return Ok(Some(i64::try_from(*rows).unwrap_or(i64::MAX)));
        }
        ScalarValue::IntervalMonthDayNano(Some(it)) if is_range => {
            (it.months, it.days, it.nanoseconds)
        }
        ScalarValue::IntervalDayTime(Some(it)) if is_range => {
            (0, it.days, i64::from(it.milliseconds) * 1_000_000)
        }
        ScalarValue::IntervalYearMonth(Some(months)) if is_range => (*months, 0, 0),
        _ => {
            return wrong(
                "the distance of a RANGE frame is not an interval",
                "write RANGE BETWEEN INTERVAL '10' MINUTE PRECEDING AND CURRENT ROW",
            );
        }
    };
    if months != 0 {
        return wrong(
            "the frame has no fixed length",
            "months and years vary; write days instead, INTERVAL '30' DAY",
        );
    }
    if nanoseconds % 1_000_000 != 0 {
        return wrong(
            "the frame is finer than a millisecond",
            "event time has milliseconds; write a whole number of them",
        );
    }
    let ms = i64::from(days) * 86_400_000 + nanoseconds / 1_000_000;
    if ms < 0 {
        return wrong(
            "the distance of a frame is negative",
            "write PRECEDING for what lies before and FOLLOWING for what lies behind",
        );
    }
    Ok(Some(ms))
}

/// The value of an argument that reads no column.
fn literal(expr: &Expr, compiler: &Compiler<'_>, name: &str) -> Result<ScalarValue> {
    if any_part(expr, |part| matches!(part, Expr::Column(_))) {
        return Err(Refusal::new(
            "plan::over::argument",
            format!(
                "{}() takes a number or a value here, not a column: {expr}",
                name.to_uppercase()
            ),
        )
        .help("write it out, as in LAG(price, 2, 0)")
        .into_engine());
    }
    let one = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &one)?;
    let value = compiler.physical(expr)?.evaluate(&row)?.into_array(1)?;
    ScalarValue::try_from_array(&value, 0)
}

fn integer(expr: &Expr, compiler: &Compiler<'_>, name: &str) -> Result<i64> {
    match literal(expr, compiler, name)?.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(value))) => Ok(value),
        _ => Err(Refusal::new(
            "plan::over::argument",
            format!("{}() takes a whole number of rows, not {expr}", name.to_uppercase()),
        )
        .help("write it out, as in LAG(price, 2)")
        .into_engine()),
    }
}

/// Why a function needs the query's `keep`.
fn unbounded(name: &str, sight: Sight, partitioned: bool) -> Refusal {
    let name = name.to_uppercase();
    let why = match (sight, partitioned) {
        (Sight::Running { .. }, true) => {
            "keeps a value for every key, and nothing tells that a key is done with"
        }
        (Sight::Running { .. }, false) => "keeps every value that it has seen",
        (_, _) if sight.looks_ahead() => {
            "waits for the next rows of every key, and nothing tells that none will come"
        }
        _ => "keeps the last rows of every key, and nothing tells that a key is done with",
    };
    Refusal::new("plan::over::unbounded", format!("{name}() OVER {why}")).help(
        "say how long a key may be silent before it starts anew: keep = \"30d\" in the query, or keep = \"forever\"; or bound it by time: RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW",
    )
}
