//! Snapshots: one stream of bytes, cut into chunks that each fit an item (kind 5).
//!
//! ```text
//! stream  = zstd( part part part … )
//! part    = postcard(query, stage, rows, bytes of the batch), batch (`batch.rs`)
//! chunk i = item( postcard(i, chunks, stream bytes, CRC-32C of the stream), piece of the stream )
//! ```
//!
//! # Invariants
//! 1. Each chunk is at most `limits::SNAPSHOT_CHUNK_BYTES_MAX` long, however long a row is.
//! 2. Chunks of two snapshots do not make a third: every chunk carries the whole stream's
//!    checksum.
//! 3. An empty state has one chunk.
//!
//! Not here: where chunks are stored and which snapshot is the newest (`flow`).

use std::io::{BufReader, Read, Write};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use serde::{Deserialize, Serialize};
use tidemill_model::{Fingerprint, limits::SNAPSHOT_CHUNK_BYTES_MAX};

use crate::{
    CodecError, decode_batch, encode_batch,
    item::{self, Kind},
};

/// The schema of a part's batch by query and stage; `None` for a query that is not known.
pub type SchemaOf<'a> = dyn Fn(Fingerprint, u16) -> Option<SchemaRef> + 'a;

const WHAT: &str = "snapshot";
const ZSTD_LEVEL: i32 = 1;
/// Bytes of a piece: a chunk less its frame and the numbers before the piece.
const PIECE_BYTES_MAX: usize = SNAPSHOT_CHUNK_BYTES_MAX - item::HEADER_BYTES - 64;
/// Bytes of an encoded part header at most: 128, 16, 64 and 64 bits as varints.
const PART_HEADER_BYTES_MAX: u16 = 19 + 3 + 10 + 10;

/// What stands before a chunk's piece.
#[derive(Serialize, Deserialize)]
struct ChunkHeader {
    number: u32,
    chunks: u32,
    stream_bytes: u64,
    stream_checksum: u32,
}

/// What stands before a part's batch.
#[derive(Serialize, Deserialize)]
struct PartHeader {
    query: Fingerprint,
    stage: u16,
    rows: u64,
    batch_bytes: u64,
}

/// The chunks of a snapshot of `parts`, in order. A column that cannot be stored is an error.
pub fn encode_snapshot(
    parts: &[(Fingerprint, u16, RecordBatch)],
) -> Result<Vec<Vec<u8>>, CodecError> {
    let broken = |error: std::io::Error| CodecError::malformed(WHAT, error);
    let mut stream = zstd::stream::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(broken)?;
    for (query, stage, batch) in parts {
        let bytes = encode_batch(batch)?;
        let header = item::to_body(&PartHeader {
            query: *query,
            stage: *stage,
            rows: batch.num_rows() as u64,
            batch_bytes: bytes.len() as u64,
        });
        let header_bytes = header.len() as u16;
        debug_assert!(header_bytes <= PART_HEADER_BYTES_MAX);
        stream.write_all(&header_bytes.to_le_bytes()).map_err(broken)?;
        stream.write_all(&header).map_err(broken)?;
        stream.write_all(&bytes).map_err(broken)?;
    }
    let stream = stream.finish().map_err(broken)?;
    let pieces: Vec<&[u8]> = stream.chunks(PIECE_BYTES_MAX).collect();
    let chunks = u32::try_from(pieces.len()).map_err(|_| CodecError::TooLarge {
        what: WHAT,
        bytes: stream.len() as u64,
        bound: u64::from(u32::MAX) * PIECE_BYTES_MAX as u64,
    })?;
    let stream_checksum = crc32c::crc32c(&stream);
    let chunk = |(number, piece)| {
        let stream_bytes = stream.len() as u64;
        let mut body =
            item::to_body(&ChunkHeader { number, chunks, stream_bytes, stream_checksum });
        body.extend_from_slice(piece);
        let chunk = item::seal_stored(Kind::SnapshotChunk, &body);
        debug_assert!(chunk.len() <= SNAPSHOT_CHUNK_BYTES_MAX);
        chunk
    };
    Ok((0..chunks).zip(pieces).map(chunk).collect())
}

