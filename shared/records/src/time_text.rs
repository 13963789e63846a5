//! The texts of one `timestamp` column as milliseconds since the epoch: its format, its time zone.
//!
//! A text that says its offset keeps it; the column's time zone is that of the others. A local time
//! that its zone's clocks showed twice is the earlier of the two; one that they never showed is none.
//!
//! Time zones are jiff's bundled ones, which hold the rules of the future too. A machine's own
//! database is not asked, so every machine reads the same.
//!
//! Not here: the spellings without a format (`timestamp`).

use jiff::SignedDuration;
use jiff::civil::{self, DateTime};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use tidemill_pipeline::Column;

use crate::timestamp::{self, TIMESTAMP_MS, Written};

/// Reads the texts of one column.
#[derive(Debug)]
pub(crate) struct TimeText {
    format: Option<String>,
    zone: Zone,
}

#[derive(Debug)]
enum Zone {
    Utc,
    Named(String, TimeZone),
    /// A name that is no known zone: the pipeline's check has refused it.
    Unknown(String),
}

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimeTextError {
    /// It is not written as its column says.
    Malformed,
    /// It lies outside the years 0001 to 9999.
    OutOfRange,
    /// The column's time zone never had such a local time.
    Skipped(String),
    /// Nobody knows the column's time zone.
    UnknownZone(String),
}

impl TimeText {
    /// The reader of this column's texts.
    pub(crate) fn new(column: &Column) -> TimeText {
        let zone = match &column.time_zone {
            None => Zone::Utc,
            Some(name) => match TimeZoneDatabase::bundled().get(name) {
                Ok(zone) => Zone::Named(name.clone(), zone),
                Err(_) => Zone::Unknown(name.clone()),
            },
        };
        TimeText { format: column.format.clone(), zone }
    }

    /// Milliseconds since the epoch, cut downwards.
    pub(crate) fn ms(&self, text: &str) -> Result<i64, TimeTextError> {
        let written = match &self.format {
            None => timestamp::read(text),
            Some(format) => formatted(format, text),
        };
        let written = written.ok_or(TimeTextError::Malformed)?;
        let ms = match written.offset_seconds {
            Some(seconds) => written.local_ms - seconds * 1000,
            None => written.local_ms - self.offset_ms(written.local_ms)?,
        };
        if TIMESTAMP_MS.contains(&ms) { Ok(ms) } else { Err(TimeTextError::OutOfRange) }
    }

    /// How far the column's time zone is ahead of UTC at a local time.
    fn offset_ms(&self, local_ms: i64) -> Result<i64, TimeTextError> {
        let (name, zone) = match &self.zone {
            Zone::Utc => return Ok(0),
            Zone::Unknown(name) => return Err(TimeTextError::UnknownZone(name.clone())),
            Zone::Named(name, zone) => (name, zone),
        };
        let local = EPOCH.checked_add(SignedDuration::from_millis(local_ms));
        let local: DateTime = local.map_err(|_| TimeTextError::OutOfRange)?;
        let offset = match zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            // The clocks were put back: it was this time before that, and once more after.
            AmbiguousOffset::Fold { before, .. } => before,
            AmbiguousOffset::Gap { .. } => return Err(TimeTextError::Skipped(name.clone())),
        };
        Ok(i64::from(offset.seconds()) * 1000)
    }

    /// What its texts are, for people.
    pub(crate) fn wanted(&self) -> String {
        match &self.format {
            None => "a time like 2013-01-31T23:59:59.999Z".to_string(),
            Some(format) => format!("a time of the format \"{format}\""),
        }
    }
}

const EPOCH: DateTime = civil::date(1970, 1, 1).at(0, 0, 0, 0);

fn formatted(format: &str, text: &str) -> Option<Written> {
    let parsed = BrokenDownTime::parse(format, text).ok()?;
    let local = parsed.to_datetime().ok()?;
    if local.year() < 1 {
        return None;
    }
    let since: SignedDuration = local.duration_since(EPOCH);
    let local_ms = since.as_secs() * 1000 + i64::from(since.subsec_nanos()).div_euclid(1_000_000);
    let offset_seconds = parsed.offset().map(|offset| i64::from(offset.seconds()));
    Some(Written { local_ms, offset_seconds })
}

#[cfg(test)]
mod tests {
    use tidemill_model::ColumnType;

    use super::*;

