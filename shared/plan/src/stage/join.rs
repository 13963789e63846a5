//! A stage that joins two inputs whose rows are near each other in time.
//!
//! With `d` = right time − left time, rows match when their keys are equal, `lower_ms <= d <=
//! upper_ms` and the rest of the condition holds. So a row needs to be kept only until the other
//! input is past the last time at which a match could come.
//!
//! # Schemas
//! state: of each side the columns, then [`JOIN_STATE`].
//!
//! Not here: how bounds are read (`bounds`), joins by the latest version (`as_of`), the join itself
//! (`flow`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, JoinType, NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;

use super::bounds::{Bounds, Sides};
use crate::engine::{physical_condition, physical_expr};
use crate::error::Refusal;
use crate::functions::one_zero::one_zero;
use crate::graph::{Derived, Glue, NewStage, OperatorPlan, TimeColumn, Times, times};
use crate::leaf::Padded;
use crate::optimizer::guarded_keys;

/// State column of a join's rows: [`JOINED`] and [`MATCHED`], ored.
pub const JOIN_STATE: &str = "__join";
/// The row was joined with every row before it.
pub const JOINED: u8 = 1;
/// The row has matched.
pub const MATCHED: u8 = 2;

/// A join of two inputs by keys and a range of times.
#[derive(Debug, Clone)]
pub struct JoinStage {
    /// Which rows it gives; never a mark join.
    pub join_type: JoinType,
    /// What must be equal, over each side's columns.
    pub keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    /// Whether a null key equals a null key.
    pub nulls_equal: bool,
    /// Each side's column of times.
    pub times: [usize; 2],
    /// Least right time − left time, milliseconds.
    pub lower_ms: i64,
    /// Greatest right time − left time, milliseconds. Below `lower_ms`: nothing matches.
    pub upper_ms: i64,
    /// What else must hold.
    pub residual: Option<Residual>,
    /// Schema of each side.
    pub inputs: [SchemaRef; 2],
    /// Schema of each side's state.
    pub kept: [SchemaRef; 2],
    /// Schema of what it hands over.
    pub output: SchemaRef,
    display: String,
}

/// A condition over both sides.
#[derive(Debug, Clone)]
pub struct Residual {
    /// Over the columns that it names.
    pub condition: Arc<dyn PhysicalExpr>,
    /// Those columns: of the left side, then of the right one.
    pub columns: [Vec<usize>; 2],
    /// Their schema.
    pub schema: SchemaRef,
}

/// A join's condition, taken apart.
pub(crate) struct Condition {
    /// Equal expressions, one over each side.
    pub(crate) keys: Vec<(Expr, Expr)>,
    /// What is said of each pair of times.
    pub(crate) bounds: Vec<(Bounds, Vec<Expr>)>,
    /// Everything else.
    pub(crate) rest: Vec<Expr>,
}

impl Condition {
    pub(crate) fn of(join: &Join) -> Result<Condition> {
        let (left, right) = (join.left.schema(), join.right.schema());
        let schema = left.join(right)?;
        let sides = Sides::of(join, &schema);
        let equal = |(a, b): &(Expr, Expr)| {
            let (left, right) = (Box::new(a.clone()), Box::new(b.clone()));
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
        };
        let on: Vec<Expr> = join.on.iter().map(equal).collect();
        let filters = join.filter.iter().flat_map(split_conjunction);
        let mut condition = Condition { keys: Vec::new(), bounds: Vec::new(), rest: Vec::new() };
        for part in on.iter().chain(filters) {
            if let Some(bounds) = sides.bounds(part) {
                condition.bound(bounds, part);
            } else if let Some(key) = key_of(part, left, right)? {
                condition.keys.push(key);
            } else {
                condition.rest.push(part.clone());
            }
        }
        Ok(condition)
    }

    fn bound(&mut self, bounds: Bounds, part: &Expr) {
        let same =
            |it: &&mut (Bounds, Vec<Expr>)| it.0.left == bounds.left && it.0.right == bounds.right;
        match self.bounds.iter_mut().find(same) {
            Some((known, parts)) => {
                *known = known.and(bounds);
                parts.push(part.clone());
            }
            None => self.bounds.push((bounds, vec![part.clone()])),
        }
    }

    /// Takes the bounds of a pair of times that has both, one whose rows come in order rather than
    /// another; what others say is as any condition.
    fn take_bounds(&mut self, join: &Join) -> Result<Bounds> {
        let (left, right) = (times(&join.left), times(&join.right));
        let waits = |times: &[Option<TimeColumn>], column: usize| {
            times.get(column).copied().flatten().is_none_or(|time| !time.is_ordered)
        };
        let both =
            |(_, (it, _)): &(usize, &(Bounds, _))| it.lower_ms.is_some() && it.upper_ms.is_some();
        let waiting = |(_, (it, _)): &(usize, &(Bounds, _))| {
            u8::from(waits(&left, it.left)) + u8::from(waits(&right, it.right))
        };
        let found = self.bounds.iter().enumerate().filter(both).min_by_key(waiting);
        let Some((index, _)) = found else {
            return Err(self.unbounded(join).into_engine());
        };
        let (bounds, _) = self.bounds.remove(index);
        for part in self.bounds.drain(..).flat_map(|(_, parts)| parts) {
            match key_of(&part, join.left.schema(), join.right.schema())? {
                Some(key) => self.keys.push(key),
                None => self.rest.push(part),
            }
        }
        Ok(bounds)
    }

