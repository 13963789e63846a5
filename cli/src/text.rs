//! Numbers as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `2013-01-01 05:00:00`, UTC; milliseconds where the calendar has no such day.
pub(crate) fn time(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => {
            let time = TimeZone::UTC.to_datetime(time);
            let (date, clock) = (time.date(), time.time());
            let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
            format!("{date} {hour:02}:{minute:02}:{second:02}")
        }
        Err(_) => format!("{ms} ms"),
    }
}

/// The two largest units of a length of time: `2 h 5 min`. From 10 s on without milliseconds.
pub(crate) fn duration(ms: i64) -> String {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];
    let sign = if ms < 0 { "-" } else { "" };
    let mut left = ms.unsigned_abs();
    if left >= 10_000 {
        left -= left % 1_000;
    }
    let mut parts = Vec::new();
    for (name, unit) in UNITS {
        let count = left / unit;
        left %= unit;
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count} {name}"));
        } else if !parts.is_empty() {
            break;
        }
    }
    if parts.is_empty() { "0 s".to_string() } else { format!("{sign}{}", parts.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(999), "999 ms");
        assert_eq!(duration(61_001), "1 min 1 s");
        assert_eq!(duration(7_500_000), "2 h 5 min");
        assert_eq!(duration(86_400_001), "1 d");
        assert_eq!(duration(-1_500), "-1 s 500 ms");
        assert_eq!(duration(25_562), "25 s");
    }

    #[test]
    fn times_of_any_size_are_shown() {
        assert_eq!(time(1_357_017_300_000), "2013-01-01 05:15:00");
        assert_eq!(time(-1), "1969-12-31 23:59:59");
        assert_eq!(time(i64::MAX), format!("{} ms", i64::MAX));
    }
}
