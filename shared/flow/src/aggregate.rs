//! Keyed partial states: what combine fills and merge folds.
//!
//! The hash table of keys and the accumulators are the engine's ([`GroupValues`],
//! [`GroupsAccumulator`]); this is only the pair of them with a record count per group.
//!
//! # Invariants
//! Groups are numbered in the order in which they were first seen, so the same calls give the same
//! rows in the same order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{SortColumn, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Schema, UInt64Type};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use tidemill_plan::{Stage, StageAggregate};

/// Numbers keys: equal keys get equal numbers, new ones the next.
pub(crate) struct Groups {
    values: Option<Box<dyn GroupValues>>,
    used: bool,
}

impl Groups {
    /// For keys of the columns of `schema`; without a column everything is one group.
    pub(crate) fn new(schema: Schema) -> Result<Groups> {
        let values = match schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(Arc::new(schema), &GroupOrdering::None)?),
        };
        Ok(Groups { values, used: false })
    }

    /// Numbers `rows` keys; the numbers replace what `numbers` held.
    pub(crate) fn intern(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        numbers: &mut Vec<usize>,
    ) -> Result<()> {
        self.used |= rows > 0;
        match &mut self.values {
            Some(values) => values.intern(keys, numbers),
            None => {
                numbers.clear();
                numbers.resize(rows, 0);
                Ok(())
            }
        }
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Some(values) => values.len(),
            None => usize::from(self.used),
        }
    }

    /// The keys, in the order of their numbers.
    pub(crate) fn take(mut self) -> Result<Vec<ArrayRef>> {
        match &mut self.values {
            Some(values) => values.emit(EmitTo::All),
            None => Ok(Vec::new()),
        }
    }

    fn bytes(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.size())
    }
}

/// The partial states of a stage's aggregates, one per group, with the number of records that each
/// stands for.
pub(crate) struct States {
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    records: Vec<u64>,
}

impl States {
    pub(crate) fn new(stage: &Stage) -> Result<States> {
        let accumulators =
            stage.aggregates.iter().map(StageAggregate::accumulator).collect::<Result<_>>()?;
        Ok(States { accumulators, records: Vec::new() })
    }

    /// Feeds the rows of a stage's lower plan (and ORDER), row i to group `groups[i]`.
    pub(crate) fn update(
        &mut self,
        stage: &Stage,
        rows: &RecordBatch,
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        self.records.resize(total, 0);
        for group in groups {
            self.records[*group] += 1;
        }
        for (aggregate, accumulator) in stage.aggregates.iter().zip(&mut self.accumulators) {
            let mut values = aggregate
                .expr
                .expressions()
                .iter()
                .map(|expr| expr.evaluate(rows)?.into_array(rows.num_rows()))
                .collect::<Result<Vec<_>>>()?;
            // The sort keys are arguments too, after the aggregate's own.
            let sort_keys = aggregate.expr.order_bys();
            for key in sort_keys {
                values.push(key.expr.evaluate(rows)?.into_array(rows.num_rows())?);
            }
            let filter = aggregate.filter.map(|index| rows.column(index));
            if aggregate.ordered {
                let order = order_of(&values[values.len() - sort_keys.len()..], sort_keys)?;
                let sorted = |array: &ArrayRef| take(array, &order, None);
                let values = values.iter().map(sorted).collect::<Result<Vec<_>, _>>()?;
                let filter = filter.map(sorted).transpose()?;
                let groups: Vec<usize> =
                    order.values().iter().map(|row| groups[*row as usize]).collect();
                let filter = filter.as_ref().map(|filter| filter.as_boolean());
                accumulator.update_batch(&values, &groups, filter, total)?;
            } else {
                let filter = filter.map(|filter| filter.as_boolean());
                accumulator.update_batch(&values, groups, filter, total)?;
            }
        }
        Ok(())
    }

    /// Folds partial rows, row i into group `groups[i]`.
    pub(crate) fn merge(
        &mut self,
        stage: &Stage,
        partial: &RecordBatch,
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        self.records.resize(total, 0);
        let records = records_of(stage, partial)?;
        for (group, records) in groups.iter().zip(records.values()) {
            self.records[*group] += records;
        }
        let mut column = stage.states_index();
        for (aggregate, accumulator) in stage.aggregates.iter().zip(&mut self.accumulators) {
            let states = &partial.columns()[column..column + aggregate.states];
            accumulator.merge_batch(states, groups, total)?;
            column += aggregate.states;
        }
        Ok(())
    }

