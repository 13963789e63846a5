//! How far each event of a session reaches.
//!
//! With one gap for all, an event reaches to its own time, and a session's end is its last reach
//! plus the gap. With gaps of their own, it reaches to its time plus its gap, and there is nothing to
//! add. Either way a later event joins when it lies at most the shape's gap after the reach.

use arrow::array::{Array, AsArray, Int64Array, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err, internal_err};
use tidemill_model::LogId;
use tidemill_plan::Stage;

use crate::decode::Decoded;

/// The reach of each of these rows of the decoded batch.
///
/// # Errors
/// A gap that is null or not positive; a row is to blame then.
pub(super) fn reaches(
    stage: &Stage,
    log: &LogId,
    decoded: &Decoded,
    rows: &UInt32Array,
) -> Result<Vec<i64>> {
    let time = |row: u32| decoded.event_times[row as usize];
    let Some(column) = stage.gaps.get(&log.stream) else {
        return Ok(rows.values().iter().map(|row| time(*row).0).collect());
    };
    let Some(column) = decoded.rows.column_by_name(column) else {
        return internal_err!("the decoded batch has no column {column}");
    };
    let gaps = cast(column, &DataType::Int64)?;
    let Some(gaps): Option<&Int64Array> = gaps.as_primitive_opt::<Int64Type>() else {
        return internal_err!("the session gap has another type");
    };
    let reach = |row: &u32| {
        let index = *row as usize;
        match gaps.is_valid(index).then(|| gaps.value(index)) {
            Some(gap) if gap > 0 => Ok(time(*row).plus(gap).0),
            Some(_) => exec_err!("the session gap of an event is not positive"),
            None => exec_err!("the session gap of an event is null"),
        }
    };
    rows.values().iter().map(reach).collect()
}
