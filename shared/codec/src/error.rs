//! Why bytes could not be made or read.

use tidemill_model::Fingerprint;

/// Why bytes could not be made or read. No retry helps: either the stored bytes are damaged, or
/// this program is not the one that they were written for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes do not begin as Tidemill's do.
    #[error("not Tidemill's bytes. expected=`{expected}` first_bytes=`{first_bytes}`")]
    NotOurs {
        /// What was to be read.
        expected: &'static str,
        /// The first bytes found, hexadecimal.
        first_bytes: String,
    },
    /// The bytes are an item of another kind.
    #[error("an item of another kind. expected=`{expected}` found=`{found}`")]
    Kind {
        /// What was to be read.
        expected: &'static str,
        /// What the bytes are.
        found: String,
    },
    /// The bytes were written by a newer Tidemill, or by one too old for this one.
    #[error(
        "{what} of a format that this version of Tidemill cannot read. format=`{found}` known=`{known}`"
    )]
    Version {
        /// What was to be read.
        what: &'static str,
        /// Its format version.
        found: u8,
        /// The format version that this program reads.
        known: u8,
    },
    /// The bytes end too early.
    #[error("{what} is cut short. bytes=`{found}` expected=`{needed}`")]
    Truncated {
        /// What was to be read.
        what: &'static str,
        /// Bytes there should be, at least.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The bytes are not the ones that were written.
    #[error("{what} is damaged. checksum=`{computed:08x}` expected=`{stored:08x}`")]
    Checksum {
        /// What was to be read.
        what: &'static str,
        /// CRC-32C that was written.
        stored: u32,
        /// CRC-32C of what is there.
        computed: u32,
    },
    /// The checksum holds but the content makes no sense.
    #[error("{what} makes no sense. reason=`{reason}`")]
    Malformed {
        /// What was to be read.
        what: &'static str,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// Larger than anything that Tidemill writes.
    #[error("{what} is too large. bytes=`{bytes}` bound=`{bound}`")]
    TooLarge {
        /// What was to be read or written.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// What is allowed.
        bound: u64,
    },
    /// A column of a type that is never stored (dictionaries, unions, run ends, list views).
    #[error("a column of this type cannot be stored. column=`{column}` type=`{data_type}`")]
    Unsupported {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// A snapshot holds the state of a query that this pipeline does not have.
    #[error("snapshot holds state of an unknown query. fingerprint=`{query}` stage=`{stage}`")]
    UnknownQuery {
        /// The query.
        query: Fingerprint,
        /// The stage.
        stage: u16,
    },
}

impl CodecError {
    pub(crate) fn malformed(what: &'static str, reason: impl ToString) -> CodecError {
        CodecError::Malformed { what, reason: reason.to_string() }
    }
}