    fn unbounded(&self, join: &Join) -> Refusal {
        let name = |plan: &LogicalPlan, column: Option<usize>| {
            let first = || times(plan).iter().position(Option::is_some);
            let column = column.or_else(first)?;
            let (qualifier, field) = plan.schema().qualified_field(column);
            Some(datafusion::common::Column::new(qualifier.cloned(), field.name()).flat_name())
        };
        let known = self.bounds.first().map(|(bounds, _)| *bounds);
        let left = name(&join.left, known.map(|it| it.left));
        let right = name(&join.right, known.map(|it| it.right));
        let (Some(left), Some(right)) = (left, right) else {
            return Refusal::new(
                "plan::join::no_time",
                "one side of a join of two streams has no event time among its columns",
            )
            .help("pass the event time on, SELECT ts, … in the subquery that is joined; in EXISTS and IN compare it: WHERE … AND b.ts BETWEEN a.ts - INTERVAL '10' MINUTE AND a.ts");
        };
        match known.map(|it| (it.lower_ms, it.upper_ms)) {
            Some((None, _)) => Refusal::new(
                "plan::join::unbounded",
                format!("nothing says how long before {left} a matching {right} may be: rows would be kept for ever"),
            )
            .help(format!("add to ON: {right} >= {left} - INTERVAL '10' MINUTE")),
            Some(_) => Refusal::new(
                "plan::join::unbounded",
                format!("nothing says how long after {left} a matching {right} may be: rows would be kept for ever"),
            )
            .help(format!("add to ON: {right} <= {left} + INTERVAL '10' MINUTE")),
            None => Refusal::new(
                "plan::join::unbounded",
                "a join of two streams has no bound in time: rows would be kept for ever",
            )
            .help(format!("add to ON: {right} BETWEEN {left} - INTERVAL '10' MINUTE AND {left} + INTERVAL '10' MINUTE; or join the latest version: ASOF JOIN … MATCH_CONDITION ({left} >= {right}); or aggregate both sides over the same windows and join ON window_start, window_end")),
        }
    }
}

/// The two sides of an equality of an expression over the left side with one over the right one.
fn key_of(part: &Expr, left: &DFSchema, right: &DFSchema) -> Result<Option<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) = part else {
        return Ok(None);
    };
    let over = |expr: &Expr, schema: &DFSchema| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
    };
    Ok(if over(a, left) && over(b, right) {
        Some((a.as_ref().clone(), b.as_ref().clone()))
    } else if over(a, right) && over(b, left) {
        Some((b.as_ref().clone(), a.as_ref().clone()))
    } else {
        None
    })
}

impl JoinStage {
    /// Whether a join has both bounds in time.
    pub(crate) fn is_bounded(join: &Join) -> Result<bool> {
        Ok(Condition::of(join)?.take_bounds(join).is_ok())
    }

    /// The stage that a join of two inputs, both over stages, is.
    pub(crate) fn cut(join: &Join) -> Result<NewStage> {
        check_kind(join)?;
        let mut condition = Condition::of(join)?;
        let bounds = condition.take_bounds(join)?;
        let (lower_ms, upper_ms) =
            (bounds.lower_ms.unwrap_or(i64::MIN), bounds.upper_ms.unwrap_or(i64::MAX));
        let inputs =
            vec![Glue::new(&join.left, bounds.left)?, Glue::new(&join.right, bounds.right)?];
        let stage = JoinStage {
            join_type: join.join_type,
            keys: physical_keys(join, &guarded_keys(join, &condition.keys, &condition.rest)?)?,
            nulls_equal: join.null_equality == NullEquality::NullEqualsNull,
            times: [bounds.left, bounds.right],
            lower_ms,
            upper_ms,
            residual: residual(join, condition.rest)?,
            inputs: [Arc::clone(&inputs[0].schema), Arc::clone(&inputs[1].schema)],
            kept: [kept(&inputs[0].schema), kept(&inputs[1].schema)],
            output: Arc::clone(join.schema.inner()),
            display: format!("{} {:?} {:?}", join.join_type, join.on, join.filter),
        };
        let of_sides = [times(&join.left), times(&join.right)];
        let times = stage.output_times(&inputs, &of_sides);
        Ok(NewStage {
            schema: Arc::clone(&join.schema),
            derived: Derived { inputs, operator: OperatorPlan::Join(Box::new(stage)) },
            times,
        })
    }

    /// Schemas of its state.
    pub(crate) fn state(&self) -> Vec<SchemaRef> {
        self.kept.to_vec()
    }

    /// What it does, in one line, for people.
    pub(crate) fn display(&self) -> String {
        format!("join {} {} {}", self.display, self.lower_ms, self.upper_ms)
    }

