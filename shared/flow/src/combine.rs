//! combine: decoded rows → partial aggregates per key and window slice.
//!
//! Everything of a query that needs no other shard happens here: its lower plan (filter,
//! projection, joins with static tables), then one hash aggregation per batch.
//!
//! # Invariants
//! 1. Pure: the same rows and `seen` give the same blocks, byte for byte.
//! 2. A row counts in exactly one partial row of each stage and grouping set, unless the query
//!    filters it, it falls in no window, or the query fails on it: then it is a dead letter of that
//!    query, in none of its stages, and the other queries count it.
//! 3. `seen` decides only whether a row is shipped alone with its raw bytes; never whether it
//!    counts.
//!
//! Not here: what the aggregation is made of (`aggregate`), what becomes of partial rows (`merge`).

mod gaps;
mod rows;
pub(crate) mod shipped;
mod slices;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, Int64Array, RecordBatch,
    TimestampMillisecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use datafusion::common::{DataFusionError, Result, internal_err};
use tidemill_model::{Block, DeadReason, EventMs, LogId, WindowShape};
use tidemill_pipeline::Late;
use tidemill_plan::{
    Feed, GroupingSetOf, Ingested, ORDER, PipelinePlan, QueryPlan, ROW, Runner, Slot, Stage,
    WINDOW_END, WINDOW_START, check_batch,
};

use crate::aggregate::{AggregateTable, Groups, States};
use crate::blame::{self, Found};
use crate::decode::Decoded;
use crate::ports::{Combine, Combined, QueryError, is_of_value};
use slices::Placed;

/// Ingest's part of all queries of a pipeline. One per worker.
pub struct Combiner {
    queries: Vec<QueryCombiner>,
    show_content: bool,
}

struct QueryCombiner {
    plan: Arc<QueryPlan>,
    /// By the number of the stage that is fed.
    runners: Vec<(u16, Runner)>,
}

impl Combiner {
    /// Prepares the lower plans of all queries.
    pub fn new(plan: &PipelinePlan) -> Result<Combiner, QueryError> {
        let mut queries = Vec::new();
        for query in &plan.queries {
            let runner = |(number, _)| Ok((number, query.lower(number)?));
            let runners = query.ingested().into_iter().map(runner);
            let runners = runners
                .collect::<Result<_>>()
                .map_err(|error| QueryError::of(&query.name, &error, plan.show_content))?;
            queries.push(QueryCombiner { plan: Arc::clone(query), runners });
        }
        Ok(Combiner { queries, show_content: plan.show_content })
    }
}

impl Combine for Combiner {
    fn combine(
        &mut self,
        log: &LogId,
        decoded: &Decoded,
        seen: Option<EventMs>,
    ) -> Result<Combined, QueryError> {
        let mut combined = Combined::default();
        for query in &mut self.queries {
            query
                .combine_into(&mut combined, log, decoded, seen)
                .map_err(|error| QueryError::of(&query.plan.name, &error, self.show_content))?;
        }
        Ok(combined)
    }
}

impl QueryCombiner {
    /// Adds the query's blocks, and a dead letter for each record that it fails on.
    fn combine_into(
        &mut self,
        combined: &mut Combined,
        log: &LogId,
        decoded: &Decoded,
        seen: Option<EventMs>,
    ) -> Result<()> {
        let error = match self.blocks(log, decoded, seen) {
            Ok(blocks) => {
                combined.blocks.extend(blocks);
                return Ok(());
            }
            Err(error) => error,
        };
        let count = decoded.rows.num_rows();
        let Found { failing, passing } = blame::search(count, error, &mut |rows| {
            self.blocks(log, &decoded.only(rows)?, seen).map(drop)
        })?;
        let kept = decoded.only(passing.iter().flat_map(|(rows, ())| rows.clone()))?;
        match self.blocks(log, &kept, seen) {
            Ok(blocks) => combined.blocks.extend(blocks),
            // Together they fail, though none is to blame: then apart.
            Err(error) if is_of_value(&error) => {
                for (rows, ()) in passing {
                    combined.blocks.extend(self.blocks(log, &decoded.only(rows)?, seen)?);
                }
            }
            Err(error) => return Err(error),
        }
        let letter = |(row, error): &(u32, DataFusionError)| {
            let (query, detail) = (self.plan.name.clone(), blame::detail(error));
            let record = decoded.records[*row as usize] as usize;
            decoded.raw.dead_letter(log, record, DeadReason::Failed { query, detail })
        };
        combined.failed.extend(failing.iter().map(letter));
        Ok(())
    }

