//! Dates and times as texts, as ISO 8601, RFC 3339 and PostgreSQL write them.
//!
//! | part | spellings |
//! |---|---|
//! | date | `2024-03-10`, `20240310`, week `2024-W10-7`, `2024W107`, day of the year `2024-070`, `2024070` |
//! | between | `T`, `t` or a space; a date alone is its beginning |
//! | time | `02:30:15`, `02:30`, `02`, `023015`, `0230`; a fraction of the last part after `.` or `,`, cut to milliseconds |
//! | offset | `Z`, `z`, `UTC`, `GMT`, `+02`, `+0200`, `+02:00`, `+02:00:00`, also after a space |
//!
//! 24:00 is 00:00 of the next day. A leap second is read as the second before it. Years 0001 to 9999.
//! Not jiff's parser: its time stamps end a day before year 9999 does, and it takes fewer spellings.
//!
//! Not here: formats that a column declares, and time zones (`time_text`).

use std::ops::RangeInclusive;

/// What a timestamp column holds: from the beginning of year 1 to the end of year 9999, in
/// milliseconds since the epoch.
pub(crate) const TIMESTAMP_MS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// What a text says of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// As if it were in UTC: milliseconds since the epoch. It may lie a day outside [`TIMESTAMP_MS`].
    pub(crate) local_ms: i64,
    /// How much it is ahead of UTC, if it says so.
    pub(crate) offset_seconds: Option<i64>,
}

/// The time that `text` is.
pub(crate) fn read(text: &str) -> Option<Written> {
    let (days, rest) = date(text.as_bytes())?;
    let (clock_ms, rest) = match rest {
        [] => (0, rest),
        [b'T' | b't' | b' ', time @ ..] => clock(time)?,
        _ => return None,
    };
    let offset_seconds = offset(rest)?;
    Some(Written { local_ms: i64::from(days) * DAY_MS + clock_ms, offset_seconds })
}

/// Days since the epoch of `YYYY-MM-DD`.
pub(crate) fn date_days(text: &str) -> Option<i32> {
    match *text.as_bytes() {
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] => {
            days(number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?)
        }
        _ => None,
    }
}

/// The date that `text` begins with, as days since the epoch, and what follows it.
fn date(text: &[u8]) -> Option<(i32, &[u8])> {
    let length = leading_digits(text);
    let (year, tail) = match length {
        4 | 7 | 8 => (number(&text[..4])?, &text[4..]),
        _ => return None,
    };
    match *tail {
        [b'-', m1, m2, b'-', d1, d2, ref rest @ ..] => {
            Some((days(year, number(&[m1, m2])?, number(&[d1, d2])?)?, rest))
        }
        [b'-', b'W' | b'w', w1, w2, b'-', d, ref rest @ ..]
        | [b'W' | b'w', w1, w2, d, ref rest @ ..] => {
            Some((week_days(year, number(&[w1, w2])?, number(&[d])?)?, rest))
        }
        [b'-', d1, d2, d3, ref rest @ ..] if leading_digits(&tail[1..]) == 3 => {
            Some((year_days(year, number(&[d1, d2, d3])?)?, rest))
        }
        [m1, m2, d1, d2, ref rest @ ..] if length == 8 => {
            Some((days(year, number(&[m1, m2])?, number(&[d1, d2])?)?, rest))
        }
        [d1, d2, d3, ref rest @ ..] if length == 7 => {
            Some((year_days(year, number(&[d1, d2, d3])?)?, rest))
        }
        _ => None,
    }
}

/// The time of day that `text` begins with, in milliseconds, and what follows it.
fn clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let mut parts = [0u32; 3]; // hour, minute, second
    let length = leading_digits(text);
    if !matches!(length, 2 | 4 | 6) {
        return None;
    }
    let (digits, mut rest) = text.split_at(length);
    for (part, pair) in parts.iter_mut().zip(digits.chunks(2)) {
        *part = number(pair)?;
    }
    let mut count = length / 2;
    if count == 1 {
        while let [b':', more @ ..] = rest {
            if count == 3 || leading_digits(more) != 2 {
                return None;
            }
            parts[count] = number(&more[..2])?;
            count += 1;
            rest = &more[2..];
        }
    }
    let mut fraction: &[u8] = &[];
    if let [b'.' | b',', more @ ..] = rest {
        (fraction, rest) = more.split_at(leading_digits(more));
        if fraction.is_empty() {
            return None;
        }
    }
    let [hour, minute, second] = parts;
    let nothing_follows = minute == 0 && second == 0 && fraction.iter().all(|digit| *digit == b'0');
    let known = hour < 24 || (hour == 24 && nothing_follows);
    if !known || minute > 59 || second > 60 {
        return None;
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second.min(59));
    let unit_ms = [3_600_000, 60_000, 1000][count - 1];
    // From the last digit to the first, each time cut to whole milliseconds: what is cut off is less
    // than one, and can make no further one, so nothing is lost however many digits there are.
    let fraction_ms = fraction
        .iter()
        .rev()
        .fold(0, |below, digit| (below + i64::from(digit - b'0') * unit_ms) / 10);
    Some((seconds * 1000 + fraction_ms, rest))
}

