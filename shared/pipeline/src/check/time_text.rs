//! `format` and `time_zone` of a `timestamp` column.
//!
//! A format is tried when it is checked: a time is written in it and must be read back, so that what
//! it cannot tell, such as the day or the half of it, shows here and not in every record.
//!
//! Not here: reading records' texts (`records`).

use jiff::civil::date;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use tidemill_model::ColumnType;

use super::nearest::nearest;
use crate::error::{PipelineError, code};
use crate::raw::{Given, Named, RawColumn};

/// Directives that can be read and written.
const DIRECTIVES: &str = "%AaBbDdeFfGgHhIjklMmNnPpRSTtUuVWwYyz";

/// The column's format and time zone, as far as they can be used. `readable` tells whether its type
/// is one: what cannot be read has been reported already.
pub(super) fn check(
    column: &Named<RawColumn>,
    data_type: ColumnType,
    readable: bool,
    of: &str,
    errors: &mut Vec<PipelineError>,
) -> (Option<String>, Option<String>) {
    let owner = format!("column `{}` of {of}", column.name);
    let format = column.value.format.given();
    let time_zone = column.value.time_zone.given();
    if data_type != ColumnType::TimestampText {
        for (key, given) in [("format", format), ("time_zone", time_zone)] {
            if let Some(given) = given.filter(|_| readable) {
                errors.push(
                    PipelineError::new(
                        code::BAD_VALUE,
                        format!("{owner} has a `{key}`, but is no `timestamp`"),
                    )
                    .at(given.at.clone(), "says nothing here")
                    .help(other_type_help(key, data_type)),
                );
            }
        }
        return (None, None);
    }
    let faults = errors.len();
    if let Some(given) = format {
        check_format(given, &owner, errors);
    }
    if let Some(given) = time_zone {
        check_zone(given, &owner, errors);
    }
    let tells_offset =
        |format: &&Given<String>| directives(&format.value).any(|(_, c)| c == Some('z'));
    if let (Some(format), Some(zone)) = (format.filter(tells_offset), time_zone)
        && errors.len() == faults
    {
        errors.push(
            PipelineError::new(
                code::BAD_VALUE,
                format!("{owner} has a `time_zone`, but its texts say their offsets"),
            )
            .at(zone.at.clone(), "says nothing here")
            .at(format.at.clone(), "`%z` is the offset")
            .help("remove `time_zone`: it is for texts without an offset"),
        );
    }
    let text = |given: &Given<String>| given.value.clone();
    (format.map(text), time_zone.map(text))
}

fn other_type_help(key: &str, data_type: ColumnType) -> String {
    match data_type {
        ColumnType::Date => format!(
            "remove it, or declare the column as `timestamp` with this `{key}` and write \
             CAST(… AS DATE) in SQL"
        ),
        _ if data_type.is_timestamp() => {
            "remove it: a number counts from 1970 in UTC, and has no format".to_owned()
        }
        _ => format!("remove it, or declare the column as `timestamp`, which has a `{key}`"),
    }
}

/// The directives of a format: each as it is written, and its letter, if it has one.
fn directives(format: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    let mut rest = format;
    std::iter::from_fn(move || {
        let text = &rest[rest.find('%')?..];
        let is_extension =
            |c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | '^' | '#' | ':' | '.');
        let letter = text[1..].find(|c| !is_extension(c)).map(|at| at + 1);
        let (end, c) = match letter.and_then(|at| Some((at, text[at..].chars().next()?))) {
            Some((at, c)) => (at + c.len_utf8(), Some(c)),
            None => (text.len(), None),
        };
        rest = &text[end..];
        Some((&text[..end], c))
    })
}

fn check_format(given: &Given<String>, owner: &str, errors: &mut Vec<PipelineError>) {
    let mut refuse = |message: String, label: &str, help: String| {
        errors.push(
            PipelineError::new(code::BAD_VALUE, message).at(given.at.clone(), label).help(help),
        );
    };
    let format = given.value.as_str();
    let mut none = true;
    for (written, letter) in directives(format) {
        none = false;
        let known = letter.is_some_and(|c| DIRECTIVES.contains(c) && !written.contains(".%"))
            && (!written.contains(':') || letter == Some('z'))
            && (!written.contains('.') || letter == Some('f'));
        if !known {
            let message = format!("`format` of {owner} has the unknown directive `{written}`");
            return refuse(message, "unknown directive", directive_help(letter));
        }
    }
    if none {
        let message = format!("`format` of {owner} has no directive");
        let help = "write it as for strptime: `%d/%m/%Y %H:%M:%S` is day, month, year, hour, \
                    minute, second";
        return refuse(message, "no `%`", help.to_owned());
    }
    if !tells_a_time(format) {
        let message = format!("`format` of {owner} does not tell a time");
        let help = "it must tell the day, such as by `%Y-%m-%d`, `%F` or `%Y-%j`; with `%I` also \
                    `%p`, and with minutes the hour";
        refuse(message, "not a whole time", help.to_owned());
    }
}