    /// How far each time column of the output may lag, and the one that rises.
    ///
    /// A row is handed over at the greatest time by which it is known: of a pair the later row's
    /// time, of a row without match the last time at which one could come. So a left time lags by
    /// `upper_ms` when that is positive, a right one by `-lower_ms`. The row's other times lag by as
    /// much more than before, unless the row had to wait for its place.
    fn output_times(&self, inputs: &[Glue], of_sides: &[Vec<Option<TimeColumn>>; 2]) -> Times {
        let delay_ms = inputs.iter().map(|glue| glue.delay_ms).max().unwrap_or(0);
        let lags = [self.upper_ms.max(0), self.lower_ms.saturating_neg().max(0)];
        let [from_left, from_right] = sides_of(self.join_type);
        let times = vec![None; self.output.fields().len()];
        let mut told = Times { times, ordered_by: None, padded: Vec::new() };
        let mut first = 0;
        for (side, (given, nullable)) in [from_left, from_right].into_iter().enumerate() {
            if !given {
                continue;
            }
            let glue = &inputs[side];
            let later = delay_ms.saturating_sub(glue.delay_ms).saturating_add(lags[side]);
            for (index, time) in of_sides[side].iter().enumerate() {
                let handed = time.filter(|_| glue.is_ordered || index == self.times[side]);
                let Some(delay_ms) = handed.map(|it| it.delay_ms.saturating_add(later)) else {
                    continue;
                };
                let column = first + index;
                match nullable {
                    true => told.padded.push(Padded { column, side, delay_ms }),
                    false => told.times[column] = Some(delay_ms),
                }
            }
            if lags[side] == 0 && !nullable && told.ordered_by.is_none() {
                told.ordered_by = Some(first + self.times[side]);
            }
            first += self.inputs[side].fields().len();
        }
        told
    }
}

/// For each side whether its columns are handed over, and whether they may be padded with nulls.
fn sides_of(join_type: JoinType) -> [(bool, bool); 2] {
    match join_type {
        JoinType::Inner => [(true, false), (true, false)],
        JoinType::Left => [(true, false), (true, true)],
        JoinType::Right => [(true, true), (true, false)],
        JoinType::Full => [(true, true), (true, true)],
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            [(true, false), (false, false)]
        }
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            [(false, false), (true, false)]
        }
    }
}

/// Whether rows that match decide alone what a join gives.
pub(crate) fn is_plain(join: &Join) -> bool {
    check_kind(join).is_ok()
}

fn check_kind(join: &Join) -> Result<()> {
    if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
        return Err(refuse_mark().into_engine());
    }
    if join.null_aware {
        return Err(refuse_not_in().into_engine());
    }
    Ok(())
}

pub(crate) fn refuse_mark() -> Refusal {
    Refusal::new(
        "plan::join::mark",
        "EXISTS or IN over a stream stands inside another expression",
    )
    .help("let it be a condition of its own: WHERE EXISTS (…) AND …; or join LEFT and ask whether the match IS NULL")
}

pub(crate) fn refuse_not_in() -> Refusal {
    Refusal::new(
        "plan::join::not_in",
        "NOT IN over a stream would wait for ever: one null to come would empty its result",
    )
    .help("write WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.ts BETWEEN …)")
}

/// The keys as expressions over each side's columns.
pub(crate) fn physical_keys(
    join: &Join,
    keys: &[(Expr, Expr)],
) -> Result<[Vec<Arc<dyn PhysicalExpr>>; 2]> {
    let key =
        |key: &Expr, schema: &DFSchema| physical_expr(&one_zero(key.clone(), schema)?, schema);
    let left = keys.iter().map(|(left, _)| key(left, join.left.schema()));
    let right = keys.iter().map(|(_, right)| key(right, join.right.schema()));
    Ok([left.collect::<Result<_>>()?, right.collect::<Result<_>>()?])
}

fn residual(join: &Join, rest: Vec<Expr>) -> Result<Option<Residual>> {
    let Some(rest) = conjunction(rest) else { return Ok(None) };
    let both = join.left.schema().join(join.right.schema())?;
    let condition = physical_condition(&rest, &both)?;
    let mut used: Vec<usize> = collect_columns(&condition).iter().map(|it| it.index()).collect();
    used.sort_unstable();
    let condition = condition.transform(|part| {
        let Some(column) = part.downcast_ref::<PhysicalColumn>() else {
            return Ok(Transformed::no(part));
        };
        let index = used.partition_point(|other| *other < column.index());
        Ok(Transformed::yes(Arc::new(PhysicalColumn::new(column.name(), index)) as _))
    })?;
    let lefts = join.left.schema().fields().len();
    let schema = Arc::new(both.as_arrow().project(&used)?);
    let (left, right): (Vec<usize>, Vec<usize>) = used.iter().partition(|index| **index < lefts);
    let right = right.into_iter().map(|index| index - lefts).collect();
    Ok(Some(Residual { condition: condition.data, columns: [left, right], schema }))
}

fn kept(input: &SchemaRef) -> SchemaRef {
    let state = Arc::new(Field::new(JOIN_STATE, DataType::UInt8, false));
    let fields = input.fields().iter().cloned().chain([state]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