/// The offset that `text` is, in seconds; within, `None`: there is none.
fn offset(text: &[u8]) -> Option<Option<i64>> {
    if text.is_empty() {
        return Some(None);
    }
    let text = text.strip_prefix(b" ").unwrap_or(text);
    if [&b"Z"[..], b"UTC", b"GMT"].iter().any(|utc| text.eq_ignore_ascii_case(utc)) {
        return Some(Some(0));
    }
    let (negative, text) = match text {
        [b'+', text @ ..] => (false, text),
        // The minus of ISO 8601 is U+2212, where there is one.
        [b'-', text @ ..] | [0xE2, 0x88, 0x92, text @ ..] => (true, text),
        _ => return None,
    };
    let (hour, minute, second) = match *text {
        [h1, h2] => ([h1, h2], [b'0'; 2], [b'0'; 2]),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => ([h1, h2], [m1, m2], [b'0'; 2]),
        [h1, h2, m1, m2, s1, s2] | [h1, h2, b':', m1, m2, b':', s1, s2] => {
            ([h1, h2], [m1, m2], [s1, s2])
        }
        _ => return None,
    };
    let (hour, minute, second) = (number(&hour)?, number(&minute)?, number(&second)?);
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let known = hour < 24 && minute < 60 && second < 60;
    known.then_some(Some(if negative { -seconds } else { seconds }))
}

/// Days since the epoch of a date of the calendar.
pub(crate) fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    let month_days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => return None,
    };
    if year == 0 || day == 0 || day > month_days {
        return None;
    }
    // Years begin in March here, so that the leap day is a year's last day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    const EPOCH: i32 = 719_469; // 1970-01-01, counted like this
    Some(days as i32 - EPOCH)
}

/// Days since the epoch of a day of a year, the first being 1.
fn year_days(year: u32, day: u32) -> Option<i32> {
    let count = if is_leap(year) { 366 } else { 365 };
    (1..=count).contains(&day).then_some(days(year, 1, 1)? + day as i32 - 1)
}

/// Days since the epoch of a day of an ISO week, Monday being 1.
fn week_days(year: u32, week: u32, day: u32) -> Option<i32> {
    let first = first_monday(year)?;
    // The year after 9999 does not exist; it would begin on a Saturday, so 9999 has 52 weeks.
    let next = if year == 9999 { first + 52 * 7 } else { first_monday(year + 1)? };
    let monday = first + (week as i32 - 1) * 7;
    let known = week >= 1 && monday < next && (1..=7).contains(&day);
    known.then_some(monday + day as i32 - 1)
}

