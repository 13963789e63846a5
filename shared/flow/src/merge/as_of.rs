//! A join of each row of one input with the latest version of its key in another.
//!
//! Let M be the least watermark of the inputs: every later row of either has a time of at least M. A
//! row's moment is its time; a version's moment is the least time of a row that may get it. Rows and
//! versions with moments below M are taken in the order of their moments, versions first, those of one
//! moment in their input's order; so of versions of one time the last is the latest. Rows are handed
//! over in their input's order.
//!
//! # Invariants
//! 1. Of each key at most one version is kept beside those that wait.
//! 2. A version is kept only while a row at M or later could get it: until the tolerance is over, or no
//!    row of its key, neither version nor row, came for as long as the query keeps things.
//!
//! Not here: joins by a range of times (`join`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, Schema};
use datafusion::common::{Result, internal_datafusion_err};
use tidemill_model::{EventMs, Keep};
use tidemill_plan::AsOfStage;

use super::failed::Failures;
use super::join::chunks::{Chunks, NO_ROW};
use super::join::keys::{Keys, NO_KEY};
use super::operator::{Operator, Rows};
use super::ordered::times;

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// Versions that may be kept beside those that are needed, until they are dropped together.
const DROP_ROWS: usize = 4096;

/// The open rows of an as-of join.
pub(super) struct AsOfJoin {
    stage: AsOfStage,
    keys: Keys,
    /// By key number.
    latest: Vec<Option<Latest>>,
    /// When the latest versions may go, unless they were touched since; for each key at most once.
    due: BTreeSet<(i64, u32)>,
    rows: Chunks,
    waiting_rows: VecDeque<Waiting>,
    versions: Chunks,
    /// The last of the versions.
    waiting_versions: VecDeque<Waiting>,
    /// Versions that are needed, of those that do not wait.
    kept: usize,
}

/// A row or a version that waits for the watermark.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    time: i64,
    key: u32,
}

/// The latest version of a key.
#[derive(Debug, Clone, Copy)]
struct Latest {
    row: u32,
    time: i64,
    /// The moment of the last row or version of the key.
    touched: i64,
}

impl AsOfJoin {
    pub(super) fn new(stage: &AsOfStage) -> Result<AsOfJoin> {
        Ok(AsOfJoin {
            keys: Keys::new(stage.keys.clone(), &stage.inputs[LEFT], stage.nulls_equal)?,
            latest: Vec::new(),
            due: BTreeSet::new(),
            rows: Chunks::new(Arc::clone(&stage.inputs[LEFT])),
            waiting_rows: VecDeque::new(),
            versions: Chunks::new(Arc::clone(&stage.inputs[RIGHT])),
            waiting_versions: VecDeque::new(),
            kept: 0,
            stage: stage.clone(),
        })
    }

    fn hold(&mut self, side: usize, rows: &Rows) -> Result<Vec<Waiting>> {
        let keys = self.keys.hold(side, &rows.batch)?;
        self.latest.resize(self.keys.len(), None);
        let times = rows.times.values().iter();
        Ok(times.zip(keys).map(|(time, key)| Waiting { time: *time, key }).collect())
    }

    fn push(&mut self, side: usize, mut rows: Rows) -> Result<()> {
        if side == RIGHT {
            rows = self.keys.with_key(side, rows)?;
        }
        let waiting = self.hold(side, &rows)?;
        match side {
            LEFT => {
                self.waiting_rows.extend(waiting);
                self.rows.push(rows.batch)
            }
            _ => {
                self.waiting_versions.extend(waiting);
                self.versions.push(rows.batch)
            }
        }
    }

    /// The last time of a row that may get a version.
    fn ends(&self, latest: &Latest) -> i64 {
        match (self.stage.tolerance_ms, self.stage.keep) {
            (Some(tolerance_ms), _) => latest.time.saturating_add(tolerance_ms),
            (None, Keep::For(keep_ms)) => latest.touched.saturating_add(keep_ms),
            (None, Keep::None | Keep::Forever) => i64::MAX,
        }
    }

