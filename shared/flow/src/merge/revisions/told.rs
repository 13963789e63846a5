//! What was emitted of sessions: of each open one, in the order of its stage's rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use datafusion::common::{Result, internal_err};

/// What was emitted of a session and of those that it was made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct ToldSession {
    /// Of the last emission; `None`: there was none.
    pub(in super::super) revision: Option<i64>,
    /// Start and end under which sinks hold a row of it.
    pub(in super::super) held: Vec<(i64, i64)>,
    /// Whether this tick changed it.
    pub(in super::super) touched: bool,
}

impl ToldSession {
    /// Takes over what was told of a session that became part of this one.
    pub(in super::super) fn absorb(&mut self, part: &ToldSession) {
        self.revision = self.revision.max(part.revision);
        self.held.extend_from_slice(&part.held);
    }

    /// Bytes held, about.
    pub(in super::super) fn bytes(&self) -> u64 {
        (size_of::<ToldSession>() + self.held.len() * size_of::<(i64, i64)>()) as u64
    }
}

/// Schema of the snapshot part: the session's number, its revision, and the window of a row that
/// sinks hold; null when they hold none.
pub(in super::super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("__session", DataType::UInt64, false),
        Field::new("__revision", DataType::Int64, false),
        Field::new("__start", DataType::Int64, true),
        Field::new("__end", DataType::Int64, true),
    ]))
}

/// What was told of the sessions of which anything was.
pub(in super::super) fn rows(told: &[ToldSession]) -> Result<RecordBatch> {
    let (mut sessions, mut revisions) = (Vec::new(), Vec::new());
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for (session, told) in (0u64..).zip(told) {
        let Some(revision) = told.revision else { continue };
        let held = told.held.iter().map(|(start, end)| (Some(*start), Some(*end)));
        for (start, end) in held.chain(told.held.is_empty().then_some((None, None))) {
            sessions.push(session);
            revisions.push(revision);
            starts.push(start);
            ends.push(end);
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from(sessions)),
        Arc::new(Int64Array::from(revisions)),
        Arc::new(Int64Array::from(starts)),
        Arc::new(Int64Array::from(ends)),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// Puts what [`rows`] gave beside the sessions that it is about.
pub(in super::super) fn restore(told: &mut [ToldSession], rows: &RecordBatch) -> Result<()> {
    let sessions = rows.column(0).as_primitive_opt::<UInt64Type>();
    let number = |column: usize| rows.column(column).as_primitive_opt::<Int64Type>();
    let (Some(sessions), Some(revisions), Some(starts), Some(ends)) =
        (sessions, number(1), number(2), number(3))
    else {
        return internal_err!("the columns of emitted sessions have other types");
    };
    for row in 0..rows.num_rows() {
        let Some(told) = told.get_mut(sessions.value(row) as usize) else {
            return internal_err!("a session was emitted that is not there");
        };
        told.revision = Some(revisions.value(row));
        if starts.is_valid(row) && ends.is_valid(row) {
            told.held.push((starts.value(row), ends.value(row)));
        }
    }
    Ok(())
}
