//! The answer as a batch: tables with a row per (event, window), and the engine's own SQL over
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::event::{Event, columns};
use crate::flow::NOW;
use crate::pipeline::bounds;
use crate::script::{Merged, Script};
use crate::windows::{Judged, Windows, judge, sessions_by_tick};

/// The test streams.
const STREAMS: [&str; 2] = ["events", "others"];

/// What came in, and when windows could close.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Every record, with the tick that merged it.
    pub merged: Vec<Merged>,
    /// The watermark after each tick; what is open after the last one closes.
    pub watermarks: Vec<Option<i64>>,
}

impl From<&Script> for Facts {
    fn from(script: &Script) -> Facts {
        Facts { merged: script.merged(), watermarks: script.watermarks() }
    }
}

/// What the oracle needs to know of a query.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Its SQL over the tables `w_events` and `w_others`, or `late_events` and `late_others`.
    pub sql: &'a str,
    /// Its windows.
    pub windows: Windows,
    /// Milliseconds.
    pub grace: i64,
    /// SQL over the tables `events` and `others` that gives the ids of the rows that the query
    /// counts, and their keys. Sessions are made of these; without it, other windows count every
    /// row.
    pub keys: Option<&'a str>,
}

/// The oracle's answer.
#[derive(Debug)]
pub struct Answer {
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Their columns.
    pub schema: SchemaRef,
    /// Which windows each record is in, by its id.
    pub judged: BTreeMap<i64, Judged>,
}

/// Asks the engine one question.
pub fn ask(script: &Script, question: &Question<'_>) -> Answer {
    ask_all(&Facts::from(script), std::slice::from_ref(question)).remove(0)
}

/// Asks the engine several questions about the same facts.
pub fn ask_all(facts: &Facts, questions: &[Question<'_>]) -> Vec<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(1 << 20);
    let config = config.set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let context = SessionContext::new_with_config(config);
    lookup_tables(&context);
    for stream in STREAMS {
        let records = facts.merged.iter().filter(|it| it.log.stream == stream);
        let rows: Vec<(&Merged, Option<(i64, i64)>)> =
            records.map(|record| (record, None)).collect();
        register(&context, stream, &rows, false);
    }
    let answer = |question| runtime.block_on(answer(&context, facts, question));
    questions.iter().map(answer).collect()
}

async fn answer(context: &SessionContext, facts: &Facts, question: &Question<'_>) -> Answer {
    let Facts { merged, watermarks } = facts;
    let keys = match question.keys {
        Some(keys) => Some(keys_of(context, keys).await),
        None => None,
    };
    let judged = match (question.windows, &keys) {
        (Windows::Session { gap }, Some(keys)) => {
            sessions_by_tick(merged, keys, gap, question.grace, watermarks)
        }
        (windows, keys) => {
            let judged = |record: &Merged| {
                let closed = record.tick.checked_sub(1).and_then(|before| watermarks[before]);
                (record.event.id, judge(windows, question.grace, record.event.ts, closed))
            };
            let counts = |record: &&Merged| {
                keys.as_ref().is_none_or(|keys| keys.contains_key(&record.event.id))
            };
            merged.iter().filter(counts).map(judged).collect()
        }
    };
    for stream in STREAMS {
        let (mut on_time, mut late) = (Vec::new(), Vec::new());
        for record in merged.iter().filter(|it| it.log.stream == stream) {
            if let Some(judged) = judged.get(&record.event.id) {
                on_time.extend(judged.on_time.iter().map(|window| (record, Some(*window))));
                late.extend(judged.late.iter().map(|window| (record, Some(*window))));
            }
        }
        register(context, &format!("w_{stream}"), &on_time, true);
        register(context, &format!("late_{stream}"), &late, true);
    }
    let frame = context.sql(question.sql).await.unwrap_or_else(|error| {
        panic!("the oracle cannot plan {}: {}", question.sql, error.strip_backtrace())
    });
    let schema = Arc::clone(frame.schema().inner());
    let batches = frame.collect().await.unwrap_or_else(|error| {
        panic!("the oracle cannot run {}: {}", question.sql, error.strip_backtrace())
    });
    Answer { batches, schema, judged }
}

/// Keys by id, as text.
async fn keys_of(context: &SessionContext, sql: &str) -> BTreeMap<i64, Vec<Option<String>>> {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let mut keys = BTreeMap::new();
    for batch in &batches {
        let ids = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        for row in 0..batch.num_rows() {
            let key = batch.columns()[1..]
                .iter()
                .map(|column| {
                    let options = FormatOptions::default();
                    let text = ArrayFormatter::try_new(column, &options).unwrap();
                    (!column.is_null(row)).then(|| text.value(row).to_string())
                })
                .collect();
            let before = keys.insert(ids.value(row), key);
            assert_eq!(before, None, "a row of a session query has one key");
        }
    }
    keys
}

fn register(
    context: &SessionContext,
    name: &str,
    rows: &[(&Merged, Option<(i64, i64)>)],
    windowed: bool,
) {
    let events: Vec<&Event> = rows.iter().map(|(record, _)| &record.event).collect();
    let mut all = columns(&events);
    let time = || DataType::Timestamp(TimeUnit::Millisecond, None);
    let arrivals: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![NOW.0; rows.len()]));
    all.push((Field::new("arrival_time", time(), false), arrivals));
    if windowed {
        let bound = |end: bool| -> ArrayRef {
            let bounds = rows.iter().map(|(_, window)| {
                let (start, stop) = window.unwrap();
                if end { stop } else { start }
            });
            Arc::new(TimestampMillisecondArray::from_iter_values(bounds))
        };
        all.push((Field::new("window_start", time(), false), bound(false)));
        all.push((Field::new("window_end", time(), false), bound(true)));
    }
    let logs: StringArray = rows.iter().map(|(record, _)| Some(record.log.to_string())).collect();
    let offsets: Int64Array = rows.iter().map(|(record, _)| record.offset as i64).collect();
    all.push((Field::new("__log", DataType::Utf8, false), Arc::new(logs)));
    all.push((Field::new("__offset", DataType::Int64, false), Arc::new(offsets)));
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = all.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    add(context, name, batch);
}

fn add(context: &SessionContext, name: &str, batch: RecordBatch) {
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    // The windowed tables are another question's before.
    context.deregister_table(name).unwrap();
    context.register_table(name, Arc::new(table)).unwrap();
}

/// The static tables, written down once more.
fn lookup_tables(context: &SessionContext) {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let names = RecordBatch::try_new(
        Arc::new(Schema::new(vec![text("k"), text("name"), number("weight")])),
        vec![
            Arc::new(StringArray::from(vec!["a", "b", "b", "z"])),
            Arc::new(StringArray::from(vec!["Anna", "Bert", "Bela", "Zoe"])),
            Arc::new(Int64Array::from(vec![1, 2, 4, 9])),
        ],
    );
    let ranks = RecordBatch::try_new(
        Arc::new(Schema::new(vec![number("i"), text("label")])),
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec![Some("one"), Some("two"), None])),
        ],
    );
    add(context, "names", names.unwrap());
    add(context, "ranks", ranks.unwrap());
    add(context, "bounds", bounds());
}
