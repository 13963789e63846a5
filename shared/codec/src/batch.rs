//! Rows: an Arrow IPC record batch message without the schema message before it.
//!
//! The schema is known to the reader: the fingerprint of the query that wrote the rows covers it.
//!
//! # Invariants
//! 1. What a batch does not show is not written: a slice costs what its rows cost, and view
//!    columns are compacted.
//! 2. Decoding checks the message against the schema (`layout`) before Arrow touches the body,
//!    because Arrow's reader panics on buffers that lie outside the body. Arrow then validates
//!    offsets, UTF-8 and null counts.
//!
//! Not here: compression and checksums (`item`), which column means what (`plan`).

mod compact;
mod layout;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    buffer::Buffer,
    datatypes::{DataType, Field, SchemaRef},
    error::ArrowError,
    ipc::{
        MetadataVersion,
        convert::MessageBuffer,
        reader::RecordBatchDecoder,
        writer::{
            DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
        },
    },
};

use crate::CodecError;

const WHAT: &str = "record batch";
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Alignment of buffers in the body: the widest native type (views and 128-bit decimals).
const ALIGNMENT: usize = 16;

/// The bytes of a batch, without its schema. A column of a type that is never stored
/// (dictionaries, unions, run ends, list views) is an error.
pub fn encode_batch(batch: &RecordBatch) -> Result<Vec<u8>, CodecError> {
    for field in batch.schema_ref().fields() {
        refuse_unsupported(field.name(), field.data_type())?;
    }
    let broken = |error: ArrowError| CodecError::malformed(WHAT, error);
    let columns: Vec<ArrayRef> =
        batch.columns().iter().map(compact::compact).collect::<Result<_, _>>().map_err(broken)?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch =
        RecordBatch::try_new_with_options(batch.schema(), columns, &rows).map_err(broken)?;
    let options =
        IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).map_err(broken)?;
    let (_, message) = IpcDataGenerator::default()
        .encode(
            &batch,
            &mut DictionaryTracker::new(true),
            &options,
            &mut IpcWriteContext::default(),
        )
        .map_err(broken)?;
    let mut bytes = Vec::new();
    write_message(&mut bytes, message, &options).map_err(broken)?;
    Ok(bytes)
}

/// The batch of [`encode_batch`]'s bytes, read by the schema that it was written with.
pub fn decode_batch(schema: &SchemaRef, bytes: &[u8]) -> Result<RecordBatch, CodecError> {
    for field in schema.fields() {
        refuse_unsupported(field.name(), field.data_type())?;
    }
    let (metadata, body) = split(bytes)?;
    let broken = |error: ArrowError| CodecError::malformed(WHAT, error);
    // Copied, so that both are aligned whatever the alignment of `bytes` is.
    let message = MessageBuffer::try_new(Buffer::from(metadata)).map_err(broken)?;
    let message = message.as_ref();
    if message.version() != MetadataVersion::V5 {
        return Err(CodecError::malformed(WHAT, "its metadata is not of version 5"));
    }
    if usize::try_from(message.bodyLength()) != Ok(body.len()) {
        let reason = format!("its body has {} of {} bytes", body.len(), message.bodyLength());
        return Err(CodecError::malformed(WHAT, reason));
    }
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| CodecError::malformed(WHAT, "its message is not a record batch"))?;
    layout::check(schema, &batch, body)?;
    let body = Buffer::from(body);
    RecordBatchDecoder::try_new(
        &body,
        batch,
        Arc::clone(schema),
        &no_dictionaries(),
        &MetadataVersion::V5,
    )
    .and_then(RecordBatchDecoder::read_record_batch)
    .map_err(broken)
}

#[allow(clippy::disallowed_types, reason = "arrow's signature asks for one; it stays empty")]
fn no_dictionaries() -> std::collections::HashMap<i64, ArrayRef> {
    BTreeMap::new().into_iter().collect()
}

/// Metadata and body of an encapsulated message.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), CodecError> {
    let short = |needed: usize| CodecError::Truncated {
        what: WHAT,
        needed: needed as u64,
        found: bytes.len() as u64,
    };
    let (continuation, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| short(8))?;
    if *continuation != CONTINUATION {
        return Err(CodecError::malformed(WHAT, "it does not begin with a message"));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| short(8))?;
    let length = u32::from_le_bytes(*length) as usize;
    rest.split_at_checked(length).ok_or_else(|| short(length.saturating_add(8)))
}

fn refuse_unsupported(column: &str, data_type: &DataType) -> Result<(), CodecError> {
    let inside = |field: &Field| refuse_unsupported(column, field.data_type());
    match data_type {
        DataType::Dictionary(..)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => Err(CodecError::Unsupported {
            column: column.to_string(),
            data_type: data_type.to_string(),
        }),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => inside(field),
        DataType::Struct(fields) => fields.iter().try_for_each(|field| inside(field)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
