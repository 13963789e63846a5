//! The bytes of everything that is stored: one small file per stored thing.
//!
//! Every item starts with the header of [`mod@item`] (magic, kind, version, lengths, checksum);
//! behind it stands the postcard encoding of the model's type, compressed when that is smaller.
//! Rows (blocks of segments, parts of snapshots) are Arrow IPC record batches without a schema.
//!
//! # Invariants
//! 1. Decoding any bytes gives a value or a [`CodecError`]; it never panics and never allocates
//!    more than the bounds that the header's check allows.
//! 2. Encoding is a function of the value: the same value gives the same bytes with the same
//!    version of zstd, and the same uncompressed body with any.
//! 3. A change of format needs a new version number; golden bytes in `tests/conformance` fail
//!    otherwise.
//!
//! Not here: keys of stored items (`flow`), stores (`embedded`, `testkit`), row layouts (`plan`).

mod batch;
mod checkpoint;
mod emitted;
mod error;
pub mod item;
mod log_entry;
mod segment;
mod snapshot;

pub use batch::{decode_batch, encode_batch};
pub use checkpoint::{decode_checkpoint, encode_checkpoint};
pub use emitted::{decode_emitted, encode_emitted};
pub use error::CodecError;
pub use log_entry::{decode_log_entry, encode_log_entry};
pub use segment::{decode_segment, encode_segment};
pub use snapshot::{SchemaOf, decode_snapshot, encode_snapshot};
