//! Results that change after they were emitted: which rows sinks hold of a window, and what is
//! emitted so that they hold its newest ones.
//!
//! # Invariants
//! 1. A window's revision rises by one with each emission of any of its rows; a session takes it
//!    from the sessions that it was made of. So for one row (key and window) later epochs have higher
//!    revisions, and one epoch has at most one row of it.
//! 2. After the last emission of a window exactly its rows of that emission are upserted: every
//!    other row that was is deleted.
//! 3. What is kept of a window is dropped with its state: then nothing can change it any more.
//!
//! Not here: which windows are due ([`closing`]).

mod closing;
mod codec;
pub(super) mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, new_null_array,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::{Result, internal_err};
use tidemill_model::{EventMs, Window};
use tidemill_plan::{QueryPlan, ResultKey, Revisions, Timing};

use self::codec::KeyCodec;

/// Bytes of a window's entry, about.
const ENTRY_BYTES: u64 = 96;

/// What sinks hold of the windows of one query whose results can still change. Of windows of fixed
/// length; sessions know their own ([`told`]).
pub(super) struct Standing {
    codec: KeyCodec,
    windows: BTreeMap<Window, Told>,
}

/// What was emitted of a window.
struct Told {
    /// Of its last emission.
    revision: i64,
    /// Keys of the rows that sinks hold; not kept when no row can fall out.
    rows: BTreeSet<Box<[u8]>>,
}

/// The columns that tell rows apart; those of the window are apart from them.
fn key_columns(plan: &QueryPlan) -> Result<&[usize]> {
    match &plan.result_key().columns {
        Some(columns) => Ok(columns),
        None => internal_err!("results without a key cannot change"),
    }
}

impl Standing {
    pub(super) fn new(plan: &QueryPlan) -> Result<Standing> {
        let columns = plan.result_key().columns.as_deref().unwrap_or_default();
        let types = columns.iter().map(|column| plan.output.field(*column).data_type().clone());
        Ok(Standing { codec: KeyCodec::new(types)?, windows: BTreeMap::new() })
    }

    /// The window's rows, `rows`, as they are emitted, with the deletion of those that fell out;
    /// `None`: there is nothing to tell.
    fn whole(
        &mut self,
        plan: &QueryPlan,
        revisions: &Revisions,
        window: Window,
        rows: &RecordBatch,
        timing: Timing,
    ) -> Result<Option<RecordBatch>> {
        let keys: BTreeSet<Box<[u8]>> = self.keys(plan, rows)?.into_iter().collect();
        let told = self.windows.get(&window);
        let gone: Vec<&[u8]> = told
            .iter()
            .flat_map(|told| told.rows.difference(&keys))
            .map(|key| key.as_ref())
            .collect();
        if rows.num_rows() == 0 && gone.is_empty() {
            return Ok(None);
        }
        let revision = told.map_or(0, |told| told.revision + 1);
        let held = vec![(window.start.0, window.end.0); gone.len()];
        let gone = withdrawn(plan, self.codec.decode(&gone)?, &held)?;
        let upserts = tagged(plan, rows, "upsert", &vec![(revision, timing); rows.num_rows()])?;
        let deletes = tagged(plan, &gone, "delete", &vec![(revision, timing); gone.num_rows()])?;
        let rows = if needs_keys(revisions) { keys } else { BTreeSet::new() };
        self.windows.insert(window, Told { revision, rows });
        Ok(Some(concat_batches(&plan.output, [&upserts, &deletes])?))
    }

    /// The window's rows on which the query's condition holds, of those that were not emitted yet.
    fn early(
        &mut self,
        plan: &QueryPlan,
        holds: &[bool],
        window: Window,
        rows: &RecordBatch,
    ) -> Result<Option<RecordBatch>> {
        let keys = self.keys(plan, rows)?;
        let told = self.windows.get(&window);
        let is_new = |key: &[u8]| told.is_none_or(|told| !told.rows.contains(key));
        let fires: Vec<bool> =
            keys.iter().zip(holds).map(|(key, holds)| *holds && is_new(key)).collect();
        if !fires.contains(&true) {
            return Ok(None);
        }
        let revision = told.map_or(0, |told| told.revision + 1);
        let rows = filter_record_batch(rows, &BooleanArray::from(fires.clone()))?;
        let told = self.windows.entry(window);
        let told = told.or_insert_with(|| Told { revision, rows: BTreeSet::new() });
        told.revision = revision;
        told.rows
            .extend(keys.into_iter().zip(fires).filter_map(|(key, fires)| fires.then_some(key)));
        let tags = vec![(revision, Timing::Early); rows.num_rows()];
        Ok(Some(tagged(plan, &rows, "upsert", &tags)?))
    }

    fn keys(&self, plan: &QueryPlan, rows: &RecordBatch) -> Result<Vec<Box<[u8]>>> {
        let columns: Vec<ArrayRef> =
            key_columns(plan)?.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        self.codec.encode(&columns, rows.num_rows())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.windows.clear();
    }

