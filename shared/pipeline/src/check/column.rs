//! Columns of streams and tables, and their types.

use std::collections::BTreeMap;

use tidemill_model::ColumnType;

use super::nearest::{nearest, one_of};
use super::{path, required, time_text};
use crate::error::{PipelineError, code};
use crate::raw::section::Kind;
use crate::raw::{Given, Named, RawColumn};
use crate::{Column, PathStep};

/// Columns that SQL sees beside those of a stream.
const STREAM_COLUMNS_RESERVED: &[&str] = &["arrival_time", "window_start", "window_end"];

const TYPES: &[(&str, ColumnType)] = &[
    ("boolean", ColumnType::Boolean),
    ("int", ColumnType::Int32),
    ("bigint", ColumnType::Int64),
    ("float", ColumnType::Float32),
    ("double", ColumnType::Float64),
    ("string", ColumnType::String),
    ("timestamp_s", ColumnType::TimestampS),
    ("timestamp_ms", ColumnType::TimestampMs),
    ("timestamp_us", ColumnType::TimestampUs),
    ("timestamp_ns", ColumnType::TimestampNs),
    ("timestamp", ColumnType::TimestampText),
    ("date", ColumnType::Date),
];

/// What other systems call our types.
const SYNONYMS: &[(&str, &str)] = &[
    ("bool", "boolean"),
    ("integer", "int"),
    ("int32", "int"),
    ("smallint", "int"),
    ("tinyint", "int"),
    ("long", "bigint"),
    ("int64", "bigint"),
    ("real", "float"),
    ("float32", "float"),
    ("float64", "double"),
    ("number", "double"),
    ("text", "string"),
    ("varchar", "string"),
    ("char", "string"),
    ("str", "string"),
    ("utf8", "string"),
    ("datetime", "timestamp"),
    ("timestamp_seconds", "timestamp_s"),
    ("timestamp_millis", "timestamp_ms"),
    ("timestamp_micros", "timestamp_us"),
    ("timestamp_nanos", "timestamp_ns"),
    ("timestamptz", "timestamp"),
];

/// What the columns belong to.
pub(super) struct Owner<'a> {
    /// A stream or a table.
    pub(super) kind: Kind,
    /// Its name.
    pub(super) name: &'a str,
    /// Whether `path` leads into a nested record.
    pub(super) nests: bool,
}

impl Owner<'_> {
    /// The `path` to the member of this name.
    fn path_to(&self, name: &str) -> String {
        if self.nests { path::to_member(name) } else { name.to_owned() }
    }
}

/// The columns, in the file's order.
pub(super) fn check(
    columns: &Given<Vec<Named<RawColumn>>>,
    owner: &Owner<'_>,
    errors: &mut Vec<PipelineError>,
) -> Vec<Column> {
    let of = format!("{} `{}`", owner.kind.singular(), owner.name);
    if columns.value.is_empty() {
        errors.push(
            PipelineError::new(code::MISSING_KEY, format!("{of} has no columns"))
                .at(columns.at.clone(), "empty")
                .help("name at least one: `columns = { NAME = \"TYPE\", … }`"),
        );
    }
    let mut seen: BTreeMap<String, &Named<RawColumn>> = BTreeMap::new();
    for column in &columns.value {
        check_name(column, owner, &of, errors);
        if let Some(first) = seen.insert(column.name.to_lowercase(), column) {
            let message = format!("{of} has the columns `{}` and `{}`", first.name, column.name);
            errors.push(
                PipelineError::new(code::DUPLICATE_NAME, message)
                    .at(column.at.clone(), "the same name")
                    .at(first.at.clone(), "taken here")
                    .help(format!(
                        "upper and lower case do not tell columns apart; rename one, and say \
                         where it is: `NAME = {{ type = \"…\", path = \"{}\" }}`",
                        owner.path_to(&column.name)
                    )),
            );
        }
    }
    columns
        .value
        .iter()
        .map(|column| {
            let faults = errors.len();
            let data_type = data_type(column, &of, errors);
            let readable = errors.len() == faults && column.value.data_type.given().is_some();
            let (format, time_zone) = time_text::check(column, data_type, readable, &of, errors);
            let path = path_of(column, owner, &of, errors);
            Column { name: column.name.clone(), data_type, path, format, time_zone }
        })
        .collect()
}

fn check_name(
    column: &Named<RawColumn>,
    owner: &Owner<'_>,
    of: &str,
    errors: &mut Vec<PipelineError>,
) {
    let name = column.name.as_str();
    let rename = format!(
        "give the column another name and say where it is: `NAME = {{ type = \"…\", path = \"{}\" }}`",
        owner.path_to(name)
    );
    let lower = name.to_lowercase();
    if name.is_empty() || name.chars().any(char::is_control) {
        errors.push(
            PipelineError::new(code::BAD_NAME, format!("a column of {of} has no usable name"))
                .at(column.at.clone(), "not a name")
                .help("use letters, digits and `_`"),
        );
    } else if name.len() > super::name::NAME_BYTES_MAX {
        let most = super::name::NAME_BYTES_MAX;
        errors.push(
            PipelineError::new(
                code::BAD_NAME,
                format!("a column of {of} has a name of more than {most} bytes"),
            )
            .at(column.at.clone(), format!("{} bytes", name.len()))
            .help(rename),
        );
    } else if name.starts_with("__")
        || (owner.kind == Kind::Stream && STREAM_COLUMNS_RESERVED.contains(&lower.as_str()))
    {
        let message = format!("a column of {of} cannot have the name `{name}`");
        errors.push(
            PipelineError::new(code::RESERVED_NAME, message)
                .at(column.at.clone(), "reserved")
                .help(rename),
        );
    }
}