    /// The least time of a row that may get a version.
    fn moment(&self, time: i64) -> i64 {
        time.saturating_sub(self.stage.upper_ms)
    }

    /// Whether a moment has come: every row of it is here.
    fn has_come(moment: i64, watermark: i64) -> bool {
        watermark == i64::MAX || moment < watermark
    }

    /// Takes a version: it is the latest of its key now.
    fn take_version(&mut self, Waiting { time, key }: Waiting, row: u32) {
        let known = self.latest[key as usize];
        let latest = Latest { row, time, touched: self.moment(time) };
        match known {
            // The older version's hold is the newer one's now.
            Some(_) => drop(self.keys.release(key)),
            None => {
                self.kept += 1;
                self.enter_due(key, &latest);
            }
        }
        self.latest[key as usize] = Some(latest);
    }

    fn enter_due(&mut self, key: u32, latest: &Latest) {
        let ends = self.ends(latest);
        if ends < i64::MAX {
            self.due.insert((ends, key));
        }
    }

    /// Takes a row: the version that it gets.
    fn take_row(&mut self, Waiting { time, key }: Waiting) -> u32 {
        if key == NO_KEY {
            return NO_ROW;
        }
        let latest = self.latest[key as usize];
        let usable = latest.filter(|latest| time <= self.ends(latest));
        if let (Some(_), Some(latest)) = (usable, &mut self.latest[key as usize]) {
            latest.touched = latest.touched.max(time);
        }
        self.keys.release(key);
        usable.map_or(NO_ROW, |latest| latest.row)
    }

    /// Drops the versions that no row at `watermark` or later can get.
    fn expire(&mut self, watermark: i64) -> Result<()> {
        if watermark == i64::MAX {
            self.clear();
            return Ok(());
        }
        while let Some((due, key)) = self.due.first().copied()
            && due < watermark
        {
            self.due.pop_first();
            let Some(latest) = self.latest[key as usize] else { continue };
            if self.ends(&latest) == due {
                self.latest[key as usize] = None;
                self.kept -= 1;
                self.keys.release(key);
            } else {
                self.enter_due(key, &latest);
            }
        }
        let settled = self.versions.len() - self.waiting_versions.len();
        if settled > 2 * self.kept + DROP_ROWS {
            self.compact()?;
        }
        Ok(())
    }

    /// The versions that are needed, in their order: those that do not wait, then the others.
    fn needed(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = self.latest.iter().flatten().map(|latest| latest.row).collect();
        rows.sort_unstable();
        let settled = self.versions.len() - self.waiting_versions.len();
        rows.extend(settled as u32..self.versions.len() as u32);
        rows
    }

    fn compact(&mut self) -> Result<()> {
        let needed = self.needed();
        let versions = self.take_versions(&needed)?;
        for latest in self.latest.iter_mut().flatten() {
            latest.row = needed.partition_point(|row| *row < latest.row) as u32;
        }
        self.versions.clear();
        self.versions.push(versions)
    }

    fn take_versions(&self, rows: &[u32]) -> Result<RecordBatch> {
        let schema = Arc::clone(&self.stage.inputs[RIGHT]);
        batch(schema, rows.len(), |column| self.versions.take(column, rows))
    }
}

fn batch(
    schema: Arc<Schema>,
    rows: usize,
    column: impl Fn(usize) -> Result<arrow::array::ArrayRef>,
) -> Result<RecordBatch> {
    let columns = (0..schema.fields().len()).map(column).collect::<Result<_>>()?;
    let count = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &count)?)
}

