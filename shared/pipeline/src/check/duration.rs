//! Durations: "250ms", "3s", "1h 30m", "7d".

use crate::error::{PipelineError, code};
use crate::raw::Field;

/// Longest duration, milliseconds: a hundred years, so that no sum of a time and some durations
/// overflows.
pub(super) const DURATION_MAX_MS: i64 = 36_525 * 24 * 3600 * 1000;

/// From the largest, as they must stand in a text.
const UNITS: [(&str, i64); 5] =
    [("d", 24 * 3600 * 1000), ("h", 3600 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// How long a duration must be, and what it is when it is absent; milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) least_ms: i64,
    pub(super) default_ms: i64,
}

/// What keeps a text from being a duration.
#[derive(Debug, PartialEq)]
enum Fault {
    Negative,
    NoUnit,
    UnknownUnit(String),
    TooLong,
    Malformed,
}

/// The duration in milliseconds. `what` names it: "`grace` of query `views`".
pub(super) fn check(
    field: &Field<String>,
    what: &str,
    bounds: Bounds,
    errors: &mut Vec<PipelineError>,
) -> i64 {
    let Some(given) = field.given() else { return bounds.default_ms };
    let text = given.value.trim();
    let error = match parse(text) {
        Ok(ms) if ms >= bounds.least_ms => return ms,
        Ok(_) => {
            let least = spell(bounds.least_ms);
            let default = spell(bounds.default_ms);
            PipelineError::new(code::DURATION_BOUNDS, format!("{what} must be at least {least}"))
                .at(given.at.clone(), "too short")
                .help(format!("make it longer, or leave it out: it is \"{default}\" then"))
        }
        Err(Fault::TooLong) => {
            let longest = spell(DURATION_MAX_MS);
            PipelineError::new(code::DURATION_BOUNDS, format!("{what} is longer than {longest}"))
                .at(given.at.clone(), "too long")
                .help("make it shorter")
        }
        Err(fault) => {
            let (problem, label, help) = explain(&fault, text);
            PipelineError::new(code::BAD_DURATION, format!("{what} {problem}"))
                .at(given.at.clone(), label)
                .help(help)
        }
    };
    errors.push(error);
    bounds.default_ms
}

fn explain(fault: &Fault, text: &str) -> (String, &'static str, String) {
    let form = "write whole numbers with their units (d, h, m, s, ms), such as \"1h 30m\"";
    match fault {
        Fault::Negative => {
            ("is negative".to_owned(), "negative", "a duration is \"0s\" or longer".to_owned())
        }
        Fault::NoUnit => (
            "has no unit".to_owned(),
            "seconds? milliseconds?",
            format!("write \"{text}s\" or \"{text}ms\""),
        ),
        Fault::UnknownUnit(unit) => {
            (format!("has the unit `{unit}`, which is unknown"), "unknown unit", form.to_owned())
        }
        Fault::TooLong | Fault::Malformed => {
            (format!("is no duration: `{text}`"), "not a duration", form.to_owned())
        }
    }
}

fn parse(text: &str) -> Result<i64, Fault> {
    if text.starts_with('-') {
        return Err(Fault::Negative);
    }
    if text.is_empty() {
        return Err(Fault::Malformed);
    }
    let mut total_ms: i64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return Err(Fault::Malformed);
        }
        if unit.is_empty() {
            let is_whole_text = after.is_empty() && total_ms == 0;
            return Err(if is_whole_text { Fault::NoUnit } else { Fault::Malformed });
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(Fault::UnknownUnit(unit.to_owned()));
        }
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or(Fault::Malformed)?;
        let number: i64 = number.parse().map_err(|_| Fault::TooLong)?;
        total_ms = number
            .checked_mul(*unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .filter(|ms| *ms <= DURATION_MAX_MS)
            .ok_or(Fault::TooLong)?;
        rest = after.trim_start();
    }
    Ok(total_ms)
}

/// A duration as a user writes it.
fn spell(ms: i64) -> String {
    let (name, unit_ms) = UNITS
        .iter()
        .find(|(_, unit_ms)| ms >= *unit_ms && ms % unit_ms == 0)
        .unwrap_or(&("s", 1000));
    format!("{}{name}", ms / unit_ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("3s", 3_000),
            ("1m", 60_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("10 s", 10_000),
            ("7d", 604_800_000),
            ("1d 2h 3m 4s 5ms", 93_784_005),
            ("36525d", DURATION_MAX_MS),
        ] {
            assert_eq!(parse(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let unit = |unit: &str| Fault::UnknownUnit(unit.to_owned());
        for (text, fault) in [
            ("", Fault::Malformed),
            ("-5s", Fault::Negative),
            ("5", Fault::NoUnit),
            ("5w", unit("w")),
            ("5 sec", unit("sec")),
            ("5µs", unit("µs")),
            ("1.5s", Fault::Malformed),
            ("s", Fault::Malformed),
            ("1m 5", Fault::Malformed),
            ("30m 1h", Fault::Malformed),
            ("1s 1s", Fault::Malformed),
            ("PT1H", Fault::Malformed),
            ("36525d 1ms", Fault::TooLong),
            ("99999999999999999999s", Fault::TooLong),
            ("9223372036854775807d", Fault::TooLong),
        ] {
            assert_eq!(parse(text), Err(fault), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_spelt_duration_reads_back(ms in 0..=DURATION_MAX_MS) {
            prop_assert_eq!(parse(&spell(ms)), Ok(ms));
        }

        #[test]
        fn no_text_panics(text in "[-0-9dhms. µ]{0,12}") {
            if let Ok(ms) = parse(&text) {
                prop_assert!((0..=DURATION_MAX_MS).contains(&ms));
            }
        }
    }
}
