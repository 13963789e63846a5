//! Static lookup tables: a file, read whole, once, at start.
//!
//! ```text
//! file ─┬─ declared columns ─ tidemill-records ───────────────▶ batches of the declared types
//!       └─ none: inferred ── types from the values ─ joined ──▶ batches, and what was found
//! ```
//!
//! # Invariants
//! 1. Declared columns are read as a stream's are: a text is the same value in both.
//! 2. The types of columns that are not declared depend on the file and on the pipeline's SQL alone.
//!
//! Not here: what a text is the value of (`tidemill-records`).

mod declared;
mod inferred;
mod joined;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use tidemill_model::limits::{TABLE_BYTES_MAX, TABLE_FILE_BYTES_MAX};
use tidemill_pipeline::{Pipeline, PipelineError, Table};
use xxhash_rust::xxh3::Xxh3;

use crate::engine;
use crate::lineage::any_node;

pub use inferred::{InferredColumn, InferredTable};

/// A static table in memory.
#[derive(Debug, Clone)]
pub(crate) struct StaticTable {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// XXH3-128 of the file: part of the fingerprint of queries whose advance reads the table.
    pub(crate) hash: u128,
    /// What was found of its columns, when they are not declared.
    pub(crate) inferred: Option<Arc<InferredTable>>,
}

/// Rows of one batch.
const BATCH_ROWS: usize = 8192;

/// Reads all tables and makes them known to `context`, in which the streams are known already: a
/// column that is not declared and that a query compares with a text is read as text, for all
/// queries.
pub(crate) fn load(
    context: &SessionContext,
    pipeline: &Pipeline,
    errors: &mut Vec<PipelineError>,
) -> BTreeMap<String, StaticTable> {
    let mut tables = BTreeMap::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut to_read: Vec<&Table> = pipeline.tables.values().collect();
    // Each round reads tables whose columns have become text, so there are no more than columns.
    loop {
        for table in to_read {
            let as_text = texts.get(&table.name).cloned().unwrap_or_default();
            match read(context, table, &as_text) {
                Ok(read) => drop(tables.insert(table.name.clone(), read)),
                Err(reason) => errors.push(
                    PipelineError::new(
                        "plan::table",
                        format!("table `{}` cannot be read: {reason}", table.name),
                    )
                    .at(table.span.clone(), "here")
                    .help("correct the file, or declare its columns = { … }")
                    .in_file(&pipeline.file),
                ),
            }
        }
        let found = joined::with_text(context, pipeline, &tables);
        let mut changed = BTreeSet::new();
        for (table, column) in found {
            if texts.entry(table.clone()).or_default().insert(column) {
                changed.insert(table);
            }
        }
        if changed.is_empty() {
            return tables;
        }
        to_read = changed.iter().filter_map(|name| pipeline.tables.get(name)).collect();
    }
}

fn read(
    context: &SessionContext,
    table: &Table,
    as_text: &BTreeSet<String>,
) -> Result<StaticTable, String> {
    let read = read_file(table, as_text)?;
    let known = context
        .deregister_table(table.name.as_str())
        .and_then(|_| engine::add_table(context, &table.name, &read));
    known.map_err(|error| error.to_string())?;
    Ok(read)
}

/// Reads a table's file. The error says what is wrong with it.
fn read_file(table: &Table, as_text: &BTreeSet<String>) -> Result<StaticTable, String> {
    let bytes = std::fs::metadata(&table.path).map_err(|error| error.to_string())?.len();
    if bytes > TABLE_FILE_BYTES_MAX {
        return Err(format!("the file has {bytes} bytes, more than {TABLE_FILE_BYTES_MAX}"));
    }
    let hash = hash_of(table).map_err(|error| error.to_string())?;
    match &table.columns {
        Some(columns) => {
            let (schema, batches) = declared::read(table, columns)?;
            Ok(StaticTable { schema, batches, hash, inferred: None })
        }
        None => {
            let (schema, batches, found) = inferred::read(table, as_text)?;
            Ok(StaticTable { schema, batches, hash, inferred: Some(Arc::new(found)) })
        }
    }
}

/// What was found of the tables that `plan` reads.
pub(crate) fn inferred_of(
    plan: &LogicalPlan,
    tables: &BTreeMap<String, StaticTable>,
) -> Vec<Arc<InferredTable>> {
    let reads = |name: &str| {
        any_node(
            plan,
            |node| matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == name),
        )
    };
    let read = tables.iter().filter(|(name, _)| reads(name));
    read.filter_map(|(_, table)| table.inferred.clone()).collect()
}

fn hash_of(table: &Table) -> std::io::Result<u128> {
    let mut file = File::open(&table.path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// The text of a table's file, without a byte order mark.
fn text_of(table: &Table) -> Result<String, String> {
    let bytes = std::fs::read(&table.path).map_err(|error| error.to_string())?;
    let mut text = String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// The batches, as long as they have at most `bytes_max` bytes together: a compressed file may hold
/// far more than its size.
fn bounded<E: From<ArrowError>>(
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    bytes_max: usize,
) -> Result<Vec<RecordBatch>, E> {
    let mut read = Vec::new();
    let mut bytes = 0;
    for batch in batches {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > bytes_max {
            let reason = format!("the table has more than {bytes_max} bytes in memory");
            return Err(ArrowError::MemoryError(reason).into());
        }
        read.push(batch);
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