    /// One block per stage that has rows.
    fn blocks(
        &mut self,
        log: &LogId,
        decoded: &Decoded,
        seen: Option<EventMs>,
    ) -> Result<Vec<Block>> {
        let mut blocks = Vec::new();
        let plan = Arc::clone(&self.plan);
        for ((stage, ingested), (_, runner)) in plan.ingested().iter().zip(&mut self.runners) {
            let reads = ingested.streams().contains(&log.stream);
            if !reads || decoded.rows.num_rows() == 0 {
                continue;
            }
            let Some(lower) = run_lower(runner, *ingested, log, decoded)? else { continue };
            let partial = match ingested {
                Ingested::Aggregate(stage) => {
                    partial_rows(&plan, stage, log, decoded, lower, seen)?
                }
                Ingested::Rows(stage) => rows::shipped(&plan, stage, decoded, lower, seen)?,
            };
            if partial.num_rows() == 0 {
                continue;
            }
            // Types are not written: merge reads the block with those of the plan.
            check_batch(&partial, ingested.partial())?;
            blocks.push(Block {
                query: self.plan.fingerprint,
                stage: *stage,
                partition: 0,
                rows: partial.num_rows() as u64,
                batch: tidemill_codec::encode_batch(&partial)
                    .map_err(|error| DataFusionError::Internal(error.to_string()))?,
            });
        }
        Ok(blocks)
    }
}

/// The rows of a stage's lower plan for one batch; `None`: none.
fn run_lower(
    runner: &mut Runner,
    ingested: Ingested<'_>,
    log: &LogId,
    decoded: &Decoded,
) -> Result<Option<RecordBatch>> {
    let shape = match ingested {
        Ingested::Aggregate(stage) => Some(stage.shape),
        Ingested::Rows(stage) => stage.shape,
    };
    let lower = runner.run(|slot| match &slot.feed {
        Feed::Stream(stream) if *stream == log.stream => records(slot, decoded, shape).map(Some),
        _ => Ok(None),
    })?;
    Ok(match lower.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(concat_batches(&several[0].schema(), several)?),
    })
}

/// The partial rows of one batch in a stage.
fn partial_rows(
    query: &QueryPlan,
    stage: &Stage,
    log: &LogId,
    decoded: &Decoded,
    lower: RecordBatch,
    seen: Option<EventMs>,
) -> Result<RecordBatch> {
    let rows = row_numbers(&lower)?.clone();
    let reaches = match stage.shape {
        WindowShape::Session { .. } => gaps::reaches(stage, log, decoded, &rows)?,
        _ => Vec::new(),
    };
    let placed = Placed::new(&stage.shape, query.takes_ms(), decoded, &rows, &reaches, seen);
    let mut parts = Vec::new();
    if !placed.together.is_empty() {
        let chosen = choose(&lower, &placed.together)?;
        let rows = with_order(stage, log, decoded, chosen)?;
        parts.push(match stage.shape {
            WindowShape::Session { gap_ms } => {
                let reaches: Vec<i64> =
                    placed.together.iter().map(|row| reaches[*row as usize]).collect();
                let times = row_numbers(&rows)?.values().iter();
                let times: Vec<i64> =
                    times.map(|row| decoded.event_times[*row as usize].0).collect();
                fragments(stage, &times, &rows, &reaches, gap_ms)?
            }
            _ => slice_rows(stage, placed.starts.clone(), &rows)?,
        });
    }
    if !placed.alone.is_empty() {
        let chosen = choose(&lower, &placed.alone)?;
        let rows = with_order(stage, log, decoded, chosen)?;
        let keep_raw = query.late != Late::Drop;
        parts.push(shipped::rows(stage, decoded, &placed, &rows, keep_raw)?);
    }
    match parts.as_slice() {
        [one] => Ok(one.clone()),
        parts => Ok(concat_batches(&stage.partial, parts)?),
    }
}

/// The rows of these indices; all rows without a copy.
fn choose(batch: &RecordBatch, indices: &[u32]) -> Result<RecordBatch> {
    if indices.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    Ok(take_record_batch(batch, &UInt32Array::from(indices.to_vec()))?)
}