fn data_type(column: &Named<RawColumn>, of: &str, errors: &mut Vec<PipelineError>) -> ColumnType {
    let stand_in = ColumnType::String;
    let owner = format!("column `{}` of {of}", column.name);
    let help = format!(
        "write `{0} = \"TYPE\"`; for a member of a nested record, \
         `{0} = {{ type = \"TYPE\", path = \"outer.inner\" }}`",
        column.name
    );
    let raw = &column.value.data_type;
    let Some(given) = required(raw, "type", &owner, column.at.clone(), &help, errors) else {
        return stand_in;
    };
    match read_type(&given.value) {
        Ok(data_type) => data_type,
        Err(help) => {
            let message = format!("{owner} has the unknown type `{}`", given.value);
            errors.push(
                PipelineError::new(code::UNKNOWN_TYPE, message)
                    .at(given.at.clone(), "unknown type")
                    .help(help),
            );
            stand_in
        }
    }
}

/// The type, or what to write instead.
pub(super) fn read_type(text: &str) -> Result<ColumnType, String> {
    if let Some((_, data_type)) = TYPES.iter().find(|(name, _)| *name == text) {
        return Ok(*data_type);
    }
    let lower = text.to_lowercase();
    let base = lower.split('(').next().unwrap_or_default().trim();
    if base == "decimal" || base == "numeric" {
        return read_decimal(text).ok_or_else(|| {
            "write `decimal(precision, scale)` with a precision of 1 to 38 and a scale from 0 to \
             the precision, such as `decimal(18, 2)`"
                .to_owned()
        });
    }
    let names = TYPES.iter().map(|(name, _)| *name);
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == base).map(|(_, ours)| *ours);
    Err(match synonym.or_else(|| nearest(base, names.clone())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the types are {}", one_of(names.chain(["decimal(p, s)"]))),
    })
}

fn read_decimal(text: &str) -> Option<ColumnType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let precision: u8 = precision.trim().parse().ok()?;
    let scale: i8 = scale.trim().parse().ok()?;
    let fits = (1..=38).contains(&precision) && (0..=precision as i16).contains(&(scale as i16));
    fits.then_some(ColumnType::Decimal { precision, scale })
}

fn path_of(
    column: &Named<RawColumn>,
    owner: &Owner<'_>,
    of: &str,
    errors: &mut Vec<PipelineError>,
) -> Vec<PathStep> {
    let own = |name: &str| vec![PathStep::Member(name.to_owned())];
    let Some(given) = column.value.path.given() else { return own(&column.name) };
    if !owner.nests {
        return own(&given.value);
    }
    path::read(&given.value).unwrap_or_else(|bad| {
        let message = format!("`path` of column `{}` of {of} {}", column.name, bad.what);
        errors.push(
            PipelineError::new(code::BAD_VALUE, message)
                .at(given.at.clone(), bad.label)
                .help(bad.help),
        );
        own(&column.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read() {
        for (name, data_type) in TYPES {
            assert_eq!(read_type(name), Ok(*data_type));
        }
        for (text, precision, scale) in
            [("decimal(18,2)", 18, 2), ("decimal( 38 , 38 )", 38, 38), ("decimal(1, 0)", 1, 0)]
        {
            assert_eq!(read_type(text), Ok(ColumnType::Decimal { precision, scale }), "{text}");
        }
    }

    #[test]
    fn synonyms_are_suggested_and_never_taken() {
        for (other, ours) in SYNONYMS {
            assert_eq!(read_type(other), Err(format!("did you mean `{ours}`?")));
        }
        for text in ["STRING", "varchar(20)", "timestamp(3)", "bigintt", "Timestamp_MS"] {
            assert!(read_type(text).unwrap_err().starts_with("did you mean"), "{text}");
        }
    }

    #[test]
    fn decimals_out_of_bounds_are_refused() {
        for text in [
            "decimal",
            "decimal()",
            "decimal(0,0)",
            "decimal(39,0)",
            "decimal(10,11)",
            "decimal(10,-1)",
            "decimal(10)",
            "decimal(10,2",
            "DECIMAL(10,2)",
            "numeric(10,2)",
            "decimal(300,2)",
            "decimal(10,2,3)",
        ] {
            assert!(read_type(text).unwrap_err().contains("decimal(18, 2)"), "{text}");
        }
    }
}