    /// Drops what was told of windows that take no rows any more.
    pub(super) fn forget(&mut self, plan: &QueryPlan, watermark: EventMs) {
        self.windows.retain(|window, _| window.end.plus(plan.takes_ms()) > watermark);
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> u64 {
        let rows = |told: &Told| -> u64 {
            told.rows.iter().map(|key| key.len() as u64 + 32).sum::<u64>() + ENTRY_BYTES
        };
        self.windows.values().map(rows).sum()
    }

    /// Schema of the snapshot part: window, revision, whether the row stands for a result, its key.
    pub(super) fn schema(plan: &QueryPlan) -> SchemaRef {
        let mut fields = vec![
            Field::new("__start", DataType::Int64, false),
            Field::new("__end", DataType::Int64, false),
            Field::new("__revision", DataType::Int64, false),
            Field::new("__held", DataType::Boolean, false),
        ];
        let columns = plan.result_key().columns.as_deref().unwrap_or_default();
        fields.extend(columns.iter().enumerate().map(|(number, column)| {
            let data_type = plan.output.field(*column).data_type().clone();
            Field::new(format!("__key{number}"), data_type, true)
        }));
        Arc::new(Schema::new(fields))
    }

    /// All of it: a row a result that sinks hold, and one for a window of which they hold none.
    pub(super) fn rows(&self, plan: &QueryPlan) -> Result<RecordBatch> {
        let none = self.codec.none()?;
        let mut columns: [Vec<i64>; 3] = Default::default();
        let mut held = Vec::new();
        let mut keys: Vec<&[u8]> = Vec::new();
        for (window, told) in &self.windows {
            let rows = told.rows.iter().map(|key| (true, key.as_ref()));
            let alone = told.rows.is_empty().then_some((false, none.as_ref()));
            for (is_held, key) in rows.chain(alone) {
                columns[0].push(window.start.0);
                columns[1].push(window.end.0);
                columns[2].push(told.revision);
                held.push(is_held);
                keys.push(key);
            }
        }
        let mut arrays: Vec<ArrayRef> =
            columns.into_iter().map(|it| Arc::new(Int64Array::from(it)) as ArrayRef).collect();
        arrays.push(Arc::new(BooleanArray::from(held)));
        arrays.extend(self.codec.decode(&keys)?);
        Ok(RecordBatch::try_new(Standing::schema(plan), arrays)?)
    }

    /// Takes over what [`Standing::rows`] gave.
    pub(super) fn restore(&mut self, rows: &RecordBatch) -> Result<()> {
        let number = |column: usize| rows.column(column).as_primitive_opt::<Int64Type>();
        let (Some(starts), Some(ends), Some(revisions), Some(held)) =
            (number(0), number(1), number(2), rows.column(3).as_boolean_opt())
        else {
            return internal_err!("the columns of emitted windows have other types");
        };
        let keys = self.codec.encode(&rows.columns()[4..], rows.num_rows())?;
        self.windows.clear();
        for (row, key) in keys.into_iter().enumerate() {
            let window =
                Window { start: EventMs(starts.value(row)), end: EventMs(ends.value(row)) };
            let revision = revisions.value(row);
            let told = self.windows.entry(window);
            let told = told.or_insert_with(|| Told { revision, rows: BTreeSet::new() });
            if held.value(row) {
                told.rows.insert(key);
            }
        }
        Ok(())
    }
}

/// Whether it must be known which rows of a window were emitted.
fn needs_keys(revisions: &Revisions) -> bool {
    revisions.withdraws || revisions.when.is_some()
}

/// Rows with the columns that results have when they can change: operation, revision and timing.
fn tagged(
    plan: &QueryPlan,
    rows: &RecordBatch,
    op: &str,
    tags: &[(i64, Timing)],
) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec![op; tags.len()])));
    columns.push(Arc::new(tags.iter().map(|(revision, _)| *revision).collect::<Int64Array>()));
    let timings = tags.iter().map(|(_, timing)| timing.text());
    columns.push(Arc::new(StringArray::from_iter_values(timings)));
    Ok(RecordBatch::try_new(Arc::clone(&plan.output), columns)?)
}

/// Rows that say which results are withdrawn: key and window, all else null.
fn withdrawn(plan: &QueryPlan, keys: Vec<ArrayRef>, windows: &[(i64, i64)]) -> Result<RecordBatch> {
    let fields = &plan.output.fields()[..plan.output.fields().len() - 3];
    let mut columns: Vec<ArrayRef> =
        fields.iter().map(|field| new_null_array(field.data_type(), windows.len())).collect();
    for (column, key) in key_columns(plan)?.iter().zip(keys) {
        columns[*column] = key;
    }
    let ResultKey { start, end, .. } = plan.result_key();
    let starts = windows.iter().map(|(start, _)| *start);
    let ends = windows.iter().map(|(_, end)| *end);
    for (edge, times) in [(start, starts.collect::<Vec<_>>()), (end, ends.collect())] {
        if let Some(edge) = edge {
            let times = times.into_iter().map(|time| time.saturating_sub(edge.plus_ms));
            columns[edge.column] = Arc::new(TimestampMillisecondArray::from_iter_values(times));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns)?)
}