    fn reader(format: Option<&str>, time_zone: Option<&str>) -> TimeText {
        let column = Column::new("at", ColumnType::TimestampText);
        TimeText::new(&Column {
            format: format.map(str::to_string),
            time_zone: time_zone.map(str::to_string),
            ..column
        })
    }

    /// Python: `datetime(…, tzinfo=ZoneInfo("America/New_York"), fold=0).timestamp()`.
    #[test]
    fn local_times_of_a_zone_are_zoneinfos() {
        let new_york = reader(None, Some("America/New_York"));
        for (text, ms) in [
            ("2024-01-15 12:00:00", 1_705_338_000_000),
            ("2024-07-15 12:00:00", 1_721_059_200_000),
            ("2024-03-10 01:59:59.999", 1_710_053_999_999),
            ("2024-03-10 03:00:00", 1_710_054_000_000),
            ("2024-11-03 00:59:59", 1_730_609_999_000),
            // Twice: the earlier.
            ("2024-11-03 01:00:00", 1_730_610_000_000),
            ("2024-11-03 01:30:00", 1_730_611_800_000),
            ("2024-11-03 02:00:00", 1_730_617_200_000),
            // By the rules of today, for ever.
            ("2150-07-15 12:00:00", 5_697_187_200_000),
            ("9999-07-15 12:00:00", 253_387_670_400_000),
            // Local mean time, -4:56:02.
            ("1800-01-01 00:00:00", -5_364_644_638_000),
            // An offset of the text's own.
            ("2024-07-15 12:00:00Z", 1_721_044_800_000),
            ("2024-07-15 12:00:00+02:00", 1_721_037_600_000),
            ("2024-03-10 02:30:00Z", 1_710_037_800_000),
        ] {
            assert_eq!(new_york.ms(text), Ok(ms), "{text}");
        }
        let skipped = Err(TimeTextError::Skipped("America/New_York".to_string()));
        for text in ["2024-03-10 02:00", "2024-03-10T02:30:00", "2024-03-10 02:59:59.999"] {
            assert_eq!(new_york.ms(text), skipped, "{text}");
        }
        assert_eq!(new_york.ms("9999-12-31 20:00:00"), Err(TimeTextError::OutOfRange));
        assert_eq!(new_york.ms("9999-12-31T24:00"), Err(TimeTextError::OutOfRange));
        assert_eq!(
            reader(None, Some("Asia/Tokyo")).ms("0001-01-01"),
            Err(TimeTextError::OutOfRange)
        );
    }

    /// Python: `datetime.strptime(text, format)`.
    #[test]
    fn texts_of_a_format_are_strptimes() {
        for (format, zone, text, ms) in [
            ("%d/%m/%Y %H:%M", None, "10/03/2024 02:30", 1_710_037_800_000),
            ("%d/%m/%Y %H:%M", None, "1/3/2024 2:30", 1_709_260_200_000),
            ("%d/%m/%Y %H:%M", Some("Europe/Paris"), "10/07/2024 12:00", 1_720_605_600_000),
            ("%m/%d/%Y %I:%M:%S %p", None, "03/10/2024 02:30:15 PM", 1_710_081_015_000),
            ("%m/%d/%Y %I:%M:%S %p", None, "03/10/2024 12:00:00 am", 1_710_028_800_000),
            ("%d/%b/%Y:%H:%M:%S %z", None, "10/Mar/2024:04:30:00 +0200", 1_710_037_800_000),
            ("%a %b %d %H:%M:%S %Y", None, "Sun Mar 10 02:30:00 2024", 1_710_037_800_000),
            ("%Y%m%d%H%M%S%f", None, "20240310023000987654", 1_710_037_800_987),
            ("%Y-%m-%d %H:%M:%S%.f", None, "1969-12-31 23:59:59.9999", -1),
            ("%Y-%m-%d", None, "2024-03-10", 1_710_028_800_000),
            ("%Y-%j %H", None, "2024-070 02", 1_710_036_000_000),
            ("%G-W%V-%u", None, "2024-W10-7", 1_710_028_800_000),
            ("%y%m%d", None, "681231", 3_124_137_600_000),
        ] {
            assert_eq!(reader(Some(format), zone).ms(text), Ok(ms), "{text}");
        }
        let format = "%d/%m/%Y %H:%M";
        for text in ["2024-03-10 02:30", "32/03/2024 02:30", "10/03/2024", "10/03/2024 02:30 x", ""]
        {
            let malformed = Err(TimeTextError::Malformed);
            assert_eq!(reader(Some(format), None).ms(text), malformed, "{text}");
        }
    }
}
