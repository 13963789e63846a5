//! OVER windows over rows in the order of event time: which functions, which rows each of them sees,
//! and what of the past has to be kept for it.
//!
//! Two kinds of function:
//! - **running** ones see all rows of their key so far (`UNBOUNDED PRECEDING`, `ROW_NUMBER`, `RANK`):
//!   their state is one value a key;
//! - **framed** ones see rows near theirs (`RANGE` and `ROWS` frames, `LAG`, `LEAD`): what is kept is
//!   the rows that a later row's frame can reach.
//!
//! Rows of one event time are peers; among them the order is that of the input.
//!
//! # Invariants
//! 1. What would grow with every new key, or for ever, needs the query's `keep`.
//! 2. Which rows a value depends on follows from event times and the order of rows alone.
//!
//! # Schemas
//! kept: `__k0 …` the PARTITION BY values, [`TIME`], [`RUN`], [`WAITS`], then `__a0 …` the arguments
//! of framed functions. Waiting rows: the input's columns, `__v0 …`, the values that are known, then
//! [`FAILED`].
//! keys: `__k0 …`, [`TIME`] of the key's last row, [`RUN`], then the states of running functions.
//!
//! Not here: which part of a query it is (`split`), evaluating it (`flow::merge::over`).

mod ahead;
mod call;
mod last;
mod reduced;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Window};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use tidemill_model::Keep;

pub(crate) use self::ahead::check_looks_ahead;
pub use self::last::LastStage;
pub(crate) use self::reduced::{is_by_time, reduced};
use crate::engine::{physical_condition, physical_expr};
use crate::error::Refusal;
use crate::functions::one_zero::one_zero;
use crate::lineage::plain;

/// Kept column: event time of the row, or of the key's last row; milliseconds.
pub(crate) const TIME: &str = "__time";
/// Kept column: event time of the first row since which the key was never silent for longer than
/// `keep`.
pub(crate) const RUN: &str = "__run";
/// Kept column: whether the row itself still waits for rows behind it.
pub(crate) const WAITS: &str = "__waits";
/// Column of waiting rows: whether one of the values could not be computed, so that the row is not
/// handed on.
pub(crate) const FAILED: &str = "__failed";

/// OVER windows of one PARTITION BY.
#[derive(Debug, Clone)]
pub struct OverStage {
    /// Schema of the rows that come in.
    pub input: SchemaRef,
    /// The input column that is ORDER BY: a time attribute.
    pub time: usize,
    /// PARTITION BY, over the input.
    pub partition_by: Vec<Arc<dyn PhysicalExpr>>,
    /// Arguments and filters of all functions, over the input; those of framed functions first.
    pub arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// How many arguments are of framed functions.
    pub framed_arguments: usize,
    /// The functions, in the order of the columns that they add.
    pub functions: Vec<OverFunction>,
    /// After how long a silence a key starts anew, milliseconds; `None`: never.
    pub keep_ms: Option<i64>,
    /// Schema of kept rows.
    pub kept: SchemaRef,
    /// Schema of rows that wait, when some function looks ahead.
    pub waiting: Option<SchemaRef>,
    /// Schema of what is kept of a key, when something is.
    pub keys: Option<SchemaRef>,
    /// The input's columns, then one a function.
    pub output: SchemaRef,
    /// How long after its event time a row may be handed on, milliseconds; `None`: for ever.
    pub delay_ms: Option<i64>,
    /// Whether rows are handed on in the order of their event time.
    pub is_ordered: bool,
    /// The node as the query has it, for `explain`.
    pub display: String,
}

/// One function of an OVER window.
#[derive(Debug, Clone)]
pub struct OverFunction {
    /// What it computes.
    pub call: OverCall,
    /// Which rows it sees.
    pub sight: Sight,
    /// Whether it starts anew when its key was silent for longer than `keep`.
    pub ends: bool,
    /// State columns among those of keys; empty for framed functions.
    pub states: Vec<Field>,
}

