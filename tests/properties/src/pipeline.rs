//! The pipeline that queries are tried in: two streams and three static tables.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow::array::{Float64Array, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use tidemill_pipeline::{Pipeline, parse};
use tidemill_plan::{PipelinePlan, PlanErrors, plan};

use crate::event::COLUMNS;

/// `names(k, name, weight)`, CSV. Key `b` has two rows, key `z` no event.
pub const NAMES_CSV: &str = "k,name,weight\na,Anna,1\nb,Bert,2\nb,Bela,4\nz,Zoe,9\n";
/// `ranks(i, label)`, JSON lines.
pub const RANKS_JSON: &str =
    "{\"i\":1,\"label\":\"one\"}\n{\"i\":2,\"label\":\"two\"}\n{\"i\":3,\"label\":null}\n";

/// `bounds(g, low, high)`, Parquet.
pub fn bounds() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("g", DataType::Int32, true),
        Field::new("low", DataType::Float64, true),
        Field::new("high", DataType::Float64, true),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int32Array::from(vec![0, 1, 2])),
            Arc::new(Float64Array::from(vec![-10.0, 0.0, 2.5])),
            Arc::new(Float64Array::from(vec![0.0, 2.5, 1000.0])),
        ],
    )
    .unwrap()
}

/// The folder of the static tables' files.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("names.csv"), NAMES_CSV).unwrap();
            std::fs::write(folder.path().join("ranks.jsonl"), RANKS_JSON).unwrap();
            let file = std::fs::File::create(folder.path().join("bounds.parquet")).unwrap();
            let bounds = bounds();
            let mut writer = ArrowWriter::try_new(file, bounds.schema(), None).unwrap();
            writer.write(&bounds).unwrap();
            writer.close().unwrap();
            folder
        })
        .path()
}

/// A query of the pipeline.
#[derive(Debug, Clone)]
pub struct QueryText {
    /// Its name.
    pub name: String,
    /// Its SQL.
    pub sql: String,
    /// Milliseconds.
    pub grace: i64,
}

/// The pipeline file with these queries.
pub fn text(queries: &[QueryText]) -> String {
    let mut text = "name = \"properties\"\n".to_string();
    for stream in ["events", "others"] {
        text += &format!(
            "\n[streams.{stream}]\nformat = \"json\"\ncolumns = {COLUMNS}\nevent_time = \"ts\"\n"
        );
    }
    for file in ["names.csv", "ranks.jsonl", "bounds.parquet"] {
        let name = file.split('.').next().unwrap();
        text += &format!("\n[tables.{name}]\nfile = \"{file}\"\n");
    }
    for query in queries {
        text += &format!(
            "\n[queries.{}]\ngrace = \"{}ms\"\nsql = '''\n{}'''\n",
            query.name, query.grace, query.sql
        );
    }
    text
}

/// The checked pipeline of a pipeline file.
pub fn checked(text: &str) -> Pipeline {
    parse("pipeline.toml", text, folder(), &|_| None)
        .unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)))
}

/// The plan of these queries, or why they are refused.
pub fn try_plan(queries: &[QueryText]) -> Result<(Pipeline, PipelinePlan), PlanErrors> {
    let pipeline = checked(&text(queries));
    let plan = plan(&pipeline)?;
    Ok((pipeline, plan))
}

/// The plan of these queries.
pub fn planned(queries: &[QueryText]) -> (Pipeline, PipelinePlan) {
    try_plan(queries).unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)))
}