    /// Record counts and state columns, one row per group.
    pub(crate) fn take_states(mut self) -> Result<(UInt64Array, Vec<ArrayRef>)> {
        let mut columns = Vec::new();
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        Ok((UInt64Array::from(self.records), columns))
    }

    /// The aggregates' values, one row per group.
    pub(crate) fn take_values(mut self) -> Result<Vec<ArrayRef>> {
        self.accumulators.iter_mut().map(|it| it.evaluate(EmitTo::All)).collect()
    }

    fn bytes(&self) -> usize {
        self.accumulators.iter().map(|it| it.size()).sum::<usize>() + self.records.capacity() * 8
    }
}

/// Bytes of these rows, about; not of those beside them in the same memory, which a snapshot's parts
/// and the blocks of a segment share.
pub(crate) fn rows_bytes(rows: &RecordBatch) -> u64 {
    rows.columns().iter().map(|column| column_bytes(column) as u64).sum()
}

/// What the engine says of a column's data. Making those takes longer than all the rest of a merge,
/// so the usual types go without.
fn column_bytes(column: &ArrayRef) -> usize {
    let len = column.len();
    let offsets = |edges: &[i32]| 4 * edges.len() + (edges[len] - edges[0]) as usize;
    let values = match column.data_type() {
        DataType::Boolean => Some(len.div_ceil(8)),
        DataType::Utf8 => column.as_string_opt().map(|it| offsets(it.value_offsets())),
        DataType::Binary => column.as_binary_opt().map(|it| offsets(it.value_offsets())),
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok().map(|width| len * width),
        other => other.primitive_width().map(|width| len * width),
    };
    match values {
        Some(values) if column.null_count() == 0 => values,
        Some(values) => values + len.div_ceil(8),
        None => {
            let sliced = column.to_data().get_slice_memory_size();
            sliced.unwrap_or_else(|_| column.get_array_memory_size())
        }
    }
}

/// The records column of partial rows.
pub(crate) fn records_of<'a>(stage: &Stage, partial: &'a RecordBatch) -> Result<&'a UInt64Array> {
    partial
        .column(stage.slice_index() + 2)
        .as_primitive_opt::<UInt64Type>()
        .ok_or_else(|| internal_datafusion_err!("the records column has another type"))
}

fn order_of(
    keys: &[ArrayRef],
    sort: &[datafusion::physical_expr::PhysicalSortExpr],
) -> Result<arrow::array::UInt32Array> {
    let columns: Vec<SortColumn> = keys
        .iter()
        .zip(sort)
        .map(|(values, sort)| SortColumn {
            values: Arc::clone(values),
            options: Some(sort.options),
        })
        .collect();
    Ok(lexsort_to_indices(&columns, None)?)
}

/// A hash table from keys to partial states.
pub(crate) struct AggregateTable {
    pub(crate) groups: Groups,
    pub(crate) states: States,
    numbers: Vec<usize>,
}

impl AggregateTable {
    /// For keys of the first `columns` columns of partial rows.
    pub(crate) fn new(stage: &Stage, columns: usize) -> Result<AggregateTable> {
        let fields: Vec<_> = stage.partial.fields()[..columns].to_vec();
        Ok(AggregateTable {
            groups: Groups::new(Schema::new(fields))?,
            states: States::new(stage)?,
            numbers: Vec::new(),
        })
    }

    /// Feeds rows of the lower plan under `keys`.
    pub(crate) fn update(
        &mut self,
        stage: &Stage,
        keys: &[ArrayRef],
        rows: &RecordBatch,
    ) -> Result<()> {
        self.groups.intern(keys, rows.num_rows(), &mut self.numbers)?;
        self.states.update(stage, rows, &self.numbers, self.groups.len())
    }

    /// Folds partial rows under their own keys.
    pub(crate) fn merge(&mut self, stage: &Stage, partial: &RecordBatch) -> Result<()> {
        let keys = &partial.columns()[..stage.slice_index()];
        self.groups.intern(keys, partial.num_rows(), &mut self.numbers)?;
        self.states.merge(stage, partial, &self.numbers, self.groups.len())
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.groups.bytes() + self.states.bytes()
    }
}

#[cfg(test)]
mod tests;