/// Which rows a function sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All rows of the key so far, and with `peers` all of its own event time.
    Running {
        /// Whether rows of one event time see each other (RANGE).
        peers: bool,
    },
    /// Rows whose event time lies between two distances from its own, both inclusive; milliseconds,
    /// negative before.
    Range {
        /// From here.
        from: i64,
        /// To here.
        to: i64,
    },
    /// Rows whose place lies between two distances from its own, both inclusive; negative before.
    Rows {
        /// From here.
        from: i64,
        /// To here.
        to: i64,
    },
}

/// What a function computes. Numbers are of [`OverStage::arguments`].
#[derive(Debug, Clone)]
pub enum OverCall {
    /// `ROW_NUMBER()`.
    RowNumber,
    /// `RANK()`.
    Rank,
    /// `DENSE_RANK()`.
    DenseRank,
    /// `LAG` and `LEAD`: the argument of another row of the key.
    Shift {
        /// The argument.
        argument: usize,
        /// How many rows before its own; negative: behind.
        back: i64,
        /// The value where there is no such row.
        default: ScalarValue,
        /// Whether rows whose argument is null do not count.
        ignore_nulls: bool,
    },
    /// `FIRST_VALUE`, `LAST_VALUE`, `NTH_VALUE`.
    Value {
        /// The argument.
        argument: usize,
        /// Which of the rows that it sees: 1 the first, 2 the second …, −1 the last.
        nth: i64,
        /// Whether rows whose argument is null do not count.
        ignore_nulls: bool,
    },
    /// An aggregate.
    Aggregate {
        /// The engine's.
        expr: Arc<AggregateFunctionExpr>,
        /// Its arguments.
        arguments: Vec<usize>,
        /// The boolean argument of FILTER (WHERE …).
        filter: Option<usize>,
        /// How it is computed.
        method: Method,
    },
}

/// How an aggregate is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// COUNT of what is not null.
    Count,
    /// SUM of a 64-bit integer, a decimal of 128 bits, or a double.
    Sum,
    /// AVG of doubles.
    Average,
    /// MIN.
    Least,
    /// MAX.
    Greatest,
    /// By the engine's accumulator, fed with all rows that are seen.
    Engine,
}

impl Sight {
    /// Whether a row's value may depend on rows behind it.
    pub fn looks_ahead(self) -> bool {
        match self {
            Sight::Running { .. } => false,
            Sight::Range { to, .. } | Sight::Rows { to, .. } => to > 0,
        }
    }

    /// Whether it sees all rows so far.
    pub fn is_running(self) -> bool {
        matches!(self, Sight::Running { .. })
    }
}

impl OverStage {
    /// The stage of a window node over rows with the columns of `input` (without the hidden one).
    /// `times` says of each column whether it is a time attribute: every later row has one of at
    /// least the watermark less so many milliseconds.
    pub(crate) fn new(
        window: &Window,
        input: &DFSchema,
        times: &[Option<i64>],
        keep: Keep,
    ) -> Result<OverStage> {
        let calls = window.window_expr.iter().map(called).collect::<Result<Vec<_>>>()?;
        let Some(first) = calls.first() else {
            return internal_err!("a window node without a function");
        };
        let time = ordered_by(&first.params.order_by, input, times, first)?;
        let compiler = Compiler::new(input);
        let partition_by = first
            .params
            .partition_by
            .iter()
            .map(|expr| compiler.key(expr))
            .collect::<Result<Vec<_>>>()?;
        let mut read = Vec::new();
        for call in &calls {
            if ordered_by(&call.params.order_by, input, times, call)? != time
                || call.params.partition_by != first.params.partition_by
            {
                return internal_err!("a window node of several orders");
            }
            read.push(call::read(call, &compiler, keep, !partition_by.is_empty())?);
        }
        let (framed, running): (Vec<_>, Vec<_>) =
            read.iter().partition(|call| !call.sight.is_running());
        let framed_arguments = framed.iter().map(|call| call.arguments.len()).sum();
        let (mut of_framed, mut of_running) = (0, framed_arguments);
        let mut arguments = Vec::new();
        for call in framed.into_iter().chain(running) {
            arguments.extend(call.arguments.iter().cloned());
        }
        let mut functions = Vec::new();
        for call in read {
            let next = if call.sight.is_running() { &mut of_running } else { &mut of_framed };
            let from = *next;
            *next += call.arguments.len();
            functions.push(call.function(from, functions.len(), input.as_arrow())?);
        }
        let keep_ms = match keep {
            Keep::For(ms) => Some(ms),
            Keep::None | Keep::Forever => None,
        };
        let mut stage = OverStage {
            input: Arc::new(without_metadata(input.as_arrow())),
            time,
            partition_by,
            arguments,
            framed_arguments,
            functions,
            keep_ms,
            kept: Arc::new(Schema::empty()),
            waiting: None,
            keys: None,
            output: Arc::clone(window.schema.inner()),
            delay_ms: Some(0),
            is_ordered: true,
            display: displayed(window),
        };
        stage.lay_out()?;
        Ok(stage)
    }

