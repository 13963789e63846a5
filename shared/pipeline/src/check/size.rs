//! Sizes: "512MiB", "2GiB".

use tidemill_model::limits::STATE_BYTES_LIMIT;

use crate::error::{PipelineError, code};
use crate::raw::Field;

const UNITS: [(&str, u64); 2] = [("GiB", 1 << 30), ("MiB", 1 << 20)];
/// Least open state that can be allowed: less is used up by a few queries at work.
const LEAST_BYTES: u64 = 1 << 20;

/// The size in bytes; `None` when the file does not give one. `what` names it.
pub(super) fn check(
    field: &Field<String>,
    what: &str,
    errors: &mut Vec<PipelineError>,
) -> Option<u64> {
    let given = field.given()?;
    let bytes = parse(given.value.trim());
    if let Some(bytes) = bytes.filter(|bytes| (LEAST_BYTES..=STATE_BYTES_LIMIT).contains(bytes)) {
        return Some(bytes);
    }
    let most = STATE_BYTES_LIMIT >> 30;
    errors.push(
        PipelineError::new(code::BAD_SIZE, format!("{what} is no size from 1MiB to {most}GiB"))
            .at(given.at.clone(), "not a size")
            .help("write a whole number with its unit, such as \"512MiB\" or \"2GiB\""),
    );
    None
}

fn parse(text: &str) -> Option<u64> {
    let (name, unit) = UNITS.iter().find(|(name, _)| text.ends_with(name))?;
    let number = text.strip_suffix(name)?.trim_end();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(*unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("1MiB", Some(1 << 20)),
            ("512 MiB", Some(512 << 20)),
            ("2GiB", Some(2 << 30)),
            ("2GB", None),
            ("2", None),
            ("MiB", None),
            ("-1MiB", None),
            ("+1MiB", None),
            ("1.5GiB", None),
            ("99999999999999999999GiB", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }
}