/// Days since the epoch of the Monday of a year's first ISO week: the one that has January 4.
fn first_monday(year: u32) -> Option<i32> {
    let fourth = days(year, 1, 4)?;
    const THURSDAY: i32 = 3; // 1970-01-01, counted from Monday
    Some(fourth - (fourth + THURSDAY).rem_euclid(7))
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(value * 10 + u32::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_day_of_the_calendar_is_jiffs() {
        let epoch = civil::date(1970, 1, 1);
        let mut date = civil::date(1, 1, 1);
        let mut expected = epoch.until(date).unwrap().get_days();
        assert_eq!(i64::from(expected) * DAY_MS, *TIMESTAMP_MS.start());
        loop {
            assert_eq!(date_days(&date.to_string()), Some(expected), "{date}");
            let Ok(next) = date.tomorrow() else { break };
            (date, expected) = (next, expected + 1);
        }
        assert_eq!(i64::from(expected + 1) * DAY_MS - 1, *TIMESTAMP_MS.end());
    }

    fn utc_ms(text: &str) -> Option<i64> {
        let Written { local_ms, offset_seconds } = read(text)?;
        Some(local_ms - offset_seconds.unwrap_or(0) * 1000)
    }

    /// Python: `date.fromisocalendar(y, w, d)` and `strftime("%j")`, at the years' ends.
    #[test]
    fn weeks_and_days_of_the_year_are_pythons() {
        for (text, day) in [
            ("2015-W53-7", "2016-01-03"),
            ("2016-W01-1", "2016-01-04"),
            ("2020-W53-5", "2021-01-01"),
            ("2008-W01-1", "2007-12-31"),
            ("0001-W01-1", "0001-01-01"),
            ("9999-W52-5", "9999-12-31"),
            ("2016-366", "2016-12-31"),
            ("2015-365", "2015-12-31"),
            ("2000-060", "2000-02-29"),
            ("1900-060", "1900-03-01"),
        ] {
            assert_eq!(utc_ms(text), utc_ms(day), "{text}");
        }
    }

    #[test]
    fn a_fraction_of_any_length_is_cut_exactly() {
        let third = "3".repeat(40);
        for (text, ms) in [
            (format!("1970-01-01T00:00:00.{}", "9".repeat(50)), 999),
            (format!("1970-01-01T00.{third}"), 1_199_999),
            (format!("1970-01-01T00.{third}4"), 1_200_000),
            (format!("1970-01-01T00:00.{third}"), 19_999),
            (format!("1969-12-31T23:59:59.{third}"), -667),
        ] {
            assert_eq!(utc_ms(&text), Some(ms), "{text}");
        }
    }

    #[test]
    fn spellings_of_a_timestamp() {
        let ms = 1_357_017_300_000;
        for (text, value) in [
            ("2013-01-01T05:15:00Z", ms),
            ("2013-01-01t05:15:00z", ms),
            ("2013-01-01 05:15:00", ms),
            ("2013-01-01T05:15:00", ms),
            ("2013-01-01T05:15:00.5Z", ms + 500),
            ("2013-01-01 05:15:00.123", ms + 123),
            ("2013-01-01 05:15:00.123999999", ms + 123),
            ("2013-01-01T00:15:00-05:00", ms),
            ("2013-01-01T05:15:00+00:00", ms),
            ("2013-01-01 10:45:00.001+05:30", ms + 1),
            ("1969-12-31T23:59:59.999Z", -1),
            ("1969-12-31 23:59:59.9999", -1),
            ("0001-01-01 00:00:00", *TIMESTAMP_MS.start()),
            ("9999-12-31T23:59:59.999Z", *TIMESTAMP_MS.end()),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
            ("2013-01-01T05:15", ms),
            ("2013-01-01T05:15Z", ms),
            ("2013-01-01 05:15+00", ms),
            ("2013-01-01T05:15:00+0000", ms),
            ("2013-01-01 05:15:00 UTC", ms),
            ("2013-01-01 05:15:00.000 utc", ms),
            ("2013-01-01T05:15:00GMT", ms),
            ("2013-01-01 05:15:00 +0000", ms),
            ("2013-01-01T00:15:00-05", ms),
            ("2013-01-01T00:15:00-0500", ms),
            ("2013-01-01T00:15:00\u{2212}05:00", ms),
            ("2013-01-01 05:33:29+00:18:29", ms),
            ("20130101T051500Z", ms),
            ("20130101T0515Z", ms),
            ("20130101 05:15:00", ms),
            ("2013-01-01T05:15:00,25Z", ms + 250),
            ("20130101T051500.25", ms + 250),
            ("2013-001T05:15:00Z", ms),
            ("2013001T051500Z", ms),
            ("2013-W01-2T05:15:00Z", ms),
            ("2013W012T051500Z", ms),
            ("2013-01-01T05.25Z", ms),
            ("2013-01-01T05:15.5Z", ms + 30_000),
            ("2013-01-01T05", ms - 15 * 60_000),
            ("2013-01-01T24:00:00Z", 1_357_084_800_000),
            ("2013-01-01T24:00", 1_357_084_800_000),
            ("2013-01-01T24:00:00.000Z", 1_357_084_800_000),
            ("2012-12-31T24", 1_356_998_400_000),
            ("2013-01-01", 1_356_998_400_000),
            ("20130101", 1_356_998_400_000),
        ] {
            assert_eq!(utc_ms(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp() {
        for text in [
            "",
            "2013",
            "2013-01",
            "2013-W01",
            "2013-W00-1",
            "2013-W53-1",
            "2013-W01-8",
            "2013-000",
            "2013-366",
            "201301",
            "2013-01-01T",
            "2013-01-01T5",
            "2013-01-01T05:1",
            "2013-01-01T05:15:",
            "2013-01-01T05:15:00:00",
            "2013-01-01T24:00:01Z",
            "2013-01-01T24:01Z",
            "2013-01-01T24:00:00.0000001Z",
            "2013-01-01T25:00Z",
            "2013-01-01T05:15:00 ",
            "2013-01-01T05:15:00  UTC",
            "2013-01-01T05:15:00+00:00 UTC",
            "2013-01-01T05:15:00 Europe/Paris",
            "2013-01-01Z",
            "infinity",
            "2013-01-01T05:60:00Z",
            "2013-01-01T05:15:61Z",
            "2013-02-29T00:00:00Z",
            "2013-13-01T00:00:00Z",
            "2013-00-01T00:00:00Z",
            "2013-01-00T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2013-01-01T05:15:00.Z",
            "2013-01-01T05:15:00+5",
            "2013-01-01T05:15:00+24:00",
            "2013-01-01T05:15:00Z ",
            "2013-01-01_05:15:00Z",
            "2013-01-0é5:15:00Z",
            "+2013-01-01T05:15:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn timestamps_round_trip(ms in TIMESTAMP_MS) {
            let time = civil::date(1970, 1, 1).at(0, 0, 0, 0)
                + jiff::SignedDuration::from_millis(ms);
            prop_assert_eq!(utc_ms(&format!("{time:.3}")), Some(ms));
            prop_assert_eq!(utc_ms(&format!("{time:.3}Z").replace('T', " ")), Some(ms));
        }

        #[test]
        fn any_text_is_answered(text in "[0-9TZ:. +-]{0,30}|.{0,30}") {
            let _ = read(&text);
            let _ = date_days(&text);
        }
    }
}
