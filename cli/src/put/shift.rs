//! Moves the times of a replay: the first record is of now, the others keep their distances.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::member::member;

/// The least whole numbers that are taken for milliseconds and microseconds: those of 1973, as
/// seconds beyond the year 5000.
const MILLIS_FROM: u64 = 100_000_000_000;
const MICROS_FROM: u64 = 100_000_000_000_000;

/// Moves the times of one member.
pub(super) struct Shift {
    column: String,
    /// What is added, milliseconds; unknown until the first time is seen.
    plus_ms: Option<i64>,
    unmoved: u64,
}

/// A time as it is spelt.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spelt {
    /// A number of this many a second, since 1970.
    Number(i64),
    /// `2013-01-31T12:00:00Z`
    Rfc3339,
    /// `2013-01-31 12:00:00`, with `T` or a blank.
    Civil(char),
}

impl Shift {
    pub(super) fn new(column: &str) -> Shift {
        Shift { column: column.to_owned(), plus_ms: None, unmoved: 0 }
    }

    /// The next record is the first of a pass: it will be of now.
    pub(super) fn begin(&mut self) {
        self.plus_ms = None;
    }

    /// Records that had no time to move.
    pub(super) fn unmoved(&self) -> u64 {
        self.unmoved
    }

    /// The record with its time moved.
    pub(super) fn apply<'l>(&mut self, line: &'l [u8], now_ms: i64) -> Cow<'l, [u8]> {
        let moved = self.moved(line, now_ms);
        self.unmoved += u64::from(moved.is_none());
        moved.map_or(Cow::Borrowed(line), Cow::Owned)
    }

    fn moved(&mut self, line: &[u8], now_ms: i64) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(line).ok()?;
        let at = member(text, &self.column)?;
        let (ms, spelt) = read(&text[at.clone()])?;
        let plus_ms = *self.plus_ms.get_or_insert(now_ms.saturating_sub(ms));
        let time = write(&text[at.clone()], plus_ms, spelt)?;
        Some([&text[..at.start], &time, &text[at.end..]].concat().into_bytes())
    }
}

/// A time in milliseconds, and how it is spelt.
fn read(value: &str) -> Option<(i64, Spelt)> {
    if let Ok(number) = value.parse::<i64>() {
        let per_second = match number.unsigned_abs() {
            MICROS_FROM.. => 1_000_000,
            MILLIS_FROM.. => 1_000,
            _ => 1,
        };
        let ms = i128::from(number) * 1_000 / i128::from(per_second);
        return Some((i64::try_from(ms).ok()?, Spelt::Number(per_second)));
    }
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some((time.as_millisecond(), Spelt::Rfc3339));
    }
    let between = text.chars().nth(10).filter(|c| matches!(c, ' ' | 'T'))?;
    let time = text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some((time.timestamp().as_millisecond(), Spelt::Civil(between)))
}

/// A JSON value moved by milliseconds, spelt as it was.
fn write(value: &str, plus_ms: i64, spelt: Spelt) -> Option<String> {
    if let Spelt::Number(per_second) = spelt {
        let plus = i128::from(plus_ms) * i128::from(per_second) / 1_000;
        let moved = value.parse::<i128>().ok()? + plus;
        return Some(moved.to_string());
    }
    let (ms, _) = read(value)?;
    let time = Timestamp::from_millisecond(ms.checked_add(plus_ms)?).ok()?;
    Some(match spelt {
        Spelt::Civil(between) => {
            let civil = TimeZone::UTC.to_datetime(time);
            format!("\"{}{between}{:.3}\"", civil.date(), civil.time())
        }
        _ => format!("\"{time:.3}\""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-11-14T22:13:20Z.
    const NOW: i64 = 1_700_000_000_000;

    fn shifted(lines: &[&str]) -> Vec<String> {
        let mut shift = Shift::new("ts");
        let moved = |line: &&str| {
            String::from_utf8(shift.apply(line.as_bytes(), NOW).into_owned()).unwrap()
        };
        lines.iter().map(moved).collect()
    }

    #[test]
    fn the_first_record_is_of_now_and_distances_stay() {
        for (first, second, now, later) in [
            ("1600000000", "1600000007", "1700000000", "1700000007"),
            ("1600000000123", "1600000000130", "1700000000000", "1700000000007"),
            ("1600000000123456", "1600000000130456", "1700000000000456", "1700000000007456"),
            (
                "\"2013-01-31T12:00:00Z\"",
                "\"2013-01-31T13:00:01.5+01:00\"",
                "\"2023-11-14T22:13:20.000Z\"",
                "\"2023-11-14T22:13:21.500Z\"",
            ),
            (
                "\"2013-01-31 12:00:00.000\"",
                "\"2013-01-31 12:00:01.5\"",
                "\"2023-11-14 22:13:20.000\"",
                "\"2023-11-14 22:13:21.500\"",
            ),
        ] {
            let line = |ts: &str| format!("{{\"a\":1.10,\"ts\":{ts}, \"b\":\"ts\"}}");
            let lines = [line(first), line(second)];
            assert_eq!(shifted(&[&lines[0], &lines[1]]), [line(now), line(later)]);
        }
    }

    #[test]
    fn what_has_no_time_stays_as_it_is() {
        let lines =
            ["no JSON", "{\"ts\":\"soon\"}", "{\"ts\":null}", "{\"ts\":1.5}", "{}", "\u{1F30A}"];
        assert_eq!(shifted(&lines), lines);
        let mut shift = Shift::new("ts");
        assert_eq!(shift.apply(b"{\"ts\":\xff}", NOW).as_ref(), b"{\"ts\":\xff}");
        assert_eq!(shift.unmoved(), 1);
    }

    #[test]
    fn each_pass_begins_now() {
        let mut shift = Shift::new("ts");
        let line = b"{\"ts\":1600000000}";
        let mut at = |now_ms| {
            shift.begin();
            String::from_utf8(shift.apply(line, now_ms).into_owned()).unwrap()
        };
        assert_eq!(at(NOW), "{\"ts\":1700000000}");
        assert_eq!(at(NOW + 60_000), "{\"ts\":1700000060}");
    }
}
