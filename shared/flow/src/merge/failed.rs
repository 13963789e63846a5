//! What a query fails on when advance computes its results, on its way to the dead letters.
//!
//! Whatever is computed in parts that do not see each other (the rows of a row-wise plan, the groups
//! of a window, the pairs of a join) goes through [`Failures::each`]: the parts that fail alone are
//! entered, and all others give what they give.
//!
//! # Invariants
//! 1. What is entered, and what is given, does not depend on which parts are computed together, and so
//!    not on ticks.
//! 2. Only failures on values are entered. Every other one is an error.
//!
//! Not here: how the parts are found that fail (`blame`).

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result};
use tidemill_model::limits::DEAD_LETTER_RAW_BYTES_MAX;
use tidemill_model::{RawBytes, Window};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::blame::{self, Found};
use crate::emit::json::{self, RowWriter};
use crate::ports::{FailedRows, is_of_value};

/// Where rows are entered that one query fails on.
pub(super) struct Failures<'a> {
    query: &'a str,
    found: Option<&'a mut Vec<FailedRows>>,
}

/// What is told of a part that fails.
pub(super) struct Told {
    /// Its window, where it has one.
    pub(super) window: Option<Window>,
    rows: u64,
    raw: RawBytes,
}

/// What parts gave.
pub(super) struct Given<T> {
    /// What those gave that do not fail, in order.
    pub(super) passing: Vec<(Range<u32>, T)>,
    /// Those that fail, rising.
    pub(super) failing: Vec<u32>,
}

impl<'a> Failures<'a> {
    /// Of `query`, into `found`.
    pub(super) fn of(query: &'a str, found: &'a mut Vec<FailedRows>) -> Failures<'a> {
        Failures { query, found: Some(found) }
    }

    /// The same for rows that are told of only when `is_told`: the others will be computed again.
    pub(super) fn told(&mut self, is_told: bool) -> Failures<'_> {
        let found = self.found.as_deref_mut().filter(|_| is_told);
        Failures { query: self.query, found }
    }

    /// Computes parts `0..count`, together if that succeeds; there is something to compute even of no
    /// parts. `tell` says what a part is that fails.
    pub(super) fn each<T>(
        &mut self,
        count: usize,
        mut run: impl FnMut(Range<u32>) -> Result<T>,
        tell: impl Fn(u32) -> Result<Told>,
    ) -> Result<Given<T>> {
        let error = match run(0..count as u32) {
            Ok(given) => {
                let passing = vec![(0..count as u32, given)];
                return Ok(Given { passing, failing: Vec::new() });
            }
            Err(error) if count == 0 => return Err(error),
            Err(error) => error,
        };
        let Found { failing, passing } = blame::search(count, error, &mut run)?;
        for (part, error) in &failing {
            self.enter(|| tell(*part), error)?;
        }
        Ok(Given { passing, failing: failing.into_iter().map(|(part, _)| part).collect() })
    }

    /// Computes one part; `None`: it fails.
    pub(super) fn one<T>(
        &mut self,
        run: impl FnOnce() -> Result<T>,
        tell: impl FnOnce() -> Result<Told>,
    ) -> Result<Option<T>> {
        match run() {
            Ok(given) => Ok(Some(given)),
            Err(error) if is_of_value(&error) => self.enter(tell, &error).map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// Enters a part that fails.
    pub(super) fn enter(
        &mut self,
        tell: impl FnOnce() -> Result<Told>,
        error: &DataFusionError,
    ) -> Result<()> {
        if let Some(found) = &mut self.found {
            let Told { window, rows, raw } = tell()?;
            let (query, detail) = (self.query.to_string(), blame::detail(error));
            found.push(FailedRows { query, window, rows, detail, raw });
        }
        Ok(())
    }
}

impl<T> Given<T> {
    /// What the parts gave, in order.
    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.passing.into_iter().map(|(_, given)| given)
    }
}

impl Told {
    /// Rows as lines of JSON, without columns of types that JSON does not have.
    pub(super) fn rows<'a>(
        window: Option<Window>,
        batches: impl IntoIterator<Item = &'a RecordBatch>,
    ) -> Result<Told> {
        let (mut rows, mut length) = (0, 0);
        let (mut first, mut line) = (Vec::new(), Vec::new());
        let mut hash = Xxh3::new();
        for batch in batches {
            let batch = writable(batch)?;
            let writer = RowWriter::new(&batch)
                .map_err(|error| DataFusionError::Internal(error.to_string()))?;
            for row in 0..batch.num_rows() {
                line.clear();
                if rows > 0 {
                    line.push(b'\n');
                }
                writer.write(row, &mut line);
                line.pop();
                rows += 1;
                length += line.len() as u64;
                hash.update(&line);
                let room = DEAD_LETTER_RAW_BYTES_MAX - first.len();
                first.extend_from_slice(&line[..line.len().min(room)]);
            }
        }
        Ok(Told { window, rows, raw: RawBytes { first, length, hash: hash.digest() } })
    }

    /// A group of a window: its key and its partial states.
    pub(super) fn group(window: Window, key_and_states: &str) -> Told {
        let json = key_and_states.as_bytes();
        Told { window: Some(window), rows: 1, raw: RawBytes::of(json, xxh3_64(json)) }
    }
}

/// The columns that JSON can hold.
fn writable(batch: &RecordBatch) -> Result<RecordBatch> {
    let fields = batch.schema_ref().fields();
    let is_writable =
        |index: &usize| json::check(&Schema::new(vec![fields[*index].clone()])).is_ok();
    let columns: Vec<usize> = (0..fields.len()).filter(is_writable).collect();
    Ok(batch.project(&columns)?)
}
