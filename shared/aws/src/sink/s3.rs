//! Results as S3 objects: one an epoch and query, `{prefix}{query}/{epoch}.jsonl` or `.parquet`;
//! dead letters `{prefix}dead_letters/{epoch}.jsonl`. Epochs have 20 digits, so that names sort.
//!
//! Every row has its `result_id`, before its columns.
//!
//! # Invariants
//! 1. A replay writes the same bytes under the same name (Parquet: as long as the program is the
//!    same), so that an object is there once, whole or not at all.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use tidemill_flow::emit::parquet::{Writer, check as can_be_parquet};
use tidemill_flow::emit::{json, result_id};
use tidemill_flow::ports::{Emission, QueryResults, Sink, SinkError, Taken};
use tidemill_model::Epoch;
use tidemill_pipeline::FileFormat;

use super::failure::{Place, checked};
use super::rows::Queries;
use crate::{Aws, Fault};

pub(super) const RESULT_ID: &str = "result_id";
const JSON_LINES: &str = "application/x-ndjson";
const PARQUET: &str = "application/vnd.apache.parquet";

/// The sink.
pub(super) struct S3Sink {
    client: Client,
    bucket: String,
    prefix: String,
    format: FileFormat,
    place: Place,
    queries: Queries,
}

impl S3Sink {
    pub(super) fn new(
        aws: &Aws,
        sink: &str,
        bucket: &str,
        prefix: &str,
        format: FileFormat,
        queries: Queries,
    ) -> S3Sink {
        let place = Place {
            sink: sink.to_string(),
            what: format!("bucket `{bucket}`"),
            action: "s3:PutObject",
        };
        // Emulators have one name for all buckets.
        let is_emulated = aws.sdk().endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(aws.sdk()).force_path_style(is_emulated);
        let client = Client::from_conf(config.build());
        let (bucket, prefix) = (bucket.to_string(), prefix.to_string());
        S3Sink { client, bucket, prefix, format, place, queries }
    }

    /// Whether the bucket is there, and its format can hold the queries' columns.
    pub(super) async fn check(&self) -> Vec<Fault> {
        let answer = self.client.head_bucket().bucket(&self.bucket).send().await;
        let mut faults: Vec<Fault> = checked(&self.place, answer, |_| None).into_iter().collect();
        if self.format == FileFormat::Parquet {
            for query in self.queries.values() {
                if let Err(error) = can_be_parquet(&query.schema) {
                    let (query, sink) = (&query.name, &self.place.sink);
                    faults.push(Fault::new(
                        format!("sink `{sink}` cannot hold query `{query}` as Parquet: {error}"),
                        format!(
                            "write `format = \"json\"` under [sinks.{sink}], or cast the column"
                        ),
                    ));
                }
            }
        }
        faults
    }

    async fn put(
        &self,
        folder: &str,
        epoch: Epoch,
        format: FileFormat,
        bytes: Vec<u8>,
    ) -> Result<(), SinkError> {
        let (ending, content_type) = match format {
            FileFormat::JsonLines => ("jsonl", JSON_LINES),
            FileFormat::Parquet => ("parquet", PARQUET),
        };
        let key = format!("{}{folder}/{}.{ending}", self.prefix, epoch.to_key());
        let request = self.client.put_object().bucket(&self.bucket).key(key);
        let request = request.content_type(content_type).body(ByteStream::from(bytes));
        request.send().await.map_err(|error| self.place.failed(&error))?;
        Ok(())
    }
}

#[async_trait]
impl Sink for S3Sink {
    async fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        for results in &emission.results {
            let bytes = match self.format {
                FileFormat::JsonLines => json_lines(results, emission.epoch),
                FileFormat::Parquet => parquet(results, emission.epoch),
            };
            let bytes = bytes.map_err(|reason| self.place.down(reason))?;
            self.put(&results.query, emission.epoch, self.format, bytes).await?;
        }
        let mut lines = Vec::new();
        emission.letters().for_each(|letter| letter.write(&mut lines));
        if !lines.is_empty() {
            self.put("dead_letters", emission.epoch, FileFormat::JsonLines, lines).await?;
        }
        Ok(Taken::default())
    }
}

fn json_lines(results: &QueryResults, epoch: Epoch) -> Result<Vec<u8>, String> {
    let rows = json::RowWriter::new(&results.batch).map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    for row in 0..results.batch.num_rows() {
        let id = result_id(&results.query, epoch, row);
        rows.write_tagged(&[(RESULT_ID, &id)], row, &mut lines);
    }
    Ok(lines)
}

fn parquet(results: &QueryResults, epoch: Epoch) -> Result<Vec<u8>, String> {
    let rows = 0..results.batch.num_rows();
    let ids = StringArray::from_iter_values(rows.map(|row| result_id(&results.query, epoch, row)));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ids)];
    columns.extend(results.batch.columns().iter().cloned());
    let schema = with_id(results.batch.schema_ref());
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
    let batch = batch.map_err(|error| error.to_string())?;
    Writer::new(Vec::new(), schema)
        .and_then(|mut writer| writer.write(&batch).map(|()| writer))
        .and_then(Writer::finish)
        .map_err(|error| error.to_string())
}

/// The rows' schema with their id before it.
fn with_id(schema: &SchemaRef) -> SchemaRef {
    let id = Arc::new(Field::new(RESULT_ID, DataType::Utf8, false));
    let fields = schema.fields().iter().cloned();
    Arc::new(Schema::new(std::iter::once(id).chain(fields).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests;
