//! What came too late, per (row, window), on its way to the dead letters.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, internal_err};
use serde_json::{Map, Value};
use tidemill_model::{
    DeadLetter, DeadReason, EventMs, LogId, Position, Segment, WallMs, Window, WindowShape,
};
use tidemill_pipeline::Late;
use tidemill_plan::{OutputColumn, QueryPlan, RowStage, Stage};

use crate::aggregate::records_of;
use crate::combine::shipped;

/// Missed windows that one dead letter names at most.
const WINDOWS_NAMED_MAX: usize = 16;

/// Everything late of one tick.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) dead_letters: Vec<DeadLetter>,
    /// (row, window) pairs.
    pub(super) rows: u64,
}

/// Where late rows came from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    log: LogId,
    through: Position,
    arrival: WallMs,
}

/// The ledger, for late rows of one stage of one query.
pub(super) struct StageLedger<'a> {
    ledger: &'a mut Ledger,
    plan: &'a QueryPlan,
    stage: &'a Stage,
    source: Source,
}

/// The ledger, for late rows of one stage of single events.
pub(super) struct RowLedger<'a> {
    ledger: &'a mut Ledger,
    plan: &'a QueryPlan,
    stage: &'a RowStage,
    source: Source,
}

impl Source {
    pub(super) fn log(&self) -> &LogId {
        &self.log
    }

    /// The segment of `log`.
    pub(super) fn of(log: &LogId, segment: &Segment) -> Source {
        Source { log: log.clone(), through: segment.through, arrival: segment.newest_arrival }
    }
}

impl Ledger {
    /// For a stage of single events.
    pub(super) fn of_rows<'a>(
        &'a mut self,
        plan: &'a QueryPlan,
        stage: &'a RowStage,
        source: Source,
    ) -> RowLedger<'a> {
        RowLedger { ledger: self, plan, stage, source }
    }

    pub(super) fn at<'a>(
        &'a mut self,
        plan: &'a QueryPlan,
        stage: &'a Stage,
        source: Source,
    ) -> StageLedger<'a> {
        StageLedger { ledger: self, plan, stage, source }
    }
}

impl StageLedger<'_> {
    pub(super) fn source(&self) -> Source {
        self.source.clone()
    }

    /// Enters partial rows that missed `missed`, at least one window.
    pub(super) fn rows(
        &mut self,
        rows: &RecordBatch,
        missed: &[Window],
        counted_elsewhere: bool,
    ) -> Result<()> {
        let StageLedger { ledger, plan, stage, source } = self;
        let records = records_of(stage, rows)?;
        // Each grouping set has sessions of its own, and a record can be late in one of them only.
        let once = stage.has_grouping_id && !matches!(stage.shape, WindowShape::Session { .. });
        let ids = once.then(|| rows.column(stage.keys));
        let ids = ids.and_then(|ids| ids.as_primitive_opt::<UInt64Type>());
        for row in 0..rows.num_rows() {
            // A record has a row in each grouping set, all of the same windows, and is late once.
            if ids.is_some_and(|ids| ids.value(row) != stage.grouping[0].id) {
                continue;
            }
            ledger.rows += records.value(row) * missed.len() as u64;
            if plan.late == Late::Drop {
                continue;
            }
            let shipped = stage.shipped_index();
            let times = rows.column(shipped).as_primitive_opt::<Int64Type>();
            let positions = rows.column(shipped + 1).as_fixed_size_binary_opt();
            let raws = rows.column(shipped + 2).as_binary_opt::<i32>();
            let (Some(times), Some(positions), Some(raws)) = (times, positions, raws) else {
                return internal_err!("the columns of shipped rows have other types");
            };
            let alone = times.is_valid(row);
            let event_time = if alone { times.value(row) } else { newest(stage, rows, row)? };
            let position = match (alone, positions.value(row).try_into()) {
                (true, Ok(bytes)) => Position::from_bytes(bytes),
                _ => source.through,
            };
            ledger.dead_letters.push(DeadLetter {
                log: source.log.clone(),
                position,
                arrival: source.arrival,
                reason: DeadReason::Late {
                    query: plan.name.clone(),
                    event_time: EventMs(event_time),
                    windows: missed
                        .iter()
                        .take(WINDOWS_NAMED_MAX)
                        .map(|window| (window.start, window.end))
                        .collect(),
                    windows_missed: missed.len() as u64,
                    records: records.value(row),
                    partial: if alone { None } else { Some(partial(stage, rows, row)?) },
                    counted_elsewhere,
                },
                raw: match raws.is_valid(row) {
                    true => Some(shipped::decode(raws.value(row))?),
                    false => None,
                },
            });
        }
        Ok(())
    }
}

