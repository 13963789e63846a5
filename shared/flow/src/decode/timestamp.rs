//! Dates and times as texts: RFC 3339, and the same without an offset, which means UTC.
//!
//! Years 0001 to 9999. Not jiff's parser: its time stamps end a day before year 9999 does.

use std::ops::RangeInclusive;

/// What a timestamp column holds: from the beginning of year 1 to the end of year 9999, in
/// milliseconds since the epoch.
pub(super) const TIMESTAMP_MS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Milliseconds since the epoch of `YYYY-MM-DD HH:MM:SS[.fff][offset]`, where a `T` may stand for
/// the space and the offset is `Z` or `±HH:MM`. Digits past the milliseconds are cut off. A leap
/// second is read as the second before it. The answer may lie an offset outside [`TIMESTAMP_MS`].
pub(super) fn timestamp_ms(text: &str) -> Option<i64> {
    let text = text.as_bytes();
    let (date, text) = text.split_at_checked(10)?;
    let days = days(date)?;
    let [b' ' | b'T' | b't', time @ ..] = text else { return None };
    let (clock, mut rest) = time.split_at_checked(8)?;
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut ms = 0;
    if let [b'.', fraction @ ..] = rest {
        let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let digits = fraction[..count].iter().map(|digit| i64::from(digit - b'0'));
        ms = digits.chain([0, 0]).take(3).fold(0, |ms, digit| ms * 10 + digit);
        rest = &fraction[count..];
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second.min(59));
    Some(i64::from(days) * DAY_MS + (seconds - offset_seconds(rest)?) * 1000 + ms)
}

/// Days since the epoch of `YYYY-MM-DD`.
pub(super) fn date_days(text: &str) -> Option<i32> {
    days(text.as_bytes())
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    match *text {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hour, minute) = (number(&[h1, h2])?, number(&[m1, m2])?);
            let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60;
            let known = hour < 24 && minute < 60;
            known.then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days(text: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let month_days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
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
        ] {
            assert_eq!(timestamp_ms(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp() {
        for text in [
            "",
            "2013",
            "2013-01-01",
            "2013-01-01T",
            "2013-01-01T05:15",
            "2013-01-01T24:00:00Z",
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
            assert_eq!(timestamp_ms(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn timestamps_round_trip(ms in TIMESTAMP_MS) {
            let time = civil::date(1970, 1, 1).at(0, 0, 0, 0)
                + jiff::SignedDuration::from_millis(ms);
            prop_assert_eq!(timestamp_ms(&format!("{time:.3}")), Some(ms));
            prop_assert_eq!(timestamp_ms(&format!("{time:.3}Z").replace('T', " ")), Some(ms));
        }

        #[test]
        fn any_text_is_answered(text in "[0-9TZ:. +-]{0,30}|.{0,30}") {
            let _ = timestamp_ms(&text);
            let _ = date_days(&text);
        }
    }
}