/// The parts of [`encode_snapshot`]'s chunks, all of them and in order.
pub fn decode_snapshot<C: AsRef<[u8]>>(
    chunks: &[C],
    schema_of: &SchemaOf<'_>,
) -> Result<Vec<(Fingerprint, u16, RecordBatch)>, CodecError> {
    let stream = join(chunks)?;
    let broken = |error: std::io::Error| CodecError::malformed(WHAT, error);
    let decoder = zstd::stream::Decoder::with_buffer(&stream[..]).map_err(broken)?.single_frame();
    let mut reader = BufReader::new(decoder);
    let mut parts = Vec::new();
    while let Some(header) = next_header(&mut reader)? {
        let PartHeader { query, stage, rows, batch_bytes } = header;
        // Grows as bytes arrive, so a length that lies costs no memory.
        let mut bytes = Vec::new();
        reader.by_ref().take(batch_bytes).read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 != batch_bytes {
            let found = bytes.len() as u64;
            return Err(CodecError::Truncated { what: WHAT, needed: batch_bytes, found });
        }
        let schema = schema_of(query, stage).ok_or(CodecError::UnknownQuery { query, stage })?;
        let batch = decode_batch(&schema, &bytes)?;
        if batch.num_rows() as u64 != rows {
            let reason = format!("a part has {} of {rows} rows", batch.num_rows());
            return Err(CodecError::malformed(WHAT, reason));
        }
        parts.push((query, stage, batch));
    }
    Ok(parts)
}

/// The stream that `chunks` are the pieces of.
fn join<C: AsRef<[u8]>>(chunks: &[C]) -> Result<Vec<u8>, CodecError> {
    let mut stream = Vec::new();
    let mut promised = None;
    for (index, bytes) in chunks.iter().enumerate() {
        let body = item::open(Kind::SnapshotChunk, bytes.as_ref())?;
        let (chunk, piece) = postcard::take_from_bytes::<ChunkHeader>(&body)
            .map_err(|error| CodecError::malformed(Kind::SnapshotChunk.name(), error))?;
        let whole = (chunk.chunks, chunk.stream_bytes, chunk.stream_checksum);
        let (number, of) = (chunk.number, chunk.chunks);
        if number as usize != index || of as usize != chunks.len() {
            let reason = format!("chunk {number} of {of} at {index} of {}", chunks.len());
            return Err(CodecError::malformed(WHAT, reason));
        }
        if *promised.get_or_insert(whole) != whole {
            let reason = format!("chunk {number} is another snapshot's");
            return Err(CodecError::malformed(WHAT, reason));
        }
        stream.extend_from_slice(piece);
    }
    let Some((_, needed, stored)) = promised else {
        return Err(CodecError::Truncated { what: WHAT, needed: 1, found: 0 });
    };
    if stream.len() as u64 != needed {
        return Err(CodecError::Truncated { what: WHAT, needed, found: stream.len() as u64 });
    }
    let computed = crc32c::crc32c(&stream);
    if computed != stored {
        return Err(CodecError::Checksum { what: WHAT, stored, computed });
    }
    Ok(stream)
}

/// The next part's header; `None` at the end of the stream.
fn next_header(reader: &mut impl Read) -> Result<Option<PartHeader>, CodecError> {
    let broken = |error: std::io::Error| CodecError::malformed(WHAT, error);
    let mut length = Vec::new();
    reader.by_ref().take(2).read_to_end(&mut length).map_err(broken)?;
    let length = match length[..] {
        [] => return Ok(None),
        [low, high] => u16::from_le_bytes([low, high]),
        _ => return Err(CodecError::malformed(WHAT, "it ends inside a part's header")),
    };
    if length > PART_HEADER_BYTES_MAX {
        let reason = format!("a part's header claims {length} bytes");
        return Err(CodecError::malformed(WHAT, reason));
    }
    let mut header = vec![0; usize::from(length)];
    reader.read_exact(&mut header).map_err(broken)?;
    item::from_body(WHAT, &header).map(Some)
}

#[cfg(test)]
mod tests;