impl RowLedger<'_> {
    /// Enters one row of a stage of single events, which missed `missed` windows, or came when its
    /// time was over.
    pub(super) fn single(
        &mut self,
        rows: &RecordBatch,
        row: usize,
        missed: &[Window],
        counted_elsewhere: bool,
    ) -> Result<()> {
        let RowLedger { ledger, plan, stage, source } = self;
        let misses = missed.len().max(1) as u64;
        ledger.rows += misses;
        if plan.late != Late::DeadLetter {
            return Ok(());
        }
        let time = stage.time_index();
        let times = rows.column(time).as_primitive_opt::<Int64Type>();
        let positions = rows.column(time + 1).as_fixed_size_binary_opt();
        let raws = rows.column(time + 2).as_binary_opt::<i32>();
        let (Some(times), Some(positions), Some(raws)) = (times, positions, raws) else {
            return internal_err!("the columns of shipped rows have other types");
        };
        let alone = positions.is_valid(row);
        let position = match (alone, positions.value(row).try_into()) {
            (true, Ok(bytes)) => Position::from_bytes(bytes),
            _ => source.through,
        };
        let partial = match alone {
            true => None,
            false => Some(values(stage, rows, row)?),
        };
        ledger.dead_letters.push(DeadLetter {
            log: source.log.clone(),
            position,
            arrival: source.arrival,
            reason: DeadReason::Late {
                query: plan.name.clone(),
                event_time: EventMs(times.value(row)),
                windows: missed
                    .iter()
                    .take(WINDOWS_NAMED_MAX)
                    .map(|window| (window.start, window.end))
                    .collect(),
                windows_missed: misses,
                records: 1,
                partial,
                counted_elsewhere,
            },
            raw: match raws.is_valid(row) {
                true => Some(shipped::decode(raws.value(row))?),
                false => None,
            },
        });
        Ok(())
    }
}

/// The latest time that a combined row can stand for: the last millisecond of its slice, or its
/// fragment's last event.
fn newest(stage: &Stage, rows: &RecordBatch, row: usize) -> Result<i64> {
    let column =
        |index: usize| rows.column(stage.slice_index() + index).as_primitive_opt::<Int64Type>();
    let (Some(starts), Some(ends)) = (column(0), column(1)) else {
        return internal_err!("a slice column has another type");
    };
    Ok(match stage.shape {
        WindowShape::Session { gap_ms } if gap_ms > 0 => ends.value(row),
        // Where its events end is not known, only how far they reach.
        WindowShape::Session { .. } => starts.value(row),
        _ => ends.value(row).saturating_sub(1),
    })
}

/// The columns of a single row, as a JSON object.
fn values(stage: &RowStage, rows: &RecordBatch, row: usize) -> Result<String> {
    let options = FormatOptions::default().with_null("null");
    let mut object = Map::new();
    for (column, field) in stage.output.iter().zip(stage.closed.fields()) {
        if let OutputColumn::Value(index) = column {
            let formatter = ArrayFormatter::try_new(rows.column(*index), &options)?;
            object.insert(field.name().clone(), Value::String(formatter.value(row).to_string()));
        }
    }
    Ok(Value::Object(object).to_string())
}

/// Key and partial states of a combined row, as a JSON object.
pub(super) fn partial(stage: &Stage, rows: &RecordBatch, row: usize) -> Result<String> {
    let options = FormatOptions::default().with_null("null");
    let text = |column: usize| -> Result<Value> {
        let formatter = ArrayFormatter::try_new(rows.column(column), &options)?;
        Ok(Value::String(formatter.value(row).to_string()))
    };
    let name = |wanted: OutputColumn| {
        let index = stage.output.iter().position(|column| *column == wanted);
        index
            .map_or_else(|| format!("{wanted:?}"), |index| stage.closed.field(index).name().clone())
    };
    let mut key = Map::new();
    for column in 0..stage.keys {
        key.insert(name(OutputColumn::Key(column)), text(column)?);
    }
    let mut states = Map::new();
    let mut column = stage.states_index();
    for (index, aggregate) in stage.aggregates.iter().enumerate() {
        let values: Vec<Value> =
            (column..column + aggregate.states).map(text).collect::<Result<_>>()?;
        states.insert(name(OutputColumn::Aggregate(index)), Value::Array(values));
        column += aggregate.states;
    }
    let mut object = Map::new();
    object.insert("key".to_string(), Value::Object(key));
    object.insert("states".to_string(), Value::Object(states));
    Ok(Value::Object(object).to_string())
}
