//! Bounds in time between the two sides of a join, from its condition.
//!
//! With `d` = right time − left time, a condition such as `b.ts BETWEEN a.ts - INTERVAL '5' MINUTE
//! AND a.ts` says `-300000 <= d <= 0`. Times are whole milliseconds, so that every exclusive bound is
//! an inclusive one a millisecond further in.
//!
//! Not here: what becomes of a join (`join`, `as_of`).

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, Join, Operator};

use crate::graph::times;

/// What a condition says of the distance between two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The left side's column.
    pub(crate) left: usize,
    /// The right side's column, counted on its side.
    pub(crate) right: usize,
    /// Least right time − left time, milliseconds.
    pub(crate) lower_ms: Option<i64>,
    /// Greatest right time − left time, milliseconds.
    pub(crate) upper_ms: Option<i64>,
}

impl Bounds {
    /// Both.
    pub(crate) fn and(self, other: Bounds) -> Bounds {
        let lower_ms = self.lower_ms.max(other.lower_ms);
        let upper_ms = match (self.upper_ms, other.upper_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Bounds { lower_ms, upper_ms, ..self }
    }
}

/// The two sides of a join, and which of their columns are times.
pub(crate) struct Sides<'a> {
    /// Columns of the left side, then those of the right one.
    pub(crate) schema: &'a DFSchema,
    /// How many columns the left side has.
    pub(crate) left: usize,
    /// For each column of both sides whether it is a time.
    pub(crate) is_time: Vec<bool>,
}

impl<'a> Sides<'a> {
    /// Those of `join`; `schema` is that of both its sides together.
    pub(crate) fn of(join: &Join, schema: &'a DFSchema) -> Sides<'a> {
        let of = times(&join.left).into_iter().chain(times(&join.right));
        let is_time = of.map(|time| time.is_some()).collect();
        Sides { schema, left: join.left.schema().fields().len(), is_time }
    }
}

impl Sides<'_> {
    /// The bounds that a condition is; `None`: it is something else.
    pub(crate) fn bounds(&self, condition: &Expr) -> Option<Bounds> {
        match condition {
            Expr::Alias(alias) => self.bounds(&alias.expr),
            Expr::BinaryExpr(it) => self.comparison(&it.left, it.op, &it.right),
            Expr::Between(it) if !it.negated => {
                let low = self.comparison(&it.expr, Operator::GtEq, &it.low)?;
                let high = self.comparison(&it.expr, Operator::LtEq, &it.high)?;
                (low.left == high.left && low.right == high.right).then(|| low.and(high))
            }
            _ => None,
        }
    }

    fn comparison(&self, a: &Expr, op: Operator, b: &Expr) -> Option<Bounds> {
        let difference = self.linear(a)?.plus(self.linear(b)?.negated())?;
        let (left, right) = (difference.left?, difference.right?);
        // d + c (op) 0, or, with the sides' signs the other way round, -d + c (op) 0.
        let (op, than) = match (left.1, right.1) {
            (-1, 1) => (op, -difference.ms),
            (1, -1) => (op.swap()?, difference.ms),
            _ => return None,
        };
        let (lower, upper) = match op {
            Operator::Eq => (Some(than), Some(than)),
            Operator::LtEq => (None, Some(than)),
            Operator::Lt => (None, Some(than - 1)),
            Operator::GtEq => (Some(than), None),
            Operator::Gt => (Some(than + 1), None),
            _ => return None,
        };
        let ms = |bound: i128| bound.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let (lower_ms, upper_ms) = (lower.map(ms), upper.map(ms));
        Some(Bounds { left: left.0, right: right.0, lower_ms, upper_ms })
    }

    fn linear(&self, expr: &Expr) -> Option<Linear> {
        match expr {
            Expr::Alias(alias) => self.linear(&alias.expr),
            Expr::Cast(cast) if is_exact(cast.field.data_type()) => self.linear(&cast.expr),
            Expr::TryCast(cast) if is_exact(cast.field.data_type()) => self.linear(&cast.expr),
            Expr::Negative(inner) => Some(self.linear(inner)?.negated()),
            Expr::BinaryExpr(it) => {
                let (a, b) = (self.linear(&it.left)?, self.linear(&it.right)?);
                match it.op {
                    Operator::Plus => a.plus(b),
                    Operator::Minus => a.plus(b.negated()),
                    _ => None,
                }
            }
            Expr::Column(column) => {
                let index = self.schema.maybe_index_of_column(column)?;
                if !*self.is_time.get(index)? {
                    return None;
                }
                Some(match index.checked_sub(self.left) {
                    None => Linear { left: Some((index, 1)), ..Linear::default() },
                    Some(index) => Linear { right: Some((index, 1)), ..Linear::default() },
                })
            }
            Expr::Literal(value, _) => {
                Some(Linear { ms: milliseconds(value)?, ..Linear::default() })
            }
            _ => None,
        }
    }
}

