//! A stage that joins each row of one input with the latest version of its key in another.
//!
//! A row at time `t` gets, of the rows of its key on the right side with a time of at most `t +
//! upper_ms`, the last one; nothing when that one is older than `tolerance_ms` allows. A null in it is
//! a value.
//!
//! # Schemas
//! state: of the left side the rows that wait; of the right side versions, then [`TOUCHED`].
//!
//! Not here: how it is written in SQL (`sql::as_of`), the join itself (`flow`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, JoinType, NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Join};
use datafusion::physical_plan::PhysicalExpr;
use tidemill_model::Keep;

use super::bounds::{Bounds, Sides};
use super::join::{Condition, physical_keys};
use crate::error::Refusal;
use crate::functions::{AS_OF, AS_OF_TIME};
use crate::graph::{Derived, Glue, NewStage, OperatorPlan, Times};
use crate::lineage::any_part;

/// State column of versions: the last time at which the version's key came, milliseconds; null: the
/// version waits.
pub const TOUCHED: &str = "__touched";

/// A join of rows with the latest version of their key.
#[derive(Debug, Clone)]
pub struct AsOfStage {
    /// Whether rows without a version are handed over, with nulls.
    pub is_outer: bool,
    /// What must be equal, over each side's columns.
    pub keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    /// Whether a null key equals a null key.
    pub nulls_equal: bool,
    /// Each side's column of times.
    pub times: [usize; 2],
    /// Greatest time of a version − time of a row, milliseconds; never positive.
    pub upper_ms: i64,
    /// Greatest time of a row − time of its version, milliseconds.
    pub tolerance_ms: Option<i64>,
    /// How long the latest version of a key is kept when no row of the key comes.
    pub keep: Keep,
    /// Schema of each side.
    pub inputs: [SchemaRef; 2],
    /// Schema of the versions in the state.
    pub versions: SchemaRef,
    /// Schema of what it hands over.
    pub output: SchemaRef,
    display: String,
}

/// Whether an expression marks an as-of join.
pub(crate) fn is_marker(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if [AS_OF, AS_OF_TIME].contains(&call.func.name()))
}

/// Whether a join is an as-of join.
pub(crate) fn is_as_of(join: &Join) -> bool {
    join.filter.as_ref().is_some_and(|filter| any_part(filter, is_marker))
}

impl AsOfStage {
    /// The stage that an as-of join of two inputs, both over stages, is.
    pub(crate) fn cut(join: &Join, keep: Keep) -> Result<NewStage> {
        let is_outer = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left => true,
            other => return Err(refuse(format!("an as-of join cannot be {other}"))),
        };
        let parts = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let (markers, rest): (Vec<Expr>, Vec<Expr>) = parts.into_iter().partition(is_marker);
        let [Expr::ScalarFunction(marker)] = markers.as_slice() else {
            return Err(refuse("an as-of join has not exactly one match condition"));
        };
        let [argument] = marker.args.as_slice() else {
            return Err(refuse("MATCH_CONDITION holds not exactly one condition"));
        };
        let matching = match_bounds(join, argument)?;
        let mut upper_ms = upper(matching)?;

        let plain = Join { filter: conjunction(rest), ..join.clone() };
        let Condition { keys, bounds, rest } = Condition::of(&plain)?;
        if let Some(other) = rest.first() {
            return Err(refuse(format!("an as-of join cannot ask for {other}")));
        }
        let mut tolerance_ms: Option<i64> = None;
        for (bounds, _) in bounds {
            let same = (bounds.left, bounds.right) == (matching.left, matching.right);
            if !same {
                return Err(refuse("the tolerance of an as-of join is about other columns"));
            }
            upper_ms = bounds.upper_ms.map_or(upper_ms, |other| upper_ms.min(other));
            tolerance_ms = bounds.lower_ms.map(i64::saturating_neg);
        }
        if tolerance_ms.is_none() && keep == Keep::None {
            return Err(Refusal::new(
                "plan::join::keep",
                "an as-of join without a tolerance keeps the latest version of every key for ever",
            )
            .help("write keep = \"30d\" (a key without rows for so long is forgotten) or keep = \"forever\" in the query's section, or a tolerance in ON: … AND b.ts >= a.ts - INTERVAL '10' MINUTE")
            .into_engine());
        }

        let inputs =
            vec![Glue::new(&join.left, matching.left)?, Glue::new(&join.right, matching.right)?];
        let delay_ms = inputs.iter().map(|glue| glue.delay_ms).max().unwrap_or(0);
        let stage = AsOfStage {
            is_outer,
            keys: physical_keys(join, &keys)?,
            nulls_equal: join.null_equality == NullEquality::NullEqualsNull,
            times: [matching.left, matching.right],
            upper_ms,
            tolerance_ms,
            keep,
            inputs: [Arc::clone(&inputs[0].schema), Arc::clone(&inputs[1].schema)],
            versions: versions(&inputs[1].schema),
            output: Arc::clone(join.schema.inner()),
            display: format!("{} {:?} {:?}", join.join_type, join.on, join.filter),
        };
        let mut times = vec![None; stage.output.fields().len()];
        times[matching.left] = Some(delay_ms);
        Ok(NewStage {
            schema: Arc::clone(&join.schema),
            derived: Derived { inputs, operator: OperatorPlan::AsOf(Box::new(stage)) },
            times: Times { times, ordered_by: Some(matching.left), padded: Vec::new() },
        })
    }

    /// Schemas of its state.
    pub(crate) fn state(&self) -> Vec<SchemaRef> {
        vec![Arc::clone(&self.inputs[0]), Arc::clone(&self.versions)]
    }

    /// What it does, in one line, for people.
    pub(crate) fn display(&self) -> String {
        format!("as of {} {} {:?}", self.display, self.upper_ms, self.tolerance_ms)
    }
}

fn match_bounds(join: &Join, condition: &Expr) -> Result<Bounds> {
    let schema: DFSchema = join.left.schema().join(join.right.schema())?;
    Sides::of(join, &schema).bounds(condition).ok_or_else(|| {
        refuse(format!("MATCH_CONDITION compares not the event times of both sides: {condition}"))
    })
}

/// How far before a row its version must be.
fn upper(matching: Bounds) -> Result<i64> {
    match (matching.lower_ms, matching.upper_ms) {
        (None, Some(upper_ms)) if upper_ms <= 0 => Ok(upper_ms),
        _ => Err(refuse("an as-of join finds the latest version before a row, not one after it")),
    }
}

/// Why an as-of join cannot run.
pub(crate) fn refuse(message: impl Into<String>) -> datafusion::common::DataFusionError {
    Refusal::new("plan::join::as_of", message)
        .help("write a ASOF [LEFT] JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k [AND b.ts >= a.ts - INTERVAL '10' MINUTE], with two streams; filter b in a subquery: ASOF JOIN (SELECT … WHERE …) b")
        .into_engine()
}

fn versions(input: &SchemaRef) -> SchemaRef {
    let touched = Arc::new(Field::new(TOUCHED, DataType::Int64, true));
    let fields = input.fields().iter().cloned().chain([touched]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