    /// Schemas of the snapshot's parts, in order.
    pub fn parts(&self) -> Vec<SchemaRef> {
        let framed = self.has_framed().then_some(&self.kept);
        framed.into_iter().chain(&self.waiting).chain(&self.keys).cloned().collect()
    }

    /// Whether some function sees rows near its own only.
    pub fn has_framed(&self) -> bool {
        self.functions.iter().any(|function| !function.sight.is_running())
    }

    /// Schema of the PARTITION BY values.
    pub fn key_schema(&self) -> Schema {
        Schema::new(self.kept.fields()[..self.partition_by.len()].to_vec())
    }

    /// Schemas, and when rows are handed on.
    fn lay_out(&mut self) -> Result<()> {
        let mut key_fields = Vec::new();
        for (index, expr) in self.partition_by.iter().enumerate() {
            let data_type = expr.data_type(&self.input)?;
            key_fields.push(Field::new(format!("__k{index}"), data_type, true));
        }
        let mut kept = key_fields.clone();
        kept.push(Field::new(TIME, DataType::Int64, false));
        kept.push(Field::new(RUN, DataType::Int64, false));
        kept.push(Field::new(WAITS, DataType::Boolean, false));
        for (index, argument) in self.arguments[..self.framed_arguments].iter().enumerate() {
            let data_type = argument.data_type(&self.input)?;
            kept.push(Field::new(format!("__a{index}"), data_type, true));
        }
        self.kept = Arc::new(Schema::new(kept));

        let ahead = |function: &&OverFunction| function.sight.looks_ahead();
        if self.functions.iter().any(|function| ahead(&function)) {
            let mut fields: Vec<Field> =
                self.input.fields().iter().map(|field| field.as_ref().clone()).collect();
            let added = &self.output.fields()[self.input.fields().len()..];
            for (index, (function, field)) in self.functions.iter().zip(added).enumerate() {
                if !function.sight.looks_ahead() {
                    let data_type = field.data_type().clone();
                    fields.push(Field::new(format!("__v{index}"), data_type, true));
                }
            }
            fields.push(Field::new(FAILED, DataType::Boolean, false));
            self.waiting = Some(Arc::new(Schema::new(fields)));
        }
        let ends = self.functions.iter().any(|function| function.ends);
        let running = self.functions.iter().any(|function| function.sight.is_running());
        if running || (ends && self.keep_ms.is_some()) {
            let mut fields = key_fields;
            fields.push(Field::new(TIME, DataType::Int64, false));
            fields.push(Field::new(RUN, DataType::Int64, false));
            fields.extend(self.functions.iter().flat_map(|it| it.states.iter().cloned()));
            self.keys = Some(Arc::new(Schema::new(fields)));
        }
        for function in self.functions.iter().filter(ahead) {
            match function.sight {
                Sight::Range { to, .. } => self.delay_ms = self.delay_ms.map(|ms| ms.max(to)),
                Sight::Rows { to, .. } => {
                    self.is_ordered = false;
                    let longest = self.keep_ms.filter(|_| function.ends);
                    let longest = longest.map(|keep| keep.saturating_mul(to));
                    self.delay_ms = self.delay_ms.zip(longest).map(|(a, b)| a.max(b));
                }
                Sight::Running { .. } => {}
            }
        }
        Ok(())
    }
}