/// A sum of a left time, a right time, each with its sign, and a length.
#[derive(Debug, Clone, Copy, Default)]
struct Linear {
    left: Option<(usize, i8)>,
    right: Option<(usize, i8)>,
    ms: i128,
}

impl Linear {
    fn negated(self) -> Linear {
        let negated = |time: Option<(usize, i8)>| time.map(|(column, sign)| (column, -sign));
        let (left, right) = (negated(self.left), negated(self.right));
        Linear { left, right, ms: -self.ms }
    }

    fn plus(self, other: Linear) -> Option<Linear> {
        let one = |a: Option<(usize, i8)>, b: Option<(usize, i8)>| match (a, b) {
            (Some(_), Some(_)) => None,
            (a, b) => Some(a.or(b)),
        };
        Some(Linear {
            left: one(self.left, other.left)?,
            right: one(self.right, other.right)?,
            ms: self.ms + other.ms,
        })
    }
}

/// Whether a cast of a time or a length to this type keeps its milliseconds.
fn is_exact(data_type: &DataType) -> bool {
    let fine = |unit: &TimeUnit| *unit != TimeUnit::Second;
    match data_type {
        DataType::Timestamp(unit, None) | DataType::Duration(unit) => fine(unit),
        DataType::Interval(_) => true,
        _ => false,
    }
}

/// Length of an interval in whole milliseconds; months have none, and what is finer the engine rounds
/// as it adds it to a time.
fn milliseconds(value: &ScalarValue) -> Option<i128> {
    let (days, nanoseconds) = match value {
        ScalarValue::IntervalMonthDayNano(Some(it)) if it.months == 0 => {
            (it.days, i128::from(it.nanoseconds))
        }
        ScalarValue::IntervalDayTime(Some(it)) => {
            (it.days, i128::from(it.milliseconds) * 1_000_000)
        }
        ScalarValue::DurationSecond(Some(it)) => (0, i128::from(*it) * 1_000_000_000),
        ScalarValue::DurationMillisecond(Some(it)) => (0, i128::from(*it) * 1_000_000),
        ScalarValue::DurationMicrosecond(Some(it)) => (0, i128::from(*it) * 1_000),
        ScalarValue::DurationNanosecond(Some(it)) => (0, i128::from(*it)),
        _ => return None,
    };
    let is_whole = nanoseconds % 1_000_000 == 0;
    is_whole.then(|| i128::from(days) * 86_400_000 + nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, IntervalMonthDayNano, Schema};
    use datafusion::logical_expr::{col, lit};

    fn of(condition: &Expr) -> Option<(Option<i64>, Option<i64>)> {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let fields = vec![Field::new("a", time.clone(), false), Field::new("b", time, false)];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        let sides = Sides { schema: &schema, left: 1, is_time: vec![true, true] };
        sides.bounds(condition).map(|bounds| (bounds.lower_ms, bounds.upper_ms))
    }

    fn length(nanoseconds: i64) -> Expr {
        let interval = IntervalMonthDayNano::new(0, 0, nanoseconds);
        lit(ScalarValue::IntervalMonthDayNano(Some(interval)))
    }

    #[test]
    fn comparisons_say_how_far_the_right_time_may_be_from_the_left_one() {
        let (a, b) = (|| col("a"), || col("b"));
        let ms = |ms: i64| length(ms * 1_000_000);
        assert_eq!(of(&a().lt_eq(b())), Some((Some(0), None)));
        assert_eq!(of(&b().lt(a())), Some((None, Some(-1))));
        assert_eq!(of(&b().lt(a() + ms(5))), Some((None, Some(4))));
        assert_eq!(of(&b().between(a() - ms(5), a() + ms(1))), Some((Some(-5), Some(1))));
        assert_eq!(of(&a().between(b() - ms(5), b() + ms(1))), Some((Some(-1), Some(5))));
        assert_eq!(of(&(a() - b()).lt_eq(ms(7))), Some((Some(-7), None)));
        assert_eq!(of(&ms(7).gt(b() - a())), Some((None, Some(6))));
        assert_eq!(of(&a().eq(b())), Some((Some(0), Some(0))));
        assert_eq!(of(&(a() + ms(3)).eq(b())), Some((Some(3), Some(3))));
    }

    #[test]
    fn other_conditions_are_no_bounds() {
        let month =
            lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(1, 0, 0))));
        assert_eq!(of(&col("b").lt(col("a") + month)), None);
        assert_eq!(of(&col("b").not_eq(col("a"))), None);
        assert_eq!(of(&col("b").lt(col("a") + length(1_500_000))), None);
        assert_eq!(of(&col("a").lt(col("a") + length(1_000_000))), None);
        assert_eq!(of(&(col("a") + col("b")).lt(length(1_000_000))), None);
        assert_eq!(of(&col("b").not_between(col("a"), col("a"))), None);
    }
}
