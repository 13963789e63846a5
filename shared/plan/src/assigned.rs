//! Windows over what other stages hand over: `TUMBLE(cte, time, …)`, `TUMBLE_ROWS(cte, time, …)`.
//!
//! The window function becomes a node that adds `window_start` and `window_end` to its input's
//! columns. It never runs: the aggregate above it is cut off as a stage of its own, and the stage's
//! rows enter in its place (`split`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, Result, TableReference, internal_err};
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, Projection, UserDefinedLogicalNodeCore,
};
use tidemill_model::WindowShape;

use crate::leaf::{WINDOW_END, WINDOW_START};
use crate::lineage::plain;
use crate::stage::count::CountShape;

/// Which windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Windows {
    pub(crate) shape: AnyShape,
    /// What the window function is partitioned by.
    pub(crate) partition_by: Vec<String>,
}

/// Windows of a length, or of a number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AnyShape {
    Time(WindowShape),
    Count(CountShape),
}

/// The rows of `input`, each with its windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) input: LogicalPlan,
    pub(crate) windows: Windows,
    /// The column of `input` that is the time.
    pub(crate) time: Expr,
    schema: DFSchemaRef,
}

impl Assigned {
    /// The node; its window columns are called as if they were `name`'s.
    fn plan(
        input: LogicalPlan,
        windows: Windows,
        time: Expr,
        name: Option<TableReference>,
    ) -> Result<LogicalPlan> {
        let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
        let edge = |column| (name.clone(), Arc::new(Field::new(column, timestamp.clone(), false)));
        let fields = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .chain([edge(WINDOW_START), edge(WINDOW_END)]);
        let schema = DFSchema::new_with_metadata(fields.collect(), Default::default())?;
        let node = Arc::new(Assigned { input, windows, time, schema: Arc::new(schema) });
        Ok(LogicalPlan::Extension(Extension { node }))
    }

    /// The same columns without windows: each row begins and ends at its own time.
    pub(crate) fn moments(&self) -> Result<LogicalPlan> {
        let columns = self.input.schema().iter().map(Expr::from);
        let edge = |(qualifier, field): (Option<&TableReference>, &Arc<Field>)| {
            self.time.clone().alias_qualified(qualifier.cloned(), field.name())
        };
        let edges = self.schema.iter().skip(self.input.schema().fields().len()).map(edge);
        let exprs = columns.chain(edges).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(self.input.clone()))?))
    }
}

impl PartialOrd for Assigned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl Hash for Assigned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.windows.hash(state);
        self.time.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for Assigned {
    fn name(&self) -> &str {
        "Windows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Windows: {:?} of {}", self.windows.shape, self.time)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let (Some(time), Some(input)) = (exprs.pop(), inputs.pop()) else {
            return internal_err!("windows without a time or an input");
        };
        let name = self.schema.iter().last().and_then(|(qualifier, _)| qualifier.cloned());
        match Assigned::plan(input, self.windows.clone(), plain(&time).clone(), name)? {
            LogicalPlan::Extension(made) => match made.node.as_any().downcast_ref::<Assigned>() {
                Some(made) => Ok(made.clone()),
                None => internal_err!("windows are no windows"),
            },
            _ => internal_err!("windows are no windows"),
        }
    }
}

/// Windows of `input`, whose own windows' columns, if it has such, give way to the new ones: they
/// can be the time, and are hidden otherwise.
pub(crate) fn windows_over(
    input: LogicalPlan,
    windows: Windows,
    time: Expr,
    name: TableReference,
) -> Result<LogicalPlan> {
    let is_edge = |field: &Field| [WINDOW_START, WINDOW_END].contains(&field.name().as_str());
    if !input.schema().fields().iter().any(|field| is_edge(field)) {
        return Assigned::plan(input, windows, time, Some(name));
    }
    let hidden = |column: &str| format!("__inner_{column}");
    let time = match time {
        Expr::Column(mut column) if [WINDOW_START, WINDOW_END].contains(&column.name.as_str()) => {
            column.name = hidden(&column.name);
            Expr::Column(column)
        }
        other => other,
    };
    let exprs = input.schema().iter().map(|(qualifier, field)| {
        let column = Expr::from((qualifier, field));
        match is_edge(field) {
            true => column.alias_qualified(qualifier.cloned(), hidden(field.name())),
            false => column,
        }
    });
    let exprs = exprs.collect();
    let input = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
    Assigned::plan(input, windows, time, Some(name))
}

/// The windows that a node assigns, if it does.
pub(crate) fn assigned(plan: &LogicalPlan) -> Option<&Assigned> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}
