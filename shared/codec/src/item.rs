//! The frame of every stored item.
//!
//! ```text
//! offset  0  4  magic "tide"
//!         4  1  kind
//!         5  1  format version of that kind
//!         6  1  method: 0 the body as it is, 1 zstd
//!         7  1  0
//!         8  4  bytes of the body once decompressed, little-endian
//!        12  4  bytes that follow the header, little-endian
//!        16  4  CRC-32C of bytes 0 to 16 and of all that follows the header, little-endian
//!        20  …  the body
//! ```
//!
//! # Invariants
//! 1. The checksum is verified before anything is decompressed.
//! 2. A body above [`BODY_BYTES_MAX`] (a segment's: above [`SEGMENT_BODY_BYTES_MAX`]) is stored as it
//!    is, and so never fits an item of any store: whatever was compressed can be decompressed again
//!    within the bound, and no few KiB of a log become many MiB for who reads them.
//!
//! Not here: what the bodies mean.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};
use tidemill_model::limits::{ITEM_BYTES_MAX, SEGMENT_BODY_BYTES_MAX};

use crate::CodecError;

/// Largest body that is decompressed, bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 20;

const _: () = assert!(BODY_BYTES_MAX > ITEM_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX >= SEGMENT_BODY_BYTES_MAX);

const MAGIC: [u8; 4] = *b"tide";
const ZSTD_LEVEL: i32 = 1;
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// What a stored item is. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A segment of a log.
    Segment = 1,
    /// A checkpoint.
    Checkpoint = 2,
    /// An entry of the log registry.
    LogEntry = 3,
    /// The marker that an epoch was emitted.
    Emitted = 4,
    /// A chunk of a snapshot.
    SnapshotChunk = 5,
}

impl Kind {
    const ALL: [Kind; 5] =
        [Kind::Segment, Kind::Checkpoint, Kind::LogEntry, Kind::Emitted, Kind::SnapshotChunk];

    /// The format version that this program writes and reads.
    pub fn version(self) -> u8 {
        match self {
            Kind::Segment => 1,
            Kind::Checkpoint => 1,
            Kind::LogEntry => 1,
            Kind::Emitted => 1,
            Kind::SnapshotChunk => 1,
        }
    }

    /// Largest body that is compressed, bytes.
    fn body_bytes_max(self) -> usize {
        match self {
            Kind::Segment => SEGMENT_BODY_BYTES_MAX,
            Kind::Checkpoint | Kind::LogEntry | Kind::Emitted | Kind::SnapshotChunk => {
                BODY_BYTES_MAX
            }
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Segment => "segment",
            Kind::Checkpoint => "checkpoint",
            Kind::LogEntry => "log entry",
            Kind::Emitted => "emitted marker",
            Kind::SnapshotChunk => "snapshot chunk",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Frames a body, compressed when that makes it smaller.
pub fn seal(kind: Kind, body: &[u8]) -> Vec<u8> {
    if body.len() <= kind.body_bytes_max()
        && let Ok(compressed) = zstd::bulk::compress(body, ZSTD_LEVEL)
        && compressed.len() < body.len()
    {
        return frame(kind, ZSTD, body.len(), &compressed);
    }
    seal_stored(kind, body)
}

/// Frames a body as it is, for what is compressed already.
pub(crate) fn seal_stored(kind: Kind, body: &[u8]) -> Vec<u8> {
    frame(kind, STORED, body.len(), body)
}

fn frame(kind: Kind, method: u8, body_bytes: usize, content: &[u8]) -> Vec<u8> {
    // A length that needs more than 32 bits is written as one that `open` refuses.
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[kind as u8, kind.version(), method, 0]);
    bytes.extend_from_slice(&length(body_bytes));
    bytes.extend_from_slice(&length(content.len()));
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), content);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// The kind of an item, by its header alone.
pub fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let [magic @ .., kind] = bytes.first_chunk::<5>()?;
    Kind::ALL.into_iter().find(|known| *magic == MAGIC && *known as u8 == *kind)
}

/// The body of an item of `kind`, checked and decompressed.
pub fn open(kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let what = kind.name();
    let shown = bytes.len().min(MAGIC.len());
    if bytes[..shown] != MAGIC[..shown] || bytes.is_empty() {
        let first_bytes = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        return Err(CodecError::NotOurs { expected: what, first_bytes });
    }
    let Some((header, content)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        let (needed, found) = (HEADER_BYTES as u64, bytes.len() as u64);
        return Err(CodecError::Truncated { what, needed, found });
    };
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (body_bytes, content_bytes, stored) = (word(8) as usize, word(12) as usize, word(16));
    if content.len() < content_bytes {
        let needed = (HEADER_BYTES + content_bytes) as u64;
        return Err(CodecError::Truncated { what, needed, found: bytes.len() as u64 });
    }
    if content.len() > content_bytes {
        let extra = content.len() - content_bytes;
        return Err(CodecError::malformed(what, format!("{extra} bytes follow its end")));
    }
    let computed = crc32c::crc32c_append(crc32c::crc32c(&header[..16]), content);
    if computed != stored {
        return Err(CodecError::Checksum { what, stored, computed });
    }
    if header[4] != kind as u8 {
        let found = kind_of(bytes).map_or_else(|| format!("kind {}", header[4]), |k| k.to_string());
        return Err(CodecError::Kind { expected: what, found });
    }
    if header[5] != kind.version() {
        return Err(CodecError::Version { what, found: header[5], known: kind.version() });
    }
    if body_bytes > BODY_BYTES_MAX {
        let (bytes, bound) = (body_bytes as u64, BODY_BYTES_MAX as u64);
        return Err(CodecError::TooLarge { what, bytes, bound });
    }
    let body = match header[6] {
        STORED => content.to_vec(),
        ZSTD => zstd::bulk::decompress(content, body_bytes)
            .map_err(|error| CodecError::malformed(what, error))?,
        method => return Err(CodecError::malformed(what, format!("unknown method {method}"))),
    };
    if body.len() != body_bytes {
        let reason = format!("body has {} bytes, its header says {body_bytes}", body.len());
        return Err(CodecError::malformed(what, reason));
    }
    Ok(body)
}

/// The body of a value: its postcard encoding.
#[allow(clippy::expect_used, reason = "postcard refuses only sequences of unknown length")]
pub(crate) fn to_body<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("the model's types have known lengths")
}

/// The value of a body, which holds nothing else.
pub(crate) fn from_body<T: DeserializeOwned>(
    what: &'static str,
    body: &[u8],
) -> Result<T, CodecError> {
    let (value, rest) =
        postcard::take_from_bytes(body).map_err(|error| CodecError::malformed(what, error))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::malformed(what, format!("{} bytes follow its value", rest.len())))
    }
}

/// Frames a value.
pub(crate) fn encode<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    seal(kind, &to_body(value))
}

/// The value of a framed item.
pub(crate) fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, CodecError> {
    from_body(kind.name(), &open(kind, bytes)?)
}

#[cfg(test)]
mod tests;
