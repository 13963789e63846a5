//! AVG, exact for decimals: the engine's cuts the last digit off, and fails on averages that its type
//! has no room for.
//!
//! Values are added up in 256 bits, so that no number of them overflows. The average of a
//! `DECIMAL(p, s)` always fits its type: it lies between the least and the greatest value, and four
//! more digits are only there where the whole part leaves room for them (`decimal`).
//!
//! All other types are the engine's.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Decimal256Array, UInt64Array,
};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type,
    Field, FieldRef, UInt64Type, i256,
};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::decimal::{fits, power_of_ten, quotient_scale, rounded};

/// AVG.
pub(crate) fn average() -> AggregateUDF {
    AggregateUDF::from(Average { engine: Avg::new() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Average {
    engine: Avg,
}

/// The type of the average of decimals.
#[derive(Debug, Clone, Copy)]
struct Exact {
    /// Precision and scale of the values.
    of: (u8, i8),
    /// Precision and scale of the average.
    to: (u8, i8),
}

impl Exact {
    fn of(data_type: &DataType) -> Option<Exact> {
        let DataType::Decimal128(precision, scale) = data_type else { return None };
        let to = quotient_scale(*precision, *scale);
        let digits = i16::from(*precision) - i16::from(*scale) + i16::from(to);
        let digits = digits.clamp(1, i16::from(DECIMAL128_MAX_PRECISION)) as u8;
        Some(Exact { of: (*precision, *scale), to: (digits, to) })
    }

    fn data_type(self) -> DataType {
        DataType::Decimal128(self.to.0, self.to.1)
    }

    /// Type of the values' sum.
    fn sum_type(self) -> DataType {
        DataType::Decimal256(DECIMAL256_MAX_PRECISION, self.of.1)
    }

    fn average(self, sum: i256, count: u64) -> Result<Option<i128>> {
        if count == 0 {
            return Ok(None);
        }
        let moved = (i32::from(self.to.1) - i32::from(self.of.1)).max(0);
        let moved = power_of_ten(moved as u32).and_then(|up| sum.checked_mul(up));
        let average = moved.and_then(|sum| rounded(sum, i256::from_i128(i128::from(count))));
        match average.and_then(|average| fits(average, DECIMAL128_MAX_PRECISION)) {
            Some(average) => Ok(Some(average)),
            None => internal_err!("an average lies beyond the values that it is of"),
        }
    }

    fn averages(self, sums: &[i256], counts: &[u64]) -> Result<ArrayRef> {
        let each = sums.iter().zip(counts).map(|(sum, count)| self.average(*sum, *count));
        let averages = each.collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(averages.with_precision_and_scale(self.to.0, self.to.1)?))
    }
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn aliases(&self) -> &[String] {
        self.engine.aliases()
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first().and_then(Exact::of) {
            Some(exact) => Ok(exact.data_type()),
            None => self.engine.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match Exact::of(args.expr_fields[0].data_type()) {
            Some(exact) if args.is_distinct => {
                Ok(Box::new(OfDistinct { exact, values: BTreeSet::new() }))
            }
            Some(exact) => Ok(Box::new(OfAll { exact, sum: i256::ZERO, count: 0 })),
            None => self.engine.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let data_type = args.input_fields[0].data_type();
        let Some(exact) = Exact::of(data_type) else { return self.engine.state_fields(args) };
        if args.is_distinct {
            let item = Field::new_list_field(data_type.clone(), true);
            let name = format_state_name(args.name, "avg distinct");
            return Ok(vec![Arc::new(Field::new_list(name, item, false))]);
        }
        let count = format_state_name(args.name, "count");
        let sum = format_state_name(args.name, "sum");
        Ok(vec![
            Arc::new(Field::new(count, DataType::UInt64, true)),
            Arc::new(Field::new(sum, exact.sum_type(), true)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match Exact::of(args.expr_fields[0].data_type()) {
            Some(_) => !args.is_distinct,
            None => self.engine.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match Exact::of(args.expr_fields[0].data_type()) {
            Some(exact) => Ok(Box::new(OfGroups { exact, sums: Vec::new(), counts: Vec::new() })),
            None => self.engine.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// The values of a column that are not null.
fn values(column: &ArrayRef) -> impl Iterator<Item = i128> + '_ {
    column.as_primitive::<Decimal128Type>().iter().flatten()
}

/// The average of all values that it is given.
#[derive(Debug)]
struct OfAll {
    exact: Exact,
    sum: i256,
    count: u64,
}

impl Accumulator for OfAll {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for value in values(&columns[0]) {
            self.sum = self.sum.wrapping_add(i256::from_i128(value));
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for value in values(&columns[0]) {
            self.sum = self.sum.wrapping_sub(i256::from_i128(value));
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (precision, scale) = self.exact.to;
        let average = self.exact.average(self.sum, self.count)?;
        Ok(ScalarValue::Decimal128(average, precision, scale))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let scale = self.exact.of.1;
        Ok(vec![
            ScalarValue::UInt64(Some(self.count)),
            ScalarValue::Decimal256(Some(self.sum), DECIMAL256_MAX_PRECISION, scale),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[0].as_primitive::<UInt64Type>().iter().flatten();
        self.count += counts.sum::<u64>();
        for sum in states[1].as_primitive::<Decimal256Type>().iter().flatten() {
            self.sum = self.sum.wrapping_add(sum);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The average of values of which each counts once.
#[derive(Debug)]
struct OfDistinct {
    exact: Exact,
    values: BTreeSet<i128>,
}

impl Accumulator for OfDistinct {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.values.extend(values(&columns[0]));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.values.iter().copied().map(i256::from_i128);
        let sum = sum.fold(i256::ZERO, i256::wrapping_add);
        let (precision, scale) = self.exact.to;
        let average = self.exact.average(sum, self.values.len() as u64)?;
        Ok(ScalarValue::Decimal128(average, precision, scale))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (precision, scale) = self.exact.of;
        let values: Vec<ScalarValue> = self
            .values
            .iter()
            .map(|value| ScalarValue::Decimal128(Some(*value), precision, scale))
            .collect();
        let data_type = DataType::Decimal128(precision, scale);
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &data_type))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for list in states[0].as_list::<i32>().iter().flatten() {
            self.values.extend(values(&list));
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.len() * 2 * size_of::<i128>()
    }
}

/// The averages of many groups.
#[derive(Debug)]
struct OfGroups {
    exact: Exact,
    sums: Vec<i256>,
    counts: Vec<u64>,
}

impl OfGroups {
    fn take(&mut self, emit_to: EmitTo) -> (Vec<i256>, Vec<u64>) {
        (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts))
    }

    fn states(&self, sums: Vec<i256>, counts: Vec<u64>) -> Result<Vec<ArrayRef>> {
        let sums = Decimal256Array::from(sums)
            .with_precision_and_scale(DECIMAL256_MAX_PRECISION, self.exact.of.1)?;
        Ok(vec![Arc::new(UInt64Array::from(counts)), Arc::new(sums)])
    }
}

/// Whether FILTER lets a row through.
fn counts(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for OfGroups {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.resize(total, i256::ZERO);
        self.counts.resize(total, 0);
        let values = columns[0].as_primitive::<Decimal128Type>();
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && counts(filter, row) {
                let value = i256::from_i128(values.value(row));
                self.sums[*group] = self.sums[*group].wrapping_add(value);
                self.counts[*group] += 1;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.resize(total, i256::ZERO);
        self.counts.resize(total, 0);
        let counts = states[0].as_primitive::<UInt64Type>();
        let sums = states[1].as_primitive::<Decimal256Type>();
        for (row, group) in groups.iter().enumerate() {
            if counts.is_valid(row) && sums.is_valid(row) {
                self.sums[*group] = self.sums[*group].wrapping_add(sums.value(row));
                self.counts[*group] += counts.value(row);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = self.take(emit_to);
        self.exact.averages(&sums, &counts)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = self.take(emit_to);
        self.states(sums, counts)
    }

    fn convert_to_state(
        &self,
        columns: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = columns[0].as_primitive::<Decimal128Type>();
        let taken: Vec<bool> = (0..values.len())
            .map(|row| values.is_valid(row) && self::counts(filter, row))
            .collect();
        let sum = |(row, taken): (usize, &bool)| match taken {
            true => i256::from_i128(values.value(row)),
            false => i256::ZERO,
        };
        let sums = taken.iter().enumerate().map(sum).collect();
        self.states(sums, taken.iter().map(|taken| u64::from(*taken)).collect())
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i256>() + self.counts.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference divides by hand, one digit after the other.
    fn by_hand(values: &[i128], more_digits: usize) -> i128 {
        let sum: i128 = values.iter().sum();
        let count = values.len() as i128;
        let (mut quotient, mut rest) = (sum.abs() / count, sum.abs() % count);
        for _ in 0..more_digits {
            quotient = quotient * 10 + rest * 10 / count;
            rest = rest * 10 % count;
        }
        (quotient + i128::from(rest * 2 >= count)) * sum.signum()
    }

    fn column(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
        let values = Decimal128Array::from(values.to_vec());
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
    }

    #[test]
    fn averages_are_those_of_long_division_however_they_are_cut() {
        let exact = Exact::of(&DataType::Decimal128(10, 2)).unwrap();
        assert_eq!(exact.data_type(), DataType::Decimal128(14, 6));
        for values in
            [&[0, 1, 1][..], &[-1, 0, -1], &[5, 6, 7, 9, 11, 2, 1], &[1; 7], &[-3, 2, 2, 4]]
        {
            for cut in 0..=values.len() {
                let mut parts = [&values[..cut], &values[cut..]].map(|part| {
                    let mut groups = OfGroups { exact, sums: Vec::new(), counts: Vec::new() };
                    let to = vec![0; part.len()];
                    groups.update_batch(&[column(part, 10, 2)], &to, None, 1).unwrap();
                    groups
                });
                let states = parts[1].state(EmitTo::All).unwrap();
                parts[0].merge_batch(&states, &[0], 1).unwrap();
                let average = parts[0].evaluate(EmitTo::All).unwrap();
                let average = average.as_primitive::<Decimal128Type>().value(0);
                assert_eq!(average, by_hand(values, 4), "{values:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_largest_decimals_have_an_average() {
        let most = 10i128.pow(38) - 1;
        let exact = Exact::of(&DataType::Decimal128(38, 10)).unwrap();
        assert_eq!(exact.data_type(), DataType::Decimal128(38, 10));
        let mut all = OfAll { exact, sum: i256::ZERO, count: 0 };
        all.update_batch(&[column(&[most; 1000], 38, 10)]).unwrap();
        assert_eq!(all.evaluate().unwrap(), ScalarValue::Decimal128(Some(most), 38, 10));
        all.retract_batch(&[column(&[most; 998], 38, 10)]).unwrap();
        all.update_batch(&[column(&[1 - most], 38, 10)]).unwrap();
        let third = (most + 1) / 3;
        assert_eq!(all.evaluate().unwrap(), ScalarValue::Decimal128(Some(third), 38, 10));
    }
}