fn directive_help(letter: Option<char>) -> String {
    match letter {
        None => "a directive is `%` and a letter; to mean `%` itself, write `%%`".to_owned(),
        Some('s') => "for seconds since 1970, declare the column as `timestamp_s`, which takes \
                      texts too"
            .to_owned(),
        Some('Z' | 'Q') => "a name of a time zone is not read from the text: write \
                            `time_zone = \"…\"`; `%z` is an offset such as +0200"
            .to_owned(),
        Some('L') => "`%f` is the digits of the fraction, `%.f` the same with its point".to_owned(),
        Some('c' | 'r' | 'X' | 'x') => {
            "write out what it stands for, such as `%d/%m/%Y %H:%M:%S`".to_owned()
        }
        Some(_) => "the directives are those of strptime: `%Y` year, `%m` month, `%d` day, `%H` \
                    hour, `%M` minute, `%S` second, `%f` fraction, `%z` offset, `%b` and `%a` \
                    names of months and days, `%j` day of the year, `%I` with `%p`"
            .to_owned(),
    }
}

/// Whether what is written in this format can be read back.
fn tells_a_time(format: &str) -> bool {
    let sample = date(2003, 11, 25).at(13, 14, 15, 678_000_000);
    let trial = || {
        let offset = Offset::from_seconds(-(3 * 3600 + 1800)).ok()?;
        let zoned = sample.to_zoned(TimeZone::fixed(offset)).ok()?;
        let text = strtime::format(format, &zoned).ok()?;
        let read = BrokenDownTime::parse(format, &text).ok()?;
        let time = read.to_datetime().ok()?;
        let hour = read.hour().is_none_or(|hour| hour == sample.hour());
        Some(time.date() == sample.date() && hour)
    };
    trial().unwrap_or(false)
}

fn check_zone(given: &Given<String>, owner: &str, errors: &mut Vec<PipelineError>) {
    let name = given.value.as_str();
    let zones = TimeZoneDatabase::bundled();
    let unknown = name.eq_ignore_ascii_case("Etc/Unknown");
    if zones.get(name).is_ok() && !unknown {
        return;
    }
    let names: Vec<String> = zones.available().map(|name| name.as_str().to_owned()).collect();
    let help = match nearest(name, names.iter().map(String::as_str)) {
        Some(meant) if !unknown => format!("did you mean `{meant}`?"),
        _ => "write a name of the IANA database, such as `America/New_York`; a fixed offset is \
              `Etc/GMT-2`, whose sign is the other way round: it is two hours ahead of UTC"
            .to_owned(),
    };
    errors.push(
        PipelineError::new(
            code::BAD_VALUE,
            format!("`time_zone` of {owner} is no time zone: `{name}`"),
        )
        .at(given.at.clone(), "unknown time zone")
        .help(help),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_found_with_their_extensions() {
        let found: Vec<_> = directives("a%d%%m %-H:%.3f %:z%é%").collect();
        let expected = [
            ("%d", Some('d')),
            ("%%", Some('%')),
            ("%-H", Some('H')),
            ("%.3f", Some('f')),
            ("%:z", Some('z')),
            ("%é", Some('é')),
            ("%", None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn formats_that_tell_a_time() {
        for format in [
            "%d/%m/%Y %H:%M",
            "%m/%d/%y %I:%M:%S %p",
            "%d/%b/%Y:%H:%M:%S %z",
            "%A, %d. %B %Y, %k:%M",
            "%a %b %e %H:%M:%S %Y",
            "%FT%T%.f%:z",
            "%Y%m%d%H%M%S%f",
            "%Y-%m-%d %H:%M:%S,%3f",
            "%G-W%V-%u",
            "%Y-%j",
            "%D %R",
            "100%% %F",
        ] {
            assert!(tells_a_time(format), "{format}");
        }
        for format in ["%H:%M", "%Y-%m", "%d/%m", "%F %I:%M", "%F :%M", "%F %S", "%G-W%V", "%%"] {
            assert!(!tells_a_time(format), "{format}");
        }
    }
}
