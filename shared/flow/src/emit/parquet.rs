//! Result rows as a Parquet file: zstd, row groups of bounded size.
//!
//! The same rows in the same batches give the same bytes, as long as the version of Parquet's
//! library is the same.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// A row group is written when it holds this many bytes, so that memory stays bounded.
const ROW_GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Whether a file can hold these columns. Tries a row of nulls: some types are only refused when they
/// are written.
///
/// # Errors
/// Columns of a type that Parquet cannot hold.
pub fn check(schema: &SchemaRef) -> Result<(), ParquetError> {
    let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
    let schema = Arc::new(Schema::new(schema.fields().iter().map(nullable).collect::<Vec<_>>()));
    let nulls = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1));
    let row = RecordBatch::try_new(Arc::clone(&schema), nulls.collect())?;
    let mut writer = Writer::new(Vec::new(), schema)?;
    writer.write(&row)?;
    writer.finish().map(drop)
}

/// Writes batches of one schema.
pub struct Writer<W: Write + Send> {
    schema: SchemaRef,
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> Writer<W> {
    /// A writer to `out`.
    ///
    /// # Errors
    /// Columns of a type that Parquet cannot hold; `out` fails.
    pub fn new(out: W, schema: SchemaRef) -> Result<Writer<W>, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .build();
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
        Ok(Writer { schema, writer })
    }

    /// Adds the rows of a batch. Its columns have the schema's types; names and whether they may
    /// be null are the schema's.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let columns = batch.columns().to_vec();
        self.writer.write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES_MAX {
            self.writer.flush()?;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(self) -> Result<W, ParquetError> {
        self.writer.into_inner()
    }
}
