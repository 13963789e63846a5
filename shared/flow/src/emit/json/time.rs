//! Points and spans of time as ISO 8601 text, over the whole range of Arrow's types.

use std::fmt::{self, Display};

const DAY_MS: i64 = 24 * 3600 * 1000;
const SECOND_NS: i128 = 1_000_000_000;
const DAY_NS: i128 = 24 * 3600 * SECOND_NS;

/// Day number since 1970-01-01 as a date of the proleptic Gregorian calendar.
pub(super) struct Date(pub(super) i64);

impl Date {
    /// Year, month and day.
    fn civil(&self) -> (i128, u8, u8) {
        // Howard Hinnant, "chrono-compatible low-level date algorithms": civil_from_days. Years
        // begin in March, so that the leap day is a year's last.
        let days = i128::from(self.0) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097) as u32;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + i128::from(year_of_era) + i128::from(month <= 2);
        (year, month as u8, day as u8)
    }
}

impl Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        match year {
            0..=9999 => write!(f, "{year:04}-{month:02}-{day:02}"),
            _ => write!(f, "{year:+07}-{month:02}-{day:02}"),
        }
    }
}

/// Nanoseconds since midnight as a time of day.
pub(super) struct TimeOfDay(pub(super) i128);

impl Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.div_euclid(SECOND_NS), self.0.rem_euclid(SECOND_NS));
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}")?;
        match (nanos % 1_000_000, nanos % 1000) {
            (0, _) => write!(f, ".{:03}", nanos / 1_000_000),
            (_, 0) => write!(f, ".{:06}", nanos / 1000),
            _ => write!(f, ".{nanos:09}"),
        }
    }
}

/// `ticks` of `tick_ns` nanoseconds each since 1970-01-01T00:00:00Z.
pub(super) struct Timestamp {
    pub(super) ticks: i64,
    pub(super) tick_ns: i64,
}

impl Timestamp {
    pub(super) fn from_ms(ms: i64) -> Timestamp {
        Timestamp { ticks: ms, tick_ns: 1_000_000 }
    }

    /// The text of a whole number of milliseconds in the years 0000 to 9999, which nearly every
    /// timestamp is; without the formatter, which would cost more than all else of a result row.
    fn common(&self) -> Option<[u8; 24]> {
        if self.tick_ns != 1_000_000 {
            return None;
        }
        let (year, month, day) = Date(self.ticks.div_euclid(DAY_MS)).civil();
        let year = u16::try_from(year).ok().filter(|year| *year <= 9999)?;
        let ms = self.ticks.rem_euclid(DAY_MS) as u32;
        let (seconds, ms) = (ms / 1000, ms % 1000);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, width: usize, mut value: u32| {
            for digit in text[at..at + width].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, u32::from(year));
        put(5, 2, u32::from(month));
        put(8, 2, u32::from(day));
        put(11, 2, seconds / 3600);
        put(14, 2, seconds / 60 % 60);
        put(17, 2, seconds % 60);
        put(20, 3, ms);
        Some(text)
    }
}

impl Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.common() {
            return f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?);
        }
        let nanos = i128::from(self.ticks) * i128::from(self.tick_ns);
        let day = Date(nanos.div_euclid(DAY_NS) as i64);
        write!(f, "{day}T{}Z", TimeOfDay(nanos.rem_euclid(DAY_NS)))
    }
}

/// A span: months, days and nanoseconds do not convert into each other.
#[derive(Default)]
pub(super) struct Span {
    pub(super) months: i64,
    pub(super) days: i64,
    pub(super) nanos: i128,
}

impl Span {
    /// The span of Arrow's milliseconds interval, whose days and milliseconds stand apart.
    pub(super) fn of_days_and_ms(days: i32, ms: i32) -> Span {
        Span { days: i64::from(days), nanos: i128::from(ms) * 1_000_000, ..Span::default() }
    }
}

impl Display for Span {
    /// Each part keeps its own sign: `P-1M2DT-0.5S`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        let (years, months) = (self.months / 12, self.months % 12);
        for (number, unit) in [(years, 'Y'), (months, 'M'), (self.days, 'D')] {
            if number != 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        let is_empty = self.months == 0 && self.days == 0;
        if self.nanos == 0 && !is_empty {
            return Ok(());
        }
        let sign = if self.nanos < 0 { "-" } else { "" };
        let nanos = self.nanos.unsigned_abs();
        let (seconds, fraction) = (nanos / SECOND_NS as u128, nanos % SECOND_NS as u128);
        write!(f, "T{sign}{seconds}")?;
        if fraction != 0 {
            let digits = format!("{fraction:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("S")
    }
}

/// Date64 holds milliseconds; what lies inside the day is not shown.
pub(super) fn date_of_ms(ms: i64) -> Date {
    Date(ms.div_euclid(DAY_MS))
}