/// The columns that a slot wants of a decoded batch.
fn records(slot: &Slot, decoded: &Decoded, shape: Option<WindowShape>) -> Result<RecordBatch> {
    use datafusion::physical_plan::ExecutionPlan;
    let schema = slot.schema();
    let count = decoded.rows.num_rows();
    let window = |end: bool| -> ArrayRef {
        let time = |time: &EventMs| {
            let slice = shape.and_then(|shape| shape.slice_of(*time));
            slice.map_or(time.0, |slice| if end { slice.end.0 } else { slice.start.0 })
        };
        Arc::new(TimestampMillisecondArray::from_iter_values(decoded.event_times.iter().map(time)))
    };
    let columns = schema
        .fields()
        .iter()
        .map(|field| match (decoded.rows.column_by_name(field.name()), field.name().as_str()) {
            (Some(column), _) => Ok(Arc::clone(column)),
            (None, ROW) => Ok(Arc::new(UInt32Array::from_iter_values(0..count as u32)) as ArrayRef),
            (None, WINDOW_START) => Ok(window(false)),
            (None, WINDOW_END) => Ok(window(true)),
            (None, other) => internal_err!("the decoded batch has no column {other}"),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The column [`ROW`] of a lower plan's rows.
pub(crate) fn row_numbers(lower: &RecordBatch) -> Result<&UInt32Array> {
    match lower.column_by_name(ROW).and_then(|rows| rows.as_primitive_opt::<UInt32Type>()) {
        Some(rows) => Ok(rows),
        None => internal_err!("the lower plan lost its row column"),
    }
}

/// The rows with the column that order-sensitive aggregates sort by last.
fn with_order(
    stage: &Stage,
    log: &LogId,
    decoded: &Decoded,
    rows: RecordBatch,
) -> Result<RecordBatch> {
    if !stage.needs_order {
        return Ok(rows);
    }
    let log = log.to_string();
    let keys = row_numbers(&rows)?.values().iter().map(|row| {
        let row = *row as usize;
        let time = (decoded.event_times[row].0 as u64) ^ (1 << 63);
        let position = decoded.raw.records[decoded.records[row] as usize].position;
        let mut key = time.to_be_bytes().to_vec();
        key.extend_from_slice(log.as_bytes());
        key.push(0);
        key.extend_from_slice(position.as_bytes());
        key
    });
    let order: ArrayRef = Arc::new(BinaryArray::from_iter_values(keys));
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ORDER, DataType::Binary, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(order);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Key columns of the rows in one grouping set, with its id when the stage has ids.
fn keys_in(stage: &Stage, set: &GroupingSetOf, rows: &RecordBatch) -> Vec<ArrayRef> {
    let mut keys: Vec<ArrayRef> = rows.columns()[..stage.keys]
        .iter()
        .zip(&set.nulls)
        .map(|(key, null)| match null {
            true => new_null_array(key.data_type(), rows.num_rows()),
            false => Arc::clone(key),
        })
        .collect();
    if stage.has_grouping_id {
        keys.push(Arc::new(UInt64Array::from_value(set.id, rows.num_rows())));
    }
    keys
}

/// Partial rows per (keys, slice), in slice order. `starts` holds each row's slice's start.
pub(crate) fn slice_rows(
    stage: &Stage,
    starts: Vec<i64>,
    rows: &RecordBatch,
) -> Result<RecordBatch> {
    let starts: ArrayRef = Arc::new(Int64Array::from(starts));
    let mut table = AggregateTable::new(stage, stage.slice_index() + 1)?;
    for set in &stage.grouping {
        let mut keys = keys_in(stage, set, rows);
        keys.push(Arc::clone(&starts));
        table.update(stage, &keys, rows)?;
    }
    let mut columns = table.groups.take()?;
    let starts = columns.last().map(|starts| starts.as_primitive().clone());
    let Some(starts): Option<Int64Array> = starts else {
        return internal_err!("a table without its slice column");
    };
    let end = |start: &i64| stage.shape.slice_of(EventMs(*start)).map_or(*start, |it| it.end.0);
    columns.push(Arc::new(starts.values().iter().map(end).collect::<Int64Array>()));
    let (records, states) = table.states.take_states()?;
    let partial = assemble(stage, columns, records, states)?;
    if starts.values().is_sorted() {
        return Ok(partial);
    }
    let mut order: Vec<u32> = (0..starts.len() as u32).collect();
    order.sort_by_key(|row| starts.value(*row as usize));
    Ok(take_record_batch(&partial, &UInt32Array::from(order))?)
}

/// Partial rows per (keys, stretch of events at most a gap apart). `times` and `reaches` are those of
/// `rows`.
pub(crate) fn fragments(
    stage: &Stage,
    times: &[i64],
    rows: &RecordBatch,
    reaches: &[i64],
    gap_ms: i64,
) -> Result<RecordBatch> {
    let mut parts = Vec::new();
    for set in &stage.grouping {
        let fields: Vec<_> = stage.partial.fields()[..stage.slice_index()].to_vec();
        let mut groups = Groups::new(Schema::new(fields))?;
        let mut numbers = Vec::new();
        groups.intern(&keys_in(stage, set, rows), rows.num_rows(), &mut numbers)?;
        let cut = slices::fragments(&numbers, times, reaches, groups.len(), gap_ms);
        let mut states = States::new(stage)?;
        states.update(stage, rows, &cut.of_row, cut.group.len())?;
        let (records, states) = states.take_states()?;
        let group = UInt32Array::from(cut.group);
        let mut columns = groups
            .take()?
            .iter()
            .map(|key| take(key, &group, None))
            .collect::<Result<Vec<_>, _>>()?;
        columns.push(Arc::new(Int64Array::from(cut.first)));
        columns.push(Arc::new(Int64Array::from(cut.last)));
        parts.push(assemble(stage, columns, records, states)?);
    }
    Ok(concat_batches(&stage.partial, &parts)?)
}

/// Partial rows of keys, slice bounds, record counts and states, none of them shipped alone.
pub(crate) fn assemble(
    stage: &Stage,
    mut columns: Vec<ArrayRef>,
    records: UInt64Array,
    states: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    let count = records.len();
    columns.push(Arc::new(records));
    columns.extend(states);
    for field in &stage.partial.fields()[columns.len()..] {
        columns.push(match field.data_type() {
            DataType::FixedSizeBinary(width) => {
                Arc::new(FixedSizeBinaryArray::new_null(*width, count))
            }
            other => new_null_array(other, count),
        });
    }
    Ok(RecordBatch::try_new(Arc::clone(&stage.partial), columns)?)
}
