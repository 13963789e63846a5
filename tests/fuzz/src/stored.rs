//! Stored items: any bytes are a value or an error, and a value is the same when written again.

use std::fmt::Debug;

use tidemill_codec::item::{self, BODY_BYTES_MAX, HEADER_BYTES, Kind};
use tidemill_codec::{
    CodecError, decode_checkpoint, decode_emitted, decode_log_entry, decode_segment,
    encode_checkpoint, encode_emitted, encode_log_entry, encode_segment,
};

use crate::Reached;

const KINDS: [Kind; 5] =
    [Kind::Segment, Kind::Checkpoint, Kind::LogEntry, Kind::Emitted, Kind::SnapshotChunk];

/// The body of a segment.
pub fn segment(input: &[u8]) -> Reached {
    stored(Kind::Segment, input, encode_segment, decode_segment)
}

/// The body of a checkpoint.
pub fn checkpoint(input: &[u8]) -> Reached {
    stored(Kind::Checkpoint, input, encode_checkpoint, decode_checkpoint)
}

/// The body of a log entry.
pub fn log_entry(input: &[u8]) -> Reached {
    stored(Kind::LogEntry, input, encode_log_entry, decode_log_entry)
}

/// The body of an emitted marker.
pub fn emitted(input: &[u8]) -> Reached {
    stored(Kind::Emitted, input, encode_emitted, decode_emitted)
}

/// Decodes `input` as it is, and as a body in a frame that is right.
fn stored<T: PartialEq + Debug>(
    kind: Kind,
    input: &[u8],
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, CodecError>,
) -> Reached {
    let comes_back = |bytes: &[u8]| match decode(bytes) {
        Ok(value) => {
            let written = encode(&value);
            assert_eq!(decode(&written).as_ref(), Ok(&value), "written again, it is another value");
            assert_eq!(encode(&value), written);
            Reached::Accepted
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Reached::Rejected
        }
    };
    comes_back(input);
    for other in KINDS.into_iter().filter(|other| *other != kind) {
        let sealed = item::seal(other, input);
        assert!(matches!(decode(&sealed), Err(CodecError::Kind { .. })));
    }
    comes_back(&item::seal(kind, input))
}

/// A frame, with the lengths and the checksum that its bytes have made right; of its header the
/// kind, version, method and length of the body are what they are.
pub fn item(input: &[u8]) -> Reached {
    let framed = framed(input);
    let mut reached = Reached::Rejected;
    for bytes in [input, &framed] {
        for kind in KINDS {
            match item::open(kind, bytes) {
                Ok(body) => {
                    assert!(body.len() <= BODY_BYTES_MAX);
                    assert_eq!(item::kind_of(bytes), Some(kind));
                    assert_eq!(item::open(kind, &item::seal(kind, &body)), Ok(body));
                    reached = Reached::Accepted;
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    reached
}

/// `input` with a right length and checksum, where it is long enough to have them.
fn framed(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    if let Some(content) = bytes.len().checked_sub(HEADER_BYTES) {
        bytes[12..16].copy_from_slice(&(content as u32).to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..16]);
        let checksum = crc32c::crc32c_append(checksum, &bytes[HEADER_BYTES..]);
        bytes[16..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}