impl Operator for AsOfJoin {
    fn advance(
        &mut self,
        inputs: Vec<Rows>,
        watermarks: &[EventMs],
        _: &mut Failures<'_>,
    ) -> Result<RecordBatch> {
        for (side, rows) in inputs.into_iter().enumerate() {
            self.push(side, rows)?;
        }
        let watermark = watermarks.iter().min().map_or(i64::MIN, |watermark| watermark.0);
        let mut matched: Vec<(u32, u32)> = Vec::new();
        let mut taken = 0usize;
        loop {
            let row = self.waiting_rows.front().copied();
            let version = self.waiting_versions.front().copied();
            let moment = version.map(|it| self.moment(it.time));
            let row_moment = row.map(|row| row.time);
            let is_version = match (moment, row_moment) {
                (Some(version), Some(row)) => version <= row,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            let next = if is_version { moment } else { row_moment };
            if !next.is_some_and(|moment| AsOfJoin::has_come(moment, watermark)) {
                break;
            }
            if let (true, Some(version)) = (is_version, version) {
                let place = self.versions.len() - self.waiting_versions.len();
                self.waiting_versions.pop_front();
                self.take_version(version, place as u32);
            } else if let Some(row) = row {
                self.waiting_rows.pop_front();
                let version = self.take_row(row);
                if version != NO_ROW || self.stage.is_outer {
                    matched.push((taken as u32, version));
                }
                taken += 1;
            }
        }
        let (rows, versions): (Vec<u32>, Vec<u32>) = matched.into_iter().unzip();
        let lefts = self.stage.inputs[LEFT].fields().len();
        let output = batch(Arc::clone(&self.stage.output), rows.len(), |column| {
            match column.checked_sub(lefts) {
                None => self.rows.take(column, &rows),
                Some(column) => self.versions.take(column, &versions),
            }
        })?;
        self.rows.drop_first(taken);
        self.expire(watermark)?;
        Ok(output)
    }

    fn parts(&self) -> Result<Vec<RecordBatch>> {
        let needed = self.needed();
        let mut touched: Vec<(u32, i64)> =
            self.latest.iter().flatten().map(|latest| (latest.row, latest.touched)).collect();
        touched.sort_unstable();
        let touched = touched.into_iter().map(|(_, touched)| Some(touched));
        let waiting = self.waiting_versions.iter().map(|_| None);
        let touched: Int64Array = touched.chain(waiting).collect();
        let mut columns = self.take_versions(&needed)?.columns().to_vec();
        columns.push(Arc::new(touched));
        let versions = RecordBatch::try_new(Arc::clone(&self.stage.versions), columns)?;
        Ok(vec![self.rows.all()?, versions])
    }

    fn restore(&mut self, parts: Vec<RecordBatch>) -> Result<()> {
        self.clear();
        let [rows, versions] = <[RecordBatch; 2]>::try_from(parts)
            .map_err(|_| internal_datafusion_err!("an as-of join's state has not two parts"))?;
        let times_of_rows = times(&rows, self.stage.times[LEFT])?;
        self.push(LEFT, Rows { batch: rows, times: times_of_rows })?;
        let columns = versions.num_columns() - 1;
        let touched = versions
            .column(columns)
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| internal_datafusion_err!("an as-of join's state has another type"))?
            .clone();
        let input: Vec<usize> = (0..columns).collect();
        let batch = versions.project(&input)?;
        let times = times(&batch, self.stage.times[RIGHT])?;
        self.push(RIGHT, Rows { batch, times })?;
        for row in 0..touched.len() {
            if touched.is_null(row) {
                break;
            }
            if let Some(version) = self.waiting_versions.pop_front() {
                let latest =
                    Latest { row: row as u32, time: version.time, touched: touched.value(row) };
                self.latest[version.key as usize] = Some(latest);
                self.enter_due(version.key, &latest);
                self.kept += 1;
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.latest.clear();
        self.due.clear();
        self.rows.clear();
        self.waiting_rows.clear();
        self.versions.clear();
        self.waiting_versions.clear();
        self.kept = 0;
    }

    fn last_close(&self) -> Option<EventMs> {
        let last = self.waiting_rows.back()?.time;
        Some(EventMs(last).plus(1))
    }

    fn rows(&self) -> u64 {
        (self.rows.len() + self.kept + self.waiting_versions.len()) as u64
    }

    fn bytes(&self) -> u64 {
        let waiting =
            (self.waiting_rows.len() + self.waiting_versions.len()) * size_of::<Waiting>();
        let latest = self.kept * (size_of::<Latest>() + size_of::<(i64, u32)>());
        self.rows.bytes() + self.versions.bytes() + self.keys.bytes() + (waiting + latest) as u64
    }
}

#[cfg(test)]
mod tests;
