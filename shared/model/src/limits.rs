//! Every size that is bounded, in one place, with how the bounds relate.

/// Largest item of the production store (DynamoDB), bytes.
pub const ITEM_BYTES_MAX: usize = 400 * 1024;
/// Largest encoded segment, bytes: leaves room for keys and attributes in an item.
pub const SEGMENT_BYTES_MAX: usize = 380 * 1024;
/// Largest chunk of a snapshot, bytes.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 380 * 1024;
/// Largest source record that is decoded, bytes; a longer one is a dead letter.
pub const RECORD_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Raw bytes that a dead letter keeps of its record.
pub const DEAD_LETTER_RAW_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting of a JSON record that is decoded.
pub const JSON_DEPTH_MAX: usize = 128;
/// Result rows that one epoch may emit, unless one window has more. One epoch must be emitted within
/// one invocation of five minutes, also into a Kinesis stream of one shard, which takes a thousand
/// records a second.
pub const RESULTS_MAX: usize = 50_000;
/// Segment bytes that one tick merges.
pub const TICK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a process believes the tail that it cached, milliseconds.
pub const TAIL_CACHE_MS: i64 = 5 * 60 * 1000;
/// How long a signed request may linger before a store refuses it, milliseconds.
pub const REQUEST_LINGER_MS: i64 = 15 * 60 * 1000;
/// Time to live of a segment unless the pipeline says otherwise, milliseconds.
pub const SEGMENT_TTL_MS: i64 = 7 * 24 * 3600 * 1000;
/// Shortest time to live that a pipeline may give its segments, milliseconds.
pub const SEGMENT_TTL_MIN_MS: i64 = 24 * 3600 * 1000;
/// Bytes of log that are worth a snapshot, at least.
pub const SNAPSHOT_AFTER_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// A snapshot is due when the log since the last one has this many times its size.
pub const SNAPSHOT_LOG_RATIO: u64 = 4;

const _: () = assert!(SEGMENT_BYTES_MAX < ITEM_BYTES_MAX);
const _: () = assert!(SNAPSHOT_CHUNK_BYTES_MAX < ITEM_BYTES_MAX);
const _: () = assert!(DEAD_LETTER_RAW_BYTES_MAX < SEGMENT_BYTES_MAX / 8);
const _: () = assert!(TAIL_CACHE_MS + REQUEST_LINGER_MS < SEGMENT_TTL_MIN_MS / 2);
const _: () = assert!(SEGMENT_TTL_MIN_MS <= SEGMENT_TTL_MS);
