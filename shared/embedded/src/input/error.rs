//! Why an input cannot be read on. Whatever was read before stays read: the run ends with this
//! error, and once the cause is gone the next run goes on after the last record.

/// Why an input cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// No file of this name.
    #[error("there is no such input file. path=`{path}`")]
    NotFound {
        /// The file.
        path: String,
    },
    /// A directory.
    #[error("the input is a directory; name one file. path=`{path}`")]
    Directory {
        /// The directory.
        path: String,
    },
    /// The operating system says no.
    #[error("the input cannot be read: {reason}. path=`{path}`")]
    Unreadable {
        /// The input.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A format that is not read.
    #[error(
        "the input is {found}; JSON lines and CSV are read, plain or compressed with gzip or zstd. \
         path=`{path}`"
    )]
    Unsupported {
        /// The input.
        path: String,
        /// What it looks like.
        found: &'static str,
    },
    /// The compressed data stop in the middle.
    #[error(
        "the compressed input is cut off; every whole line before the break was read. Fetch the \
         whole file and run again: the run goes on where it was. path=`{path}` \
         decompressed_bytes=`{offset}`"
    )]
    Truncated {
        /// The input.
        path: String,
        /// Decompressed bytes before the break.
        offset: u64,
    },
    /// The compressed data are damaged.
    #[error(
        "the compressed input is damaged: {reason}; every whole line before the damage was read. \
         Replace the file by an undamaged copy and run again: the run goes on where it was. \
         path=`{path}` decompressed_bytes=`{offset}`"
    )]
    Corrupt {
        /// The input.
        path: String,
        /// What the decompressor said.
        reason: String,
        /// Decompressed bytes before the damage.
        offset: u64,
    },
    /// The positions of an earlier run are not those of this input's records.
    #[error(
        "the input is not the one that an earlier run read: no record begins where that run stopped. \
         Give it the same input, or another store. path=`{path}` offset=`{offset}`"
    )]
    Changed {
        /// The input.
        path: String,
        /// Offset of the record that was looked for.
        offset: u64,
    },
    /// The first line is no line of column names.
    #[error(
        "the first line, which should name the columns, is longer than {bytes_max} bytes. \
         path=`{path}`"
    )]
    HeaderTooLong {
        /// The input.
        path: String,
        /// The bound.
        bytes_max: usize,
    },
}
