//! `[tables.NAME]`: static lookup tables.

use std::path::{Path, PathBuf};

use super::{choose, column, required};
use crate::error::{PipelineError, code};
use crate::raw::section::Kind;
use crate::raw::{Given, Named, RawTable};
use crate::{Table, TableFormat};

const FORMATS: [(&str, TableFormat); 3] = [
    ("csv", TableFormat::Csv),
    ("json", TableFormat::JsonLines),
    ("parquet", TableFormat::Parquet),
];

pub(super) fn check(
    raw: &Named<RawTable>,
    base_dir: &Path,
    errors: &mut Vec<PipelineError>,
) -> Table {
    let name = &raw.name;
    let owner = format!("table `{name}`");
    let table = &raw.value;
    let help = "write `file = \"NAME.csv\"`, relative to the pipeline file's folder";
    let file = required(&table.file, "file", &owner, raw.at.clone(), help, errors);
    let path = file.map(|given| find_file(given, &owner, base_dir, errors)).unwrap_or_default();

    let format = match table.format.given() {
        Some(given) => choose(given, &format!("`format` of {owner}"), &FORMATS, errors),
        None => file.filter(|file| !file.value.is_empty()).and_then(|file| {
            let format = format_of(&file.value);
            if format.is_none() {
                let message =
                    format!("the format of {owner} cannot be told from the file's name");
                errors.push(
                    PipelineError::new(code::TABLE_FORMAT, message)
                        .at(file.at.clone(), "not .csv, .jsonl, .ndjson, .json or .parquet")
                        .help("say it: `format = \"csv\"`, `\"json\"` (one object a line) or `\"parquet\"`"),
                );
            }
            format
        }),
    }
    .unwrap_or(TableFormat::Csv);

    let nests = format == TableFormat::JsonLines;
    let columns = table.columns.given().map(|given| {
        column::check(given, &column::Owner { kind: Kind::Table, name, nests }, errors)
    });
    Table {
        name: name.clone(),
        path,
        format,
        columns,
        span: file.map(|given| given.at.clone()).unwrap_or_default(),
    }
}

fn format_of(file: &str) -> Option<TableFormat> {
    let extension = Path::new(file).extension()?.to_str()?.to_lowercase();
    match extension.as_str() {
        "csv" => Some(TableFormat::Csv),
        "json" | "jsonl" | "ndjson" => Some(TableFormat::JsonLines),
        "parquet" => Some(TableFormat::Parquet),
        _ => None,
    }
}

fn find_file(
    file: &Given<String>,
    owner: &str,
    base_dir: &Path,
    errors: &mut Vec<PipelineError>,
) -> PathBuf {
    let joined = base_dir.join(&file.value);
    let path = std::path::absolute(&joined).unwrap_or(joined);
    let looked_for = format!(
        "the path is relative to the pipeline file's folder; looked for `{}`",
        path.display()
    );
    let problem = match std::fs::metadata(&path) {
        Ok(found) if found.is_file() && !file.value.is_empty() => return path,
        Ok(_) => "is no file".to_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(e) => format!("cannot be read: {e}"),
    };
    errors.push(
        PipelineError::new(code::TABLE_FILE, format!("the file of {owner} {problem}"))
            .at(file.at.clone(), "not found")
            .help(looked_for),
    );
    path
}