fn displayed(window: &Window) -> String {
    LogicalPlan::Window(window.clone()).display().to_string()
}

fn without_metadata(schema: &Schema) -> Schema {
    Schema::new(schema.fields().clone())
}

/// The call that an expression of a window node is.
pub(crate) fn called(expr: &Expr) -> Result<&WindowFunction> {
    match plain(expr) {
        Expr::WindowFunction(call) => Ok(call),
        other => internal_err!("a window expression is no window function: {other}"),
    }
}

/// The input column by which rows are ordered: one time attribute, rising.
fn ordered_by(
    order_by: &[Sort],
    input: &DFSchema,
    times: &[Option<i64>],
    call: &WindowFunction,
) -> Result<usize> {
    let is_time = |index: &usize| times.get(*index).copied().flatten().is_some();
    let column = match order_by {
        [sort] if sort.asc => match plain(&sort.expr) {
            Expr::Column(column) => input.maybe_index_of_column(column).filter(is_time),
            _ => None,
        },
        _ => None,
    };
    let names = || {
        let times = (0..times.len()).filter(is_time);
        let names: Vec<&str> = times.map(|index| input.field(index).name().as_str()).collect();
        names.join(" or ")
    };
    let name = call.fun.name().to_uppercase();
    match (column, order_by) {
        (Some(column), _) => Ok(column),
        (None, _) if !(0..times.len()).any(|index| is_time(&index)) => Err(Refusal::new(
            "plan::over::order",
            format!("{name}() OVER works on rows that come in no order of time"),
        )
        .help("LEAD and frames of rows FOLLOWING put them out of order: beside OVER by another key they need a keep that ends, or a query of their own; else hand on a time in the subquery")
        .into_engine()),
        (None, [sort]) if !sort.asc => Err(Refusal::new(
            "plan::over::order",
            format!("{name}() OVER runs backwards in time, and a stream has no last row"),
        )
        .help(format!(
            "write ORDER BY {} without DESC; only ROW_NUMBER() … = 1 may have DESC, for the last row of a key",
            names()
        ))
        .into_engine()),
        (None, []) => Err(Refusal::new(
            "plan::over::order",
            format!("{name}() OVER has no ORDER BY, so it would see rows that have yet to come"),
        )
        .help(format!("write OVER (… ORDER BY {})", names()))
        .into_engine()),
        (None, [_, _, ..]) => Err(Refusal::new(
            "plan::over::order",
            format!("{name}() OVER is ordered by more than event time"),
        )
        .help(format!(
            "write ORDER BY {} alone: rows of one time keep the order in which they stand in the stream",
            names()
        ))
        .into_engine()),
        (None, _) => Err(Refusal::new(
            "plan::over::order",
            format!("{name}() OVER is ordered by something else than event time"),
        )
        .help(format!("write ORDER BY {}: rows are seen in the order of event time", names()))
        .into_engine()),
    }
}

/// Expressions over the input, as the engine runs them.
pub(super) struct Compiler<'a> {
    pub(super) input: &'a DFSchema,
}

impl<'a> Compiler<'a> {
    fn new(input: &'a DFSchema) -> Compiler<'a> {
        Compiler { input }
    }

    /// The expression, which must give the same value whenever it is evaluated.
    pub(super) fn physical(&self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        physical_expr(plain(expr), self.input)
    }

    /// The same for FILTER, where null is as good as false.
    pub(super) fn condition(&self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        physical_condition(plain(expr), self.input)
    }

    /// The expression as a key.
    pub(super) fn key(&self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        physical_expr(&one_zero(plain(expr).clone(), self.input)?, self.input)
    }
}
