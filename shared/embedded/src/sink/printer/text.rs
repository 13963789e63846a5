//! Values as people read them: short times, rounded floats, one line each.

use arrow::array::{Array, ArrayRef, AsArray, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use tidemill_flow::ports::{FailedRows, Rejected};
use tidemill_model::{DeadLetter, DeadReason};

/// Longest text that is printed of one value, characters.
const VALUE_CHARS_MAX: usize = 60;

/// The times of a timestamp column, milliseconds; `None` for another column.
pub(super) fn times(array: &ArrayRef) -> Option<Vec<Option<i64>>> {
    let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
    let array = matches!(array.data_type(), DataType::Timestamp(..))
        .then(|| cast(array, &milliseconds).ok())??;
    let array: &TimestampMillisecondArray = array.as_primitive::<TimestampMillisecondType>();
    Some(array.iter().collect())
}

/// A column's values.
pub(super) fn column(array: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    if let Some(times) = times(array) {
        return Ok(times.into_iter().map(time).collect());
    }
    if matches!(array.data_type(), DataType::Float32 | DataType::Float64) {
        let array = cast(array, &DataType::Float64)?;
        return Ok(array.as_primitive::<Float64Type>().iter().map(float).collect());
    }
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
    (0..array.len()).map(|row| Ok(one_line(&formatter.value(row).try_to_string()?))).collect()
}

/// `2013-01-01 05:00 – 06:00`, with the end's date where it is another one.
pub(super) fn window(start: Option<i64>, end: Option<i64>) -> String {
    match (start.and_then(civil), end.and_then(civil)) {
        (Some(first), Some(last)) if first.date() == last.date() => {
            format!("{} – {}", date_time(first), clock(last))
        }
        _ => format!("{} – {}", time(start), time(end)),
    }
}

/// What went wrong with a record, and how it begins.
pub(super) fn dead_letter(letter: &DeadLetter) -> String {
    let reason = match &letter.reason {
        DeadReason::Undecodable { detail } => format!("undecodable: {detail}"),
        DeadReason::NoEventTime => "no event time".to_string(),
        DeadReason::Future { event_time } => {
            format!("in the future: {}", time(Some(event_time.0)))
        }
        DeadReason::TooLarge { detail } => format!("too large: {detail}"),
        DeadReason::Failed { query, detail } => format!("{query} fails on it: {detail}"),
        DeadReason::Late { query, event_time, windows_missed, records, .. } => format!(
            "late for {windows_missed} windows of {query}: {}, {records} records",
            time(Some(event_time.0))
        ),
    };
    let place = letter.position.to_offset().map_or_else(String::new, |at| format!(" byte {at}"));
    let raw = letter.raw.as_ref().map_or_else(String::new, |raw| {
        format!("  {}", one_line(&String::from_utf8_lossy(&raw.first)))
    });
    format!("{}{place}  {}{raw}", letter.log, one_line(&reason))
}

/// Rows that a query fails on.
pub(super) fn failed(failed: &FailedRows) -> String {
    let FailedRows { query, detail, raw, .. } = failed;
    let rows = one_line(&String::from_utf8_lossy(&raw.first));
    format!("{}  {rows}", one_line(&format!("{query} fails on it: {detail}")))
}

/// A result row that its sink can never take.
pub(super) fn rejected(rejected: &Rejected) -> String {
    let row = one_line(&String::from_utf8_lossy(&rejected.row.first));
    format!("{}  rejected: {}  {row}", rejected.id, one_line(&rejected.detail))
}

fn time(ms: Option<i64>) -> String {
    match ms {
        None => "null".to_string(),
        Some(ms) => civil(ms).map_or_else(|| format!("{ms} ms"), date_time),
    }
}

/// `None` outside the years −9999 to 9999.
fn civil(ms: i64) -> Option<DateTime> {
    Timestamp::from_millisecond(ms).ok().map(|time| TimeZone::UTC.to_datetime(time))
}

fn date_time(time: DateTime) -> String {
    format!("{} {}", time.date(), clock(time))
}

/// `05:00`, with seconds and milliseconds where there are any.
fn clock(time: DateTime) -> String {
    match (time.second(), time.millisecond()) {
        (0, 0) => format!("{:02}:{:02}", time.hour(), time.minute()),
        (second, 0) => format!("{:02}:{:02}:{second:02}", time.hour(), time.minute()),
        (second, ms) => {
            format!("{:02}:{:02}:{second:02}.{ms:03}", time.hour(), time.minute())
        }
    }
}

/// Three decimals at most, none that are zero.
fn float(value: Option<f64>) -> String {
    let Some(value) = value else { return "null".to_string() };
    if value != 0.0 && !(1e-3..1e15).contains(&value.abs()) {
        return value.to_string();
    }
    let text = format!("{value:.3}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_string(),
        short => short.to_string(),
    }
}

/// Control characters and lines' ends escaped, and cut to a readable length.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (n, letter) in text.chars().enumerate() {
        if n == VALUE_CHARS_MAX {
            line.push('…');
            break;
        }
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}
